//! Runnable fibers: polls that were preempted, and wait to go on.
//!
//! Two queues, each first come, first served. A poll that was stopped for the first time is *young*: it has run for no
//! longer than a minimum slice or so, and many polls end soon after that. It still has a turn, and waits among the young
//! for it. Once that is used up the poll is *old*, and has a whole slice at a time. The young go first, every other
//! time: so a poll of a few hundred microseconds, or one that only seemed long because the kernel had taken its core away,
//! does not wait for a round of slices behind hogs, and a flood of such polls does not starve the hogs.

use crate::primitives::atomic::{AtomicBool, Ordering};
use crate::stack::{Fiber, FiberQueue};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Batch {
    young: FiberQueue,
    old: FiberQueue,
    /// The last one taken was young.
    was_young: AtomicBool,
}

/// Which queue, and which end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Stopped for the first time: behind the other young ones.
    Young,
    /// Still young, and its turn is not used up: next of these.
    YoungFront,
    /// Its slice is used up: behind the other old ones.
    Old,
    /// It is not: next of these.
    OldFront,
}

impl Batch {
    /// Two empty queues.
    pub(crate) fn new() -> Batch {
        Batch {
            young: FiberQueue::new(),
            old: FiberQueue::new(),
            was_young: AtomicBool::new(false),
        }
    }

    /// How many fibers wait, at some moment.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Does none, at some moment?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.old.is_empty() && self.young.is_empty()
    }

    /// Does a young one?
    pub(crate) fn has_young(&self) -> bool {
        !self.young.is_empty()
    }

    /// Adds a suspended fiber.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber, and does no longer; it cannot be preempted meanwhile.
    pub(crate) unsafe fn push(&self, fiber: &'static Fiber, place: Place) {
        // SAFETY: the caller's promise is what these ask for.
        unsafe {
            match place {
                Place::Young => self.young.push_back(fiber),
                Place::YoungFront => self.young.push_front(fiber),
                Place::Old => self.old.push_back(fiber),
                Place::OldFront => self.old.push_front(fiber),
            }
        }
    }

    /// Takes the next. The caller owns it then, and cannot be preempted meanwhile.
    pub(crate) fn pop(&self) -> Option<&'static Fiber> {
        // A hint: two that take at once may both take a young one, or both an old one.
        if !self.was_young.load(Ordering::Relaxed) {
            if let Some(fiber) = self.young.pop() {
                self.was_young.store(true, Ordering::Relaxed);
                return Some(fiber);
            }
            return self.old.pop();
        }
        self.was_young.store(false, Ordering::Relaxed);
        self.old.pop().or_else(|| self.young.pop())
    }
}
