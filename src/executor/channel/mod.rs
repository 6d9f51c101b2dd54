//! A channel of values with many senders and many receivers, bounded, or without any room: a rendezvous.
//!
//! ```
//! use preemptive::sync::channel::channel;
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! let (sender, receiver) = channel(16);
//! preemptive::spawn(async move {
//!     for number in 0..100 {
//!         sender.send(number).await.unwrap();
//!     }
//! });
//! let mut sum = 0;
//! while let Some(number) = receiver.recv().await {
//!     sum += number;
//! }
//! assert_eq!(sum, 4950);
//! # })
//! ```
//!
//! Values come out in the order in which they went in, each once, at one of the receivers. A value goes the shortest way:
//! a sender that finds a receiver waiting writes it straight into that one's future or stack, and a receiver
//! that finds the channel full takes the next waiting sender's value in itself. Whoever waits is served in the order in
//! which it came.
//!
//! # Waiting in the middle of synchronous code
//!
//! [`blocking_recv`](Receiver::blocking_recv) and [`blocking_send`](Sender::blocking_send) wait without `.await`, so
//! they can be called from any depth of ordinary functions. Inside a task of this crate's they hold up neither a
//! thread nor a processor: the poll that waits is parked, stack and all, and the worker goes on with other work.
//!
//! ```
//! use preemptive::sync::channel::{Receiver, channel};
//!
//! // An ordinary iterator.
//! fn numbers(receiver: &Receiver<u32>) -> impl Iterator<Item = u32> {
//!     std::iter::from_fn(|| receiver.blocking_recv())
//! }
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! let (sender, receiver) = channel(1);
//! let sum = preemptive::spawn(async move { numbers(&receiver).sum::<u32>() });
//! for number in [1, 2, 3] {
//!     sender.send(number).await.unwrap();
//! }
//! drop(sender);
//! assert_eq!(sum.await.unwrap(), 6);
//! # })
//! ```
//!
//! A parked poll keeps its stack and the thread that lends its identity (some tens of KiB), which an awaiting task does
//! not: where thousands wait at once, await.
//!
//! # Closing
//!
//! A channel is closed when its last sender or its last receiver is dropped, or by [`Receiver::close`]. Then sending fails
//! and gives the value back, to those that wait as well. What was sent before can still be received; after that,
//! receivers get `None`. With the last receiver, values that nobody has received are dropped.
//!
//! # Where this comes from
//!
//! The direct hand-off, into stacks of parked parties too, is that of Go's channels, with what Go calls the park commit.
//! The names follow Tokio's `mpsc`.

mod core;
mod error;
mod parked;
mod recv;
mod send;
mod state;
mod waiter;

pub use error::{SendError, TryRecvError, TrySendError};
pub use recv::Recv;
pub use send::Send;

use self::core::Core;
use crate::primitives::Arc;
use crate::primitives::atomic::Ordering;
use std::fmt;

/// Makes a channel with room for `capacity` values. With 0 it has none: each value goes from a sender that waits, or
/// comes, to a receiver that waits, or comes.
///
/// The room is allocated here, all of it.
///
/// # Panics
///
/// If so much memory cannot be had.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{TrySendError, channel};
///
/// let (sender, receiver) = channel(1);
/// sender.try_send('a').unwrap();
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(Core::new(capacity));
    let sender = Sender {
        core: Arc::clone(&core),
    };
    (sender, Receiver { core })
}

/// The side of a [`channel`] that sends. Clones send to the same channel.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{Sender, channel};
///
/// // A channel ends with its last sender.
/// fn answer(question: u32, sender: Sender<u32>) {
///     sender.blocking_send(question * 2).unwrap();
/// }
///
/// let (sender, receiver) = channel(2);
/// answer(1, sender.clone());
/// answer(2, sender);
/// assert_eq!(receiver.blocking_recv(), Some(2));
/// assert_eq!(receiver.blocking_recv(), Some(4));
/// assert_eq!(receiver.blocking_recv(), None);
/// ```
pub struct Sender<T> {
    core: Arc<Core<T>>,
}

/// The side of a [`channel`] that receives. Clones share the values: each goes to one of them.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{Receiver, channel};
///
/// async fn count(receiver: Receiver<u32>) -> usize {
///     let mut count = 0;
///     while receiver.recv().await.is_some() {
///         count += 1;
///     }
///     count
/// }
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, receiver) = channel(4);
/// let one = preemptive::spawn(count(receiver.clone()));
/// let other = preemptive::spawn(count(receiver));
/// for number in 0..100 {
///     sender.send(number).await.unwrap();
/// }
/// drop(sender);
/// assert_eq!(one.await.unwrap() + other.await.unwrap(), 100);
/// # })
/// ```
pub struct Receiver<T> {
    core: Arc<Core<T>>,
}

