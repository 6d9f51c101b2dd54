//! The lock of critical sections, made of one that loom knows.

use loom::sync::{Mutex, MutexGuard};
use std::cell::UnsafeCell;
use std::mem::transmute;

#[derive(Debug)]
pub(crate) struct RawLock {
    // First: it must go before what it guards.
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    lock: Mutex<()>,
}

// SAFETY: the cell stops the auto-impl; only the lock's holder touches it.
unsafe impl Sync for RawLock {}
// SAFETY: loom runs all threads of a model on one.
unsafe impl Send for RawLock {}

impl RawLock {
    pub(crate) fn new() -> Self {
        RawLock {
            guard: UnsafeCell::new(None),
            lock: Mutex::new(()),
        }
    }

    pub(crate) fn lock(&self) {
        let guard = self.lock.lock().unwrap();
        // SAFETY: it is dropped by `unlock`, or as a field, before the lock that it borrows.
        let guard = unsafe { transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) };
        // SAFETY: the caller holds the lock now.
        unsafe { *self.guard.get() = Some(guard) };
    }

    pub(crate) fn unlock(&self) {
        // SAFETY: the caller holds the lock until the end of this function.
        let guard = unsafe { (*self.guard.get()).take() };
        drop(guard);
    }
}
