//! Parked polls: two words that say who may go on with a fiber that waits for a wake.
//!
//! A poll that parks is suspended by its own wish until somebody calls `unpark`, at any moment before or after. Go calls
//! the step in which it becomes visible the *park commit*: only on the system stack, with the registers saved, does
//! the waiting poll say that it may be resumed.
//!
//! The *notice* belongs to one wait. Whoever wakes writes it first, and has no business with the fiber unless the
//! notice said `PARKED`:
//!
//! ```text
//!            commit                  unpark
//!   EMPTY ───────────▶ PARKED ─────────────────────┐
//!     │ └───────────▶ ASLEEP ── unpark, futex ────┤     (ASLEEP: an ordinary thread, in the kernel)
//!     │    sleep                                   ▼
//!     └───────────────── unpark ──────────────▶ NOTIFIED
//! ```
//!
//! The fiber's own word says whose it is while it is suspended:
//!
//! ```text
//!             commit                begin_trim
//!   RUNS ───────────▶ PARKED ◀──────────────────▶ TRIMMING        the supplier returns unused pages (rule R4)
//!    ▲                 │  │        end_trim           │
//!    │◀──── take ──────┘  └───── give ──▶ GIVEN      │            its lender goes on with the wait
//!    │◀──── take ───────────────────────────┘         │
//!    └◀──── take ─────────────────────────────────────┘
//! ```
//!
//! `take` is the one way out, and the last touch of the fiber by whoever did not get it. Who does it (the waker, or the
//! fiber's own commit, should it find the notice taken) learns from what was there:
//!
//! | found | the fiber is | |
//! |---|---|---|
//! | PARKED | the taker's | it makes the fiber runnable |
//! | TRIMMING | the trimmer's | `end_trim` fails, so the trimmer makes it runnable |
//! | GIVEN | the lender's | it waits in the kernel for this very word |
//!
//! # Invariants
//!
//! 1. Before it is PARKED the fiber is its worker's, which has saved its registers (Invariant 1 of `fiber`).
//! 2. Each `commit` is followed by exactly one `take`: by the commit itself if the notice came first, by the waker if it
//!    came later.
//! 3. Nobody touches the notice after `unpark` has moved it away from EMPTY or ASLEEP, and before `take` the fiber of
//!    a PARKED one does not go on. So both may lie on the parked stack.
//! 4. The fiber's word counts its commits, so a trimmer that comes again knows whether the fiber has been parked all
//!    the time.

use crate::primitives::atomic::{AtomicU32, Ordering};

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED_NOTICE: u32 = 2;
/// What an ordinary thread sleeps on.
pub(crate) const ASLEEP: u32 = 3;

const RUNS: u32 = 0;
const PARKED: u32 = 1;
const TRIMMING: u32 = 2;
const GIVEN: u32 = 3;
/// The bits of the state; those above count.
const STATE: u32 = 3;

/// One wait: see the module's head.
#[derive(Debug)]
pub(crate) struct Notice(AtomicU32);

/// Whom `unpark` has to see to.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nobody: who waits has not begun to, or has been told before.
    Nobody,
    /// A suspended fiber: [`Parked::take`] follows.
    Fiber,
    /// A thread, asleep on the notice.
    Thread,
}

impl Notice {
    /// A wait that has not begun.
    pub(crate) fn new() -> Notice {
        Notice(AtomicU32::new(EMPTY))
    }

    /// Has it been told?
    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.0.load(Ordering::Acquire) == NOTIFIED
    }

    /// The waiting thread is about to sleep on [`word`](Self::word), until it is no longer `ASLEEP`. False: it has been
    /// told.
    #[must_use]
    pub(crate) fn sleep(&self) -> bool {
        self.0
            .compare_exchange(EMPTY, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// What a thread sleeps on.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Tells who waits. With `Nobody` and `Thread` the notice may be gone when this returns.
    #[inline]
    pub(crate) fn tell(&self) -> Waits {
        match self.0.swap(NOTIFIED, Ordering::AcqRel) {
            PARKED_NOTICE => Waits::Fiber,
            ASLEEP => Waits::Thread,
            _ => Waits::Nobody,
        }
    }
}

/// Whose a suspended fiber is: see the module's head.
#[derive(Debug)]
pub(crate) struct Parked {
    word: AtomicU32,
    /// What the trimmer saw last, and what it has trimmed. The supplier's only.
    seen: AtomicU32,
    trimmed: AtomicU32,
}

/// Who goes on with the fiber.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The caller owns it.
    Mine,
    /// The trimmer will make it runnable.
    Trimmers,
    /// Its lender waits for the word.
    Lenders,
}

