//! Hogs, and beside them a task that sleeps and two that talk to each other: the same code on every runtime.

use crate::{Histogram, Kind, Work};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// How long the sleeper sleeps, and the ping-pong pauses where it is paced.
const PERIOD: Duration = Duration::from_millis(1);
/// Where it is not, one round trip in so many is timed, so that the clock's own time hardly counts.
const TIMED: u64 = 16;
/// How often a hog gives way where it does so by hand.
const BY_HAND: Duration = Duration::from_micros(100);

/// What an executor has to offer.
pub trait Host: Send + Sync + 'static {
    /// Sleeps on the executor's own timer.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;
    /// Lets others run.
    fn give_way() -> impl Future<Output = ()> + Send;
}

/// What all tasks of one run share.
#[derive(Debug)]
pub struct Stage {
    kind: Kind,
    lock: Mutex<u64>,
    stop: AtomicBool,
    /// How many of the tasks that are no hogs have begun.
    present: AtomicU64,
    /// When measuring began, and when it ends.
    window: OnceLock<(Instant, Instant)>,
    units: Box<[Units]>,
    wakes: AtomicU64,
    round_trips: AtomicU64,
    /// The lateness of the sleeper.
    pub lateness: Histogram,
    /// How long it waited for the hogs' lock, if they have one.
    pub lock_waits: Histogram,
    /// The times of round trips.
    pub trips: Histogram,
}

/// What one hog has done. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Units(AtomicU64);

impl Stage {
    /// For so many hogs of a kind.
    pub fn new(kind: Kind, hogs: usize) -> Arc<Stage> {
        Arc::new(Stage {
            kind,
            lock: Mutex::new(0),
            stop: AtomicBool::new(false),
            present: AtomicU64::new(0),
            window: OnceLock::new(),
            units: (0..hogs).map(|_| Units::default()).collect(),
            wakes: AtomicU64::new(0),
            round_trips: AtomicU64::new(0),
            lateness: Histogram::new(),
            lock_waits: Histogram::new(),
            trips: Histogram::new(),
        })
    }

    /// Waits until so many tasks that are no hogs have begun.
    pub fn await_others(&self, count: u64) {
        let begun = || self.present.load(Ordering::Relaxed) >= count;
        assert!(
            wait(begun, Duration::from_secs(10)),
            "without hogs, tasks begin"
        );
    }

    /// Waits until every hog has begun, or would have begun on a runtime with slices of 10 ms. False if some have not.
    pub fn await_hogs(&self, workers: usize) -> bool {
        let hogs = u32::try_from(self.units.len() / workers.max(1)).unwrap_or(u32::MAX);
        let limit = Duration::from_millis(300) + Duration::from_millis(15) * hogs;
        wait(|| self.units().iter().all(|&units| units > 0), limit)
    }

    /// Begins to measure. Returns when the time is over.
    pub fn measure(&self, duration: Duration) {
        let begin = Instant::now();
        let window = (begin, begin + duration);
        self.window.set(window).expect("measured once");
        std::thread::sleep(duration);
    }

    /// Ends every task of the stage.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether tasks are to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How much each hog has done so far.
    pub fn units(&self) -> Vec<u64> {
        let units = self.units.iter();
        units.map(|units| units.0.load(Ordering::Relaxed)).collect()
    }

    /// Round trips so far.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Whether the sleeper never woke while it was watched.
    pub fn starved(&self) -> bool {
        self.wakes.load(Ordering::Relaxed) == 0
    }

    /// Records the time from `due` until now, if that belongs to the time of measuring; what is not over at its end
    /// counts until there. True if it is over.
    fn record(&self, histogram: &Histogram, due: Instant, now: Instant) -> bool {
        match self.window.get() {
            Some(&(begin, end)) if now >= begin && due < end => {
                histogram.record(now.min(end).saturating_duration_since(due));
                now <= end
            }
            _ => false,
        }
    }

    fn woken(&self, due: Instant) {
        let now = Instant::now();
        if self.record(&self.lateness, due, now) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        if self.kind == Kind::Lock {
            drop(self.lock.lock().expect("no holder panics"));
            self.record(&self.lock_waits, now, Instant::now());
        }
    }

    fn round_trip(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.record(&self.trips, begun, Instant::now());
        }
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    /// When a round trip begins, if it is to be timed.
    fn timed(&self, paced: bool, trip: u64) -> Option<Instant> {
        (paced || trip.is_multiple_of(TIMED)).then(Instant::now)
    }

    fn begin(&self) {
        self.present.fetch_add(1, Ordering::Relaxed);
    }
}

/// False if it took longer than `limit`.
fn wait(done: impl Fn() -> bool, limit: Duration) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(PERIOD);
    }
    true
}

