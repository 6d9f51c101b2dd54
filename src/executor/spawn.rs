//! Free functions that act on the current runtime.

use super::context;
use super::runtime::{Handle, NO_RUNTIME};
use super::task::{JoinHandle, Seed};
use super::trace::{Kind, Origin};
use crate::preempt::morestack::safepoint;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Starts a task on the current runtime. It runs whether or not its handle is awaited.
///
/// The task may hog: it is preempted when others wait. Dropping the handle detaches it.
///
/// # Panics
///
/// Outside of a runtime.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let task = preemptive::spawn(async { (1..=1_000_u64).sum::<u64>() });
/// assert_eq!(task.await.unwrap(), 500_500);
/// # });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // Before: it may run code of the user's.
    let seed = Seed::new(Kind::Task, &Origin::of::<F>(Location::caller()));
    match context::with_current(|handle| handle.try_spawn(future, seed)) {
        Some((handle, rest)) => {
            drop(rest);
            handle
        }
        None => panic!("{NO_RUNTIME}"),
    }
}

/// Runs a closure on a thread of its own, out of a pool.
///
/// Tasks may block here without harm to others, so this is needed less than elsewhere: for closures that should
/// not take part in scheduling at all. Aborting it has an effect only before it has started.
///
/// # Panics
///
/// Outside of a runtime; if the first thread of the pool cannot be created.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let sum = preemptive::task::spawn_blocking(|| 1 + 1).await.unwrap();
/// assert_eq!(sum, 2);
/// # });
/// ```
#[track_caller]
pub fn spawn_blocking<F, R>(f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Handle::current().spawn_blocking(f)
}

/// Lets other tasks run, once.
///
/// No task here has to: it is preempted anyway. It is the cheapest way to give way, and cancel-safe.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let task = preemptive::spawn(async { 6 * 7 });
/// while !task.is_finished() {
///     preemptive::task::yield_now().await;
/// }
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
pub async fn yield_now() {
    struct YieldNow(bool);

    impl Future for YieldNow {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            safepoint();
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    YieldNow(false).await;
}
