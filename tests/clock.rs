//! The clock of a current-thread runtime can be stopped, set forward, and goes on by itself when nothing is left to do.

mod support;

use preemptive::runtime::{Builder, LocalOptions};
use preemptive::task::yield_now;
use preemptive::time::{
    self, Duration, Instant, advance, interval, sleep, sleep_until, timeout, timeout_at,
};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use support::current_thread::{HOUR, is_ready, panic_of, paused};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_paused_clock_stands_still_and_a_resumed_one_goes_on_from_there() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let before = Instant::now();
        time::pause();
        let stopped = Instant::now();
        assert!(stopped >= before);
        thread::sleep(2 * MS);
        assert_eq!(Instant::now(), stopped);
        assert_eq!(stopped.elapsed(), Duration::ZERO);
        time::resume();
        thread::sleep(2 * MS);
        let resumed = Instant::now();
        assert!(resumed >= stopped + 2 * MS);
        // What it missed it does not make up for.
        assert!(resumed.into_std() + 2 * MS <= std::time::Instant::now());
        sleep(2 * MS).await;
        assert!(resumed.elapsed() >= 2 * MS);
    });
}

#[test]
fn a_resumed_clock_that_was_set_forward_stays_ahead_and_timers_go_by_it() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        advance(HOUR).await;
        time::resume();
        let real = std::time::Instant::now();
        let deadline = start + HOUR + 20 * MS;
        let mut early = pin!(sleep_until(start + HOUR));
        assert!(is_ready(early.as_mut()).await);
        sleep_until(deadline).await;
        assert!(Instant::now() >= deadline);
        assert!(real.elapsed() < HOUR / 2, "an hour of it had passed");
        assert!(Instant::now().into_std() > std::time::Instant::now() + HOUR / 2);
        time::pause();
        sleep(HOUR).await;
        assert!(start.elapsed() >= 2 * HOUR + 20 * MS);
    });
}

#[test]
fn idle_runtimes_go_to_the_next_deadline_exactly() {
    let real = std::time::Instant::now();
    let runtime = paused();
    let log = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = [5, 1, 4, 2, 3]
            .map(|hours| {
                let log = log.clone();
                preemptive::spawn(async move {
                    for turn in 1..=3 {
                        sleep(HOUR * hours + Duration::from_nanos(1)).await;
                        let wanted = (HOUR * hours + Duration::from_nanos(1)) * turn;
                        assert_eq!(start.elapsed(), wanted);
                        log.lock().unwrap().push(wanted);
                    }
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(start.elapsed(), 15 * HOUR + Duration::from_nanos(3));
    });
    let log = log.lock().unwrap();
    assert!(log.is_sorted(), "{log:?}");
    assert_eq!(log.len(), 15);
    assert!(real.elapsed() < HOUR);
}

#[test]
fn limits_and_ticks_go_by_the_paused_clock() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        assert!(timeout(HOUR, pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
        assert!(timeout_at(start + 2 * HOUR, sleep(9 * HOUR)).await.is_err());
        assert_eq!(start.elapsed(), 2 * HOUR);
        assert!(timeout(HOUR, sleep(HOUR / 2)).await.is_ok());
        let mut interval = interval(HOUR);
        let first = interval.tick().await;
        for tick in 0..100 {
            assert_eq!(first.elapsed(), tick * HOUR);
            assert_eq!(interval.tick().await, first + (tick + 1) * HOUR);
        }
        interval.reset_immediately();
        assert_eq!(interval.tick().await, Instant::now());
        interval.reset_after(MS);
        assert_eq!(interval.tick().await, Instant::now());
        assert_eq!(start.elapsed(), 2 * HOUR + HOUR / 2 + 100 * HOUR + MS);
    });
}

#[test]
fn advancing_wakes_at_once_and_lets_whom_it_wakes_go_first() {
    for in_task in [false, true] {
        // Where no poll is preempted, one that comes first has ended.
        let runtime = Builder::new_current_thread()
            .home_only(true)
            .start_paused(true)
            .build()
            .unwrap();
        let test = async {
            let start = Instant::now();
            let tasks: Vec<_> = (1..=9)
                .map(|hours| preemptive::spawn(sleep(hours * HOUR)))
                .collect();
            yield_now().await;
            for hours in 1..=9 {
                advance(HOUR - Duration::from_nanos(1)).await;
                assert!(!tasks[hours - 1].is_finished());
                advance(Duration::from_nanos(1)).await;
                assert_eq!(start.elapsed(), HOUR * hours as u32);
                let finished = tasks.iter().filter(|task| task.is_finished()).count();
                assert_eq!(finished, hours);
            }
            advance(Duration::ZERO).await;
            assert_eq!(start.elapsed(), 9 * HOUR);
        };
        if in_task {
            runtime.block_on(async { preemptive::spawn(test).await.unwrap() });
        } else {
            runtime.block_on(test);
        }
    }
}

#[test]
fn the_first_poll_of_advance_has_woken_what_is_due() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    paused().block_on(async {
        let mut sleeps: Vec<_> = (0..100)
            .map(|hours| Box::pin(sleep(hours * HOUR)))
            .collect();
        for sleep in &mut sleeps[1..] {
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }
        let mut advance = pin!(advance(50 * HOUR));
        assert!(!is_ready(advance.as_mut()).await);
        assert_eq!(count.0.load(Ordering::SeqCst), 50);
        for (hours, sleep) in sleeps.iter_mut().enumerate() {
            assert_eq!(sleep.as_mut().poll(&mut context).is_ready(), hours <= 50);
            assert_eq!(sleep.is_elapsed(), hours <= 50);
        }
        advance.await;
    });
}

