//! Shards and entries under a driver that keeps no clock, and the tools for the tests of `time`.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::task::Wake;

/// A driver of two shards that writes down what it is told, and fires only when a test says so.
#[derive(Debug)]
pub(crate) struct Fake {
    timers: Timers,
    shard: AtomicUsize,
    changes: Mutex<Vec<(usize, u64)>>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Fake> {
        Arc::new(Fake {
            timers: Timers::new(2, false),
            shard: AtomicUsize::new(0),
            changes: Mutex::new(Vec::new()),
        })
    }

    /// Fires what is due at this moment; returns how many.
    pub(crate) fn turn(&self) -> usize {
        let now = crate::sys::now();
        self.timers
            .shards()
            .iter()
            .map(|shard| shard.fire(now))
            .sum()
    }

    fn changes(&self) -> Vec<(usize, u64)> {
        std::mem::take(&mut *self.changes.lock().unwrap())
    }
}

impl Driver for Fake {
    fn timers(&self) -> &Timers {
        &self.timers
    }

    fn shard_here(&self) -> usize {
        self.shard.load(Ordering::Relaxed)
    }

    fn earliest_changed(&self, shard: usize, deadline: u64) {
        self.changes.lock().unwrap().push((shard, deadline));
    }
}

/// Counts its wake-ups.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), Waker::from(count))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(entry: Pin<&mut Entry>, waker: &Waker, deadline: u64) -> Poll<()> {
    entry.poll(waker, |_| Some(deadline))
}

/// So many hours from now.
fn far(hours: u64) -> u64 {
    crate::sys::now() + hours * 3_600_000_000_000
}

#[test]
fn the_driver_hears_of_each_earlier_deadline_and_of_no_other() {
    let fake = Fake::new();
    let (_, waker) = Count::new();
    let mut entries: Vec<_> = (0..4).map(|_| Box::pin(Entry::new(fake.clone()))).collect();
    for (entry, deadline) in entries.iter_mut().zip([30, 40, 30, 20]) {
        assert!(poll(entry.as_mut(), &waker, deadline).is_pending());
    }
    assert_eq!(fake.changes(), [(0, 30), (0, 20)]);
    assert_eq!(fake.timers.next(), 20);

    fake.shard.store(1, Ordering::Relaxed);
    let mut other = pin!(Entry::new(fake.clone()));
    assert!(poll(other.as_mut(), &waker, 99).is_pending());
    assert_eq!(fake.changes(), [(1, 99)]);

    // Cancelling tells nobody: a wake-up too many does no harm.
    drop(entries.pop());
    assert_eq!(fake.timers.shard(0).next(), 30);
    drop(entries);
    assert_eq!(fake.timers.shard(0).next(), NEVER);
    assert_eq!(fake.changes(), []);
}

/// Invariant 2, and that what fires is what is due.
#[test]
fn a_timer_fires_once_at_its_deadline() {
    let fake = Fake::new();
    let (count, waker) = Count::new();
    let mut entry = pin!(Entry::new(fake.clone()));
    assert!(poll(entry.as_mut(), &waker, 100).is_pending());
    assert_eq!(fake.timers.shard(0).fire(99), 0);
    assert!(poll(entry.as_mut(), &waker, 100).is_pending());
    assert_eq!(fake.timers.shard(0).fire(100), 1);
    assert_eq!(count.get(), 1);
    assert_eq!(Arc::strong_count(&count), 2, "the timer keeps no waker");
    assert!(poll(entry.as_mut(), &waker, 100).is_ready());
    assert!(poll(entry.as_mut(), &waker, 100).is_ready());
    assert_eq!(fake.timers.shard(0).fire(NEVER), 0);
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let fake = Fake::new();
    let (first, first_waker) = Count::new();
    let (last, last_waker) = Count::new();
    let mut entry = pin!(Entry::new(fake.clone()));
    assert!(poll(entry.as_mut(), &first_waker, 5).is_pending());
    assert!(poll(entry.as_mut(), &last_waker, 5).is_pending());
    assert_eq!(
        Arc::strong_count(&first),
        2,
        "the old waker has been dropped"
    );
    assert_eq!(fake.timers.shard(0).fire(5), 1);
    assert_eq!((first.get(), last.get()), (0, 1));
}

#[test]
fn a_reset_moves_a_pending_timer_and_keeps_its_waker() {
    let fake = Fake::new();
    let (count, waker) = Count::new();
    let mut entry = pin!(Entry::new(fake.clone()));
    let [first, earlier, later] = [50, 10, 70].map(far);
    assert!(poll(entry.as_mut(), &waker, first).is_pending());
    entry.as_mut().reset(later);
    assert_eq!(fake.timers.shard(0).fire(later - 1), 0);
    entry.as_mut().reset(earlier);
    assert_eq!(fake.changes(), [(0, first), (0, later), (0, earlier)]);
    assert_eq!(fake.timers.shard(0).fire(earlier), 1);
    assert_eq!(count.get(), 1);

    // Once it has fired, it must be polled again.
    entry.as_mut().reset(80);
    assert_eq!(fake.timers.shard(0).next(), NEVER);
    assert!(poll(entry.as_mut(), &waker, 80).is_pending());
    assert_eq!(fake.timers.shard(0).next(), 80);
}

