//! The end of a runtime: with nothing inside, with hogs of every kind inside, from a task, many times over.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task;
use preemptive::time::sleep;
use std::future::{pending, poll_fn};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};
use support::isolated;
use support::load::{
    Drops, Hogs, LONG, SHORT, block_on, message, plain_block_on, quiet, runtime, spin_until,
    wait_until,
};

#[test]
fn a_task_dropped_while_others_preempt_it_ends_its_poll_first() {
    // All polls in progress go on to their ends, preempted or not; then their tasks are dropped.
    for workers in [1, 2] {
        let runtime = runtime(workers, SHORT);
        let metrics = runtime.metrics();
        let drops = Drops::default();
        let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..5 {
            let (guard, started) = (drops.guard(), started.clone());
            let (ended, stop) = (ended.clone(), stop.clone());
            drop(runtime.spawn(async move {
                let _guard = guard;
                started.fetch_add(1, Ordering::SeqCst);
                spin_until("the test lets go", || stop.load(Ordering::Relaxed));
                ended.fetch_add(1, Ordering::SeqCst);
                task::yield_now().await;
                unreachable!("it was shut down");
            }));
        }
        wait_until("they preempt each other", || {
            started.load(Ordering::SeqCst) == 5 && metrics.preemptions() > 20
        });
        let lets_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::SeqCst);
        });
        drop(runtime);
        lets_go.join().unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), 5);
        assert_eq!(drops.count(), 5);
        assert_eq!(metrics.num_alive_tasks(), 0);
    }
}

#[test]
fn shutdown_with_time_to_spare_returns_when_all_is_done() {
    let start = Instant::now();
    for timeout in [LONG, Duration::MAX] {
        let runtime = runtime(2, SHORT);
        let drops = Drops::default();
        for _ in 0..20 {
            let guard = drops.guard();
            drop(runtime.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
        }
        let hogs = Hogs::start(&runtime, 2);
        drop(hogs);
        runtime.shutdown_timeout(timeout);
        assert_eq!(drops.count(), 20);
    }
    assert!(start.elapsed() < LONG);
}

/// What is written to standard error meanwhile. In a child process only: it redirects the whole process's.
fn stderr_of(f: impl FnOnce()) -> String {
    let mut pipe = [0; 2];
    // SAFETY: the array is valid for writes.
    let made = unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
    assert_eq!(made, 0);
    // SAFETY: plain calls with descriptors that are open.
    let kept = unsafe {
        let kept = libc::dup(2);
        libc::dup2(pipe[1], 2);
        libc::close(pipe[1]);
        kept
    };
    f();
    // SAFETY: as above.
    unsafe {
        libc::dup2(kept, 2);
        libc::close(kept);
    }
    // SAFETY: the read end is open, and nobody else's.
    let read = unsafe { std::fs::File::from_raw_fd(pipe[0]) };
    let text = std::io::read_to_string(read).expect("what was written is text");
    eprint!("{text}");
    text
}

/// A poll that does not end by itself.
type Hog = fn(&AtomicBool);

fn spins(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

fn allocates(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let words: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        std::hint::black_box(words.concat());
    }
}

fn sleeps_in_the_kernel(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn blocks_its_signals(stop: &AtomicBool) {
    // SAFETY: the set is valid for reads, and nothing else is written.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    spins(stop);
}

/// Shuts a runtime down that is full of such hogs.
fn leaves(hogs: &[Hog]) {
    for (workers, timeout) in [(1, 1_000), (2, 1_000), (2, 0)] {
        let timeout = Duration::from_millis(timeout);
        let runtime = runtime(workers, SHORT);
        let metrics = runtime.metrics();
        let (stop, drops) = (Arc::new(AtomicBool::new(false)), Drops::default());
        let started = Arc::new(AtomicUsize::new(0));
        let idle = Drops::default();
        let mut ids = Vec::new();
        for hog in hogs {
            let (hog, stop, guard, started) = (*hog, stop.clone(), drops.guard(), started.clone());
            let task = runtime.spawn(async move {
                let _guard = guard;
                started.fetch_add(1, Ordering::SeqCst);
                hog(&stop);
                task::yield_now().await;
                unreachable!("the runtime has ended");
            });
            ids.push(task.id().to_string().parse::<u64>().unwrap());
            let guard = idle.guard();
            drop(runtime.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
        }
        wait_until("every hog is in its poll", || {
            started.load(Ordering::SeqCst) == hogs.len()
        });
        let start = Instant::now();
        let said = stderr_of(|| runtime.shutdown_timeout(timeout));
        let took = start.elapsed();
        assert!(
            took >= timeout && took < timeout + LONG / 4,
            "it took {took:?}"
        );
        if !timeout.is_zero() {
            ids.sort_unstable();
            let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
            let count = hogs.len();
            let left = format!(
                "left {count} unfinished poll(s) of tasks {},",
                ids.join(", ")
            );
            assert!(said.contains(&left), "it said only: {said}");
            // There was time to drop what did not run.
            assert_eq!(idle.count(), hogs.len());
        }
        assert_eq!(drops.count(), 0);
        // Nothing is frozen: who does not run any more can still end, and then is dropped.
        let text: String = (0..1_000).map(|number: u32| number.to_string()).collect();
        assert_eq!(text.len(), 2_890);
        stop.store(true, Ordering::SeqCst);
        wait_until("the hogs' tasks are dropped", || {
            drops.count() == hogs.len()
        });
        wait_until("none is left", || metrics.num_alive_tasks() == 0);
        assert_eq!(idle.count(), hogs.len());
    }
}

/// One test per mixture of hogs.
macro_rules! shutdown {
    ($($name:ident: $hogs:expr,)*) => { $(
        #[test]
        fn $name() {
            isolated::run(stringify!($name), || leaves(&$hogs));
        }
    )* };
}

shutdown! {
    shutdown_leaves_spinning_hogs_in_time_and_says_so: [spins as Hog; 5],
    shutdown_leaves_allocating_hogs_in_time_and_says_so: [allocates as Hog; 5],
    shutdown_leaves_hogs_asleep_in_the_kernel_in_time_and_says_so: [sleeps_in_the_kernel as Hog; 5],
    shutdown_leaves_hogs_that_block_their_signals_in_time_and_says_so: [blocks_its_signals as Hog; 2],
    shutdown_leaves_a_mixture_of_hogs_in_time_and_says_so:
        [spins, allocates, sleeps_in_the_kernel, blocks_its_signals],
}

#[test]
fn a_process_can_exit_with_hogs_left_behind() {
    isolated::run("a_process_can_exit_with_hogs_left_behind", || {
        let runtime = runtime(2, SHORT);
        let never = Arc::new(AtomicBool::new(false));
        for hog in [spins, allocates, sleeps_in_the_kernel] {
            let never = never.clone();
            drop(runtime.spawn(async move { hog(&never) }));
        }
        wait_until("all are in their polls", || runtime.metrics().polls() >= 3);
        runtime.shutdown_background();
    });
}

/// A runtime with a task that waits for ever.
fn with_a_task(drops: &Drops) -> Runtime {
    let (runtime, guard) = (runtime(1, SHORT), drops.guard());
    drop(runtime.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    }));
    runtime
}

#[test]
fn dropping_a_runtime_inside_a_task_panics_and_says_what_to_do() {
    quiet();
    let outer = runtime(2, SHORT);
    let drops = Drops::default();
    for in_task in [true, false] {
        let inner = with_a_task(&drops);
        let drop_it = async move {
            let caught = catch_unwind(AssertUnwindSafe(|| drop(inner)));
            let payload = caught.unwrap_err();
            assert!(message(&*payload).unwrap().contains("shutdown_background"));
        };
        if in_task {
            let task = outer.spawn(drop_it);
            block_on(&outer, task).unwrap();
        } else {
            outer.block_on(drop_it);
        }
    }
    // Complained or not, it ends.
    wait_until("both inner runtimes end", || drops.count() == 2);
}

#[test]
fn shutdown_background_is_legal_everywhere() {
    let outer = runtime(2, SHORT);
    let drops = Drops::default();
    for in_task in [true, false] {
        let inner = with_a_task(&drops);
        let hogs = Hogs::start(&inner, 2);
        let end_it = async move { inner.shutdown_background() };
        if in_task {
            let task = outer.spawn(end_it);
            block_on(&outer, task).unwrap();
        } else {
            outer.block_on(end_it);
        }
        drop(hogs);
    }
    wait_until("both inner runtimes end", || drops.count() == 2);
}

#[test]
fn blocking_closures_are_waited_for_if_they_have_started() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (started, has_started) = mpsc::channel();
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let running = runtime.spawn_blocking(move || {
        started.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        count.fetch_add(1, Ordering::SeqCst);
    });
    let waiting = runtime.spawn_blocking(|| unreachable!("it never started"));
    has_started.recv_timeout(LONG).unwrap();
    drop(runtime);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    plain_block_on(running).unwrap();
    let error = plain_block_on(waiting).unwrap_err();
    assert!(error.is_cancelled());
}

