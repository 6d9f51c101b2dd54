//! The future of [`Receiver::recv`](super::Receiver::recv).

use super::core::{Core, Received};
use super::waiter::{CLOSED, DONE, IDLE, Waiter, Wake};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for a value. Made by [`Receiver::recv`](super::Receiver::recv).
///
/// Dropped before it is done, it receives nothing: a value that has been handed to it meanwhile goes back, and is the
/// next to be received.
///
/// # Examples
///
/// ```
/// use preemptive::sync::channel::{Recv, channel};
/// use preemptive::time::{Duration, timeout};
/// use std::pin::Pin;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, receiver) = channel(1);
/// let mut next: Pin<Box<Recv<'_, char>>> = Box::pin(receiver.recv());
/// assert!(timeout(Duration::ZERO, next.as_mut()).await.is_err());
/// // It has kept its place: it, not who came later, receives what is sent now.
/// sender.send('a').await.unwrap();
/// assert!(receiver.try_recv().is_err());
/// assert_eq!(next.await, Some('a'));
/// # });
/// ```
#[must_use = "nothing is received before this is awaited"]
pub struct Recv<'a, T> {
    core: &'a Core<T>,
    /// Where a sender writes the value.
    waiter: Waiter<T>,
    is_done: Cell<bool>,
    /// The channel knows where the waiter is.
    _pinned: PhantomPinned,
}

// SAFETY: the one field that is not `Sync` is touched only by who has the future for itself.
unsafe impl<T: Send> Sync for Recv<'_, T> {}

impl<'a, T> Recv<'a, T> {
    #[inline]
    pub(super) fn new(core: &'a Core<T>) -> Recv<'a, T> {
        Recv {
            core,
            waiter: Waiter::empty(),
            is_done: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// The end: with the value that is in the slot.
    #[inline]
    fn take(&self) -> Poll<Option<T>> {
        self.is_done.set(true);
        // SAFETY: the slot has been filled, and is ours.
        Poll::Ready(Some(unsafe { self.waiter.take() }))
    }

    #[inline]
    fn start(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let clone = || Some(Wake::Task(context.waker().clone()));
        let mut wake = if self.core.seems_empty() {
            clone()
        } else {
            None
        };
        loop {
            // SAFETY: the slot is empty and the waiter idle; it is pinned, and taken off when it is dropped.
            match unsafe { self.core.receive(&self.waiter, &mut wake) } {
                Received::Done(sender, node) => {
                    let value = self.take();
                    drop(node);
                    sender.into_iter().for_each(Wake::wake);
                    return value;
                }
                Received::Waits => return Poll::Pending,
                Received::Empty => wake = clone(),
                Received::Closed => {
                    self.is_done.set(true);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // Shared: others may be at the waiter.
        let this = self.as_ref().get_ref();
        assert!(!this.is_done.get(), "`Recv` was polled after it was done");
        loop {
            match this.waiter.state() {
                IDLE => return this.start(context),
                DONE => return this.take(),
                CLOSED => {
                    this.is_done.set(true);
                    return Poll::Ready(None);
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

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        if self.is_done.get() || self.waiter.state() == IDLE {
            return;
        }
        // SAFETY: it came to this channel for a value.
        let (_, wake) = unsafe { self.core.cancel_receive(&self.waiter) };
        drop(wake);
        if self.waiter.state() == DONE {
            // SAFETY: it has been filled, and is ours.
            let (value, number) = unsafe { (self.waiter.take(), *self.waiter.number.get()) };
            self.core.put_back(value, number);
        }
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}
