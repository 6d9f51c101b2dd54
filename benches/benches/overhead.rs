//! What time slices cost: jobs that only compute, whole and in slices of several lengths, beside plain threads
//! that take as many timer signals and do nothing about them.
//!
//! `cargo bench -p preemptive-benches --bench overhead [-- --runtime preemptive|threads --hogs N --workers N
//! --steps MILLIONS --rounds N --json]`; `benches/README.md` says what each figure is.

use preemptive::runtime::{Builder, Runtime};
use preemptive_benches::{Arguments, Json, Report, Samples, Ticker, hog_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The lengths of a slice, and of a timer's period, in microseconds.
const SLICES: [u64; 5] = [10_000, 1_000, 200, 150, 50];

/// Same work for everybody.
#[derive(Clone, Copy)]
struct Jobs {
    hogs: usize,
    steps: u64,
    workers: usize,
}

/// Rounds of one way to run the jobs.
#[derive(Default)]
struct Rounds {
    /// Milliseconds until the last job's end.
    wall: Samples,
    /// Milliseconds of processor time that the whole process used meanwhile.
    processor: Samples,
    /// Slices that ended, or signals taken.
    events: Samples,
}

impl Rounds {
    /// One more: `run` returns how many events there were.
    fn add(&mut self, run: impl FnOnce() -> u64) {
        let (start, processor) = (Instant::now(), processor_time());
        let events = run();
        self.wall.push(milliseconds(start.elapsed()));
        self.processor
            .push(milliseconds(processor_time() - processor));
        self.events.push(events as f64);
    }
}

fn main() {
    let mut arguments = Arguments::of_this_process();
    let json = arguments.flag("--json");
    let runtimes = arguments.choice("--runtime", &["preemptive", "threads"]);
    let jobs = Jobs {
        hogs: arguments.value("--hogs", 16),
        steps: arguments.value("--steps", 10) * 1_000_000,
        workers: arguments.value("--workers", 2),
    };
    let rounds = arguments.value("--rounds", 20);
    arguments.finish();

    let report = Report::begin(json);
    let mut ways: Vec<(&str, Option<u64>, Box<Run>)> = Vec::new();
    for slice in std::iter::once(None).chain(SLICES.map(Some)) {
        for runtime in &runtimes {
            let run: Box<Run> = match *runtime {
                "preemptive" => in_slices(jobs, slice),
                _ => with_signals(jobs, slice),
            };
            ways.push((*runtime, slice, run));
        }
    }
    let mut all: Vec<Rounds> = ways.iter().map(|_| Rounds::default()).collect();
    for round in 0..=rounds {
        for ((_, _, run), samples) in ways.iter().zip(&mut all) {
            if round == 0 {
                // Threads and stacks are there afterwards, and the processor is warm.
                run();
            } else {
                samples.add(run);
            }
        }
    }

    let find = |runtime: &str, slice: Option<u64>| {
        let at = ways
            .iter()
            .position(|way| way.0 == runtime && way.1 == slice);
        at.map(|at| &all[at])
    };
    if !json {
        for runtime in &runtimes {
            let whole = find(runtime, None).expect("it ran");
            report.figure(&format!("whole/{runtime}"), "ms", &whole.wall);
            report.figure(&format!("whole/{runtime}/cpu"), "ms", &whole.processor);
        }
        println!();
    }
    for slice in SLICES {
        let ours = find("preemptive", None).zip(find("preemptive", Some(slice)));
        let theirs = find("threads", None).zip(find("threads", Some(slice)));
        print(&report, json, jobs, slice, ours, theirs);
    }
}

/// Runs all jobs once, and says how many slices ended or signals came.
type Run = dyn Fn() -> u64;

/// The jobs as tasks. Without slices: one after the other, each to its end.
fn in_slices(jobs: Jobs, slice: Option<u64>) -> Box<Run> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(jobs.workers);
    match slice {
        Some(slice) => builder.time_slice(Duration::from_micros(slice)),
        // Even so a poll that runs for several slices may lose its processor to another thread: make them long.
        None => builder
            .async_preempt(false)
            .time_slice(Duration::from_secs(10)),
    };
    let runtime: Runtime = builder.build().expect("a runtime");
    Box::new(move || {
        let metrics = runtime.metrics();
        let before = metrics.preemptions();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..jobs.hogs)
                .map(|_| preemptive::spawn(async move { hog_for(jobs.steps) }))
                .collect();
            for task in tasks {
                task.await.expect("the task does not panic");
            }
        });
        metrics.preemptions() - before
    })
}

