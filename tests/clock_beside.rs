//! A paused clock goes on only when nothing else does: tasks that hog, closures, other threads and runtimes, and the end.

mod support;

use preemptive::runtime::Builder;
use preemptive::task::{block_in_place, spawn_blocking, yield_now};
use preemptive::time::{self, Duration, Instant, advance, sleep, timeout};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use support::current_thread::{HOUR, is_ready, panic_of, paused, runtime};
use support::load::{Drops, LONG, check, spin_until, wait_until};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_clock_waits_for_blocking_closures() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        let sleeper = preemptive::spawn(sleep(HOUR));
        let (go, gate) = mpsc::channel::<()>();
        let closure = spawn_blocking(move || {
            gate.recv_timeout(LONG).expect("to be let go");
            thread::sleep(10 * MS);
            start.elapsed()
        });
        // A second one waits for it, in vain if time went on.
        let (sender, receiver) = mpsc::channel::<()>();
        let second = spawn_blocking(move || {
            assert!(receiver.recv_timeout(20 * MS).is_err());
            go.send(()).unwrap();
        });
        second.await.unwrap();
        assert_eq!(closure.await.unwrap(), Duration::ZERO);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!sleeper.is_finished());
        drop(sender);
        sleeper.await.unwrap();
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn the_last_closure_to_end_lets_the_clock_go_on_though_nobody_awaits_it() {
    for _ in 0..20 {
        let runtime = paused();
        runtime.block_on(async {
            let start = Instant::now();
            for count in 0..3_u32 {
                // Detached: nothing but its end wakes the runtime.
                drop(spawn_blocking(move || thread::sleep(count * MS)));
            }
            let panics = spawn_blocking(|| panic!("a closure's own panic"));
            sleep(HOUR).await;
            assert_eq!(start.elapsed(), HOUR);
            assert!(panics.await.unwrap_err().is_panic());
        });
    }
}

#[test]
fn the_clock_does_not_go_on_between_the_end_of_a_closure_and_whoever_awaits_it() {
    let runtime = paused();
    runtime.block_on(async {
        let (start, begun) = (Instant::now(), std::time::Instant::now());
        let sleeper = preemptive::spawn(sleep(HOUR));
        // The closure ends in the few nanoseconds that count in one round of a hundred thousand.
        for round in 0_u32.. {
            if begun.elapsed() > 2_000 * MS {
                break;
            }
            let closure =
                spawn_blocking(move || (0..round % 64).for_each(|_| std::hint::spin_loop()));
            closure.await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
        sleeper.abort();
    });
}

/// Takes real time.
fn compute() {
    let begun = std::time::Instant::now();
    while begun.elapsed() < 20 * MS {
        check();
    }
}

#[test]
fn the_clock_waits_for_a_future_that_is_polled_beside_the_thread_that_drives() {
    let threads = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let task = threads.spawn(async {
        block_in_place(|| {
            let runtime = paused();
            runtime.block_on(async {
                let start = Instant::now();
                let sleeper = preemptive::spawn(sleep(HOUR));
                compute();
                for _ in 0..200 {
                    let task = preemptive::spawn(async {});
                    timeout(MS, task).await.unwrap().unwrap();
                }
                assert_eq!(start.elapsed(), Duration::ZERO);
                sleeper.await.unwrap();
                assert_eq!(start.elapsed(), HOUR);
                start
            });
            // What has held the clock for it holds it no more.
            runtime.block_on(async { sleep(HOUR).await });
        });
    });
    let ended = threads.block_on(async { timeout(LONG, task).await });
    ended.expect("in a minute").unwrap();
}

#[test]
fn the_clock_waits_for_the_futures_of_all_callers() {
    let runtime = Arc::new(paused());
    let go = Arc::new(AtomicBool::new(false));
    let (there, waits) = (runtime.clone(), go.clone());
    let (drives, driven) = mpsc::channel();
    let driver = thread::spawn(move || {
        there.block_on(async {
            let start = Instant::now();
            drives.send(()).unwrap();
            let closure = spawn_blocking(move || {
                wait_until("another is inside `block_on`", || {
                    waits.load(Ordering::SeqCst)
                });
            });
            closure.await.unwrap();
            sleep(HOUR).await;
            start.elapsed()
        })
    });
    driven.recv().unwrap();
    let took = runtime.block_on(async {
        let start = Instant::now();
        go.store(true, Ordering::SeqCst);
        compute();
        let task = preemptive::spawn(async {});
        timeout(MS, task).await.unwrap().unwrap();
        compute();
        start.elapsed()
    });
    assert_eq!(took, Duration::ZERO);
    // Let go, it goes on.
    assert_eq!(driver.join().unwrap(), HOUR);
}

#[test]
fn a_poll_that_computes_or_was_preempted_keeps_the_clock_from_going_on() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        let hogs: Vec<_> = (0..3)
            .map(|_| {
                preemptive::spawn(async move {
                    let begun = std::time::Instant::now();
                    while begun.elapsed() < 30 * MS {
                        check();
                        assert_eq!(start.elapsed(), Duration::ZERO);
                    }
                })
            })
            .collect();
        sleep(HOUR).await;
        assert!(hogs.iter().all(|hog| hog.is_finished()));
        for hog in hogs {
            hog.await.unwrap();
        }
        assert_eq!(start.elapsed(), HOUR);
    });
    assert!(runtime.metrics().preemptions() > 0);
}

