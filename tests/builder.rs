//! What a builder refuses, what it says then, and that it leaves nothing behind.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task;
use preemptive::time::{sleep, timeout};
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::isolated;
use support::load::{LONG, block_on, wait_until};

/// Builds, and expects an error that speaks of all of `words`.
#[track_caller]
fn refused(build: impl FnOnce(&mut Builder), words: &[&str]) -> ErrorKind {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    build(&mut builder);
    let error = builder.build().map(drop).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not speak of {word:?}");
    }
    error.kind()
}

#[test]
fn values_out_of_range_are_errors_that_name_the_cure() {
    let invalid = ErrorKind::InvalidInput;
    for slice in [
        Duration::ZERO,
        Duration::from_nanos(49_999),
        Duration::from_secs(11),
        Duration::MAX,
    ] {
        let kind = refused(
            |builder| drop(builder.time_slice(slice).clone()),
            &["50 µs", "10 s"],
        );
        assert_eq!(kind, invalid);
    }
    for signal in [
        0,
        -1,
        65,
        1000,
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        32,
        33,
    ] {
        let kind = refused(
            |builder| drop(builder.preempt_signal(signal).clone()),
            &[&signal.to_string(), "SIGURG"],
        );
        assert_eq!(kind, invalid);
    }
    let kind = refused(
        |builder| drop(builder.thread_stack_size(4096).clone()),
        &["4096", "at least"],
    );
    assert_eq!(kind, invalid);
    let kind = refused(
        |builder| drop(builder.max_threads(1).clone()),
        &["max_threads", "at least"],
    );
    assert_eq!(kind, invalid);
    let kind = refused(
        |builder| drop(builder.thread_name("a\0b").clone()),
        &["thread name", "NUL"],
    );
    assert_eq!(kind, invalid);
}

#[test]
fn zero_workers_and_zero_blocking_threads_panic_and_name_the_cure() {
    let cases: [fn(); 2] = [
        || drop(Builder::new_multi_thread().worker_threads(0).clone()),
        || drop(Builder::new_multi_thread().max_blocking_threads(0).clone()),
    ];
    for case in cases {
        let payload = catch_unwind(case).unwrap_err();
        let text = (payload.downcast_ref::<&str>().map(|text| text.to_string()))
            .or_else(|| payload.downcast_ref::<String>().cloned());
        assert!(text.unwrap().contains("use at least 1"));
    }
}

#[test]
fn the_limits_themselves_are_accepted() {
    for slice in [Duration::from_micros(50), Duration::from_secs(10)] {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .time_slice(slice)
            .max_threads(3)
            .thread_stack_size(64 * 1024)
            .max_blocking_threads(1)
            .thread_name("a-name-longer-than-fifteen-bytes")
            .enable_all()
            .build()
            .unwrap();
        let task = runtime.spawn(async { task::spawn_blocking(|| 4).await.unwrap() });
        assert_eq!(block_on(&runtime, task).unwrap(), 4);
    }
}

#[test]
fn a_builder_can_be_used_again() {
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).on_thread_start(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for _ in 0..3 {
        let before = starts.load(Ordering::SeqCst);
        let runtime = builder.build().unwrap();
        assert_eq!(block_on(&runtime, async { 4 }), 4);
        drop(runtime);
        assert!(starts.load(Ordering::SeqCst) > before);
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
}

/// How much of it this process uses, in bytes.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

fn limit(what: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: libc::RLIM_INFINITY,
    };
    let mut old = limit;
    // SAFETY: both are valid for reads and writes.
    unsafe {
        assert_eq!(libc::getrlimit(what, &mut old), 0);
        old.rlim_cur = value.min(old.rlim_max);
        assert_eq!(libc::setrlimit(what, &old), 0);
    }
}

/// malloc does not map an arena for every few threads.
const ONE_ARENA: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "1")];

/// Builds until it fails `times` times under what `restrict` has done; then checks what is left.
fn fails_cleanly(times: usize, build: impl Fn() -> std::io::Result<Runtime>, words: &[&str]) {
    let settled = || wait_until("the threads have gone", || threads() <= 2);
    settled();
    // What is made once for a process is made by the first failure.
    let mut before = None;
    for _ in 0..times {
        let error = build().map(drop).unwrap_err();
        let text = error.to_string();
        assert!(
            words.iter().any(|word| text.contains(word)),
            "{text:?} names no cure"
        );
        settled();
        let now = mappings();
        assert!(
            now <= *before.get_or_insert(now) + 3,
            "mappings: {before:?}, then {now}"
        );
    }
}

/// A usual runtime can be made, and runs something.
fn works() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    assert_eq!(block_on(&runtime, async { 4 }), 4);
}

#[test]
fn no_memory_for_stacks_is_an_error_that_leaves_nothing_behind() {
    let name = "no_memory_for_stacks_is_an_error_that_leaves_nothing_behind";
    isolated::run_with(name, &ONE_ARENA, LONG, || {
        drop(Runtime::new().unwrap());
        // Address space for less than one stack, then for a few of them.
        let used = address_space();
        let huge = 1 << 30;
        for room in [huge / 2, huge * 5 / 2] {
            limit(libc::RLIMIT_AS, used + room);
            let build = || {
                Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_stack_size(huge as usize)
                    .build()
            };
            fails_cleanly(5, build, &["RLIMIT_AS"]);
        }
        // Usual stacks fit, so it works again.
        works();
    });
}

