//! Protocols between threads, model-checked: every interleaving, and what weak memory may show.
//!
//! The modules under test are compiled into this crate against loom's atomics, and what they name besides is stood
//! in for. Every model comes with tests that must fail: with a step left out, or with the orderings weakened
//! ([`atomic::weakened`]), so that it is known to look at what it is about.

mod atomic;
mod channel;
mod critical;
mod guard;
mod inbox;
mod item;
mod local;
mod parked;
mod parker;
mod raw_lock;
mod ring;
mod runtime;
mod sleep;
mod slot;
mod state;
mod take;
mod task;

/// What the modules under test take their atomics and locks from.
mod primitives {
    pub(crate) use crate::atomic;
    pub(crate) use crate::raw_lock::RawLock;
    pub(crate) use loom::sync::Arc;
}

/// What they end the process with.
mod fatal {
    macro_rules! fatal {
        ($($message:tt)*) => { panic!($($message)*) };
    }
    pub(crate) use fatal;
}

#[path = "../../src/preempt"]
mod preempt {
    #[allow(
        dead_code,
        reason = "the model needs a part of it, and the runtime the rest"
    )]
    pub(crate) mod take;

    pub(crate) use crate::critical::{Critical, CriticalMutex};
}

/// The one value that the modules under test take from there.
mod arch {
    pub(crate) const POISON: usize = usize::MAX;
}

#[path = "../../src/stack"]
mod stack {
    #[allow(
        dead_code,
        reason = "the model needs a part of it, and the runtime the rest"
    )]
    pub(crate) mod guard;
    #[allow(
        dead_code,
        reason = "the model needs a part of it, and the runtime the rest"
    )]
    pub(crate) mod parked;

    use crate::arch::POISON;
    use crate::atomic::{AtomicUsize, Ordering};
    use guard::Guard;

    /// A guard whose owner begins on a segment with this limit.
    pub(crate) fn guard_at(limit: usize) -> Guard {
        Guard {
            word: AtomicUsize::new(limit),
            limit: AtomicUsize::new(limit),
        }
    }

    /// What the check compares with.
    pub(crate) fn word(guard: &Guard) -> usize {
        guard.word.load(Ordering::Relaxed)
    }

    /// Wrong: a request can come between the two steps.
    pub(crate) fn set_limit_in_two_steps(guard: &Guard, limit: usize) {
        guard.limit.store(limit, Ordering::Relaxed);
        if guard.word.load(Ordering::Relaxed) != POISON {
            guard.word.store(limit, Ordering::Relaxed);
        }
    }

    /// Wrong: later loads need not wait for it.
    pub(crate) fn restore_by_a_store(guard: &Guard) {
        let limit = guard.limit.load(Ordering::Relaxed);
        guard.word.store(limit, Ordering::Relaxed);
    }

    /// Wrong: whoever honours a request that was left alone restores the limit from before.
    pub(crate) fn set_limit_without_remembering(guard: &Guard, limit: usize) {
        let old = guard.limit.load(Ordering::Relaxed);
        if guard
            .word
            .compare_exchange(old, limit, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            guard.limit.store(limit, Ordering::Relaxed);
        }
    }
}

#[path = "../../src/executor"]
#[allow(
    dead_code,
    reason = "the models need a part of it, and the runtime the rest"
)]
mod executor {
    pub(crate) mod bits;
    #[allow(unreachable_pub, reason = "in the library it is public")]
    pub(crate) mod channel;
    pub(crate) mod local {
        pub(crate) mod inbox;
    }
    pub(crate) mod sleep;
    pub(crate) mod timeline {
        pub(crate) mod ring;
    }

    pub(crate) use crate::parker;

    pub(crate) mod queue {
        mod global;
        mod local;
        mod slot;

        pub(crate) use global::Global;
        pub(crate) use local::Local;
        pub(crate) use slot::Slot;

        /// So small that it is full, and its counters come round, within a few steps.
        const CAPACITY: usize = 4;
    }

    pub(crate) mod task {
        mod snapshot;
        pub(crate) mod state;

        pub(crate) use crate::item::{Header, Notified};
    }
}

/// Checks a model with at most so many preemptions per run.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    builder.check(model);
}