#[test]
fn a_reset_to_what_has_passed_fires_at_once() {
    let fake = Fake::new();
    let (count, waker) = Count::new();
    let mut entry = pin!(Entry::new(fake.clone()));
    assert!(poll(entry.as_mut(), &waker, far(1)).is_pending());
    entry.as_mut().reset(1);
    assert_eq!(count.get(), 1);
    assert_eq!(Arc::strong_count(&count), 2, "the timer keeps no waker");
    assert_eq!(fake.timers.next(), NEVER);
    assert!(poll(entry.as_mut(), &waker, 1).is_ready());
}

#[test]
fn expired_timers_leave_in_bounded_bunches_and_in_order() {
    struct Note(usize, Arc<Mutex<Vec<usize>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let fake = Fake::new();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let mut entries: Vec<_> = (0..100)
        .map(|_| Box::pin(Entry::new(fake.clone())))
        .collect();
    for (index, entry) in entries.iter_mut().enumerate() {
        let waker = Waker::from(Arc::new(Note(index, notes.clone())));
        // All alike: first in, first out.
        assert!(poll(entry.as_mut(), &waker, 7).is_pending());
    }
    let mut expired = Expired::new();
    assert_eq!(
        fake.timers.shard(0).take_expired(7, &mut expired),
        Left::MoreDue
    );
    assert_eq!(expired.len(), Expired::ROOM);
    // A full one takes no more, and loses none.
    assert_eq!(
        fake.timers.shard(0).take_expired(7, &mut expired),
        Left::MoreDue
    );
    drop(expired);
    assert_eq!(fake.timers.shard(0).fire(7), 100 - Expired::ROOM);
    assert_eq!(*notes.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_waker_that_panics_costs_no_other_its_wake_up() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own panic");
        }
    }
    let fake = Fake::new();
    let (count, waker) = Count::new();
    let bomb = Waker::from(Arc::new(Bomb));
    let mut entries: Vec<_> = (0..9).map(|_| Box::pin(Entry::new(fake.clone()))).collect();
    for (index, entry) in entries.iter_mut().enumerate() {
        // Two in a row, and the last.
        let waker = match index {
            4 | 5 | 8 => &bomb,
            _ => &waker,
        };
        assert!(poll(entry.as_mut(), waker, 1).is_pending());
    }
    assert_eq!(fake.timers.shard(0).fire(1), 9);
    assert_eq!(count.get(), 6);
}

/// Invariant 4.
#[test]
fn shutting_down_wakes_everybody_and_then_polls_panic() {
    let fake = Fake::new();
    let (count, waker) = Count::new();
    let mut entry = pin!(Entry::new(fake.clone()));
    assert!(poll(entry.as_mut(), &waker, NEVER).is_pending());
    assert_eq!(fake.timers.next(), NEVER - 1);
    fake.timers.shut_down();
    assert_eq!(count.get(), 1);
    let result = catch_unwind(AssertUnwindSafe(|| poll(entry.as_mut(), &waker, NEVER)));
    let message = *result.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("has been shut down"), "{message}");
    // SAFETY: the shard is closed and takes nothing.
    let inserted = unsafe {
        fake.timers
            .shard(0)
            .insert(&Node::new(IDLE), 1, &mut Some(waker))
    };
    assert_eq!(inserted, Inserted::ShutDown);
}

/// Invariant 1 and the orderings, as far as running can show: owners drop timers while they fire.
#[test]
fn timers_may_be_dropped_and_reset_while_they_fire() {
    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    let fake = Fake::new();
    let is_over = AtomicBool::new(false);
    let (count, waker) = Count::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fake.timers.shard(0).fire(10);
                std::thread::yield_now();
            }
        });
        let owners: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..rounds {
                        let mut entry = Box::pin(Entry::new(fake.clone()));
                        let (_, other) = Count::new();
                        let _ = poll(entry.as_mut(), &waker, round % 20);
                        let _ = poll(entry.as_mut(), &other, round % 20);
                        entry.as_mut().reset(round % 15);
                        let _ = poll(entry.as_mut(), &waker, round % 15);
                    }
                })
            })
            .collect();
        let ends: Vec<_> = owners.into_iter().map(|owner| owner.join()).collect();
        // First of all, or a failure would leave the other thread running for ever.
        is_over.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
    assert_eq!(fake.timers.next(), NEVER);
    assert_eq!(Arc::strong_count(&count), 2, "no waker is left behind");
}
