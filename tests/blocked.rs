//! A task that blocks its thread in the kernel delays nobody, and sees no EINTR.
//!
//! What it waits for comes from a task that makes progress first. So a test that completes has shown that the other
//! went on, however slow the machine is; one that does not is ended by its watchdog.

mod support;

use preemptive::time::sleep;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::load::{LONG, SHORT, runtime};
use support::pressure::Watchdog;

/// One worker. A task blocks its thread in the kernel with `block`, which returns only after another task, spawned
/// when the first was about to block, has called `release`. Beside them a ticker keeps the signals coming.
fn assert_others_go_on<T: Send + Sync + 'static>(
    what: &str,
    make: impl Fn() -> T,
    block: fn(&T) -> usize,
    release: fn(&T),
) {
    const ROUNDS: usize = 10;
    for workers in [1, 2] {
        let _watchdog = Watchdog::new(format!("{what}, {workers} workers"));
        let runtime = runtime(workers, SHORT);
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = runtime.spawn({
            let stop = stop.clone();
            async move {
                while !stop.load(Ordering::SeqCst) {
                    sleep(Duration::from_micros(300)).await;
                }
            }
        });
        for _ in 0..ROUNDS {
            let shared = Arc::new(make());
            let about_to_block = Arc::new(AtomicBool::new(false));
            let blocked = runtime.spawn({
                let (shared, about_to_block) = (shared.clone(), about_to_block.clone());
                async move {
                    about_to_block.store(true, Ordering::SeqCst);
                    block(&shared)
                }
            });
            let releaser = runtime.spawn(async move {
                while !about_to_block.load(Ordering::SeqCst) {
                    preemptive::task::yield_now().await;
                }
                // Progress of another task, while the first is in the kernel.
                for _ in 0..3 {
                    sleep(Duration::from_micros(500)).await;
                }
                release(&shared);
            });
            runtime.block_on(releaser).expect("the other task");
            assert_eq!(
                runtime.block_on(blocked).expect("the blocked task"),
                7,
                "{what}"
            );
        }
        stop.store(true, Ordering::SeqCst);
        runtime.block_on(ticker).expect("the ticker");
        assert!(
            runtime.metrics().hand_overs() > 0 || workers == 2,
            "{what}: nothing ever moved"
        );
    }
}

#[test]
fn a_task_blocked_in_read_delays_nobody_and_sees_no_eintr() {
    fn read(mut stream: &UnixStream) -> usize {
        let mut byte = [0];
        // Not `read_exact`, which would try again after an EINTR.
        assert_eq!(
            stream
                .read(&mut byte)
                .expect("no error, EINTR least of all"),
            1
        );
        byte[0].into()
    }
    assert_others_go_on(
        "read",
        || UnixStream::pair().expect("two sockets"),
        |(reader, _)| read(reader),
        |(_, writer)| {
            let mut writer = writer;
            assert_eq!(writer.write(&[7]).expect("room"), 1);
        },
    );
}

#[test]
fn a_task_blocked_in_a_pipe_delays_nobody_and_sees_no_eintr() {
    assert_others_go_on(
        "pipe",
        || std::io::pipe().expect("a pipe"),
        |(reader, _)| {
            let mut byte = [0];
            let mut reader = reader;
            assert_eq!(
                reader
                    .read(&mut byte)
                    .expect("no error, EINTR least of all"),
                1
            );
            byte[0].into()
        },
        |(_, writer)| {
            let mut writer = writer;
            assert_eq!(writer.write(&[7]).expect("room"), 1);
        },
    );
}

#[test]
fn a_task_blocked_in_accept_delays_nobody_and_sees_no_eintr() {
    assert_others_go_on(
        "accept",
        || TcpListener::bind("127.0.0.1:0").expect("a port"),
        |listener| {
            listener.accept().expect("no error, EINTR least of all");
            7
        },
        |listener| {
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        },
    );
}