/// What a trimmer does next with a fiber.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// Nothing: it is not parked, or has been trimmed.
    Nothing,
    /// Come again: it has been parked since the last visit at most.
    Again,
    /// The fiber stays suspended until [`Parked::end_trim`], which gets this.
    Now(u32),
}

impl Parked {
    /// A fiber that is not parked.
    pub(crate) fn new() -> Parked {
        Parked {
            word: AtomicU32::new(RUNS),
            seen: AtomicU32::new(RUNS),
            trimmed: AtomicU32::new(RUNS),
        }
    }

    /// The park commit. The caller owns the suspended fiber; from here on, others may. None: it is parked. Otherwise
    /// the notice came first, and the caller is who has taken it.
    #[must_use]
    pub(crate) fn commit(&self, notice: &Notice) -> Option<Taken> {
        let count = self.word.load(Ordering::Relaxed) & !STATE;
        let parked = count.wrapping_add(STATE + 1) | PARKED;
        // SeqCst: half of the shutdown's protocol, which says that it gives fibers back and then looks at this.
        self.word.store(parked, Ordering::SeqCst);
        // After the fiber's own word: who finds the notice PARKED takes the fiber.
        let parked =
            notice
                .0
                .compare_exchange(EMPTY, PARKED_NOTICE, Ordering::AcqRel, Ordering::Acquire);
        parked.is_err().then(|| self.take())
    }

    /// Takes the fiber, for whoever has been given the right to by the notice.
    pub(crate) fn take(&self) -> Taken {
        match self.word.fetch_and(!STATE, Ordering::AcqRel) & STATE {
            PARKED => Taken::Mine,
            TRIMMING => Taken::Trimmers,
            GIVEN => Taken::Lenders,
            _ => crate::fatal::fatal!("a poll was woken that was not parked"),
        }
    }

    /// Is it parked, and not trimmed since? The supplier only.
    pub(crate) fn is_untrimmed(&self) -> bool {
        // SeqCst: half of `Supply::comes_again`.
        let word = self.word.load(Ordering::SeqCst);
        word & STATE == PARKED && self.trimmed.load(Ordering::Relaxed) != word
    }

    /// Is there something to trim? The supplier only, every so often.
    pub(crate) fn begin_trim(&self) -> Trim {
        let word = self.word.load(Ordering::Relaxed);
        if word & STATE != PARKED || self.trimmed.load(Ordering::Relaxed) == word {
            return Trim::Nothing;
        }
        if self.seen.load(Ordering::Relaxed) != word {
            self.seen.store(word, Ordering::Relaxed);
            return Trim::Again;
        }
        let trimming = word & !STATE | TRIMMING;
        // Acquire: the saved stack pointer.
        match self
            .word
            .compare_exchange(word, trimming, Ordering::AcqRel, Ordering::Relaxed)
        {
            Ok(_) => {
                self.trimmed.store(word, Ordering::Relaxed);
                Trim::Now(trimming)
            }
            Err(_) => Trim::Nothing,
        }
    }

    /// The pages are returned. False: it was woken meanwhile, and is the caller's.
    #[must_use]
    pub(crate) fn end_trim(&self, trimming: u32) -> bool {
        let parked = trimming & !STATE | PARKED;
        self.word
            .compare_exchange(trimming, parked, Ordering::SeqCst, Ordering::Acquire)
            .is_ok()
    }

    /// Shutdown: the lender is to go on with the wait. False: it is not parked, or the trimmer has it, who looks again
    /// when it is done.
    #[must_use]
    pub(crate) fn give(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let given = word & !STATE | GIVEN;
        word & STATE == PARKED
            && self
                .word
                .compare_exchange(word, given, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// On the lender: what it has to sleep on, as long as it is so.
    pub(crate) fn given(&self) -> Option<u32> {
        let word = self.word.load(Ordering::Acquire);
        (word & STATE == GIVEN).then_some(word)
    }

    /// What the lender sleeps on.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}
