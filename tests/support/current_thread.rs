//! What the tests of current-thread runtimes share.

use super::load::SHORT;
use preemptive::runtime::{Builder, Runtime};

/// A current-thread runtime with the shortest slices.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .time_slice(SHORT)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Starts a task that nobody waits for.
pub(crate) fn detach(future: impl Future<Output = ()> + Send + 'static) {
    drop(preemptive::spawn(future));
}
