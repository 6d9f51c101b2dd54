//! What all workers of a runtime share, and the decisions that need all of it: who runs next, who is woken,
//! who gets a processor. How long each may run is in `slice`.

use super::about::Id;
use super::batch::{Batch, Place};
use super::bits::Bits;
use super::blocking::BlockingPool;
use super::config::Config;
use super::histogram::Histogram;
use super::home::Home;
use super::local::Local;
use super::metrics::Counters;
use super::monitor::MonitorState;
use super::processor::Processor;
use super::queue::Global;
use super::shutdown::Shutdown;
use super::sleep::{SeenBy, Sleep};
use super::supply::{BEYOND, Supply};
use super::task::{Notified, OwnedTasks, Schedule, TaskRef};
use super::timeline::Timeline;
use super::timer::Timers;
use super::trace;
use super::worker::Worker;
use crate::preempt::{Critical, safepoint};
use crate::primitives::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};
use crate::primitives::{Arc, OnceLock};
use crate::stack::{Fiber, FiberQueue};
use crate::sys;
use std::ptr::null_mut;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: Id,
    pub(crate) config: Config,
    pub(crate) processors: Box<[Processor]>,
    /// Every worker there ever was; null where there is none yet. Freed with the runtime.
    pub(crate) workers: Box<[AtomicPtr<Worker>]>,
    /// Runnable tasks that belong to no processor.
    pub(crate) global: Global,
    /// Runnable fibers: polls that were preempted.
    pub(crate) batch: Batch,
    /// Spare fibers, at the top of their loops.
    pub(crate) spare_fibers: FiberQueue,
    /// Counts supplied fibers: what a processor that has none sleeps on.
    pub(crate) supplied: AtomicU32,
    /// Who sleeps on it.
    starved: AtomicU32,
    /// Workers without a processor, parked.
    pub(crate) spare_workers: Bits,
    /// Processors without a worker.
    pub(crate) orphans: Bits,
    pub(crate) sleep: Sleep,
    pub(crate) timers: Timers,
    pub(crate) tasks: OwnedTasks,
    pub(crate) supply: Supply,
    pub(crate) monitor: MonitorState,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Counters,
    /// How long polls take, by processor; empty unless asked for.
    pub(crate) poll_times: Box<[Histogram]>,
    pub(crate) blocking: BlockingPool,
    pub(crate) home: Home,
    /// A local runtime's own set.
    pub(crate) local: OnceLock<Arc<Local>>,
    /// Whether anybody is told of suspended polls.
    pub(crate) trace: trace::Member,
    /// The processor that is called to take tasks from others, plus one; 0 if none is. See `slice`.
    pub(crate) pressing: AtomicUsize,
    /// Processors that run a batch fiber.
    pub(crate) batch_running: AtomicUsize,
    /// What workers do is recorded there.
    pub(crate) timeline: Option<Arc<Timeline>>,
}

impl Shared {
    pub(crate) fn new(config: Config, timeline: Option<Arc<Timeline>>) -> Shared {
        let processors = config.worker_threads;
        let most_threads = config.max_threads + BEYOND;
        Shared {
            processors: (0..processors).map(Processor::new).collect(),
            workers: (0..most_threads)
                .map(|_| AtomicPtr::new(null_mut()))
                .collect(),
            global: Global::new(),
            batch: Batch::new(),
            spare_fibers: FiberQueue::new(),
            supplied: AtomicU32::new(0),
            starved: AtomicU32::new(0),
            spare_workers: Bits::new(most_threads),
            orphans: Bits::new(processors),
            sleep: Sleep::new(processors),
            timers: Timers::new(processors, config.home),
            tasks: OwnedTasks::new((processors * 4).next_power_of_two()),
            supply: Supply::new(),
            monitor: MonitorState::new(),
            shutdown: Shutdown::new(),
            counters: Counters::default(),
            poll_times: match config.poll_times {
                true => (0..processors).map(|_| Histogram::new()).collect(),
                false => Box::default(),
            },
            blocking: BlockingPool::new(config.max_blocking_threads, config.thread_keep_alive),
            home: Home::new(),
            local: OnceLock::new(),
            trace: trace::Member::new(),
            pressing: AtomicUsize::new(0),
            batch_running: AtomicUsize::new(0),
            id: Id::next(),
            timeline,
            config,
        }
    }

