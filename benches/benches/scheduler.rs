//! The paths that every task takes: spawn, wake, yield, join. Beside this runtime two that only cooperate.
//!
//! `cargo bench -p preemptive-benches --bench scheduler [-- --case CASE --runtime RUNTIME --workers N --rounds N
//! --json]`; `benches/README.md` says what each case is.

use preemptive_benches::{
    Arguments, AsyncExecutor, Bell, Json, Preemptive, Report, Rival, Samples, Spread, Tokio, time,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Tasks of `spawn_many`.
const SPAWNED: usize = 10_000;
/// Tasks of `yield_many`, and how often each yields.
const YIELDING: usize = 200;
const YIELDS: usize = 1_000;
/// Pairs of `ping_pong`.
const PAIRS: usize = 1_000;
/// Links of `chained_spawn`.
const LINKS: usize = 1_000;
/// Tasks of `wake_many`, and how often all of them are woken.
const WAITING: usize = 100;
const WAKES: usize = 100;
/// Tasks of `spawn_join`.
const JOINED: usize = 1_000;
/// Rounds before the first that counts.
const WARM_UP: usize = 5;

/// One case: its name, how many operations a round is, and a round.
type Case = (&'static str, usize, fn());

const CASES: [&str; 7] = [
    "spawn_many",
    "spawn_many_outside",
    "yield_many",
    "ping_pong",
    "chained_spawn",
    "wake_many",
    "spawn_join",
];

fn cases<R: Rival>() -> [Case; 7] {
    [
        (CASES[0], SPAWNED, spawn_many::<R>),
        (CASES[1], SPAWNED, spawn_many_outside::<R>),
        (CASES[2], YIELDING * YIELDS, yield_many::<R>),
        (CASES[3], PAIRS, ping_pong::<R>),
        (CASES[4], LINKS, chained_spawn::<R>),
        (CASES[5], WAITING * WAKES, wake_many::<R>),
        (CASES[6], JOINED, spawn_join::<R>),
    ]
}

fn main() {
    let mut arguments = Arguments::of_this_process();
    let json = arguments.flag("--json");
    let wanted = arguments.choice("--case", &CASES);
    let runtimes = arguments.choice(
        "--runtime",
        &[Preemptive::NAME, Tokio::NAME, AsyncExecutor::NAME],
    );
    let workers = arguments.value("--workers", 2);
    let rounds = arguments.value("--rounds", 200);
    arguments.finish();

    let report = Report::begin(json);
    let rivals: Vec<_> = runtimes
        .iter()
        .map(|name| match *name {
            Preemptive::NAME => started::<Preemptive>(workers),
            Tokio::NAME => started::<Tokio>(workers),
            _ => started::<AsyncExecutor>(workers),
        })
        .collect();
    for (at, case) in CASES.iter().enumerate() {
        if !wanted.contains(case) {
            continue;
        }
        let mut samples = vec![Samples::default(); rivals.len()];
        for round in 0..WARM_UP + rounds {
            for ((_, cases), samples) in rivals.iter().zip(&mut samples) {
                let (_, operations, run) = cases[at];
                let sample = time(1, run) / operations as f64;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        for ((runtime, _), samples) in rivals.iter().zip(&samples) {
            if json {
                print_line(case, runtime, workers, samples.spread());
            } else {
                report.figure(&format!("{case}/{runtime}"), "ns", samples);
            }
        }
    }
}

fn started<R: Rival>(workers: usize) -> (&'static str, [Case; 7]) {
    R::start(workers);
    (R::NAME, cases::<R>())
}

fn print_line(case: &str, runtime: &str, workers: usize, spread: Spread) {
    Json::new()
        .text("case", case)
        .text("runtime", runtime)
        .count("workers", workers as u64)
        .number("ns_per_op", spread.median)
        .number("p5", spread.p5)
        .number("p95", spread.p95)
        .number("min", spread.min)
        .count("n", spread.n as u64)
        .print();
}

/// Reports when the last of many is through.
#[derive(Clone)]
struct Finish {
    remaining: Arc<AtomicUsize>,
    done: SyncSender<()>,
}

impl Finish {
    fn one(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.send(()).expect("the benchmark waits");
        }
    }
}

/// Runs `begin` within `block_on`, and waits there until `count` ends are reported: the calling thread takes no
/// part in the work.
fn until_finished<R: Rival>(count: usize, begin: impl FnOnce(Finish)) {
    let (done, finished) = sync_channel(1);
    let remaining = Arc::new(AtomicUsize::new(count));
    R::block_on(async {
        begin(Finish { remaining, done });
        finished.recv().expect("a task reports the end");
    });
}

fn spawn_each<R: Rival>(finish: &Finish) {
    for _ in 0..SPAWNED {
        let finish = finish.clone();
        R::spawn(async move { finish.one() });
    }
}

/// A task spawns many.
fn spawn_many<R: Rival>() {
    until_finished::<R>(SPAWNED, |finish| {
        R::spawn(async move { spawn_each::<R>(&finish) });
    });
}

/// A thread that is no worker spawns many.
fn spawn_many_outside<R: Rival>() {
    until_finished::<R>(SPAWNED, |finish| spawn_each::<R>(&finish));
}

fn yield_many<R: Rival>() {
    until_finished::<R>(YIELDING, |finish| {
        for _ in 0..YIELDING {
            let finish = finish.clone();
            R::spawn(async move {
                for _ in 0..YIELDS {
                    R::yield_now().await;
                }
                finish.one();
            });
        }
    });
}

/// Two tasks greet each other once, through two channels: an operation is the whole life of a pair.
fn ping_pong<R: Rival>() {
    async fn pair<R: Rival>(finish: Finish) {
        let (ping, pinged) = oneshot::channel();
        let (pong, ponged) = oneshot::channel();
        R::spawn(async move {
            pinged.await.expect("a ping");
            pong.send(()).expect("somebody waits");
        });
        ping.send(()).expect("somebody waits");
        ponged.await.expect("a pong");
        finish.one();
    }
    until_finished::<R>(PAIRS, |finish| {
        R::spawn(async move {
            for _ in 0..PAIRS {
                R::spawn(pair::<R>(finish.clone()));
            }
        });
    });
}

/// Each task spawns the next, and ends.
fn chained_spawn<R: Rival>() {
    fn link<R: Rival>(finish: Finish, more: usize) {
        match more {
            0 => finish.one(),
            _ => R::spawn(async move { link::<R>(finish, more - 1) }),
        }
    }
    until_finished::<R>(1, |finish| {
        R::spawn(async move { link::<R>(finish, LINKS) });
    });
}

/// One task wakes many, again and again, each time when all have answered.
fn wake_many<R: Rival>() {
    struct Crowd {
        bells: Vec<Bell>,
        missing: AtomicUsize,
        all_answered: Bell,
    }
    let crowd = Arc::new(Crowd {
        bells: (0..WAITING).map(|_| Bell::default()).collect(),
        missing: AtomicUsize::new(0),
        all_answered: Bell::default(),
    });
    until_finished::<R>(WAITING + 1, |finish| {
        for this in 0..WAITING {
            let (crowd, finish) = (Arc::clone(&crowd), finish.clone());
            R::spawn(async move {
                for _ in 0..WAKES {
                    crowd.bells[this].rung().await;
                    if crowd.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                        crowd.all_answered.ring();
                    }
                }
                finish.one();
            });
        }
        R::spawn(async move {
            for _ in 0..WAKES {
                crowd.missing.store(WAITING, Ordering::Release);
                crowd.bells.iter().for_each(Bell::ring);
                crowd.all_answered.rung().await;
            }
            finish.one();
        });
    });
}

/// One task at a time, and the wait for it.
fn spawn_join<R: Rival>() {
    until_finished::<R>(1, |finish| {
        R::spawn(async move {
            for _ in 0..JOINED {
                R::join(async {}).await;
            }
            finish.one();
        });
    });
}
