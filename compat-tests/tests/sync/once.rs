//! `OnceCell` and `SetOnce`.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, SetOnce, oneshot};

#[test]
fn a_cell_is_initialised_once_by_whoever_comes_first() {
    Crowd::new().run(async {
        static CELL: OnceCell<Vec<usize>> = OnceCell::const_new();
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let places = together(16, |number| async move {
            let value = CELL
                .get_or_init(|| async move {
                    RUNS.fetch_add(1, Ordering::SeqCst);
                    busy(Duration::from_micros(300));
                    preemptive::task::yield_now().await;
                    vec![number; 100]
                })
                .await;
            assert!(value.iter().all(|entry| *entry == value[0]));
            value.as_ptr() as usize
        })
        .await;
        assert_eq!(RUNS.load(Ordering::SeqCst), 1);
        assert!(places.iter().all(|place| *place == places[0]));
        assert!(CELL.set(Vec::new()).unwrap_err().is_already_init_err());
    });
}

#[test]
fn initialisers_that_fail_or_are_cancelled_leave_it_to_the_next() {
    Crowd::new().run(async {
        let cell = Arc::new(OnceCell::new());
        // In the middle of it when it is aborted.
        let (sender, begun) = oneshot::channel();
        let first = cell.clone();
        let cancelled = preemptive::spawn(async move {
            let never = || async {
                sender.send(()).unwrap();
                std::future::pending::<usize>().await
            };
            first.get_or_init(never).await;
        });
        begun.await.unwrap();
        assert!(cell.set(1).unwrap_err().is_initializing_err());
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());

        let tries = Arc::new(AtomicUsize::new(0));
        let outcomes = together(8, |number| {
            let (cell, tries) = (cell.clone(), tries.clone());
            async move {
                let fails_thrice = || async {
                    busy(Duration::from_micros(150));
                    match tries.fetch_add(1, Ordering::SeqCst) {
                        0..3 => Err(number),
                        _ => Ok(number),
                    }
                };
                cell.get_or_try_init(fails_thrice).await.copied()
            }
        })
        .await;
        let value = *cell.get().unwrap();
        assert_eq!(outcomes.iter().filter(|end| end.is_err()).count(), 3);
        assert!(outcomes.iter().flatten().all(|seen| *seen == value));
        assert_eq!(tries.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn one_of_many_sets_a_value_and_all_see_that() {
    Crowd::new().run(async {
        for _ in 0..20 {
            let once = Arc::new(SetOnce::new());
            let seen = together(12, |number| {
                let once = once.clone();
                async move {
                    // Some set, some wait, in a different order every time.
                    let won = number % 2 == 0 && {
                        busy(Duration::from_micros(20 * number as u64));
                        once.set(number).is_ok()
                    };
                    (*once.wait().await, won)
                }
            })
            .await;
            let winners: Vec<_> = (0..12).filter(|number| seen[*number].1).collect();
            let [winner] = winners[..] else {
                panic!("{winners:?} have won")
            };
            assert!(seen.iter().all(|(value, _)| *value == winner));
            assert_eq!(once.get(), Some(&winner));
        }
    });
}
