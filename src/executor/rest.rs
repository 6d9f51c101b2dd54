//! How a processor with nothing to do sleeps: the steps of the protocol in `sleep` that parking takes.

use super::processor::Processor;
use super::shared::Shared;
use super::sleep::PARKED;
use super::supply::{KEPT_STACK, TRIM_EVERY};
use super::timeline::{self, What};
use crate::primitives::atomic::Ordering;
use crate::stack::Fiber;
use crate::sys;

/// Sleeps, with what comes before and after.
pub(super) fn rest(shared: &Shared, processor: &Processor, fiber: &'static Fiber) {
    timeline::begins(fiber, What::Idle);
    processor.rests(sys::now());
    park(shared, processor, fiber);
    processor.works(sys::now());
    timeline::ends(fiber);
    // What it slept until was its futex's deadline; what runs now may be a hog, and needs an alarm.
    if shared.timers.shard(processor.index).next() != u64::MAX {
        shared.rearm(processor, false);
    }
    shared.monitor.busy_again();
}

/// Sleeps until there may be something to do. The protocol is in `sleep`.
fn park(shared: &Shared, processor: &Processor, fiber: &Fiber) {
    shared.nothing_runs(processor);
    shared.sleep.park(processor.index, &processor.sleeper);
    let timers = shared.timers.shard(processor.index);
    loop {
        // In this order: whoever has let the clock go by now has made runnable before what is to see it stand.
        let may_advance = shared.timers.may_advance();
        if shared.anything_runnable(processor)
            || shared.is_root_woken()
            || timers.next() <= sys::now()
        {
            if timers.next() <= sys::now() {
                processor.due.store(true, Ordering::SeqCst);
            }
            if !shared
                .sleep
                .cancel_park(processor.index, &processor.sleeper)
            {
                wait_for_waker(processor);
            }
            return;
        }
        if processor.sleeper.is_awake() {
            return;
        }
        if may_advance && shared.timers.auto_advance() {
            continue;
        }
        let next = timers.next().min(trim(shared, processor, fiber));
        let deadline = (next != u64::MAX).then_some(next);
        sys::futex_wait(&processor.sleeper.parked, PARKED, deadline);
        if processor.sleeper.is_awake() {
            return;
        }
    }
}

/// Gives back what the polls of the last second have committed of the stack, if there were any. Returns when it is due.
fn trim(shared: &Shared, processor: &Processor, fiber: &Fiber) -> u64 {
    let tick = processor.tick.load(Ordering::Relaxed);
    if processor.trimmed_tick.load(Ordering::Relaxed) == tick {
        return u64::MAX;
    }
    let due = processor.trimmed.load(Ordering::Relaxed) + TRIM_EVERY;
    let now = sys::now();
    if due > now {
        return due;
    }
    fiber.trim_own(KEPT_STACK);
    // It does the same for fibers and segments that nobody uses, and sleeps until somebody asks.
    shared.supply.ask();
    processor.trimmed.store(now, Ordering::Relaxed);
    processor.trimmed_tick.store(tick, Ordering::Relaxed);
    u64::MAX
}

/// A waker has taken this processor out of `idle` and is about to say so.
fn wait_for_waker(processor: &Processor) {
    while !processor.sleeper.is_awake() {
        sys::futex_wait(&processor.sleeper.parked, PARKED, None);
    }
}
