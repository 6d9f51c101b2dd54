//! Ticks at a steady rate.

use super::{Instant, Sleep};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Ticks every `period`, for the first time at once.
///
/// The ticks are due `period` apart from each other, however long the work between them takes. What happens
/// when that work takes longer than `period` is for [`MissedTickBehavior`] to say.
///
/// # Panics
///
/// If `period` is zero, or outside a runtime.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, interval};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let mut interval = interval(Duration::from_millis(2));
///     let first = interval.tick().await;
///     interval.tick().await;
///     let third = interval.tick().await;
///     assert_eq!(third - first, Duration::from_millis(4));
///     assert!(Instant::now() >= third);
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, for the first time at `start`.
///
/// # Panics
///
/// If `period` is zero, or outside a runtime.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, interval_at};
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let start = Instant::now() + Duration::from_millis(3);
///     let mut interval = interval_at(start, Duration::from_millis(1));
///     assert_eq!(interval.tick().await, start);
///     assert_eq!(interval.tick().await, start + Duration::from_millis(1));
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "`period` must be non-zero.");
    Interval::over(Sleep::new(start), period)
}

/// What an [`Interval`] does about ticks that were due while nobody awaited them.
///
/// A tick counts as missed when it is taken more than five milliseconds late, or more than a whole period
/// where that is shorter. Below, a period is three columns wide, `|` is a tick, and a tick is taken late once:
///
/// ```text
///   due     |  |  |  |  |  |  |  |
///   Burst   |  |        |||  |  |        catches up, then is back in step
///   Delay   |  |        |  |  |  |       starts afresh from the late tick
///   Skip    |  |        | |  |  |        leaves out what was missed, stays in step
/// ```
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, Instant, MissedTickBehavior, advance, interval};
///
/// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
/// # runtime.block_on(async {
/// let second = Duration::from_secs(1);
/// for (behavior, following) in [
///     (MissedTickBehavior::Burst, 2 * second),
///     (MissedTickBehavior::Delay, second * 9 / 2),
///     (MissedTickBehavior::Skip, 4 * second),
/// ] {
///     let start = Instant::now();
///     let mut interval = interval(second);
///     interval.set_missed_tick_behavior(behavior);
///     interval.tick().await;
///     // The clock is paused: three and a half seconds go by at once.
///     advance(second * 7 / 2).await;
///     assert_eq!(interval.tick().await, start + second);
///     assert_eq!(interval.tick().await, start + following);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Tick as fast as one can until all missed ticks are made up for. There are as many ticks as periods.
    #[default]
    Burst,
    /// The next tick is due a whole period after the late one was taken. Ticks are never less than a period
    /// apart, and lose their step.
    Delay,
    /// The next tick is due at the next multiple of the period after the first tick. Missed ticks are left
    /// out, and the others keep their step.
    Skip,
}

/// How late a tick may be before it counts as missed.
const TOLERANCE: Duration = Duration::from_millis(5);

impl MissedTickBehavior {
    /// When the tick is due that follows one that was due at `due` and is taken at `now`, too late.
    fn after_missed(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let next = match self {
            MissedTickBehavior::Burst => due.checked_add(period),
            MissedTickBehavior::Delay => now.checked_add(period),
            MissedTickBehavior::Skip => {
                let into_period = (now - due).as_nanos() % period.as_nanos();
                // Centuries of lateness fit: no process is that old.
                let into_period = Duration::from_nanos(u64::try_from(into_period).unwrap_or(0));
                now.checked_add(period - into_period)
            }
        };
        next.unwrap_or_else(Instant::far_future)
    }
}

