//! A million frames deep, inside a task, while another one ticks.
//!
//! `#[preemptive::checked]` makes the function go on on a new stack segment wherever the one it is on is used up, so the
//! depth is bounded by memory, and gives it back on the way out. The program shows what memory the process has before, at
//! the deepest point and afterwards, and how late a task that sleeps for a millisecond at a time woke meanwhile. Exit
//! status 1 if the memory stays, or the ticker did not tick at least once per time slice.
//!
//! `cargo run --release --example deep_recursion [-- FRAMES]`

use preemptive::runtime::Builder;
use preemptive::time::sleep;
use std::hint::black_box;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(1);
/// What may stay: pages that the allocator and the runtime keep for the next time. At first twice that.
const KEPT: u64 = 4 << 20;
/// Within so long the rest is to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the process has in memory, in bytes.
fn memory() -> io::Result<u64> {
    let statistics = std::fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statistics
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    // SAFETY: asks for a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    pages
        .map(|pages| pages * size)
        .ok_or_else(|| io::Error::other("/proc/self/statm has no second number"))
}

/// A sum over a list that does not exist, one frame for every item. Returns what `at_the_bottom` does, too.
#[preemptive::checked]
fn sum<R>(items: u64, at_the_bottom: impl FnOnce() -> R) -> (u64, R) {
    if items == 0 {
        return (0, at_the_bottom());
    }
    // Something in every frame that is needed afterwards, as real recursion has it.
    let frame = black_box([items; 8]);
    let (rest, result) = sum(items - 1, at_the_bottom);
    (rest + frame[7], result)
}

/// Ticks until told to stop. How often, and the greatest lateness.
async fn tick(stop: Arc<AtomicBool>) -> (u64, Duration) {
    let (mut ticks, mut latest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let due = Instant::now() + TICK;
        sleep(TICK).await;
        ticks += 1;
        latest = latest.max(due.elapsed());
    }
    (ticks, latest)
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let frames: u64 = match std::env::args().nth(1) {
        None => 1_000_000,
        Some(text) => text.parse().map_err(|error| {
            format!("the number of frames, {text:?}, is no whole number: {error}")
        })?,
    };
    // One worker: the ticker runs only where the recursion makes room.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(SLICE)
        .build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let ticker = runtime.spawn(tick(Arc::clone(&stop)));

    let before = memory()?;
    let begun = Instant::now();
    let recursion = runtime.spawn(async move {
        let metrics = preemptive::runtime::Handle::current().metrics();
        sum(frames, || (memory(), metrics.stack_segments()))
    });
    let (total, (peak, segments)) = runtime.block_on(recursion)?;
    let took = begun.elapsed();
    let peak = peak?;
    let after = memory()?;
    // The segments that were kept for the next time are unmapped when there is none.
    let deadline = Instant::now() + PATIENCE;
    while runtime.metrics().stack_segments() > 0 && Instant::now() < deadline {
        runtime.block_on(async { sleep(TICK).await });
    }
    let later = memory()?;
    stop.store(true, Ordering::Relaxed);
    let (ticks, latest) = runtime.block_on(ticker)?;

    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("{frames} frames, {segments} stack segments at the deepest point, {took:.1?}");
    println!("memory before   {:>8.1} MiB", mib(before));
    println!("       peak     {:>8.1} MiB", mib(peak));
    println!("       after    {:>8.1} MiB", mib(after));
    println!("       later    {:>8.1} MiB", mib(later));
    println!("ticker          {ticks:>6} ticks, at most {latest:.2?} late");

    let is_right = total == frames * (frames + 1) / 2;
    let is_back = after < before + 2 * KEPT && later < before + KEPT;
    let is_ticking = SLICE * ticks as u32 >= took;
    for (holds, what) in [
        (is_right, "the sum is right"),
        (is_back, "the memory is given back"),
        (is_ticking, "the ticker ticked at least once per time slice"),
    ] {
        println!("{:<5} {what}", if holds { "yes:" } else { "NO:" });
    }
    let all = is_right && is_back && is_ticking;
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
