//! Stack overflows in a runtime that goes on: the task alone ends, and everything else is as before.

mod support;

use preemptive::runtime::{Builder, OnStackOverflow, Runtime};
use preemptive::task::{JoinHandle, LocalSet};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::isolated::{self, end_of};
use support::load::{SHORT, block_on, wait_until};

/// Recursion without an end. Each call has room of its own, and something to do after the inner one.
#[inline(never)]
fn recurse_for_ever(depth: u64) -> u64 {
    let room = black_box([depth; 8]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse_for_ever(depth + 1) + room[3]
}

const STACK: usize = 64 * 1024;

fn builder(workers: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .thread_stack_size(STACK)
        .on_stack_overflow(OnStackOverflow::FailTask);
    builder
}

fn runtime(workers: usize) -> Runtime {
    builder(workers).build().expect("a runtime")
}

fn deep(runtime: &Runtime) -> JoinHandle<u64> {
    runtime.spawn(async { black_box(recurse_for_ever(1)) })
}

/// Waits for a task, which must have overflowed.
#[track_caller]
fn assert_overflows<T: std::fmt::Debug>(runtime: &Runtime, task: JoinHandle<T>) {
    let id = task.id();
    let error = block_on(runtime, task).expect_err("it has overflowed");
    assert!(error.is_stack_overflow(), "{error:?}");
    assert!(!error.is_panic() && !error.is_cancelled(), "{error:?}");
    assert_eq!(error.id(), id);
    assert_eq!(
        error.to_string(),
        format!("task {id} has overflowed its stack")
    );
}

/// Kilobytes of this process's memory that are committed; and how many threads it has.
fn memory_and_threads() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.and_then(|word| word.parse().ok()).expect("a number")
    };
    (number("VmRSS:"), number("Threads:"))
}

#[test]
fn a_thousand_tasks_overflow_and_the_others_go_on() {
    isolated::run("a_thousand_tasks_overflow_and_the_others_go_on", || {
        const TASKS: u64 = 1_000;
        let runtime = runtime(2);
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let ticker = runtime.spawn(async move {
            loop {
                preemptive::time::sleep(Duration::from_millis(1)).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        assert_overflows(&runtime, deep(&runtime));
        let (before, threads_before) = memory_and_threads();
        for round in 0..TASKS {
            let ticked = ticks.load(Ordering::SeqCst);
            assert_overflows(&runtime, deep(&runtime));
            if round.is_multiple_of(100) {
                wait_until("the ticker ticks", || ticks.load(Ordering::SeqCst) > ticked);
            }
        }
        let (after, threads_after) = memory_and_threads();
        let each = (after - before) / TASKS;
        let threads = threads_after - threads_before;
        println!("each has left {each} KiB of memory behind; {threads} threads wait");
        // The stack, and what the documentation says; not another stack.
        assert!((50..64 + 64).contains(&each), "{each} KiB");
        assert!((TASKS - 10..=TASKS + 10).contains(&threads), "{threads}");
        assert_eq!(runtime.metrics().stack_overflows(), TASKS + 1);
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);
        assert!(runtime.metrics().fibers() < 32);
        let ticked = ticks.load(Ordering::SeqCst);
        wait_until("the ticker ticks", || ticks.load(Ordering::SeqCst) > ticked);
        ticker.abort();
        drop(runtime);
    });
}

#[test]
fn one_that_overflows_a_segment_fails_alone_as_well() {
    let runtime = runtime(1);
    for _ in 0..20 {
        let deep = || preemptive::stack::grow(usize::MAX, 0, || black_box(recurse_for_ever(1)));
        assert_overflows(&runtime, runtime.spawn(async move { deep() }));
    }
    // The runtime goes on, on other stacks.
    let task = runtime.spawn(async { preemptive::stack::grow(usize::MAX, 0, || 7) });
    assert_eq!(runtime.block_on(task).expect("no overflow"), 7);
}

#[test]
fn with_one_worker_and_preemptions_all_the_time() {
    isolated::run("with_one_worker_and_preemptions_all_the_time", || {
        let stop = Arc::new(AtomicBool::new(false));
        let mut builder = builder(1);
        builder
            .time_slice(SHORT)
            .min_slice(Duration::from_micros(10));
        let runtime = builder.build().expect("a runtime");
        let hogs: Vec<_> = (0..2)
            .map(|_| {
                let stop = Arc::clone(&stop);
                runtime.spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let before = runtime.metrics().preemptions();
        for _ in 0..50 {
            let four: Vec<_> = (0..4).map(|_| deep(&runtime)).collect();
            four.into_iter()
                .for_each(|task| assert_overflows(&runtime, task));
        }
        assert!(runtime.metrics().preemptions() > before);
        stop.store(true, Ordering::SeqCst);
        for hog in hogs {
            block_on(&runtime, hog).expect("it ends");
        }
        assert_eq!(runtime.metrics().stack_overflows(), 200);
    });
}

/// Counts its drops, which must not be.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("something of a lost task was dropped");
    }
}

thread_local! {
    static MARK: Cell<u64> = const { Cell::new(0) };
}

#[test]
fn nothing_of_it_is_dropped_and_its_locks_stay_locked() {
    isolated::run("nothing_of_it_is_dropped_and_its_locks_stay_locked", || {
        let drops = Arc::new(AtomicUsize::new(0));
        let lock = Arc::new(Mutex::new(7));
        let runtime = runtime(2);
        let (in_future, on_stack) = (Bomb(drops.clone()), Bomb(drops.clone()));
        let locked = Arc::clone(&lock);
        let task = runtime.spawn(async move {
            let _stays = &in_future;
            preemptive::task::yield_now().await;
            let _on_stack = on_stack;
            MARK.set(1);
            let _guard = locked.lock().expect("not poisoned");
            black_box(recurse_for_ever(1))
        });
        let abort = task.abort_handle();
        assert_overflows(&runtime, task);
        assert!(abort.is_finished());
        abort.abort();
        drop(abort);
        assert!(lock.try_lock().is_err());
        assert!(!lock.is_poisoned());
        // Its identity is never used again: others' thread-locals are as ever.
        for _ in 0..200 {
            let mark = runtime.spawn(async { MARK.get() });
            assert_eq!(block_on(&runtime, mark).expect("it ends"), 0);
        }
        drop(runtime);
        assert!(lock.try_lock().is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 0);
    });
}

/// A thread that uses what a lost task has lent it, as scoped threads do.
#[test]
fn who_borrows_from_its_stack_may_go_on() {
    isolated::run("who_borrows_from_its_stack_may_go_on", || {
        static GO: AtomicBool = AtomicBool::new(false);
        static SEEN: AtomicU64 = AtomicU64::new(0);
        let runtime = runtime(2);
        let task = runtime.spawn(async {
            let lent = black_box([42_u64; 64]);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !GO.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    SEEN.store(lent.iter().sum(), Ordering::SeqCst);
                });
                black_box(recurse_for_ever(1))
            })
        });
        assert_overflows(&runtime, task);
        for _ in 0..20 {
            assert_overflows(&runtime, deep(&runtime));
        }
        drop(runtime);
        GO.store(true, Ordering::SeqCst);
        wait_until("the thread has seen it", || {
            SEEN.load(Ordering::SeqCst) != 0
        });
        assert_eq!(SEEN.load(Ordering::SeqCst), 42 * 64);
    });
}

