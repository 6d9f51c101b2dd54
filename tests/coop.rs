//! Tokio's functions around its budget: code that uses them runs, and starves nobody.

mod support;

use preemptive::task::coop;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use support::load::{SHORT, block_on, runtime, wait_until};

#[test]
fn nothing_makes_a_poll_wait() {
    let mut context = Context::from_waker(Waker::noop());
    // Outside of a runtime, and more often than any budget has pieces.
    for _ in 0..1_000 {
        assert!(coop::has_budget_remaining());
        let Poll::Ready(budget) = coop::poll_proceed(&mut context) else {
            panic!("it waits")
        };
        budget.made_progress();
        drop(coop::poll_proceed(&mut context));
        assert!(pin!(coop::consume_budget()).poll(&mut context).is_ready());
    }
}

#[test]
fn wrapped_futures_are_what_they_were() {
    let runtime = runtime(1, SHORT);
    let polls = |mut left: u32| {
        poll_fn(move |context| {
            ready!(coop::poll_proceed(context)).made_progress();
            left -= 1;
            match left {
                0 => Poll::Ready("done"),
                _ => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
    };
    let both = async {
        (
            coop::cooperative(polls(3)).await,
            coop::unconstrained(polls(300)).await,
        )
    };
    assert_eq!(block_on(&runtime, both), ("done", "done"));
}

#[test]
fn a_task_that_is_always_ready_starves_nobody() {
    let runtime = runtime(1, SHORT);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let started = Arc::new(AtomicBool::new(false));
    let starts = started.clone();
    let hog = runtime.spawn(coop::unconstrained(async move {
        starts.store(true, Ordering::SeqCst);
        while !stopped.load(Ordering::Relaxed) {
            preemptive::task::consume_budget().await;
        }
    }));
    wait_until("the hog runs", || started.load(Ordering::SeqCst));
    block_on(&runtime, runtime.spawn(async {})).unwrap();
    assert!(!hog.is_finished());
    stop.store(true, Ordering::Relaxed);
    block_on(&runtime, hog).unwrap();
}
