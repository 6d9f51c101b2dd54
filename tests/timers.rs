//! Sleeping and timing out: never early, never lost, in order, whatever else runs.

mod support;

use preemptive::runtime::Runtime;
use preemptive::task;
use preemptive::time::{Instant, interval, sleep, sleep_until, timeout, timeout_at};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::load::{Drops, Hogs, LONG, SHORT, block_on, quiet, runtime, wait_until};
use support::pressure::Numbers;

#[test]
fn no_sleep_ends_early_and_none_is_lost_beside_hogs() {
    for workers in [1, 2] {
        let runtime = runtime(workers, SHORT);
        let hogs = Hogs::start(&runtime, 3);
        let mut numbers = Numbers::of_now();
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                let duration = Duration::from_micros(numbers.below(30_000));
                runtime.spawn(async move {
                    for _ in 0..3 {
                        let start = Instant::now();
                        sleep(duration).await;
                        assert!(start.elapsed() >= duration);
                    }
                })
            })
            .collect();
        for task in tasks {
            block_on(&runtime, task).unwrap();
        }
        wait_until("the hogs are preempted", || {
            runtime.metrics().preemptions() > 0
        });
        hogs.stop(&runtime);
    }
}

#[test]
fn sleeps_of_one_task_end_in_the_order_of_their_deadlines() {
    let runtime = runtime(1, SHORT);
    let order = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now() + Duration::from_millis(5);
    let tasks: Vec<_> = [5, 1, 4, 2, 3]
        .map(|number| {
            let order = order.clone();
            runtime.spawn(async move {
                sleep_until(start + Duration::from_millis(10) * number).await;
                order.lock().unwrap().push((number, Instant::now()));
            })
        })
        .into();
    for task in tasks {
        block_on(&runtime, task).unwrap();
    }
    let order = order.lock().unwrap();
    for (number, at) in order.iter() {
        assert!(*at >= start + Duration::from_millis(10) * *number);
    }
    // Only on a machine that was late for more than one of them may two have changed places.
    let late = order
        .iter()
        .any(|(number, at)| *at > start + Duration::from_millis(10) * (*number + 1));
    let numbers: Vec<u32> = order.iter().map(|(number, _)| *number).collect();
    assert!(late || numbers == [1, 2, 3, 4, 5], "{numbers:?}");
}

#[test]
fn a_ready_future_beats_any_timeout() {
    let runtime = runtime(2, SHORT);
    block_on(&runtime, async {
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
        assert_eq!(timeout_at(Instant::now(), ready(2)).await, Ok(2));
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        let task = preemptive::spawn(timeout(Duration::ZERO, ready(3)));
        assert_eq!(task.await.unwrap(), Ok(3));
    });
}

#[test]
fn the_longest_duration_overflows_nothing() {
    let runtime = runtime(2, SHORT);
    let long = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(1 << 40),
    ];
    block_on(&runtime, async {
        for duration in long {
            assert_eq!(timeout(duration, ready(1)).await, Ok(1));
            let short = Duration::from_millis(1);
            assert!(timeout(short, sleep(duration)).await.is_err());
            assert!(
                timeout(short, timeout(duration, pending::<()>()))
                    .await
                    .is_err()
            );
            let mut far = pin!(sleep(duration));
            assert!(timeout(short, far.as_mut()).await.is_err());
            far.as_mut().reset(Instant::now());
            far.await;
            let mut ticks = interval(duration);
            ticks.tick().await;
            assert!(timeout(short, ticks.tick()).await.is_err());
        }
    });
}

#[test]
fn a_timeout_drops_the_future_it_gives_up_when_it_is_dropped() {
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    block_on(&runtime, async {
        for number in 1..=50 {
            let guard = drops.guard();
            let future = async move {
                let _guard = guard;
                pending::<()>().await;
            };
            assert!(timeout(Duration::from_micros(100), future).await.is_err());
            assert_eq!(drops.count(), number);
        }
    });
}

