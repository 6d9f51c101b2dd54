//! rayon's pools, called from tasks and calling back.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use futures::future::join_all;
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn pool() -> Arc<rayon::ThreadPool> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(2);
    Arc::new(builder.build().unwrap())
}

#[test]
fn parallel_iterators_run_inside_polls() {
    Crowd::new().run(async {
        together(5, |number| async move {
            for turn in 0..5_u64 {
                // The poll waits here, on rayon's threads.
                let sum: u64 = (0..20_000_u64)
                    .into_par_iter()
                    .map(|value| value ^ turn)
                    .sum();
                assert_eq!(sum, (0..20_000_u64).map(|value| value ^ turn).sum::<u64>());
                let mut values: Vec<_> = (0..5_000_u64)
                    .map(|value| (value * 7_919 + number as u64) % 5_003)
                    .collect();
                values.par_sort_unstable();
                assert!(values.is_sorted());
                busy(Duration::from_micros(150));
            }
        })
        .await;
    });
}

#[test]
fn scopes_borrow_from_the_stack_of_a_poll() {
    Crowd::new().run(async {
        let pool = pool();
        together(4, |_| {
            let pool = pool.clone();
            async move {
                let mut parts = [0_u64; 8];
                let scale = 3;
                pool.scope(|scope| {
                    for (place, part) in parts.iter_mut().enumerate() {
                        let scale = &scale;
                        scope.spawn(move |_| {
                            busy(Duration::from_micros(100));
                            *part = place as u64 * scale;
                        });
                    }
                    // This closure is on a thread of rayon's: nothing of ours is current there.
                    assert!(preemptive::runtime::Handle::try_current().is_err());
                });
                assert_eq!(parts.iter().sum::<u64>(), 84);
                let joined = pool.install(|| {
                    rayon::join(
                        || parts[..4].iter().sum::<u64>(),
                        || parts[4..].iter().sum::<u64>(),
                    )
                });
                assert_eq!(joined, (18, 66));
                // Here, where its threads only help.
                let mut doubled = [0; 8];
                rayon::in_place_scope(|scope| {
                    let (left, right) = doubled.split_at_mut(4);
                    scope.spawn(|_| left.copy_from_slice(&parts[..4]));
                    busy(Duration::from_micros(150));
                    right.copy_from_slice(&parts[4..]);
                });
                assert_eq!(doubled, parts);
                let panics = || {
                    pool.install(|| std::panic::resume_unwind(Box::new("expected")));
                };
                let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
                assert!(panics.is_err());
            }
        })
        .await;
    });
}

#[test]
fn its_threads_start_our_tasks_and_wait_for_them() {
    Crowd::new().run(async {
        let pool = pool();
        together(4, |number| {
            let pool = pool.clone();
            async move {
                let handle = preemptive::runtime::Handle::current();
                let done = Arc::new(AtomicUsize::new(0));
                let tasks: Vec<_> = pool.install(|| {
                    (0..40_usize)
                        .into_par_iter()
                        .map(|value| {
                            let done = done.clone();
                            handle.spawn(async move {
                                busy(Duration::from_micros(30));
                                done.fetch_add(1, Ordering::SeqCst);
                                value * number
                            })
                        })
                        .collect()
                });
                let values = join_all(tasks).await;
                let sum: usize = values.into_iter().map(Result::unwrap).sum();
                assert_eq!((sum, done.load(Ordering::SeqCst)), (780 * number, 40));
                // A thread of the pool waits for a task of ours, while a task of ours waits for the pool.
                let waited: Vec<_> = pool.install(|| {
                    (0..6_usize)
                        .into_par_iter()
                        .map(|value| {
                            handle.block_on(async move {
                                let task = preemptive::spawn(async move {
                                    busy(Duration::from_micros(150));
                                    value + number
                                });
                                task.await.unwrap()
                            })
                        })
                        .collect()
                });
                assert_eq!(waited, (number..number + 6).collect::<Vec<_>>());
                // Without waiting in a poll: the answer comes through a channel.
                let (sender, receiver) = futures::channel::oneshot::channel();
                pool.spawn(move || sender.send(number).unwrap());
                assert_eq!(receiver.await, Ok(number));
            }
        })
        .await;
    });
}
