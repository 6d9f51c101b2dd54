//! What comes next: the order in which the loop looks for something to do. All of it in the loop's critical section.

use super::processor::Processor;
use super::rest::rest;
use super::shared::Shared;
use super::task::Notified;
use super::told;
use crate::primitives::atomic::Ordering;
use crate::stack::Fiber;

/// So many polls in a row may come from the slot while others wait.
const SLOT_RUNS: u32 = 3;

/// What the loop does next.
pub(super) enum Next {
    Run(Notified),
    /// Timers are due: wake whom they wake.
    Timers,
    /// A preempted poll goes on; this fiber is not needed for that.
    Fiber(&'static Fiber),
    /// Shutdown: drop tasks that are left.
    Drain,
    /// Nothing, so far, and somebody wants to know before the processor sleeps.
    Idle,
    /// There may be something now, for the root of a current-thread runtime as well.
    Top,
    /// Nothing, for good.
    Retire,
}

/// Decides what comes next; sleeps while there is nothing.
#[inline]
pub(super) fn next(shared: &Shared, processor: &Processor, fiber: &'static Fiber) -> Next {
    let mut called = false;
    let found_task = |task, called| found_next(shared, processor, Next::Run(task), called);
    loop {
        if processor.called.load(Ordering::Relaxed) {
            shared.answer(processor);
            called = true;
        }
        let tick = processor.tick.load(Ordering::Relaxed);
        look_at_timers(shared, processor, false);
        if processor.due.load(Ordering::Relaxed) {
            return found_next(shared, processor, Next::Timers, called);
        }
        if processor.batch_turn.load(Ordering::Relaxed) {
            processor.batch_turn.store(false, Ordering::Relaxed);
            if let Some(fiber) = shared.batch.pop() {
                return found_next(shared, processor, Next::Fiber(fiber), called);
            }
        }
        if shared.shutdown.has_begun() {
            return shutting_down(shared, processor);
        }
        if tick >= processor.global_at.load(Ordering::Relaxed) {
            let at = tick + shared.config.global_every;
            processor.global_at.store(at, Ordering::Relaxed);
            // On a current-thread runtime all tasks go through it.
            if !shared.config.home
                && let Some(task) = shared.global.pop_many(0, |_| {})
            {
                return found_task(task, called);
            }
        }
        if let Some(task) = take_own(processor) {
            return found_task(task, called);
        }
        if let Some(task) = shared.take_global(processor) {
            return found_task(task, called);
        }
        if let Some(task) = steal(shared, processor, called) {
            return found_task(task, called);
        }
        if let Some(fiber) = shared.batch.pop() {
            return found_next(shared, processor, Next::Fiber(fiber), called);
        }
        if shared.config.hooks.watch_parks() {
            return told::before_idling(shared, processor);
        }
        rest(shared, processor, fiber);
        if shared.config.home {
            return Next::Top;
        }
    }
}

/// Every so many polls, or always: is a timer due that no signal has told of? Where polls are short, timers go off on time
/// in this way, and cost no signal.
#[inline]
pub(super) fn look_at_timers(shared: &Shared, processor: &Processor, always: bool) {
    let tick = processor.tick.load(Ordering::Relaxed);
    if !always && tick < processor.timers_at.load(Ordering::Relaxed) {
        return;
    }
    let at = tick + shared.config.timers_every;
    processor.timers_at.store(at, Ordering::Relaxed);
    if shared.timers.shard(processor.index).is_due() {
        processor.due.store(true, Ordering::SeqCst);
    }
}

/// Is there something for the loop to do before it takes a task of the processor's own?
pub(super) fn has_other_duty(shared: &Shared, processor: &Processor) -> bool {
    let tick = processor.tick.load(Ordering::Relaxed);
    processor.called.load(Ordering::Relaxed)
        || processor.due.load(Ordering::Relaxed)
        || processor.batch_turn.load(Ordering::Relaxed)
        || tick >= processor.timers_at.load(Ordering::Relaxed)
        || tick >= processor.global_at.load(Ordering::Relaxed)
        || shared.shutdown.has_begun()
}

/// Find, step 1 (see `sleep`).
#[inline]
pub(super) fn found(shared: &Shared, processor: &Processor) {
    if processor.sleeper.is_searching() {
        stop_searching(shared, processor);
    }
}

#[inline]
fn found_next(shared: &Shared, processor: &Processor, next: Next, called: bool) -> Next {
    found(shared, processor);
    if called {
        shared.pass_on();
    }
    next
}

#[cold]
fn stop_searching(shared: &Shared, processor: &Processor) {
    if shared.sleep.end_search(&processor.sleeper) {
        wake_next_searcher(shared, processor);
    }
}

/// The last searcher has found something: there may be more.
pub(super) fn wake_next_searcher(shared: &Shared, processor: &Processor) {
    if !shared.wake_one() {
        // All are busy. Whoever has something waiting must not run without end.
        for other in &shared.processors {
            if other.index != processor.index && other.has_task() {
                shared.press_from_afar(other);
            }
        }
        shared.pass_on();
        if !shared.batch.is_empty() {
            // Whoever put a fiber there may have counted on this search.
            shared.bound_for_batch();
        }
    }
}

/// Takes a task of the processor's own: see `queue::Slot`.
#[inline]
pub(super) fn take_own(processor: &Processor) -> Option<Notified> {
    let runs = processor.slot_runs.load(Ordering::Relaxed);
    if runs < SLOT_RUNS
        && let Some(task) = processor.slot.take()
    {
        processor.slot_runs.store(runs + 1, Ordering::Relaxed);
        return Some(task);
    }
    if runs > 0 {
        processor.slot_runs.store(0, Ordering::Relaxed);
    }
    processor.queue.pop().or_else(|| processor.slot.take())
}

/// Looks into the other processors' rings, and into their slots where those are open.
fn steal(shared: &Shared, processor: &Processor, called: bool) -> Option<Notified> {
    let count = shared.processors.len();
    if count == 1 {
        return None;
    }
    if !shared.sleep.search(&processor.sleeper, called) {
        return None;
    }
    let start = processor.next_victim.load(Ordering::Relaxed) as usize;
    processor
        .next_victim
        .store(start.wrapping_add(1) as u32, Ordering::Relaxed);
    let others = || {
        (0..count)
            .map(|offset| &shared.processors[(start + offset) % count])
            .filter(|victim| victim.index != processor.index)
    };
    let task = others()
        .find_map(|victim| victim.queue.steal_into(&processor.queue))
        .or_else(|| others().find_map(|victim| victim.slot.steal()));
    if task.is_some() {
        let steals = processor.steals.load(Ordering::Relaxed);
        processor.steals.store(steals + 1, Ordering::Relaxed);
    }
    task
}

/// The rest of a processor's life after shutdown has begun.
fn shutting_down(shared: &Shared, processor: &Processor) -> Next {
    let _ = shared.sleep.end_search(&processor.sleeper);
    if !shared.is_drained(processor) {
        return Next::Drain;
    }
    processor.is_drained.store(true, Ordering::Relaxed);
    // Polls that were preempted go on to their end.
    if let Some(fiber) = shared.batch.pop() {
        return Next::Fiber(fiber);
    }
    Next::Retire
}