/// A task that never awaits; also the body of a thread.
pub fn hog(stage: &Stage, index: usize) {
    let mut work = Work::new(stage.kind, index);
    let mut done = 0;
    while !stage.stopped() {
        work.unit(&stage.lock);
        done += 1;
        stage.units[index].0.store(done, Ordering::Relaxed);
    }
}

/// A task that looks at the clock between units of the same work, and gives way every 100 µs: as soon as it can.
pub async fn hog_by_hand<H: Host>(stage: Arc<Stage>, index: usize) {
    let mut work = Work::new(stage.kind, index);
    let mut done = 0;
    let mut last = Instant::now();
    while !stage.stopped() {
        work.unit(&stage.lock);
        done += 1;
        stage.units[index].0.store(done, Ordering::Relaxed);
        if last.elapsed() >= BY_HAND {
            H::give_way().await;
            last = Instant::now();
        }
    }
}

/// A task that wants to wake every millisecond.
pub async fn sleeper<H: Host>(stage: Arc<Stage>) {
    stage.begin();
    while !stage.stopped() {
        let due = Instant::now() + PERIOD;
        H::sleep(PERIOD).await;
        stage.woken(due);
    }
}

/// One end of a conversation.
#[derive(Debug)]
pub struct End {
    sender: tokio::sync::mpsc::Sender<()>,
    receiver: tokio::sync::mpsc::Receiver<()>,
}

/// Both ends of a conversation, over channels that belong to no runtime.
pub fn conversation() -> (End, End) {
    let (ping, pinged) = tokio::sync::mpsc::channel(1);
    let (pong, ponged) = tokio::sync::mpsc::channel(1);
    let end = |sender, receiver| End { sender, receiver };
    (end(ping, ponged), end(pong, pinged))
}

/// The task that asks, every millisecond or as soon as it has the answer.
pub async fn ping<H: Host>(stage: Arc<Stage>, mut end: End, paced: bool) {
    stage.begin();
    for trip in 0.. {
        if paced {
            H::sleep(PERIOD).await;
        }
        let begun = stage.timed(paced, trip);
        if stage.stopped()
            || end.sender.send(()).await.is_err()
            || end.receiver.recv().await.is_none()
        {
            return;
        }
        stage.round_trip(begun);
    }
}

/// The task that answers.
pub async fn pong(stage: Arc<Stage>, mut end: End) {
    stage.begin();
    while end.receiver.recv().await.is_some() {
        if end.sender.send(()).await.is_err() {
            return;
        }
    }
}

/// The same tasks as threads.
pub mod threads {
    use super::{Arc, Instant, PERIOD, Stage, mpsc};
    use std::thread;

    /// Starts a thread.
    pub fn spawn(body: impl FnOnce() + Send + 'static) {
        thread::Builder::new()
            .spawn(body)
            .expect("a thread can be made");
    }

    /// [`sleeper`](super::sleeper).
    pub fn sleeper(stage: &Stage) {
        stage.begin();
        while !stage.stopped() {
            let due = Instant::now() + PERIOD;
            thread::sleep(PERIOD);
            stage.woken(due);
        }
    }

    /// [`ping`](super::ping) and [`pong`](super::pong).
    pub fn ping_pong(stage: &Arc<Stage>, paced: bool) {
        let (ping, pinged) = mpsc::sync_channel(1);
        let (pong, ponged) = mpsc::sync_channel(1);
        let (asks, answers) = (Arc::clone(stage), Arc::clone(stage));
        spawn(move || {
            asks.begin();
            for trip in 0.. {
                if paced {
                    thread::sleep(PERIOD);
                }
                let begun = asks.timed(paced, trip);
                if asks.stopped() || ping.send(()).is_err() || ponged.recv().is_err() {
                    return;
                }
                asks.round_trip(begun);
            }
        });
        spawn(move || {
            answers.begin();
            while pinged.recv().is_ok() && pong.send(()).is_ok() {}
        });
    }

    /// Leaves this process, with all threads it will have, so many of the cores it may run on.
    pub fn confine(cores: usize) {
        // SAFETY: all zeros is an empty set.
        let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set has that size and is ours to write.
        let done = unsafe { libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed) };
        assert_eq!(done, 0, "cannot tell which cores there are");
        let mut left = cores;
        for core in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: `core` is a bit of the set.
            let has = unsafe { libc::CPU_ISSET(core, &allowed) };
            if has && left == 0 {
                // SAFETY: as above.
                unsafe { libc::CPU_CLR(core, &mut allowed) };
            } else if has {
                left -= 1;
            }
        }
        // SAFETY: the set has that size.
        let done = unsafe { libc::sched_setaffinity(0, size_of_val(&allowed), &allowed) };
        assert_eq!(done, 0, "cannot choose cores");
    }
}
