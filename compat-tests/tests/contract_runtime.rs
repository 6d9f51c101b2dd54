//! The rest of the contract between a runtime and its tasks: timers, blocking closures, yielding, and the runtime's end.

#[macro_use]
mod support;

use compat_tests::{Failure, Runtime, text};
use std::future::{pending, poll_fn};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use support::{LONG, Log, PanicsInDrop, on, quiet};

contract! {
    timers_are_never_early_and_may_be_zero: timers,
    everything_is_dropped_at_the_end: shutdown,
    blocking_closures_join_like_tasks: blocking,
    tasks_that_yield_let_others_go: yields,
    a_chain_of_tasks_passes_values_on: chain,
}

fn timers<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        for millis in [0, 1, 5] {
            let (start, duration) = (Instant::now(), Duration::from_millis(millis));
            R::sleep(duration).await;
            seen.push(text(start.elapsed() >= duration));
        }
        let zero = Duration::ZERO;
        seen.push(text(R::timeout(zero, async { 3 }).await));
        seen.push(text(R::timeout(zero, pending::<()>()).await));
        seen.push(text(R::timeout(Duration::MAX, async { 4 }).await));
        let endless = R::timeout(Duration::from_millis(2), R::sleep(Duration::MAX));
        seen.push(text(endless.await));
        let log = Log::default();
        let guard = log.guard("given up");
        let given_up = R::timeout(Duration::from_millis(2), async move {
            let _guard = guard;
            pending::<()>().await
        });
        seen.push(text(given_up.await));
        seen.extend(log.events());
        seen
    })
}

/// At the end of its life: wakes its own task and looks for the runtime.
struct Last<R: Runtime> {
    waker: Waker,
    saw: mpsc::Sender<bool>,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Drop for Last<R> {
    fn drop(&mut self) {
        self.waker.wake_by_ref();
        self.saw.send(R::is_current()).unwrap();
    }
}

fn shutdown<R: Runtime>() -> (usize, Vec<bool>, bool) {
    quiet();
    let runtime = R::new();
    let (log, (sender, saw)) = (Log::default(), mpsc::channel());
    let (started, has_started) = mpsc::channel();
    let mut left = None;
    runtime.block_on(async {
        for _ in 0..20 {
            let (guard, saw, started) = (log.guard("task"), sender.clone(), started.clone());
            drop(R::spawn(async move {
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                let last = Last::<R> {
                    waker,
                    saw,
                    _runtime: PhantomData,
                };
                let _all = (last, guard);
                started.send(()).unwrap();
                pending::<()>().await;
            }));
        }
        // Panics in destructors stop nothing.
        drop(R::spawn(async {
            let _panics = PanicsInDrop;
            pending::<()>().await
        }));
        left = Some(R::spawn(pending::<()>()));
    });
    for _ in 0..20 {
        has_started.recv_timeout(LONG).unwrap();
    }
    runtime.end();
    drop(sender);
    let left = left.expect("it was spawned");
    let cancelled = futures::executor::block_on(left) == Err(Failure::Cancelled);
    (log.events().len(), saw.iter().collect(), cancelled)
}

fn blocking<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let panics = R::spawn_blocking(|| -> () { panic!("expected: blocking") });
        let mut seen = vec![
            text(R::spawn_blocking(|| 3).await),
            text(panics.await),
            text(R::spawn_blocking(R::is_current).await),
        ];
        let (sender, receiver) = mpsc::channel();
        let (started, is_started) = mpsc::channel();
        let task = R::spawn_blocking(move || {
            started.send(()).unwrap();
            receiver.recv_timeout(LONG).unwrap()
        });
        while is_started.try_recv().is_err() {
            R::yield_now().await;
        }
        task.abort();
        sender.send("once it runs it is not aborted").unwrap();
        seen.push(text(task.await));
        seen
    })
}

fn yields<R: Runtime>() -> usize {
    on::<R, _>(async {
        let turns = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let turns = turns.clone();
                R::spawn(async move {
                    for _ in 0..20 {
                        turns.fetch_add(1, Ordering::SeqCst);
                        R::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        turns.load(Ordering::SeqCst)
    })
}

fn chain<R: Runtime>() -> Result<u32, Failure> {
    on::<R, _>(async {
        let mut last = R::spawn(async { 0 });
        for _ in 0..200 {
            last = R::spawn(async move { last.await.unwrap() + 1 });
        }
        last.await
    })
}