#[test]
fn an_interval_keeps_its_step_beside_hogs() {
    let runtime = runtime(1, SHORT);
    let hogs = Hogs::start(&runtime, 2);
    let task = runtime.spawn(async {
        let period = Duration::from_millis(2);
        let start = Instant::now();
        let mut ticks = interval(period);
        let first = ticks.tick().await;
        assert!(first >= start);
        for number in 1..50 {
            assert_eq!(ticks.tick().await, first + period * number);
            assert!(Instant::now() >= first + period * number);
        }
    });
    block_on(&runtime, task).unwrap();
    assert!(runtime.metrics().preemptions() > 0);
    hogs.stop(&runtime);
}

/// Remembers that it was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_sleep_can_be_polled_by_anybody_and_dropped_by_anybody() {
    let (one, two) = (runtime(1, SHORT), runtime(1, SHORT));
    // Made in one runtime, awaited in another, on a plain thread, and with a waker of its own.
    let in_one = |duration| {
        let _guard = one.enter();
        Box::pin(sleep(duration))
    };
    let task = two.spawn(in_one(Duration::from_millis(2)));
    block_on(&two, task).unwrap();
    block_on(&two, in_one(Duration::from_millis(2)));

    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut bare = in_one(Duration::from_millis(2));
    let is_pending = bare
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending();
    wait_until("its waker is called", || {
        !is_pending || flag.0.load(Ordering::SeqCst)
    });
    assert!(
        bare.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );

    // Pending ones that go away elsewhere.
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    for _ in 0..200 {
        let mut far = in_one(LONG);
        assert!(
            far.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(two.spawn(async move { drop(far) }));
    }
    wait_until("all are gone", || two.metrics().num_alive_tasks() == 0);
    assert!(!flag.0.load(Ordering::SeqCst));
    assert_eq!(Arc::strong_count(&flag), 2, "a waker is left behind");
}

#[test]
fn a_sleep_that_outlives_its_runtime_panics_and_hangs_nobody() {
    quiet();
    let (one, two) = (runtime(1, SHORT), runtime(1, SHORT));
    let far = {
        let _guard = one.enter();
        Box::pin(sleep(LONG))
    };
    let task = two.spawn(far);
    wait_until("it waits", || two.metrics().polls() > 0);
    drop(one);
    assert!(block_on(&two, task).unwrap_err().is_panic());
}

#[test]
fn timers_need_a_runtime_and_say_so() {
    let caught = catch_unwind(|| drop(sleep(Duration::from_millis(1))));
    let payload = caught.unwrap_err();
    let text = (payload.downcast_ref::<&str>().map(|text| text.to_string()))
        .or_else(|| payload.downcast_ref::<String>().cloned());
    assert!(text.unwrap().contains("block_on"));
    let runtime = Runtime::new().unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { drop(interval(Duration::ZERO)) });
    }));
    assert!(caught.is_err());
}

#[test]
fn timers_that_are_reset_and_dropped_in_races_with_their_firing_wake_whom_they_should() {
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::start(&runtime, 2);
    let mut numbers = Numbers::of_now();
    let ended = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (seed, ended) = (numbers.next(), ended.clone());
            runtime.spawn(async move {
                let mut numbers = Numbers::new(seed);
                let mut moved = pin!(sleep(Duration::from_micros(50)));
                for _ in 0..200 {
                    let short = Duration::from_micros(numbers.below(200));
                    match numbers.below(4) {
                        0 => {
                            moved.as_mut().reset(Instant::now() + short);
                            moved.as_mut().await;
                        }
                        1 => {
                            let _ = timeout(short, moved.as_mut()).await;
                            moved.as_mut().reset(Instant::now() + short);
                        }
                        2 => {
                            let _ = timeout(short, sleep(short)).await;
                        }
                        _ => {
                            let task = preemptive::spawn(async move {
                                sleep(short).await;
                                task::yield_now().await;
                            });
                            let _ = timeout(short, task).await;
                        }
                    }
                }
                ended.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    for task in tasks {
        block_on(&runtime, task).unwrap();
    }
    assert_eq!(ended.load(Ordering::SeqCst), 8);
    hogs.stop(&runtime);
}
