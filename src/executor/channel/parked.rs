//! Sending and receiving in the middle of a poll, which is parked meanwhile (see `executor::parker`), and without waiting.
//!
//! The waiter lies on the caller's stack. It is the unpark that ends the wait, not the waiter's state: so whoever has
//! filled the slot is through with waiter and parker when this goes on.

use super::core::{Core, Received, Sent};
use super::error::{SendError, TryRecvError, TrySendError};
use super::waiter::{DONE, Waiter, Wake};
use crate::executor::parker::Parker;

/// How the parker learns.
#[inline]
fn wake_of(parker: &Parker) -> Option<Wake> {
    // SAFETY: the parker stays where it is until `park` has returned; one that is not enqueued is dropped unused.
    Some(Wake::Poll(unsafe { parker.unparker() }))
}

pub(super) fn send<T>(core: &Core<T>, value: T) -> Result<(), SendError<T>> {
    let waiter = Waiter::full(value);
    let parker = Parker::new();
    let mut wake = None;
    if core.seems_full() {
        wake = wake_of(&parker);
    }
    loop {
        // SAFETY: the slot is full and the waiter idle; it stays here until the wait is over.
        match unsafe { core.send(&waiter, &mut wake) } {
            Sent::Done(receiver) => {
                receiver.into_iter().for_each(Wake::wake);
                return Ok(());
            }
            Sent::Full => wake = wake_of(&parker),
            // SAFETY: the value is still in the slot, and the waiter not enqueued.
            Sent::Closed => return Err(SendError(unsafe { waiter.take() })),
            Sent::Waits => break,
        }
    }
    parker.park();
    match waiter.state() {
        DONE => Ok(()),
        // SAFETY: as above, since the channel was closed.
        _ => Err(SendError(unsafe { waiter.take() })),
    }
}

pub(super) fn receive<T>(core: &Core<T>) -> Option<T> {
    let waiter = Waiter::empty();
    let parker = Parker::new();
    let mut wake = None;
    if core.seems_empty() {
        wake = wake_of(&parker);
    }
    loop {
        // SAFETY: the slot is empty and the waiter idle; it stays here until the wait is over.
        match unsafe { core.receive(&waiter, &mut wake) } {
            Received::Done(sender, node) => {
                // SAFETY: the slot was filled.
                let value = unsafe { waiter.take() };
                drop(node);
                sender.into_iter().for_each(Wake::wake);
                return Some(value);
            }
            Received::Empty => wake = wake_of(&parker),
            Received::Closed => return None,
            Received::Waits => break,
        }
    }
    parker.park();
    // SAFETY: the slot was filled.
    (waiter.state() == DONE).then(|| unsafe { waiter.take() })
}

#[inline]
pub(super) fn try_send<T>(core: &Core<T>, value: T) -> Result<(), TrySendError<T>> {
    let waiter = Waiter::full(value);
    // SAFETY: the slot is full, and nothing is enqueued without a wake.
    match unsafe { core.send(&waiter, &mut None) } {
        Sent::Done(receiver) => {
            receiver.into_iter().for_each(Wake::wake);
            Ok(())
        }
        // SAFETY: the value is still in the slot.
        Sent::Closed => Err(TrySendError::Closed(unsafe { waiter.take() })),
        // SAFETY: as above.
        Sent::Full | Sent::Waits => Err(TrySendError::Full(unsafe { waiter.take() })),
    }
}

#[inline]
pub(super) fn try_receive<T>(core: &Core<T>) -> Result<T, TryRecvError> {
    let waiter = Waiter::empty();
    // SAFETY: the slot is empty, and nothing is enqueued without a wake.
    match unsafe { core.receive(&waiter, &mut None) } {
        Received::Done(sender, node) => {
            // SAFETY: the slot was filled.
            let value = unsafe { waiter.take() };
            drop(node);
            sender.into_iter().for_each(Wake::wake);
            Ok(value)
        }
        Received::Closed => Err(TryRecvError::Disconnected),
        Received::Empty | Received::Waits => Err(TryRecvError::Empty),
    }
}
