//! Growth: the first time, from the pool, at the boundary in a loop; and what trimming gives back.

use preemptive::runtime::{Builder, RuntimeMetrics};
use preemptive::stack;
use preemptive_benches::{Report, Samples, time};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SAMPLES: usize = 100;
const CALLS: u32 = 10_000;
/// Segments mapped per sample.
const LEVELS: u32 = 64;
/// Larger than what pools hold.
const LARGE: usize = 2 << 20;

pub(crate) fn run(report: &Report) {
    let cold: Samples = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            nest(LEVELS, LARGE);
            start.elapsed().as_nanos() as f64 / f64::from(LEVELS)
        })
        .collect();
    report.figure("growth/cold", "ns", &cold);
    let warm: Samples = (0..SAMPLES).map(|_| time(CALLS, || nest(1, 0))).collect();
    report.figure_with_goal("growth/warm", "ns", &warm, 50.0);
    // One more level than an identity keeps: the other goes to the pool and comes back.
    let pooled: Samples = (0..SAMPLES)
        .map(|_| time(CALLS, || nest(2, 0)) / 2.0)
        .collect();
    report.figure("growth/pooled", "ns", &pooled);
    let split: Samples = (0..SAMPLES).map(|_| at_the_boundary(hot_split)).collect();
    report.figure_with_goal("growth/hot_split", "ns", &split, 50.0);
    let ample: Samples = (0..SAMPLES).map(|_| hot_split()).collect();
    report.figure("growth/no_split", "ns", &ample);
    trimming(report);
}

fn nest(levels: u32, size: usize) {
    if levels > 0 {
        stack::grow(usize::MAX, size, || nest(levels - 1, size));
    }
}

#[inline(never)]
#[preemptive::checked]
fn leaf(number: u64) -> u64 {
    black_box(number)
}

/// Calls of a checked function, in a loop.
#[inline(never)]
fn hot_split() -> f64 {
    time(CALLS, || {
        black_box(leaf(black_box(1)));
    })
}

/// Calls `f` with so little stack left that every check in it fails.
fn at_the_boundary(f: fn() -> f64) -> f64 {
    let remaining = stack::remaining().expect("this thread's stack is known");
    if remaining > 60 * 1024 {
        let room = [0_u8; 2048];
        black_box(&room);
        let result = at_the_boundary(f);
        // No tail call.
        black_box(&room);
        return result;
    }
    f()
}

/// What one deep recursion leaves committed, and what is left of it once the runtime has looked.
fn trimming(report: &Report) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let metrics = runtime.metrics();
        let most = runtime
            .block_on(runtime.spawn(async move {
                use_stack(1_500_000);
                committed(&metrics)
            }))
            .expect("no panic");
        before.push(most as f64);
        // It trims about once a second, while something runs.
        let start = Instant::now();
        while committed(&runtime.metrics()) > most / 2 && start.elapsed() < Duration::from_secs(10)
        {
            runtime.block_on(runtime.spawn(async {})).expect("no panic");
            std::thread::sleep(Duration::from_millis(20));
        }
        after.push(committed(&runtime.metrics()) as f64);
    }
    report.figure("trim/before", "bytes", &before.into_iter().collect());
    report.figure("trim/after", "bytes", &after.into_iter().collect());
}

/// The most that one of the fibers has committed.
fn committed(metrics: &RuntimeMetrics) -> usize {
    let fibers = 0..metrics.fibers();
    fibers
        .map(|fiber| metrics.stack_committed_bytes(fiber))
        .max()
        .unwrap_or(0)
}

fn use_stack(bytes: usize) {
    let room = [1_u8; 4096];
    black_box(&room);
    if bytes > room.len() {
        use_stack(bytes - room.len());
    }
    black_box(&room);
}
