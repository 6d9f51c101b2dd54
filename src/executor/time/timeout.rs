//! Limiting how long a future may take.

use super::error::Elapsed;
use super::{Instant, Sleep};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Gives `future` at most `duration`, from this call on.
///
/// At each poll the future is asked first: one that is ready at once succeeds even with a limit of zero. A
/// future that does not return from its own `poll` is not interrupted, only kept from starving others; its
/// limit is looked at when that `poll` is over. A duration that cannot be added to the present
/// ([`Duration::MAX`], say) is some thirty years.
///
/// # Errors
///
/// [`Elapsed`] if the time is over before the future is ready. The future is dropped with the [`Timeout`].
///
/// # Cancel safety
///
/// Dropping the timeout drops `future`; it is as cancel-safe as that.
///
/// # Panics
///
/// Outside a runtime, and when it is polled after its runtime has been shut down.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, timeout};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
///
///     let forever = std::future::pending::<()>();
///     assert!(timeout(Duration::from_millis(2), forever).await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        delay: Sleep::new(Instant::after(duration)),
        value: future.into_future(),
    }
}

/// Gives `future` time until `deadline`.
///
/// Otherwise as [`timeout`], which see for errors, panics and cancel safety. With a deadline in the past the
/// future is polled once.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, timeout_at};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     assert!(timeout_at(deadline, std::future::pending::<()>()).await.is_err());
///     assert!(Instant::now() >= deadline);
/// });
/// ```
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        delay: Sleep::new(deadline),
        value: future.into_future(),
    }
}

/// The future of [`timeout`] and [`timeout_at`].
///
/// # Examples
///
/// ```
/// use preemptive::task::JoinHandle;
/// use preemptive::time::{Duration, Timeout, timeout};
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// struct Request {
///     answer: Timeout<JoinHandle<u32>>,
/// }
///
/// let task = preemptive::spawn(async { 42 });
/// let request = Request { answer: timeout(Duration::from_secs(60), task) };
/// assert_eq!(request.answer.await.unwrap().unwrap(), 42);
/// # });
/// ```
#[must_use = "futures do nothing unless you `.await` or poll them"]
#[derive(Debug)]
pub struct Timeout<T> {
    // Pinned when the timeout is, both of them. `Sleep` is `!Unpin`, and so the timeout always is.
    value: T,
    delay: Sleep,
}

impl<T> Timeout<T> {
    /// The future whose time is limited.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, timeout};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = preemptive::spawn(std::future::pending::<()>());
    /// let limited = timeout(Duration::from_secs(60), task);
    /// limited.get_ref().abort();
    /// assert!(limited.await.unwrap().unwrap_err().is_cancelled());
    /// # });
    /// ```
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// The future whose time is limited.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, timeout};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = preemptive::spawn(async { 42 });
    /// let mut limited = timeout(Duration::ZERO, task);
    /// // Without the limit.
    /// assert_eq!(limited.get_mut().await.unwrap(), 42);
    /// # });
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// The future, without its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, timeout};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let limited = timeout(Duration::ZERO, preemptive::spawn(async { 42 }));
    /// let task = limited.into_inner();
    /// assert_eq!(task.await.unwrap(), 42);
    /// # });
    /// ```
    pub fn into_inner(self) -> T {
        self.value
    }

    fn project(self: Pin<&mut Self>) -> (Pin<&mut T>, Pin<&mut Sleep>) {
        // SAFETY: nothing is moved out of the reference; both fields go on pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `value` is pinned whenever the timeout is: a timeout is `!Unpin`, has no `Drop` of its own
        // and is not packed; `get_mut` and `into_inner` need it unpinned.
        let value = unsafe { Pin::new_unchecked(&mut this.value) };
        // SAFETY: as for `value`, and nothing else gives a `&mut` to `delay`.
        let delay = unsafe { Pin::new_unchecked(&mut this.delay) };
        (value, delay)
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (value, delay) = self.project();
        if let Poll::Ready(output) = value.poll(context) {
            return Poll::Ready(Ok(output));
        }
        delay.poll(context).map(|()| Err(Elapsed::new()))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::executor::timer::tests::{Count, Fake};
    use std::future::{pending, ready};
    use std::pin::pin;

    #[test]
    fn a_ready_future_beats_a_deadline_in_the_past() {
        let (_, waker) = Count::new();
        let timeout = Timeout {
            value: ready(3),
            delay: Sleep::of(Fake::new(), Instant::now()),
        };
        let answer = pin!(timeout).poll(&mut Context::from_waker(&waker));
        assert_eq!(answer, Poll::Ready(Ok(3)));
    }

    #[test]
    fn a_future_that_takes_too_long_is_given_up() {
        let fake = Fake::new();
        let (count, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        let timeout = Timeout {
            value: pending::<()>(),
            delay: Sleep::of(fake.clone(), Instant::after(Duration::from_millis(5))),
        };
        let mut timeout = pin!(timeout);
        assert!(timeout.as_mut().poll(&mut context).is_pending());
        while fake.turn() == 0 {}
        assert_eq!(count.get(), 1);
        assert_eq!(timeout.poll(&mut context), Poll::Ready(Err(Elapsed::new())));
    }

    #[test]
    fn the_future_can_be_had_back() {
        let mut timeout = Timeout {
            value: 5,
            delay: Sleep::of(Fake::new(), Instant::now()),
        };
        *timeout.get_mut() += 1;
        assert_eq!(*timeout.get_ref(), 6);
        assert_eq!(timeout.into_inner(), 6);
    }
}
