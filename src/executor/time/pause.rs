//! Stopping a runtime's clock, and setting it forward: for tests.

use super::Instant;
use crate::executor::context;
use crate::executor::timer::{Driver, Refused};
use crate::executor::yield_now;
use crate::primitives::Arc;
use std::time::Duration;

/// Stops the clock of the current runtime: for tests of what takes time.
///
/// From here on [`Instant::now`] says the same over and over, and sleeps, limits and intervals go by that. Time goes on by
/// [`advance`]; after [`resume`]; and by itself, when there is nothing else to do. [`std::time::Instant`] is as ever, and
/// so are time slices: tasks that hog are preempted.
///
/// The clock belongs to the runtime. Others, and threads outside of any, see theirs.
/// [`Builder::start_paused`](crate::runtime::Builder::start_paused) builds a runtime whose clock stands still from the
/// start, and so does `#[preemptive::test(start_paused = true)]`.
///
/// # Auto-advance
///
/// When no task of the runtime can run, and the future of `block_on` cannot either, the clock jumps to the next deadline.
/// So a paused test that only sleeps takes no time, and everything happens in the order of the deadlines. What somebody
/// outside is about to do, another thread or the kernel, is not waited for.
///
/// While a closure of [`spawn_blocking`](crate::task::spawn_blocking) runs, or waits for its thread, the clock does not
/// jump: run there what a test has to wait for in real time. Nor does it while a poll goes on that `block_on` has left
/// behind.
///
/// No sleep ends by itself later than 146 years after the machine was started.
///
/// # Panics
///
/// If time is frozen already, outside a runtime, and in a runtime that is not a current-thread one.
///
/// # Examples
///
/// ```
/// use preemptive::time::{self, Duration, Instant};
///
/// let runtime = preemptive::runtime::Builder::new_current_thread().build().unwrap();
/// let real = std::time::Instant::now();
/// runtime.block_on(async {
///     time::pause();
///     let start = Instant::now();
///     time::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// });
/// assert!(real.elapsed() < Duration::from_secs(3600));
/// ```
///
/// # Source
///
/// Tokio's, which has it for tests too.
#[track_caller]
pub fn pause() {
    let driver = driver();
    if let Err(refused) = driver.timers().pause(Instant::real().to_monotonic()) {
        refuse(refused);
    }
    // Whoever sleeps until a real time has to sleep otherwise.
    driver.earliest_changed(0, 0);
}

/// Lets the clock of the current runtime run on from where it stands.
///
/// It does not make up for the time that it stood still.
///
/// # Panics
///
/// If time is not frozen, and outside a runtime.
///
/// # Examples
///
/// ```
/// use preemptive::time::{self, Duration, Instant};
///
/// let runtime = preemptive::runtime::Builder::new_current_thread()
///     .start_paused(true)
///     .build()
///     .unwrap();
/// runtime.block_on(async {
///     let start = Instant::now();
///     std::thread::sleep(Duration::from_millis(2));
///     assert_eq!(start.elapsed(), Duration::ZERO);
///     time::resume();
///     std::thread::sleep(Duration::from_millis(2));
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn resume() {
    let driver = driver();
    if let Err(refused) = driver.timers().resume(Instant::real().to_monotonic()) {
        refuse(refused);
    }
    // What was frozen may be due before whoever sleeps would wake up.
    driver.earliest_changed(0, 0);
}

/// Sets the clock of the current runtime forward by `duration`, which must be paused, and lets others run.
///
/// All sleeps that end in that time end at once, in the order of their deadlines. Their tasks stand in line before this one
/// (before the future of `block_on`, the first 61 of them), so each has had a poll when this returns, or is in the middle
/// of it. But they see the new time, not their deadlines, and what they do next has not happened yet. To have everything
/// happen at its own time, [`sleep`](super::sleep()) for `duration` instead: the clock will get there.
///
/// # Cancel safety
///
/// The first poll sets the clock, a later one only waits for others to run.
///
/// # Panics
///
/// If time is not frozen, outside a runtime, and if the clock does not go that far (some 140 years).
///
/// # Examples
///
/// ```
/// use preemptive::time::{self, Duration};
///
/// let runtime = preemptive::runtime::Builder::new_current_thread()
///     .start_paused(true)
///     .build()
///     .unwrap();
/// runtime.block_on(async {
///     let start = time::Instant::now();
///     let task = preemptive::spawn(time::sleep(Duration::from_secs(5)));
///     preemptive::task::yield_now().await;
///
///     time::advance(Duration::from_secs(4)).await;
///     assert!(!task.is_finished());
///     time::advance(Duration::from_secs(1)).await;
///     task.await.unwrap();
///     assert_eq!(start.elapsed(), Duration::from_secs(5));
/// });
/// ```
pub async fn advance(duration: Duration) {
    set_forward(duration);
    yield_now().await;
}

fn set_forward(duration: Duration) {
    let driver = driver();
    if let Err(refused) = driver.timers().advance(duration.as_nanos()) {
        refuse(refused);
    }
    // Here, not in the scheduler's loop: whom they wake stands in line before the caller, which yields next.
    driver.timers().shard(0).fire(crate::sys::now());
}

/// The current runtime's.
#[track_caller]
fn driver() -> Arc<dyn Driver> {
    match context::timer_driver() {
        Some(driver) => driver,
        None => panic!(
            "there is no runtime here whose time could be frozen: call it in a task, inside `block_on`, or while a \
             runtime's context is entered"
        ),
    }
}

#[track_caller]
fn refuse(refused: Refused) -> ! {
    match refused {
        Refused::CannotPause => panic!(
            "`time::pause()` requires a current-thread runtime: build it with `Builder::new_current_thread`, or with \
             `#[preemptive::test(flavor = \"current_thread\")]`"
        ),
        Refused::IsFrozen => panic!(
            "time is already frozen: by `time::pause`, or since the runtime was built with `start_paused`"
        ),
        Refused::Runs => panic!("time is not frozen: call `time::pause` first"),
        Refused::TooFar => panic!(
            "overflow when advancing the clock: it ends 146 years after the machine was started"
        ),
    }
}
