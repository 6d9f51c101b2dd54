//! The word that says which processor a worker holds, and how the monitor takes it from outside.
//!
//! A worker that cannot be signalled (it blocked its signals, or the kernel holds it) must still lose its
//! processor. The worker itself must stay fast: inside a critical section it reads the word, plainly.
//!
//! ```text
//!            begin_take                 finish_take
//!   Held(p) ───────────▶ Held(p)+TAKING ───────────▶ None
//!      ▲                      │
//!      └── cancel_take ◀──────┤  the monitor saw the worker inside a critical section
//!      └── reclaim ◀──────────┘  the worker found the mark inside a critical section
//! ```
//!
//! | transition | who | ordering | because |
//! |---|---|---|---|
//! | begin_take | monitor | SeqCst, then `membarrier` | every critical section entered after the barrier sees the mark |
//! | finish_take, cancel_take | monitor | SeqCst | one of them and `reclaim` wins, by compare-exchange |
//! | reclaim | the worker, critical | SeqCst | as above |
//! | read | the worker, critical | Relaxed after a compiler fence | the monitor's barrier stands in for ours |
//!
//! # Why no processor has two owners
//!
//! The worker uses its processor only inside critical sections and on its system stack, and reads the word after
//! it has entered. Take the section during which `finish_take` succeeded. It was entered (a) after the
//! barrier: then it saw the mark and either reclaimed, so that `finish_take` failed, or found `None`. Or (b)
//! before the barrier: then the monitor, looking after the barrier, saw `critical > 0`, or the worker on its
//! system stack, or a changed switch count, and cancelled; or the section had ended by then. The switch
//! count covers the section that began under one fiber and goes on under another.
//!
//! The membarrier makes the worker's plain store to `critical` and the monitor's mark ordered as if both sides
//! had a full fence; measured before it was there: both believed they owned it 174 times in 2 million.

use crate::primitives::atomic::{AtomicUsize, Ordering};

/// Processors are aligned, so the lowest bit of their address is free.
const TAKING: usize = 1;

/// Which processor a worker holds. See the module's head.
#[derive(Debug)]
pub(crate) struct ProcessorWord(AtomicUsize);

impl ProcessorWord {
    /// None.
    pub(crate) fn new() -> Self {
        ProcessorWord(AtomicUsize::new(0))
    }

    /// The worker's processor, reclaimed if the monitor was about to take it; 0 for none.
    ///
    /// Only the worker, in a critical section or on its system stack.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let word = self.0.load(Ordering::Relaxed);
        if word & TAKING == 0 {
            return word;
        }
        self.reclaim(word)
    }

    #[cold]
    fn reclaim(&self, word: usize) -> usize {
        let held = word & !TAKING;
        match self
            .0
            .compare_exchange(word, held, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => held,
            // Taken, or the monitor gave up first. Nobody else writes.
            Err(now) => now & !TAKING,
        }
    }

    /// Whether a processor is held, for those who only want to know roughly.
    pub(crate) fn peek(&self) -> usize {
        self.0.load(Ordering::SeqCst) & !TAKING
    }

    /// Gives the worker a processor. Only who owns the processor, to a worker that has none.
    pub(crate) fn give(&self, processor: usize) {
        debug_assert!(processor & TAKING == 0);
        self.0.store(processor, Ordering::SeqCst);
    }

    /// The worker lets go of its processor: it owns what comes back, if anything.
    ///
    /// Only the worker: on its system stack, in a critical section, or in its signal handler outside of one.
    pub(crate) fn release(&self) -> usize {
        // A `finish_take` that comes later finds another word and fails.
        self.0.swap(0, Ordering::SeqCst) & !TAKING
    }

    /// Marks the processor; what comes back is to be passed to one of the two below, after a barrier.
    pub(crate) fn begin_take(&self) -> Option<usize> {
        let word = self.0.load(Ordering::SeqCst);
        if word == 0 || word & TAKING != 0 {
            return None;
        }
        self.0
            .compare_exchange(word, word | TAKING, Ordering::SeqCst, Ordering::SeqCst)
            .ok()
    }

    /// The worker was outside of critical sections: true if the processor is the monitor's now.
    #[must_use]
    pub(crate) fn finish_take(&self, processor: usize) -> bool {
        self.0
            .compare_exchange(processor | TAKING, 0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The worker was inside of one: it keeps its processor.
    pub(crate) fn cancel_take(&self, processor: usize) {
        let _ = self.0.compare_exchange(
            processor | TAKING,
            processor,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }
}
