//! Who can be measured beside hogs, and how each runs them.

use crate::flood::Flood;
use crate::stage::{self, Host, Stage, threads};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A way to run tasks, and hogs among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// This project.
    Preemptive,
    /// Tokio as it is.
    Tokio,
    /// Tokio, with hogs that give way by hand every 100 µs.
    TokioYield,
    /// Tokio, with hogs on `spawn_blocking`.
    TokioBlocking,
    /// A thread per task.
    Threads,
    /// Goroutines.
    Go,
    /// Goroutines that give way by hand every 100 µs.
    GoYield,
}

impl Contender {
    /// All of them.
    pub const ALL: [Contender; 7] = [
        Contender::Preemptive,
        Contender::Tokio,
        Contender::TokioYield,
        Contender::TokioBlocking,
        Contender::Threads,
        Contender::Go,
        Contender::GoYield,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Preemptive => "preemptive",
            Contender::Tokio => "tokio",
            Contender::TokioYield => "tokio-yield",
            Contender::TokioBlocking => "tokio-blocking",
            Contender::Threads => "threads",
            Contender::Go => "go",
            Contender::GoYield => "go-yield",
        }
    }

    /// Whether it is another program.
    pub fn is_go(self) -> bool {
        matches!(self, Contender::Go | Contender::GoYield)
    }
}

/// Starts the tasks of a stage on one contender.
pub trait Cast {
    /// Starts the sleeper, and the ping-pong if there is to be one (`Some(true)`: paced).
    fn start_others(&self, stage: &Arc<Stage>, ping_pong: Option<bool>);
    /// Starts a hog.
    fn start_hog(&self, stage: &Arc<Stage>, index: usize);
    /// Starts a task that does a little and is followed by another one like it, for as long as the stage plays.
    fn start_flood(&self, flood: &Arc<Flood>);
    /// Preemptions, and signals that workers have taken, so far; where there is such a thing.
    fn counters(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A fresh runtime. Go is no part of this process.
///
/// # Panics
///
/// If there can be none, or it is Go.
pub fn cast(contender: Contender, workers: usize, hogs: usize) -> Box<dyn Cast> {
    let tokio = |by_hand, blocking| -> Box<dyn Cast> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(hogs.max(512))
            .enable_time()
            .build()
            .expect("a runtime");
        Box::new(Tokio {
            runtime,
            by_hand,
            blocking,
        })
    };
    match contender {
        Contender::Preemptive => Box::new(Preemptive(
            preemptive::runtime::Builder::new_multi_thread()
                .worker_threads(workers)
                .build()
                .expect("a runtime"),
        )),
        Contender::Tokio => tokio(false, false),
        Contender::TokioYield => tokio(true, false),
        Contender::TokioBlocking => tokio(false, true),
        Contender::Threads => {
            threads::confine(workers);
            Box::new(Threads)
        }
        Contender::Go | Contender::GoYield => panic!("Go is a program of its own"),
    }
}

/// This project's runtime.
#[derive(Debug)]
struct Preemptive(preemptive::runtime::Runtime);

impl Host for Preemptive {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        preemptive::time::sleep(duration)
    }

    fn give_way() -> impl Future<Output = ()> + Send {
        preemptive::task::yield_now()
    }
}

impl Cast for Preemptive {
    fn start_others(&self, stage: &Arc<Stage>, ping_pong: Option<bool>) {
        self.0.spawn(stage::sleeper::<Self>(Arc::clone(stage)));
        if let Some(paced) = ping_pong {
            let (a, b) = stage::conversation();
            self.0
                .spawn(stage::ping::<Self>(Arc::clone(stage), a, paced));
            self.0.spawn(stage::pong(Arc::clone(stage), b));
        }
    }

    fn start_hog(&self, stage: &Arc<Stage>, index: usize) {
        let stage = Arc::clone(stage);
        self.0.spawn(async move { stage::hog(&stage, index) });
    }

    fn start_flood(&self, flood: &Arc<Flood>) {
        fn next(handle: &preemptive::runtime::Handle, flood: Arc<Flood>) {
            let inner = handle.clone();
            handle.spawn(async move {
                if flood.wave() {
                    next(&inner, flood);
                }
            });
        }
        next(self.0.handle(), Arc::clone(flood));
    }

    fn counters(&self) -> Option<(u64, u64)> {
        let metrics = self.0.metrics();
        let signals = metrics.asynchronous_preemptions() + metrics.refused_preemptions();
        Some((metrics.preemptions(), signals))
    }
}

/// Tokio's multi-thread runtime.
#[derive(Debug)]
struct Tokio {
    runtime: tokio::runtime::Runtime,
    by_hand: bool,
    blocking: bool,
}

impl Host for Tokio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    fn give_way() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

impl Cast for Tokio {
    fn start_others(&self, stage: &Arc<Stage>, ping_pong: Option<bool>) {
        self.runtime
            .spawn(stage::sleeper::<Self>(Arc::clone(stage)));
        if let Some(paced) = ping_pong {
            let (a, b) = stage::conversation();
            self.runtime
                .spawn(stage::ping::<Self>(Arc::clone(stage), a, paced));
            self.runtime.spawn(stage::pong(Arc::clone(stage), b));
        }
    }

    fn start_hog(&self, stage: &Arc<Stage>, index: usize) {
        let stage = Arc::clone(stage);
        if self.by_hand {
            self.runtime.spawn(stage::hog_by_hand::<Self>(stage, index));
        } else if self.blocking {
            self.runtime
                .spawn_blocking(move || stage::hog(&stage, index));
        } else {
            self.runtime.spawn(async move { stage::hog(&stage, index) });
        }
    }

    fn start_flood(&self, flood: &Arc<Flood>) {
        fn next(handle: &tokio::runtime::Handle, flood: Arc<Flood>) {
            let inner = handle.clone();
            handle.spawn(async move {
                if flood.wave() {
                    next(&inner, flood);
                }
            });
        }
        next(self.runtime.handle(), Arc::clone(flood));
    }
}

/// The kernel's scheduler, on as many cores as the others have workers.
#[derive(Debug)]
struct Threads;

impl Cast for Threads {
    fn start_others(&self, stage: &Arc<Stage>, ping_pong: Option<bool>) {
        let for_sleeper = Arc::clone(stage);
        threads::spawn(move || threads::sleeper(&for_sleeper));
        if let Some(paced) = ping_pong {
            threads::ping_pong(stage, paced);
        }
    }

    fn start_hog(&self, stage: &Arc<Stage>, index: usize) {
        let stage = Arc::clone(stage);
        threads::spawn(move || stage::hog(&stage, index));
    }

    /// A thread that runs one after the other: that of making threads would be most of the work.
    fn start_flood(&self, flood: &Arc<Flood>) {
        let flood = Arc::clone(flood);
        threads::spawn(move || while flood.wave() {});
    }
}
