//! What the `hyper` crate wants of a runtime: tasks and timers. With the feature `hyper`.
//!
//! hyper leaves three things to others. [`Executor`] and [`Timer`] are two of them: give them to the `Builder` of a server
//! or of a client's connection (`http2::Builder::new(Executor::new())`, `.timer(Timer::new())`). The third,
//! `hyper::rt::Read` and `Write`, is implemented by whoever has the connection, for instance `hyper_util::rt::TokioIo`
//! for Tokio's sockets.
//!
//! What stands in handlers of requests may compute and block: other connections go on meanwhile.
//!
//! ```
//! use hyper::rt::{Executor as _, Timer as _};
//! use preemptive::hyper::{Executor, Timer};
//! use preemptive::sync::channel;
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! // What hyper does with them.
//! let (sender, receiver) = channel(1);
//! Executor::new().execute(async move {
//!     Timer::new().sleep(std::time::Duration::from_millis(1)).await;
//!     sender.send("in time").await
//! });
//! assert_eq!(receiver.recv().await, Some("in time"));
//! # });
//! ```

use super::runtime::Handle;
use super::time;
use hyper::rt::Sleep;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Starts tasks for hyper on the current runtime. For another one, a [`Handle`] is an executor, too.
///
/// # Panics
///
/// `execute` panics outside of a runtime.
///
/// ```
/// use hyper::rt::Executor as _;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, mut receiver) = preemptive::sync::channel(1);
/// preemptive::hyper::Executor::new().execute(async move { sender.send("done").await });
/// assert_eq!(receiver.recv().await, Some("done"));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Executor;

impl Executor {
    /// There is only one.
    ///
    /// ```
    /// use hyper::rt::Executor as _;
    /// use preemptive::hyper::Executor;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let (sender, receiver) = preemptive::sync::channel(2);
    /// let executor = Executor::new();
    /// for number in [1, 2] {
    ///     let sender = sender.clone();
    ///     executor.execute(async move { sender.send(number).await });
    /// }
    /// drop(sender);
    /// assert_eq!(receiver.recv().await.unwrap() + receiver.recv().await.unwrap(), 3);
    /// # });
    /// ```
    pub fn new() -> Executor {
        Executor
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(super::spawn(future));
    }
}

/// With the feature `hyper`: starts tasks for hyper on this runtime. After it has ended they are cancelled at once.
impl<F> hyper::rt::Executor<F> for Handle
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(self.spawn(future));
    }
}

/// hyper's timer: sleeps of the current runtime.
///
/// # Panics
///
/// `sleep` and `sleep_until` panic outside of a runtime.
///
/// ```
/// use hyper::rt::Timer as _;
/// use std::time::Duration;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let timer = preemptive::hyper::Timer::new();
/// let start = timer.now();
/// timer.sleep(Duration::from_millis(2)).await;
/// assert!(timer.now() - start >= Duration::from_millis(2));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Timer;

impl Timer {
    /// There is only one.
    ///
    /// ```
    /// use hyper::rt::Timer as _;
    /// use preemptive::hyper::Timer;
    /// use std::time::Duration;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let timer = Timer::new();
    /// let deadline = timer.now() + Duration::from_millis(1);
    /// timer.sleep_until(deadline).await;
    /// assert!(timer.now() >= deadline);
    /// # });
    /// ```
    pub fn new() -> Timer {
        Timer
    }
}

impl hyper::rt::Timer for Timer {
    #[track_caller]
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(time::sleep(duration)))
    }

    #[track_caller]
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(time::sleep_until(deadline.into())))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleeping>() {
            Some(ours) => ours.project().reset(deadline.into()),
            // Made by another timer.
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// One of our sleeps, under hyper's trait.
struct Sleeping(time::Sleep);

impl Sleep for Sleeping {}

impl Sleeping {
    fn project(self: Pin<&mut Self>) -> Pin<&mut time::Sleep> {
        // SAFETY: the only field is pinned with the whole, which has no `Drop` and gives nobody a `&mut` to it.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }
    }
}

impl Future for Sleeping {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().poll(context)
    }
}