    /// Polls begun so far.
    pub(crate) fn polls(&self) -> u64 {
        self.processors
            .iter()
            .map(|processor| processor.tick.load(Ordering::Relaxed))
            .sum()
    }

    /// The worker with this number, if it was ever made.
    pub(crate) fn worker(&self, index: usize) -> Option<&Worker> {
        // SAFETY: null, or a worker that is freed together with `self`.
        unsafe { self.workers.get(index)?.load(Ordering::SeqCst).as_ref() }
    }

    /// All workers.
    pub(crate) fn all_workers(&self) -> impl Iterator<Item = &Worker> {
        (0..self.workers.len()).map_while(|index| self.worker(index))
    }

    /// The processor held by the caller, if it runs on a fiber of this runtime on a worker that has one. It
    /// stays the caller's while `critical` lives.
    #[inline]
    pub(crate) fn processor_here(&self, critical: &Critical) -> Option<&Processor> {
        let fiber = critical.fiber()?;
        if fiber.owner != std::ptr::from_ref(self).cast() {
            return None;
        }
        let held = safepoint::worker_of(fiber)?.processor.held();
        // SAFETY: 0, or the address of one of this runtime's processors.
        unsafe { (held as *const Processor).as_ref() }
    }

    /// Is anything runnable anywhere?
    pub(crate) fn anything_runnable(&self, processor: &Processor) -> bool {
        self.anything_waits(processor)
            || self
                .processors
                .iter()
                .any(|other| !other.queue.is_empty() || other.slot.offers())
    }

    /// Is a worker that runs without a processor in anybody's way?
    pub(crate) fn is_contended(&self) -> bool {
        !self.batch.is_empty() || !self.global.is_empty() || self.sleep.idle.is_empty()
    }

    /// Makes a task runnable, from anywhere.
    pub(crate) fn schedule(&self, task: Notified) {
        let critical = Critical::enter();
        let Some(processor) = self.processor_here(&critical) else {
            self.global.push(task);
            self.submitted();
            return;
        };
        if let Some(older) = self.put_first(processor, task) {
            processor.queue.push(older, &self.global);
            // The ring's tail is a plain store: it must be visible before the looks below (Submit 2 in `sleep`).
            fence(Ordering::SeqCst);
            if !self.wake_one() {
                self.press_batch();
            }
        }
        // SeqCst: half of `slice`'s protocol; the other is whoever takes the mark off.
        if !processor.pressed.load(Ordering::SeqCst) {
            self.press_here(processor, &critical);
        }
    }

    /// Puts a task where the processor takes the next one from; returns what has to make room for it there. On a
    /// current-thread runtime tasks run in the order in which they became runnable, as they do on Tokio's: all of them go
    /// through one queue.
    #[inline]
    fn put_first(&self, processor: &Processor, task: Notified) -> Option<Notified> {
        if self.config.home {
            self.global.push(task);
            return None;
        }
        match self.config.uses_slot {
            true => processor.slot.put(task),
            false => Some(task),
        }
    }

    /// A task waits for the caller's own processor, in the middle of a poll or between two.
    #[cold]
    fn press_here(&self, processor: &Processor, critical: &Critical) {
        let Some(fiber) = critical.fiber() else {
            return;
        };
        // Between two polls the loop itself is about to take the task.
        if !fiber.is_between_polls.load(Ordering::Relaxed) && self.press(processor) {
            // The end of the critical section gives way, if the task has not changed the signal mask (rule R5).
            if let Some(target) = safepoint::worker_of(fiber) {
                target.unchecked.store(true, Ordering::Relaxed);
            }
            fiber.poison();
        }
    }

    /// Somebody put work into a queue that all share.
    pub(crate) fn submitted(&self) {
        if !self.wake_one() {
            self.press_any();
        }
    }