/// The stream of ticks that [`interval`] and [`interval_at`] make.
///
/// It ends with its runtime only: [`Interval::tick`] always has a next one.
///
/// # Examples
///
/// With the clock [paused](super::pause()), so that nothing is late but on purpose:
///
/// ```
/// use preemptive::time::{Duration, Instant, MissedTickBehavior, advance, interval};
///
/// let runtime = preemptive::runtime::Builder::new_current_thread()
///     .start_paused(true)
///     .build()
///     .unwrap();
/// runtime.block_on(async {
///     let second = Duration::from_secs(1);
///     let start = Instant::now();
///     let mut interval = interval(second);
///     interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
///     assert_eq!(interval.tick().await, start);
///
///     // Three and a half seconds go by: what was due after one is late, the others are left out.
///     advance(second * 7 / 2).await;
///     assert_eq!(interval.tick().await, start + second);
///     assert_eq!(interval.tick().await, start + 4 * second);
///
///     interval.reset_after(10 * second);
///     assert_eq!(interval.tick().await, start + 14 * second);
///     assert_eq!(interval.tick().await, start + 15 * second);
/// });
/// ```
#[derive(Debug)]
pub struct Interval {
    /// Ends at the next tick.
    delay: Pin<Box<Sleep>>,
    period: Duration,
    missed_tick_behavior: MissedTickBehavior,
}

impl Interval {
    /// Ticks for the first time when `delay` ends.
    fn over(delay: Sleep, period: Duration) -> Interval {
        Interval {
            delay: Box::pin(delay),
            period,
            missed_tick_behavior: MissedTickBehavior::default(),
        }
    }

