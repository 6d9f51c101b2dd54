//! Who may run for how long: time slices, the two classes, and preemption for the sake of what was just woken.
//!
//! # Two classes
//!
//! A runnable *task* is interactive: it was woken or spawned, and is about to be polled from the start. A *fiber* that
//! was preempted in the middle of a poll is batch, until that poll ends. Interactive goes first; batch has a
//! guaranteed share of each processor (`Builder::batch_share`) while both wait. Within a class it is first come,
//! first served, but for the one slot of a processor that `queue` describes.
//!
//! A processor runs one or the other: *tasks* (T), polled by whatever fiber its loop is on, or one *batch fiber* (B).
//!
//! | runs | is stopped for | not before |
//! |---|---|---|
//! | T | a task that waits, or a timer that is due | the poll is `need` old: the minimum slice, more when many preempted polls wait already |
//! | T | batch | batch is owed `quantum`, and the poll is `need` old; between two polls at once |
//! | B | a task that waits | it has run for a minimum slice, and has had what batch was owed when it began |
//! | B | a timer that is due | a quarter of that |
//! | B | another batch fiber | its slice is used up |
//!
//! What nobody waits for is never interrupted.
//!
//! # Looking
//!
//! How old a poll is needs no clock per poll: `tick` counts polls, and a *mark* is a tick and a time. A tick that has not
//! moved since the mark is a poll at least that old. A processor has one time at which its worker's timer looks again,
//! `look`; the signal handler (`judge`) then stops the poll, or marks it and sets the next look (`relook`).
//!
//! **Press** (any thread): a task waits for this processor. If it is not `pressed` yet, mark its poll and bring its look
//! forward to the earliest moment at which the table above lets it be stopped. If that is now and the poll is the
//! presser's own, it gives way at the end of the critical section that it is in, without a signal.
//!
//! A wake that finds no idle processor presses: its own processor, if the task is in that one's queue; otherwise, and if
//! batch fibers run elsewhere, one that runs a batch fiber, or else any (`press_any`). Who is pressed in this way is
//! *called*, one at a time (`Shared::pressing`); it answers at the top of its loop, and passes the call on if more waits
//! than it takes. So a flood of wakes is one signal at a time.
//!
//! A look that finds another poll than the marked one was useless, and a processor has [`BURST`] of those, then one
//! per [`RELAXED`]: short polls in a row, each of which wakes somebody, must not cost a signal each. They end by
//! themselves. The monitor, which looks every millisecond without a signal, finds the long one among them.
//!
//! # Why nobody waits unseen
//!
//! - In a processor's own queue: whoever puts a task there in the middle of a poll presses, and so does the loop
//!   that begins a poll while others wait.
//! - In the queue that all share: the submitter wakes, finds a searcher, or calls. Who is called says that it is not
//!   (`pressing` = 0) *before* it looks at the queue; the submitter reads `pressing` *after* it has filled it.
//! - `relook` writes `pressed` and `look` first and then looks at the queues once more; a presser fills the queue
//!   first and then reads `pressed`. All of that is sequentially consistent: one of the two sees the other.

use super::batch::Place;
use super::config::MIN_SLICE;
use super::processor::Processor;
use super::shared::Shared;
use crate::preempt::Verdict;
use crate::primitives::atomic::Ordering;
use crate::stack::Fiber;
use crate::sys;

/// Useless looks in a row that cost nothing but themselves.
const BURST: u64 = 16;
/// After those, so many nanoseconds between two.
const RELAXED: u64 = 2_000_000;
/// The longest turn of batch while tasks wait as well, in nanoseconds, unless the minimum slice is longer.
const LONGEST_TURN: u64 = 2_000_000;
/// Parts that a batch share is counted in.
pub(crate) const PARTS: u64 = 1024;

impl Shared {
    /// Does a task wait for this processor, or a timer?
    pub(crate) fn interactive_waits(&self, processor: &Processor) -> bool {
        processor.due.load(Ordering::SeqCst) || self.task_waits(processor)
    }

    /// Does a task wait that no other processor has been told of? On a current-thread runtime all go through one queue.
    #[inline]
    pub(crate) fn own_task_waits(&self, processor: &Processor) -> bool {
        processor.has_task() || (self.config.home && !self.global.is_empty())
    }

