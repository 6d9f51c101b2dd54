//! Critical sections on a fiber: while a [`Critical`] lives, its fiber is not preempted.
//!
//! Entering is one increment of a counter that only this fiber writes; leaving is the decrement and one load
//! of the guard word. A preemption that was requested meanwhile found `critical > 0` and left the guard word
//! poisoned; the outermost exit sees that and gives way there (a synchronous safe-point).
//!
//! On a plain thread, and on a worker's system stack, there is no fiber and a `Critical` costs one load.
//!
//! # What may stand inside (rule R1)
//!
//! No allocation, no user code (poll, drop, wake, clone of a waker), no lock that user code can hold, no
//! waiting but for a [`CriticalMutex`].

use crate::primitives::RawLock;
use crate::stack::{self, Fiber};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Evidence that the current fiber, if any, cannot be preempted. Not `Send`: it belongs to one identity.
#[derive(Debug)]
pub(crate) struct Critical {
    fiber: *const Fiber,
    _not_send: PhantomData<*const ()>,
}

impl Critical {
    /// Stops preemption of the current fiber until the value is dropped. They nest.
    #[inline]
    pub(crate) fn enter() -> Critical {
        let fiber = stack::current();
        // SAFETY: `current` is null or the fiber whose identity this code runs under, which lives as long as
        // it runs.
        if let Some(fiber) = unsafe { fiber.as_ref() } {
            fiber.enter_critical();
        }
        Critical {
            fiber,
            _not_send: PhantomData,
        }
    }

    /// The fiber that is held, or none on a plain thread and on a system stack.
    #[inline]
    pub(crate) fn fiber(&self) -> Option<&Fiber> {
        // SAFETY: as in `enter`: it is this code's own fiber.
        unsafe { self.fiber.as_ref() }
    }
}

impl Drop for Critical {
    #[inline]
    fn drop(&mut self) {
        if let Some(fiber) = self.fiber()
            && fiber.leave_critical()
        {
            super::safepoint::give_way(fiber);
        }
    }
}

/// A lock for critical sections: its guard holds a [`Critical`], so no holder is ever preempted by us.
#[derive(Default)]
pub(crate) struct CriticalMutex<T> {
    lock: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out the value to one thread at a time, so `T: Send` is enough.
unsafe impl<T: Send> Sync for CriticalMutex<T> {}

impl<T> CriticalMutex<T> {
    /// A free lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        CriticalMutex {
            lock: RawLock::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Enters a critical section and takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> CriticalGuard<'_, T> {
        let critical = Critical::enter();
        self.lock.lock();
        CriticalGuard {
            mutex: self,
            _critical: critical,
        }
    }
}

impl<T> std::fmt::Debug for CriticalMutex<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CriticalMutex").finish_non_exhaustive()
    }
}

/// The value behind a [`CriticalMutex`], and a critical section.
pub(crate) struct CriticalGuard<'a, T> {
    mutex: &'a CriticalMutex<T>,
    // Dropped after `Drop::drop` has freed the lock: leaving may give way to another fiber.
    _critical: Critical,
}

impl<T> Deref for CriticalGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for CriticalGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for CriticalGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.lock.unlock();
    }
}

/// Is the calling code outside critical sections and our signal handler?
pub(crate) fn may_allocate() -> bool {
    // SAFETY: null, or the fiber that this code runs as.
    unsafe { stack::current().as_ref() }.is_none_or(|fiber| fiber.may_allocate())
}