/// The jobs on as many threads, which take them one after the other, and a timer's signals meanwhile.
fn with_signals(jobs: Jobs, period: Option<u64>) -> Box<Run> {
    Box::new(move || {
        let before = Ticker::ticks();
        let next = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..jobs.workers)
            .map(|_| {
                let next = Arc::clone(&next);
                thread::spawn(move || {
                    let _ticker = period.map(|period| Ticker::every(Duration::from_micros(period)));
                    while next.fetch_add(1, Ordering::Relaxed) < jobs.hogs {
                        hog_for(jobs.steps);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread does not panic");
        }
        Ticker::ticks() - before
    })
}

/// Two ways to run the jobs: whole, and interrupted.
type Pair<'a> = Option<(&'a Rounds, &'a Rounds)>;

fn print(report: &Report, json: bool, jobs: Jobs, slice: u64, ours: Pair<'_>, theirs: Pair<'_>) {
    let sliced = ours.map(|(_, sliced)| sliced);
    let signalled = theirs.map(|(_, signalled)| signalled);
    // Both against plain threads: then what the runtime does beside slicing counts, too.
    let beside = theirs.map(|(whole, _)| whole).zip(sliced);
    let wall = |pair| slowdown(pair, |rounds| &rounds.wall);
    let processor = |pair| slowdown(pair, |rounds| &rounds.processor);
    let ratio = |(this, that): (&Rounds, &Rounds)| this.processor.ratio(&that.processor);
    let figures = [
        ("slices_percent", "%", ours.map(wall)),
        ("slices_cpu_percent", "%", ours.map(processor)),
        ("signals_percent", "%", theirs.map(wall)),
        ("signals_cpu_percent", "%", theirs.map(processor)),
        ("beside_threads_cpu_percent", "%", beside.map(processor)),
        ("time_ratio", "", sliced.zip(signalled).map(ratio)),
        ("slices", "", sliced.map(|rounds| rounds.events.clone())),
        ("signals", "", signalled.map(|rounds| rounds.events.clone())),
        ("slice_us", "us", ours.map(cost)),
        ("signal_us", "us", theirs.map(cost)),
    ];
    let over_signals = |pair: Pair<'_>| {
        pair.zip(theirs).map_or(f64::NAN, |(pair, theirs)| {
            cost(pair).spread().median / cost(theirs).spread().median
        })
    };
    let (cost_ratio, cost_ratio_beside) = (over_signals(ours), over_signals(beside));
    if !json {
        for (name, unit, samples) in figures {
            if let Some(samples) = samples {
                report.figure(&format!("{slice}us/{name}"), unit, &samples);
            }
        }
        println!("{slice}us/cost_ratio {cost_ratio:.2}, beside threads {cost_ratio_beside:.2}\n");
        return;
    }
    let whole = ours.or(theirs).expect("one of them").0;
    let mut line = Json::new()
        .text("figure", "overhead")
        .count("period_us", slice)
        .count("hogs", jobs.hogs as u64)
        .count("workers", jobs.workers as u64)
        .count("n", whole.wall.spread().n as u64)
        .number("whole_ms", whole.wall.spread().median);
    for (name, _, samples) in figures {
        let spread = samples.map(|samples| samples.spread());
        line = line.number(name, spread.map_or(f64::NAN, |spread| spread.median));
    }
    line.number("cost_ratio", cost_ratio)
        .number("cost_ratio_beside_threads", cost_ratio_beside)
        .print();
}

/// By how many percent the interrupted jobs took longer, round by round.
fn slowdown((whole, interrupted): (&Rounds, &Rounds), of: fn(&Rounds) -> &Samples) -> Samples {
    of(interrupted).map_with(of(whole), |interrupted, whole| {
        100.0 * (interrupted / whole - 1.0)
    })
}

/// Microseconds of processor time per event, round by round.
fn cost((whole, interrupted): (&Rounds, &Rounds)) -> Samples {
    let more = interrupted
        .processor
        .map_with(&whole.processor, |interrupted, whole| interrupted - whole);
    more.map_with(&interrupted.events, |more, events| {
        1_000.0 * more / events.max(1.0)
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// What all threads of this process have used.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one `timespec`.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "no such clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
