//! Runtimes under pressure, and waiting for events instead of sleeping and hoping.

use preemptive::runtime::{Builder, Runtime};
use std::time::{Duration, Instant};

/// Longer than anything takes on the busiest machine; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest slice there is.
pub(crate) const SHORTEST: Duration = Duration::from_micros(50);

/// A runtime with so many workers and this slice.
pub(crate) fn runtime(workers: usize, slice: Duration) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(slice)
        .build()
        .expect("a runtime")
}

/// Waits on a plain thread until `condition` holds. Panics, naming `what`, when it takes too long.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Ends the process with a message when it has not been dropped in time: for tests whose failure is a hang.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Watchdog {
    /// Lets the process live for [`PATIENCE`] from now on, or until the value is dropped.
    pub(crate) fn new(what: impl Into<String>) -> Watchdog {
        let what = what.into();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let waited = receiver.recv_timeout(PATIENCE);
            if waited == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("hangs: {what}");
                std::process::abort();
            }
        });
        Watchdog(Some((sender, thread)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// The kernel thread that runs this code right now. Unlike everything else about a thread it changes within a
/// poll, which is how a poll can see that it has moved.
pub(crate) fn kernel_thread() -> i64 {
    // SAFETY: gettid only answers.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// Keeps the processor busy for a moment that does not depend on any clock.
pub(crate) fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| {
        std::hint::black_box(sum ^ round.rotate_left(7))
    })
}

/// A small generator of reproducible numbers (xorshift64*).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
