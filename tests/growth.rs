//! Stacks go on in segments: results, panics, backtraces and preemptions are the same on all of them.

mod support;

use preemptive::runtime::Builder;
use preemptive::stack;
use preemptive::time::sleep;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::hint::black_box;
use std::panic::{catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::isolated;
use support::load::{Hogs, SHORT, block_on, runtime, wait_until};

/// Calls `f` on the `levels`th segment from here.
fn on_segment<R>(levels: usize, f: impl FnOnce() -> R) -> R {
    fn step(levels: usize, f: &mut dyn FnMut()) {
        match levels {
            0 => f(),
            _ => stack::grow(usize::MAX, 0, || step(levels - 1, f)),
        }
    }
    let (mut f, mut result) = (Some(f), None);
    step(levels, &mut || result = f.take().map(|f| f()));
    result.expect("it was called")
}

/// Runs `test` on a plain thread and in a task.
fn everywhere(test: fn()) {
    std::thread::spawn(test).join().expect("on a plain thread");
    let runtime = runtime(2, SHORT);
    block_on(&runtime, runtime.spawn(async move { test() })).expect("in a task");
}

#[test]
fn what_a_function_returns_comes_back_over_any_number_of_segments() {
    everywhere(|| {
        for levels in [0, 1, 2, 1_000] {
            let text = format!("{levels}");
            assert_eq!(
                on_segment(levels, || text.clone() + "!"),
                text.clone() + "!"
            );
            assert_eq!(on_segment(levels, || ()), ());
            assert_eq!(on_segment(levels, || [levels; 1_000]), [levels; 1_000]);
        }
    });
}

#[test]
fn a_panic_crosses_any_number_of_segments_with_its_payload_and_drops_in_order() {
    thread_local! {
        static DROPPED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    struct Noted(usize);
    impl Drop for Noted {
        fn drop(&mut self) {
            DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
        }
    }
    fn deep(level: usize) {
        let _noted = Noted(level);
        match level {
            0 => panic_any(String::from("the payload")),
            _ => stack::grow(usize::MAX, 0, || deep(level - 1)),
        }
    }
    everywhere(|| {
        std::panic::set_hook(Box::new(|_| {}));
        for levels in [1, 2, 1_000] {
            let before = stack::remaining().expect("this thread's stack is known");
            let payload = catch_unwind(|| deep(levels)).expect_err("it panics");
            assert_eq!(
                *payload.downcast::<String>().expect("a string"),
                "the payload"
            );
            let order: Vec<usize> = (0..=levels).collect();
            assert_eq!(DROPPED.take(), order);
            // And the stack is the one from before.
            let after = stack::remaining().expect("it is known still");
            assert!(after.abs_diff(before) < 4096, "{before} {after}");
        }
    });
}

#[test]
fn a_panic_is_caught_on_a_segment_and_another_one_thrown_below() {
    everywhere(|| {
        std::panic::set_hook(Box::new(|_| {}));
        let outer = catch_unwind(|| {
            on_segment(3, || {
                let inner = catch_unwind(|| on_segment(3, || panic_any(1)));
                panic_any(
                    1 + *inner
                        .expect_err("it panics")
                        .downcast::<i32>()
                        .expect("a number"),
                )
            })
        });
        assert_eq!(
            *outer
                .expect_err("it panics")
                .downcast::<i32>()
                .expect("a number"),
            2
        );
    });
}

#[inline(never)]
fn this_side_of_the_boundary(f: &dyn Fn() -> String) -> String {
    black_box(stack::grow(usize::MAX, 0, || beyond_the_boundary(f)))
}

#[inline(never)]
fn beyond_the_boundary(f: &dyn Fn() -> String) -> String {
    black_box(f())
}

#[test]
fn a_backtrace_shows_the_frames_on_both_sides() {
    everywhere(|| {
        let backtrace = this_side_of_the_boundary(&|| Backtrace::force_capture().to_string());
        let inner = backtrace.find("beyond_the_boundary");
        let outer = backtrace.find("this_side_of_the_boundary");
        assert!(inner.is_some() && inner < outer, "{backtrace}");
    });
}

#[test]
fn gdb_walks_over_boundaries_whichever_segment_lies_higher() {
    isolated::run(
        "gdb_walks_over_boundaries_whichever_segment_lies_higher",
        || {
            if !support::gdb::works() {
                return;
            }
            // Eight segments in one order, then in the other: one of any two neighbours lies higher.
            let output = on_segment(8, || {
                this_side_of_the_boundary(&|| support::gdb::backtrace_of_this_thread())
            });
            let boundaries = output.matches("call_on").count();
            assert!(boundaries >= 9, "{output}");
            let (inner, outer) = (
                output.find("beyond_the_boundary"),
                output.find("this_side_of_the_boundary"),
            );
            assert!(inner.is_some() && inner < outer, "{output}");
            assert!(!output.contains("corrupt stack"), "{output}");
        },
    );
}

/// So deep that every segment has its share.
fn depth(of: u64) -> u64 {
    stack::grow(64 * 1024, 256 * 1024, || match of {
        0 => 0,
        _ => black_box(1 + depth(black_box(of - 1))),
    })
}

#[test]
fn a_million_frames_succeed_and_give_their_memory_back() {
    isolated::run(
        "a_million_frames_succeed_and_give_their_memory_back",
        || {
            let runtime = runtime(2, SHORT);
            let hogs = Hogs::crowd(&runtime, 2);
            for _ in 0..3 {
                let task = runtime.spawn(async { depth(black_box(1_000_000)) });
                assert_eq!(block_on(&runtime, task).expect("no panic"), 1_000_000);
            }
            drop(hogs);
            let metrics = runtime.metrics();
            // One that a fiber keeps, and a few that a processor pools.
            let bound = 2 * 4 + metrics.fibers();
            let left = metrics.stack_segments();
            assert!(left <= bound, "{left} segments are left");
            // Not used any more, those go as well.
            wait_until("the pool is empty", || {
                block_on(&runtime, async { sleep(Duration::from_millis(10)).await });
                metrics.stack_segments() == 0
            });
        },
    );
}

#[test]
fn a_thread_that_ends_gives_its_spare_segment_back() {
    isolated::run("a_thread_that_ends_gives_its_spare_segment_back", || {
        let metrics = runtime(1, SHORT).metrics();
        for _ in 0..100 {
            std::thread::spawn(|| on_segment(1, || ()))
                .join()
                .expect("it ends");
        }
        assert_eq!(metrics.stack_segments(), 0);
    });
}

#[test]
fn large_segments_are_as_large_as_asked() {
    everywhere(|| {
        let most = stack::grow(usize::MAX, 64 << 20, stack::remaining);
        assert!(most.expect("it is known") >= 64 << 20);
    });
}

#[test]
fn without_address_space_the_function_runs_where_it_is() {
    isolated::run(
        "without_address_space_the_function_runs_where_it_is",
        || {
            let before = stack::remaining().expect("it is known");
            let after = stack::grow(usize::MAX, usize::MAX / 4, stack::remaining);
            assert!(after.expect("it is known") <= before);
            assert_eq!(stack::grow(usize::MAX, 1 << 46, || 7), 7);
        },
    );
}

#[test]
fn with_signals_off_those_who_check_starve_nobody() {
    for workers in [1, 2] {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .async_preempt(false)
            .time_slice(Duration::from_millis(1))
            .build()
            .expect("a runtime");
        let stop = Arc::new(AtomicBool::new(false));
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                runtime.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        preemptive::safepoint();
                    }
                })
            })
            .collect();
        let ticks = runtime.spawn(async {
            for _ in 0..50 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        block_on(&runtime, ticks).expect("it ticks");
        assert!(hogs.iter().all(|hog| !hog.is_finished()));
        assert_eq!(runtime.metrics().asynchronous_preemptions(), 0);
        stop.store(true, Ordering::Relaxed);
        for hog in hogs {
            block_on(&runtime, hog).expect("it ends");
        }
    }
}

