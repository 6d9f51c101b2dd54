//! Our runtimes inside Tokio's tasks.

use crate::crowd::{Crowd, LONG, busy};
use compat_tests::bridge::Beside;
use preemptive::runtime::{Builder, Runtime};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

const WORK: Duration = Duration::from_micros(300);

/// Tokio as an application has it.
fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A runtime of ours whose tasks find that one.
fn ours(tokio: &tokio::runtime::Runtime) -> Runtime {
    let handle = tokio.handle().clone();
    Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(Duration::from_micros(100))
        .on_thread_start(move || std::mem::forget(handle.enter()))
        .build()
        .unwrap()
}

#[test]
fn tasks_of_tokio_give_work_away_and_await_it() {
    let tokio = tokio();
    let handle = tokio.handle().clone();
    let hook = move || std::mem::forget(handle.enter());
    let crowd = Crowd::with(Builder::new_multi_thread().on_thread_start(hook));
    let handle = crowd.runtime().handle().clone();
    tokio.block_on(async {
        let tasks: Vec<_> = (0..8_u64)
            .map(|number| {
                let handle = handle.clone();
                tokio::spawn(async move {
                    let (sender, mut receiver) = mpsc::channel(2);
                    let works = handle.spawn(async move {
                        for value in 0..50 {
                            busy(Duration::from_micros(20));
                            sender.send(value * number).await.unwrap();
                        }
                        sleep(Duration::from_millis(1)).await;
                    });
                    let mut sum = 0;
                    while let Some(value) = receiver.recv().await {
                        sum += value;
                    }
                    works.await.unwrap();
                    // An aborted one of ours says so to them.
                    let waits = handle.spawn(std::future::pending::<()>());
                    waits.abort();
                    assert!(waits.await.unwrap_err().is_cancelled());
                    sum
                })
            })
            .collect();
        for (number, task) in (0..).zip(tasks) {
            let sum = timeout(LONG, task).await.unwrap().unwrap();
            assert_eq!(sum, 1_225 * number);
        }
    });
    drop(crowd);
}

#[test]
fn tasks_of_tokio_block_on_ours_in_place_and_in_their_pool() {
    let tokio = tokio();
    let runtime = Arc::new(ours(&tokio));
    tokio.block_on(async {
        let tasks: Vec<_> = (0..6_usize)
            .map(|number| {
                let runtime = runtime.clone();
                tokio::spawn(async move {
                    let blocks = move || {
                        runtime.block_on(async move {
                            let task = preemptive::spawn(async move {
                                busy(WORK);
                                sleep(Duration::from_millis(1)).await;
                                number
                            });
                            // Polled right here, on a thread of Tokio's.
                            sleep(Duration::from_millis(1)).await;
                            // More messages than Tokio lets a task have at a time.
                            let (sender, mut receiver) = mpsc::unbounded_channel();
                            for message in 0..1_000 {
                                sender.send(message).unwrap();
                            }
                            for message in 0..1_000 {
                                assert_eq!(receiver.recv().await, Some(message));
                            }
                            task.await.unwrap()
                        })
                    };
                    if number % 2 == 0 {
                        block_in_place(blocks)
                    } else {
                        tokio::task::spawn_blocking(blocks).await.unwrap()
                    }
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(timeout(LONG, task).await.unwrap().unwrap(), number);
        }
    });
    drop(runtime);
}

#[test]
fn runtimes_are_made_and_dropped_in_tasks_of_tokio() {
    let tokio = Arc::new(tokio());
    tokio.block_on(async {
        for round in 0..4 {
            let inner = tokio.clone();
            let task = tokio::spawn(async move {
                block_in_place(|| {
                    let runtime = ours(&inner);
                    let (sender, receiver) = oneshot::channel::<()>();
                    // A hog that ends when nobody listens any more, so that the drop has something to wait for.
                    drop(runtime.spawn(async move {
                        sleep(Duration::from_micros(500)).await;
                        busy(Duration::from_millis(2));
                        drop(sender);
                    }));
                    let answer = runtime.block_on(async {
                        preemptive::spawn(async move {
                            busy(WORK);
                            round
                        })
                        .await
                        .unwrap()
                    });
                    drop(runtime);
                    // It has been polled to its end, or dropped.
                    assert!(receiver.blocking_recv().is_err());
                    answer
                })
            });
            assert_eq!(timeout(LONG, task).await.unwrap().unwrap(), round);
        }
    });
}

#[test]
fn runtimes_nest_three_deep_and_each_finds_its_own() {
    let beside = Beside::new().unwrap();
    let outer = Crowd::with(beside.attach(&mut Builder::new_multi_thread()));
    outer.run(async {
        let outermost = preemptive::runtime::Handle::current().id();
        let tokio = tokio();
        let sum = tokio.block_on(async {
            let innermost = ours(&tokio);
            // In Tokio's `block_on`, in a task of ours.
            let sum = block_in_place(|| {
                innermost.block_on(async {
                    let id = preemptive::runtime::Handle::current().id();
                    assert_ne!(id, outermost);
                    let task = preemptive::spawn(async move {
                        assert_eq!(preemptive::runtime::Handle::current().id(), id);
                        sleep(Duration::from_millis(1)).await;
                        busy(WORK);
                        tokio::runtime::Handle::current().block_on(async {
                            sleep(Duration::from_millis(1)).await;
                            1
                        })
                    });
                    busy(WORK);
                    task.await.unwrap() + tokio::spawn(async { 10 }).await.unwrap()
                })
            });
            // The end of a runtime waits for its tasks, so a task says that it may.
            preemptive::task::block_in_place(|| drop(innermost));
            assert_eq!(preemptive::runtime::Handle::current().id(), outermost);
            sum + preemptive::spawn(async { 100 }).await.unwrap()
        });
        assert_eq!(sum, 111);
    });
}
