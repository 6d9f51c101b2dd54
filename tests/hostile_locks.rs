//! Locks of all kinds whose holders are preempted, with as little as one worker.

mod support;

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, zeroed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::hostile::{Hogs, Random, churn, join_all, metrics, runtime, spin_until};
use support::isolated;

/// Repeats `step` until the runtime has preempted as often again.
fn under_preemption(preemptions: u64, step: impl FnMut()) {
    churn(preemptions, 0, step);
}

#[test]
fn the_holder_of_the_only_malloc_arena_is_preempted_and_nobody_hangs() {
    isolated::run(
        "the_holder_of_the_only_malloc_arena_is_preempted_and_nobody_hangs",
        || {
            // SAFETY: called before any other thread allocates.
            assert_eq!(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) }, 1);
            for workers in [1, 2] {
                let runtime = runtime(workers);
                let hogs = Hogs::start(&runtime, 1);
                let tasks = (1..=12_u64).map(|seed| {
                    runtime.spawn(async move {
                        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        let mut blocks: Vec<(*mut u8, usize)> = Vec::new();
                        under_preemption(400, || {
                            // Beyond what thread caches hold, short of what is mapped apart.
                            let size = 2048 + random.below(100_000) as usize;
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
                                let victim = random.below(40) as usize;
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

/// A pthread mutex of some kind and what it protects.
struct Protected {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    condition: UnsafeCell<libc::pthread_cond_t>,
    /// Two words that agree whenever the mutex is free.
    words: UnsafeCell<[u64; 2]>,
}

// SAFETY: the words are touched only under the mutex, which is made for threads.
unsafe impl Sync for Protected {}
// SAFETY: as above; it stays in its `Arc`.
unsafe impl Send for Protected {}

impl Protected {
    fn new(kind: i32, robust: bool) -> Arc<Protected> {
        let protected = Arc::new(Protected {
            // SAFETY: all-zero is initialised below.
            mutex: UnsafeCell::new(unsafe { zeroed() }),
            condition: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            words: UnsafeCell::new([0; 2]),
        });
        // SAFETY: the attributes are initialised before they are used, and the mutex does not move any more.
        unsafe {
            let mut attributes = MaybeUninit::uninit();
            assert_eq!(libc::pthread_mutexattr_init(attributes.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind),
                0
            );
            if robust {
                let robust = libc::PTHREAD_MUTEX_ROBUST;
                assert_eq!(
                    libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust),
                    0
                );
            }
            assert_eq!(
                libc::pthread_mutex_init(protected.mutex.get(), attributes.as_ptr()),
                0
            );
        }
        protected
    }

    fn lock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) }
    }

    fn try_lock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_trylock(self.mutex.get()) }
    }

    fn unlock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_unlock(self.mutex.get()) }
    }

    /// Waits on the condition variable for at most `nanoseconds`.
    fn wait(&self, nanoseconds: i64) -> i32 {
        // SAFETY: the caller holds the mutex; the time is valid.
        unsafe {
            let mut time: libc::timespec = zeroed();
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut time);
            time.tv_nsec += nanoseconds;
            time.tv_sec += time.tv_nsec / 1_000_000_000;
            time.tv_nsec %= 1_000_000_000;
            libc::pthread_cond_timedwait(self.condition.get(), self.mutex.get(), &time)
        }
    }

    fn notify(&self) {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_cond_signal(self.condition.get()) };
    }

    /// Changes the words; the mutex is held.
    fn step(&self) {
        let words = self.words.get();
        // SAFETY: the mutex is held.
        unsafe {
            assert_eq!((*words)[0], (*words)[1]);
            (*words)[0] += 1;
            for _ in 0..50 {
                std::hint::spin_loop();
            }
            (*words)[1] += 1;
        }
    }
}

#[test]
fn a_recursive_mutex_knows_its_owner_across_migrations() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::start(&runtime, workers);
        let protected = Protected::new(libc::PTHREAD_MUTEX_RECURSIVE, false);
        let tasks = (0..4).map(|_| {
            let protected = protected.clone();
            runtime.spawn(async move {
                under_preemption(150, || {
                    for _ in 0..3 {
                        assert_eq!(protected.lock(), 0);
                    }
                    protected.step();
                    assert_eq!(protected.try_lock(), 0);
                    for _ in 0..4 {
                        assert_eq!(protected.unlock(), 0);
                    }
                    assert_eq!(protected.unlock(), libc::EPERM);
                });
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
    }
}

#[test]
fn error_checking_and_robust_mutexes_know_their_owner_across_migrations() {
    for (workers, robust) in [(1, false), (2, false), (1, true), (2, true)] {
        let runtime = runtime(workers);
        let hogs = Hogs::start(&runtime, workers);
        let protected = Protected::new(libc::PTHREAD_MUTEX_ERRORCHECK, robust);
        let tasks = (0..4).map(|_| {
            let protected = protected.clone();
            runtime.spawn(async move {
                under_preemption(100, || {
                    assert_eq!(protected.lock(), 0);
                    assert_eq!(protected.lock(), libc::EDEADLK);
                    protected.step();
                    assert_eq!(protected.unlock(), 0);
                    assert_eq!(protected.unlock(), libc::EPERM);
                });
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
    }
}

#[test]
fn condition_variables_with_timeouts_wait_and_wake_under_preemption() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::start(&runtime, 1);
        let protected = Protected::new(libc::PTHREAD_MUTEX_NORMAL, false);
        let tasks = (0..2_u64).map(|side| {
            let protected = protected.clone();
            runtime.spawn(async move {
                let mut timeouts = 0_u64;
                for _ in 0..200 {
                    assert_eq!(protected.lock(), 0);
                    // SAFETY: the mutex is held.
                    while unsafe { (*protected.words.get())[0] } % 2 != side {
                        match protected.wait(2_000_000) {
                            0 => {}
                            libc::ETIMEDOUT => timeouts += 1,
                            error => panic!("pthread_cond_timedwait: {error}"),
                        }
                    }
                    protected.step();
                    protected.notify();
                    assert_eq!(protected.unlock(), 0);
                }
                timeouts
            })
        });
        join_all(&runtime, tasks);
        // A wait that nobody ends.
        let alone = Protected::new(libc::PTHREAD_MUTEX_NORMAL, false);
        let waits = runtime.spawn(async move {
            assert_eq!(alone.lock(), 0);
            spin_until("a wait that times out", || {
                alone.wait(1_000_000) == libc::ETIMEDOUT
            });
            assert_eq!(alone.unlock(), 0);
        });
        join_all(&runtime, [waits]);
        hogs.stop(&runtime);
        // SAFETY: nobody holds it any more.
        assert_eq!(unsafe { (*protected.words.get())[1] }, 400);
        assert!(runtime.metrics().preemptions() > 0);
    }
}

#[test]
fn preemption_inside_malloc_does_not_hang_one_worker() {
    let runtime = runtime(1);
    let hogs = Hogs::start(&runtime, 1);
    let tasks = (1..=6_u64).map(|seed| {
        runtime.spawn(async move {
            let mut random = Random(seed);
            under_preemption(400, || {
                let strings: Vec<String> = (0..random.below(40))
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
            let hogs = Hogs::start(&runtime, 1);
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
    let hogs = Hogs::start(&runtime, 1);
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
    let hogs = Hogs::start(&runtime, 1);
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
    let hogs = Hogs::start(&runtime, 1);
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
