//! An async executor whose tasks are preemptible: a task that forgets to yield starves nobody.
//!
//! It runs ordinary futures as Tokio's multi-thread runtime does, with one difference: whatever a poll does, spin
//! in a loop, crunch numbers in a C library, block in a system call, sleep the thread, wait for a lock whose holder
//! was preempted, the other tasks go on, and timers fire on time.
//!
//! ```
//! use preemptive::time::{Duration, sleep};
//!
//! #[preemptive::main]
//! async fn main() {
//!     // Never awaits, starves nobody.
//!     preemptive::spawn(async { (0..50_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
//!     sleep(Duration::from_millis(1)).await;
//! }
//! ```
//!
//! Linux on x86-64 only, so far. What changes when tasks can be preempted is in the repository's
//! `docs/migrating.md` and `CAVEATS.md`; how it works, in `docs/design.md`.

mod arch;
mod executor;
mod fatal;
mod preempt;
mod primitives;
mod sys;

#[cfg(feature = "hyper")]
pub use executor::hyper;
pub use executor::spawn;
pub use executor::time;
pub use preempt::morestack::safepoint;
pub use preemptive_macros::{checked, main, test};

pub mod stack;

/// What the attributes' expansions name; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::preempt::morestack::enter;
}

/// Building runtimes, and handles to them.
///
/// ```
/// use preemptive::runtime::{Builder, Handle};
///
/// let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
/// let handle: Handle = runtime.handle().clone();
/// let thread = std::thread::spawn(move || handle.block_on(async { 6 * 7 }));
/// assert_eq!(thread.join().unwrap(), 42);
/// # std::io::Result::Ok(())
/// ```
pub mod runtime {
    pub use crate::executor::runtime::{EnterGuard, Handle, Runtime, TryCurrentError};
    pub use crate::executor::{
        Builder, LocalOptions, LocalRuntime, OnStackOverflow, RuntimeMetrics, TaskMeta,
        prefer_latency, worker_index,
    };
    pub use crate::executor::{Id, RuntimeFlavor, is_rt_shutdown_err};
}

/// Tasks: spawning, joining, aborting, yielding.
///
/// ```
/// use preemptive::task;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let aborted = task::spawn(std::future::pending::<()>());
/// let blocking = task::spawn_blocking(|| "a file");
/// aborted.abort();
/// assert!(aborted.await.unwrap_err().is_cancelled());
/// assert_eq!(blocking.await.unwrap(), "a file");
/// # });
/// ```
pub mod task {
    pub use crate::executor::TaskBuilder as Builder;
    pub use crate::executor::coop::{self, Unconstrained, consume_budget, unconstrained};
    #[doc(inline)]
    pub use crate::executor::join_set::{self, JoinSet};
    pub use crate::executor::task::{AbortHandle, Id, JoinError, JoinHandle, id, try_id};
    pub use crate::executor::task_local::{AccessError, LocalKey};
    pub use crate::executor::{LocalEnterGuard, LocalSet, spawn_local};
    pub use crate::executor::{block_in_place, spawn, spawn_blocking, yield_now};

    /// Futures that belong to tasks.
    ///
    /// ```
    /// use preemptive::task::futures::TaskLocalFuture;
    ///
    /// preemptive::task_local! {
    ///     static USER: &'static str;
    /// }
    ///
    /// fn as_ada<F: Future>(request: F) -> TaskLocalFuture<&'static str, F> {
    ///     USER.scope("ada", request)
    /// }
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// assert_eq!(as_ada(async { USER.get() }).await, "ada");
    /// # });
    /// ```
    pub mod futures {
        pub use crate::executor::task_local::TaskLocalFuture;
    }
}

/// Tasks that talk to each other.
///
/// ```
/// use preemptive::sync::channel;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let (sender, receiver) = channel(1);
/// preemptive::spawn(async move { sender.send("hello").await });
/// assert_eq!(receiver.recv().await, Some("hello"));
/// # });
/// ```
pub mod sync {
    pub use crate::executor::channel;
    pub use crate::executor::channel::channel;
}

#[doc(hidden)]
pub mod testing;

// The unit tests check rule R1 with whatever else they check.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: testing::StrictAllocator = testing::StrictAllocator;
