//! Tokio's names for cooperative scheduling. There is no budget here, so none of them makes a task wait.
//!
//! Tokio cannot stop a poll. So that one whose futures are always ready does not starve the others, its channels, timers
//! and sockets count what a poll takes from them, and pretend not to be ready when 128 pieces were taken: the *budget*.
//! Here a poll that runs for long [is preempted](crate), wherever it is, and leaf futures say how things are.
//!
//! Code that was written for a budget runs unchanged: to it, the budget is always there. The functions have Tokio's
//! names and types, and each says what it does instead.
//!
//! Futures of Tokio's own (`tokio::sync`, for instance) see no budget in our tasks either, as in any executor but Tokio's.
//!
//! ```
//! use preemptive::task::coop;
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! for _ in 0..1_000 {
//!     assert!(coop::has_budget_remaining());
//!     coop::consume_budget().await;
//! }
//! # });
//! ```

use crate::preempt::morestack::safepoint;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A safe-point: gives way if others wait for the processor, without leaving the poll. It never makes the task wait.
///
/// Nothing here needs it. As [`safepoint`](crate::safepoint()) it spares a long computation the signal that would
/// preempt it.
///
/// # Cancel safety
///
/// It is ready at once, so it cannot be given up in the middle.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let mut sum = 0;
/// for number in 0..1_000_u64 {
///     sum += number * number;
///     preemptive::task::coop::consume_budget().await;
/// }
/// assert_eq!(sum, 332_833_500);
/// # });
/// ```
pub async fn consume_budget() {
    safepoint();
}

/// Whether the task has some budget left: always, inside and outside of tasks.
///
/// ```
/// assert!(preemptive::task::coop::has_budget_remaining());
/// ```
pub fn has_budget_remaining() -> bool {
    true
}

/// Takes a piece of the budget, for leaf futures: always `Ready`. A safe-point.
///
/// ```
/// use preemptive::task::coop;
/// use std::task::{Poll, ready};
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let mut left = 3;
/// std::future::poll_fn(|context| {
///     let budget = ready!(coop::poll_proceed(context));
///     left -= 1;
///     budget.made_progress();
///     Poll::Ready(())
/// })
/// .await;
/// assert_eq!(left, 2);
/// # });
/// ```
pub fn poll_proceed(context: &mut Context<'_>) -> Poll<RestoreOnPending> {
    let _ = context;
    safepoint();
    Poll::Ready(RestoreOnPending {
        _not_send: PhantomData,
    })
}

/// What [`poll_proceed`] gives: with a budget, dropping it would put the piece back. Here there is nothing to put back.
///
/// ```
/// use preemptive::task::coop::{self, RestoreOnPending};
/// use std::future::poll_fn;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let budget: RestoreOnPending = poll_fn(coop::poll_proceed).await;
/// drop(budget);
/// assert!(coop::has_budget_remaining());
/// # });
/// ```
#[derive(Debug)]
#[must_use = "code that is to run on Tokio as well keeps it until it knows whether it has made progress"]
pub struct RestoreOnPending {
    // As Tokio's, so that what compiles here compiles there.
    _not_send: PhantomData<*mut ()>,
}

impl RestoreOnPending {
    /// Says that the piece was used. Does nothing.
    ///
    /// ```
    /// use preemptive::task::coop;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let Poll::Ready(budget) = coop::poll_proceed(&mut Context::from_waker(Waker::noop())) else {
    ///     panic!("there is always some budget");
    /// };
    /// budget.made_progress();
    /// assert!(coop::has_budget_remaining());
    /// ```
    pub fn made_progress(&self) {}
}

/// A future that is what `future` is. With a budget, each poll that makes it ready would take a piece.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// assert_eq!(preemptive::task::coop::cooperative(async { 5 }).await, 5);
/// # });
/// ```
pub fn cooperative<F: Future>(future: F) -> Coop<F> {
    Coop { future }
}

/// The future of [`cooperative`].
///
/// ```
/// use preemptive::task::coop::{Coop, cooperative};
/// use std::future::{Ready, ready};
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let five: Coop<Ready<u32>> = cooperative(ready(5));
/// assert_eq!(five.await, 5);
/// # });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Coop<F: Future> {
    // Pinned when this is.
    future: F,
}

impl<F: Future> Future for Coop<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the only field is pinned with the whole, which has no `Drop` and gives nobody a `&mut` to it.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }.poll(context)
    }
}

/// A future that is what `future` is. With a budget, it would be exempt from it, and a risk to others; here it is
/// preempted like any other, and others go on.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, receiver) = preemptive::sync::channel(1_000);
/// for number in 0..1_000 {
///     sender.send(number).await.unwrap();
/// }
/// drop(sender);
/// let sum = async {
///     let mut sum = 0;
///     while let Some(number) = receiver.recv().await {
///         sum += number;
///     }
///     sum
/// };
/// assert_eq!(preemptive::task::coop::unconstrained(sum).await, 499_500);
/// # });
/// ```
pub fn unconstrained<F>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

/// The future of [`unconstrained`].
///
/// ```
/// use preemptive::task::{Unconstrained, unconstrained};
/// use std::future::{Ready, ready};
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let five: Unconstrained<Ready<u32>> = unconstrained(ready(5));
/// assert_eq!(five.await, 5);
/// # });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Unconstrained<F> {
    // Pinned when this is.
    future: F,
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the only field is pinned with the whole, which has no `Drop` and gives nobody a `&mut` to it.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }.poll(context)
    }
}
