//! The future of [`Sender::send`](super::Sender::send).

use super::core::{Core, Sent};
use super::error::SendError;
use super::waiter::{CLOSED, DONE, IDLE, Waiter, Wake};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits until a value is in the channel, or with a receiver. Made by [`Sender::send`](super::Sender::send).
///
/// Dropped before a receiver has taken the value, or made room for it, it takes the value with it: that is not sent, but
/// dropped.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{Send, channel};
/// use preemptive::time::{Duration, timeout};
/// use std::pin::Pin;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, receiver) = channel(0);
/// let mut waiting: Pin<Box<Send<'_, char>>> = Box::pin(sender.send('a'));
/// assert!(timeout(Duration::ZERO, waiting.as_mut()).await.is_err());
/// // It waits still, with its value.
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// assert!(waiting.await.is_ok());
/// # });
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Send<'a, T> {
    core: &'a Core<T>,
    /// Holds the value, until it is sent or given back.
    waiter: Waiter<T>,
    is_done: Cell<bool>,
    /// The channel knows where the waiter is.
    _pinned: PhantomPinned,
}

// SAFETY: the one field that is not `Sync` is touched only by who has the future for itself.
unsafe impl<T: std::marker::Send> Sync for Send<'_, T> {}

impl<'a, T> Send<'a, T> {
    #[inline]
    pub(super) fn new(core: &'a Core<T>, value: T) -> Send<'a, T> {
        Send {
            core,
            waiter: Waiter::full(value),
            is_done: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// The channel is closed: the value, which is in the slot.
    fn give_back(&self) -> Poll<Result<(), SendError<T>>> {
        self.is_done.set(true);
        // SAFETY: the slot is full, and ours since the channel let go of it.
        Poll::Ready(Err(SendError(unsafe { self.waiter.take() })))
    }

    fn start(&self, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        assert!(!self.is_done.get(), "`Send` was polled after it was done");
        let clone = || Some(Wake::Task(context.waker().clone()));
        let mut wake = if self.core.seems_full() {
            clone()
        } else {
            None
        };
        loop {
            // SAFETY: the slot is full and the waiter idle; it is pinned, and taken off when it is dropped.
            match unsafe { self.core.send(&self.waiter, &mut wake) } {
                Sent::Done(receiver) => {
                    self.is_done.set(true);
                    receiver.into_iter().for_each(Wake::wake);
                    return Poll::Ready(Ok(()));
                }
                Sent::Waits => return Poll::Pending,
                Sent::Full => wake = clone(),
                Sent::Closed => return self.give_back(),
            }
        }
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Shared: others may be at the waiter.
        let this = self.as_ref().get_ref();
        loop {
            match this.waiter.state() {
                IDLE => return this.start(context),
                DONE => {
                    assert!(
                        !this.is_done.replace(true),
                        "`Send` was polled after it was done"
                    );
                    return Poll::Ready(Ok(()));
                }
                CLOSED => {
                    assert!(!this.is_done.get(), "`Send` was polled after it was done");
                    return this.give_back();
                }
                _ => {
                    let new = Wake::Task(context.waker().clone());
                    let (waits, old) = this.core.rewake(&this.waiter, new);
                    drop(old);
                    if waits {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        if self.is_done.get() {
            return;
        }
        if self.waiter.state() != IDLE {
            // SAFETY: it came to this channel with a value.
            let (_, wake) = unsafe { self.core.cancel_send(&self.waiter) };
            drop(wake);
        }
        if self.waiter.state() != DONE {
            // SAFETY: nobody has taken the value, and nobody can any more.
            drop(unsafe { self.waiter.take() });
        }
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").finish_non_exhaustive()
    }
}
