//! The bits of a task's state word. What they mean together, and who may change them, `state` says.
//!
//! ```text
//!   ┌────────────┬──────┬────────────┬───────────────┬───────────┬──────────┬──────────┬─────────┐
//!   │ references │ LOST │ JOIN_WAKER │ JOIN_INTEREST │ CANCELLED │ NOTIFIED │ COMPLETE │ RUNNING │
//!   └────────────┴──────┴────────────┴───────────────┴───────────┴──────────┴──────────┴─────────┘
//!    63        7     6         5             4             3          2          1          0
//! ```

use std::fmt;

pub(super) const RUNNING: usize = 1 << 0;
pub(super) const COMPLETE: usize = 1 << 1;
pub(super) const NOTIFIED: usize = 1 << 2;
pub(super) const CANCELLED: usize = 1 << 3;
pub(super) const JOIN_INTEREST: usize = 1 << 4;
pub(super) const JOIN_WAKER: usize = 1 << 5;
pub(super) const LOST: usize = 1 << 6;
pub(super) const REF_ONE: usize = 1 << 7;

/// A new task is notified and held thrice: by the owned list, by its `Notified` and by its join handle.
pub(super) const INITIAL: usize = 3 * REF_ONE + NOTIFIED + JOIN_INTEREST;

/// Beyond this many references the process is aborted: half the range is left, so threads that are about to
/// find out cannot wrap the counter in the meantime.
pub(super) const MOST: usize = usize::MAX / 2;

#[cold]
pub(super) fn too_many_references() -> ! {
    // A program that leaks this many wakers has lost its way; going on would free a task that is in use.
    std::process::abort()
}

/// A value the state word had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(usize);

impl Snapshot {
    pub(super) fn new(bits: usize) -> Snapshot {
        Snapshot(bits)
    }

    pub(super) fn bits(self) -> usize {
        self.0
    }

    /// Somebody polls or cancels the task.
    pub(crate) fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    /// The output is stored, or was already taken.
    pub(crate) fn is_complete(self) -> bool {
        self.0 & COMPLETE != 0
    }

    /// A poll is due.
    pub(crate) fn is_notified(self) -> bool {
        self.0 & NOTIFIED != 0
    }

    /// No poll begins any more.
    pub(crate) fn is_cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }

    /// The join handle exists.
    pub(crate) fn has_join_interest(self) -> bool {
        self.0 & JOIN_INTEREST != 0
    }

    /// The waker in the join slot is published.
    pub(crate) fn has_join_waker(self) -> bool {
        self.0 & JOIN_WAKER != 0
    }

    /// Its poll has ended in the middle, for good.
    pub(crate) fn is_lost(self) -> bool {
        self.0 & LOST != 0
    }

    /// How many hold the task.
    pub(crate) fn references(self) -> usize {
        self.0 / REF_ONE
    }

    /// Nobody runs the task, and it is not complete.
    pub(super) fn may_begin(self) -> bool {
        self.0 & (RUNNING | COMPLETE) == 0
    }

    pub(super) fn with(self, bits: usize) -> Snapshot {
        Snapshot(self.0 | bits)
    }

    pub(super) fn without(self, bits: usize) -> Snapshot {
        Snapshot(self.0 & !bits)
    }

    pub(super) fn plus_reference(self) -> Snapshot {
        if self.0 > MOST {
            too_many_references();
        }
        Snapshot(self.0 + REF_ONE)
    }

    pub(super) fn minus_references(self, count: usize) -> Snapshot {
        debug_assert!(self.references() >= count, "{self:?}");
        Snapshot(self.0 - count * REF_ONE)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (RUNNING, "RUNNING | "),
            (COMPLETE, "COMPLETE | "),
            (NOTIFIED, "NOTIFIED | "),
            (CANCELLED, "CANCELLED | "),
            (JOIN_INTEREST, "JOIN_INTEREST | "),
            (JOIN_WAKER, "JOIN_WAKER | "),
            (LOST, "LOST | "),
        ];
        f.write_str("State(")?;
        for (_, name) in names.iter().filter(|(bit, _)| self.0 & bit != 0) {
            f.write_str(name)?;
        }
        write!(f, "references: {})", self.references())
    }
}
