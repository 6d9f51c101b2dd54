//! Cancelling tasks: idle, running, preempted, finished, and in races with their own ends.

mod support;

use preemptive::task::{self, JoinHandle};
use preemptive::time::{sleep, timeout};
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;
use support::load::{
    Drops, Hogs, LONG, PanicsInDrop, SHORT, block_on, quiet, runtime, spin_until, wait_until,
};

#[test]
fn an_idle_task_is_dropped_before_its_joiner_goes_on() {
    let runtime = runtime(2, SHORT);
    for _ in 0..500 {
        let drops = Drops::default();
        let (guard, started) = (drops.guard(), Arc::new(AtomicBool::new(false)));
        let is_started = started.clone();
        let task = runtime.spawn(async move {
            let _guard = guard;
            is_started.store(true, Ordering::SeqCst);
            pending::<()>().await;
        });
        wait_until("the task starts", || started.load(Ordering::SeqCst));
        task.abort();
        let error = block_on(&runtime, task).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(drops.count(), 1);
    }
}

#[test]
fn a_task_aborted_at_once_is_dropped_once_whatever_it_had_reached() {
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    const TASKS: usize = 2_000;
    for number in 0..TASKS {
        let guard = drops.guard();
        let task = runtime.spawn(async move {
            let _guard = guard;
            task::yield_now().await;
            number
        });
        task.abort();
        match block_on(&runtime, task) {
            Ok(output) => assert_eq!(output, number),
            Err(error) => assert!(error.is_cancelled()),
        }
        assert_eq!(drops.count(), number + 1);
    }
}

#[test]
fn a_hog_that_was_preempted_is_cancelled_at_its_next_await() {
    let runtime = runtime(1, SHORT);
    let hogs = Hogs::start(&runtime, 2);
    let drops = Drops::default();
    let (guard, go_on) = (drops.guard(), Arc::new(AtomicBool::new(false)));
    let may_end = go_on.clone();
    let (sender, receiver) = mpsc::channel();
    let victim = runtime.spawn(async move {
        let _guard = guard;
        sender.send("started").unwrap();
        spin_until("the test lets go", || may_end.load(Ordering::Relaxed));
        sender.send("still in its poll").unwrap();
        task::yield_now().await;
        sender.send("went on").unwrap();
    });
    assert_eq!(receiver.recv_timeout(LONG), Ok("started"));
    let before = runtime.metrics().preemptions();
    wait_until("the three preempt each other", || {
        runtime.metrics().preemptions() > before + 20
    });
    victim.abort();
    // An abort drops nothing by itself, and does not wait.
    assert_eq!(drops.count(), 0);
    assert!(!victim.is_finished());
    go_on.store(true, Ordering::SeqCst);
    assert!(block_on(&runtime, victim).unwrap_err().is_cancelled());
    assert_eq!(drops.count(), 1);
    assert_eq!(receiver.recv_timeout(LONG), Ok("still in its poll"));
    assert!(receiver.recv_timeout(LONG).is_err());
    hogs.stop(&runtime);
}

#[test]
fn a_task_that_completes_in_its_aborted_poll_keeps_its_output() {
    let runtime = runtime(1, SHORT);
    let (started, has_started) = mpsc::channel();
    let go_on = Arc::new(AtomicBool::new(false));
    let may_end = go_on.clone();
    let task = runtime.spawn(async move {
        started.send(()).unwrap();
        spin_until("the test lets go", || may_end.load(Ordering::Relaxed));
        "output"
    });
    has_started.recv_timeout(LONG).unwrap();
    task.abort();
    go_on.store(true, Ordering::SeqCst);
    assert_eq!(block_on(&runtime, task).unwrap(), "output");
}

#[test]
fn an_abort_after_completion_keeps_the_output() {
    let runtime = runtime(2, SHORT);
    let task = runtime.spawn(async { String::from("output") });
    wait_until("the task completes", || task.is_finished());
    let handle = task.abort_handle();
    task.abort();
    handle.abort();
    assert!(handle.is_finished());
    assert_eq!(block_on(&runtime, task).unwrap(), "output");
    // And once the output is taken as well.
    handle.abort();
}

#[test]
fn a_task_can_abort_itself() {
    let runtime = runtime(2, SHORT);
    let (sender, receiver) = mpsc::channel();
    let (send_handle, own_handle) = mpsc::channel::<task::AbortHandle>();
    let task = runtime.spawn(async move {
        own_handle.recv_timeout(LONG).unwrap().abort();
        sender.send("after the abort").unwrap();
        task::yield_now().await;
        sender.send("after the await").unwrap();
    });
    send_handle.send(task.abort_handle()).unwrap();
    assert!(block_on(&runtime, task).unwrap_err().is_cancelled());
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["after the abort"]);
}