#[test]
fn hogs_are_preempted_while_time_stands_still() {
    let runtime = paused();
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let start = Instant::now();
        let seen = stop.clone();
        let hog = preemptive::spawn(async move {
            spin_until("the hog is let go", || seen.load(Ordering::Relaxed));
            start.elapsed()
        });
        let stop = stop.clone();
        let other = preemptive::spawn(async move {
            let mut sleep = pin!(sleep(2 * HOUR));
            assert!(!is_ready(sleep.as_mut()).await);
            // The hog is in the middle of its poll: only this moves the clock.
            advance(HOUR).await;
            assert_eq!(start.elapsed(), HOUR);
            assert!(!is_ready(sleep.as_mut()).await);
            stop.store(true, Ordering::Relaxed);
            sleep.await;
            start.elapsed()
        });
        assert_eq!(hog.await.unwrap(), HOUR);
        assert_eq!(other.await.unwrap(), 2 * HOUR);
    });
}

#[test]
fn a_poll_that_block_on_has_left_behind_holds_the_clock() {
    let runtime = paused();
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicUsize::new(0));
    let (left_behind, start) = runtime.block_on(async {
        let start = Instant::now();
        let here = thread::current().id();
        let [one, other] = [(); 2].map(|()| {
            let (begun, stop) = (begun.clone(), stop.clone());
            preemptive::spawn(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                // One on this thread's own identity, which the root needs to end, ends. Another is left behind.
                if thread::current().id() == here {
                    spin_until("both have begun", || begun.load(Ordering::SeqCst) == 2);
                } else {
                    spin_until("it is let go", || stop.load(Ordering::SeqCst));
                    thread::sleep(5 * MS);
                }
                start.elapsed()
            })
        });
        while begun.load(Ordering::SeqCst) < 2 {
            yield_now().await;
        }
        ([one, other], start)
    });
    assert!(runtime.metrics().given_back() > 0);
    runtime.block_on(async {
        let stopper = thread::spawn(move || {
            thread::sleep(10 * MS);
            stop.store(true, Ordering::SeqCst);
        });
        sleep(HOUR).await;
        assert_eq!(start.elapsed(), HOUR);
        for task in left_behind {
            assert_eq!(task.await.unwrap(), Duration::ZERO);
        }
        stopper.join().unwrap();
    });
}

