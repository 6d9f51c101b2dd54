//! The lock of critical sections with what it guards, made of one that loom knows.

use loom::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct CriticalMutex<T>(Mutex<T>);

impl<T> CriticalMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        CriticalMutex(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

/// Nothing preempts a model's threads.
#[derive(Debug)]
pub(crate) struct Critical;

impl Critical {
    pub(crate) fn enter() -> Critical {
        Critical
    }
}
