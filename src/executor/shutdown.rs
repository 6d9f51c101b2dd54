//! How a runtime ends.
//!
//! 1. **Begin.** No task is spawned any more; every task that is not being polled is dropped, on a fiber, with the
//!    runtime current. Polls that run, or were preempted, go on to their end; then their tasks are dropped.
//! 2. **Retire.** A processor with nothing left retires. When the last has, workers without a fiber end.
//! 3. **Abandon**, if a deadline was given and has passed. What is still in the middle of a poll is given back to
//!    its lender under SCHED_IDLE (rule R8): it keeps its locks' promises, holds no processor, and its task is
//!    dropped when the poll ends. A poll that the kernel has blocked stays where it is. One that is parked goes on
//!    waiting on its lender.
//! 4. **Fibers end.** Polls that are still parked, which nobody else would resume, go on waiting on their lenders. Each lender continues its fiber, which is at the top of its loop, returns, and runs
//!    the destructors of its thread-locals.
//!
//! Every count below is waited for on one futex word, which each of them moves.

use super::home;
use super::shared::Shared;
use super::supply;
use super::task::Notified;
use super::timeline::{self, Lost};
use crate::preempt::Critical;
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crate::stack::Fiber;
use crate::sys;
use std::thread::JoinHandle;

/// How far a runtime's end has come.
#[derive(Debug)]
pub(crate) struct Shutdown {
    begun: AtomicBool,
    abandoned: AtomicBool,
    retired: AtomicUsize,
    /// All processors have retired.
    workers_may_end: AtomicBool,
    workers_ended: AtomicUsize,
    /// Moves whenever any of the above does.
    word: AtomicU32,
}

/// How long step 3 waits for signals to arrive, in nanoseconds.
const ABANDON: u64 = 100_000_000;
/// How long step 4 waits, in nanoseconds, for lenders that have nothing left to do but to end.
const LENDERS: u64 = 2_000_000_000;

impl Shutdown {
    pub(crate) fn new() -> Shutdown {
        Shutdown {
            begun: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            retired: AtomicUsize::new(0),
            workers_may_end: AtomicBool::new(false),
            workers_ended: AtomicUsize::new(0),
            word: AtomicU32::new(0),
        }
    }

    /// Is the runtime shutting down?
    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        // Half of the sleep protocol: whoever parks looks here last.
        self.begun.load(Ordering::SeqCst)
    }

    /// Has the deadline passed?
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The same, in the order that parked polls need: see `parked`.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// The deadline has passed.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// Have all processors retired?
    pub(crate) fn workers_may_end(&self) -> bool {
        self.workers_may_end.load(Ordering::SeqCst)
    }

    /// Is it too late to make anything?
    pub(crate) fn is_ending(&self) -> bool {
        self.workers_may_end()
    }

    /// Something moved.
    pub(crate) fn moved(&self) {
        self.word.fetch_add(1, Ordering::SeqCst);
        sys::futex_wake(&self.word, u32::MAX >> 1);
    }

    pub(crate) fn worker_ended(&self) {
        self.workers_ended.fetch_add(1, Ordering::SeqCst);
        self.moved();
    }

    /// Waits until `done`, at most until `deadline`.
    fn wait_until(&self, deadline: Option<u64>, mut done: impl FnMut() -> bool) -> bool {
        loop {
            let word = self.word.load(Ordering::SeqCst);
            if done() {
                return true;
            }
            if deadline.is_some_and(|deadline| sys::now() >= deadline) {
                return false;
            }
            sys::futex_wait(&self.word, word, deadline);
        }
    }
}

impl Shared {
    /// A processor has nothing left. In a critical section, on its worker.
    pub(crate) fn retire(
        &self,
        worker: &super::worker::Worker,
        processor: &super::processor::Processor,
    ) {
        processor.retired.store(true, Ordering::SeqCst);
        self.nothing_runs(processor);
        self.answer(processor);
        // What is armed for it from here on is armed for nobody.
        processor
            .worker
            .store(std::ptr::null_mut(), Ordering::SeqCst);
        if let Some(recorder) = &worker.recorder {
            recorder.gives(Lost::Retired);
        }
        worker.target.processor.release();
        let retired = self.shutdown.retired.fetch_add(1, Ordering::SeqCst) + 1;
        if retired == self.processors.len() {
            self.shutdown.workers_may_end.store(true, Ordering::SeqCst);
            while let Some(index) = self.spare_workers.take_any() {
                if let Some(worker) = self.worker(index) {
                    worker.wake();
                }
            }
        }
        self.shutdown.moved();
    }

