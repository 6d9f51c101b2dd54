//! The same bodies on Tokio, on us, and on us beside eight hogs.
//!
//! Each body returns what it observed. What Tokio shows, we must show.

#![allow(
    dead_code,
    reason = "each test file uses a part of this, and compiles it on its own"
)]

use compat_tests::{Runtime, message};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A list of events.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    /// Logs when it is dropped.
    pub(crate) fn guard(&self, name: &'static str) -> Guard {
        Guard(self.clone(), name)
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) struct Guard(Log, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add(format!("{} dropped", self.1));
    }
}

pub(crate) struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("expected: in drop");
    }
}

pub(crate) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = message(info.payload()).unwrap_or("expected");
            // The second: what both runtimes say of a handle that is joined twice.
            if !message.starts_with("expected") && message != "JoinHandle polled after completion" {
                before(info);
            }
        }));
    });
}

/// Runs a body's future on a new runtime, for a minute at most, and ends the runtime.
pub(crate) fn on<R: Runtime, T: Send + 'static>(
    body: impl Future<Output = T> + Send + 'static,
) -> T {
    quiet();
    let runtime = R::new();
    let output = runtime.block_on(async { R::timeout(LONG, body).await });
    runtime.end();
    output.unwrap_or_else(|| panic!("{}: not done within a minute", R::NAME))
}

/// One test per body: what Tokio shows, we show, alone and beside hogs.
macro_rules! contract {
    ($($name:ident: $body:ident,)*) => { $(
        #[test]
        fn $name() {
            let expected = $body::<compat_tests::Oracle>();
            for _ in 0..5 {
                assert_eq!($body::<compat_tests::Ours>(), expected);
            }
            assert_eq!($body::<compat_tests::Crowded>(), expected);
        }
    )* };
}
