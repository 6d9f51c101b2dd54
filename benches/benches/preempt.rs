//! What preemption costs: a signal, a preemption, a yield, a fiber.
//!
//! `cargo bench -p preemptive-benches --bench preempt [-- --json]`; `benches/README.md` says what each figure is.

use preemptive::runtime::{Builder, Runtime};
use preemptive::testing::{give_way, make_fibers, signal_this_worker};
use preemptive_benches::{Memory, Report, Samples, interleave, time};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Samples of a time.
const SAMPLES: usize = 300;
/// Signals per sample: long beside the clock's 25 ns, short beside the kernel's slices.
const SIGNALS: u32 = 500;
/// Yields per sample.
const YIELDS: u32 = 5_000;
/// Fibers per sample of their memory, and how many samples.
const FIBERS: usize = 500;
const MEMORY_SAMPLES: usize = 7;

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let report = Report::begin(json);
    signals_and_preemptions(&report);
    switching_preemption(&report);
    yields(&report);
    creation(&report);
    memory(&report);
}

/// One worker, and slices so long that nothing but the benchmark preempts.
fn one_worker() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(Duration::from_secs(10))
        .build()
        .expect("a runtime")
}

/// Runs `f` as one poll of a task.
fn in_a_task<T: Send + 'static>(runtime: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> T {
    runtime
        .block_on(runtime.spawn(async move { f() }))
        .expect("the task does not panic")
}

/// Runs `f` as a poll of a task beside another one that calls `partner` all the time, both in the middle of their
/// polls, on one worker.
fn in_a_task_beside<T: Send + 'static>(
    runtime: &Runtime,
    partner: fn(),
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let present = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let meet = |present: Arc<AtomicU32>| async move {
        present.fetch_add(1, Ordering::Relaxed);
        while present.load(Ordering::Relaxed) < 2 {
            preemptive::task::yield_now().await;
        }
    };
    let other = runtime.spawn({
        let (meet, done) = (meet(Arc::clone(&present)), Arc::clone(&done));
        async move {
            meet.await;
            while !done.load(Ordering::Relaxed) {
                partner();
            }
        }
    });
    let measured = runtime.spawn(async move {
        meet(present).await;
        // Until the other is in the middle of its poll, too.
        (0..10).for_each(|_| partner());
        let measured = f();
        done.store(true, Ordering::Relaxed);
        measured
    });
    let measured = runtime.block_on(measured).expect("the task does not panic");
    runtime.block_on(other).expect("the task does not panic");
    measured
}

/// The cost of a preemption beside that of the signal alone, in turn.
fn signals_and_preemptions(report: &Report) {
    install_empty_handler();
    let runtime = one_worker();
    let metrics = runtime.metrics();
    let before = metrics.asynchronous_preemptions();
    let [empty, declined, preempted] = in_a_task(&runtime, || {
        let this = ThisThread::now();
        interleave(
            SAMPLES,
            [
                &mut || time(SIGNALS, || this.signal(libc::SIGUSR1)),
                &mut || time(SIGNALS, || signal_this_worker(false)),
                &mut || time(SIGNALS, || signal_this_worker(true)),
            ],
        )
    });
    let happened = metrics.asynchronous_preemptions() - before;
    assert_all_happened(happened, SAMPLES as u64 * u64::from(SIGNALS));
    report.figure("signal/empty_handler", "ns", &empty);
    report.figure("signal/declined", "ns", &declined);
    report.figure("preemption/same_fiber", "ns", &preempted);
    report.figure_with_goal(
        "preemption/cost_ratio",
        "",
        &preempted.ratio(&declined),
        1.25,
    );
    report.figure(
        "preemption/over_empty_handler",
        "",
        &preempted.ratio(&empty),
    );
}

