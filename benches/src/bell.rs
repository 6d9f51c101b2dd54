//! A wake-up that belongs to no runtime: one task waits, any other rings.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Rings for one waiter at a time. A ring that nobody waits for is kept; two are one.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waiter: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes the waiter.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        let waiter = self
            .waiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Until it rings.
    pub fn rung(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|context| {
            if self.rung.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *self.waiter.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(context.waker().clone());
            // It may have rung before the waker was there.
            if self.rung.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
    }
}
