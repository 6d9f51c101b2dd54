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
use super::overflow;
use super::processor::Processor;
use super::shared::Shared;
use super::sleep::PARKED;
use super::supply::{KEPT_STACK, TRIM_EVERY};
use super::task::Notified;
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
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many polls in a row may come from the slot while others wait.
const SLOT_RUNS: u32 = 3;

/// A fiber's life in this executor.
#[derive(Debug)]
pub(crate) struct FiberLife;

impl Life for FiberLife {
    fn start(&self, fiber: &'static Fiber) {
        let shared = shared_of(fiber);
        context::set_for_fiber(&shared);
        if let Some(hook) = &shared.config.on_thread_start {
            hook();
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
            hook();
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
                    preemptible(fiber, || drive.into_iter().for_each(Drive::poll));
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
            Next::Drain => preemptible(fiber, || shared.drain()),
            Next::Idle => {
                processor.mark_next(sys::now());
                overrule(shared, processor, fiber);
                preemptible(fiber, || shared.config.hooks.park());
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

/// Decides what comes next; sleeps while there is nothing.
fn next(shared: &Shared, processor: &Processor, fiber: &Fiber) -> Next {
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

/// Sleeps, with what comes before and after.
pub(super) fn rest(shared: &Shared, processor: &Processor, fiber: &Fiber) {
    processor.rests(sys::now());
    park(shared, processor, fiber);
    processor.works(sys::now());
    // What it slept until was its futex's deadline; what runs now may be a hog, and needs an alarm.
    if shared.timers.shard(processor.index).next() != u64::MAX {
        shared.rearm(processor, false);
    }
    shared.monitor.busy_again();
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
fn found(shared: &Shared, processor: &Processor) {
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

/// Sleeps until there may be something to do. The protocol is in `sleep`.
fn park(shared: &Shared, processor: &Processor, fiber: &Fiber) {
    shared.nothing_runs(processor);
    shared.sleep.park(processor.index, &processor.sleeper);
    let timers = shared.timers.shard(processor.index);
    loop {
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
        if shared.timers.auto_advance() {
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

/// Wakes the tasks whose timers are due: collected critically, woken preemptibly.
fn wake_expired(shared: &Shared, processor: &Processor, fiber: &'static Fiber) {
    // False first: a timer that becomes due from here on sets it again.
    processor.due.store(false, Ordering::SeqCst);
    let mut expired = Expired::new();
    let left = shared
        .timers
        .shard(processor.index)
        .take_expired(sys::now(), &mut expired);
    match left {
        Left::MoreDue => processor.due.store(true, Ordering::SeqCst),
        Left::NothingDue => shared.rearm(processor, false),
    }
    // What was asked of the poll before is not asked of these: nobody else has their wakers.
    processor.mark_next(sys::now());
    overrule(shared, processor, fiber);
    // Set and cleared in critical sections: the fiber is the same, the processor may not be.
    fiber.is_between_polls.store(true, Ordering::Relaxed);
    preemptible(fiber, move || {
        // A waker of somebody's own making may panic: that is theirs. The others are woken, the loop goes on.
        while expired.len() > 0 {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| expired.wake_all())) {
                // Its destructor may panic as well.
                std::mem::forget(payload);
            }
        }
    });
    fiber.is_between_polls.store(false, Ordering::Relaxed);
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
