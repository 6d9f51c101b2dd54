//! What goes wrong with a channel: it is closed, full, or empty.

use std::error::Error;
use std::fmt;

/// The channel is closed. The value comes back.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{SendError, channel};
///
/// let (sender, receiver) = channel(1);
/// drop(receiver);
/// let SendError(value) = sender.blocking_send('a').unwrap_err();
/// assert_eq!(value, 'a');
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why [`try_send`](super::Sender::try_send) has not sent. The value comes back.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{TrySendError, channel};
///
/// let (sender, receiver) = channel(1);
/// sender.try_send('a').unwrap();
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
/// drop(receiver);
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Closed('b')));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full; for one without room: nobody waits for a value.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// Why [`try_recv`](super::Receiver::try_recv) has no value.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{TryRecvError, channel};
///
/// let (sender, receiver) = channel::<char>(1);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is none now.
    Empty,
    /// There will be none: the channel is closed, and everything was received.
    Disconnected,
}

impl<T> SendError<T> {
    /// What was to be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// drop(receiver);
    /// let error = sender.blocking_send("gone".to_owned()).unwrap_err();
    /// assert_eq!(error.into_inner(), "gone");
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// What was to be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel(0);
    /// let error = sender.try_send("later".to_owned()).unwrap_err();
    /// assert_eq!(error.into_inner(), "later");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> TrySendError<T> {
        TrySendError::Closed(error.0)
    }
}

// Not derived: a value need not be printable.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrySendError::Full(_) => f.write_str("Full(..)"),
            TrySendError::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

const CLOSED: &str = "the channel is closed";

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => CLOSED,
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "the channel is empty",
            TryRecvError::Disconnected => "the channel is empty and closed",
        })
    }
}

impl<T> Error for SendError<T> {}
impl<T> Error for TrySendError<T> {}
impl Error for TryRecvError {}