    /// Wakes an idle processor, unless somebody searches already. False: there is neither.
    #[inline]
    pub(crate) fn wake_one(&self) -> bool {
        match self.sleep.submitted() {
            SeenBy::Searcher => true,
            SeenBy::Idle(index) => {
                self.wake(index);
                true
            }
            SeenBy::Nobody => false,
        }
    }

    /// Wakes a processor that the caller has taken out of `idle`.
    pub(crate) fn wake(&self, index: usize) {
        self.counters.add(&self.counters.wakes);
        let processor = &self.processors[index];
        self.sleep.rouse(&processor.sleeper);
        sys::futex_wake(&processor.sleeper.parked, 1);
        self.monitor.busy_again();
    }

    /// When this processor's worker should next get a signal.
    fn next_alarm(&self, processor: &Processor) -> u64 {
        if self.config.home_only {
            return u64::MAX;
        }
        let look = processor.look.load(Ordering::SeqCst);
        if processor.due.load(Ordering::SeqCst) {
            // Its timers have gone off already; whoever serves them sets the next alarm.
            return look;
        }
        let floor = processor.timer_floor.load(Ordering::Relaxed);
        look.min(self.timers.shard(processor.index).next().max(floor))
    }

    /// Sets the timer of the processor's worker; one that would go off too early only if `exactly`. Any thread;
    /// async-signal-safe.
    pub(crate) fn rearm(&self, processor: &Processor, exactly: bool) {
        // SAFETY: null, or a worker that is freed together with `self`.
        let Some(worker) = (unsafe { processor.worker.load(Ordering::SeqCst).as_ref() }) else {
            return;
        };
        let mut alarm = self.next_alarm(processor);
        // One that goes off earlier does as well: the handler finds that nobody wants the worker, and sets the
        // next. A system call costs half a microsecond, and looks are later and later while polls come and go.
        let armed = worker.target.armed.load(Ordering::SeqCst);
        if armed == alarm {
            return;
        }
        if alarm != u64::MAX && armed < alarm {
            // A little too early is exact enough.
            let time_left = armed.saturating_sub(sys::now());
            let is_enough = !exactly || (alarm - armed) <= time_left / 8;
            if time_left > 0 && is_enough {
                return;
            }
        }
        // Two threads may do this at once with different alarms in mind: whoever sets the later one last must
        // have seen the earlier, so look again after setting. (What is armed may change meanwhile: an alarm in
        // the past goes off at once, and the handler, finding this very code, asks again soon.)
        loop {
            worker.target.arm(alarm);
            let now = self.next_alarm(processor);
            if now >= alarm {
                break;
            }
            alarm = now;
        }
        if worker.target.lacks_timer() {
            self.monitor.poke();
        }
    }

    /// Gives a processor without a worker to a spare one, or leaves it for the next. Any thread, the signal
    /// handler outside critical sections included.
    pub(crate) fn hand_over(&self, processor: &Processor) {
        self.counters.add(&self.counters.hand_overs);
        self.monitor.busy_again();
        loop {
            if let Some(index) = self.spare_workers.take_any() {
                let Some(worker) = self.worker(index) else {
                    crate::fatal::fatal!("spare worker {index} does not exist")
                };
                processor
                    .worker
                    .store(std::ptr::from_ref(worker).cast_mut(), Ordering::SeqCst);
                worker
                    .target
                    .processor
                    .give(std::ptr::from_ref(processor) as usize);
                worker.wake();
                break;
            }
            processor.worker.store(null_mut(), Ordering::SeqCst);
            self.orphans.insert(processor.index);
            // A worker that became spare just now looks at the orphans after it has said so.
            if self.spare_workers.is_empty() {
                // The monitor sees to rule R7, should the supplier be held up.
                self.monitor.poke();
                break;
            }
            if !self.orphans.remove(processor.index) {
                break;
            }
        }
        if self.spare_workers.is_empty() {
            self.supply.ask();
        }
    }

    /// Rule R7: with no worker left, a runnable fiber is continued by its lender: it may hold the very lock
    /// that everybody else waits for.
    pub(crate) fn give_back_one(&self) {
        if let Some(fiber) = self.batch.pop() {
            self.counters.add(&self.counters.given_back);
            // SAFETY: it came out of the queue, so it is ours.
            unsafe { fiber.give_back(self.config.mask(), false) };
        }
    }