/// Preemption needs a stack for each poll that is set aside. Without, polls take turns less often, and no more.
#[test]
fn tasks_complete_though_no_more_stacks_can_be_had() {
    let name = "tasks_complete_though_no_more_stacks_can_be_had";
    isolated::run_with(name, &ONE_ARENA, LONG, || {
        // Stacks so large that none fits any more where all else still does.
        let huge: u64 = 1 << 30;
        for workers in [1, 2] {
            limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            let runtime = Builder::new_multi_thread()
                .worker_threads(workers)
                .time_slice(Duration::from_micros(50))
                .thread_stack_size(huge as usize)
                .build()
                .unwrap();
            limit(libc::RLIMIT_AS, address_space() + huge / 2);
            let fibers = runtime.metrics().fibers();
            let tasks: Vec<_> = (0..20_u64)
                .map(|number| {
                    runtime.spawn(async move {
                        let mut words = Vec::new();
                        for turn in 0..20 {
                            let start = std::time::Instant::now();
                            while start.elapsed() < Duration::from_millis(2) {
                                words = (0..100)
                                    .map(|word| (word ^ turn ^ number).to_string())
                                    .collect();
                            }
                            task::yield_now().await;
                        }
                        words.len()
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(block_on(&runtime, task).unwrap(), 100);
            }
            let metrics = runtime.metrics();
            assert!(metrics.preemptions() > 0);
            // What was being made when the limit came down is made.
            assert!(
                metrics.fibers() <= fibers + 4,
                "{fibers} fibers became {}",
                metrics.fibers()
            );
        }
    });
}

#[test]
fn too_many_threads_are_an_error_that_leaves_nothing_behind() {
    let name = "too_many_threads_are_an_error_that_leaves_nothing_behind";
    isolated::run_with(name, &ONE_ARENA, LONG, || {
        // The limit holds for users other than root: become one that has no other processes.
        // SAFETY: plain system calls, before any other thread than the harness's exists.
        let became = unsafe {
            libc::setgid(54_321) == 0 && libc::setuid(54_321 + libc::getpid() as libc::uid_t) == 0
        };
        if !became {
            println!("skipped: not root, and the user's other processes count");
            return;
        }
        for count in [3, 5, 8, 12] {
            limit(libc::RLIMIT_NPROC, count);
            let build = || Builder::new_multi_thread().worker_threads(2).build();
            fails_cleanly(3, build, &["RLIMIT_NPROC", "pids.max", "threads-max"]);
        }
        limit(libc::RLIMIT_NPROC, 1_000);
        works();
    });
}

#[test]
fn asynchronous_preemption_can_be_turned_off_from_outside() {
    let name = "asynchronous_preemption_can_be_turned_off_from_outside";
    let environment = [("PREEMPTIVE_ASYNC_PREEMPT", "off")];
    isolated::run_with(name, &environment, LONG, || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .time_slice(Duration::from_micros(50))
            .build()
            .unwrap();
        cooperates(&runtime);
    });
}

#[test]
fn the_default_time_slice_comes_from_outside() {
    let name = "the_default_time_slice_comes_from_outside";
    isolated::run_with(name, &[("PREEMPTIVE_TIME_SLICE", "20us")], LONG, || {
        // Out of range: it is the default that is wrong.
        let kind = refused(|_| {}, &["20µs", "50 µs", "10 s"]);
        assert_eq!(kind, ErrorKind::InvalidInput);
        let mut named = Builder::new_multi_thread();
        named.worker_threads(1).time_slice(Duration::from_millis(1));
        assert_eq!(named.build().unwrap().block_on(async { 1 }), 1);
        // It gives way to a longer minimum slice that the program asks for.
        let mut longer = Builder::new_multi_thread();
        longer.worker_threads(1).min_slice(Duration::from_millis(1));
        assert_eq!(longer.build().unwrap().block_on(async { 1 }), 1);
    });
}

#[test]
fn a_time_slice_from_outside_that_is_no_duration_is_an_error() {
    let name = "a_time_slice_from_outside_that_is_no_duration_is_an_error";
    isolated::run_with(name, &[("PREEMPTIVE_TIME_SLICE", "soon")], LONG, || {
        let words = ["PREEMPTIVE_TIME_SLICE=soon", "50us"];
        assert_eq!(refused(|_| {}, &words), ErrorKind::InvalidInput);
    });
}

#[test]
fn asynchronous_preemption_can_be_turned_off_in_the_builder() {
    for workers in [1, 2] {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .time_slice(Duration::from_micros(50))
            .async_preempt(false)
            .build()
            .unwrap();
        cooperates(&runtime);
    }
}

/// A program that awaits now and then works, timers and blocking calls included, and no signal stops it.
fn cooperates(runtime: &Runtime) {
    let tasks: Vec<_> = (0..8_u64)
        .map(|number| {
            runtime.spawn(async move {
                let mut sum = 0;
                for turn in 0..50 {
                    sum += (0..20_000).fold(number, |a, b| std::hint::black_box(a ^ b) & 1);
                    match turn % 5 {
                        0 => sleep(Duration::from_micros(200)).await,
                        1 => std::thread::sleep(Duration::from_micros(200)),
                        2 => drop(
                            timeout(Duration::from_micros(100), std::future::pending::<()>()).await,
                        ),
                        _ => task::yield_now().await,
                    }
                }
                sum
            })
        })
        .collect();
    for task in tasks {
        block_on(runtime, task).unwrap();
    }
    assert_eq!(runtime.metrics().asynchronous_preemptions(), 0);
}
