//! The frames of code that has run out of stack: as addresses, and by name.

use crate::fatal::Message;
use crate::sys;
use std::backtrace::Backtrace;
use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};

/// So many are shown.
const MOST: usize = 32;

// The unwinder that panics use: whatever links std links it.
unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

const GO_ON: c_int = 0;
const STOP: c_int = 5;

/// The innermost frames of the code that a signal interrupted.
#[derive(Debug)]
pub(super) struct Frames {
    addresses: [usize; MOST],
    count: usize,
    /// The program counter that the signal interrupted; 0 once the walk has come to it.
    awaited: usize,
    /// The first frame that is not among them: its address, and where the stack pointer is in it.
    next: Option<(usize, usize)>,
}

impl Frames {
    /// Walks the calling thread's frames, through the handler, to those of what was interrupted at `pc`.
    pub(super) fn walk(pc: usize) -> Frames {
        let mut frames = Frames {
            addresses: [0; MOST],
            count: 0,
            awaited: pc,
            next: None,
        };
        // SAFETY: `step` is such a function, and `frames` outlives the call.
        unsafe { _Unwind_Backtrace(step, (&raw mut frames).cast()) };
        if frames.count == 0 {
            // The unwinder did not get here.
            (frames.addresses[0], frames.count) = (pc, 1);
        }
        frames
    }

    /// Prints them as addresses, each with its place in its file.
    pub(super) fn print(&self) {
        for (number, &address) in self.addresses[..self.count].iter().enumerate() {
            let mut line = Message::<1024>::new();
            let _ = write!(line, "  {number:4}: {address:#x}");
            if let Some((path, offset)) = Module::of(address, &mut [0; 1024]) {
                let _ = write!(line, " {}+{offset:#x}", path.escape_ascii());
            }
            let _ = writeln!(line);
            sys::write_stderr(line.bytes());
        }
    }

    /// Makes the outermost of them the last frame that an unwinder finds: a recursion can be ten thousands of frames
    /// deep, and std looks up all before it prints one. The code must never go on.
    pub(super) fn cut_off(&self) {
        let Some((address, sp)) = self.next else {
            return;
        };
        let slot = (sp - size_of::<usize>()) as *mut usize;
        // SAFETY: the unwinder has read the word below a caller's stack pointer as a return address. That it is one is
        // looked at: a frame that was interrupted has not called anything.
        unsafe {
            if slot.read() == address {
                slot.write(0);
            }
        }
    }
}

extern "C" fn step(context: *mut c_void, frames: *mut c_void) -> c_int {
    // SAFETY: `walk` passes its own, and waits.
    let frames = unsafe { &mut *frames.cast::<Frames>() };
    // SAFETY: the unwinder passes a context of its own.
    let (address, sp) = unsafe { (_Unwind_GetIP(context), _Unwind_GetCFA(context)) };
    if frames.awaited == address {
        frames.awaited = 0;
    }
    if frames.awaited != 0 {
        return GO_ON;
    }
    match frames.addresses.get_mut(frames.count) {
        Some(place) => {
            *place = address;
            frames.count += 1;
            GO_ON
        }
        None => {
            frames.next = Some((address, sp));
            STOP
        }
    }
}

/// A file that is mapped as code.
struct Module;

impl Module {
    /// The path of the file that an address belongs to, in `buffer`, and how far from the file's base address it is. What
    /// the kernel says: the loader's own lists have a lock.
    fn of(address: usize, buffer: &mut [u8; 1024]) -> Option<(&[u8], usize)> {
        let mut maps = Lines::open(b"/proc/self/maps\0")?;
        // Where the file was mapped from its beginning on.
        let mut base = 0;
        let mut length = 0;
        while let Some(line) = maps.next() {
            let mut words = line.split(|&byte| byte == b' ').filter(|w| !w.is_empty());
            let mut range = words.next()?.split(|&byte| byte == b'-');
            let low = hexadecimal(range.next()?)?;
            let high = hexadecimal(range.next()?)?;
            let offset = hexadecimal(words.nth(1)?)?;
            let path = words.nth(2).unwrap_or_default();
            if offset == 0 || path != &buffer[..length] {
                base = low;
            }
            length = path.len().min(buffer.len());
            buffer[..length].copy_from_slice(&path[..length]);
            if (low..high).contains(&address) {
                return (length > 0).then(|| (&buffer[..length], address - base));
            }
        }
        None
    }
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The lines of a file; what does not fit is cut off.
struct Lines {
    file: usize,
    buffer: [u8; 1024],
    /// The part of the buffer that has not been looked at.
    left: std::ops::Range<usize>,
    line: Message<1024>,
}

impl Lines {
    fn open(path: &[u8]) -> Option<Lines> {
        Some(Lines {
            file: sys::open(path).ok()?,
            buffer: [0; 1024],
            left: 0..0,
            line: Message::new(),
        })
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.line.clear();
        loop {
            if self.left.is_empty() {
                self.left = 0..sys::read(self.file, &mut self.buffer);
                if self.left.is_empty() {
                    return None;
                }
            }
            let part = &self.buffer[self.left.clone()];
            let end = part.iter().position(|&byte| byte == b'\n');
            self.line.push(&part[..end.unwrap_or(part.len())]);
            match end {
                None => self.left.start = self.left.end,
                Some(end) => {
                    self.left.start += end + 1;
                    return Some(self.line.bytes());
                }
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        sys::close(self.file);
    }
}

/// Prints the frames by name, from the one that was interrupted at `pc` on. Needs malloc and other locks.
pub(super) fn print_names(pc: usize) {
    let frames = Backtrace::force_capture();
    let mut names = Names {
        awaited: pc,
        frames: 0,
        is_shown: false,
        line: Message::new(),
    };
    // In this form each frame comes with its address. The writer ends it with an error.
    let _ = write!(names, "{frames:#}");
    names.end_line();
}

/// Prints std's backtrace without the handler's own frames.
struct Names {
    /// The address from which on frames are shown; 0 once it was met.
    awaited: usize,
    frames: usize,
    is_shown: bool,
    line: Message<1024>,
}

impl Names {
    /// A line is complete. False: it was the last that is of interest.
    fn end_line(&mut self) -> bool {
        let line = std::mem::replace(&mut self.line, Message::new());
        let text = String::from_utf8_lossy(line.bytes());
        let mut out = Message::<1280>::new();
        match text.split_once(" - ") {
            Some((head, name)) if !text.trim_start().starts_with("at ") => {
                self.begin_frame(head);
                if !self.is_shown {
                    return true;
                }
                if self.frames == MOST {
                    return false;
                }
                let _ = writeln!(out, "  {:4}: {}", self.frames, without_hash(name));
                self.frames += 1;
            }
            _ if self.is_shown && !text.is_empty() => {
                let _ = writeln!(out, "          {}", text.trim());
            }
            _ => return true,
        }
        sys::write_stderr(out.bytes());
        true
    }

    /// `head` is a frame's number and address, or blank for what was inlined into the frame before.
    fn begin_frame(&mut self, head: &str) {
        let address = head.split_once("0x").map(|(_, digits)| digits.trim());
        let Some(address) = address.and_then(|digits| usize::from_str_radix(digits, 16).ok())
        else {
            return;
        };
        if address.abs_diff(self.awaited) <= 1 {
            self.awaited = 0;
        }
        self.is_shown = self.awaited == 0;
    }
}

/// The name of a function without the number that makes it unique.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name
        }
        _ => name,
    }
}

impl Write for Names {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push(part.trim_end_matches('\n').as_bytes());
            if part.ends_with('\n') && !self.end_line() {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}
