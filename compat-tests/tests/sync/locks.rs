//! `Mutex` and `RwLock`.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use futures::poll;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{
    MappedMutexGuard, Mutex, MutexGuard, OwnedMutexGuard, OwnedRwLockWriteGuard, RwLock,
    RwLockWriteGuard,
};

/// Longer than a slice, so that the holder is preempted with the lock.
const HELD: Duration = Duration::from_micros(150);

#[test]
fn a_mutex_excludes_across_awaits_and_preemptions() {
    Crowd::new().run(async {
        let mutex = Arc::new(Mutex::new((0_u64, 0_u64)));
        together(8, |_| {
            let mutex = mutex.clone();
            async move {
                for turn in 0..40 {
                    let mut both = mutex.lock().await;
                    both.0 += 1;
                    busy(HELD);
                    if turn % 10 == 0 {
                        preemptive::task::yield_now().await;
                    }
                    both.1 += 1;
                    assert_eq!(both.0, both.1);
                }
            }
        })
        .await;
        assert_eq!(*mutex.lock().await, (320, 320));
    });
}

#[test]
fn a_mutex_is_had_in_the_order_in_which_it_was_asked_for() {
    Crowd::new().run(async {
        let mutex = Arc::new(Mutex::new(Vec::new()));
        let first = mutex.clone().lock_owned().await;
        assert!(mutex.try_lock().is_err());
        let mut tasks = Vec::new();
        for number in 0..16 {
            let mut lock = Box::pin(mutex.clone().lock_owned());
            // In the queue from here on.
            assert!(poll!(&mut lock).is_pending());
            tasks.push(preemptive::spawn(async move {
                let mut order = lock.await;
                order.push(number);
                busy(HELD);
            }));
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*mutex.lock().await, (0..16).collect::<Vec<_>>());
    });
}

#[test]
fn a_lock_that_is_given_up_goes_to_the_next() {
    Crowd::new().run(async {
        let mutex = Arc::new(Mutex::new(0));
        let holder = mutex.clone().lock_owned().await;
        let mut given_up = Box::pin(mutex.lock());
        let mut next = pin!(mutex.lock());
        assert!(poll!(&mut given_up).is_pending());
        assert!(poll!(&mut next).is_pending());
        drop(holder);
        // It has the lock, and does not know it yet.
        drop(given_up);
        *next.await += 1;

        // Aborted tasks leave nothing behind.
        let holder = mutex.clone().lock_owned().await;
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let mutex = mutex.clone();
                preemptive::spawn(async move { *mutex.lock().await += 100 })
            })
            .collect();
        for task in &waiting {
            task.abort();
        }
        for task in waiting {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        drop(holder);
        assert_eq!(*mutex.lock().await, 1);
    });
}

#[test]
fn parts_of_what_is_locked_stay_locked() {
    Crowd::new().run(async {
        let pair = Arc::new(Mutex::new((0_u32, String::new())));
        together(8, |number| {
            let pair = pair.clone();
            async move {
                for _ in 0..10 {
                    let number_only: MappedMutexGuard<'_, u32> =
                        MutexGuard::map(pair.lock().await, |pair| &mut pair.0);
                    let before = *number_only;
                    let mut number_only = number_only;
                    busy(HELD);
                    *number_only = before + 1;
                    drop(number_only);
                    let mut text =
                        OwnedMutexGuard::map(pair.clone().lock_owned().await, |pair| &mut pair.1);
                    text.push(char::from(b'a' + number as u8));
                }
            }
        })
        .await;
        let pair = Arc::into_inner(pair).unwrap().into_inner();
        assert_eq!(pair.0, 80);
        let mut letters = pair.1.into_bytes();
        letters.sort_unstable();
        let expected: Vec<u8> = (b'a'..b'i').flat_map(|letter| [letter; 10]).collect();
        assert_eq!(letters, expected);
    });
}

#[test]
fn readers_share_and_writers_exclude() {
    Crowd::new().run(async {
        let pair = Arc::new(RwLock::new((0_u64, 0_u64)));
        let reading = Arc::new(AtomicUsize::new(0));
        let turns = together(8, |number| {
            let (pair, reading) = (pair.clone(), reading.clone());
            async move {
                let mut written = 0;
                for turn in 0..40 {
                    if (turn + number) % 4 == 0 {
                        let mut both = pair.write().await;
                        assert_eq!(reading.load(Ordering::SeqCst), 0);
                        both.0 += 1;
                        busy(HELD);
                        both.1 += 1;
                        written += 1;
                    } else {
                        let both = pair.read().await;
                        reading.fetch_add(1, Ordering::SeqCst);
                        busy(HELD);
                        assert_eq!(both.0, both.1);
                        reading.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                written
            }
        })
        .await;
        let written: u64 = turns.into_iter().sum();
        assert_eq!(*pair.read().await, (written, written));
        // Two at a time, held open until both are in.
        let both_in = Arc::new(tokio::sync::Barrier::new(2));
        together(2, |_| {
            let (pair, both_in) = (pair.clone(), both_in.clone());
            async move {
                let _read = pair.read().await;
                both_in.wait().await;
            }
        })
        .await;
    });
}

#[test]
fn a_writer_that_waits_goes_before_new_readers() {
    Crowd::new().run(async {
        let lock = Arc::new(RwLock::new(Vec::new()));
        let reader = lock.clone().read_owned().await;
        let mut writer = Box::pin(lock.clone().write_owned());
        assert!(poll!(&mut writer).is_pending());
        let mut late = Box::pin(lock.clone().read_owned());
        assert!(poll!(&mut late).is_pending());
        assert!(lock.try_read().is_err());
        let writes = preemptive::spawn(async move {
            let mut guard = writer.await;
            guard.push("writer");
            busy(HELD);
            // A reader from here on, with nobody in between.
            let guard = OwnedRwLockWriteGuard::downgrade(guard);
            assert_eq!(*guard, ["writer"]);
        });
        let reads = preemptive::spawn(async move { assert_eq!(*late.await, ["writer"]) });
        drop(reader);
        writes.await.unwrap();
        reads.await.unwrap();
        let mut guard = RwLockWriteGuard::map(lock.write().await, |list| &mut list[0]);
        *guard = "mapped";
        drop(guard);
        assert_eq!(*lock.read().await, ["mapped"]);
    });
}
