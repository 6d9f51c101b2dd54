//! Dying from anywhere: on any stack, inside a signal handler, with malloc's lock held by somebody else.
//!
//! A bug of ours ends the process at once and says so. Nothing here allocates, takes a lock or unwinds.

use crate::sys;

/// A message put together on the stack, of at most `SIZE` bytes; what does not fit is cut off.
#[derive(Debug)]
pub(crate) struct Message<const SIZE: usize> {
    text: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> Message<SIZE> {
    /// An empty message.
    pub(crate) const fn new() -> Self {
        Message {
            text: [0; SIZE],
            len: 0,
        }
    }

    /// Adds bytes, as many as there is room for.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.text.len() - self.len;
        let taken = bytes.len().min(room);
        self.text[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }

    /// Makes it empty again.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// What has been written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl<const SIZE: usize> std::fmt::Write for Message<SIZE> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Writes `preemptive: fatal: …` to standard error with a bare `write(2)` and aborts.
#[cold]
pub(crate) fn die(arguments: std::fmt::Arguments<'_>) -> ! {
    let mut message = Message::<512>::new();
    // Formatting integers and strings neither allocates nor fails here: see `Message::write_str`.
    let _ = std::fmt::write(
        &mut message,
        format_args!("preemptive: fatal: {arguments}\n"),
    );
    sys::write_stderr(message.bytes());
    sys::abort()
}

/// Ends the process with a message: an invariant of ours does not hold. See [`die`].
macro_rules! fatal {
    ($($argument:tt)*) => { $crate::fatal::die(format_args!($($argument)*)) };
}
pub(crate) use fatal;
