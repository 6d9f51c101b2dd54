//! The combinators and the channels of `futures`.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use futures::channel::{mpsc, oneshot};
use futures::future::{AbortHandle, Abortable, Aborted, Either, abortable, join_all, select_all};
use futures::stream::{self, FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, SinkExt, StreamExt, TryStreamExt, join, select, select_biased, try_join};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WORK: Duration = Duration::from_micros(150);

/// Works, waits for another task, works on.
async fn work(number: usize) -> usize {
    busy(WORK);
    let square = preemptive::spawn(async move {
        busy(WORK);
        number * number
    });
    let square = square.await.unwrap();
    preemptive::time::sleep(Duration::from_micros(100)).await;
    square
}

#[test]
fn joins_wait_for_all_and_fail_with_the_first() {
    Crowd::new().run(async {
        together(3, |number| async move {
            assert_eq!(
                join!(work(1), work(number), work(3)),
                (1, number * number, 9)
            );
            let all = join_all((0..10).map(work)).await;
            assert_eq!(
                all,
                (0..10).map(|number| number * number).collect::<Vec<_>>()
            );
            let fails = async {
                work(2).await;
                Err::<(), _>(number)
            };
            let waits = async {
                std::future::pending::<()>().await;
                Ok(())
            };
            assert_eq!(try_join!(waits, fails), Err(number));
        })
        .await;
    });
}

#[test]
fn selects_keep_what_they_do_not_choose() {
    Crowd::new().run(async {
        together(3, |_| async {
            let (mut one, from_one) = mpsc::channel(1);
            let (other, from_other) = mpsc::unbounded();
            drop(preemptive::spawn(async move {
                for number in 0..100 {
                    one.send(number).await.unwrap();
                }
            }));
            drop(preemptive::spawn(async move {
                for number in 0..100 {
                    other.unbounded_send(number).unwrap();
                    busy(Duration::from_micros(20));
                }
            }));
            let (mut from_one, mut from_other) = (from_one.fuse(), from_other.fuse());
            let (mut next, mut idle) = ([0, 0], 0);
            while next != [100, 100] {
                let (sender, number) = select! {
                    number = from_one.select_next_some() => (0, number),
                    number = from_other.select_next_some() => (1, number),
                };
                assert_eq!(number, next[sender]);
                next[sender] += 1;
            }
            // In its order: what is ready first in the list wins.
            for _ in 0..20 {
                let mut slow = pin!(work(2).fuse());
                select_biased! {
                    () = std::future::ready(()).fuse() => idle += 1,
                    _ = slow => unreachable!("it is behind"),
                }
            }
            assert_eq!(idle, 20);
            let raced =
                futures::future::select(work(5).boxed(), std::future::pending::<()>()).await;
            assert!(matches!(raced, Either::Left((25, _))));
            let (first, _, rest) = select_all((1..4).map(|number| work(number).boxed())).await;
            assert!([1, 4, 9].contains(&first) && rest.len() == 2);
        })
        .await;
    });
}

#[test]
fn unordered_futures_all_end_and_ordered_ones_in_order() {
    const COUNT: usize = 60;
    Crowd::new().run(async {
        let unordered: FuturesUnordered<_> = (0..COUNT).map(work).collect();
        let mut squares: Vec<_> = unordered.collect().await;
        squares.sort_unstable();
        let expected: Vec<_> = (0..COUNT).map(|number| number * number).collect();
        assert_eq!(squares, expected);
        let ordered: FuturesOrdered<_> = (0..COUNT).map(work).collect();
        assert_eq!(ordered.collect::<Vec<_>>().await, expected);

        // Handed from task to task while its futures wake it.
        let mut travelling: FuturesUnordered<_> = (0..COUNT).map(work).collect();
        let mut squares = Vec::new();
        while !travelling.is_empty() {
            let next = preemptive::spawn(async move {
                let square = travelling.next().await;
                busy(Duration::from_micros(20));
                (travelling, square)
            });
            let (back, square) = next.await.unwrap();
            travelling = back;
            squares.extend(square);
        }
        squares.sort_unstable();
        assert_eq!(squares, expected);
    });
}

