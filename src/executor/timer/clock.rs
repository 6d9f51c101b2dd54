//! A runtime's clock, which tests can stop and set forward.
//!
//! Each runtime has one. It *runs*, at real time plus a *shift*, or is *frozen*. *Real time* is CLOCK_MONOTONIC, which the
//! kernel's timers and the slices go by; *the runtime's time* is what its `Instant::now()` says.
//!
//! ```text
//!                      pause()                    advance(), auto-advance
//!     runs, shift s ────────────▶ frozen at t ──────────────────────────▶ frozen later
//!           ▲                          │
//!           └──────── resume() ────────┘   s = t − real time
//! ```
//!
//! # Who sees what
//!
//! Deadlines are the runtime's time, and so is the order of the heap. [`Shard::next`], which is all that the scheduler,
//! the signal handler and the monitor look at, is real time:
//!
//! | the clock | `next`, if the first deadline is `d` |
//! |---|---|
//! | runs, with shift s | `d − s` |
//! | is frozen at `d` or later | [`DUE`]: it has been due for long |
//! | is frozen before `d` | [`NEVER`]: real time does not bring it nearer |
//!
//! So nothing else knows of frozen clocks, and a clock that was never paused (shift 0) costs a comparison under the lock.
//!
//! # Who moves it
//!
//! Whoever holds the lock of the shard: a runtime whose clock can be paused is a current-thread runtime, and has one. The
//! clock is there twice: under the lock with the heap, and in a word that anybody reads without it. With the clock `next`
//! changes, so after `pause` and `resume` an idle processor is told to look again, as for an earlier deadline.
//!
//! # Auto-advance
//!
//! A processor that is about to sleep, with nothing runnable, moves a frozen clock to the first deadline instead. That is,
//! when nothing is left to do: a poll that runs, or was preempted, keeps the processor from that. What it cannot see *holds*
//! the clock: a closure of `spawn_blocking`, from its submission until its task has been completed and its joiner woken;
//! a poll that goes on with its lender after `block_on` has returned; and a future of `block_on` that another thread polls
//! than the one that drives, from a wake-up to the end of the poll (`home::hold`).
//!
//! No hold is missed. Who sleeps says so in `idle`, then reads `holds`; who lets go writes `holds`, then looks at `idle`. All
//! of that is sequentially consistent. And the woken joiner was made runnable before: so who sleeps reads `holds` first,
//! then looks at what is runnable, and moves the clock if there was neither.
//!
//! # Its end
//!
//! A word has 62 bits for the time, 146 years after the machine has started. `advance` beyond panics, and to later deadlines
//! nothing advances by itself.

use super::{NEVER, Shard, Timers};
use crate::primitives::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What [`Shard::next`] says of a timer that is due by a frozen clock. (0 means something else to who sets alarms.)
pub(super) const DUE: u64 = 1;
/// The latest time that a frozen clock can show.
const LAST: u64 = (1 << 62) - 1;
/// Of a clock's word: it is frozen, and the other bits are the time. Otherwise they are the shift.
const FROZEN: u64 = 1 << 63;

/// Has the clock of any runtime ever been paused?
static EVER_PAUSED: AtomicBool = AtomicBool::new(false);

/// Has the clock of any runtime ever been paused? False: `Instant::now()` need not ask whose clock it is to read.
#[inline]
pub(crate) fn was_ever_paused() -> bool {
    // Relaxed: who is to see a clock paused comes after that in other ways.
    EVER_PAUSED.load(Ordering::Relaxed)
}

/// How a runtime's time follows from real time. In nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// It runs, so much ahead.
    Runs(i64),
    /// It stands still.
    Frozen(u64),
}

impl Time {
    /// The real time.
    pub(super) const REAL: Time = Time::Runs(0);

    /// The runtime's time at this real time.
    pub(super) fn at(self, real: u64) -> u64 {
        match self {
            // The end of time is the same for all.
            _ if real == NEVER => NEVER,
            Time::Runs(shift) => real.saturating_add_signed(shift),
            Time::Frozen(time) => time,
        }
    }