    /// Has the lenders of all spare fibers end that were told to.
    pub(crate) fn end_spare_fibers(&self) {
        // This may be a task of another runtime: it must not be preempted with the queue's lock held.
        let _critical = Critical::enter();
        while let Some(fiber) = self.spare_fibers.pop() {
            if !fiber.is_to_end() {
                // SAFETY: out of the queue it is ours; `end_fibers` is still to come.
                unsafe { self.spare_fibers.push_front(fiber) };
                return;
            }
            fiber.is_leaving.store(true, Ordering::SeqCst);
            // SAFETY: out of the queue it is ours.
            unsafe { fiber.give_back(self.config.mask(), false) };
        }
    }

    /// Drops what tasks are left that nobody polls. On a fiber, preemptible, with the runtime current.
    pub(crate) fn drain(&self) {
        while let Some(task) = self.tasks.pop(0) {
            task.shutdown();
        }
        loop {
            let queued = {
                let critical = Critical::enter();
                self.processor_here(&critical)
                    .and_then(|processor| processor.queue.pop().or_else(|| processor.slot.take()))
                    .or_else(|| self.global.pop_many(0, |_| {}))
                    .map(|queued| self.unless_parked(queued))
            };
            match queued {
                Some(task) => task.map_or((), Notified::give_up),
                None => return,
            }
        }
    }

    /// Gives up what is left in the queue that all share.
    fn give_up_tasks(&self) {
        loop {
            let queued = {
                let _critical = Critical::enter();
                self.global
                    .pop_many(0, |_| {})
                    .map(|queued| self.unless_parked(queued))
            };
            match queued {
                Some(task) => task.map_or((), Notified::give_up),
                None => return,
            }
        }
    }

    /// The task, to be given up outside of the critical section: that may free. A parked poll that was woken goes to the
    /// preempted ones.
    fn unless_parked(&self, queued: Notified) -> Option<Notified> {
        match queued.parked_poll() {
            Err(task) => Some(task),
            Ok(fiber) => {
                // SAFETY: out of the queue it is ours.
                unsafe { self.woken_late(fiber) };
                None
            }
        }
    }

    /// Is there nothing for [`drain`](Self::drain) to do?
    pub(crate) fn is_drained(&self, processor: &super::processor::Processor) -> bool {
        self.tasks.is_empty() && !processor.has_task() && self.global.is_empty()
    }
}

/// The threads of a runtime that are not workers.
#[derive(Debug, Default)]
pub(crate) struct Attendants {
    pub(crate) supplier: Option<JoinHandle<()>>,
    pub(crate) monitor: Option<JoinHandle<()>>,
    pub(crate) timeline: Option<JoinHandle<()>>,
}

/// Ends a runtime, at the latest soon after `deadline`. Returns whose polls had to be left, one number for each: a
/// task's, or 0 for what belongs to no task.
pub(crate) fn run(
    shared: &Arc<Shared>,
    attendants: &mut Attendants,
    deadline: Option<u64>,
) -> Vec<u64> {
    let shutdown = &shared.shutdown;
    // In this order: what is spawned before the list is closed is in it when the processors look.
    shared.tasks.close();
    shutdown.begun.store(true, Ordering::SeqCst);
    while let Some(index) = shared.sleep.idle.take_any() {
        shared.wake(index);
    }
    for processor in &shared.processors {
        shared.press_from_afar(processor);
    }
    shared.supply.ask();
    shared.monitor.poke();

    let workers_ended = || {
        shutdown.workers_may_end()
            && shutdown.workers_ended.load(Ordering::SeqCst) >= shared.supply.worker_count()
    };
    let mut in_time = if shared.config.home && !shutdown.workers_may_end() {
        home::shut_down(shared, deadline)
    } else {
        shutdown.wait_until(deadline, workers_ended)
    };
    if !in_time && !shared.config.home {
        shutdown.abandon();
        let until = sys::now() + ABANDON;
        while !in_time && sys::now() < until {
            for worker in shared.all_workers() {
                if worker.target.fiber().is_some() {
                    worker.target.send(shared.config.signal);
                }
            }
            shared.supply.give_back_parked(shared);
            in_time = shutdown.wait_until(Some(sys::now() + 2_000_000), workers_ended);
        }
    }
    if !in_time && !shared.config.home {
        // What no signal reaches stays on its worker, which runs nothing else any more.
        shared
            .all_workers()
            .filter(|worker| worker.target.fiber().is_some())
            .for_each(|worker| sys::sched_idle(worker.target.thread.load(Ordering::SeqCst)));
    }
    shared.supply.end();
    shared.monitor.end();
    if in_time || shutdown.workers_may_end() {
        for thread in [attendants.supplier.take(), attendants.monitor.take()] {
            let _ = thread.map(JoinHandle::join);
        }
    }
    for thread in shared.supply.take_threads() {
        // One that the kernel has blocked ends when it returns.
        if in_time || thread.is_finished() {
            let _ = thread.join();
        }
    }
    shared.timers.shut_down();
    let grace = deadline.map(|deadline| deadline.max(sys::now()) + 10_000_000);
    let left = end_fibers(shared, grace);
    timeline::finish(shared, attendants.timeline.take(), deadline);
    // Not in time: on a current-thread runtime somebody may still be in the middle of a poll at home, and wait for the
    // attendant at its end.
    if in_time && left.is_empty() {
        shared.trace.leave();
    }
    left
}

