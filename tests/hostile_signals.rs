//! Whatever signals a program blocks, handles, sends or loses: tasks go on being preempted, and its handlers get what
//! is theirs.

mod support;

use std::mem::zeroed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::hostile::{
    HANDLER_STACK, churn, install, join_all, kernel_threads, note_stack, runtime, tgkill,
};
use support::isolated;
use support::load::{Hogs, spin_until};
use support::pressure::kernel_thread;

/// Replaces the calling kernel thread's signal mask by "everything".
fn block_all_signals() {
    // SAFETY: the set is initialised by `sigfillset` before it is used.
    unsafe {
        let mut all = zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

#[test]
fn a_task_that_blocks_all_signals_and_hogs_starves_nobody() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        for _ in 0..3 {
            let ticks = Arc::new(AtomicU64::new(0));
            let deaf = (0..workers).map(|_| {
                let ticks = ticks.clone();
                runtime.spawn(async move {
                    block_all_signals();
                    spin_until("ticks beside a deaf hog", || {
                        ticks.load(Ordering::SeqCst) >= 5
                    });
                })
            });
            let deaf: Vec<_> = deaf.collect();
            runtime
                .block_on(runtime.spawn(async move {
                    for _ in 0..5 {
                        preemptive::time::sleep(Duration::from_millis(1)).await;
                        ticks.fetch_add(1, Ordering::SeqCst);
                    }
                }))
                .expect("the ticker does not panic");
            join_all(&runtime, deaf);
        }
        assert!(runtime.metrics().hand_overs_without_signal() > 0);
    }
}

#[test]
fn after_a_task_that_ends_with_all_signals_blocked_others_are_preempted() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        for _ in 0..10 {
            let deaf = (0..workers).map(|_| runtime.spawn(async { block_all_signals() }));
            join_all(&runtime, deaf);
            // Two polls that can only end if each is preempted for the other.
            // At most one poll per deaf worker goes on there, without a processor. The others can only go on
            // if each is preempted for its neighbours.
            let hogs = Hogs::crowd(&runtime, 2 * workers + 1);
            join_all(&runtime, [runtime.spawn(async { churn(20, 0, || ()) })]);
            hogs.stop(&runtime);
        }
    }
}

/// Runs of [`linger`], those that were continued by another kernel thread, and wrong identities.
static LINGERED: AtomicU64 = AtomicU64::new(0);
static MOVED: AtomicU64 = AtomicU64::new(0);
static CONFUSED: AtomicU64 = AtomicU64::new(0);

extern "C" fn linger(_: i32) {
    let start = Instant::now();
    let thread = kernel_thread();
    // SAFETY: it has no preconditions.
    let identity = unsafe { libc::pthread_self() };
    while start.elapsed() < Duration::from_micros(300) {
        std::hint::spin_loop();
    }
    if kernel_thread() != thread {
        MOVED.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_self() } != identity {
        CONFUSED.fetch_add(1, Ordering::SeqCst);
    }
    LINGERED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_signal_handler_that_does_not_defer_is_continued_by_another_worker() {
    isolated::run(
        "a_signal_handler_that_does_not_defer_is_continued_by_another_worker",
        || {
            install(
                libc::SIGUSR1,
                linger as *const () as usize,
                libc::SA_NODEFER,
            );
            let runtime = runtime(2);
            let hogs = Hogs::crowd(&runtime, 3);
            let tasks = (0..2).map(|_| {
                runtime.spawn(async {
                    let mut sum = 0_u64;
                    let mut raised = 0_u64;
                    spin_until("handlers that move", || {
                        tgkill(kernel_thread(), libc::SIGUSR1);
                        raised += 1;
                        sum = sum.wrapping_add(raised);
                        MOVED.load(Ordering::SeqCst) >= 20
                    });
                    assert_eq!(sum, raised * (raised + 1) / 2);
                })
            });
            join_all(&runtime, tasks);
            hogs.stop(&runtime);
            assert_eq!(CONFUSED.load(Ordering::SeqCst), 0);
            assert!(LINGERED.load(Ordering::SeqCst) >= 20);
        },
    );
}

#[test]
fn a_flood_of_foreign_signals_stops_nobody() {
    isolated::run("a_flood_of_foreign_signals_stops_nobody", || {
        let count = 1_000_000;
        let runtime = runtime(2);
        let done = Arc::new(AtomicBool::new(false));
        let flood = {
            let done = done.clone();
            std::thread::spawn(move || {
                let me = kernel_thread();
                let mut sent = 0;
                while sent < count {
                    for thread in kernel_threads() {
                        if thread != me {
                            for _ in 0..100 {
                                tgkill(thread, libc::SIGURG);
                            }
                            sent += 100;
                        }
                    }
                }
                done.store(true, Ordering::SeqCst);
            })
        };
        let tasks = (0..4_u64).map(|seed| {
            let done = done.clone();
            runtime.spawn(async move {
                let mut rounds = 0_u64;
                while !done.load(Ordering::SeqCst) || rounds < 10 {
                    let numbers: Vec<u64> = (0..1000).map(|number| number ^ seed).collect();
                    let sum: u64 = numbers.iter().map(|number| number ^ seed).sum();
                    assert_eq!(sum, 999 * 1000 / 2);
                    rounds += 1;
                    if rounds.is_multiple_of(64) {
                        preemptive::time::sleep(Duration::from_micros(100)).await;
                    }
                }
            })
        });
        join_all(&runtime, tasks);
        flood.join().expect("the flood ends");
        let metrics = runtime.metrics();
        assert!(metrics.foreign_signals() > 1000);
        assert!(metrics.preemptions() > 0);
    });
}

fn limit_pending_signals() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is valid memory.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &none) };
    assert_eq!(answer, 0);
}

