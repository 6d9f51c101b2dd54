//! Waiting for a point in time.

use super::Instant;
use crate::executor::context;
use crate::executor::timer::{Driver, Entry};
use crate::preempt::morestack::safepoint;
use crate::primitives::Arc;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Waits for `duration`.
///
/// The time counts from this call, not from the first poll. It is kept to the nanosecond as far as the kernel
/// does so; the sleep never ends early. A duration of zero is over at the first poll, and one that cannot be
/// added to the present ([`Duration::MAX`], say) lasts some thirty years.
///
/// # Cancel safety
///
/// Dropping the future cancels the sleep; nothing else is lost.
///
/// # Panics
///
/// Outside a runtime: a sleep belongs to the runtime in which it is created. Awaiting it panics once that
/// runtime has been shut down.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, sleep};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let start = Instant::now();
///     sleep(Duration::from_millis(3)).await;
///     assert!(start.elapsed() >= Duration::from_millis(3));
/// });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Instant::after(duration))
}

/// Waits until `deadline`; not at all if that has passed.
///
/// # Cancel safety
///
/// Dropping the future cancels the sleep; nothing else is lost.
///
/// # Panics
///
/// As [`sleep`].
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, sleep_until};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(3);
///     sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
/// });
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(deadline)
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It stays ready once it has been ready, until it is [reset](Sleep::reset).
///
/// The runtime keeps the pending timer inside this value, without an allocation, so it is `!Unpin`: pin it
/// (`std::pin::pin!` or `Box::pin`) before you poll it by reference.
///
/// # Examples
///
/// A sleep that is moved to a later deadline:
///
/// ```
/// use preemptive::time::{Duration, Instant, sleep};
/// use std::pin::pin;
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let start = Instant::now();
///     let mut sleep = pin!(sleep(Duration::from_millis(1)));
///     sleep.as_mut().reset(start + Duration::from_millis(4));
///     sleep.as_mut().await;
///     assert!(start.elapsed() >= Duration::from_millis(4));
///     assert!(sleep.is_elapsed());
/// });
/// ```
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    deadline: Instant,
    /// Whether it has been polled or reset: before that, it has not begun.
    has_begun: bool,
    entry: Entry,
    // `Entry` implies it already. Here it stands for the projection.
    _pinned: PhantomPinned,
}

impl Sleep {
    #[track_caller]
    pub(super) fn new(deadline: Instant) -> Sleep {
        match context::timer_driver() {
            Some(driver) => Sleep::of(driver, deadline),
            None => panic!(
                "there is no runtime here: create timers in a task, inside `block_on`, \
                 or while a runtime's context is entered"
            ),
        }
    }

    /// A sleep of the runtime that `driver` stands for.
    pub(super) fn of(driver: Arc<dyn Driver>, deadline: Instant) -> Sleep {
        Sleep {
            deadline,
            has_begun: false,
            entry: Entry::new(driver),
            _pinned: PhantomPinned,
        }
    }