#[test]
fn a_task_blocked_in_a_condition_variable_delays_nobody() {
    assert_others_go_on(
        "condition variable",
        || (Mutex::new(false), Condvar::new()),
        |(mutex, condition)| {
            let guard = mutex.lock().expect("not poisoned");
            let (_guard, waited) = condition
                .wait_timeout_while(guard, LONG, |released| !*released)
                .expect("not poisoned");
            assert!(!waited.timed_out());
            7
        },
        |(mutex, condition)| {
            *mutex.lock().expect("not poisoned") = true;
            condition.notify_one();
        },
    );
}

#[test]
fn a_task_blocked_in_a_mutex_delays_nobody() {
    let _watchdog = Watchdog::new("a mutex");
    let runtime = runtime(1, SHORT);
    for _ in 0..10 {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock().expect("not poisoned");
        let blocked = runtime.spawn({
            let mutex = mutex.clone();
            async move { *mutex.lock().expect("not poisoned") }
        });
        // Runs on the one worker, while the other task waits for what this thread holds.
        let other = runtime.spawn(async {
            for _ in 0..3 {
                sleep(Duration::from_micros(500)).await;
            }
        });
        runtime.block_on(other).expect("the other task");
        let mut guard = guard;
        *guard = 7;
        drop(guard);
        assert_eq!(runtime.block_on(blocked).expect("the blocked task"), 7);
    }
}

#[test]
fn a_task_that_sleeps_its_thread_delays_nobody() {
    assert_others_go_on(
        "nanosleep",
        || AtomicBool::new(false),
        |released| {
            // Almost always in the kernel; never awake long enough for a slice to end.
            while !released.load(Ordering::SeqCst) {
                let begin = Instant::now();
                std::thread::sleep(Duration::from_millis(20));
                assert!(begin.elapsed() >= Duration::from_millis(20), "cut short");
            }
            7
        },
        |released| released.store(true, Ordering::SeqCst),
    );
}

/// From when a task is about to block until another is polled on the only processor.
#[test]
fn the_processor_of_a_blocked_worker_is_back_in_use_within_milliseconds() {
    for slice in [SHORT, Duration::from_millis(10)] {
        let _watchdog = Watchdog::new("hand-over");
        let runtime = runtime(1, slice);
        let mut best = Duration::MAX;
        // What the machine does beside is part of most rounds, but not of all.
        while best > Duration::from_millis(3) {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let blocks_at = Arc::new(Mutex::new(None));
            let at = blocks_at.clone();
            let next = runtime.spawn(async move {
                while at.lock().expect("not poisoned").is_none() {
                    preemptive::task::yield_now().await;
                }
                let now = Instant::now();
                let mut writer = writer;
                assert_eq!(writer.write(&[7]).expect("room"), 1);
                now
            });
            let blocked = runtime.spawn(async move {
                let now = Instant::now();
                *blocks_at.lock().expect("not poisoned") = Some(now);
                let (mut reader, mut byte) = (reader, [0]);
                assert_eq!(reader.read(&mut byte).expect("no error"), 1);
                now
            });
            let next = runtime.block_on(next).expect("no panic");
            let blocked = runtime.block_on(blocked).expect("no panic");
            best = best.min(next - blocked);
        }
        assert!(runtime.metrics().hand_overs() > 0);
    }
}

#[test]
fn more_blocked_tasks_than_threads_allowed_delay_nobody() {
    const BLOCKED: usize = 12;
    let _watchdog = Watchdog::new("more blocked tasks than threads");
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_threads(4)
        .time_slice(SHORT)
        .build()
        .expect("a runtime");
    let pairs: Vec<_> = (0..BLOCKED)
        .map(|_| UnixStream::pair().expect("a pair"))
        .collect();
    let blocked: Vec<_> = pairs
        .iter()
        .map(|(reader, _)| {
            let mut reader = reader.try_clone().expect("a second handle");
            runtime.spawn(async move { reader.read(&mut [0; 8]) })
        })
        .collect();
    // Each needs the processor once, and so does this one, behind them.
    runtime
        .block_on(runtime.spawn(async { sleep(Duration::from_millis(1)).await }))
        .expect("the last task");
    assert!(runtime.metrics().worker_threads() > BLOCKED);
    for ((_, mut writer), blocked) in pairs.into_iter().zip(blocked) {
        writer.write_all(&[7]).expect("written");
        assert_eq!(runtime.block_on(blocked).unwrap().unwrap(), 1);
    }
}
