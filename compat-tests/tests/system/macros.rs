//! Tokio's macros and helpers that belong to no runtime, in polls that are preempted in the middle.

use crate::beside;
use crate::crowd::busy;
use crate::quiet::quiet;
use crate::together::together;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than a slice.
const WORK: Duration = Duration::from_micros(150);

#[test]
fn receives_that_select_does_not_choose_lose_nothing() {
    beside(async {
        together(3, |_| async {
            let (one, mut from_one) = mpsc::channel(1);
            let (other, mut from_other) = mpsc::channel(3);
            for sender in [one, other] {
                drop(preemptive::spawn(async move {
                    for number in 0..200 {
                        sender.send(number).await.unwrap();
                    }
                }));
            }
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            let (mut next, mut ticked) = ([0, 0], 0);
            while next != [200, 200] || ticked == 0 {
                let (sender, number) = tokio::select! {
                    Some(number) = from_one.recv() => (0, number),
                    Some(number) = from_other.recv() => (1, number),
                    _ = ticks.tick() => {
                        ticked += 1;
                        // In the middle of the poll in which the macro has chosen.
                        busy(WORK);
                        continue;
                    }
                };
                assert_eq!(number, next[sender]);
                next[sender] += 1;
            }
        })
        .await;
    });
}

#[test]
fn select_keeps_its_order_where_it_is_told_to() {
    beside(async {
        together(4, |_| async {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            for number in 0..100 {
                sender.send(number).unwrap();
            }
            drop(sender);
            let (mut got, mut others) = (0, 0);
            loop {
                tokio::select! {
                    biased;
                    Some(number) = receiver.recv() => {
                        assert_eq!(number, got);
                        got += 1;
                        busy(Duration::from_micros(20));
                    }
                    () = std::future::ready(()), if others < 3 => others += 1,
                    else => break,
                }
            }
            assert_eq!((got, others), (100, 3));
        })
        .await;
    });
}

#[test]
fn joined_branches_are_preempted_together_and_all_end() {
    beside(async {
        together(4, |number| async move {
            let work = async |turns: usize| {
                for _ in 0..turns {
                    busy(WORK);
                    tokio::task::yield_now().await;
                }
                turns
            };
            let sums = tokio::join!(work(3), work(number), async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                work(5).await
            });
            assert_eq!(sums, (3, number, 5));
            let failed = tokio::try_join!(
                async {
                    work(2).await;
                    Err::<(), _>(number)
                },
                async {
                    std::future::pending::<()>().await;
                    Ok(())
                },
            );
            assert_eq!(failed, Err(number));
        })
        .await;
    });
}

tokio::task_local! {
    static NUMBER: usize;
}

#[test]
fn task_locals_of_tokio_belong_to_their_task_in_the_middle_of_a_poll() {
    beside(async {
        together(8, |number| {
            NUMBER.scope(number, async move {
                for turn in 0..10 {
                    busy(WORK);
                    assert_eq!(NUMBER.get(), number);
                    NUMBER.sync_scope(turn, || {
                        busy(WORK);
                        assert_eq!(NUMBER.get(), turn);
                    });
                    tokio::task::yield_now().await;
                }
            })
        })
        .await;
        assert!(NUMBER.try_with(|_| ()).is_err());
    });
}

#[test]
fn what_is_given_to_tokio_runs_there_and_is_joined_here() {
    quiet();
    beside(async {
        let ours = preemptive::runtime::Handle::current().id();
        let sums = together(4, |number| async move {
            let mut set = tokio::task::JoinSet::new();
            for part in 0..20 {
                set.spawn(async move {
                    // On Tokio's thread no runtime of ours is current.
                    assert!(preemptive::runtime::Handle::try_current().is_err());
                    tokio::task::yield_now().await;
                    part * number
                });
            }
            let mut sum = 0;
            while let Some(part) = set.join_next().await {
                sum += part.unwrap();
                busy(Duration::from_micros(60));
            }
            let blocks = move || {
                busy(WORK);
                tokio::runtime::Handle::current().block_on(async move { sum })
            };
            let sum = tokio::task::spawn_blocking(blocks).await.unwrap();
            assert_eq!(preemptive::runtime::Handle::current().id(), ours);
            let panics = tokio::spawn(async { panic!("expected: in a task of Tokio's") });
            assert!(panics.await.unwrap_err().is_panic());
            sum
        })
        .await;
        assert_eq!(sums, [0, 190, 380, 570]);
    });
}
