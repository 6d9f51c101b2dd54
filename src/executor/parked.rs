//! What becomes of polls that are parked, or have been: what their worker does next, where they are queued, and how they end
//! with their runtime.
//!
//! The waits themselves are in `parker`, the words in `stack::parked`.

use super::batch::Place;
use super::next::{has_other_duty, take_own};
use super::parker::Parker;
use super::processor::Processor;
use super::shared::Shared;
use super::task::{Notified, Resumption};
use super::worker::{Goes, New, Worker};
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

impl Worker {
    /// In the middle of a poll: parks the fiber, whose parker this is.
    pub(crate) fn park(&self, fiber: &Fiber, parker: &Parker) {
        self.parker.set(parker);
        self.mcall(fiber, parked);
    }

    /// What comes after a poll that parks, if it is there: the owner of a fiber that is not published waits for nothing.
    fn after_parking(&self, processor: &Processor, was_wanted: bool) -> Option<New> {
        let shared = self.shared();
        // Two polls that wake each other in turn: no need for the loop between them.
        if !has_other_duty(shared, processor)
            && let Some(task) = take_own(processor)
        {
            match task.parked_poll() {
                Ok(next) => return Some(New::Woken(next, was_wanted)),
                Err(task) => {
                    if let Some(other) = processor.slot.put(task) {
                        processor.queue.push(other, &shared.global);
                    }
                }
            }
        }
        if !shared.interactive_waits(processor)
            && let Some(next) = shared.batch.pop()
        {
            return Some(New::Preempted(next));
        }
        shared
            .take_spare_fiber()
            .map(New::Spare)
            .or_else(|| shared.batch.pop().map(New::Preempted))
    }
}

/// A fiber parks in the middle of a poll.
unsafe extern "sysv64" fn parked(argument: *mut ()) -> ! {
    // SAFETY: `mcall` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    let fiber = worker.detach();
    let parker = worker.parker.replace(std::ptr::null());
    // SAFETY: `park` has set it, and what it points to is the suspended fiber's.
    if unsafe { &*parker }.is_notified() {
        worker.enter(fiber)
    }
    // Whoever wanted the fiber to make room gets what it asked for.
    let was_wanted = fiber.is_wanted();
    if was_wanted {
        fiber.unpoison();
    }
    let goes = Goes::Parked(parker);
    if let Some(processor) = worker.processor()
        && let Some(new) = worker.after_parking(processor, was_wanted)
    {
        worker.switch(processor, Some((fiber, goes)), new);
    }
    worker.keep_signal_stack(fiber);
    worker.record_leaving(fiber, goes);
    worker.publish(fiber, goes);
    match worker.processor() {
        Some(processor) => worker.dispatch(processor),
        None => worker.spare(),
    }
}
