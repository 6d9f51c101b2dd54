//! Local runtimes: their timers, and whose threads they belong to.

mod support;

use preemptive::runtime::LocalRuntime;
use preemptive::task::{spawn_local, yield_now};
use preemptive::time::{Duration, Instant, sleep_until};
use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use support::load::message;

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
