//! An identity begins with `on_thread_start` and ends, with its destructors, when the runtime is dropped: each once.

mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::load::SHORT;
use support::moves::{TASKS, assert_moving};
use support::pressure::{Watchdog, spin};

/// Identities end, with their destructors, when the runtime is dropped.
#[test]
fn destructors_of_every_thread_local_run_when_the_runtime_is_dropped() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted(Vec<usize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            assert!(!self.0.is_empty());
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }

    thread_local! {
        static COUNTED: Counted = {
            MADE.fetch_add(1, Ordering::SeqCst);
            Counted(vec![7])
        };
    }

    assert_moving("destructors", move |_, moves| {
        let place = COUNTED.with(std::ptr::from_ref);
        while moves.go_on() {
            spin(1_000);
            assert_eq!(COUNTED.with(std::ptr::from_ref), place);
        }
        // As long as nobody has finished, each poll needs an identity of its own.
        assert!(MADE.load(Ordering::SeqCst) >= TASKS);
    });
    let made = MADE.load(Ordering::SeqCst);
    assert!(made >= TASKS);
    assert_eq!(DROPPED.load(Ordering::SeqCst), made, "of {made}");
}

/// What `on_thread_start` leaves in a thread-local is there in every poll; `on_thread_stop` runs as often.
#[test]
fn hooks_run_once_for_every_identity() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static STOPPED: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MARK: Cell<bool> = const { Cell::new(false) };
    }

    let _watchdog = Watchdog::new("hooks");
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(SHORT)
        .on_thread_start(|| {
            assert!(!MARK.replace(true), "twice for one identity");
            STARTED.fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(|| {
            assert!(MARK.get(), "an identity that was never started");
            STOPPED.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("a runtime");
    let running = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let running = running.clone();
            runtime.spawn(async move {
                running.fetch_add(1, Ordering::SeqCst);
                // Until all have begun, which takes 20 polls at a time.
                while running.load(Ordering::SeqCst) < 20 {
                    spin(1_000);
                    assert!(MARK.get(), "a poll on an identity that was never started");
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("no panic");
    }
    let fibers = runtime.metrics().fibers();
    drop(runtime);
    let started = STARTED.load(Ordering::SeqCst);
    assert!(started >= 20 && started >= fibers, "{started} starts");
    assert_eq!(STOPPED.load(Ordering::SeqCst), started);
}
