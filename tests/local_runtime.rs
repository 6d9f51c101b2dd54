//! Local runtimes: their timers.

use preemptive::runtime::LocalRuntime;
use preemptive::task::yield_now;
use preemptive::time::{Duration, Instant, sleep_until};
use std::cell::Cell;
use std::rc::Rc;

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