#[test]
fn a_local_runtime_has_such_a_clock_too() {
    let runtime = Builder::new_current_thread()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    let order = Rc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [3, 1, 2]
        .map(|hours| {
            let order = Rc::clone(&order);
            runtime.spawn_local(async move {
                let start = Instant::now();
                sleep(hours * HOUR).await;
                assert_eq!(start.elapsed(), hours * HOUR);
                order.lock().unwrap().push(hours);
            })
        })
        .into();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn a_sleep_that_is_reset_to_the_past_is_over_at_once() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        let mut sleep = pin!(sleep(2 * HOUR));
        assert!(!is_ready(sleep.as_mut()).await);
        advance(HOUR).await;
        sleep.as_mut().reset(start + HOUR / 2);
        assert!(sleep.is_elapsed());
        assert!(is_ready(sleep.as_mut()).await);
        sleep.as_mut().reset(start + 3 * HOUR);
        assert!(!sleep.is_elapsed());
        sleep.await;
        assert_eq!(start.elapsed(), 3 * HOUR);
    });
}

#[test]
fn wrong_uses_panic_with_the_cure() {
    let runtime = paused();
    let text = panic_of(|| runtime.block_on(async { time::pause() }));
    assert!(text.starts_with("time is already frozen"), "{text}");
    let text = panic_of(|| runtime.block_on(advance(Duration::MAX)));
    assert!(text.starts_with("overflow when advancing"), "{text}");
    runtime.block_on(async { time::resume() });
    let text = panic_of(|| runtime.block_on(async { time::resume() }));
    assert!(text.starts_with("time is not frozen"), "{text}");
    let text = panic_of(|| runtime.block_on(advance(MS)));
    assert!(text.starts_with("time is not frozen"), "{text}");

    let threads = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let text = panic_of(|| threads.block_on(async { time::pause() }));
    assert!(text.contains("requires a current-thread runtime"), "{text}");
    let text = panic_of(|| threads.block_on(async { time::resume() }));
    assert!(text.starts_with("time is not frozen"), "{text}");

    for outside in [time::pause, time::resume] {
        let text = panic_of(outside);
        assert!(text.starts_with("there is no runtime here"), "{text}");
    }
    let error = Builder::new_multi_thread()
        .start_paused(true)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let built = Builder::new_multi_thread().start_paused(false).build();
    assert!(built.is_ok());
}

#[test]
fn the_longest_sleeps_end_by_themselves() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        sleep(Duration::MAX).await;
        assert!(start.elapsed() > 24 * 365 * 30 * HOUR / 2);
        // One that lies behind the end of the clock does not hold up another.
        let beyond = sleep(24 * 365 * 400 * HOUR);
        let before = Instant::now();
        assert!(timeout(HOUR, beyond).await.is_err());
        assert_eq!(before.elapsed(), HOUR);
    });
}

#[test]
fn the_same_sleeps_take_the_same_time_in_every_run() {
    let run = || {
        let mut numbers = support::pressure::Numbers::new(42);
        let durations: Vec<_> = (0..3_000)
            .map(|_| Duration::from_nanos(numbers.below(1_000_000_000)))
            .collect();
        paused().block_on(async {
            let start = Instant::now();
            let mut times = Vec::new();
            for duration in durations {
                sleep(duration).await;
                times.push(start.elapsed());
            }
            times
        })
    };
    assert_eq!(run(), run());
}
