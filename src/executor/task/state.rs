//! The state word of a task: who may touch its future, its output and its join waker, and how many hold it.
//!
//! ```text
//!                    wake                begin_poll               complete
//!   Idle ─────────────────────▶ Notified ──────────▶ Running ─────────────────▶ Complete   (for good)
//!    ▲  ▲                          ▲                  │  │ ▲
//!    │  └────────── end_poll ──────│──────────────────┘  │ │
//!    │                             └── end_poll, after a │ │
//!    │                                 wake while it ran ┘ │
//!    └──────────────── begin_shutdown (also from Notified) ┘
//! ```
//!
//! Beside these, five independent parts live in the word: `CANCELLED` (no poll begins any more),
//! `JOIN_INTEREST` (the join handle exists), `JOIN_WAKER` (the waker in the join slot is published), `LOST` (the
//! poll in progress will never end), and the number of references.
//!
//! | transition           | who                       | ordering | because                                          |
//! |----------------------|---------------------------|----------|--------------------------------------------------|
//! | wake, abort          | any thread                | AcqRel   | what the waker wrote is seen by the next poll,   |
//! |                      |                           |          | *also when the task was notified already*        |
//! | begin_poll           | holder of the `Notified`  | AcqRel   | pairs with wake, and with the last end_poll      |
//! | end_poll             | the runner                | AcqRel   | hands the future to the next runner              |
//! | lose                 | for the runner, once      | AcqRel   | hands the completion to who begins the next poll |
//! | begin_shutdown       | holder of the `TaskRef`   | AcqRel   | as begin_poll                                    |
//! | complete             | the runner                | AcqRel   | hands over the output, takes the join slot       |
//! | publish_join_waker   | the join handle           | AcqRel   | the runner reads the slot after it               |
//! | withdraw_join_waker  | the join handle           | AcqRel   | the slot is written after it                     |
//! | finish_join_wake     | the runner, once complete | AcqRel   | hands the slot back                              |
//! | drop_join_handle     | the join handle           | AcqRel   | hands the output, the slot, or both to one side  |
//! | retain               | holder of a reference     | Relaxed  | the holder's own reference keeps the task alive  |
//! | release              | holder of a reference     | AcqRel   | every use happens before the free                |
//!
//! # Invariants
//!
//! 1. `RUNNING` is set by one party at a time, the *runner*; it alone touches the future.
//! 2. At most one `Notified` exists. A wake that meets `RUNNING` makes none, it leaves `NOTIFIED` behind and
//!    the runner makes one at the end of its poll.
//! 3. `COMPLETE` is final, and nothing is polled, notified or cancelled after it.
//! 4. The output is the runner's until `COMPLETE`. From then on it is the join handle's if `JOIN_INTEREST` was
//!    set at that moment, and the runner's otherwise.
//! 5. No poll begins once `CANCELLED` is set.
//! 6. The join slot (the place for the joiner's waker):
//!    - `JOIN_WAKER` clear: it belongs to the join handle alone;
//!    - `JOIN_WAKER` set: nobody writes it. The join handle may read it, and so may the runner after
//!      `COMPLETE`;
//!    - the join handle can take `JOIN_WAKER` back only before `COMPLETE`, the runner only after;
//!    - once both `JOIN_INTEREST` and `JOIN_WAKER` are clear, it belongs to whoever cleared the later of the
//!      two, who empties it.
//! 7. `LOST` is set while the task runs, by whoever takes the stack away from under the runner. That one becomes the
//!    holder of a `Notified` (there is no other: Invariant 2), with the runner's reference, and whoever begins a poll with
//!    it completes the task instead. Nobody touches the future again; the output is not there, and an error stands for
//!    it; and that reference is never given back, because what the future has lent out may still be used.
//!
//! # Why a wake writes even when there is nothing to change
//!
//! A waker stores its news and then looks at the word. Were a plain load of `NOTIFIED` enough, the store could
//! still sit in the store buffer while the runner begins its poll and misses the news, and nobody would ever
//! wake the task again. Rewriting the word puts the waker into the chain of writes that `begin_poll` reads from.

use super::snapshot::{
    CANCELLED, COMPLETE, INITIAL, JOIN_INTEREST, JOIN_WAKER, LOST, MOST, NOTIFIED, REF_ONE,
    RUNNING, Snapshot, too_many_references,
};
use crate::primitives::atomic::AtomicUsize;
use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// What the holder of a `Notified` found. Its reference is spent in every case but the first three.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BeginPoll {
    /// The caller is the runner now and polls the future.
    Poll,
    /// The caller is the runner now, and must cancel the task.
    Cancel,
    /// The caller must complete the task, whose poll was lost.
    Lost,
    /// Somebody else runs it or it is complete.
    Nothing,
    /// As `Nothing`, and the caller's reference was the last.
    Dealloc,
}

/// What the runner owes after a poll that returned `Pending`.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EndPoll {
    /// Nothing: the task waits, the runner's reference is spent.
    Idle,
    /// As `Idle`, and it was the last reference: nobody can ever wake the task.
    Dealloc,
    /// It was woken meanwhile. A reference was added: one is the new `Notified`'s, one is still the runner's.
    Reschedule,
    /// It was cancelled meanwhile. The caller is still the runner and must cancel it.
    Cancel,
}

