//! What the tests with hostile tasks share: runtimes with the shortest slices, neighbours that hog, bounded waits.

use preemptive::runtime::{Builder, Handle, Runtime, RuntimeMetrics};
use preemptive::task::JoinHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything is waited for.
pub(crate) const BOUND: Duration = Duration::from_secs(50);

/// A runtime with `workers` processors and slices of 50 µs.
pub(crate) fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(Duration::from_micros(50))
        .build()
        .expect("the runtime starts")
}

/// The metrics of the runtime that the calling task runs on.
pub(crate) fn metrics() -> RuntimeMetrics {
    Handle::current().metrics()
}

/// Tasks that spin for many slices at a time until they are told to stop.
///
/// Each poll ends after a while, so that one that was given back to its lender, where nobody preempts it, comes
/// back to the workers.
#[derive(Debug)]
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Hogs {
    /// Starts `count` of them, or one more than there are processors: so there is always one to be preempted.
    pub(crate) fn start(runtime: &Runtime, count: usize) -> Hogs {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count.max(runtime.metrics().num_workers() + 1))
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(async move {
                    let mut rounds = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        while !stop.load(Ordering::Relaxed)
                            && start.elapsed() < Duration::from_millis(2)
                        {
                            rounds = std::hint::black_box(rounds + 1);
                        }
                        preemptive::task::yield_now().await;
                    }
                    rounds
                })
            })
            .collect();
        Hogs { stop, tasks }
    }

    /// Stops them and waits for their ends.
    pub(crate) fn stop(self, runtime: &Runtime) {
        self.stop.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("a hog does not panic");
            }
        });
    }
}

/// Repeats `step` until it says true. Spins: for tasks that are to be preempted meanwhile.
#[track_caller]
pub(crate) fn spin_until(what: &str, mut step: impl FnMut() -> bool) {
    let start = Instant::now();
    while !step() {
        assert!(start.elapsed() < BOUND, "waited in vain for: {what}");
        std::hint::spin_loop();
    }
}

/// Spins until the runtime has made `preemptions` and `migrations` more than when this was called.
///
/// Every turn calls `check`.
#[track_caller]
pub(crate) fn churn(preemptions: u64, migrations: u64, mut check: impl FnMut()) {
    let metrics = metrics();
    let wanted = (
        metrics.asynchronous_preemptions() + preemptions,
        metrics.migrations() + migrations,
    );
    spin_until("preemptions and migrations", || {
        check();
        metrics.asynchronous_preemptions() >= wanted.0 && metrics.migrations() >= wanted.1
    });
}

/// Joins tasks and passes their panics on.
pub(crate) fn join_all<T>(
    runtime: &Runtime,
    tasks: impl IntoIterator<Item = JoinHandle<T>>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    runtime.block_on(async {
        let mut values = Vec::new();
        for task in tasks {
            match task.await {
                Ok(value) => values.push(value),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => panic!("{error}"),
            }
        }
        values
    })
}

/// The calling kernel thread, straight from the kernel.
pub(crate) fn kernel_thread() -> libc::pid_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// Every kernel thread of this process.
pub(crate) fn kernel_threads() -> Vec<libc::pid_t> {
    let entries = std::fs::read_dir("/proc/self/task").expect("procfs is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Sends a bare signal to one thread of this process.
pub(crate) fn tgkill(thread: libc::pid_t, signal: i32) {
    // SAFETY: the signals that tests send have handlers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

/// A generator that is seeded by a number: the same seed, the same test.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
