//! Dying from anywhere: on any stack, inside a signal handler, with malloc's lock held by somebody else.
//!
//! A bug of ours ends the process at once and says so. Nothing here allocates, takes a lock or unwinds.

use crate::sys;

/// A message put together on the stack, of at most 512 bytes; what does not fit is cut off.
#[derive(Debug)]
pub(crate) struct Message {
    text: [u8; 512],
    len: usize,
}

impl Message {
    /// An empty message.
    pub(crate) const fn new() -> Self {
        Message {
            text: [0; 512],
            len: 0,
        }
    }

    /// What has been written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl std::fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.text.len() - self.len;
        let taken = text.len().min(room);
        self.text[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Writes `preemptive: fatal: …` to standard error with a bare `write(2)` and aborts.
#[cold]
pub(crate) fn die(arguments: std::fmt::Arguments<'_>) -> ! {
    let mut message = Message::new();
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
