//! What a wait with a limit can fail with; and a name of Tokio's.
//!
//! ```
//! use preemptive::time::{Duration, error::Elapsed, timeout};
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! async fn in_time() -> Result<u32, Elapsed> {
//!     timeout(Duration::from_secs(60), async { 42 }).await
//! }
//!
//! assert_eq!(in_time().await, Ok(42));
//! # });
//! ```

use std::{error, fmt, io};

/// The limit of a [`timeout`](super::timeout()) was reached before its future was ready.
///
/// It turns into an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut) by `?` where one is wanted.
///
/// # Examples
///
/// ```
/// use preemptive::time::{Duration, timeout};
/// use std::io::{self, ErrorKind};
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// async fn wait() -> io::Result<()> {
///     timeout(Duration::from_millis(1), std::future::pending()).await?;
///     Ok(())
/// }
///
/// assert_eq!(wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
/// # });
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl Elapsed {
    pub(super) fn new() -> Elapsed {
        Elapsed(())
    }
}

/// What can be wrong with a timer, in code that is written for Tokio's.
///
/// Nothing here returns it: a timer whose runtime has ended panics, and there are never too many.
///
/// ```
/// use preemptive::time::error::Error;
///
/// let error = Error::shutdown();
/// assert!(error.is_shutdown() && !error.is_at_capacity() && !error.is_invalid());
/// assert_eq!(error.to_string(), "the timer's runtime has been shut down");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Error(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shutdown,
    AtCapacity,
    Invalid,
}

impl Error {
    /// The timer's runtime has ended: it will never fire.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert!(Error::shutdown().is_shutdown());
    /// ```
    #[must_use]
    pub fn shutdown() -> Error {
        Error(Kind::Shutdown)
    }

    /// Is it that the timer's runtime has ended?
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert!(Error::shutdown().is_shutdown());
    /// assert!(!Error::invalid().is_shutdown());
    /// ```
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.0 == Kind::Shutdown
    }

    /// There are too many timers for one more, at the moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert_eq!(Error::at_capacity().to_string(), "there are too many timers");
    /// ```
    #[must_use]
    pub fn at_capacity() -> Error {
        Error(Kind::AtCapacity)
    }

    /// Is it that there are too many timers?
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert!(Error::at_capacity().is_at_capacity());
    /// assert!(!Error::shutdown().is_at_capacity());
    /// ```
    #[must_use]
    pub fn is_at_capacity(&self) -> bool {
        self.0 == Kind::AtCapacity
    }

    /// No timer can have this deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert_eq!(Error::invalid().to_string(), "a timer cannot have this deadline");
    /// ```
    #[must_use]
    pub fn invalid() -> Error {
        Error(Kind::Invalid)
    }

    /// Is it that no timer can have this deadline?
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::time::error::Error;
    ///
    /// assert!(Error::invalid().is_invalid());
    /// assert!(!Error::shutdown().is_invalid());
    /// ```
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.0 == Kind::Invalid
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Shutdown => "the timer's runtime has been shut down",
            Kind::AtCapacity => "there are too many timers",
            Kind::Invalid => "a timer cannot have this deadline",
        })
    }
}

impl error::Error for Error {}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_elapsed_deadline_is_an_io_error_of_its_own_kind() {
        let error = io::Error::from(Elapsed::new());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "deadline has elapsed");
    }
}
