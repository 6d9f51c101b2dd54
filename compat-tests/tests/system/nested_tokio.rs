//! Tokio's runtimes inside our tasks.

use crate::beside;
use crate::crowd::busy;
use crate::quiet::quiet;
use crate::together::together;
use compat_tests::message;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::block_in_place;
use tokio::time::sleep;

/// More than there are workers.
const TASKS: usize = 6;
const WORK: Duration = Duration::from_micros(200);

/// What Tokio says of the code that calls this.
fn refused<T>(call: impl FnOnce() -> T) -> bool {
    quiet();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => false,
        Err(payload) => {
            let text = message(&*payload).unwrap_or_default();
            assert!(text.contains("from within a runtime"), "{text}");
            true
        }
    }
}

#[test]
fn a_task_waits_in_tokios_block_on_for_other_tasks() {
    beside(async {
        together(TASKS, |number| async move {
            for _ in 0..3 {
                let (sender, receiver) = oneshot::channel();
                // Would wait for ever if those that block kept the workers.
                let answers = preemptive::spawn(async move {
                    sleep(Duration::from_millis(1)).await;
                    busy(WORK);
                    sender.send(number).unwrap();
                });
                let answer = Handle::current().block_on(async {
                    busy(WORK);
                    let (answer, ()) = tokio::join!(receiver, sleep(Duration::from_millis(2)));
                    // Tokio's thread-locals say that this is inside a runtime; other tasks' do not.
                    assert!(refused(|| Handle::current().block_on(async {})));
                    answer.unwrap()
                });
                assert_eq!(answer, number);
                answers.await.unwrap();
                // Outside again, on whatever worker this is now.
                Handle::current().block_on(async {});
            }
        })
        .await;
    });
}

#[test]
fn block_in_place_is_allowed_wherever_our_tasks_call_it() {
    beside(async {
        together(TASKS, |number| async move {
            let blocks = || {
                busy(WORK);
                std::thread::sleep(WORK);
                Handle::current().block_on(async { sleep(WORK).await })
            };
            block_in_place(blocks);
            Handle::current().block_on(async {
                assert!(refused(|| Handle::current().block_on(async {})));
                block_in_place(|| {
                    blocks();
                    block_in_place(blocks);
                    let (sender, receiver) = oneshot::channel();
                    drop(preemptive::spawn(async move { sender.send(number) }));
                    assert_eq!(receiver.blocking_recv(), Ok(number));
                });
                assert!(refused(|| Handle::current().block_on(async {})));
            });
        })
        .await;
    });
}

#[test]
fn tasks_make_use_and_drop_runtimes_of_tokio() {
    beside(async {
        together(TASKS, |number| async move {
            let mut builder = if number % 2 == 0 {
                Builder::new_current_thread()
            } else {
                Builder::new_multi_thread()
            };
            let inner = builder.worker_threads(1).enable_all().build().unwrap();
            let outer = Handle::current().id();
            let (sender, receiver) = oneshot::channel();
            let sends = preemptive::spawn(async move {
                busy(WORK);
                sender.send(number).unwrap();
            });
            let sum = inner.block_on(async {
                assert_ne!(Handle::current().id(), outer);
                let task = tokio::spawn(async {
                    sleep(Duration::from_millis(1)).await;
                    100
                });
                busy(WORK);
                // A task of this runtime, one of ours, and one of ours that the inner runtime waits for.
                let ours = preemptive::spawn(async { 1_000 });
                task.await.unwrap() + receiver.await.unwrap() + ours.await.unwrap()
            });
            assert_eq!(sum, 1_100 + number);
            assert_eq!(Handle::current().id(), outer);
            sends.await.unwrap();
            // Tokio forbids this to its own tasks.
            drop(inner);
        })
        .await;
    });
}

#[test]
fn local_sets_of_tokio_are_driven_by_our_tasks() {
    beside(async {
        let sums = together(4, |number| async move {
            // Not `Send`: it lives within one poll.
            let local = tokio::task::LocalSet::new();
            let all = local.run_until(async {
                let shared = std::rc::Rc::new(std::cell::Cell::new(0));
                let tasks: Vec<_> = (0..10)
                    .map(|part| {
                        let shared = shared.clone();
                        tokio::task::spawn_local(async move {
                            busy(Duration::from_micros(60));
                            tokio::task::yield_now().await;
                            sleep(Duration::from_micros(100)).await;
                            shared.set(shared.get() + part * number);
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                shared.get()
            });
            Handle::current().block_on(all)
        })
        .await;
        assert_eq!(sums, [0, 45, 90, 135]);
    });
}

#[test]
fn threads_of_our_blocking_pool_have_entered_it_too() {
    beside(async {
        let here = Handle::current().id();
        let numbers = together(TASKS, |number| async move {
            let blocks = move || {
                assert_eq!(Handle::current().id(), here);
                Handle::current().block_on(async {
                    sleep(Duration::from_millis(1)).await;
                    tokio::fs::metadata("/").await.unwrap();
                    number
                })
            };
            preemptive::task::spawn_blocking(blocks).await.unwrap()
        })
        .await;
        assert_eq!(numbers, (0..TASKS).collect::<Vec<_>>());
    });
}