/// Who has to do with the output of a task that has just completed.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// Nobody: the runner drops it.
    Detached,
    /// The join handle, which has no waker published.
    Unwatched,
    /// The join handle, which must be woken; `finish_join_wake` follows.
    Watched,
}

/// What a shutdown found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BeginShutdown {
    /// The caller is the runner now and must cancel the task.
    Cancel,
    /// Another runner will see the cancellation, or the task is complete.
    Nothing,
}

/// What somebody who wakes or aborts a task owes.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Nothing.
    Nothing,
    /// A reference was added: make a `Notified` of it and hand that to the scheduler.
    Schedule,
}

/// As [`Wake`], for a waker that gives up its own reference.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WakeByValue {
    /// Nothing; the waker's reference is spent.
    Nothing,
    /// As `Nothing`, and it was the last reference.
    Dealloc,
    /// As [`Wake::Schedule`]; the waker's own reference is kept for the time of the call into the scheduler.
    Schedule,
}

/// Whether the join handle could publish or withdraw its waker.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinWaker {
    /// Yes.
    Changed,
    /// No, nothing was changed: the task is complete and the output is there.
    Complete,
}

/// Who empties the join slot after the runner has woken the joiner.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinWoken {
    /// The join handle still exists, it does.
    LeaveWaker,
    /// The runner.
    DropWaker,
}

/// What a join handle owes that goes away.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinDropped {
    /// Nothing; its reference is spent as well.
    Detached,
    /// It empties the join slot. Here and below it still has its reference.
    Waker,
    /// It drops the output; the runner is about to empty the join slot.
    Output,
    /// It drops the output and empties the join slot.
    OutputAndWaker,
}

/// Whether others still hold the task.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// They do.
    Others,
    /// They do not: the caller frees it.
    Last,
}

/// See the module's documentation.
pub(crate) struct State(AtomicUsize);

impl State {
    /// The state of a task that has just been spawned.
    pub(crate) fn new() -> State {
        State(AtomicUsize::new(INITIAL))
    }

