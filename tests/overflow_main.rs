//! An overflow on the main thread is std's to report, with a runtime or without; under a current-thread runtime the
//! task's name comes first. A test harness runs its tests elsewhere, so this file has none.

use preemptive::runtime::Builder;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const VARIABLE: &str = "PREEMPTIVE_OVERFLOW_MAIN";

#[inline(never)]
fn recurse_for_ever(depth: u64) -> u64 {
    let room = black_box([depth; 8]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse_for_ever(depth + 1) + room[3]
}

/// What the child does: overflows the main thread's stack.
fn overflow(how: &str) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: no core file is wanted; the limit is valid for reads.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    let runtime = match how {
        "task" => Builder::new_current_thread().build(),
        _ => Builder::new_multi_thread().worker_threads(1).build(),
    };
    let runtime = runtime.expect("a runtime");
    if how == "task" {
        let task = runtime.spawn(async { black_box(recurse_for_ever(1)) });
        let _ = runtime.block_on(task);
    }
    black_box(recurse_for_ever(1));
}

/// Runs the child: what it wrote before SIGABRT.
fn said_by(how: &str) -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let child = Command::new(program).env(VARIABLE, how).output();
    let child = child.expect("the child starts");
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
    assert!(said.contains("has overflowed its stack"), "{said}");
    said
}

fn main() {
    if let Ok(how) = std::env::var(VARIABLE) {
        return overflow(&how);
    }
    let said = said_by("thread");
    assert!(said.contains("thread 'main'"), "{said}");
    assert!(!said.contains("preemptive:"), "{said}");

    let said = said_by("task");
    assert!(said.contains("preemptive: task 1 has"), "{said}");
    assert!(said.contains("recurse_for_ever\n"), "{said}");
    println!("two overflows on the main thread: ok");
}