/// A preemption after which another preempted poll goes on.
fn switching_preemption(report: &Report) {
    let runtime = one_worker();
    let metrics = runtime.metrics();
    let before = metrics.asynchronous_preemptions();
    let switched: Samples = in_a_task_beside(
        &runtime,
        || signal_this_worker(true),
        || {
            (0..SAMPLES)
                // Two preemptions: there and back again.
                .map(|_| time(SIGNALS, || signal_this_worker(true)) / 2.0)
                .collect()
        },
    );
    let happened = metrics.asynchronous_preemptions() - before;
    assert_all_happened(happened, 2 * SAMPLES as u64 * u64::from(SIGNALS));
    report.figure("preemption/other_fiber", "ns", &switched);
}

/// Giving way without a signal, and the cooperative `yield_now` of this runtime and of Tokio.
fn yields(report: &Report) {
    let runtime = one_worker();
    let alone: Samples = in_a_task(&runtime, || {
        (0..SAMPLES).map(|_| time(YIELDS, give_way)).collect()
    });
    report.figure_with_goal("yield/same_fiber", "ns", &alone, 100.0);
    let switched: Samples = in_a_task_beside(&runtime, give_way, || {
        (0..SAMPLES).map(|_| time(YIELDS, give_way) / 2.0).collect()
    });
    report.figure("yield/other_fiber", "ns", &switched);

    let rival = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    // In turn, so that both meet the same machine.
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..SAMPLES {
        let task = runtime.spawn(async {
            let start = Instant::now();
            for _ in 0..YIELDS {
                preemptive::task::yield_now().await;
            }
            start.elapsed()
        });
        ours.push(per_yield(
            runtime.block_on(task).expect("the task does not panic"),
        ));
        let task = rival.spawn(async {
            let start = Instant::now();
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            start.elapsed()
        });
        theirs.push(per_yield(
            rival.block_on(task).expect("the task does not panic"),
        ));
    }
    report.figure("yield_now/preemptive", "ns", &ours);
    report.figure("yield_now/tokio", "ns", &theirs);
}

fn per_yield(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / f64::from(YIELDS)
}

/// How long it takes to make a fiber, until it can be used; beside it, a thread.
fn creation(report: &Report) {
    let runtime = one_worker();
    let make = || make_fibers(runtime.handle(), 1).expect("a fiber");
    let spawn = || {
        let thread = std::thread::spawn(|| ());
        thread.join().expect("the thread does not panic");
    };
    let [fibers, threads] = interleave(SAMPLES, [&mut || time(1, make), &mut || time(1, spawn)]);
    report.figure("fiber/creation", "ns", &fibers);
    report.figure("fiber/thread_spawn_and_join", "ns", &threads);
}

/// What a spare fiber holds: the process's own pages, and the kernel's.
fn memory(report: &Report) {
    let mut held = [const { Vec::new() }; Memory::NAMES.len()];
    // One runtime that grows: what has been freed may be lying about and be used again.
    let runtime = one_worker();
    for _ in 0..MEMORY_SAMPLES {
        let before = Memory::now();
        make_fibers(runtime.handle(), FIBERS).expect("fibers");
        let after = Memory::now();
        for (held, each) in held.iter_mut().zip(after.since(&before, FIBERS)) {
            held.push(each);
        }
    }
    for (name, held) in Memory::NAMES.into_iter().zip(held) {
        report.figure(
            &format!("fiber/{name}"),
            "bytes",
            &held.into_iter().collect(),
        );
    }
}

/// A figure about preemptions must not count signals that preempted nothing.
fn assert_all_happened(happened: u64, wanted: u64) {
    assert!(
        happened >= wanted - wanted / 100,
        "only {happened} of {wanted} signals led to a preemption"
    );
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// The least that a signal can cost.
fn install_empty_handler() {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = do_nothing as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler does nothing, at any instruction.
    let done = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(done, 0, "cannot install a handler");
}

/// The kernel thread that runs this; while nobody else is to run, it stays the same.
struct ThisThread {
    process: libc::pid_t,
    thread: libc::pid_t,
}

impl ThisThread {
    fn now() -> ThisThread {
        // SAFETY: neither call touches memory.
        let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
        ThisThread { process, thread }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call touches no memory.
        let done = unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.thread, signal) };
        assert_eq!(done, 0, "cannot send a signal");
    }
}
