//! The loop's steps where a hook is to be told of something: see `hooks`.
//!
//! A hook may take its time, be preempted, or lose its processor, so nobody is to count on what the processor was about
//! to do (see `sleep`): it stops to search before a hook, by the rules for those that park, or that have found something.

use super::fiber_loop::{overrule, preemptible, shared_of, worker_of};
use super::hooks::TaskMeta;
use super::next::{Next, wake_next_searcher};
use super::processor::Processor;
use super::rest::rest;
use super::shared::Shared;
use super::task::Notified;
use super::timeline::{self, What};
use crate::primitives::atomic::Ordering;
use crate::stack::Fiber;
use crate::sys;

/// Polls a task, and does what was asked for before and after polls.
#[inline(never)]
pub(super) fn poll(shared: &Shared, processor: &Processor, fiber: &'static Fiber, task: Notified) {
    let hooks = &shared.config.hooks;
    let times = shared.poll_times.get(processor.index);
    timeline::begins(fiber, What::Poll);
    preemptible(fiber, || {
        let meta = TaskMeta::of(&task);
        hooks.before_poll(&meta);
        let start = times.map(|times| (times, sys::now()));
        task.run();
        if let Some((times, start)) = start {
            times.record(sys::now() - start);
        }
        hooks.after_poll(&meta);
    });
    timeline::ends(fiber);
}

/// Nothing was found. Park, steps 2 and 3: stops to search, then looks once more; what is submitted from there on wakes
/// or presses somebody.
#[cold]
pub(super) fn before_idling(shared: &Shared, processor: &Processor) -> Next {
    let _ = shared.sleep.end_search(&processor.sleeper);
    if shared.anything_runnable(processor) || shared.is_root_woken() {
        let _ = shared.sleep.search(&processor.sleeper, true);
        return Next::Top;
    }
    Next::Idle
}

/// The hook of threads that go idle has run: sleeps, if there is nothing new, and tells that it is over. A fiber that was
/// preempted in the hook may have no processor now; it only tells.
#[cold]
pub(super) fn idle(fiber: &'static Fiber) {
    if let Some(worker) = worker_of(fiber)
        && let Some(processor) = worker.processor()
    {
        let shared = worker.shared();
        if !processor.runs_tasks.load(Ordering::Relaxed) {
            shared.switched(processor, None);
        }
        // A processor that has nothing left to drop at shutdown sleeps no more: nobody would wake it.
        if !shared.shutdown.has_begun() {
            rest(shared, processor, fiber);
        }
        // Find, step 1.
        if shared.sleep.end_search(&processor.sleeper) && shared.anything_runnable(processor) {
            wake_next_searcher(shared, processor);
        }
        processor.mark_next(sys::now());
        overrule(shared, processor, fiber);
        // What has woken the processor waits for the hook. Whoever submitted it has woken somebody, and pressed nobody.
        if shared.config.hooks.watch_unparks() && shared.interactive_waits(processor) {
            shared.press_from_afar(processor);
        }
    }
    let shared = shared_of(fiber);
    timeline::begins(fiber, What::Hook);
    preemptible(fiber, || shared.config.hooks.unpark());
    timeline::ends(fiber);
}