    fn task_waits(&self, processor: &Processor) -> bool {
        processor.has_task()
            || !self.global.is_empty()
            || processor.called.load(Ordering::SeqCst)
            || (self.shutdown.has_begun() && !processor.is_drained.load(Ordering::Relaxed))
            || self.root_waits()
    }

    /// Is anything runnable that this processor could run instead of what it runs?
    pub(crate) fn anything_waits(&self, processor: &Processor) -> bool {
        !self.batch.is_empty() || self.interactive_waits(processor)
    }

    /// Batch gets its turn when it is owed so much, and so long a turn.
    pub(crate) fn quantum(&self) -> u64 {
        (self.config.slice / 8)
            .min(LONGEST_TURN)
            .max(self.config.min_slice)
    }

    /// So old must a poll be to be stopped for a task. Each poll that is stopped for the first time takes a fiber, and
    /// many of the same length would better run one after the other.
    fn need(&self) -> u64 {
        let waiting = self.batch.len() / (2 * self.processors.len());
        (self.config.min_slice * (1 + waiting as u64)).min(self.config.slice)
    }

    /// What batch is owed by this processor, now; `waits` is whether any has waited.
    fn owed(&self, processor: &Processor, now: u64, waits: bool) -> u64 {
        let credit = processor.credit.load(Ordering::Relaxed);
        let since = now.saturating_sub(processor.settled.load(Ordering::Relaxed));
        if !processor.runs_tasks.load(Ordering::Relaxed) {
            return credit.saturating_sub(since);
        }
        if !waits {
            return credit;
        }
        let gained = since.min(1 << 40) * self.config.batch_per_task / PARTS;
        (credit + gained).min(4 * self.quantum())
    }

    /// When batch is owed a turn, if tasks go on and it goes on waiting.
    fn batch_due(&self, processor: &Processor, now: u64) -> u64 {
        let missing = self
            .quantum()
            .saturating_sub(self.owed(processor, now, true));
        now + missing * PARTS / self.config.batch_per_task.max(1)
    }