    /// When the runtime's time will be `deadline`, in real time. For [`Shard::next`].
    pub(super) fn real(self, deadline: u64) -> u64 {
        match self {
            Time::Runs(0) => deadline,
            Time::Runs(shift) => deadline.saturating_add_signed(-shift).clamp(DUE, NEVER - 1),
            Time::Frozen(time) if deadline <= time => DUE,
            Time::Frozen(_) => NEVER,
        }
    }
}

/// Why a clock was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its runtime has another flavour.
    CannotPause,
    /// It is frozen already.
    IsFrozen,
    /// It runs.
    Runs,
    /// It does not go that far.
    TooFar,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Written under the lock of the shard.
    word: AtomicU64,
    /// What is going on that keeps the clock from advancing by itself.
    holds: AtomicUsize,
    can_pause: bool,
}

impl Clock {
    /// A clock that runs at real time.
    pub(super) fn new(can_pause: bool) -> Clock {
        Clock {
            word: AtomicU64::new(0),
            holds: AtomicUsize::new(0),
            can_pause,
        }
    }

    /// How it stands.
    #[inline]
    pub(crate) fn time(&self) -> Time {
        let word = self.word.load(Ordering::SeqCst);
        if word & FROZEN != 0 {
            Time::Frozen(word & !FROZEN)
        } else {
            // The sign is the topmost of the other bits.
            Time::Runs((word << 1).cast_signed() >> 1)
        }
    }

    #[inline]
    fn is_frozen(&self) -> bool {
        self.word.load(Ordering::SeqCst) & FROZEN != 0
    }

    fn set(&self, time: Time) {
        let word = match time {
            Time::Runs(shift) => shift.cast_unsigned() & !FROZEN,
            Time::Frozen(time) => time | FROZEN,
        };
        self.word.store(word, Ordering::SeqCst);
    }

    /// It does not advance by itself until [`Clock::let_go`].
    pub(crate) fn hold(&self) {
        self.holds.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends one [`Clock::hold`]. True: it might advance by itself now, so an idle processor is to look again.
    #[must_use]
    pub(crate) fn let_go(&self) -> bool {
        // Shutdown gives polls back that nobody has counted, and does not look at clocks.
        let less = |holds: usize| Some(holds.saturating_sub(1));
        let _ = self
            .holds
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        self.is_frozen()
    }
}

/// Moving the clock. All of it is fit for critical sections.
impl Timers {
    /// Stops it, at `now` of a clock that was never stopped.
    pub(crate) fn pause(&self, now: u64) -> Result<(), Refused> {
        if !self.clock.can_pause {
            return Err(Refused::CannotPause);
        }
        // Before the clock stands still: nobody may see that and read another.
        EVER_PAUSED.store(true, Ordering::SeqCst);
        self.move_clock(|time, _| match time {
            Time::Runs(_) => Ok(Time::Frozen(time.at(now).min(LAST))),
            Time::Frozen(_) => Err(Refused::IsFrozen),
        })
    }

    /// Lets it run on from where it stands, with `now` as in [`Timers::pause`].
    pub(crate) fn resume(&self, now: u64) -> Result<(), Refused> {
        self.move_clock(|time, _| match time {
            Time::Frozen(time) => Ok(Time::Runs(time.cast_signed() - now.min(LAST).cast_signed())),
            Time::Runs(_) => Err(Refused::Runs),
        })
    }

    /// Sets it forward.
    pub(crate) fn advance(&self, nanoseconds: u128) -> Result<(), Refused> {
        self.move_clock(|time, _| match time {
            Time::Frozen(time) => u64::try_from(nanoseconds)
                .ok()
                .and_then(|more| time.checked_add(more))
                .filter(|time| *time <= LAST)
                .map(Time::Frozen)
                .ok_or(Refused::TooFar),
            Time::Runs(_) => Err(Refused::Runs),
        })
    }

    /// Is the clock frozen, and nobody holds it? Ask before you look at what is runnable.
    #[inline]
    pub(crate) fn may_advance(&self) -> bool {
        self.clock.is_frozen() && self.clock.holds.load(Ordering::SeqCst) == 0
    }

