//! Waiting for time to pass: sleeps, limits and ticks.
//!
//! Names, arguments and meanings are Tokio's, with one difference: deadlines are kept to the nanosecond, not
//! rounded to the millisecond. Nothing here ends early. How late it ends is up to the kernel's timers and to
//! the scheduler; tasks that never yield do not hold it up.
//!
//! | to …                                  | use                              |
//! |---------------------------------------|----------------------------------|
//! | wait                                  | [`sleep()`], [`sleep_until`]     |
//! | limit how long a future may take      | [`timeout()`], [`timeout_at`]    |
//! | do something again and again          | [`interval()`], [`interval_at`]  |
//! | test without waiting                  | [`pause()`], [`advance()`], [`resume()`] |
//!
//! All of it belongs to the runtime in whose context it is created, and panics where there is none.
//!
//! ```
//! use preemptive::time::{Duration, interval, timeout};
//!
//! preemptive::runtime::Runtime::new().unwrap().block_on(async {
//!     let mut interval = interval(Duration::from_millis(1));
//!     let three_ticks = async {
//!         for _ in 0..3 {
//!             interval.tick().await;
//!         }
//!     };
//!     assert!(timeout(Duration::from_secs(60), three_ticks).await.is_ok());
//! });
//! ```

pub mod error;
mod instant;
mod interval;
mod pause;
mod sleep;
mod timeout;

pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use pause::{advance, pause, resume};
pub use sleep::{Sleep, sleep, sleep_until};
#[doc(no_inline)]
pub use std::time::Duration;
pub use timeout::{Timeout, timeout, timeout_at};