    /// Gives every preempted poll back, under SCHED_IDLE if `idle`, but for a home fiber, which has no lender.
    /// On a system stack or in a critical section.
    pub(crate) fn give_back_all(&self, idle: bool) {
        // Rule R5: a borrowed thread has a mask of its own, other workers have all the same.
        let mask = self.worker(0).map_or(self.config.mask(), |worker| {
            worker.target.mask.load(Ordering::Relaxed)
        });
        let mut home = None;
        while let Some(fiber) = self.batch.pop() {
            if fiber.is_home() {
                home = Some(fiber);
                continue;
            }
            self.counters.add(&self.counters.given_back);
            self.hold_clock();
            // SAFETY: out of the queue it is ours.
            unsafe { fiber.give_back(mask, idle) };
        }
        if let Some(home) = home {
            // SAFETY: as above.
            unsafe { self.batch.push(home, Place::Old) };
        }
    }

    /// A fiber was put into `spare_fibers`. Rule R1 holds: this may be a park stack.
    pub(crate) fn fiber_available(&self) {
        self.supplied.fetch_add(1, Ordering::SeqCst);
        if self.starved.load(Ordering::SeqCst) > 0 {
            sys::futex_wake(&self.supplied, u32::MAX >> 1);
        }
        if self.shutdown.has_begun() {
            self.shutdown.moved();
        }
    }

    /// Takes a spare fiber, and asks for more where few are left.
    pub(crate) fn take_spare_fiber(&self) -> Option<&'static Fiber> {
        if let Some(home) = self.take_home() {
            return Some(home);
        }
        let fiber = self.spare_fibers.pop();
        if self.spare_fibers.len() < self.config.low_fibers() {
            self.supply.ask();
        }
        fiber
    }

    /// Waits, at most until `deadline`, for a fiber to become spare after `supplied` was read.
    pub(crate) fn wait_for_fiber(&self, supplied: u32, deadline: u64) {
        self.starved.fetch_add(1, Ordering::SeqCst);
        sys::futex_wait(&self.supplied, supplied, Some(deadline));
        self.starved.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes a task from the queue that all share, and this processor's part of the rest into its ring.
    pub(crate) fn take_global(&self, processor: &Processor) -> Option<Notified> {
        let waiting = self.global.len();
        if waiting == 0 {
            return None;
        }
        let share = (waiting / self.processors.len()).min(64);
        self.global.pop_many(share, |task| {
            // The ring is empty, or nearly: this is called when nothing was found in it.
            if processor.queue.try_push(task).is_err() {
                crate::fatal::fatal!("a ring that was empty is full");
            }
        })
    }

    /// A fiber was put into `batch`.
    pub(crate) fn submitted_fiber(&self) {
        self.batch_waits();
        if !self.wake_one() {
            self.bound_for_batch();
        }
        if self.spare_fibers.len() < self.config.low_fibers() {
            self.supply.ask();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for worker in &self.workers {
            let worker = worker.load(Ordering::SeqCst);
            if !worker.is_null() {
                // SAFETY: made by `supply`; its thread held an `Arc` of `self` and has let go of it.
                drop(unsafe { Box::from_raw(worker) });
            }
        }
    }
}

/// How tasks reach their runtime.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler(pub(crate) Arc<Shared>);

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.0.schedule(task);
    }

    fn yield_now(&self, task: Notified) {
        let shared = &*self.0;
        let critical = Critical::enter();
        match shared.processor_here(&critical) {
            // Nobody needs waking: the poll has just ended, and this very processor looks next.
            Some(processor) if !shared.config.home => processor.queue.push(task, &shared.global),
            Some(_) => shared.global.push(task),
            None => {
                shared.global.push(task);
                shared.submitted();
            }
        }
    }

    fn release(&self, task: &TaskRef) -> Option<TaskRef> {
        self.0.tasks.remove(task)
    }

    fn terminated(&self, task: &TaskRef) {
        self.0.config.hooks.task_terminate(task);
    }
}
