//! A processor: the right to run tasks, and what belongs to it. There are as many as `worker_threads`.
//!
//! # Who may touch what
//!
//! A processor has one owner at a time: the worker whose word names it, or whoever took it from there and is
//! about to give it to another. The owner writes `tick` and the ring; it does so only inside critical sections
//! and on its system stack. Everything else is atomic and may be written by the owner's signal handler and by
//! other threads, as its comment says.

use super::queue::{Local, Slot};
use super::sleep::Sleeper;
use super::worker::Worker;
use crate::primitives::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::ptr::null_mut;

/// See the module's head.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Processor {
    /// Its place in the runtime's list, and its timer shard's.
    pub(crate) index: usize,
    /// Runnable tasks.
    pub(crate) queue: Local,
    /// Polls begun. Standing still between two looks, it tells a long poll without a clock.
    pub(crate) tick: AtomicU64,
    /// At which ticks the queue that all share goes first, and the timers are looked at. Owner.
    pub(crate) global_at: AtomicU64,
    pub(crate) timers_at: AtomicU64,
    /// The worker that holds it; stale while it changes hands. Whoever gives the processor writes it.
    pub(crate) worker: AtomicPtr<Worker>,
    /// The task that was woken last, which goes first; see `queue`. Its owner fills it, and empties it, as anybody does
    /// once it is open.
    pub(crate) slot: Slot,
    /// Polls in a row that came from the slot. Owner.
    pub(crate) slot_runs: AtomicU32,
    /// When the worker's timer looks again at what runs; `u64::MAX` while nobody waits. This and what follows is in
    /// `slice`. Anybody who waits lowers it, the owner and its handler write it.
    pub(crate) look: AtomicU64,
    /// A task waits, and `look` says so.
    pub(crate) pressed: AtomicBool,
    /// It was chosen to take tasks from others.
    pub(crate) called: AtomicBool,
    /// The poll that was looked at, and when that was. Two words, written together by whoever looks: a mixture makes
    /// a poll seem older than it is, once.
    pub(crate) mark_tick: AtomicU64,
    pub(crate) mark_time: AtomicU64,
    /// Useless looks, as the time when all of them will have been made up for. Handler.
    pub(crate) useless: AtomicU64,
    /// No signal for a timer before this. Owner, handler.
    pub(crate) timer_floor: AtomicU64,
    /// Tasks run, not a fiber that was preempted. Owner.
    pub(crate) runs_tasks: AtomicBool,
    /// When what runs began. Owner.
    pub(crate) since: AtomicU64,
    /// When the batch fiber that runs has used its slice up, and what batch is owed. Owner.
    pub(crate) slice_end: AtomicU64,
    pub(crate) turn_end: AtomicU64,
    /// What batch is owed here, as of `settled`. Owner; `settled` also by who puts the first fiber into batch.
    pub(crate) credit: AtomicU64,
    pub(crate) settled: AtomicU64,
    /// The batch fiber that runs has used its slice up. Handler to owner.
    pub(crate) used_up: AtomicBool,
    /// Batch is owed a turn. Handler to owner.
    pub(crate) batch_turn: AtomicBool,
    /// A timer of its shard is due. Handler to owner.
    pub(crate) due: AtomicBool,
    /// Its part in `sleep`.
    pub(crate) sleeper: Sleeper,
    /// Shutdown has begun, and there are no tasks left to drop. Owner.
    pub(crate) is_drained: AtomicBool,
    /// Nothing is left to do, for good.
    pub(crate) retired: AtomicBool,
    /// Looks of the timer that stopped nothing. Handler.
    pub(crate) useless_looks: AtomicU64,
    /// How long it was not parked, in nanoseconds, up to `busy_since`, which is 0 while it is. Owner.
    pub(crate) busy: AtomicU64,
    pub(crate) busy_since: AtomicU64,
    /// How often it was parked, and unparked. Odd: it is parked. Owner.
    pub(crate) parks_unparks: AtomicU64,
    /// Visits to other processors' queues that found something. Owner.
    pub(crate) steals: AtomicU64,
    /// Slices used up.
    pub(crate) slices: AtomicU64,
    /// Where stealing starts next.
    pub(crate) next_victim: AtomicU32,
    /// When the stack of the fiber that parked here was last trimmed, and the tick then.
    pub(crate) trimmed: AtomicU64,
    pub(crate) trimmed_tick: AtomicU64,
}

