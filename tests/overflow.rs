//! Stack overflows: what is said about them before the process ends, and which faults are none.

mod support;

use preemptive::runtime::{Builder, Runtime};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use support::isolated::{End, end_of};

/// Recursion without an end. Each call has room of its own, and something to do after the inner one.
#[inline(never)]
fn recurse_for_ever(depth: u64) -> u64 {
    let room = black_box([depth; 8]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse_for_ever(depth + 1) + room[3]
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(256 * 1024)
        .build()
        .expect("a runtime")
}

/// Where `needle` begins; the text must have it.
#[track_caller]
fn find(end: &End, needle: &str) -> usize {
    let text = &end.stderr;
    text.find(needle)
        .unwrap_or_else(|| panic!("no {needle:?} in:\n{text}"))
}

#[track_caller]
fn assert_lacks(end: &End, needle: &str) {
    let text = &end.stderr;
    assert!(!text.contains(needle), "{needle:?} in:\n{text}");
}

#[track_caller]
fn assert_killed_by(end: &End, signal: i32) {
    assert_eq!(end.signal, Some(signal), "{}", end.stderr);
}

#[test]
fn the_report_has_task_place_limit_cure_and_frames() {
    let line = line!() + 8;
    let end = end_of("the_report_has_task_place_limit_cure_and_frames", || {
        let runtime = runtime();
        let builder = preemptive::task::Builder::new().name("the deep one");
        let future = async {
            eprintln!("it has the number {}", preemptive::task::id());
            black_box(recurse_for_ever(1))
        };
        let task = builder.spawn_on(future, runtime.handle()).expect("a task");
        let _ = runtime.block_on(task);
    });
    assert_killed_by(&end, libc::SIGABRT);
    let id = end.stderr[find(&end, "it has the number ")..]
        .split_whitespace()
        .nth(4)
        .unwrap_or_default();
    find(
        &end,
        &format!("preemptive: task {id} \"the deep one\" has overflowed its stack"),
    );
    find(&end, &format!("spawned at tests/overflow.rs:{line}:"));
    find(&end, "the limit is 256 KiB");
    let cure = find(&end, "Builder::thread_stack_size");
    let names = find(&end, "and by name:");
    assert!(cure < names);
    let frames = end.stderr[names..].matches("recurse_for_ever").count();
    assert!((20..=32).contains(&frames), "{frames} in:\n{}", end.stderr);
    find(&end, "recurse_for_ever\n");
    find(&end, "at ");
    // The frames of the handler are of no interest.
    assert_lacks(&end, "force_capture");
    assert_lacks(&end, "overflow::handle");
    // As addresses: each with the file and the place in it.
    let addresses = end.stderr[cure..names].matches("/overflow-").count();
    assert_eq!(addresses, 32, "{}", end.stderr);
}

/// A check keeps the red zone free; what needs more than that has the guard page.
#[test]
fn on_a_segment_the_report_speaks_of_the_red_zone() {
    let end = end_of("on_a_segment_the_report_speaks_of_the_red_zone", || {
        let runtime = runtime();
        let deep = || preemptive::stack::grow(usize::MAX, 0, || black_box(recurse_for_ever(1)));
        let _ = runtime.block_on(runtime.spawn(async move { deep() }));
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "has overflowed a segment of its stack");
    find(&end, "red_zone = \"1MiB\"");
    let names = find(&end, "and by name:");
    assert!(end.stderr[names..].contains("recurse_for_ever"));
}

/// A signal stack of the task's own that is too small for looking names up.
#[test]
fn on_a_small_signal_stack_the_frames_have_no_names() {
    let end = end_of("on_a_small_signal_stack_the_frames_have_no_names", || {
        let runtime = runtime();
        let task = runtime.spawn(async {
            let mut own = vec![0_u8; 32 * 1024];
            let stack = libc::stack_t {
                ss_sp: own.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: own.len(),
            };
            // SAFETY: the memory outlives this task, which never ends.
            unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
            black_box(recurse_for_ever(1))
        });
        let _ = runtime.block_on(task);
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "has overflowed its stack");
    assert_eq!(end.stderr.matches("/overflow-").count(), 32);
    assert_lacks(&end, "and by name:");
}

/// One report is enough, and one end.
#[test]
fn of_two_overflows_at_once_one_is_reported() {
    let end = end_of("of_two_overflows_at_once_one_is_reported", || {
        let runtime = runtime();
        let tasks: Vec<_> = (0..8)
            .map(|_| runtime.spawn(async { black_box(recurse_for_ever(1)) }))
            .collect();
        for task in tasks {
            let _ = runtime.block_on(task);
        }
    });
    assert_killed_by(&end, libc::SIGABRT);
    assert_eq!(end.stderr.matches("has overflowed its stack").count(), 1);
}

extern "C" fn say_aborted(_: i32) {
    let said = b"the handler of SIGABRT has run\n";
    // SAFETY: the bytes are a valid range.
    unsafe { libc::write(2, said.as_ptr().cast(), said.len()) };
}

#[test]
fn the_applications_handler_of_sigabrt_runs_after_the_report() {
    let name = "the_applications_handler_of_sigabrt_runs_after_the_report";
    let end = end_of(name, || {
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGABRT, say_aborted as *const () as usize) };
        let runtime = runtime();
        let task = runtime.spawn(async { black_box(recurse_for_ever(1)) });
        let _ = runtime.block_on(task);
    });
    assert_killed_by(&end, libc::SIGABRT);
    let names = find(&end, "and by name:");
    assert!(names < find(&end, "the handler of SIGABRT has run"));
}

#[test]
fn a_forked_childs_overflow_is_reported() {
    let end = end_of("a_forked_childs_overflow_is_reported", || {
        let runtime = runtime();
        let task = runtime.spawn(async {
            // SAFETY: the child calls nothing that a fork may have left locked before it ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                black_box(recurse_for_ever(1));
            }
            let mut status = 0;
            // SAFETY: it is our child, and the status is valid for writes.
            unsafe { libc::waitpid(child, &mut status, 0) };
            assert!(libc::WIFSIGNALED(status), "{status}");
            libc::WTERMSIG(status)
        });
        let signal = runtime.block_on(task).expect("it does not panic");
        std::process::exit(signal);
    });
    assert_eq!(end.code, Some(libc::SIGABRT), "{}", end.stderr);
    find(&end, "has overflowed its stack");
}