#[test]
fn buffered_streams_have_no_more_at_once_than_they_may() {
    Crowd::new().run(async {
        let running = Arc::new(AtomicUsize::new(0));
        let counted = |number| {
            let running = running.clone();
            async move {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 5);
                let square = work(number).await;
                running.fetch_sub(1, Ordering::SeqCst);
                square
            }
        };
        let mut squares: Vec<_> = stream::iter(0..50)
            .map(counted)
            .buffer_unordered(5)
            .collect()
            .await;
        squares.sort_unstable();
        let expected: Vec<_> = (0..50).map(|number| number * number).collect();
        assert_eq!(squares, expected);
        let in_order: Vec<_> = stream::iter(0..50).map(counted).buffered(5).collect().await;
        assert_eq!(in_order, expected);
        let summed = Arc::new(AtomicUsize::new(0));
        let fails = stream::iter((0..50).map(Ok))
            .try_for_each_concurrent(5, |number| {
                let summed = summed.clone();
                async move {
                    summed.fetch_add(work(number).await, Ordering::SeqCst);
                    if number == 30 { Err("thirty") } else { Ok(()) }
                }
            })
            .await;
        assert_eq!(fails, Err("thirty"));
        assert!(summed.load(Ordering::SeqCst) >= 900);
    });
}

#[test]
fn a_shared_future_runs_once_for_all_who_wait() {
    Crowd::new().run(async {
        for round in 0..10 {
            let runs = Arc::new(AtomicUsize::new(0));
            let counts = runs.clone();
            let shared = async move {
                counts.fetch_add(1, Ordering::SeqCst);
                Arc::new(work(round).await)
            };
            let shared = shared.shared();
            let seen = together(8, |_| shared.clone()).await;
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            assert!(seen.iter().all(|value| **value == round * round));
            assert!(seen.iter().all(|value| Arc::ptr_eq(value, &seen[0])));
        }
    });
}

#[test]
fn abort_handles_end_what_waits_and_streams() {
    Crowd::new().run(async {
        together(4, |number| async move {
            let (waits, handle) = abortable(std::future::pending::<()>());
            let waits = preemptive::spawn(waits);
            let aborts = preemptive::spawn(async move {
                busy(WORK);
                handle.abort();
            });
            assert_eq!(waits.await.unwrap(), Err(Aborted));
            aborts.await.unwrap();

            let (handle, registration) = AbortHandle::new_pair();
            let endless = stream::repeat(number).inspect(|_| busy(Duration::from_micros(20)));
            let mut endless = Abortable::new(endless, registration);
            let mut got = 0;
            while let Some(value) = endless.next().await {
                assert_eq!(value, number);
                got += 1;
                if got == 20 {
                    // From a thread of nobody's.
                    std::thread::scope(|scope| scope.spawn(|| handle.abort()).join()).unwrap();
                }
            }
            assert_eq!(got, 20);
        })
        .await;
    });
}

#[test]
fn their_locks_channels_and_executors_work_inside_tasks() {
    Crowd::new().run(async {
        let lock = Arc::new(futures::lock::Mutex::new(0));
        together(6, |number| {
            let lock = lock.clone();
            async move {
                for turn in 0..10 {
                    let mut sum = lock.lock().await;
                    busy(Duration::from_micros(120));
                    *sum += 1;
                    drop(sum);
                    // The poll waits on this thread. The flag which forbids that inside itself is of the thread, too.
                    let (sender, receiver) = oneshot::channel();
                    drop(preemptive::spawn(async move {
                        busy(Duration::from_micros(60));
                        sender.send(turn + number).ok()
                    }));
                    let answer = futures::executor::block_on(async {
                        busy(Duration::from_micros(120));
                        receiver.await
                    });
                    assert_eq!(answer, Ok(turn + number));
                }
            }
        })
        .await;
        assert_eq!(*lock.lock().await, 60);
        let (sender, receiver) = mpsc::channel(2);
        let sum = preemptive::spawn(receiver.map(Ok::<u64, ()>).try_fold(0, async |sum, value| {
            busy(Duration::from_micros(20));
            Ok(sum + value)
        }));
        let sends = (0..4_u64).map(|part| {
            let values = stream::iter((part * 50..(part + 1) * 50).map(Ok));
            values.forward(sender.clone())
        });
        assert!(join_all(sends).await.iter().all(Result::is_ok));
        drop(sender);
        assert_eq!(sum.await.unwrap(), Ok(19_900));
    });
}