#[test]
fn a_panic_in_a_destructor_during_an_abort_is_reported_as_a_panic() {
    quiet();
    let runtime = runtime(2, SHORT);
    let (started, has_started) = mpsc::channel();
    let task = runtime.spawn(async move {
        let _panics = PanicsInDrop;
        started.send(()).unwrap();
        pending::<()>().await;
    });
    has_started.recv_timeout(LONG).unwrap();
    task.abort();
    let error = block_on(&runtime, task).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    let payload = error.into_panic();
    assert_eq!(payload.downcast_ref(), Some(&"expected: in drop"));
}

#[test]
fn an_abort_wakes_a_joiner_that_waits_already() {
    let runtime = runtime(2, SHORT);
    for _ in 0..200 {
        let task = runtime.spawn(pending::<()>());
        let handle = task.abort_handle();
        let joiner = runtime.spawn(async move { task.await.unwrap_err().is_cancelled() });
        runtime.spawn(async move { handle.abort() });
        assert!(block_on(&runtime, joiner).unwrap());
    }
}

#[test]
fn giving_up_a_wait_neither_cancels_the_task_nor_loses_its_output() {
    let runtime = runtime(2, SHORT);
    let (sender, go_on) = mpsc::channel();
    block_on(&runtime, async {
        let mut task = preemptive::spawn(async move { go_on.recv_timeout(LONG).unwrap() });
        let wait = timeout(Duration::from_millis(5), &mut task).await;
        assert!(wait.is_err());
        sender.send(5).unwrap();
        assert_eq!(task.await.unwrap(), 5);
    });
}

#[test]
fn dropping_a_handle_detaches_the_task() {
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    for _ in 0..200 {
        let guard = drops.guard();
        drop(runtime.spawn(async move {
            sleep(Duration::from_micros(100)).await;
            guard
        }));
    }
    wait_until("all complete", || drops.count() == 200);
    wait_until("none is left", || runtime.metrics().num_alive_tasks() == 0);
}

#[test]
fn aborts_that_race_with_wakes_and_preemptions_lose_nothing() {
    const TASKS: usize = 300;
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::start(&runtime, 3);
    let before = runtime.metrics().preemptions();
    let mut rounds = 0;
    while rounds < 5 || runtime.metrics().preemptions() < before + 100 {
        rounds += 1;
        assert!(rounds < 5_000, "nothing is ever preempted");
        let drops = Drops::default();
        let completed = Arc::new(AtomicUsize::new(0));
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<JoinHandle<()>> = (0..TASKS)
            .map(|number| {
                let (guard, completed, wakers) = (drops.guard(), completed.clone(), wakers.clone());
                runtime.spawn(async move {
                    let _guard = guard;
                    for _ in 0..number % 7 {
                        task::yield_now().await;
                    }
                    let mut polls = 0;
                    poll_fn(|context| {
                        polls += 1;
                        wakers.lock().unwrap().push(context.waker().clone());
                        match polls {
                            1 => Poll::Pending,
                            _ => Poll::Ready(()),
                        }
                    })
                    .await;
                    completed.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                handles
                    .iter()
                    .rev()
                    .step_by(2)
                    .for_each(|handle| handle.abort())
            });
            scope.spawn(|| {
                for _ in 0..20 {
                    let woken = std::mem::take(&mut *wakers.lock().unwrap());
                    woken.iter().for_each(|waker| waker.wake_by_ref());
                    std::thread::yield_now();
                }
            });
        });
        let ended = block_on(&runtime, async {
            let mut ended = 0;
            for task in tasks {
                // Woken until it ends, in case its waker came late.
                let mut task = task;
                loop {
                    let wait = timeout(Duration::from_millis(1), &mut task).await;
                    let woken = std::mem::take(&mut *wakers.lock().unwrap());
                    woken.iter().for_each(|waker| waker.wake_by_ref());
                    match wait {
                        Ok(Ok(())) => break ended += 1,
                        Ok(Err(error)) => break assert!(error.is_cancelled()),
                        Err(_) => {}
                    }
                }
            }
            ended
        });
        assert_eq!(drops.count(), TASKS);
        assert_eq!(completed.load(Ordering::SeqCst), ended);
        assert!(ended >= TASKS / 2, "every other task was left alone");
    }
    hogs.stop(&runtime);
}

#[test]
fn a_blocking_closure_is_cancelled_before_it_starts_and_not_after() {
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let running = runtime.spawn_blocking(move || {
        started.send(()).unwrap();
        released.recv_timeout(LONG).unwrap()
    });
    has_started.recv_timeout(LONG).unwrap();
    let waiting = runtime.spawn_blocking(|| unreachable!("it was cancelled before"));
    running.abort();
    waiting.abort();
    release.send(7).unwrap();
    assert_eq!(block_on(&runtime, running).unwrap(), 7);
    assert!(block_on(&runtime, waiting).unwrap_err().is_cancelled());
}