impl Processor {
    pub(crate) fn new(index: usize) -> Processor {
        let now = crate::sys::now();
        Processor {
            index,
            queue: Local::new(),
            tick: AtomicU64::new(0),
            global_at: AtomicU64::new(0),
            timers_at: AtomicU64::new(0),
            worker: AtomicPtr::new(null_mut()),
            slot: Slot::new(),
            slot_runs: AtomicU32::new(0),
            look: AtomicU64::new(u64::MAX),
            pressed: AtomicBool::new(false),
            called: AtomicBool::new(false),
            mark_tick: AtomicU64::new(u64::MAX),
            mark_time: AtomicU64::new(0),
            useless: AtomicU64::new(0),
            timer_floor: AtomicU64::new(0),
            runs_tasks: AtomicBool::new(true),
            since: AtomicU64::new(0),
            slice_end: AtomicU64::new(0),
            turn_end: AtomicU64::new(0),
            credit: AtomicU64::new(0),
            settled: AtomicU64::new(now),
            used_up: AtomicBool::new(false),
            batch_turn: AtomicBool::new(false),
            due: AtomicBool::new(false),
            sleeper: Sleeper::new(),
            is_drained: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            useless_looks: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            busy_since: AtomicU64::new(now),
            parks_unparks: AtomicU64::new(0),
            steals: AtomicU64::new(0),
            slices: AtomicU64::new(0),
            next_victim: AtomicU32::new(index as u32 + 1),
            trimmed: AtomicU64::new(0),
            trimmed_tick: AtomicU64::new(0),
        }
    }

    /// It is parked from now on. Owner.
    pub(crate) fn rests(&self, now: u64) {
        let busy = self.busy_so_far(now);
        self.busy_since.store(0, Ordering::Relaxed);
        self.busy.store(busy, Ordering::Relaxed);
        let count = self.parks_unparks.load(Ordering::Relaxed);
        self.parks_unparks
            .store(count + 1 - count % 2, Ordering::Relaxed);
    }

    /// It is not any more. Owner.
    pub(crate) fn works(&self, now: u64) {
        self.busy_since.store(now, Ordering::Relaxed);
        let count = self.parks_unparks.load(Ordering::Relaxed);
        self.parks_unparks
            .store(count + count % 2, Ordering::Relaxed);
        // Nobody waited meanwhile, and the next poll has not begun before.
        self.settled.store(now, Ordering::Relaxed);
        self.mark_next(now);
    }

    /// How long it was not parked.
    pub(crate) fn busy_so_far(&self, now: u64) -> u64 {
        let since = match self.busy_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        self.busy.load(Ordering::Relaxed) + since
    }

    /// Is there a task in its own queue or slot?
    #[inline]
    pub(crate) fn has_task(&self) -> bool {
        !self.slot.is_empty() || !self.queue.is_empty()
    }

    /// Is the current poll marked, or between two polls the next?
    pub(crate) fn is_marked(&self) -> bool {
        let tick = self.tick.load(Ordering::Relaxed);
        self.mark_tick.load(Ordering::Relaxed).wrapping_sub(tick) <= 1
    }

    /// Marks the poll that is about to begin. Owner.
    pub(crate) fn mark_next(&self, now: u64) {
        let tick = self.tick.load(Ordering::Relaxed);
        self.mark_time.store(now, Ordering::Relaxed);
        self.mark_tick.store(tick + 1, Ordering::Relaxed);
    }

    /// Marks the current poll, unless it is; since when it is marked.
    pub(crate) fn mark_here(&self, now: u64) -> u64 {
        if !self.is_marked() {
            let tick = self.tick.load(Ordering::Relaxed);
            self.mark_time.store(now, Ordering::Relaxed);
            self.mark_tick.store(tick, Ordering::Relaxed);
            return now;
        }
        self.mark_time.load(Ordering::Relaxed)
    }
}