#[test]
fn a_safe_point_does_nothing_on_plain_threads_and_in_handlers() {
    extern "C" fn handler(_: i32) {
        for _ in 0..10 {
            preemptive::safepoint();
        }
        assert!(stack::remaining().is_none());
    }
    isolated::run(
        "a_safe_point_does_nothing_on_plain_threads_and_in_handlers",
        || {
            preemptive::safepoint();
            support::hostile::install(
                libc::SIGUSR1,
                handler as *const () as usize,
                libc::SA_ONSTACK | libc::SA_RESTART,
            );
            let runtime = runtime(2, SHORT);
            let hogs = Hogs::crowd(&runtime, 4);
            let task = runtime.spawn(async {
                for _ in 0..20_000 {
                    // SAFETY: the handler only checks.
                    unsafe { libc::raise(libc::SIGUSR1) };
                    preemptive::safepoint();
                }
            });
            block_on(&runtime, task).expect("it ends");
            drop(hogs);
        },
    );
}

#[test]
fn a_task_has_the_stack_that_it_asks_for() {
    let runtime = runtime(2, SHORT);
    for bytes in [1, 1 << 20, 3 << 20, 100 << 20] {
        let builder = preemptive::task::Builder::new().stack_size(bytes);
        let future = async move {
            let first = stack::remaining();
            preemptive::task::yield_now().await;
            (first, stack::remaining())
        };
        let task = builder
            .spawn_on(future, runtime.handle())
            .expect("not too large");
        let (first, second) = block_on(&runtime, task).expect("no panic");
        // But for the frames in between.
        for remaining in [first, second] {
            assert!(remaining.expect("it is known") + 4096 > bytes);
        }
    }
    let builder = preemptive::task::Builder::new().stack_size(usize::MAX);
    let error = builder.spawn_on(async {}, runtime.handle()).map(drop);
    assert_eq!(
        error.expect_err("too large").kind(),
        std::io::ErrorKind::InvalidInput
    );
}