impl<T> Sender<T> {
    /// Sends a value, and waits while there is no room; in a channel without any, until a receiver has it.
    ///
    /// # Errors
    ///
    /// If the channel is closed, or is being closed while this waits: the value comes back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits, the value is not sent, but dropped with it; and it loses its place in the
    /// queue of those that wait. But a receiver may have taken the value already, without the future having been
    /// polled since: so of a future that was given up one cannot tell whether the value was sent (at most once it
    /// was). Who must know uses [`try_send`](Sender::try_send). (With Tokio's `mpsc` one can tell: there the
    /// sender itself puts the value in, in the poll that ends the wait.)
    ///
    /// # Panics
    ///
    /// If the future is polled after it is done.
    ///
    /// # Examples
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// sender.send("here").await.unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send("gone").await.unwrap_err().into_inner(), "gone");
    /// # })
    /// ```
    #[inline]
    pub fn send(&self, value: T) -> Send<'_, T> {
        Send::new(&self.core, value)
    }

    /// Sends a value if that needs no waiting: if there is room, or a receiver that waits.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] if there is neither, [`TrySendError::Closed`] if the channel is closed. The value comes back
    /// in it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(0);
    /// // There is no room, and nobody waits.
    /// assert_eq!(sender.try_send(5).unwrap_err().into_inner(), 5);
    /// # drop(receiver);
    /// ```
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        parked::try_send(&self.core, value)
    }

    /// Sends a value from synchronous code: as [`send`](Sender::send), without `.await`.
    ///
    /// Inside a task of this crate's, the poll that waits is parked, and its worker goes on with others. On other threads,
    /// and in tasks of a current-thread runtime, the kernel's thread waits. `abort` takes effect when the poll has
    /// ended, so not while this waits.
    ///
    /// # Errors
    ///
    /// As for [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(0);
    /// let thread = std::thread::spawn(move || receiver.blocking_recv());
    /// sender.blocking_send(7).unwrap();
    /// assert_eq!(thread.join().unwrap(), Some(7));
    /// ```
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        parked::send(&self.core, value)
    }

    /// Is the channel closed? Sending fails then, for good.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel::<()>(1);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// How many values there is room for now, at some moment.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel(3);
    /// sender.try_send('a').unwrap();
    /// assert_eq!(sender.capacity(), 2);
    /// ```
    pub fn capacity(&self) -> usize {
        self.core.capacity().saturating_sub(self.core.len())
    }

    /// How many values there was room for in the beginning: what [`channel`] was called with.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel(3);
    /// sender.try_send('a').unwrap();
    /// assert_eq!(sender.max_capacity(), 3);
    /// ```
    pub fn max_capacity(&self) -> usize {
        self.core.capacity()
    }

    /// How many values are in the channel, at some moment.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel(3);
    /// sender.try_send('a').unwrap();
    /// sender.try_send('b').unwrap();
    /// assert_eq!(sender.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Is there none, at some moment?
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel(3);
    /// assert!(sender.is_empty());
    /// sender.try_send('a').unwrap();
    /// assert!(!sender.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do both send to the same channel?
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = preemptive::sync::channel::<()>(1);
    /// let (other, _receiver) = preemptive::sync::channel(1);
    /// assert!(sender.same_channel(&sender.clone()));
    /// assert!(!sender.same_channel(&other));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T> Receiver<T> {
    /// Receives the next value, and waits while there is none. `None`: the channel is closed, and everything was
    /// received.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing is lost: a value that was handed to it already goes back, and
    /// is the next to be received. If that happens to several at once, their values are received in the order in which
    /// they were sent. So `recv` can be one of several branches of a `select!`. (Other receivers may have got later
    /// values meanwhile.)
    ///
    /// # Panics
    ///
    /// If the future is polled after it is done.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, timeout};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// assert!(timeout(Duration::from_millis(1), receiver.recv()).await.is_err());
    /// sender.send('x').await.unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv().await, Some('x'));
    /// assert_eq!(receiver.recv().await, None);
    /// # })
    /// ```
    #[inline]
    pub fn recv(&self) -> Recv<'_, T> {
        Recv::new(&self.core)
    }

    /// Receives the next value if there is one: in the channel, or with a sender that waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none now; [`TryRecvError::Disconnected`] if there will be none: the channel is
    /// closed, and everything was received.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::sync::channel::TryRecvError;
    ///
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send('a').unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok('a'));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        parked::try_receive(&self.core)
    }

    /// Receives the next value in synchronous code: as [`recv`](Receiver::recv), without `.await`.
    ///
    /// What [`blocking_send`](Sender::blocking_send) says about where this waits goes for it, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let (sender, receiver) = preemptive::sync::channel(0);
    /// let task = preemptive::spawn(async move { receiver.blocking_recv() });
    /// sender.send(1).await.unwrap();
    /// assert_eq!(task.await.unwrap(), Some(1));
    /// # })
    /// ```
    pub fn blocking_recv(&self) -> Option<T> {
        parked::receive(&self.core)
    }

    /// Closes the channel: nothing more is sent, and senders that wait get their values back. What is in it can still be
    /// received.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(2);
    /// sender.try_send(1).unwrap();
    /// receiver.close();
    /// assert!(sender.try_send(2).is_err());
    /// assert_eq!(receiver.blocking_recv(), Some(1));
    /// assert_eq!(receiver.blocking_recv(), None);
    /// ```
    pub fn close(&self) {
        self.core.close();
    }

    /// Is the channel closed? There may still be values in it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// sender.try_send('a').unwrap();
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// assert_eq!(receiver.try_recv(), Ok('a'));
    /// ```
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// How many values are in the channel, at some moment. One that a sender waits with is not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(3);
    /// sender.try_send('a').unwrap();
    /// sender.try_send('b').unwrap();
    /// receiver.try_recv().unwrap();
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Is there none, at some moment?
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// sender.try_send('a').unwrap();
    /// assert!(!receiver.is_empty());
    /// receiver.try_recv().unwrap();
    /// assert!(receiver.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do both receive from the same channel?
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = preemptive::sync::channel::<()>(1);
    /// let (_sender, other) = preemptive::sync::channel(1);
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// assert!(!receiver.same_channel(&other));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        // Relaxed: the handle that is cloned keeps the count from zero.
        self.core.senders.fetch_add(1, Ordering::Relaxed);
        Sender {
            core: Arc::clone(&self.core),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        // Relaxed: as above.
        self.core.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            core: Arc::clone(&self.core),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.core.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.close();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.core.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.close();
            self.core.clear();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.core).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.core).finish()
    }
}
