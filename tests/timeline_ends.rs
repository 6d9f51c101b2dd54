//! What becomes of a timeline whose process ends before its runtime, forks, or has no room on its disk. Each in a process of
//! its own.

mod support;
#[path = "support/trace.rs"]
#[allow(dead_code, reason = "tests/timeline.rs uses the rest of it")]
mod trace;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task::Builder as Task;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::isolated;
use support::load::{block_on, spin_at_most, wait_until};
use trace::Trace;

/// A file that parent and child know.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("preemptive-timeline-ends-{name}.json"))
}

fn recording(path: &Path) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(500))
        .record_timeline(path)
        .build()
        .expect("a runtime")
}

fn hog(runtime: &Runtime, name: &str) {
    let hog = async {
        loop {
            spin_at_most(Duration::from_secs(60), || false);
        }
    };
    let task = Task::new().name(name).spawn_on(hog, runtime.handle());
    drop(task.expect("no stack size was asked for"));
}

/// How much has been written.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The file as far as it got: it lacks the bracket only.
#[track_caller]
fn unfinished(path: &Path) -> Trace {
    let text = fs::read_to_string(path).expect("the file is there");
    assert!(!text.ends_with("]\n"), "it was finished");
    Trace::parse(&format!("{text}\n]\n"))
}

/// Has a slice of this name begun there, and not ended?
fn is_open(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let count = |phase: &str| {
        let what = format!(r#"{{"ph":"{phase}","name":"{name}""#);
        text.matches(&what).count()
    };
    count("B") > count("E")
}

fn has(path: &Path, what: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains(what))
}

#[test]
fn a_process_that_just_exits_leaves_what_it_has_done_and_does() {
    let path = file("exit");
    let end = isolated::end_of(
        "a_process_that_just_exits_leaves_what_it_has_done_and_does",
        || {
            let runtime = recording(&path);
            hog(&runtime, "endless");
            let task = Task::new()
                .name("short")
                .spawn_on(async {}, runtime.handle());
            block_on(&runtime, task.unwrap()).unwrap();
            // A poll that does not end is written when it has gone on for long.
            wait_until("both are written", || {
                has(&path, "short") && is_open(&path, "endless")
            });
            std::process::exit(3);
        },
    );
    assert_eq!(end.code, Some(3), "{}", end.stderr);
    let trace = unfinished(&path);
    assert!(trace.unfinished.contains(&"endless".to_owned()));
    assert!(!trace.named("short").is_empty());
    let _ = fs::remove_file(path);
}

#[test]
fn a_leaked_runtime_goes_on_recording() {
    let path = file("leaked");
    let end = isolated::end_of("a_leaked_runtime_goes_on_recording", || {
        let runtime = recording(&path);
        let handle = runtime.handle().clone();
        std::mem::forget(runtime);
        let task = Task::new().name("later").spawn_on(async {}, &handle);
        handle.block_on(task.unwrap()).unwrap();
        wait_until("it is written", || has(&path, "later"));
        std::process::exit(3);
    });
    assert_eq!(end.code, Some(3), "{}", end.stderr);
    assert!(!unfinished(&path).named("later").is_empty());
    let _ = fs::remove_file(path);
}

#[test]
fn a_forked_child_writes_nothing() {
    let path = file("fork");
    isolated::run("a_forked_child_writes_nothing", || {
        let runtime = recording(&path);
        let task = runtime.spawn(async {
            // SAFETY: the child calls `_exit` and what is async-signal-safe.
            match unsafe { libc::fork() } {
                0 => {
                    spin_at_most(Duration::from_millis(100), || false);
                    // SAFETY: it ends the process, which runs nothing else.
                    unsafe { libc::_exit(7) }
                }
                child => child,
            }
        });
        let child = block_on(&runtime, task).unwrap();
        let mut status = 0;
        // SAFETY: the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        drop(runtime);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("process_name").count(), 2);
        let trace = Trace::parse(&text);
        assert_eq!(trace.lost(), 0);
        // The child's exit has not closed what the parent writes to.
        assert_eq!(length(&path), text.len() as u64);
    });
    let _ = fs::remove_file(path);
}

#[test]
fn a_full_disk_is_told_of_once_and_the_runtime_goes_on() {
    let end = isolated::end_of(
        "a_full_disk_is_told_of_once_and_the_runtime_goes_on",
        || {
            let runtime = recording(Path::new("/dev/full"));
            for _ in 0..3 {
                for _ in 0..10_000 {
                    drop(runtime.spawn(async {}));
                }
                assert_eq!(
                    block_on(&runtime, runtime.spawn(async { 6 * 7 })).unwrap(),
                    42
                );
                std::thread::sleep(Duration::from_millis(60));
            }
            drop(runtime);
            std::process::exit(3);
        },
    );
    assert_eq!(end.code, Some(3), "{}", end.stderr);
    assert_eq!(end.stderr.matches("/dev/full").count(), 1, "{}", end.stderr);
    assert!(
        end.stderr.contains("cannot write the timeline"),
        "{}",
        end.stderr
    );
}

/// A disk that becomes full in the middle: a limit on the size of files.
#[test]
fn what_was_written_before_a_failure_can_be_read() {
    let path = file("limit");
    let end = isolated::end_of("what_was_written_before_a_failure_can_be_read", || {
        let limit = libc::rlimit {
            rlim_cur: 20_000,
            rlim_max: 20_000,
        };
        // SAFETY: the limit is valid for reads; beyond it, writes are to fail, not to end the process.
        unsafe {
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
        let runtime = recording(&path);
        for _ in 0..20 {
            for _ in 0..10 {
                drop(runtime.spawn(async {}));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(
            block_on(&runtime, runtime.spawn(async { 6 * 7 })).unwrap(),
            42
        );
        drop(runtime);
        std::process::exit(3);
    });
    assert_eq!(end.code, Some(3), "{}", end.stderr);
    assert_eq!(
        end.stderr.matches("cannot write the timeline").count(),
        1,
        "{}",
        end.stderr
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() <= 20_000);
    let text = text.trim_end().trim_end_matches(']').trim_end();
    assert!(!Trace::parse(&format!("{text}\n]\n")).slices.is_empty());
    let _ = fs::remove_file(path);
}