    /// What runs on this processor has changed: `fiber` goes on, or tasks are polled. Owner only.
    pub(crate) fn switched(&self, processor: &Processor, fiber: Option<&Fiber>) {
        let now = sys::now();
        let owed = self.owed(processor, now, fiber.is_some() || !self.batch.is_empty());
        processor.credit.store(owed, Ordering::Relaxed);
        processor.settled.store(now, Ordering::Relaxed);
        processor.since.store(now, Ordering::Relaxed);
        processor.used_up.store(false, Ordering::Relaxed);
        let had_tasks = processor
            .runs_tasks
            .swap(fiber.is_none(), Ordering::Relaxed);
        match fiber {
            None => {
                processor.mark_next(now);
                processor.timer_floor.store(0, Ordering::Relaxed);
                if !had_tasks {
                    self.batch_running.fetch_sub(1, Ordering::SeqCst);
                }
            }
            Some(fiber) => {
                processor.batch_turn.store(false, Ordering::Relaxed);
                let left = match fiber.slice_left.swap(0, Ordering::Relaxed) {
                    0 => self.config.slice,
                    left => left,
                };
                processor.slice_end.store(now + left, Ordering::Relaxed);
                let turn = owed.min(self.quantum());
                processor.turn_end.store(now + turn, Ordering::Relaxed);
                let guarded = now + turn.max(self.config.min_slice / 4);
                processor.timer_floor.store(guarded, Ordering::Relaxed);
                if had_tasks {
                    self.batch_running.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        // A timer that is due is served at once by the loop that begins.
        self.set_look(processor, now, fiber.is_none());
        // What was set for what ran before may be too early, and a signal costs more than a system call.
        self.rearm(processor, true);
    }

    /// Nothing runs on this processor: its owner sleeps, or is about to give it up.
    pub(crate) fn nothing_runs(&self, processor: &Processor) {
        processor.look.store(u64::MAX, Ordering::SeqCst);
        processor.pressed.store(false, Ordering::SeqCst);
        if !processor.runs_tasks.swap(true, Ordering::Relaxed) {
            self.batch_running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// When a task that waits may stop what runs here.
    pub(super) fn stop_for_task(&self, processor: &Processor, now: u64) -> u64 {
        if self.config.home_only {
            return u64::MAX;
        }
        if !processor.runs_tasks.load(Ordering::Relaxed) {
            let ran = if processor.due.load(Ordering::SeqCst) {
                self.config.min_slice / 4
            } else {
                self.config.min_slice
            };
            let turn_end = processor.turn_end.load(Ordering::Relaxed);
            return turn_end.max(processor.since.load(Ordering::Relaxed) + ran);
        }
        let old_enough = processor.mark_here(now) + self.need();
        if processor.useless.load(Ordering::Relaxed) > now + BURST * RELAXED {
            old_enough.max(now + RELAXED)
        } else {
            old_enough
        }
    }

    /// Sets the next look of a processor by what waits for it now. Its owner, or the handler on it; or, where
    /// signals are off, the monitor in the handler's stead: beside the owner it may make a look late, by a slice at
    /// most.
    pub(crate) fn relook(&self, processor: &Processor, now: u64) {
        self.set_look(processor, now, false);
        self.rearm(processor, false);
    }

    /// The poll that runs was to make room, and there was nobody to make it for. Owner only.
    pub(crate) fn go_on(&self, processor: &Processor) {
        if !self.anything_waits(processor) {
            processor.pressed.store(false, Ordering::SeqCst);
            processor.look.store(u64::MAX, Ordering::SeqCst);
            // Somebody may have come between the look and the stores.
            if !self.anything_waits(processor) {
                self.rearm(processor, false);
                return;
            }
        }
        let now = sys::now();
        processor.mark_time.store(now, Ordering::Relaxed);
        self.relook(processor, now);
    }

    fn set_look(&self, processor: &Processor, now: u64, serves_timers: bool) {
        let waits = || {
            if serves_timers {
                self.task_waits(processor)
            } else {
                self.interactive_waits(processor)
            }
        };
        loop {
            let tasks = waits();
            let batch = !self.batch.is_empty();
            let runs_tasks = processor.runs_tasks.load(Ordering::Relaxed);
            let mut look = u64::MAX;
            if tasks {
                look = self.stop_for_task(processor, now);
            }
            if batch {
                look = look.min(if runs_tasks {
                    // Old enough to be blocked, until it is found not to be.
                    let first = self.stop_for_task(processor, now);
                    let first = if first > now { first } else { u64::MAX };
                    first.min(self.batch_due(processor, now))
                } else {
                    self.stop_for_batch(processor)
                });
            }
            if runs_tasks {
                // A look that has just been and stopped nothing is not repeated at once.
                look = look.max(now + self.config.min_slice / 2);
            }
            processor.pressed.store(tasks, Ordering::SeqCst);
            processor.look.store(look, Ordering::SeqCst);
            // Somebody may have come between the look and the stores.
            if (tasks || !waits()) && (batch || self.batch.is_empty()) {
                return;
            }
        }
    }

    /// A fiber was put into `batch`. If it is the first, none has waited until now.
    pub(crate) fn batch_waits(&self) {
        if self.batch.len() > 1 {
            return;
        }
        let now = sys::now();
        for processor in &self.processors {
            if processor.runs_tasks.load(Ordering::Relaxed) {
                processor.settled.store(now, Ordering::Relaxed);
            }
        }
    }

    /// A fiber was put into `batch`: every busy processor that nobody waited for runs until its next look only, and
    /// a young one makes an old one's look earlier.
    pub(crate) fn bound_for_batch(&self) {
        let mut time = None;
        for processor in &self.processors {
            let runs_tasks = processor.runs_tasks.load(Ordering::Relaxed);
            let is_bounded = processor.look.load(Ordering::SeqCst) != u64::MAX
                && (runs_tasks || !self.batch.has_young());
            if is_bounded
                || self.sleep.idle.contains(processor.index)
                || processor.retired.load(Ordering::Relaxed)
            {
                continue;
            }
            let now = *time.get_or_insert_with(sys::now);
            let at = if runs_tasks {
                // Old enough to be blocked, at the first of the two.
                self.stop_for_task(processor, now)
                    .max(now + self.config.min_slice / 2)
                    .min(self.batch_due(processor, now))
            } else {
                self.stop_for_batch(processor).max(now)
            };
            // One after the other, not all at the same moment.
            let share = self.quantum() * processor.index as u64 / self.processors.len() as u64;
            processor.look.fetch_min(at + share, Ordering::SeqCst);
            self.rearm(processor, false);
        }
    }

    /// The signal has come: is what runs here to give way? In the handler, with `due` up to date.
    pub(crate) fn judge(&self, processor: &Processor, now: u64) -> Verdict {
        if self.config.home_only {
            return Verdict::GoOn;
        }
        let tasks = self.interactive_waits(processor);
        let batch = !self.batch.is_empty();
        if !processor.runs_tasks.load(Ordering::Relaxed) {
            if batch && self.stop_for_batch(processor) <= now {
                processor.used_up.store(true, Ordering::Relaxed);
                return Verdict::GiveWay;
            }
            return match tasks && self.stop_for_task(processor, now) <= now {
                true => Verdict::GiveWay,
                false => Verdict::GoOn,
            };
        }
        let is_marked = processor.is_marked();
        let age = now.saturating_sub(processor.mark_here(now));
        let batch_turn = batch && self.owed(processor, now, true) >= self.quantum();
        if batch_turn {
            processor.batch_turn.store(true, Ordering::Relaxed);
        }
        if age < self.need() {
            if !is_marked {
                self.count_useless_look(processor, now);
            }
            return Verdict::GoOn;
        }
        if batch_turn {
            return Verdict::GiveWay;
        }
        if tasks && age < 2 * self.need() && processor.has_task() {
            // Somebody idle may take it, before this poll has to make room.
            processor.slot.open();
            if self.wake_one() {
                return Verdict::GoOn;
            }
        }
        match (tasks, batch) {
            (true, _) => Verdict::GiveWay,
            // It may wait for a lock that one of those holds.
            (false, true) => Verdict::HandOver,
            (false, false) => Verdict::GoOn,
        }
    }

    fn count_useless_look(&self, processor: &Processor, now: u64) {
        let looks = processor.useless_looks.load(Ordering::Relaxed);
        processor.useless_looks.store(looks + 1, Ordering::Relaxed);
        let useless = processor.useless.load(Ordering::Relaxed).max(now);
        processor
            .useless
            .store(useless + RELAXED, Ordering::Relaxed);
        let is_tired = useless > now + BURST * RELAXED;
        let floor = if is_tired { now + RELAXED } else { 0 };
        processor.timer_floor.store(floor, Ordering::Relaxed);
    }

    /// The poll that runs makes room: where it waits, and what is left of its turn. Its owner only.
    pub(crate) fn set_aside(&self, processor: &Processor, fiber: &Fiber) -> Place {
        if processor.runs_tasks.load(Ordering::Relaxed) {
            fiber.is_young.store(true, Ordering::Relaxed);
            fiber.slice_left.store(self.quantum(), Ordering::Relaxed);
            return Place::Young;
        }
        let end = processor.slice_end.load(Ordering::Relaxed);
        let left = match end.saturating_sub(sys::now()) {
            // A rest that is not worth a signal is none.
            left if left >= MIN_SLICE / 2 => left,
            _ => 0,
        };
        fiber.slice_left.store(left, Ordering::Relaxed);
        if left == 0 {
            fiber.is_young.store(false, Ordering::Relaxed);
            Place::Old
        } else if fiber.is_young.load(Ordering::Relaxed) {
            Place::YoungFront
        } else {
            Place::OldFront
        }
    }

    /// When the batch fiber that runs makes room for another: at the end of its slice, or earlier, should a young one
    /// wait.
    fn stop_for_batch(&self, processor: &Processor) -> u64 {
        let slice_end = processor.slice_end.load(Ordering::Relaxed);
        if self.batch.has_young() {
            slice_end.min(processor.since.load(Ordering::Relaxed) + self.quantum())
        } else {
            slice_end
        }
    }

    /// Has the batch fiber that runs here a right to go on although tasks wait?
    pub(crate) fn is_owed(&self, processor: &Processor) -> bool {
        !processor.runs_tasks.load(Ordering::Relaxed)
            && processor.turn_end.load(Ordering::Relaxed) > sys::now()
    }
}
