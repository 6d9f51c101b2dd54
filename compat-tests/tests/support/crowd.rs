//! A runtime whose tasks live among hogs, and a limit to how long a test may take.
//!
//! Two workers, slices of 100 µs (or what `PREEMPTIVE_TIME_SLICE` says), and five tasks that never await: one computes,
//! two allocate, and two quarrel over a `std::sync::Mutex`, which they are preempted with. Whatever a test does, it does
//! it preempted.

#![allow(
    dead_code,
    reason = "each test file uses a part of this, and compiles it on its own"
)]

use preemptive::runtime::{Builder, Runtime, RuntimeMetrics};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a whole test may take. Tests run side by side on machines with two cores, among hogs each.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// For a limit that is not to be reached, but shorter than [`DEADLINE`], which says less.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The runtime and its hogs, which stop when this is dropped.
pub(crate) struct Crowd {
    /// Taken out at the end only.
    runtime: Option<Runtime>,
    hogs: Arc<Hogs>,
}

/// What hogs share.
#[derive(Default)]
struct Hogs {
    stop: AtomicBool,
    /// Rounds of all hogs together.
    rounds: AtomicUsize,
    /// Held for longer than a slice.
    lock: Mutex<u64>,
}

impl Crowd {
    /// With nothing beside.
    pub(crate) fn new() -> Crowd {
        Crowd::with(&mut Builder::new_multi_thread())
    }

    /// With what the builder says already, hooks above all.
    pub(crate) fn with(builder: &mut Builder) -> Crowd {
        let crowd = Crowd::without_hogs(builder);
        crowd.start_hogs();
        crowd
    }

    /// The same runtime, for comparison.
    pub(crate) fn without_hogs(builder: &mut Builder) -> Crowd {
        if std::env::var_os("PREEMPTIVE_TIME_SLICE").is_none() {
            builder.time_slice(Duration::from_micros(100));
        }
        let runtime = builder.worker_threads(2).build().expect("a runtime");
        Crowd {
            runtime: Some(runtime),
            hogs: Arc::default(),
        }
    }

    /// Starts them, and sees that they are in the way: some have been preempted when this returns.
    pub(crate) fn start_hogs(&self) {
        let runtime = self.runtime();
        let before = runtime.metrics().preemptions();
        for hog in [spin, allocate, allocate, quarrel, quarrel] {
            let hogs = self.hogs.clone();
            drop(runtime.spawn(async move {
                while !hogs.stop.load(Ordering::Relaxed) {
                    hog(&hogs);
                    hogs.rounds.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let start = Instant::now();
        while runtime.metrics().preemptions() == before {
            assert!(start.elapsed() < LONG, "hogs are not preempted");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// For what wants a handle.
    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the end")
    }

    pub(crate) fn metrics(&self) -> RuntimeMetrics {
        self.runtime().metrics()
    }

    /// How often hogs have come round, all together.
    pub(crate) fn rounds(&self) -> usize {
        self.hogs.rounds.load(Ordering::Relaxed)
    }

    /// Runs a future as a task to its end and returns its output. A panic goes on here; so does a test that hangs, and
    /// it says what the runtime was at.
    #[track_caller]
    pub(crate) fn run<T: Send + 'static>(
        mut self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let output = self.go(future);
        self.end();
        output
    }

    /// The same, for one of several parts of a test.
    #[track_caller]
    pub(crate) fn go<T: Send + 'static>(
        &mut self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        // The thread that waits depends on nothing of the runtime's.
        let (sender, receiver) = channel();
        let task = self.runtime().spawn(future);
        drop(self.runtime().spawn(async move {
            drop(sender.send(task.await));
        }));
        // By its own ticks: a process that was stopped meanwhile does not hang.
        const TICK: Duration = Duration::from_millis(100);
        let mut ticks = DEADLINE.div_duration_f32(TICK) as u32;
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(Ok(output)) => return output,
                Ok(Err(error)) => resume_unwind(error.into_panic()),
                Err(RecvTimeoutError::Timeout) if ticks > 0 => ticks -= 1,
                Err(RecvTimeoutError::Timeout) => self.give_up(),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the runtime is there"),
            }
        }
    }

    /// Says what the runtime was at.
    #[track_caller]
    fn give_up(&mut self) -> ! {
        let metrics = format!("{:#?}", self.metrics());
        self.hogs.stop.store(true, Ordering::Relaxed);
        // To wait for polls in progress would be to hang again.
        let runtime = self.runtime.take().expect("it is there until now");
        runtime.shutdown_background();
        panic!("not done within {DEADLINE:?}; {metrics}");
    }

    /// Ends the runtime. Tasks that hold sockets have to go before the reactor does.
    fn end(&mut self) {
        self.hogs.stop.store(true, Ordering::Relaxed);
        drop(self.runtime.take());
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end();
    }
}

/// Computes for some ten slices.
fn spin(_: &Hogs) {
    busy(Duration::from_millis(1));
}

/// Takes and returns memory of all sizes, so that it is preempted inside the allocator now and then.
fn allocate(hogs: &Hogs) {
    let mut kept = Vec::new();
    for size in (8..8192).step_by(97) {
        kept.push(vec![size as u8; size]);
        if size % 3 == 0 {
            drop(kept.swap_remove(kept.len() / 2));
        }
        if hogs.stop.load(Ordering::Relaxed) {
            return;
        }
    }
    std::hint::black_box(&kept);
}

/// Holds the lock for several slices. The other one waits for it in the kernel, with a worker.
fn quarrel(hogs: &Hogs) {
    let mut lock = hogs.lock.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *lock;
    busy(Duration::from_micros(300));
    *lock += 1;
    assert_eq!(*lock, before + 1, "nobody else has had the lock");
}

/// Computes for so long, by the clock.
pub(crate) fn busy(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::black_box(start);
    }
}
