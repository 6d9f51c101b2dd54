//! What a handle says about its runtime: which one it is, of which flavour, and what it is called.

use super::runtime::Handle;
use crate::primitives::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::io;
use std::num::NonZeroU64;

/// Which runtime it is: no two of a process have the same.
///
/// ```
/// use preemptive::runtime::Runtime;
///
/// let (one, other) = (Runtime::new()?, Runtime::new()?);
/// assert_ne!(one.handle().id(), other.handle().id());
/// assert_eq!(one.handle().id(), one.block_on(async { preemptive::runtime::Handle::current().id() }));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Id(NonZeroU64);

impl Id {
    /// The next one.
    pub(crate) fn next() -> Id {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        match NonZeroU64::new(number) {
            Some(number) => Id(number),
            None => unreachable!("as many runtimes as there are 64-bit numbers"),
        }
    }

    /// The number; they begin at 1.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a runtime runs its tasks. Returned by [`Handle::runtime_flavor`].
///
/// ```
/// use preemptive::runtime::{Builder, RuntimeFlavor};
///
/// let runtime = Builder::new_multi_thread().build()?;
/// assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    /// On the thread that calls `block_on`:
    /// [`Builder::new_current_thread`](crate::runtime::Builder::new_current_thread).
    CurrentThread,
    /// On threads of its own: [`Builder::new_multi_thread`](crate::runtime::Builder::new_multi_thread).
    MultiThread,
}

impl Handle {
    /// Which runtime it is.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let handle = runtime.handle().clone();
    /// assert_eq!(handle.id(), runtime.handle().id());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn id(&self) -> Id {
        self.shared.id
    }

    /// What the runtime is called, if it is: see [`Builder::name`](crate::runtime::Builder::name).
    ///
    /// ```
    /// use preemptive::runtime::{Builder, Runtime};
    ///
    /// let shop = Builder::new_multi_thread().name("shop").build()?;
    /// assert_eq!(shop.handle().name(), Some("shop"));
    /// assert_eq!(Runtime::new()?.handle().name(), None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.shared.config.name.as_deref()
    }

    /// How the runtime runs its tasks.
    ///
    /// ```
    /// use preemptive::runtime::{Builder, RuntimeFlavor};
    ///
    /// let runtime = Builder::new_current_thread().build()?;
    /// assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::CurrentThread);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn runtime_flavor(&self) -> RuntimeFlavor {
        match self.shared.config.home {
            true => RuntimeFlavor::CurrentThread,
            false => RuntimeFlavor::MultiThread,
        }
    }
}

/// What Tokio's sockets say when their runtime has ended: what follows compares with it.
const SHUT_DOWN: &str = "A Tokio 1.x context was found, but it is being shutdown.";

/// Does a socket of Tokio's say with this error that the runtime it belongs to has ended?
///
/// This runtime has no sockets, and none of its functions returns such an error: a task that a runtime refuses is
/// cancelled. The function is for programs that use Tokio's I/O beside it, and is true of the errors that
/// `tokio::runtime::is_rt_shutdown_err` is true of.
///
/// ```
/// let error = std::io::Error::other("something else");
/// assert!(!preemptive::runtime::is_rt_shutdown_err(&error));
/// ```
pub fn is_rt_shutdown_err(error: &io::Error) -> bool {
    let inner = error.get_ref();
    error.kind() == io::ErrorKind::Other
        && inner.is_some_and(|inner| inner.source().is_none() && inner.to_string() == SHUT_DOWN)
}