/// A runtime on which two tasks take turns in the middle of their polls, and timers fire.
fn preempts_and_ticks(runtime: &preemptive::runtime::Runtime) {
    let hogs = Hogs::crowd(runtime, 2);
    let churning = runtime.spawn(async { churn(20, 0, || ()) });
    let ticking = runtime.spawn(async {
        for _ in 0..20 {
            preemptive::time::sleep(Duration::from_millis(1)).await;
        }
    });
    join_all(runtime, [churning, ticking]);
    hogs.stop(runtime);
}

#[test]
fn without_any_timer_the_monitor_stands_in() {
    isolated::run("without_any_timer_the_monitor_stands_in", || {
        limit_pending_signals();
        for workers in [1, 2] {
            let runtime = runtime(workers);
            preempts_and_ticks(&runtime);
            assert!(runtime.metrics().signals_sent_by_monitor() > 0);
        }
    });
}

#[test]
fn signals_that_lost_their_information_still_preempt() {
    isolated::run("signals_that_lost_their_information_still_preempt", || {
        let runtimes = [runtime(1), runtime(2)];
        limit_pending_signals();
        for runtime in &runtimes {
            preempts_and_ticks(runtime);
        }
    });
}

static APPLICATION: AtomicU64 = AtomicU64::new(0);
static LAST_CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn application(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid one.
    LAST_CODE.store(unsafe { (*info).si_code }, Ordering::SeqCst);
    APPLICATION.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn the_handler_installed_before_gets_foreign_signals_and_only_those() {
    isolated::run(
        "the_handler_installed_before_gets_foreign_signals_and_only_those",
        || {
            const SI_TKILL: i32 = -6;
            install(
                libc::SIGURG,
                application as *const () as usize,
                libc::SA_SIGINFO | libc::SA_RESTART,
            );
            let runtime = runtime(2);
            let hogs = Hogs::crowd(&runtime, 2);
            let churning = || runtime.spawn(async { churn(500, 5, || ()) });
            join_all(&runtime, [churning()]);
            assert_eq!(
                APPLICATION.load(Ordering::SeqCst),
                0,
                "one of ours was passed on"
            );
            // To a thread that is no worker: each one arrives.
            for sent in 1..=100 {
                tgkill(kernel_thread(), libc::SIGURG);
                assert_eq!(APPLICATION.load(Ordering::SeqCst), sent);
                assert_eq!(LAST_CODE.load(Ordering::SeqCst), SI_TKILL);
            }
            // To workers as well; the kernel merges it with one of ours that is pending, so repeat.
            let tasks = (0..2).map(|_| {
                runtime.spawn(async {
                    let wanted = APPLICATION.load(Ordering::SeqCst) + 100;
                    spin_until("foreign signals in a task", || {
                        tgkill(kernel_thread(), libc::SIGURG);
                        APPLICATION.load(Ordering::SeqCst) >= wanted
                    });
                })
            });
            join_all(&runtime, tasks);
            assert_eq!(metrics_of(&runtime), APPLICATION.load(Ordering::SeqCst));
            join_all(&runtime, [churning()]);
            hogs.stop(&runtime);
        },
    );
}

fn metrics_of(runtime: &preemptive::runtime::Runtime) -> u64 {
    runtime.metrics().foreign_signals()
}

#[test]
fn a_one_argument_handler_installed_before_is_called_too() {
    isolated::run(
        "a_one_argument_handler_installed_before_is_called_too",
        || {
            install(libc::SIGURG, note_stack as *const () as usize, 0);
            let runtime = runtime(1);
            tgkill(kernel_thread(), libc::SIGURG);
            assert_ne!(HANDLER_STACK.load(Ordering::SeqCst), 0);
            preempts_and_ticks(&runtime);
        },
    );
}
