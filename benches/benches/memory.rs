//! What a task holds: idle, and in the middle of a poll that was preempted. Beside other runtimes, and threads.
//!
//! `cargo bench -p preemptive-benches --bench memory [-- --kind idle|hog --runtime RUNTIME --rounds N --json]`;
//! `benches/README.md` says what each figure is. Every sample is taken in a process of its own: what an earlier one
//! has freed would be used again.

use preemptive_benches::{
    Arguments, AsyncExecutor, Json, Memory, Preemptive, Report, Rival, Samples, Tokio, hog_for,
    hog_until,
};
use std::process::{Command, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const THREADS: &str = "threads";

/// What is measured: how many, of which kind, and where.
const CELLS: [(&str, &str, usize); 9] = [
    ("idle", Preemptive::NAME, 100_000),
    ("idle", Tokio::NAME, 100_000),
    ("idle", AsyncExecutor::NAME, 100_000),
    ("idle", Preemptive::NAME, 1_000_000),
    ("idle", Tokio::NAME, 1_000_000),
    ("idle", AsyncExecutor::NAME, 1_000_000),
    ("hog", Preemptive::NAME, 1_000),
    ("hog", THREADS, 1_000),
    ("hog", Preemptive::NAME, 10_000),
];

/// Idle tasks are spawned so many at a time, so that no queue grows: it would count as well.
const BATCH: usize = 1_000;

/// Without any progress for so long, a limit has been hit.
const PATIENCE: Duration = Duration::from_secs(10);

/// The figures of one sample, or why there are none.
type Figures = Result<[f64; 5], String>;

fn main() {
    let mut arguments = Arguments::of_this_process();
    let workers = arguments.value("--workers", 2);
    let cell = arguments.value("--cell", String::new());
    if !cell.is_empty() {
        arguments.finish();
        measure(&cell, workers);
    }
    let json = arguments.flag("--json");
    let kinds = arguments.choice("--kind", &["idle", "hog"]);
    let runtimes = arguments.choice(
        "--runtime",
        &[Preemptive::NAME, Tokio::NAME, AsyncExecutor::NAME, THREADS],
    );
    let rounds = arguments.value("--rounds", 3);
    arguments.finish();

    let report = Report::begin(json);
    for (kind, runtime, count) in CELLS {
        if !kinds.contains(&kind) || !runtimes.contains(&runtime) {
            continue;
        }
        let mut samples = [const { Samples::new() }; 5];
        let mut missing = String::new();
        for _ in 0..rounds {
            match in_a_process(&format!("{kind}/{runtime}/{count}"), workers) {
                Ok(figures) => {
                    for (samples, figure) in samples.iter_mut().zip(figures) {
                        samples.push(figure);
                    }
                }
                Err(why) => missing = why,
            }
        }
        if json {
            print_line(kind, runtime, count, &samples, &missing);
            continue;
        }
        for (name, samples) in Memory::NAMES.into_iter().zip(&samples) {
            let figure = format!("{kind}/{runtime}/{count}/{name}");
            if samples.is_empty() {
                println!("{figure:<50} none: {missing}");
            } else {
                report.figure(&figure, "bytes", samples);
            }
        }
    }
}

fn print_line(kind: &str, runtime: &str, count: usize, samples: &[Samples; 5], missing: &str) {
    let mut line = Json::new()
        .text("figure", "memory")
        .text("kind", kind)
        .text("runtime", runtime)
        .count("count", count as u64);
    for (name, samples) in Memory::NAMES.into_iter().zip(samples) {
        let median = if samples.is_empty() {
            f64::NAN
        } else {
            samples.spread().median
        };
        line = line.number(&format!("{name}_bytes"), median);
    }
    if !missing.is_empty() {
        line = line.text("missing", missing);
    }
    line.print();
}

/// This program again, for one sample.
fn in_a_process(cell: &str, workers: usize) -> Figures {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--cell", cell, "--workers", &workers.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    figures
        .try_into()
        .map_err(|_| format!("{} ({})", line.trim(), output.status))
}

/// Prints one sample, and ends the process however much still runs in it.
fn measure(cell: &str, workers: usize) -> ! {
    let mut parts = cell.split('/');
    let mut part = || parts.next().expect("kind/runtime/count");
    let (kind, runtime) = (part(), part());
    let count = part().parse().expect("a number");
    let figures = match (kind, runtime) {
        ("idle", Preemptive::NAME) => idle::<Preemptive>(workers, count),
        ("idle", Tokio::NAME) => idle::<Tokio>(workers, count),
        ("idle", _) => idle::<AsyncExecutor>(workers, count),
        (_, Preemptive::NAME) => preempted(workers, count),
        _ => threads(count),
    };
    match figures {
        Ok(figures) => println!("{}", figures.map(|figure| figure.to_string()).join(" ")),
        Err(why) => println!("{why}"),
    }
    exit(0);
}

/// Tasks that wait on a one-shot channel each; the channel counts, the place of its sender does not.
fn idle<R: Rival>(workers: usize, count: usize) -> Figures {
    R::start(workers);
    // Written now, so that its pages do not count.
    let mut senders: Vec<Option<oneshot::Sender<()>>> = Vec::new();
    senders.resize_with(count, || None);
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut first = [const { None }; BATCH];
    spawn_idle::<R>(&waiting, &mut first)?;
    let before = Memory::now();
    for senders in senders.chunks_mut(BATCH) {
        spawn_idle::<R>(&waiting, senders)?;
    }
    Ok(Memory::now().since(&before, count))
}

/// One task for each place, and the wait until all of them wait.
fn spawn_idle<R: Rival>(
    waiting: &Arc<AtomicUsize>,
    senders: &mut [Option<oneshot::Sender<()>>],
) -> Result<(), String> {
    let wanted = waiting.load(Ordering::Relaxed) + senders.len();
    R::block_on(async {
        for place in senders {
            let (sender, receiver) = oneshot::channel();
            *place = Some(sender);
            let waiting = Arc::clone(waiting);
            R::spawn(async move {
                waiting.fetch_add(1, Ordering::Relaxed);
                drop(waiting);
                let _ = receiver.await;
            });
        }
    });
    reached(waiting, wanted).map_err(|had| format!("{had} of {wanted} tasks began"))
}

/// Tasks that never give way: all of them began, hence all but those that run are preempted.
fn preempted(workers: usize, count: usize) -> Figures {
    Preemptive::start_with(
        preemptive::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .time_slice(Duration::from_millis(1)),
    );
    let metrics = Preemptive::runtime().metrics();
    let begun = Arc::new(AtomicUsize::new(0));
    let spawn = |count: usize| {
        for _ in 0..count {
            let begun = Arc::clone(&begun);
            drop(Preemptive::runtime().spawn(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                hog_until(&AtomicBool::new(false));
            }));
        }
    };
    // What the runtime itself needs for the first ones is not theirs.
    spawn(workers + 2);
    let _ = reached(&begun, workers + 2);
    let before = Memory::now();
    spawn(count);
    let wanted = workers + 2 + count;
    reached(&begun, wanted).map_err(|had| {
        format!(
            "{had} of {wanted} polls began, with {} fibers; {}",
            metrics.fibers(),
            limits()
        )
    })?;
    Ok(Memory::now().since(&before, count))
}

