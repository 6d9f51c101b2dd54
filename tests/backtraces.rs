//! A preempted poll can be looked at: by a debugger while it is parked, and by itself after it was resumed.

mod support;

use std::backtrace::Backtrace;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::load::{SHORT, runtime, wait_until};
use support::pressure::{Watchdog, kernel_thread, spin};

/// Spins until told to stop, and counts.
#[inline(never)]
fn innermost_of_the_first_hog(stop: &AtomicBool, rounds: &AtomicU64) {
    while !black_box(stop).load(Ordering::Relaxed) {
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[inline(never)]
fn caller_of_the_first_hog(stop: &AtomicBool, rounds: &AtomicU64) {
    innermost_of_the_first_hog(stop, rounds);
    // No tail call.
    black_box(rounds);
}

#[inline(never)]
fn innermost_of_the_second_hog(stop: &AtomicBool, rounds: &AtomicU64) {
    while !black_box(stop).load(Ordering::Relaxed) {
        rounds.fetch_add(3, Ordering::Relaxed);
    }
}

#[inline(never)]
fn caller_of_the_second_hog(stop: &AtomicBool, rounds: &AtomicU64) {
    innermost_of_the_second_hog(stop, rounds);
    black_box(rounds);
}

/// The part of the command's output about one suspended fiber in which both functions occur, callee first.
fn shows(output: &str, innermost: &str, caller: &str) -> bool {
    output
        .split("\nfiber ")
        .filter(|part| part.contains("suspended"))
        .any(|part| match (part.find(innermost), part.find(caller)) {
            (Some(first), Some(second)) => {
                // From the scheduler's frames, through the interrupted function, to the start of the fiber.
                let scheduler = part.find("on_preempt");
                let start = part.find("lender_main");
                first < second
                    && scheduler.is_some_and(|scheduler| scheduler < first)
                    && start.is_some_and(|start| second < start)
            }
            _ => false,
        })
}

/// One worker and two hogs: at any moment one of them is parked.
#[test]
fn gdb_walks_from_a_parked_fiber_into_the_interrupted_code() {
    support::isolated::run(
        "gdb_walks_from_a_parked_fiber_into_the_interrupted_code",
        || {
            if !support::gdb::works() {
                return;
            }
            // Where a tracer must be an ancestor, allow any.
            // SAFETY: concerns only who may trace this process.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, usize::MAX) };
            let runtime = runtime(1, Duration::from_millis(5));
            let stop = Arc::new(AtomicBool::new(false));
            let rounds = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
            let first = runtime.spawn({
                let (stop, rounds) = (stop.clone(), rounds[0].clone());
                async move { caller_of_the_first_hog(&stop, &rounds) }
            });
            let second = runtime.spawn({
                let (stop, rounds) = (stop.clone(), rounds[1].clone());
                async move { caller_of_the_second_hog(&stop, &rounds) }
            });
            wait_until("both to have run and been preempted", || {
                runtime.metrics().preemptions() >= 4
                    && rounds
                        .iter()
                        .all(|rounds| rounds.load(Ordering::Relaxed) > 0)
            });
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/gdb.py");
            let mut outputs = String::new();
            // The snapshot may fall between two fibers, or gdb may be refused once.
            let seen = (0..5).any(|_| {
                let output = Command::new("gdb")
                    .args(["-nx", "-batch", "-p", &std::process::id().to_string()])
                    .args([
                        "-ex",
                        &format!("source {script}"),
                        "-ex",
                        "preemptive-fibers",
                    ])
                    .output()
                    .expect("gdb was there a moment ago");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                if errors.contains("ptrace: Operation not permitted") {
                    println!("skipped: this system forbids attaching a debugger");
                    return true;
                }
                if text.contains("no type information") && cfg!(not(debug_assertions)) {
                    println!("skipped: built with line tables only");
                    return true;
                }
                outputs = format!("{text}\n{errors}");
                shows(
                    &text,
                    "innermost_of_the_first_hog",
                    "caller_of_the_first_hog",
                ) || shows(
                    &text,
                    "innermost_of_the_second_hog",
                    "caller_of_the_second_hog",
                )
            });
            assert!(seen, "neither hog was found in:\n{outputs}");
            // The debugger has put everything back: both go on and end.
            let before = [0, 1].map(|i| rounds[i].load(Ordering::Relaxed));
            wait_until("both to go on", || {
                (0..2).all(|i| rounds[i].load(Ordering::Relaxed) > before[i])
            });
            stop.store(true, Ordering::Relaxed);
            runtime.block_on(async {
                first.await.expect("no panic");
                second.await.expect("no panic");
            });
        },
    );
}

#[inline(never)]
fn captures_after_moving() -> String {
    // Moved at least twice since the frames above were made.
    let mut last = kernel_thread();
    let mut moves = 0;
    let begin = std::time::Instant::now();
    while moves < 2 && begin.elapsed() < support::load::LONG / 10 {
        spin(500);
        let now = kernel_thread();
        moves += usize::from(now != last);
        last = now;
    }
    Backtrace::force_capture().to_string()
}

#[inline(never)]
fn calls_what_captures() -> String {
    black_box(captures_after_moving())
}

#[test]
fn a_backtrace_taken_after_a_preemption_shows_the_function_and_its_callers() {
    let _watchdog = Watchdog::new("backtraces");
    let runtime = runtime(2, SHORT);
    let tasks: Vec<_> = (0..5)
        .map(|_| runtime.spawn(async { calls_what_captures() }))
        .collect();
    for task in tasks {
        let trace = runtime.block_on(task).expect("no panic");
        let place = |name: &str| {
            trace
                .find(name)
                .unwrap_or_else(|| panic!("no {name} in:\n{trace}"))
        };
        assert!(
            place("captures_after_moving") < place("calls_what_captures"),
            "{trace}"
        );
        assert!(
            place("calls_what_captures") < place("lender_main"),
            "{trace}"
        );
    }
    assert!(runtime.metrics().preemptions() > 0);
}