    /// The word as it is now. Acquire: who sees `COMPLETE` sees the output.
    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot::new(self.0.load(Acquire))
    }

    /// Notified → Running.
    #[inline]
    pub(crate) fn begin_poll(&self) -> BeginPoll {
        self.update(|s| {
            if s.is_lost() && !s.is_complete() {
                return (None, BeginPoll::Lost);
            }
            if !s.may_begin() {
                let next = s.minus_references(1);
                let found = match next.references() {
                    0 => BeginPoll::Dealloc,
                    _ => BeginPoll::Nothing,
                };
                return (Some(next), found);
            }
            let found = match s.is_cancelled() {
                true => BeginPoll::Cancel,
                false => BeginPoll::Poll,
            };
            (Some(s.with(RUNNING).without(NOTIFIED)), found)
        })
    }

    /// Running → Idle, or → Notified after a wake. Only the runner.
    #[inline]
    pub(crate) fn end_poll(&self) -> EndPoll {
        self.update(|s| {
            debug_assert!(s.is_running(), "{s:?}");
            if s.is_cancelled() {
                return (None, EndPoll::Cancel);
            }
            let next = s.without(RUNNING);
            if s.is_notified() {
                return (Some(next.plus_reference()), EndPoll::Reschedule);
            }
            let next = next.minus_references(1);
            let owed = match next.references() {
                0 => EndPoll::Dealloc,
                _ => EndPoll::Idle,
            };
            (Some(next), owed)
        })
    }

    /// The poll that runs will never end (Invariant 7).
    pub(crate) fn lose(&self) {
        let before = Snapshot::new(self.0.fetch_or(LOST, AcqRel));
        debug_assert!(before.is_running() && !before.is_lost(), "{before:?}");
    }

    /// Running → Complete. Only the runner, after it has stored the output; or who completes a lost task.
    #[inline]
    pub(crate) fn complete(&self) -> Completed {
        let before = Snapshot::new(self.0.fetch_xor(RUNNING | COMPLETE, AcqRel));
        debug_assert!(before.is_running() && !before.is_complete(), "{before:?}");
        match (before.has_join_interest(), before.has_join_waker()) {
            (false, _) => Completed::Detached,
            (true, false) => Completed::Unwatched,
            (true, true) => Completed::Watched,
        }
    }

    /// Idle or Notified → Running, and cancelled in any case.
    pub(crate) fn begin_shutdown(&self) -> BeginShutdown {
        self.update(|s| {
            if s.is_complete() {
                (None, BeginShutdown::Nothing)
            } else if s.is_running() {
                (Some(s.with(CANCELLED)), BeginShutdown::Nothing)
            } else {
                (Some(s.with(CANCELLED | RUNNING)), BeginShutdown::Cancel)
            }
        })
    }

    /// Idle → Notified.
    #[inline]
    pub(crate) fn wake_by_ref(&self) -> Wake {
        self.update(|s| {
            if s.is_complete() {
                (None, Wake::Nothing)
            } else if s.is_running() || s.is_notified() {
                (Some(s.with(NOTIFIED)), Wake::Nothing)
            } else {
                (Some(s.with(NOTIFIED).plus_reference()), Wake::Schedule)
            }
        })
    }

    /// As [`wake_by_ref`](State::wake_by_ref), with a reference that the caller has no more use for.
    #[inline]
    pub(crate) fn wake_by_value(&self) -> WakeByValue {
        self.update(|s| {
            if !s.is_complete() && !s.is_running() && !s.is_notified() {
                let next = s.with(NOTIFIED).plus_reference();
                return (Some(next), WakeByValue::Schedule);
            }
            let next = match s.is_complete() {
                true => s.minus_references(1),
                false => s.with(NOTIFIED).minus_references(1),
            };
            let owed = match next.references() {
                0 => WakeByValue::Dealloc,
                _ => WakeByValue::Nothing,
            };
            (Some(next), owed)
        })
    }

    /// Cancels the task and wakes it, so that a worker finds out.
    pub(crate) fn abort(&self) -> Wake {
        self.update(|s| {
            if s.is_complete() || s.is_cancelled() {
                return (None, Wake::Nothing);
            }
            let next = s.with(CANCELLED | NOTIFIED);
            if s.is_running() || s.is_notified() {
                (Some(next), Wake::Nothing)
            } else {
                (Some(next.plus_reference()), Wake::Schedule)
            }
        })
    }

    /// Sets `JOIN_WAKER`, unless the task is complete. Only the join handle, after it has filled the slot.
    pub(crate) fn publish_join_waker(&self) -> JoinWaker {
        self.change_join_waker(|s| {
            debug_assert!(!s.has_join_waker(), "{s:?}");
            s.with(JOIN_WAKER)
        })
    }

    /// Clears `JOIN_WAKER`, unless the task is complete. Only the join handle.
    pub(crate) fn withdraw_join_waker(&self) -> JoinWaker {
        self.change_join_waker(|s| {
            debug_assert!(s.has_join_waker(), "{s:?}");
            s.without(JOIN_WAKER)
        })
    }

    fn change_join_waker(&self, change: impl Fn(Snapshot) -> Snapshot) -> JoinWaker {
        self.update(|s| {
            debug_assert!(s.has_join_interest(), "{s:?}");
            match s.is_complete() {
                true => (None, JoinWaker::Complete),
                false => (Some(change(s)), JoinWaker::Changed),
            }
        })
    }

    /// Clears `JOIN_WAKER` of a complete task. Only the runner, after it has woken the joiner.
    pub(crate) fn finish_join_wake(&self) -> JoinWoken {
        let before = Snapshot::new(self.0.fetch_and(!JOIN_WAKER, AcqRel));
        debug_assert!(
            before.is_complete() && before.has_join_waker(),
            "{before:?}"
        );
        match before.has_join_interest() {
            true => JoinWoken::LeaveWaker,
            false => JoinWoken::DropWaker,
        }
    }

    /// Clears `JOIN_INTEREST`, and `JOIN_WAKER` where the runner has not got hold of it. Only the join handle.
    pub(crate) fn drop_join_handle(&self) -> JoinDropped {
        self.update(|s| {
            debug_assert!(s.has_join_interest(), "{s:?}");
            let next = s.without(JOIN_INTEREST);
            match (s.is_complete(), s.has_join_waker()) {
                // Nobody else can give back the join handle's reference, so this leaves at least one.
                (false, false) if s.references() > 1 => {
                    (Some(next.minus_references(1)), JoinDropped::Detached)
                }
                (false, _) => (Some(next.without(JOIN_WAKER)), JoinDropped::Waker),
                (true, true) => (Some(next), JoinDropped::Output),
                (true, false) => (Some(next), JoinDropped::OutputAndWaker),
            }
        })
    }

    /// Adds a reference. Aborts the process where the counter would overflow.
    #[inline]
    pub(crate) fn retain(&self) {
        // Relaxed: a reference is only ever added by somebody who has one.
        if self.0.fetch_add(REF_ONE, Relaxed) > MOST {
            too_many_references();
        }
    }

    /// Gives back `count` references.
    #[inline]
    pub(crate) fn release(&self, count: usize) -> Released {
        let before = Snapshot::new(self.0.fetch_sub(count * REF_ONE, AcqRel));
        debug_assert!(before.references() >= count, "{before:?}");
        match before.references() == count {
            true => Released::Last,
            false => Released::Others,
        }
    }

    /// The one CAS loop: `change` says what the word becomes, if anything, and what the caller learns.
    #[inline]
    fn update<R>(&self, change: impl Fn(Snapshot) -> (Option<Snapshot>, R)) -> R {
        let mut current = self.load();
        loop {
            let (next, result) = change(current);
            let Some(next) = next else { return result };
            match self
                .0
                .compare_exchange_weak(current.bits(), next.bits(), AcqRel, Acquire)
            {
                Ok(_) => return result,
                Err(actual) => current = Snapshot::new(actual),
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
