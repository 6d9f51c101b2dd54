//! The task that wants to tick, and what it has noted.

use preemptive::time::{Instant, sleep_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// How long the ticker sleeps.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// One wake-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// From the deadline until the ticker ran again.
    late: Duration,
    /// How long it then waited for the lock, where there is one.
    lock_wait: Option<Duration>,
}

/// Ticks until told to stop.
pub(crate) async fn tick(
    stop: Arc<AtomicBool>,
    lock: Option<Arc<Mutex<u64>>>,
    ticks: mpsc::Sender<Tick>,
) {
    while !stop.load(Ordering::Relaxed) {
        let deadline = Instant::now() + PERIOD;
        sleep_until(deadline).await;
        let woken = Instant::now();
        let lock_wait = lock.as_ref().map(|lock| {
            drop(lock.lock().expect("no holder panics"));
            woken.elapsed()
        });
        let late = woken - deadline;
        if ticks.send(Tick { late, lock_wait }).is_err() {
            return;
        }
    }
}

/// Every tick so far.
#[derive(Debug, Default)]
pub(crate) struct Ticks(Vec<Tick>);

/// Where durations lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Ticks {
    pub(crate) fn extend(&mut self, ticks: impl Iterator<Item = Tick>) {
        self.0.extend(ticks);
    }

    pub(crate) fn lateness(&self) -> Spread {
        Spread::of(self.0.iter().map(|tick| tick.late))
    }

    /// None where there is no lock to wait for.
    pub(crate) fn lock_wait(&self) -> Option<Spread> {
        let waits: Option<Vec<_>> = self.0.iter().map(|tick| tick.lock_wait).collect();
        Some(Spread::of(waits?.into_iter()))
    }

    pub(crate) fn total_lock_wait(&self) -> Duration {
        self.0.iter().filter_map(|tick| tick.lock_wait).sum()
    }
}

impl Spread {
    fn of(durations: impl Iterator<Item = Duration>) -> Spread {
        let mut sorted: Vec<_> = durations.collect();
        sorted.sort_unstable();
        // The smallest one that so many per cent do not exceed.
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Spread {
            count: sorted.len(),
            p50: percentile(50),
            p99: percentile(99),
            max: percentile(100),
        }
    }
}
