//! Protocols between threads, model-checked: every interleaving, and what weak memory may show.
//!
//! The modules under test are compiled into this crate against loom's atomics, and what they name besides is stood
//! in for. Every model comes with tests that must fail: with a step left out, or with the orderings weakened
//! ([`atomic::weakened`]), so that it is known to look at what it is about.

mod atomic;
mod item;
mod local;
mod raw_lock;
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
}

#[path = "../../src/executor"]
#[allow(
    dead_code,
    reason = "the models need a part of it, and the runtime the rest"
)]
mod executor {
    pub(crate) mod bits;
    pub(crate) mod sleep;

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
