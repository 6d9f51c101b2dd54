//! crossbeam-epoch: threads say that they look at shared memory, and what was taken out of it is freed when nobody does.

use crate::crowd::{Crowd, LONG, busy};
use crate::together::together;
use crossbeam_epoch::{self as epoch, Atomic, Owned, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is alive; a value that is freed says so, and spoils itself.
struct Value {
    number: u64,
    check: AtomicU64,
    alive: Arc<AtomicUsize>,
}

const MAGIC: u64 = 0x5eed_5eed_5eed_5eed;

impl Value {
    fn new(number: u64, alive: &Arc<AtomicUsize>) -> Owned<Value> {
        alive.fetch_add(1, Ordering::SeqCst);
        Owned::new(Value {
            number,
            check: AtomicU64::new(number ^ MAGIC),
            alive: alive.clone(),
        })
    }

    fn assert_whole(&self) {
        assert_eq!(self.check.load(Ordering::SeqCst), self.number ^ MAGIC);
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.assert_whole();
        self.check.store(0, Ordering::SeqCst);
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn what_a_preempted_poll_looks_at_is_not_freed_and_the_rest_is() {
    const TASKS: usize = 6;
    const TURNS: usize = 150;
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    Crowd::new().run(async move {
        let alive = counted;
        let shared = Arc::new(Atomic::<Value>::from(Value::new(0, &alive)));
        together(TASKS, |task| {
            let (shared, alive) = (shared.clone(), alive.clone());
            async move {
                for turn in 0..TURNS {
                    {
                        let guard = epoch::pin();
                        let seen = shared.load(Ordering::Acquire, &guard);
                        // SAFETY: never null, and not freed while this thread is pinned.
                        let seen = unsafe { seen.deref() };
                        seen.assert_whole();
                        // Preempted here, pinned; others replace it.
                        busy(Duration::from_micros(if turn % 10 == 0 { 300 } else { 20 }));
                        seen.assert_whole();
                        let new = Value::new((task * TURNS + turn) as u64, &alive);
                        let old = shared.swap(new, Ordering::AcqRel, &guard);
                        // SAFETY: whoever has swapped it out is the only one to free it, and later.
                        unsafe { guard.defer_destroy(old) };
                    }
                    assert!(!epoch::is_pinned());
                    if turn % 30 == 29 {
                        epoch::pin().flush();
                        preemptive::task::yield_now().await;
                    }
                }
            }
        })
        .await;
        let guard = epoch::pin();
        let last = shared.swap(Shared::null(), Ordering::AcqRel, &guard);
        // SAFETY: as above.
        unsafe { guard.defer_destroy(last) };
        guard.flush();
    });
    // Identities of the runtime have ended and left what they had put aside. Everything is freed when somebody goes on
    // collecting.
    let start = Instant::now();
    while alive.load(Ordering::SeqCst) > 0 {
        assert!(start.elapsed() < LONG, "{alive:?} values are still there");
        epoch::pin().flush();
    }
}

#[test]
fn garbage_is_collected_while_the_runtime_lives_and_its_spare_identities_rest() {
    let mut crowd = Crowd::new();
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    crowd.go(async move {
        together(8, |task| {
            let alive = counted.clone();
            async move {
                for turn in 0..100 {
                    let guard = epoch::pin();
                    let value = Value::new(task as u64 * 100 + turn, &alive);
                    let place: Atomic<Value> = Atomic::from(value);
                    busy(Duration::from_micros(30));
                    let old = place.swap(Shared::null(), Ordering::AcqRel, &guard);
                    // SAFETY: nobody else knows it.
                    unsafe { guard.defer_destroy(old) };
                    // What is put aside belongs to the thread, so it is handed to all before the poll ends.
                    guard.flush();
                }
            }
        })
        .await;
        // None of the other identities is pinned between polls, so the epoch goes on.
        let collects = async {
            while counted.load(Ordering::SeqCst) > 0 {
                epoch::pin().flush();
                preemptive::task::yield_now().await;
            }
        };
        preemptive::time::timeout(LONG, collects).await.unwrap();
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}