#[test]
fn detached_aborted_and_awaited_ones_end_with_the_runtime() {
    isolated::run(
        "detached_aborted_and_awaited_ones_end_with_the_runtime",
        || {
            for round in 0..20 {
                let runtime = runtime(1 + round % 2);
                let handles: Vec<_> = (0..12)
                    .map(|_| {
                        let task = deep(&runtime);
                        let waits = runtime.spawn(task);
                        drop(deep(&runtime));
                        deep(&runtime).abort();
                        waits
                    })
                    .collect();
                drop(runtime);
                for handle in handles {
                    // The waiting task was woken or cancelled; either way nobody waits for ever.
                    match support::load::plain_block_on(handle) {
                        Ok(Err(error)) => {
                            assert!(error.is_stack_overflow() || error.is_cancelled())
                        }
                        Ok(Ok(_)) => panic!("it has come to the end of an endless recursion"),
                        Err(error) => assert!(error.is_cancelled(), "{error:?}"),
                    }
                }
            }
        },
    );
}

/// A runtime that is dropped while its only tasks overflow: the handles say so in the end.
#[test]
fn a_poll_that_comes_back_from_the_kernel_overflows_without_a_processor() {
    let name = "a_poll_that_comes_back_from_the_kernel_overflows_without_a_processor";
    isolated::run(name, || {
        let runtime = runtime(1);
        let sleeps = runtime.spawn(async {
            std::thread::sleep(Duration::from_millis(300));
            black_box(recurse_for_ever(1))
        });
        // Its processor goes to these, and the drop below retires it.
        for _ in 0..20 {
            let other = runtime.spawn(async { std::thread::sleep(Duration::from_millis(1)) });
            block_on(&runtime, other).expect("it ends");
        }
        assert!(runtime.metrics().hand_overs() > 0);
        drop(runtime);
        let error = support::load::plain_block_on(sleeps).expect_err("it overflows");
        assert!(error.is_stack_overflow(), "{error:?}");
    });
}

