//! In the place of parked polls: a thread that waits. (Their own protocol is in the model `parked`.)

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

#[derive(Debug)]
struct Wait {
    told: AtomicBool,
    /// Wakes spuriously, too.
    notify: Notify,
}

/// Shared, for loom's part of it is touched after it was told.
#[derive(Debug)]
pub(crate) struct Parker(Arc<Wait>);

#[derive(Debug)]
pub(crate) struct Unparker(Arc<Wait>);

impl Parker {
    pub(crate) fn new() -> Parker {
        Parker(Arc::new(Wait {
            told: AtomicBool::new(false),
            notify: Notify::new(),
        }))
    }

    /// # Safety
    ///
    /// - None here; the real one says what.
    pub(crate) unsafe fn unparker(&self) -> Unparker {
        Unparker(self.0.clone())
    }

    pub(crate) fn park(&self) {
        while !self.0.told.load(Ordering::Acquire) {
            self.0.notify.wait();
        }
    }
}

impl Unparker {
    pub(crate) fn unpark(self) {
        self.0.told.store(true, Ordering::Release);
        self.0.notify.notify();
    }
}
