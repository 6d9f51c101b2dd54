//! What becomes of polls that are parked, or have been: where they are queued, and how they end with their runtime.
//!
//! The waits themselves are in `parker`, the words in `stack::parked`.

use super::batch::Place;
use super::parker::Parker;
use super::processor::Processor;
use super::shared::Shared;
use super::task::{Notified, Resumption};
use crate::preempt::Critical;
use crate::primitives::atomic::Ordering;
use crate::stack::{Fiber, Taken};
use crate::sys;
use std::ptr::NonNull;

impl Shared {
    /// Does shutdown leave parked polls to their lenders?
    ///
    /// SeqCst against whoever parks or wakes: the flags are set first, then shutdown looks for parked polls and at the
    /// queues; they park or queue first, and look at the flags then.
    fn lets_go(&self) -> bool {
        self.shutdown.workers_may_end() || self.shutdown.has_abandoned()
    }

    /// A parked poll was woken: queues it like a task.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber, on whose stack this lies, and does no longer; it cannot be preempted.
    pub(crate) unsafe fn woken(&self, resumption: NonNull<Resumption>) {
        // SAFETY: it lies on the stack of a suspended fiber.
        let fiber = unsafe { resumption.as_ref() }.fiber();
        if self.shutdown.has_begun() {
            // SAFETY: the caller's promise.
            return unsafe { self.woken_late(fiber) };
        }
        // SAFETY: as above.
        self.schedule(unsafe { Resumption::notify(resumption) });
        if self.lets_go() {
            self.rescue();
        }
    }

    /// The same where it cannot be queued like a task: shutdown drops those, and a trimmer does not know the parker.
    ///
    /// # Safety
    ///
    /// As for [`woken`](Self::woken).
    pub(crate) unsafe fn woken_late(&self, fiber: &'static Fiber) {
        fiber.is_young.store(true, Ordering::Relaxed);
        fiber.slice_left.store(self.quantum(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.batch.push(fiber, Place::Young) };
        self.submitted_fiber();
        if self.lets_go() {
            self.rescue();
        }
    }

    /// On a system stack: a fiber that was suspended in order to park becomes visible.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber, and does no longer. The parker is that fiber's.
    pub(crate) unsafe fn commit_park(&self, fiber: &'static Fiber, parker: &Parker) {
        if self.lets_go() {
            // SAFETY: the caller's promise.
            unsafe { fiber.give_back(self.config.mask(), self.shutdown.has_abandoned()) };
            return;
        }
        let word: *const _ = fiber.parked.word();
        match fiber.parked.commit(parker.notice()) {
            // It may be anybody's by now.
            None if self.lets_go() => self.shutdown.moved(),
            None => self.supply.has_parked(),
            Some(Taken::Trimmers) => {}
            // SAFETY: it was taken.
            Some(Taken::Mine) => unsafe { self.woken_late(fiber) },
            Some(Taken::Lenders) => sys::futex_wake_at(word, 1),
        }
    }

    /// Nobody resumes what is queued: their lenders do. (Tasks stay; they are shutdown's to drop.)
    pub(crate) fn rescue(&self) {
        let _critical = Critical::enter();
        for _ in 0..self.global.len() {
            match self.global.pop_many(0, |_| {}).map(Notified::parked_poll) {
                // SAFETY: out of the queue it is ours.
                Some(Ok(fiber)) => unsafe {
                    fiber.give_back(self.config.mask(), self.shutdown.has_abandoned());
                },
                Some(Err(task)) => self.global.push(task),
                None => break,
            }
        }
        self.give_back_all(self.shutdown.has_abandoned());
    }

    /// Leaves these polls, if they are parked, to their lenders. The flags of shutdown say so already.
    pub(crate) fn give_back_parked<'a>(&self, fibers: impl Iterator<Item = &'a &'static Fiber>) {
        let _critical = Critical::enter();
        for fiber in fibers.filter(|fiber| fiber.parked.give()) {
            self.counters.add(&self.counters.given_back);
            // SAFETY: suspended, and nobody else has it.
            unsafe { fiber.give_back(self.config.mask(), self.shutdown.has_abandoned()) };
        }
    }

    /// A poll that was parked goes on with this processor, like a task that is polled; what ran before has ended, or has
    /// parked.
    pub(crate) fn resumed(&self, processor: &Processor, was_wanted: bool) {
        if was_wanted || !processor.runs_tasks.load(Ordering::Relaxed) {
            self.switched(processor, None);
        }
        let tick = processor.tick.load(Ordering::Relaxed);
        processor.tick.store(tick + 1, Ordering::Relaxed);
        if !processor.pressed.load(Ordering::SeqCst)
            && processor.has_task()
            && self.press(processor)
        {
            self.rearm(processor, false);
        }
    }
}