#[test]
fn a_line_says_which_task_it_was() {
    let end = end_of("a_line_says_which_task_it_was", || {
        let runtime = runtime(1);
        let builder = preemptive::task::Builder::new().name("the\ndeep one");
        let future = async { black_box(recurse_for_ever(1)) };
        let task = builder.spawn_on(future, runtime.handle()).expect("a task");
        assert_overflows(&runtime, task);
    });
    assert_eq!(end.code, Some(77), "{}", end.stderr);
    let line = end
        .stderr
        .lines()
        .find(|line| line.contains("preemptive: task 1"));
    let line = line.unwrap_or_else(|| panic!("{}", end.stderr));
    assert!(
        line.contains(r#"task 1 "the\ndeep one", spawned at tests/"#),
        "{line}"
    );
    assert!(
        line.contains("has overflowed its stack of 64 KiB"),
        "{line}"
    );
}

/// An output that one task drops for another is the other's code, but on the dropping one's stack.
#[test]
fn a_task_that_drops_anothers_output_is_the_one_that_fails() {
    struct Deep;
    impl Drop for Deep {
        fn drop(&mut self) {
            black_box(recurse_for_ever(1));
        }
    }
    isolated::run(
        "a_task_that_drops_anothers_output_is_the_one_that_fails",
        || {
            let runtime = runtime(2);
            let has_it = runtime.spawn(async { Deep });
            wait_until("it is there", || has_it.is_finished());
            let drops_it = runtime.spawn(async { drop(has_it) });
            assert_overflows(&runtime, drops_it);
            assert_eq!(runtime.metrics().num_alive_tasks(), 0);
        },
    );
}

/// What the child says before it is killed, since its task cannot be left.
#[track_caller]
fn why_aborted(name: &str, body: impl FnOnce()) -> String {
    let end = end_of(name, body);
    assert_eq!(end.signal, Some(libc::SIGABRT), "{}", end.stderr);
    let line = end
        .stderr
        .lines()
        .find(|line| line.contains("cannot be failed alone"));
    line.unwrap_or_else(|| panic!("{}", end.stderr)).to_owned()
}

#[test]
fn a_current_thread_runtime_cannot_go_on() {
    let why = why_aborted("a_current_thread_runtime_cannot_go_on", || {
        let mut builder = Builder::new_current_thread();
        builder.on_stack_overflow(OnStackOverflow::FailTask);
        let runtime = builder.build().expect("a runtime");
        let task = deep(&runtime);
        let _ = runtime.block_on(task);
    });
    assert!(why.contains("a current-thread runtime"), "{why}");
}

#[test]
fn a_task_of_a_local_set_cannot_be_left() {
    // Its stack is that of the task that polls the set.
    let why = why_aborted("a_task_of_a_local_set_cannot_be_left", || {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let task = runtime.spawn(async move {
            let set = LocalSet::new();
            let local = set.spawn_local(async { black_box(recurse_for_ever(1)) });
            handle.block_on(set.run_until(local)).is_ok()
        });
        let _ = runtime.block_on(task);
    });
    assert!(why.contains("a local set"), "{why}");
}

#[test]
fn a_task_with_a_mask_of_its_own_cannot_be_left() {
    let why = why_aborted("a_task_with_a_mask_of_its_own_cannot_be_left", || {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            // SAFETY: the set is initialised before it is used.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigaddset(&mut set, libc::SIGUSR1);
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            }
            black_box(recurse_for_ever(1))
        });
        let _ = runtime.block_on(task);
    });
    assert!(why.contains("signal mask"), "{why}");
}

extern "C" fn overflow_the_stack(_: i32) {
    black_box(recurse_for_ever(1));
}

/// A handler that was installed without SA_ONSTACK runs, and overflows, on the task's own stack.
#[test]
fn a_handler_on_the_tasks_stack_cannot_be_left() {
    let why = why_aborted("a_handler_on_the_tasks_stack_cannot_be_left", || {
        // SAFETY: a zeroed action is valid.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = overflow_the_stack as *const () as usize;
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
        }
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            // SAFETY: the handler is there.
            unsafe { libc::raise(libc::SIGUSR1) }
        });
        let _ = runtime.block_on(task);
    });
    assert!(why.contains("signal mask"), "{why}");
}

#[test]
fn a_poll_that_shutdown_has_left_cannot_be_failed() {
    let why = why_aborted("a_poll_that_shutdown_has_left_cannot_be_failed", || {
        static GO: AtomicBool = AtomicBool::new(false);
        static RUNS: AtomicBool = AtomicBool::new(false);
        let runtime = runtime(1);
        runtime.spawn(async {
            RUNS.store(true, Ordering::SeqCst);
            while !GO.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            black_box(recurse_for_ever(1))
        });
        wait_until("the task runs", || RUNS.load(Ordering::SeqCst));
        runtime.shutdown_timeout(Duration::from_millis(1));
        GO.store(true, Ordering::SeqCst);
        std::thread::sleep(support::load::LONG);
    });
    assert!(why.contains("shut down"), "{why}");
}

/// The destructor of a future, when it is dropped at the end of its poll, is the task's own code.
#[test]
fn a_destructor_that_overflows_fails_its_task() {
    isolated::run("a_destructor_that_overflows_fails_its_task", || {
        struct Deep;
        impl Drop for Deep {
            fn drop(&mut self) {
                black_box(recurse_for_ever(1));
            }
        }
        let runtime = runtime(2);
        let ends = runtime.spawn(async {
            let _deep = Deep;
        });
        assert_overflows(&runtime, ends);
        let waits = runtime.spawn(async {
            let _deep = Deep;
            std::future::pending::<()>().await;
        });
        block_on(&runtime, async {
            preemptive::time::sleep(Duration::from_millis(20)).await
        });
        waits.abort();
        assert_overflows(&runtime, waits);
    });
}
