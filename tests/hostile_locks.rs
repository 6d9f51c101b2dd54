//! The locks inside libc, std and the unwinder, whose holders are preempted: nobody hangs, with one worker neither.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::hostile::{join_all, metrics, runtime, under_preemption};
use support::isolated;
use support::load::Hogs;
use support::pressure::Numbers;

#[test]
fn the_holder_of_the_only_malloc_arena_is_preempted_and_nobody_hangs() {
    isolated::run(
        "the_holder_of_the_only_malloc_arena_is_preempted_and_nobody_hangs",
        || {
            // SAFETY: called before any other thread allocates.
            assert_eq!(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) }, 1);
            for workers in [1, 2] {
                let runtime = runtime(workers);
                let hogs = Hogs::crowd(&runtime, 1);
                let tasks = (1..=12_u64).map(|seed| {
                    runtime.spawn(async move {
                        let mut numbers = Numbers::new(seed);
                        let mut blocks: Vec<(*mut u8, usize)> = Vec::new();
                        under_preemption(400, || {
                            // Beyond what thread caches hold, short of what is mapped apart.
                            let size = 2048 + numbers.below(100_000) as usize;
                            // SAFETY: a fresh block, written within its bounds.
                            let block = unsafe {
                                let block = libc::malloc(size).cast::<u8>();
                                assert!(!block.is_null());
                                block.write(seed as u8);
                                block.add(size - 1).write(seed as u8);
                                block
                            };
                            blocks.push((block, size));
                            if blocks.len() > 40 {
                                let victim = numbers.below(40) as usize;
                                let (block, size) = blocks.swap_remove(victim);
                                // SAFETY: it was allocated above and is freed once.
                                unsafe {
                                    assert_eq!(block.read(), seed as u8);
                                    assert_eq!(block.add(size - 1).read(), seed as u8);
                                    libc::free(block.cast());
                                }
                            }
                        });
                        for (block, _) in blocks {
                            // SAFETY: as above.
                            unsafe { libc::free(block.cast()) };
                        }
                    })
                });
                // Raw pointers do not cross an await: there is none.
                join_all(&runtime, tasks);
                hogs.stop(&runtime);
                assert!(runtime.metrics().asynchronous_preemptions() >= 400);
            }
        },
    );
}

#[test]
fn preemption_inside_malloc_does_not_hang_one_worker() {
    let runtime = runtime(1);
    let hogs = Hogs::crowd(&runtime, 1);
    let tasks = (1..=6_u64).map(|seed| {
        runtime.spawn(async move {
            let mut numbers = Numbers::new(seed);
            under_preemption(400, || {
                let strings: Vec<String> = (0..numbers.below(40))
                    .map(|number| format!("{number}-{seed}").repeat(1 + number as usize))
                    .collect();
                for (number, string) in strings.iter().enumerate() {
                    assert!(string.starts_with(&format!("{number}-{seed}")));
                }
            });
        })
    });
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
}

#[test]
fn preemption_under_the_lock_of_stdout_does_not_hang_one_worker() {
    isolated::run(
        "preemption_under_the_lock_of_stdout_does_not_hang_one_worker",
        || {
            let runtime = runtime(1);
            let hogs = Hogs::crowd(&runtime, 1);
            let printed = Arc::new(AtomicU64::new(0));
            let tasks = (0..4).map(|task| {
                let printed = printed.clone();
                runtime.spawn(async move {
                    let metrics = metrics();
                    let wanted = metrics.asynchronous_preemptions() + 20;
                    let mut line = 0;
                    // Few lines: they are read by whoever runs the test.
                    while line < 100 || metrics.asynchronous_preemptions() < wanted {
                        if line < 1000 {
                            println!("task {task}, line {line}");
                            printed.fetch_add(1, Ordering::Relaxed);
                        }
                        line += 1;
                    }
                })
            });
            join_all(&runtime, tasks);
            hogs.stop(&runtime);
            assert!(printed.load(Ordering::Relaxed) >= 400);
        },
    );
}

#[test]
fn preemption_while_capturing_backtraces_does_not_hang_one_worker() {
    let runtime = runtime(1);
    let hogs = Hogs::crowd(&runtime, 1);
    let tasks = (0..4).map(|_| {
        runtime.spawn(async move {
            under_preemption(50, || {
                let backtrace = std::backtrace::Backtrace::force_capture();
                assert_eq!(
                    backtrace.status(),
                    std::backtrace::BacktraceStatus::Captured
                );
            });
        })
    });
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
}

extern "C" fn count_object(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    count: *mut libc::c_void,
) -> i32 {
    // SAFETY: the loader passes a valid description, `objects` its counter.
    unsafe {
        assert!((*info).dlpi_phnum > 0);
        *count.cast::<u64>() += 1;
    }
    0
}

fn objects() -> u64 {
    let mut count = 0_u64;
    // SAFETY: the callback gets the counter, which lives.
    unsafe { libc::dl_iterate_phdr(Some(count_object), (&raw mut count).cast()) };
    count
}

#[test]
fn preemption_inside_dl_iterate_phdr_does_not_hang_one_worker() {
    let runtime = runtime(1);
    let hogs = Hogs::crowd(&runtime, 1);
    let tasks = (0..4).map(|_| {
        runtime.spawn(async move {
            under_preemption(200, || assert!(objects() >= 2));
        })
    });
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
}

/// Panics ten frames down.
#[inline(never)]
fn sink(depth: u32, value: u64, drops: &AtomicU64) -> u64 {
    struct Counts<'a>(&'a AtomicU64);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let _counts = Counts(drops);
    if depth == 0 {
        // No hook, no message: this is about unwinding.
        std::panic::resume_unwind(Box::new(value));
    }
    std::hint::black_box(sink(depth - 1, value, drops)) + 1
}

#[test]
fn preemption_while_panics_unwind_does_not_hang_one_worker() {
    let runtime = runtime(1);
    let hogs = Hogs::crowd(&runtime, 1);
    let tasks = (0..4_u64).map(|task| {
        runtime.spawn(async move {
            let mut round = 0;
            under_preemption(200, || {
                let drops = AtomicU64::new(0);
                let value = task << 32 | round;
                let caught = catch_unwind(AssertUnwindSafe(|| sink(10, value, &drops)));
                let payload = caught.expect_err("it panics");
                assert_eq!(payload.downcast_ref::<u64>(), Some(&value));
                assert_eq!(drops.load(Ordering::Relaxed), 11);
                assert!(!std::thread::panicking());
                round += 1;
            });
        })
    });
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
}
