//! How idle processors sleep and are woken without losing a task.
//!
//! A processor is *running*, *searching* (its own queue was empty, it looks at the others'), or *parked* (its
//! worker sleeps on `Sleeper::parked`, still holding it, inside a critical section).
//!
//! **Submit** (any thread):
//! 1. put the task into a queue;
//! 2. (sequentially consistent) look: is anybody searching? Then that one will see it. Otherwise
//! 3. take any processor out of `idle`; mark it searching; wake it.
//!
//! **Park** (a processor's owner):
//! 1. add itself to `idle`;
//! 2. stop searching, if it was *before* step 1: from there on whoever takes it out of `idle` marks it searching;
//! 3. (sequentially consistent) look at every queue once more; if there is something, take itself out of `idle`
//!    again and search, unless a waker has done both;
//! 4. sleep until `parked` changes or the next timer of its shard is due.
//!
//! **Find** (a searching processor finds a task):
//! 1. stop searching; if it was the last searcher, do as Submit from 2 on: its task may not be the one that
//!    somebody counted on it to see.
//!
//! # Why no task is lost
//!
//! Take a task put into a queue (Q) and the submitter's look at `searching` (S), in this order. Let a searcher
//! leave: its decrement (D) and, after it, its look at the queues (L) in Park 3, or a wake-up in Find. If S
//! comes before D in the single order of sequentially consistent operations, then Q < S < D < L and the
//! searcher sees the task and searches again, or in Find wakes the next searcher, to which the same applies. If S comes after
//! the last D, S finds nobody searching, and step 3 of Submit takes a processor from `idle`: one that had
//! parked added itself before D (Park 1, 2). If `idle` is empty, every processor is running or will look at
//! all queues before it parks; and the submitter presses a running one, or calls one (`executor::slice`).

use super::bits::Bits;
use crate::primitives::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// `Sleeper::parked`: not asleep, or told to wake up.
pub(crate) const AWAKE: u32 = 0;
/// `Sleeper::parked`: asleep, or about to.
pub(crate) const PARKED: u32 = 1;

/// A processor's part in this.
#[derive(Debug)]
pub(crate) struct Sleeper {
    /// Looking for work: counted in `Sleep::searching`. The owner's; but from the moment at which somebody takes the
    /// processor out of `idle` it is that one's, until `parked` says so.
    searching: AtomicBool,
    /// The word that its idle worker sleeps on.
    pub(crate) parked: AtomicU32,
}

impl Sleeper {
    pub(crate) fn new() -> Sleeper {
        Sleeper {
            searching: AtomicBool::new(false),
            parked: AtomicU32::new(AWAKE),
        }
    }

    /// Does the processor look for work? Owner only.
    #[inline]
    pub(crate) fn is_searching(&self) -> bool {
        self.searching.load(Ordering::Relaxed)
    }

    /// Not asleep, or told to wake up.
    pub(crate) fn is_awake(&self) -> bool {
        self.parked.load(Ordering::SeqCst) == AWAKE
    }
}

/// Who will see what was just submitted.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SeenBy {
    /// A searching processor.
    Searcher,
    /// This one, which the caller has to [rouse](Sleep::rouse).
    Idle(usize),
    /// All are busy.
    Nobody,
}

/// Who sleeps and who searches. See the module's head.
#[derive(Debug)]
pub(crate) struct Sleep {
    /// Parked processors.
    pub(crate) idle: Bits,
    /// How many search.
    searching: AtomicUsize,
    processors: usize,
}

impl Sleep {
    pub(crate) fn new(processors: usize) -> Sleep {
        Sleep {
            idle: Bits::new(processors),
            searching: AtomicUsize::new(0),
            processors,
        }
    }

    /// May one more processor search? Half of those that are busy are enough to find anything.
    fn may_search(&self) -> bool {
        let busy = self.processors.saturating_sub(self.idle.len());
        2 * self.searching.load(Ordering::SeqCst) < busy
    }

    /// One more searches.
    fn start_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    /// One less. True: it was the last.
    fn stop_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Is anybody searching?
    pub(crate) fn is_searching(&self) -> bool {
        self.searching.load(Ordering::SeqCst) > 0
    }
}

/// The steps.
impl Sleep {
    /// Submit, steps 2 and 3. The task is in a queue; if a plain store put it there, a full fence follows that store.
    #[inline]
    pub(crate) fn submitted(&self) -> SeenBy {
        if self.is_searching() {
            return SeenBy::Searcher;
        }
        match self.idle.take_any() {
            Some(index) => SeenBy::Idle(index),
            None => SeenBy::Nobody,
        }
    }

    /// Marks a processor searching that the caller has taken out of `idle`. What is left to do is the system call that
    /// wakes who sleeps on `parked`.
    pub(crate) fn rouse(&self, sleeper: &Sleeper) {
        self.start_search();
        sleeper.searching.store(true, Ordering::Relaxed);
        sleeper.parked.store(AWAKE, Ordering::SeqCst);
    }

    /// Starts to search, unless enough do already and this one does not `insist`. False: it may not. Owner only.
    pub(crate) fn search(&self, sleeper: &Sleeper, insist: bool) -> bool {
        if sleeper.is_searching() {
            return true;
        }
        if !insist && !self.may_search() {
            return false;
        }
        self.start_search();
        sleeper.searching.store(true, Ordering::Relaxed);
        true
    }

    /// Stops searching, if it does. True: it was the last that searched, and if it has found something, the caller does
    /// as Submit from 2 on. Owner only.
    pub(crate) fn end_search(&self, sleeper: &Sleeper) -> bool {
        if !sleeper.is_searching() {
            return false;
        }
        sleeper.searching.store(false, Ordering::Relaxed);
        self.stop_search()
    }

    /// Park, steps 1 and 2. Steps 3 and 4 follow, or [`cancel_park`](Sleep::cancel_park). Owner only.
    pub(crate) fn park(&self, index: usize, sleeper: &Sleeper) {
        // Once it is in the set, the flag is a waker's. Were it read after that, this one would take back in the
        // waker's name, or the waker mark what is marked already: a searcher would be counted for ever.
        let was_searching = sleeper.is_searching();
        sleeper.searching.store(false, Ordering::Relaxed);
        sleeper.parked.store(PARKED, Ordering::SeqCst);
        self.idle.insert(index);
        if was_searching {
            let _ = self.stop_search();
        }
    }

    /// Takes the caller's processor out of `idle` again. False: a waker has done so, and is about to say so in
    /// `parked`, which the caller has to wait for. Owner only.
    #[must_use]
    pub(crate) fn unpark(&self, index: usize, sleeper: &Sleeper) -> bool {
        let is_out = self.idle.remove(index);
        if is_out {
            sleeper.parked.store(AWAKE, Ordering::SeqCst);
        }
        is_out
    }

    /// Park, step 3, where there is something: as [`unpark`](Sleep::unpark), and the processor searches, whoever has
    /// taken it out.
    #[must_use]
    pub(crate) fn cancel_park(&self, index: usize, sleeper: &Sleeper) -> bool {
        let is_out = self.unpark(index, sleeper);
        if is_out {
            // There may be more than it takes, and whoever submitted that has counted on it when it still searched.
            let _ = self.search(sleeper, true);
        }
        is_out
    }
}
