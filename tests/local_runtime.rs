//! Local runtimes, and others that poll at home only: their tasks, their timers, and whose threads they belong to.

mod support;

use preemptive::runtime::{Builder, Handle, LocalOptions, LocalRuntime};
use preemptive::task::{spawn_local, yield_now};
use preemptive::time::{Duration, Instant, sleep, sleep_until, timeout};
use std::cell::Cell;
use std::future::pending;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use support::load::{LONG, SHORT, message, spin_until};

fn local_runtime() -> LocalRuntime {
    LocalRuntime::new().expect("a local runtime")
}

#[test]
fn a_local_runtime_runs_tasks_that_are_not_send() {
    let runtime = local_runtime();
    let shared = Rc::new(Cell::new(0));
    let before = {
        let shared = shared.clone();
        runtime.spawn_local(async move { shared.set(shared.get() + 1) })
    };
    let guarded = {
        let _guard = runtime.enter();
        let shared = shared.clone();
        spawn_local(async move { shared.set(shared.get() + 1) })
    };
    runtime.block_on(async {
        before.await.unwrap();
        guarded.await.unwrap();
        let shared = shared.clone();
        spawn_local(async move {
            sleep(Duration::from_millis(1)).await;
            shared.set(shared.get() + 1);
        })
        .await
        .unwrap();
        // Also from a task that is `Send`.
        preemptive::spawn(async {
            spawn_local(async { Rc::new(1) });
        })
        .await
        .unwrap();
    });
    assert_eq!(shared.get(), 3);
}

#[test]
fn a_local_runtime_refuses_local_tasks_of_other_threads() {
    let runtime = local_runtime();
    let handle = runtime.handle().clone();
    let panic = thread::spawn(move || {
        let _guard = handle.enter();
        drop(spawn_local(async {}));
    })
    .join()
    .unwrap_err();
    let payload = panic;
    let text = message(&*payload).unwrap();
    assert!(
        text.contains("from the thread the runtime was created on"),
        "{text}"
    );
}

#[test]
fn a_local_runtime_ends_with_its_tasks_while_it_is_current() {
    struct Looks(Rc<Cell<bool>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.set(Handle::try_current().is_ok());
        }
    }
    for how in 0..3 {
        let saw = Rc::new(Cell::new(false));
        let looks = Looks(saw.clone());
        let runtime = local_runtime();
        runtime.spawn_local(async move {
            pending::<()>().await;
            drop(looks);
        });
        runtime.block_on(yield_now());
        match how {
            0 => drop(runtime),
            1 => runtime.shutdown_background(),
            _ => runtime.shutdown_timeout(LONG),
        }
        assert!(saw.get(), "ended in way {how}");
    }
}

#[test]
fn a_multi_thread_builder_makes_no_local_runtime() {
    let panic = catch_unwind(|| {
        let _ = Builder::new_multi_thread().build_local(LocalOptions::default());
    });
    let payload = panic.unwrap_err();
    let text = message(&*payload).unwrap();
    assert!(text.contains("not supported for LocalRuntime"), "{text}");
}

#[test]
fn home_only_polls_every_task_under_the_callers_identity() {
    let runtime = Builder::new_current_thread()
        .time_slice(SHORT)
        .home_only(true)
        .build()
        .unwrap();
    let here = thread::current().id();
    let preemptions = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let preemptions = preemptions.clone();
                preemptive::spawn(async move {
                    for _ in 0..10 {
                        // Nobody else of this runtime is in the middle of a poll, however long it takes.
                        assert_eq!(preemptions.fetch_add(1, Ordering::SeqCst), 0);
                        for _ in 0..30_000 {
                            std::hint::spin_loop();
                        }
                        assert_eq!(thread::current().id(), here);
                        preemptions.fetch_sub(1, Ordering::SeqCst);
                        sleep(Duration::from_micros(100)).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            timeout(LONG, task).await.expect("in time").unwrap();
        }
    });
    assert_eq!(runtime.metrics().preemptions(), 0);
}

#[test]
fn a_local_runtime_may_be_told_to_preempt() {
    let runtime = Builder::new_current_thread()
        .home_only(false)
        .build_local(LocalOptions::default())
        .unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    let hog = runtime.spawn_local(async move {
        spin_until("the ticker has ticked", || seen.load(Ordering::Relaxed));
    });
    runtime.handle().spawn(async move {
        sleep(Duration::from_millis(2)).await;
        done.store(true, Ordering::Relaxed);
    });
    runtime.block_on(hog).unwrap();
}

#[test]
fn timers_of_a_local_runtime_are_on_time_whatever_its_tasks_do() {
    // One that always wakes itself, so that the runtime is never idle, and nothing interrupts it.
    const TIMERS: u32 = 50;
    const LATE: u32 = 2_000;
    let runtime = LocalRuntime::new().expect("a local runtime");
    let deadline = Rc::new(Cell::new(None));
    let (worst, seen) = (Rc::new(Cell::new(0)), deadline.clone());
    let most = worst.clone();
    runtime.spawn_local(async move {
        let mut late = 0;
        loop {
            let is_due = seen.get().is_some_and(|deadline| Instant::now() > deadline);
            late = if is_due { late + 1 } else { 0 };
            most.set(most.get().max(late));
            yield_now().await;
        }
    });
    runtime.block_on(async {
        for _ in 0..TIMERS {
            let at = Instant::now() + Duration::from_millis(1);
            deadline.set(Some(at));
            sleep_until(at).await;
            deadline.set(None);
        }
    });
    let worst = worst.get();
    assert!(worst < LATE, "a timer was late by {worst} polls of a task");
}

#[test]
fn a_local_runtime_that_was_leaked_refuses_later_threads() {
    // The next thread nearly always gets the thread pointer of the one before.
    for _ in 0..10 {
        let handle = thread::spawn(|| {
            let runtime = LocalRuntime::new().expect("a local runtime");
            let handle = runtime.handle().clone();
            std::mem::forget(runtime);
            handle
        })
        .join()
        .unwrap();
        let payload = thread::spawn(move || {
            let _guard = handle.enter();
            drop(spawn_local(async {}));
        })
        .join()
        .unwrap_err();
        let text = message(&*payload).unwrap();
        assert!(
            text.contains("the thread the runtime was created on"),
            "{text}"
        );
    }
}
