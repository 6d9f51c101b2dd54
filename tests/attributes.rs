//! `#[preemptive::main]` and `#[preemptive::test]` make the runtime that they say, and run their function on it.

mod support;

use preemptive::runtime::{Handle, RuntimeFlavor};
use preemptive::time::{Duration, Instant, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[preemptive::test]
async fn a_test_without_arguments_has_a_runtime() {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::CurrentThread
    );
    let task = preemptive::spawn(async { 6 * 7 });
    assert_eq!(task.await.expect("no panic"), 42);
}

#[preemptive::test(worker_threads = 1, time_slice = "50us")]
async fn a_test_has_the_workers_and_slices_that_it_asks_for() {
    let metrics = Handle::current().metrics();
    assert_eq!(metrics.num_workers(), 1);
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            preemptive::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    while metrics.preemptions() < 20 {
        sleep(Duration::from_micros(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        hog.await.expect("no panic");
    }
}

#[preemptive::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_may_name_its_flavour() {
    assert_eq!(Handle::current().metrics().num_workers(), 2);
}

#[preemptive::test]
async fn a_test_may_return_a_result() -> Result<(), std::num::ParseIntError> {
    let number: u32 = "17".parse()?;
    assert_eq!(number, 17);
    Ok(())
}

#[preemptive::test]
#[should_panic(expected = "as it should")]
async fn a_panic_fails_the_test() {
    preemptive::task::yield_now().await;
    panic!("as it should");
}

/// As a program's `main`, but that it can be called.
#[preemptive::main(worker_threads = 3)]
async fn program() -> usize {
    Handle::current().metrics().num_workers()
}

#[test]
fn a_main_function_has_the_workers_that_it_asks_for_and_returns_its_value() {
    assert_eq!(program(), 3);
    assert!(Handle::try_current().is_err(), "its runtime is gone");
}

#[preemptive::test(start_paused = true)]
async fn a_test_may_start_with_its_clock_paused() {
    let start = Instant::now();
    let task = preemptive::spawn(sleep(Duration::from_secs(3600)));
    sleep(Duration::from_secs(3601)).await;
    assert!(task.is_finished());
    assert_eq!(start.elapsed(), Duration::from_secs(3601));
}

#[preemptive::test(flavor = "current_thread", start_paused = false)]
async fn a_test_may_run_on_its_own_thread_with_a_clock_that_runs() {
    let not_send = std::rc::Rc::new(3);
    let start = Instant::now();
    sleep(Duration::from_millis(*not_send)).await;
    assert!(start.elapsed() >= Duration::from_millis(3));
    preemptive::time::pause();
}

#[preemptive::main(flavor = "current_thread", start_paused = true)]
async fn paused_program(hours: u32) -> Duration {
    let start = Instant::now();
    sleep(hours * Duration::from_secs(3600)).await;
    start.elapsed()
}

#[test]
fn a_main_function_may_start_with_its_clock_paused() {
    assert_eq!(paused_program(5), Duration::from_secs(5 * 3600));
}
