//! How idle processors sleep and are woken without losing a task.
//!
//! A processor is *running*, *searching* (its own queue was empty, it looks at the others'), or *parked* (its
//! worker sleeps on `Processor::parked`, still holding it, inside a critical section).
//!
//! **Submit** (any thread):
//! 1. put the task into a queue;
//! 2. (sequentially consistent) look: is anybody searching? Then that one will see it. Otherwise
//! 3. take any processor out of `idle`; mark it searching; wake it.
//!
//! **Park** (a processor's owner):
//! 1. add itself to `idle`;
//! 2. stop searching;
//! 3. (sequentially consistent) look at every queue once more; if there is something, take itself out of `idle`
//!    again, unless a waker has done so;
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
//! searcher sees the task, or in Find wakes the next searcher, to which the same applies. If S comes after
//! the last D, S finds nobody searching, and step 3 of Submit takes a processor from `idle`: one that had
//! parked added itself before D (Park 1, 2). If `idle` is empty, every processor is running or will look at
//! all queues before it parks; and the submitter makes sure that a running one's slice is bounded
//! (`Shared::bound_slices`).

use super::bits::Bits;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// `Processor::parked`: not asleep, or told to wake up.
pub(crate) const AWAKE: u32 = 0;
/// `Processor::parked`: asleep, or about to.
pub(crate) const PARKED: u32 = 1;

/// Who sleeps and who searches. See the module's head.
#[derive(Debug)]
pub(crate) struct Sleep {
    /// Parked processors.
    pub(crate) idle: Bits,
    /// Searching processors.
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
    pub(crate) fn may_search(&self) -> bool {
        let busy = self.processors.saturating_sub(self.idle.len());
        2 * self.searching.load(Ordering::SeqCst) < busy
    }

    /// One more searches.
    pub(crate) fn start_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    /// One less. True: it was the last.
    pub(crate) fn stop_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Is anybody searching?
    pub(crate) fn is_searching(&self) -> bool {
        self.searching.load(Ordering::SeqCst) > 0
    }
}