/// Step 4 of the module's head. Returns whose polls had not ended by `deadline`, as [`run`] does.
fn end_fibers(shared: &Arc<Shared>, deadline: Option<u64>) -> Vec<u64> {
    let shutdown = &shared.shutdown;
    let mut fibers: Vec<&'static Fiber> = shared.supply.take_fibers();
    // Those whose stacks have overflowed stay as they are, and so do their lenders. One may have been the last to go, with
    // nobody left to say so.
    fibers.retain(|fiber| fiber.lost_task().is_null());
    shared.give_up_tasks();
    fibers.iter().for_each(|fiber| fiber.end_at_top());
    // Those that were given back earlier come to the top one by one.
    let all_ended = || {
        shared.end_spare_fibers();
        if shutdown.workers_may_end() {
            shared.give_back_parked(fibers.iter());
            shared.rescue();
        }
        fibers
            .iter()
            .all(|fiber| fiber.has_stopped.load(Ordering::SeqCst))
    };
    if !shutdown.wait_until(deadline, all_ended) {
        shutdown.abandon();
        // They go on with their waits, but not at the others' expense.
        fibers
            .iter()
            .filter(|fiber| fiber.parked.given().is_some())
            .for_each(|fiber| fiber.make_idle());
    }
    // Fibers at the top of their loops, or between two tasks' polls (dropping what is left, for instance), end in any
    // case: their lenders only have to get onto a core.
    let still_leaves = |fiber: &&'static Fiber| {
        let is_leaving = fiber.is_leaving.load(Ordering::SeqCst);
        let has_task = fiber.task.load(Ordering::Relaxed) != 0;
        (is_leaving || !has_task) && !fiber.has_stopped.load(Ordering::SeqCst)
    };
    shutdown.wait_until(Some(sys::now() + LENDERS), || {
        shared.end_spare_fibers();
        !fibers.iter().any(still_leaves)
    });
    let left: Vec<u64> = fibers
        .into_iter()
        .filter_map(|fiber| {
            // Before it is joined, and gone.
            let task = fiber.task.load(Ordering::Relaxed);
            // SAFETY: each was told to end; nobody else joins it or uses it.
            let has_ended = unsafe { fiber.join() };
            (!has_ended).then_some(task)
        })
        .collect();
    shared
        .supply
        .fiber_count
        .store(left.len(), Ordering::SeqCst);
    left
}

/// Starts the threads of a runtime; on an error nothing is left of it.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Attendants> {
    let mut attendants = Attendants::default();
    // The monitor first, and past its last allocation: a worker that runs tasks may come to need it for others
    // to be able to allocate (rule R7).
    let started = (|| {
        let supplier = Arc::clone(shared);
        let monitor = Arc::clone(shared);
        let named = |role| std::thread::Builder::new().name(format!("preemptive-{role}"));
        attendants.monitor = Some(named("monitor").spawn(move || super::monitor::run(&monitor))?);
        shared.monitor.wait_until_ready();
        supply::stock(shared)?;
        attendants.supplier = Some(named("supply").spawn(move || supply::run(&supplier))?);
        attendants.timeline = timeline::start(shared)?;
        Ok(())
    })();
    // Every processor starts as one without a worker. (Critical: a task may build a runtime.)
    for processor in &shared.processors {
        let _critical = Critical::enter();
        if shared.config.home {
            home::park(shared, processor);
        } else {
            shared.hand_over(processor);
        }
    }
    shared.counters.hand_overs.store(0, Ordering::Relaxed);
    match started {
        Ok(()) => Ok(attendants),
        Err(error) => {
            if shared.supply.worker_count() == 0 {
                // Nobody can retire the processors.
                shared
                    .shutdown
                    .workers_may_end
                    .store(true, Ordering::SeqCst);
            }
            let left = run(shared, &mut attendants, None);
            debug_assert!(left.is_empty());
            Err(error)
        }
    }
}
