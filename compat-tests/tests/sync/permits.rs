//! `Semaphore`.

use crate::crowd::{Crowd, LONG, busy};
use crate::together::together;
use futures::poll;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError};

#[test]
fn no_more_are_in_than_there_are_permits() {
    Crowd::new().run(async {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let turns = together(9, |_| {
            let (semaphore, inside) = (semaphore.clone(), inside.clone());
            async move {
                for turn in 1..=30 {
                    let wanted = 1 + turn % 3;
                    let permit = semaphore.acquire_many(wanted).await.unwrap();
                    let now = inside.fetch_add(wanted as usize, Ordering::SeqCst) + wanted as usize;
                    assert!(now <= 3, "{now} permits are out");
                    busy(Duration::from_micros(150));
                    inside.fetch_sub(wanted as usize, Ordering::SeqCst);
                    drop(permit);
                }
                30
            }
        })
        .await;
        assert_eq!(turns, [30; 9]);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn who_wants_many_is_not_passed_by_who_wants_few() {
    Crowd::new().run(async {
        let semaphore = Arc::new(Semaphore::new(4));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut held = semaphore.clone().acquire_many_owned(4).await.unwrap();
        let mut tasks = Vec::new();
        for (number, wanted) in [4, 1, 3, 1, 2].into_iter().enumerate() {
            let mut acquire = Box::pin(semaphore.clone().acquire_many_owned(wanted));
            assert!(poll!(&mut acquire).is_pending());
            let order = order.clone();
            tasks.push(preemptive::spawn(async move {
                let permit = acquire.await.unwrap();
                order.lock().unwrap().push((number, permit.num_permits()));
                busy(Duration::from_micros(200));
            }));
        }
        // One by one: the first in the queue collects them all.
        for _ in 0..3 {
            drop(held.split(1).unwrap());
            preemptive::task::yield_now().await;
            assert!(order.lock().unwrap().is_empty());
            assert_eq!(
                semaphore.try_acquire().unwrap_err(),
                TryAcquireError::NoPermits
            );
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap().clone();
        assert_eq!(order[0], (0, 4));
        // Who has a permit is in, but may be late to write that down.
        let mut rest = order[1..].to_vec();
        rest.sort_unstable();
        assert_eq!(rest, [(1, 1), (2, 3), (3, 1), (4, 2)]);
    });
}

#[test]
fn owned_permits_travel_split_merge_and_are_forgotten() {
    Crowd::new().run(async {
        let semaphore = Arc::new(Semaphore::new(8));
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..4 {
            let permit = semaphore.clone().acquire_many_owned(2).await.unwrap();
            let sender = sender.clone();
            drop(preemptive::spawn(async move {
                busy(Duration::from_micros(150));
                sender.send(permit).unwrap();
            }));
        }
        drop(sender);
        let mut all = receiver.recv().await.unwrap();
        while let Some(permit) = receiver.recv().await {
            all.merge(permit);
        }
        assert_eq!((all.num_permits(), semaphore.available_permits()), (8, 0));
        all.split(3).unwrap().forget();
        drop(all);
        assert_eq!(semaphore.available_permits(), 5);
        semaphore.add_permits(1);
        assert_eq!(semaphore.forget_permits(10), 6);
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn permits_that_are_not_waited_for_any_more_go_to_others() {
    Crowd::new().run(async {
        let semaphore = Arc::new(Semaphore::new(2));
        let held = semaphore.acquire().await.unwrap();
        let limit = Duration::from_millis(2);
        let both = preemptive::time::timeout(limit, semaphore.acquire_many(2)).await;
        assert!(both.is_err());
        // What it had collected is free again.
        let other = preemptive::time::timeout(LONG, semaphore.acquire()).await;
        drop(other.unwrap().unwrap());
        drop(held);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn a_semaphore_that_is_closed_tells_whoever_waits() {
    Crowd::new().run(async {
        let semaphore = Arc::new(Semaphore::new(0));
        let mut early = pin!(semaphore.acquire());
        assert!(poll!(&mut early).is_pending());
        let closes = semaphore.clone();
        let close = preemptive::spawn(async move {
            busy(Duration::from_micros(200));
            closes.close();
        });
        let outcomes = together(8, |_| {
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await.is_err() }
        })
        .await;
        assert_eq!(outcomes, [true; 8]);
        assert!(early.await.is_err() && semaphore.is_closed());
        close.await.unwrap();
    });
}
