//! Points in time, and where they lie on the clock of the timers.

use crate::executor::context;
use crate::executor::timer::{Clock, NEVER, Time, was_ever_paused};
use crate::preempt::morestack::safepoint;
use crate::primitives::OnceLock;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;
use std::{fmt, time};

/// A point in time on a clock that never goes backwards: [`std::time::Instant`] with arithmetic of its own.
///
/// It costs nothing over the standard type and converts to it and back without loss.
///
/// ```
/// use preemptive::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later - start, Duration::from_millis(5));
/// assert_eq!(start - later, Duration::ZERO);
/// assert_eq!(Instant::from_std(later.into_std()), later);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(time::Instant);

impl Instant {
    /// This moment: by the clock of the current runtime, which may have been [paused](super::pause()); outside of
    /// runtimes, the real one.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::Instant;
    ///
    /// let before = std::time::Instant::now();
    /// let now = Instant::now();
    /// assert!(now.into_std() >= before);
    /// assert!(Instant::now() >= now);
    /// ```
    #[must_use]
    pub fn now() -> Instant {
        safepoint();
        if was_ever_paused() {
            return Instant::of_current_runtime();
        }
        Instant::real()
    }

    /// This moment, whatever any runtime's clock says.
    #[inline]
    pub(crate) fn real() -> Instant {
        Instant(time::Instant::now())
    }

    #[cold]
    fn of_current_runtime() -> Instant {
        context::with_current(|handle| Instant::by(handle.shared.timers.clock()))
            .unwrap_or_else(Instant::real)
    }

    /// This moment, by this clock.
    #[inline]
    pub(super) fn by(clock: &Clock) -> Instant {
        match clock.time() {
            Time::Runs(0) => Instant::real(),
            Time::Runs(shift) => Instant::real().shifted(shift),
            Time::Frozen(time) => Instant::from_monotonic(time),
        }
    }

    /// So many nanoseconds later.
    fn shifted(self, nanoseconds: i64) -> Instant {
        let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
        if nanoseconds < 0 {
            self - distance
        } else {
            self + distance
        }
    }

    /// The same moment, from the standard library's type.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::Instant;
    ///
    /// let instant = std::time::Instant::now();
    /// assert_eq!(Instant::from_std(instant), Instant::from(instant));
    /// assert_eq!(Instant::from_std(instant).into_std(), instant);
    /// ```
    #[must_use]
    pub fn from_std(instant: time::Instant) -> Instant {
        Instant(instant)
    }

    /// The same moment, as the standard library's type.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// assert_eq!((start + second).into_std(), start.into_std() + second);
    /// ```
    #[must_use]
    pub fn into_std(self) -> time::Instant {
        self.0
    }

    /// A moment that nobody lives to see: what stands in for a deadline that cannot be represented.
    pub(crate) fn far_future() -> Instant {
        // Not the latest instant there is: a century, say, overflows on some platforms.
        Instant::now() + Duration::from_secs(30 * 365 * 24 * 60 * 60)
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// assert_eq!((start + second).duration_since(start), second);
    /// assert_eq!(start.duration_since(start + second), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time from `earlier` to `self`, or `None` if `earlier` is the later of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// assert_eq!((start + second).checked_duration_since(start), Some(second));
    /// assert_eq!(start.checked_duration_since(start + second), None);
    /// ```
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_duration_since(earlier.0)
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// assert_eq!((start + second).saturating_duration_since(start), second);
    /// assert_eq!(start.saturating_duration_since(start + second), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time that has passed since `self`; zero if it lies in the future.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, advance};
    ///
    /// # let runtime = preemptive::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
    /// # runtime.block_on(async {
    /// let start = Instant::now();
    /// // The clock is paused: nothing but this moves it.
    /// advance(Duration::from_secs(5)).await;
    /// assert_eq!(start.elapsed(), Duration::from_secs(5));
    /// assert_eq!((start + Duration::from_secs(60)).elapsed(), Duration::ZERO);
    /// # });
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    /// `self + duration`, or `None` if that cannot be represented.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// assert_eq!(start.checked_add(second), Some(start + second));
    /// assert_eq!(start.checked_add(Duration::MAX), None);
    /// ```
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }

    /// `self - duration`, or `None` if that cannot be represented.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant};
    ///
    /// let (start, second) = (Instant::now(), Duration::from_secs(1));
    /// let later = start + second;
    /// assert_eq!(later.checked_sub(second), Some(start));
    /// assert_eq!(later.checked_sub(Duration::MAX), None);
    /// ```
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }

    /// `duration` from now, or the far future where that cannot be represented.
    pub(super) fn after(duration: Duration) -> Instant {
        Instant::now()
            .checked_add(duration)
            .unwrap_or_else(Instant::far_future)
    }

    /// The same moment in nanoseconds of CLOCK_MONOTONIC, or at most a little later: never earlier.
    pub(crate) fn to_monotonic(self) -> u64 {
        let anchor = Anchor::get();
        let nanoseconds = |distance: Duration| u64::try_from(distance.as_nanos()).unwrap_or(NEVER);
        match self.0.checked_duration_since(anchor.instant) {
            Some(after) => anchor
                .monotonic
                .saturating_add(nanoseconds(after))
                .min(NEVER - 1),
            None => {
                let before = anchor.instant.saturating_duration_since(self.0);
                anchor.monotonic.saturating_sub(nanoseconds(before))
            }
        }
    }

    /// The moment of which [`to_monotonic`](Self::to_monotonic) makes this.
    fn from_monotonic(nanoseconds: u64) -> Instant {
        let anchor = Anchor::get();
        let distance = Duration::from_nanos(nanoseconds.abs_diff(anchor.monotonic));
        let instant = Instant(anchor.instant);
        if nanoseconds < anchor.monotonic {
            instant - distance
        } else {
            instant + distance
        }
    }
}

/// One moment on both clocks.
struct Anchor {
    instant: time::Instant,
    /// Read after `instant`, so that what is derived from it lies on the late side.
    monotonic: u64,
}

impl Anchor {
    fn get() -> &'static Anchor {
        static ANCHOR: OnceLock<Anchor> = OnceLock::new();

        ANCHOR.get_or_init(Anchor::cast)
    }

    /// Reads both clocks, a few times over: whoever is interrupted between the two readings stands apart.
    fn cast() -> Anchor {
        let mut best = None;
        for _ in 0..16 {
            let before = crate::sys::now();
            let instant = time::Instant::now();
            let monotonic = crate::sys::now();
            let gap = monotonic.saturating_sub(before);
            if best.as_ref().is_none_or(|(least, _)| gap < *least) {
                best = Some((gap, Anchor { instant, monotonic }));
            }
        }
        match best {
            Some((_, anchor)) => anchor,
            None => unreachable!("the loop runs at least once"),
        }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<time::Instant> for Instant {
    fn from(instant: time::Instant) -> Instant {
        Instant(instant)
    }
}

impl From<Instant> for time::Instant {
    fn from(instant: Instant) -> time::Instant {
        instant.0
    }
}

/// # Panics
///
/// If the sum cannot be represented; see [`Instant::checked_add`].
impl Add<Duration> for Instant {
    type Output = Instant;

    #[track_caller]
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    #[track_caller]
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// The time between two moments, zero if the right one is the later.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// # Panics
///
/// If the difference cannot be represented; see [`Instant::checked_sub`].
impl Sub<Duration> for Instant {
    type Output = Instant;

    #[track_caller]
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0 - duration)
    }
}

impl SubAssign<Duration> for Instant {
    #[track_caller]
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_instant_is_early_on_the_monotonic_clock() {
        for _ in 0..1_000 {
            let before = crate::sys::now();
            let converted = Instant::now().to_monotonic();
            assert!(converted >= before);
            // Late by the gap of the anchor at most; wide enough for a machine under load.
            assert!(converted < crate::sys::now() + 1_000_000);
        }
    }

    #[test]
    fn distances_are_kept_to_the_nanosecond() {
        let now = Instant::now();
        let converted = now.to_monotonic();
        for distance in [1, 999, 1_000_001, 86_400_000_000_000] {
            let duration = Duration::from_nanos(distance);
            assert_eq!((now + duration).to_monotonic(), converted + distance);
        }
        assert_eq!(
            (now - Duration::from_nanos(5)).to_monotonic(),
            converted - 5
        );
    }

    #[test]
    fn an_instant_comes_back_from_the_monotonic_clock_as_it_was() {
        let now = Instant::now();
        for distance in [0, 1, 86_400_000_000_000] {
            let distance = Duration::from_nanos(distance);
            for instant in [now + distance, now - distance / 1_000_000] {
                assert_eq!(Instant::from_monotonic(instant.to_monotonic()), instant);
            }
        }
    }

    #[test]
    fn the_ends_of_time_saturate() {
        let mut late = Instant::now();
        for shift in (0..64).rev() {
            let step = Duration::from_secs(1 << shift);
            late = late.checked_add(step).unwrap_or(late);
        }
        assert_eq!(late.to_monotonic(), NEVER - 1);
        assert!(Instant::far_future() > Instant::now() + Duration::from_secs(900_000_000));
        assert!(Instant::after(Duration::MAX) > Instant::now() + Duration::from_secs(900_000_000));
    }
}