#[test]
fn a_poll_that_was_given_back_is_reported_as_well() {
    let end = end_of("a_poll_that_was_given_back_is_reported_as_well", || {
        static GO: AtomicBool = AtomicBool::new(false);
        static RUNS: AtomicBool = AtomicBool::new(false);
        let runtime = runtime();
        runtime.spawn(async {
            RUNS.store(true, Ordering::SeqCst);
            while !GO.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            black_box(recurse_for_ever(1))
        });
        support::load::wait_until("the task runs", || RUNS.load(Ordering::SeqCst));
        runtime.shutdown_timeout(std::time::Duration::from_millis(1));
        GO.store(true, Ordering::SeqCst);
        std::thread::sleep(support::load::LONG);
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "has overflowed its stack");
    find(&end, "recurse_for_ever");
}

#[test]
fn on_a_current_thread_runtime_it_is_the_threads_stack() {
    let end = end_of(
        "on_a_current_thread_runtime_it_is_the_threads_stack",
        || {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let task = runtime.spawn(async { black_box(recurse_for_ever(1)) });
            let _ = runtime.block_on(task);
        },
    );
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "has overflowed its stack");
    find(&end, "spawned at tests/overflow.rs:");
    find(&end, "the limit is that of the thread inside `block_on`");
    find(&end, "recurse_for_ever");
}

#[test]
fn the_future_of_block_on_has_no_number() {
    let end = end_of("the_future_of_block_on_has_no_number", || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { black_box(recurse_for_ever(1)) });
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(
        &end,
        "the future given to `block_on` has overflowed its stack",
    );
    assert_lacks(&end, "spawned at");
}

#[test]
fn a_threads_overflow_is_stds() {
    let end = end_of("a_threads_overflow_is_stds", || {
        let _runtime = runtime();
        let thread = std::thread::Builder::new().name("a plain thread".to_owned());
        let thread = thread
            .spawn(|| black_box(recurse_for_ever(1)))
            .expect("a thread");
        let _ = thread.join();
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "thread 'a plain thread'");
    find(&end, "has overflowed its stack");
    assert_lacks(&end, "preemptive:");
}

#[test]
fn an_overflow_in_block_on_of_workers_is_the_threads_own() {
    // The test harness runs this on a thread of its own.
    let name = "an_overflow_in_block_on_of_workers_is_the_threads_own";
    let end = end_of(name, || {
        runtime().block_on(async { black_box(recurse_for_ever(1)) });
    });
    assert_killed_by(&end, libc::SIGABRT);
    find(&end, "has overflowed its stack");
    assert_lacks(&end, "preemptive:");
}

/// Reads address 8, which no program has.
#[inline(never)]
fn touch_nothing() {
    // SAFETY: none. It faults; that is what it is for.
    unsafe { (black_box(8_usize) as *const u64).read_volatile() };
}

extern "C" fn note_fault(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: a handler's own arguments.
    let address = unsafe { (*info).si_addr() } as usize;
    let said = match (address, context.is_null()) {
        (8, false) => &b"the handler has seen address 8\n"[..],
        _ => &b"the handler has seen something else\n"[..],
    };
    // SAFETY: the bytes are a valid range, and nothing after a fault is worth going on for.
    unsafe {
        libc::write(2, said.as_ptr().cast(), said.len());
        libc::_exit(33);
    }
}

fn install(handler: usize, flags: i32) {
    // SAFETY: a zeroed action is valid, and the handlers here are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        let done = libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        assert_eq!(done, 0);
    }
}