/// Some of the same work on threads, which then sleep: running, they would hold no less and take long to start.
fn threads(count: usize) -> Figures {
    let begun = Arc::new(AtomicUsize::new(0));
    let spawn = || {
        let begun = Arc::clone(&begun);
        thread::Builder::new().spawn(move || {
            hog_for(1_000);
            begun.fetch_add(1, Ordering::Relaxed);
            loop {
                thread::park();
            }
        })
    };
    spawn().map_err(|error| error.to_string())?;
    let _ = reached(&begun, 1);
    let before = Memory::now();
    for number in 0..count {
        spawn().map_err(|error| format!("thread {number}: {error}; {}", limits()))?;
    }
    reached(&begun, count + 1).map_err(|had| format!("{had} of {count} threads began"))?;
    Ok(Memory::now().since(&before, count))
}

/// Waits until `counter` is there, or says where it stopped.
fn reached(counter: &AtomicUsize, wanted: usize) -> Result<(), usize> {
    let (mut last, mut moved) = (counter.load(Ordering::Relaxed), Instant::now());
    while last < wanted {
        thread::sleep(Duration::from_micros(100));
        let now = counter.load(Ordering::Relaxed);
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > PATIENCE {
            return Err(last);
        }
    }
    // The last one may not be where it waits yet.
    thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// Those that threads meet, and how near this process is.
fn limits() -> String {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    let mappings = read("/proc/self/maps").lines().count();
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    format!(
        "{threads} threads of threads-max {} and pid_max {}, {mappings} mappings of max_map_count {}",
        read("/proc/sys/kernel/threads-max"),
        read("/proc/sys/kernel/pid_max"),
        read("/proc/sys/vm/max_map_count"),
    )
}
