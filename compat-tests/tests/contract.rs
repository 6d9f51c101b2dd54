//! The contract between a runtime and its tasks: how they are polled, how they end, and who learns of it.

#[macro_use]
mod support;

use compat_tests::{Failure, Runtime, text};
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;
use support::{LONG, Log, PanicsInDrop, on};

contract! {
    a_task_is_polled_once_per_wake: wakes,
    wakers_stay_usable_after_the_end: stale_wakers,
    wakers_of_one_task_are_equal: equal_wakers,
    a_future_is_dropped_before_its_joiner_goes_on: drop_order,
    locals_and_output_are_dropped_in_order: drop_order_inside,
    panics_are_contained_and_reported: panics,
    cancellation_is_reported: cancellation,
    handles_can_be_polled_moved_and_dropped: handles,
}

fn wakes<R: Runtime>() -> Vec<usize> {
    on::<R, _>(async {
        let mut counts = Vec::new();
        // How often it is woken in its first poll.
        for wakes in [1, 3] {
            let polls = Arc::new(AtomicUsize::new(0));
            let count = polls.clone();
            let task = R::spawn(poll_fn(move |context| {
                if count.fetch_add(1, Ordering::SeqCst) == 3 {
                    return Poll::Ready(());
                }
                (0..wakes).for_each(|_| context.waker().wake_by_ref());
                Poll::Pending
            }));
            task.await.unwrap();
            counts.push(polls.load(Ordering::SeqCst));
        }
        // And without any wake: once.
        let polls = Arc::new(AtomicUsize::new(0));
        let count = polls.clone();
        let task = R::spawn(poll_fn(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Poll::<()>::Pending
        }));
        while polls.load(Ordering::SeqCst) == 0 {
            R::yield_now().await;
        }
        R::sleep(Duration::from_millis(5)).await;
        task.abort();
        task.await.unwrap_err();
        counts.push(polls.load(Ordering::SeqCst));
        counts
    })
}

fn stale_wakers<R: Runtime>() -> usize {
    on::<R, _>(async {
        let polls = Arc::new(AtomicUsize::new(0));
        let (count, (sender, wakers)) = (polls.clone(), mpsc::channel());
        let task = R::spawn(poll_fn(move |context| {
            count.fetch_add(1, Ordering::SeqCst);
            sender.send(context.waker().clone()).unwrap();
            Poll::Ready(())
        }));
        task.await.unwrap();
        let waker: Waker = wakers.recv_timeout(LONG).unwrap();
        for _ in 0..10 {
            waker.wake_by_ref();
            let another = waker.clone();
            assert!(another.will_wake(&waker));
            another.wake();
        }
        R::sleep(Duration::from_millis(2)).await;
        polls.load(Ordering::SeqCst)
    })
}

fn equal_wakers<R: Runtime>() -> Vec<bool> {
    on::<R, _>(async {
        let (mut last, mut equal) = (None::<Waker>, Vec::new());
        let task = R::spawn(poll_fn(move |context| {
            if let Some(last) = &last {
                equal.push(last.will_wake(context.waker()));
            }
            last = Some(context.waker().clone());
            context.waker().wake_by_ref();
            match equal.len() {
                3 => Poll::Ready(std::mem::take(&mut equal)),
                _ => Poll::Pending,
            }
        }));
        task.await.unwrap()
    })
}

fn drop_order<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let log = Log::default();
        for end in ["output", "panic", "abort"] {
            let guard = log.guard("future");
            let started = Arc::new(AtomicUsize::new(0));
            let has_started = started.clone();
            let task = R::spawn(async move {
                let _guard = guard;
                has_started.store(1, Ordering::SeqCst);
                R::yield_now().await;
                match end {
                    "output" => {}
                    "panic" => panic!("expected"),
                    _ => pending().await,
                }
            });
            while started.load(Ordering::SeqCst) == 0 {
                R::yield_now().await;
            }
            if end == "abort" {
                task.abort();
            }
            let outcome = task.await;
            log.add(format!("{end} joined: {}", text(outcome)));
        }
        log.events()
    })
}

