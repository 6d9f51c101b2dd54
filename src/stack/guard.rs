//! The guard word: one load and one compare of the stack pointer with it ask two things at once, "is there stack
//! left?" and "am I wanted elsewhere?".
//!
//! Every identity has one, in its thread-local storage, where the inlined check ([`arch::is_clear`](crate::arch)) finds
//! it without knowing anything else. Its values:
//!
//! | word | is | the check |
//! |---|---|---|
//! | limit | the lowest address of the current stack segment plus the [red zone](RED_ZONE) | passes while the stack pointer is above |
//! | [`POISON`] | above any address: somebody wants this fiber's worker | fails |
//! | [`UNSET`](crate::arch::UNSET) | above any address: a plain thread that has never asked, its stack is unknown | fails once |
//!
//! # Who may write when
//!
//! 1. **A request** stores POISON: the signal handler on top of the fiber, the fiber itself, or any other thread
//!    ([`Fiber::poison`](super::Fiber::poison)). It may come at any time. Two requests are one.
//! 2. **The owner**, the code that runs under the identity, *honours* a request: [`restore`](Guard::restore)
//!    exchanges POISON for the limit. Only then does it look at what is wanted, and gives way. A request between its
//!    look at the word and the exchange is the same request; one after it is seen by the next check.
//! 3. **The owner moves** to another segment: [`set_limit`](Guard::set_limit) exchanges the old limit for the new
//!    one and leaves POISON alone, so it loses no request. It remembers the new limit first, so that whoever honours
//!    one, before or after, restores the right value: nobody but the owner does, and a handler never does.
//!
//! What a request is *about* is written before it (Release) and read after the exchange (Acquire). It must be an
//! exchange: a plain store may wait in the processor while later loads go ahead, so that it would wipe out a request
//! whose reason those loads had been too early to see.
//!
//! (The idea is that of Go's `stackguard0` and `stackPreempt`.)

use crate::arch::POISON;
use crate::primitives::atomic::{AtomicUsize, Ordering};

/// What the check leaves free below it: for functions that do not check, the C library, and one frame that is not
/// larger than this.
pub(crate) const RED_ZONE: usize = 64 * 1024;

/// See the module's head.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) word: AtomicUsize,
    /// What the word is while nobody wants anything. The owner's.
    pub(super) limit: AtomicUsize,
}

impl Guard {
    /// What the word is while nobody wants anything.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The word that others poison.
    pub(crate) fn word(&self) -> *const AtomicUsize {
        &raw const self.word
    }

    /// Is there a request?
    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.word.load(Ordering::Relaxed) == POISON
    }

    /// A request. Anybody.
    pub(crate) fn poison(&self) {
        self.word.swap(POISON, Ordering::AcqRel);
    }

    /// The request is honoured, or void. The owner, where [`is_poisoned`](Self::is_poisoned) has said so.
    #[inline]
    pub(crate) fn restore(&self) {
        self.word
            .swap(self.limit.load(Ordering::Relaxed), Ordering::AcqRel);
    }

    /// The stack may be used down to `limit` from here on. The owner. Returns what was.
    #[inline]
    pub(crate) fn set_limit(&self, limit: usize) -> usize {
        let old = self.limit.load(Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        // Fails only where it is poisoned.
        let _ = self
            .word
            .compare_exchange(old, limit, Ordering::AcqRel, Ordering::Relaxed);
        old
    }
}