    /// When the sleep ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, sleep_until};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// assert_eq!(sleep_until(deadline).deadline(), deadline);
    /// # });
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the sleep is over: its deadline has passed, and it has been polled or reset at least once.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, sleep};
    /// use std::pin::pin;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut sleep = pin!(sleep(Duration::from_millis(1)));
    /// assert!(!sleep.is_elapsed());
    /// sleep.as_mut().await;
    /// assert!(sleep.is_elapsed());
    /// # });
    /// ```
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        safepoint();
        self.has_begun && self.now() >= self.deadline
    }

    /// Moves the end of the sleep to `deadline`, whether it is over or not.
    ///
    /// A task that waits for the sleep goes on waiting for it and is woken at the new deadline: at once, if that has
    /// passed. If the sleep is over, it must be polled again for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, sleep};
    /// use std::pin::pin;
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let start = Instant::now();
    /// let mut sleep = pin!(sleep(Duration::from_secs(60)));
    /// sleep.as_mut().reset(start + Duration::from_secs(1));
    /// sleep.as_mut().await;
    /// assert_eq!(start.elapsed(), Duration::from_secs(1));
    /// // It is over, and can be used again.
    /// sleep.as_mut().reset(start + Duration::from_secs(3));
    /// sleep.await;
    /// assert_eq!(start.elapsed(), Duration::from_secs(3));
    /// # });
    /// ```
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let (this, entry) = self.project();
        *this.deadline = deadline;
        *this.has_begun = true;
        entry.reset(deadline.to_monotonic());
    }

    /// This moment, by the clock of the sleep's own runtime.
    pub(super) fn now(&self) -> Instant {
        Instant::by(self.entry.timers().clock())
    }

    fn project(self: Pin<&mut Self>) -> (Unpinned<'_>, Pin<&mut Entry>) {
        // SAFETY: nothing is moved out of the reference; `entry` goes on pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let unpinned = Unpinned {
            deadline: &mut this.deadline,
            has_begun: &mut this.has_begun,
        };
        // SAFETY: `entry` is pinned whenever the sleep is: `Sleep` is `!Unpin`, has no `Drop` of its own, is
        // not packed, and this is the only way to a `&mut Entry`.
        let entry = unsafe { Pin::new_unchecked(&mut this.entry) };
        (unpinned, entry)
    }
}

/// The fields of a [`Sleep`] that may be moved.
struct Unpinned<'a> {
    deadline: &'a mut Instant,
    has_begun: &'a mut bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        safepoint();
        let (this, entry) = self.project();
        *this.has_begun = true;
        let deadline = *this.deadline;
        ready!(entry.poll(context.waker(), |timers| {
            (Instant::by(timers.clock()) < deadline).then(|| deadline.to_monotonic())
        }));
        Poll::Ready(())
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("entry", &self.entry)
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::executor::timer::tests::{Count, Fake};
    use std::pin::pin;

    #[test]
    fn a_sleep_ends_at_its_deadline_and_stays_over() {
        let fake = Fake::new();
        let (count, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut sleep = pin!(Sleep::of(fake.clone(), deadline));
        assert_eq!(sleep.deadline(), deadline);
        assert_eq!(
            fake.timers().next(),
            u64::MAX,
            "registered before its first poll"
        );
        while sleep.as_mut().poll(&mut context).is_pending() {
            fake.turn();
        }
        assert!(Instant::now() >= deadline);
        assert_eq!(count.get(), 1);
        assert!(sleep.is_elapsed());
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_deadline_in_the_past_needs_no_timer() {
        let fake = Fake::new();
        let (_, waker) = Count::new();
        let mut sleep = pin!(Sleep::of(fake.clone(), Instant::now()));
        assert!(!sleep.is_elapsed(), "not polled yet");
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        );
        assert!(sleep.is_elapsed());
        assert_eq!(fake.turn(), 0);
    }

    #[test]
    fn a_sleep_can_be_used_again_after_a_reset() {
        let fake = Fake::new();
        let (count, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        let hour = Instant::now() + Duration::from_secs(3600);
        let mut sleep = pin!(Sleep::of(fake.clone(), hour));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        sleep.as_mut().reset(Instant::now());
        // On the late side by what the two clocks are apart.
        while sleep.as_mut().poll(&mut context).is_pending() {
            fake.turn();
        }
        assert_eq!(count.get(), 1);
        sleep.as_mut().reset(hour);
        assert!(!sleep.is_elapsed());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(sleep.deadline(), hour);
    }

    #[test]
    fn a_sleep_crosses_threads_but_stays_in_place() {
        fn crosses_threads<T: Send + Sync>() {}
        crosses_threads::<Sleep>();
    }

    #[test]
    fn creating_a_sleep_without_a_runtime_panics_with_the_cure() {
        let result = std::panic::catch_unwind(|| drop(sleep(Duration::ZERO)));
        let message = *result.unwrap_err().downcast::<&str>().unwrap();
        assert!(
            message.starts_with("there is no runtime here: create"),
            "{message}"
        );
    }
}
