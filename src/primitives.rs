//! The only importer of atomics and locks, so that loom can take their place under `--cfg loom`.
//!
//! Two kinds of lock, and rule R1 in their names:
//!
//! - [`Mutex`] is for ordinary, preemptible code. Its holder can be preempted, so it must never be taken
//!   inside a critical section.
//! - [`RawLock`] is for critical sections: whoever holds it cannot be preempted by us, so a waiter waits at
//!   most for the kernel to run the holder again. `preempt::CriticalMutex` wraps it.

pub(crate) use std::sync::OnceLock;
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};

use crate::sys;
use std::sync::atomic::{AtomicU32, Ordering};

/// A futex lock that neither allocates nor touches thread-local storage.
///
/// ```text
///   0 free ──lock──▶ 1 held ──another wants it──▶ 2 held, somebody sleeps
///   ▲                  │                             │
///   └──────unlock──────┴───────unlock, wake one──────┘
/// ```
///
/// `lock` is Acquire and `unlock` Release on the one word.
#[derive(Debug, Default)]
pub(crate) struct RawLock(AtomicU32);

impl RawLock {
    /// A free lock.
    pub(crate) const fn new() -> Self {
        RawLock(AtomicU32::new(0))
    }

    /// Waits until the lock is free and takes it. The caller must not be preemptible while it holds it.
    #[inline]
    pub(crate) fn lock(&self) {
        if self
            .0
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow();
        }
    }

    #[cold]
    fn lock_slow(&self) {
        // Holders are never preempted by us and hold for well under a microsecond: worth a short spin. With pauses that
        // grow: where two cores want the lock all the time, each does several things in a row, rather than wait for what
        // the lock guards to come over from the other's cache every time.
        for exponent in 2..8 {
            for _ in 0..1 << exponent {
                std::hint::spin_loop();
            }
            if self.0.load(Ordering::Relaxed) == 0
                && self
                    .0
                    .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
        }
        while self.0.swap(2, Ordering::Acquire) != 0 {
            sys::futex_wait(&self.0, 2, None);
        }
    }

    /// Frees the lock. Only its holder may call this.
    #[inline]
    pub(crate) fn unlock(&self) {
        if self.0.swap(0, Ordering::Release) == 2 {
            sys::futex_wake(&self.0, 1);
        }
    }
}