#[test]
fn runtimes_have_clocks_of_their_own() {
    let (one, other) = (paused(), paused());
    let running = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let (start, others_start) = {
        let _one = one.enter();
        let start = Instant::now();
        let _other = other.enter();
        (start, Instant::now())
    };
    one.block_on(async { sleep(HOUR).await });
    other.block_on(async { sleep(9 * HOUR).await });
    one.block_on(async { assert_eq!(start.elapsed(), HOUR) });
    other.block_on(async { assert_eq!(others_start.elapsed(), 9 * HOUR) });
    // Neither of theirs is anybody else's.
    let real = std::time::Instant::now();
    assert!(Instant::now().into_std() - real < HOUR);
    running.block_on(async {
        let now = preemptive::spawn(async { Instant::now() }).await.unwrap();
        assert!(now.into_std() - real < HOUR);
        let before = std::time::Instant::now();
        sleep(3 * MS).await;
        assert!(before.elapsed() >= 3 * MS);
    });
    // A timer goes by the clock of the runtime that it was made in, wherever it is awaited.
    let mut sleep = {
        let _one = one.enter();
        Box::pin(sleep(HOUR))
    };
    other.block_on(async {
        assert!(!is_ready(sleep.as_mut()).await);
        preemptive::time::sleep(100 * HOUR).await;
        assert!(!is_ready(sleep.as_mut()).await);
        assert!(!sleep.is_elapsed());
    });
    one.block_on(sleep.as_mut());
    assert!(sleep.is_elapsed());
    one.block_on(async { assert_eq!(start.elapsed(), 2 * HOUR) });
}

#[test]
fn another_thread_may_move_the_clock_of_an_idle_runtime() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let (sender, receiver) = mpsc::channel();
    let other = thread::spawn(move || {
        let start: Instant = receiver.recv_timeout(LONG).unwrap();
        // Mostly it sleeps by now, until a real time that is an hour away.
        thread::sleep(2 * MS);
        let _entered = handle.enter();
        time::pause();
        wait_until("the clock has gone on", || start.elapsed() >= HOUR);
        time::resume();
    });
    let real = std::time::Instant::now();
    runtime.block_on(async {
        let start = Instant::now();
        sender.send(start).unwrap();
        sleep(HOUR).await;
        assert!(start.elapsed() >= HOUR);
    });
    assert!(real.elapsed() < HOUR);
    other.join().unwrap();
}

#[test]
fn a_closure_sees_the_paused_clock_and_may_set_it_forward() {
    let runtime = paused();
    runtime.block_on(async {
        let start = Instant::now();
        let sleeper = preemptive::spawn(sleep(HOUR));
        let handle = preemptive::runtime::Handle::current();
        let closure = spawn_blocking(move || {
            handle.block_on(advance(HOUR));
            start.elapsed()
        });
        assert_eq!(closure.await.unwrap(), HOUR);
        sleeper.await.unwrap();
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn a_runtime_may_be_dropped_or_shut_down_while_its_clock_stands_still() {
    for shut_down in [false, true] {
        let runtime = paused();
        let drops = Drops::default();
        let guard = drops.guard();
        runtime.spawn(async move {
            let _guard = guard;
            sleep(HOUR).await;
            unreachable!("nobody goes there");
        });
        let mut sleep = {
            let _entered = runtime.enter();
            Box::pin(sleep(HOUR))
        };
        runtime.block_on(async {
            yield_now().await;
            assert!(!is_ready(sleep.as_mut()).await);
            drop(spawn_blocking(|| thread::sleep(2 * MS)));
        });
        if shut_down {
            // A real time.
            runtime.shutdown_timeout(LONG);
        } else {
            drop(runtime);
        }
        assert_eq!(drops.count(), 1);
        assert!(!sleep.is_elapsed());
        let other = crate::runtime();
        let text = panic_of(|| other.block_on(sleep));
        assert!(text.contains("has been shut down"), "{text}");
    }
}
