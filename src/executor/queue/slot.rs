//! A processor's slot: the task that was woken last goes first, while what it was woken with is still in the cache.
//!
//! Whoever is put in pushes out who was there, into the ring. A task in the slot wakes no idle processor: its own takes it
//! as soon as the current poll ends. If that takes long, the slot is *opened* (`slice`), and anybody may take it.
//!
//! Two tasks that wake each other could keep the ring waiting for ever, so only so many polls in a row come from the slot.

use crate::executor::task::{Header, Notified};
use crate::primitives::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::ptr::{NonNull, null_mut};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Slot {
    task: AtomicPtr<Header>,
    open: AtomicBool,
}

impl Slot {
    /// An empty one.
    pub(crate) fn new() -> Slot {
        Slot {
            task: AtomicPtr::new(null_mut()),
            open: AtomicBool::new(false),
        }
    }

    /// No task in it, at some moment.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.task.load(Ordering::SeqCst).is_null()
    }

    /// Puts a task in; who was there before comes out. Owner only, critical.
    #[inline]
    pub(crate) fn put(&self, task: Notified) -> Option<Notified> {
        // Release: a thief that takes it sees what was done before. SeqCst: half of the sleep protocol.
        let before = self.task.swap(task.into_raw().as_ptr(), Ordering::SeqCst);
        // SAFETY: it was turned raw when it was put in, and the swap made it ours.
        NonNull::new(before).map(|task| unsafe { Notified::from_raw(task) })
    }

    /// Takes the task. Owner only, critical.
    #[inline]
    pub(crate) fn take(&self) -> Option<Notified> {
        if self.is_empty() {
            return None;
        }
        if self.open.load(Ordering::Relaxed) {
            self.open.store(false, Ordering::Relaxed);
        }
        let task = self.task.swap(null_mut(), Ordering::Acquire);
        // SAFETY: as in `put`.
        NonNull::new(task).map(|task| unsafe { Notified::from_raw(task) })
    }

    /// Anybody may take what is in it, until its owner does. Async-signal-safe.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Is there a task that anybody may take?
    pub(crate) fn offers(&self) -> bool {
        self.open.load(Ordering::SeqCst) && !self.is_empty()
    }

    /// Takes the task if the slot is open. Any thread, critical.
    pub(crate) fn steal(&self) -> Option<Notified> {
        if !self.offers() {
            return None;
        }
        let task = self.task.swap(null_mut(), Ordering::Acquire);
        // SAFETY: as in `put`.
        NonNull::new(task).map(|task| unsafe { Notified::from_raw(task) })
    }
}
