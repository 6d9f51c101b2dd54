//! What the tests of current-thread runtimes share.

use preemptive::runtime::{Builder, Runtime};
use preemptive::time::{Duration, Instant};
use std::hint::black_box;

/// As long as anything may take on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A current-thread runtime with the shortest slices.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .time_slice(Duration::from_micros(50))
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Starts a task that nobody waits for.
pub fn detach(future: impl Future<Output = ()> + Send + 'static) {
    drop(preemptive::spawn(future));
}

/// Spins until `done`, at most for [`LONG`].
pub fn spin_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "nothing happened in {LONG:?}");
        black_box((0..100_u64).sum::<u64>());
    }
}
