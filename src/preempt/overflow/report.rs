//! What is said about a stack overflow before the process ends.
//!
//! In the order of what can go wrong. First the text, with one bare `write(2)`: it needs nothing. Then the frames as
//! numbers. Last the frames by name, for which std needs malloc's lock, the loader's and its own, and the overflow may
//! have come while its own task held one of them, or another that waits for this worker. So a timer ends the process
//! if that takes too long. All of it runs on the signal stack; where that is too small for names (a task may have
//! installed its own), the numbers are all.

use super::Place;
use super::frames::{self, Frames};
use crate::arch::SignalFrame;
use crate::fatal::Message;
use crate::primitives::atomic::{AtomicI32, Ordering};
use crate::stack::{Fiber, GuardPage};
use crate::sys::{self, KernelSigaction, Timer};
use std::fmt::{self, Write};

/// How long naming the frames may take, in nanoseconds.
const PATIENCE: u64 = 10_000_000_000;
/// What naming them needs of the signal stack, in bytes.
const ROOM: usize = 40 * 1024;
/// So much of a task's name is printed, in bytes.
const NAME: usize = 200;

/// The kernel thread that reports; 0: none does.
static REPORTER: AtomicI32 = AtomicI32::new(0);

/// Is the process ending with a report? Then rule R1 has nothing left to protect.
pub(crate) fn is_dying() -> bool {
    REPORTER.load(Ordering::Relaxed) != 0
}

/// Reports the overflow of a stack of `fiber`'s and ends the process. `why`: why not the task alone.
#[cold]
pub(super) fn die(
    fiber: &Fiber,
    place: Place,
    frame: &mut SignalFrame<'_>,
    why: Option<&str>,
) -> ! {
    be_the_only_one();
    say_what(fiber, place, why);
    let watchdog = Watchdog::start();
    say_where(frame, watchdog.is_some());
    drop(watchdog);
    sys::abort()
}

/// One report is enough: a second thread waits here for the end; a second one of the same thread is that end.
fn be_the_only_one() {
    let me = sys::gettid();
    match REPORTER.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {}
        Err(first) if first == me => sys::abort(),
        Err(_) => loop {
            sys::sleep(std::time::Duration::from_secs(1));
        },
    }
}

/// The first part: whose stack it was, and the cure.
fn say_what(fiber: &Fiber, place: Place, why: Option<&str>) {
    let mut text = Message::<2048>::new();
    let _ = what(&mut text, fiber, place);
    if let Some(why) = why {
        let _ = writeln!(text, "  it cannot be failed alone: {why}");
    }
    sys::write_stderr(text.bytes());
}

/// The one line about a task that ends alone.
pub(super) fn say_failed(fiber: &Fiber) {
    let mut text = Message::<1024>::new();
    let _ = failed(&mut text, fiber);
    sys::write_stderr(text.bytes());
}

fn failed(text: &mut impl Write, fiber: &Fiber) -> fmt::Result {
    write!(
        text,
        "preemptive: task {}",
        fiber.task.load(Ordering::Relaxed)
    )?;
    // SAFETY: as in `what`.
    if let Some(name) = unsafe { fiber.name.load(Ordering::Relaxed).as_ref() } {
        write!(text, " {:?}", beginning(name))?;
    }
    // SAFETY: as in `what`.
    if let Some(location) = unsafe { fiber.location.load(Ordering::Relaxed).as_ref() } {
        write!(text, ", spawned at {location},")?;
    }
    let limit = fiber.stack_limit() / 1024;
    writeln!(
        text,
        " has overflowed its stack of {limit} KiB: it is left as it is, its locks locked, and its handle says so"
    )
}