    /// Waits for the next tick; returns when it was due, which may be some time ago.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped: a tick is used up only when it is returned.
    ///
    /// # Panics
    ///
    /// If the runtime of the interval has been shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// assert_eq!(interval.tick().await, start);
    /// assert_eq!(interval.tick().await, start + second);
    /// assert_eq!(Instant::now(), start + second);
    /// # });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|context| self.poll_tick(context)).await
    }

    /// As [`Interval::tick`], for futures written by hand.
    ///
    /// While it is pending, only the waker of the last call is woken at the next tick.
    ///
    /// # Panics
    ///
    /// If the runtime of the interval has been shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, interval};
    /// use std::future::poll_fn;
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// assert_eq!(poll_fn(|context| interval.poll_tick(context)).await, start);
    /// assert_eq!(poll_fn(|context| interval.poll_tick(context)).await, start + second);
    /// # });
    /// ```
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.delay.as_mut().poll(context));
        let due = self.delay.deadline();
        let next = self.following(due, self.delay.now());
        self.delay.as_mut().reset(next);
        Poll::Ready(due)
    }

    /// When the tick after the one of `due` is due, given that this one is taken at `now`.
    fn following(&self, due: Instant, now: Instant) -> Instant {
        if now - due > TOLERANCE.min(self.period) {
            self.missed_tick_behavior
                .after_missed(due, now, self.period)
        } else {
            due.checked_add(self.period)
                .unwrap_or_else(Instant::far_future)
        }
    }

    /// Starts anew: the next tick is due a period from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, advance, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// interval.tick().await;
    /// advance(second / 2).await;
    /// interval.reset();
    /// assert_eq!(interval.tick().await, start + second * 3 / 2);
    /// # });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Starts anew: the next tick is due now.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, advance, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// interval.tick().await;
    /// advance(second / 2).await;
    /// interval.reset_immediately();
    /// assert_eq!(interval.tick().await, start + second / 2);
    /// assert_eq!(interval.tick().await, start + second * 3 / 2);
    /// # });
    /// ```
    pub fn reset_immediately(&mut self) {
        self.reset_at(self.delay.now());
    }

    /// Starts anew: the next tick is due `after` from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// interval.tick().await;
    /// interval.reset_after(10 * second);
    /// assert_eq!(interval.tick().await, start + 10 * second);
    /// assert_eq!(interval.tick().await, start + 11 * second);
    /// # });
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        let deadline = self.delay.now().checked_add(after);
        self.reset_at(deadline.unwrap_or_else(Instant::far_future));
    }

    /// Starts anew: the next tick is due at `deadline`, or at once if that has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// interval.tick().await;
    /// interval.reset_at(start + 10 * second);
    /// assert_eq!(interval.tick().await, start + 10 * second);
    /// assert_eq!(interval.tick().await, start + 11 * second);
    /// # });
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        self.delay.as_mut().reset(deadline);
    }

    /// What the interval does about missed ticks: [`MissedTickBehavior::Burst`] unless it was told otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, MissedTickBehavior, interval};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let interval = interval(Duration::from_secs(1));
    /// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// # });
    /// ```
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed_tick_behavior
    }

    /// Tells the interval what to do about missed ticks, from the next one on.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, MissedTickBehavior, advance, interval};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// // The clock is paused, so that times are exact.
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let mut interval = interval(second);
    /// interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    /// interval.tick().await;
    /// advance(3 * second).await;
    /// interval.tick().await;
    /// // A second after the late tick was taken.
    /// assert_eq!(interval.tick().await, start + 4 * second);
    /// # });
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed_tick_behavior = behavior;
    }

    /// The time between two ticks.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, interval};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// assert_eq!(interval(Duration::from_millis(250)).period(), Duration::from_millis(250));
    /// # });
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::executor::timer::tests::{Count, Fake};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn ticks_are_a_period_apart() {
        let fake = Fake::new();
        let (_, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        let mut interval = Interval::over(Sleep::of(fake.clone(), start), 2 * MS);
        for tick in 0..5 {
            let due = loop {
                match interval.poll_tick(&mut context) {
                    Poll::Ready(due) => break due,
                    Poll::Pending => fake.turn(),
                };
            };
            assert!(Instant::now() >= due);
            // Burst: however late they are taken, all are due in step.
            assert_eq!(due, start + tick * 2 * MS);
        }
    }

    #[test]
    fn missed_ticks_are_made_up_for_delayed_or_skipped() {
        use MissedTickBehavior::{Burst, Delay, Skip};
        let due = Instant::now();
        let mut interval = Interval::over(Sleep::of(Fake::new(), due), 100 * MS);
        let cases = [
            // Late by no more than the tolerance: all alike.
            (Burst, 5, 100),
            (Delay, 5, 100),
            (Skip, 5, 100),
            // Late by some of a period.
            (Burst, 30, 100),
            (Delay, 30, 130),
            (Skip, 30, 100),
            // By some periods and a bit.
            (Burst, 230, 100),
            (Delay, 230, 330),
            (Skip, 230, 300),
            // By whole periods.
            (Skip, 200, 300),
        ];
        for (behavior, late, next) in cases {
            interval.set_missed_tick_behavior(behavior);
            assert_eq!(interval.missed_tick_behavior(), behavior);
            let following = interval.following(due, due + late * MS);
            assert_eq!(following - due, next * MS, "{behavior:?}, {late} ms late");
        }
    }

    #[test]
    fn short_periods_notice_missed_ticks_within_the_tolerance() {
        let due = Instant::now();
        let mut interval = Interval::over(Sleep::of(Fake::new(), due), MS / 10);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        assert_eq!(interval.following(due, due + MS / 20), due + MS / 10);
        assert_eq!(interval.following(due, due + 2 * MS), due + 21 * (MS / 10));
    }

    #[test]
    fn the_longest_period_does_not_overflow() {
        let due = Instant::now();
        let mut interval = Interval::over(Sleep::of(Fake::new(), due), Duration::MAX);
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            interval.set_missed_tick_behavior(behavior);
            assert!(interval.following(due, due) > due + 1_000_000 * MS);
            assert!(interval.following(due, due + 50 * MS) > due + 1_000_000 * MS);
        }
        interval.reset();
        interval.reset_after(Duration::MAX);
        assert_eq!(interval.period(), Duration::MAX);
    }

    #[test]
    fn a_reset_moves_the_next_tick() {
        let fake = Fake::new();
        let (_, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        let hour = 3_600_000 * MS;
        let start = Instant::now() + hour;
        let mut interval = Interval::over(Sleep::of(fake.clone(), start), hour);
        assert!(interval.poll_tick(&mut context).is_pending());
        interval.reset_immediately();
        // On the late side by what the two clocks are apart.
        while interval.poll_tick(&mut context).is_pending() {
            fake.turn();
        }
        assert!(interval.poll_tick(&mut context).is_pending());
        interval.reset_at(start);
        assert_eq!(interval.delay.deadline(), start);
        interval.reset_after(MS);
        assert!(interval.delay.deadline() < start);
    }

    #[test]
    #[should_panic(expected = "`period` must be non-zero.")]
    fn a_period_of_zero_panics() {
        drop(interval(Duration::ZERO));
    }
}
