//! What every fiber does: take a task, poll it, take the next. The scheduler's loop runs here, on the fiber.
//!
//! Polling is a plain call. Nothing is switched, saved or timed while nobody is preempted. A poll that is
//! preempted takes this loop with it: when it is resumed and ends, the loop below it goes on, with whichever
//! worker and processor it is on by then, or with none (the processor was taken while it was blocked), or on its
//! lender (it was given back).
//!
//! The loop body is one critical section, but for the polls, the wake-ups and the destructors in it.

use super::context;
use super::home::{self, AtTop, Drive};
use super::hooks;
use super::next::{Next, found, next};
use super::overflow;
use super::processor::Processor;
use super::shared::Shared;
use super::timeline::{self, What};
use super::timer::{Expired, Left};
use super::told;
use super::worker::Worker;
use crate::fatal::fatal;
use crate::preempt::{safepoint, signal};
use crate::primitives::Arc;
use crate::primitives::atomic::{Ordering, compiler_fence};
use crate::stack::{Fate, Fiber, Life};
use crate::sys;
use std::mem::ManuallyDrop;

/// A fiber's life in this executor.
#[derive(Debug)]
pub(crate) struct FiberLife;

impl Life for FiberLife {
    fn start(&self, fiber: &'static Fiber) {
        let shared = shared_of(fiber);
        context::set_for_fiber(&shared);
        if let Some(hook) = &shared.config.on_thread_start {
            hooks::contain(|| hook());
        }
    }

    fn lent(&self, fiber: &'static Fiber) {
        // SAFETY: the owner's `Arc` is counted for the fiber until its lender stops.
        let shared = unsafe { &*fiber.owner.cast::<Shared>() };
        let is_new = !fiber.is_announced.swap(true, Ordering::Relaxed);
        // SAFETY: called on the park stack: the fiber is suspended, and the lender gives it up here.
        unsafe { shared.spare_fibers.push_back(fiber) };
        if is_new {
            shared.supply.fiber_started();
        }
        shared.fiber_available();
    }

    fn run(&self, fiber: &'static Fiber) {
        run(fiber, None);
    }

    fn fate(&self, fiber: &'static Fiber) -> Fate {
        overflow::fate(&shared_of(fiber), fiber)
    }

    fn stop(&self, fiber: &'static Fiber) {
        if let Some(hook) = &shared_of(fiber).config.on_thread_stop {
            hooks::contain(|| hook());
        }
        context::clear();
        // The loop's critical section ends with the loop: what follows is an ordinary thread's end.
        let _ = fiber.leave_critical();
        // SAFETY: one reference was counted for this fiber when it was made.
        let shared = unsafe { Arc::from_raw(fiber.owner.cast::<Shared>()) };
        fiber.has_stopped.store(true, Ordering::SeqCst);
        shared.shutdown.moved();
    }
}

/// The runtime that a fiber belongs to, without counting a reference.
pub(super) fn shared_of(fiber: &'static Fiber) -> ManuallyDrop<Arc<Shared>> {
    // SAFETY: `owner` came out of `Arc::into_raw` and is counted until the lender stops; this one is not dropped.
    ManuallyDrop::new(unsafe { Arc::from_raw(fiber.owner.cast::<Shared>()) })
}