/// Writes the first part. Neither allocates nor touches the task: what it prints lies with the fiber.
pub(super) fn what(text: &mut impl Write, fiber: &Fiber, place: Place) -> fmt::Result {
    writeln!(text)?;
    write!(text, "preemptive: ")?;
    let task = fiber.task.load(Ordering::Relaxed);
    match task {
        0 if fiber.is_starting_or_ending() => write!(text, "a hook or a destructor of a thread")?,
        0 if place == Place::Thread => write!(text, "the future given to `block_on`")?,
        0 => write!(text, "a waker or a destructor, outside of any task's poll,")?,
        task => write!(text, "task {task}")?,
    }
    // SAFETY: null, or the name of the task whose poll is in progress, which takes it down again at its end.
    if let Some(name) = unsafe { fiber.name.load(Ordering::Relaxed).as_ref() } {
        write!(text, " {:?}", beginning(name))?;
    }
    match place {
        Place::Fiber(GuardPage::Stack) | Place::Thread => {
            writeln!(text, " has overflowed its stack")?
        }
        Place::Fiber(GuardPage::Segment) => {
            writeln!(text, " has overflowed a segment of its stack")?
        }
        Place::Fiber(GuardPage::Preempt) => writeln!(text, ": its preempt stack has overflowed")?,
        Place::Fiber(GuardPage::Signal) => writeln!(text, ": its signal stack has overflowed")?,
        Place::Fiber(GuardPage::Park) if fiber.is_home() => {
            writeln!(text, ": the system stack has overflowed")?
        }
        Place::Fiber(GuardPage::Park) => writeln!(text, ": its lender's stack has overflowed")?,
    }
    // SAFETY: null, or a task's location, which is never freed.
    let location = unsafe { fiber.location.load(Ordering::Relaxed).as_ref() };
    if task != 0
        && let Some(location) = location
    {
        writeln!(text, "  it was spawned at {location}")?;
    }
    cure(text, fiber, place)
}

fn cure(text: &mut impl Write, fiber: &Fiber, place: Place) -> fmt::Result {
    match place {
        Place::Fiber(GuardPage::Stack) => {
            let limit = fiber.stack_limit() / 1024;
            writeln!(
                text,
                "  the limit is {limit} KiB: raise it (Builder::thread_stack_size),"
            )?;
        }
        Place::Fiber(GuardPage::Segment) => writeln!(
            text,
            "  what is called without a check has more than the red zone: raise it (checked(red_zone = \"1MiB\"), \
             the first argument of stack::grow; task::Builder::stack_size),"
        )?,
        Place::Thread => writeln!(
            text,
            "  the limit is that of the thread inside `block_on`: raise it \
             (std::thread::Builder::stack_size; `ulimit -s` for the main thread),"
        )?,
        Place::Fiber(_) => {
            return writeln!(
                text,
                "  no task uses that stack: a signal handler needs too much of it, or this is a bug of preemptive"
            );
        }
    }
    writeln!(
        text,
        "  box large values, recurse less deeply, or let deep functions go on elsewhere \
         (stack::grow, #[preemptive::checked])"
    )
}

/// As much of a name as is printed.
fn beginning(name: &str) -> &str {
    let mut end = name.len().min(NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The second and the third part.
fn say_where(frame: &SignalFrame<'_>, names: bool) {
    sys::write_stderr(b"  the last frames, as addresses:\n");
    let frames = Frames::walk(frame.pc());
    frames.print();
    let here = 0_u8;
    let room = (&raw const here as usize).saturating_sub(frame.signal_stack_low());
    if names && room >= ROOM {
        sys::write_stderr(b"  and by name:\n");
        frames.cut_off();
        frames::print_names(frame.pc());
    }
}

/// Ends the process by SIGABRT should the report not come to its end.
struct Watchdog {
    timer: Timer,
    /// The application's own handler of SIGABRT, which is to have its turn where all goes well.
    handler: KernelSigaction,
}

impl Watchdog {
    fn start() -> Option<Watchdog> {
        let timer = Timer::create(sys::gettid(), libc::SIGABRT, 0).ok()?;
        let default = KernelSigaction {
            handler: libc::SIG_DFL,
            flags: 0,
            restorer: 0,
            mask: 0,
        };
        // SAFETY: the default action is no function.
        let handler = unsafe { sys::rt_sigaction(libc::SIGABRT, Some(&default)) }.ok()?;
        sys::sigmask(Some(sys::sigmask(None) & !(1 << (libc::SIGABRT - 1))));
        timer.set(sys::now() + PATIENCE);
        Some(Watchdog { timer, handler })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.timer.delete();
        // SAFETY: it was installed before.
        let _ = unsafe { sys::rt_sigaction(libc::SIGABRT, Some(&self.handler)) };
    }
}