fn drop_order_inside<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let log = Log::default();
        let (captured, inside, output) = (log.guard("captured"), log.clone(), log.guard("output"));
        let task = R::spawn(async move {
            let _first = inside.guard("first local");
            let _second = inside.guard("second local");
            R::yield_now().await;
            drop(captured);
            output
        });
        let output = task.await;
        log.add("joined");
        drop(output);
        // Detached: the output goes when the task ends.
        let (done, is_done) = mpsc::channel::<()>();
        let inside = log.clone();
        drop(R::spawn(async move {
            R::yield_now().await;
            (inside.guard("detached output"), done)
        }));
        while is_done.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            R::yield_now().await;
        }
        log.events()
    })
}

fn panics<R: Runtime>() -> Vec<Result<u32, Failure>> {
    on::<R, _>(async {
        let mut outcomes = vec![
            R::spawn(async { panic!("expected: at once") }).await,
            R::spawn(async {
                R::yield_now().await;
                panic!("expected: {}", "formatted")
            })
            .await,
            R::spawn(async { std::panic::panic_any(17_u8) }).await,
            R::spawn(async {
                let _panics = PanicsInDrop;
                4
            })
            .await,
        ];
        // In a destructor, in the course of an abort.
        let (started, is_started) = mpsc::channel();
        let task = R::spawn(async move {
            let _panics = PanicsInDrop;
            started.send(()).unwrap();
            pending().await
        });
        while is_started.try_recv().is_err() {
            R::yield_now().await;
        }
        task.abort();
        outcomes.push(task.await);
        // In the destructor of an output that nobody asked for.
        let task = R::spawn(async { PanicsInDrop });
        while !task.is_finished() {
            R::yield_now().await;
        }
        drop(task);
        outcomes.push(R::spawn(async { 5 }).await);
        outcomes
    })
}

fn cancellation<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        // Before it was ever polled, or right after.
        let task = R::spawn(pending::<()>());
        task.abort();
        task.abort();
        seen.push(text(task.await));
        // After its end.
        let task = R::spawn(async { 3 });
        while !task.is_finished() {
            R::yield_now().await;
        }
        task.abort();
        seen.push(text(task.await));
        // From another task.
        let task = R::spawn(pending::<()>());
        let abort = task.aborter();
        R::spawn(async move { abort() }).await.unwrap();
        seen.push(text(task.await));
        // By itself: at the next await.
        let (sender, own) = mpsc::channel::<Box<dyn Fn() + Send>>();
        let log = Log::default();
        let inside = log.clone();
        let task = R::spawn(async move {
            own.recv_timeout(LONG).unwrap()();
            inside.add("aborted itself");
            R::yield_now().await;
            inside.add("went on");
        });
        sender.send(task.aborter()).unwrap();
        seen.push(text(task.await));
        seen.extend(log.events());
        seen
    })
}

fn handles<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        let (sender, receiver) = mpsc::channel();
        let mut task = R::spawn(async move {
            while receiver.try_recv().is_err() {
                R::yield_now().await;
            }
            "output"
        });
        seen.push(text(futures::poll!(&mut task).is_pending()));
        seen.push(text(task.is_finished()));
        sender.send(()).unwrap();
        seen.push(text((&mut task).await));
        seen.push(text(task.is_finished()));
        // Joined twice: a panic of whoever joins.
        let twice = R::spawn(async move { task.await.unwrap() });
        seen.push(text(matches!(twice.await, Err(Failure::Panicked(_)))));
        // A handle that moves to another task while it is waited for.
        let mut inner = R::spawn(async {
            R::sleep(Duration::from_millis(3)).await;
            7
        });
        let _ = futures::poll!(&mut inner);
        seen.push(text(R::spawn(inner).await));
        seen
    })
}
