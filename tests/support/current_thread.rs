//! What the tests of current-thread runtimes share.

use super::load::SHORT;
use preemptive::runtime::{Builder, Runtime};
use preemptive::time::Duration;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A current-thread runtime with the shortest slices.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .time_slice(SHORT)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// So long that no test goes on until it has passed.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A current-thread runtime with the shortest slices, whose clock stands still.
pub(crate) fn paused() -> Runtime {
    Builder::new_current_thread()
        .time_slice(SHORT)
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Polls a future once.
pub(crate) async fn is_ready<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// What `f` says in its panic.
pub(crate) fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    super::load::message(&*payload).expect("a text").to_owned()
}

/// Starts a task that nobody waits for.
pub(crate) fn detach(future: impl Future<Output = ()> + Send + 'static) {
    drop(preemptive::spawn(future));
}
