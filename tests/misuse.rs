//! A wrong call panics with the caller's location, and the message says what to do instead.

mod support;

use preemptive::runtime::{Handle, Runtime};
use preemptive::task;
use preemptive::time::sleep;
use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use support::load::{block_on, message};

thread_local! {
    /// Where the last panic of this thread came from.
    static LOCATION: RefCell<Option<(String, u32, String)>> = const { RefCell::new(None) };
}

/// Where `f` says that it panicked, and what it said.
fn location_of(f: impl FnOnce()) -> (String, u32, String) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().expect("there always is one");
        let message = message(info.payload()).unwrap_or_default();
        LOCATION.set(Some((
            location.file().to_owned(),
            location.line(),
            message.to_owned(),
        )));
    }));
    let caught = catch_unwind(AssertUnwindSafe(f));
    std::panic::set_hook(before);
    assert!(caught.is_err(), "it did not panic");
    LOCATION.take().expect("the hook was called")
}

#[test]
fn misuse_panics_with_the_callers_location_and_says_the_cure() {
    support::isolated::run(
        "misuse_panics_with_the_callers_location_and_says_the_cure",
        misuse,
    );
}

fn misuse() {
    let runtime = Runtime::new().unwrap();
    let mut builder = preemptive::runtime::Builder::new_multi_thread();
    let cancelled = runtime.spawn(pending::<()>());
    cancelled.abort();
    let cancelled = block_on(&runtime, cancelled).unwrap_err();
    // Each case on one line: `line!` is the line that is blamed.
    #[rustfmt::skip]
    type Case<'a> = (&'static str, u32, Box<dyn FnOnce() + 'a>);
    let cases: Vec<Case<'_>> = vec![
        (
            "block_on",
            line!(),
            Box::new(|| drop(preemptive::spawn(async {}))),
        ),
        (
            "block_on",
            line!(),
            Box::new(|| drop(task::spawn_blocking(|| ()))),
        ),
        ("block_on", line!(), Box::new(|| drop(Handle::current()))),
        (
            "block_on",
            line!(),
            Box::new(|| drop(sleep(Duration::ZERO))),
        ),
        (
            "at least 1",
            line!(),
            Box::new(|| drop(builder.worker_threads(0).build())),
        ),
        (
            "await",
            line!(),
            Box::new(|| runtime.block_on(async { runtime.block_on(async {}) })),
        ),
        (
            "is_panic",
            line!(),
            Box::new(|| drop(cancelled.into_panic())),
        ),
        (
            "task",
            line!(),
            Box::new(|| {
                let _ = task::id();
            }),
        ),
    ];
    for (cure, line, case) in cases {
        let (file, panicked, message) = location_of(case);
        // The closure of the case stands on its line or, however it is formatted, just below.
        assert_eq!(file, file!(), "{message}");
        assert!(
            (line..line + 4).contains(&panicked),
            "{panicked}: {message}"
        );
        assert!(message.contains(cure), "{message} does not speak of {cure}");
    }
}