#[test]
fn a_runtime_can_be_shut_down_while_its_tasks_spawn_and_sleep() {
    for round in 0..40 {
        let runtime = runtime(1 + round % 2, SHORT);
        let drops = Drops::default();
        let spawned = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 {
            let (guard, spawned, drops) = (drops.guard(), spawned.clone(), drops.clone());
            drop(runtime.spawn(async move {
                let _guard = guard;
                loop {
                    let guard = drops.guard();
                    spawned.fetch_add(1, Ordering::SeqCst);
                    drop(preemptive::spawn(async move {
                        let _guard = guard;
                        sleep(Duration::from_micros(50)).await;
                        pending::<()>().await;
                    }));
                    sleep(Duration::from_micros(20)).await;
                }
            }));
        }
        wait_until("they spawn", || spawned.load(Ordering::SeqCst) > 20);
        drop(runtime);
        assert_eq!(drops.count(), 4 + spawned.load(Ordering::SeqCst));
    }
}

#[test]
fn a_shutdown_that_races_with_spawns_and_wakes_from_outside_loses_no_task() {
    for _ in 0..40 {
        let runtime = runtime(2, SHORT);
        let (handle, drops) = (runtime.handle().clone(), Drops::default());
        let (guards, stop) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut wakers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let (guard, sender) = (drops.guard(), mpsc::channel());
                    guards.fetch_add(1, Ordering::SeqCst);
                    let (send, receive) = sender;
                    drop(handle.spawn(async move {
                        let _guard = guard;
                        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                        let _ = send.send(waker);
                        pending::<()>().await;
                    }));
                    wakers.extend(receive.try_recv());
                    wakers.iter().for_each(std::task::Waker::wake_by_ref);
                }
            });
            wait_until("it spawns", || guards.load(Ordering::SeqCst) > 10);
            drop(runtime);
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(drops.count(), guards.load(Ordering::SeqCst));
    }
}

#[test]
fn closures_that_have_a_thread_run_though_the_runtime_ends() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let closure = runtime.spawn_blocking(|| {
        std::thread::sleep(Duration::from_millis(5));
        42
    });
    runtime.shutdown_timeout(LONG);
    assert_eq!(handle.block_on(closure).unwrap(), 42);
}