    /// There is nothing to do: moves a frozen clock to the first deadline. False: it stays, and so does `next`.
    #[inline]
    pub(crate) fn auto_advance(&self) -> bool {
        self.may_advance()
            && self
                .move_clock(|time, first| match (time, first) {
                    (Time::Frozen(time), Some(first)) if first <= LAST => {
                        Ok(Time::Frozen(time.max(first)))
                    }
                    (Time::Frozen(_), _) => Err(Refused::TooFar),
                    (Time::Runs(_), _) => Err(Refused::Runs),
                })
                .is_ok()
    }

    /// Moves it to where `change` says, given how it stands and the first deadline.
    fn move_clock(
        &self,
        change: impl FnOnce(Time, Option<u64>) -> Result<Time, Refused>,
    ) -> Result<(), Refused> {
        self.shard(0).move_clock(&self.clock, change)
    }
}

impl Shard {
    fn move_clock(
        &self,
        clock: &Clock,
        change: impl FnOnce(Time, Option<u64>) -> Result<Time, Refused>,
    ) -> Result<(), Refused> {
        let mut pending = self.pending.lock();
        let first = pending.heap.first().map(|first| first.deadline());
        pending.time = change(pending.time, first)?;
        clock.set(pending.time);
        self.publish(&pending);
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_any_time_and_any_shift() {
        let clock = Clock::new(true);
        assert_eq!(clock.time(), Time::REAL);
        let last = LAST.cast_signed();
        for time in [
            Time::Frozen(0),
            Time::Frozen(LAST),
            Time::Runs(last),
            Time::Runs(-last),
            Time::Runs(-1),
            Time::REAL,
        ] {
            clock.set(time);
            assert_eq!(clock.time(), time);
            assert_eq!(clock.is_frozen(), matches!(time, Time::Frozen(_)));
        }
    }

    #[test]
    fn deadlines_are_due_in_real_time_when_the_clock_says_so() {
        for shift in [0, 7, -7] {
            let time = Time::Runs(shift);
            for real in [100, 1 << 40] {
                assert_eq!(time.real(time.at(real)), real);
            }
        }
        assert_eq!(Time::Runs(1_000).real(3), DUE);
        assert_eq!(Time::Runs(-1_000).real(NEVER - 1), NEVER - 1);
        let frozen = Time::Frozen(50);
        assert_eq!((frozen.real(50), frozen.real(51)), (DUE, NEVER));
        for time in [Time::REAL, Time::Runs(-9), Time::Runs(9), frozen] {
            assert_eq!(time.at(NEVER), NEVER);
        }
    }

    #[test]
    fn a_clock_is_paused_advanced_and_resumed_in_turn() {
        let timers = Timers::new(1, true);
        assert_eq!(timers.resume(10), Err(Refused::Runs));
        assert_eq!(timers.advance(1), Err(Refused::Runs));
        assert!(!timers.auto_advance());
        assert_eq!(timers.pause(10), Ok(()));
        assert_eq!(timers.pause(11), Err(Refused::IsFrozen));
        assert_eq!(timers.advance(5), Ok(()));
        assert_eq!(timers.clock().time(), Time::Frozen(15));
        for too_far in [u128::MAX, u128::from(LAST)] {
            assert_eq!(timers.advance(too_far), Err(Refused::TooFar));
        }
        assert!(!timers.auto_advance(), "there is no timer to go to");
        assert_eq!(timers.clock().time(), Time::Frozen(15));
        assert_eq!(timers.resume(100), Ok(()));
        assert_eq!(timers.clock().time(), Time::Runs(-85));
        assert_eq!(timers.pause(110), Ok(()));
        assert_eq!(timers.clock().time(), Time::Frozen(25));
        let other = Timers::new(1, false);
        assert_eq!(other.pause(10), Err(Refused::CannotPause));
    }

    #[test]
    fn a_clock_that_is_held_does_not_advance_by_itself() {
        let clock = Clock::new(true);
        clock.hold();
        assert!(!clock.let_go(), "it runs");
        clock.set(Time::Frozen(1));
        assert!(clock.let_go());
        assert_eq!(clock.holds.load(Ordering::SeqCst), 0);
    }
}