#[test]
fn a_real_fault_on_a_fiber_reaches_the_handler_that_was_there_before() {
    let name = "a_real_fault_on_a_fiber_reaches_the_handler_that_was_there_before";
    let end = end_of(name, || {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        install(note_fault as *const () as usize, flags);
        let runtime = runtime();
        let _ = runtime.block_on(runtime.spawn(async { touch_nothing() }));
    });
    assert_eq!(end.code, Some(33), "{}", end.stderr);
    find(&end, "the handler has seen address 8");
    assert_lacks(&end, "preemptive:");
}

#[test]
fn a_real_fault_elsewhere_reaches_it_too() {
    let end = end_of("a_real_fault_elsewhere_reaches_it_too", || {
        install(note_fault as *const () as usize, libc::SA_SIGINFO);
        let _runtime = runtime();
        touch_nothing();
    });
    assert_eq!(end.code, Some(33), "{}", end.stderr);
    find(&end, "the handler has seen address 8");
}

#[test]
fn with_the_default_action_a_real_fault_kills() {
    let end = end_of("with_the_default_action_a_real_fault_kills", || {
        install(libc::SIG_DFL, 0);
        let runtime = runtime();
        let _ = runtime.block_on(runtime.spawn(async { touch_nothing() }));
    });
    assert_killed_by(&end, libc::SIGSEGV);
    assert_eq!(
        end.stderr.matches("preemptive:").count(),
        0,
        "{}",
        end.stderr
    );
}

#[test]
fn under_stds_handler_a_real_fault_kills() {
    let end = end_of("under_stds_handler_a_real_fault_kills", || {
        let runtime = runtime();
        let _ = runtime.block_on(runtime.spawn(async { touch_nothing() }));
    });
    assert_killed_by(&end, libc::SIGSEGV);
    assert_lacks(&end, "preemptive:");
}

#[test]
fn a_fault_that_is_to_be_ignored_kills_as_ever() {
    let end = end_of("a_fault_that_is_to_be_ignored_kills_as_ever", || {
        install(libc::SIG_IGN, 0);
        let runtime = runtime();
        // One that was sent can be ignored.
        // SAFETY: it is ignored.
        unsafe { libc::raise(libc::SIGSEGV) };
        eprintln!("a signal was ignored");
        let _ = runtime.block_on(runtime.spawn(async { touch_nothing() }));
    });
    find(&end, "a signal was ignored");
    assert_killed_by(&end, libc::SIGSEGV);
}

#[test]
fn a_signal_that_was_sent_kills_by_default() {
    let end = end_of("a_signal_that_was_sent_kills_by_default", || {
        install(libc::SIG_DFL, 0);
        let runtime = runtime();
        let _ = runtime.block_on(runtime.spawn(async {
            // SAFETY: this process is to end by it.
            unsafe { libc::raise(libc::SIGSEGV) }
        }));
    });
    assert_killed_by(&end, libc::SIGSEGV);
}

/// Makes page 0 of a mapping accessible: the faulting access is made again, and succeeds.
static PAGE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
static REPAIRS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn repair(_: i32) {
    REPAIRS.fetch_add(1, Ordering::SeqCst);
    let page = PAGE.load(Ordering::SeqCst) as *mut libc::c_void;
    // SAFETY: the page was mapped by the test.
    unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_WRITE) };
}

/// A handler that mends what was wrong, as garbage collectors do, with one argument; and one that is called once only.
#[test]
fn a_handler_that_mends_a_fault_is_returned_from() {
    let end = end_of("a_handler_that_mends_a_fault_is_returned_from", || {
        install(repair as *const () as usize, libc::SA_RESETHAND);
        let runtime = runtime();
        let word = runtime.block_on(runtime.spawn(async {
            // SAFETY: a fresh mapping; the access faults once.
            unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
                PAGE.store(page as usize, Ordering::SeqCst);
                page.cast::<u64>().write_volatile(7);
                page.cast::<u64>().read_volatile()
            }
        }));
        eprintln!(
            "read {:?}, repaired {} times",
            word.ok(),
            REPAIRS.load(Ordering::SeqCst)
        );
        touch_nothing();
    });
    find(&end, "read Some(7), repaired 1 times");
    assert_killed_by(&end, libc::SIGSEGV);
}