/// The loop. Entered and left in a critical section. `drive` is what a home fiber runs it for (see `home`).
pub(super) fn run(fiber: &'static Fiber, mut drive: Option<&mut Drive<'_>>) {
    // The hook of threads that go idle has run; the other half follows under this identity, whatever comes between.
    let mut is_idle = false;
    loop {
        // Whoever wanted this fiber's worker gets it here: what follows is a scheduling decision.
        let was_wanted = fiber.is_wanted();
        if was_wanted {
            fiber.unpoison();
        }
        if signal::is_forked() {
            fatal!(
                "a task has returned in a forked child: let it call exec or _exit instead (R10)"
            );
        }
        fiber.preemptions.store(0, Ordering::Relaxed);
        if std::mem::take(&mut is_idle) {
            told::idle(fiber);
            continue;
        }
        let Some(worker) = worker_of(fiber) else {
            // On its lender, as an ordinary thread. The poll has ended, so has that.
            fiber.task.store(0, Ordering::Relaxed);
            if fiber.is_to_end() {
                return;
            }
            shared_of(fiber).let_clock_go();
            fiber.lend();
            continue;
        };
        let shared = worker.shared();
        let Some(processor) = worker.processor() else {
            restore_mask(worker);
            worker.leave_without_processor(fiber);
            continue;
        };
        if worker.target.stuck.load(Ordering::Relaxed) > 0 {
            restore_mask(worker);
        }
        if !processor.runs_tasks.load(Ordering::Relaxed) {
            // A poll that was resumed has ended.
            shared.switched(processor, None);
        } else if was_wanted {
            // The alarm has gone off and found this critical section. The next poll needs another.
            shared.relook(processor, sys::now());
        }
        if shared.config.home {
            if processor.called.load(Ordering::Relaxed) {
                shared.answer(processor);
            }
            match home::at_top(shared, processor, drive.as_deref_mut()) {
                AtTop::Go => {}
                AtTop::Leave(next) => {
                    found(shared, processor);
                    worker.leave_for(fiber, next);
                    continue;
                }
                AtTop::Poll => {
                    found(shared, processor);
                    let tick = processor.tick.load(Ordering::Relaxed);
                    processor.tick.store(tick + 1, Ordering::Relaxed);
                    overrule(shared, processor, fiber);
                    let drive = drive.as_deref_mut();
                    timeline::begins(fiber, What::Root);
                    preemptible(fiber, || drive.into_iter().for_each(Drive::poll));
                    timeline::ends(fiber);
                    continue;
                }
                AtTop::End => return,
            }
        }
        match next(shared, processor, fiber) {
            Next::Run(task) => {
                let task = match task.parked_poll() {
                    Err(task) => task,
                    Ok(next) => {
                        worker.leave_for_woken(fiber, next);
                        continue;
                    }
                };
                let tick = processor.tick.load(Ordering::Relaxed);
                processor.tick.store(tick + 1, Ordering::Relaxed);
                overrule(shared, processor, fiber);
                if !processor.pressed.load(Ordering::SeqCst) && shared.own_task_waits(processor) {
                    // A mark may make the poll that has not begun seem old: it is given the time until a signal.
                    if shared.press(processor) {
                        shared.rearm(processor, false);
                    }
                }
                let location = std::ptr::from_ref(task.location()).cast_mut();
                fiber.location.store(location, Ordering::Relaxed);
                fiber.task.store(task.id().get(), Ordering::Relaxed);
                if shared.config.watches_polls() {
                    told::poll(shared, processor, fiber, task);
                } else {
                    preemptible(fiber, || task.run());
                }
                fiber.task.store(0, Ordering::Relaxed);
            }
            Next::Timers => wake_expired(shared, processor, fiber),
            Next::Fiber(next) => worker.leave_for(fiber, next),
            Next::Drain => {
                timeline::begins(fiber, What::Drain);
                preemptible(fiber, || shared.drain());
                timeline::ends(fiber);
            }
            Next::Idle => {
                processor.mark_next(sys::now());
                overrule(shared, processor, fiber);
                timeline::begins(fiber, What::Hook);
                preemptible(fiber, || shared.config.hooks.park());
                timeline::ends(fiber);
                is_idle = true;
            }
            Next::Top => {}
            Next::Retire => {
                shared.retire(worker, processor);
                if drive.is_some() {
                    return;
                }
            }
        }
    }
}

/// What comes next has been chosen: a request to make room that is older is answered by that.
#[inline]
pub(super) fn overrule(shared: &Shared, processor: &Processor, fiber: &Fiber) {
    if fiber.is_wanted() {
        fiber.unpoison();
        shared.relook(processor, sys::now());
    }
}

/// Runs user code: leaves the critical section for the length of `f`.
#[inline]
pub(super) fn preemptible(fiber: &'static Fiber, f: impl FnOnce()) {
    if fiber.leave_critical() {
        safepoint::give_way(fiber);
    }
    f();
    compiler_fence(Ordering::SeqCst);
    fiber.enter_critical();
}

/// The worker that runs this fiber, in a critical section; none on the lender.
#[inline]
pub(super) fn worker_of(fiber: &'static Fiber) -> Option<&'static Worker> {
    let target = safepoint::worker_of(fiber)?;
    // SAFETY: a target is the first field of its worker.
    Some(unsafe { &*std::ptr::from_ref(target).cast::<Worker>() })
}

/// A task that changed the signal mask has ended: the next one gets the worker's own (R5).
#[cold]
fn restore_mask(worker: &Worker) {
    sys::sigmask(Some(worker.target.mask.load(Ordering::Relaxed)));
    worker.target.stuck.store(0, Ordering::Relaxed);
}

/// Wakes the tasks whose timers are due: collected critically, woken preemptibly.
fn wake_expired(shared: &Shared, processor: &Processor, fiber: &'static Fiber) {
    // False first: a timer that becomes due from here on sets it again.
    processor.due.store(false, Ordering::SeqCst);
    let mut expired = Expired::new();
    let timers = shared.timers.shard(processor.index);
    let first = timers.next();
    let left = timers.take_expired(sys::now(), &mut expired);
    match left {
        Left::MoreDue => processor.due.store(true, Ordering::SeqCst),
        Left::NothingDue => shared.rearm(processor, false),
    }
    // What was asked of the poll before is not asked of these: nobody else has their wakers.
    processor.mark_next(sys::now());
    overrule(shared, processor, fiber);
    // Set and cleared in critical sections: the fiber is the same, the processor may not be.
    fiber.is_between_polls.store(true, Ordering::Relaxed);
    timeline::begins_timers(fiber, first, expired.len());
    preemptible(fiber, move || expired.wake_all());
    timeline::ends(fiber);
    fiber.is_between_polls.store(false, Ordering::Relaxed);
}
