//! The builder's smaller options, under Tokio's names: what things are called, how often the loop looks elsewhere, and
//! what is there for Tokio's sake.

use super::builder::Builder;
use crate::primitives::Arc;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What threads are called unless told otherwise.
const DEFAULT_NAME: &str = "preemptive-worker";

/// What threads are called.
#[derive(Clone)]
pub(crate) enum ThreadName {
    Default,
    Fixed(String),
    /// Asked for every thread.
    Made(Arc<dyn Fn() -> String + Send + Sync>),
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadName::Default => f.write_str(DEFAULT_NAME),
            ThreadName::Fixed(name) => f.write_str(name),
            ThreadName::Made(_) => f.write_str("(made for each thread)"),
        }
    }
}

impl ThreadName {
    /// The next worker's name. It may run code of the user's.
    pub(crate) fn of_worker(&self) -> String {
        match self {
            ThreadName::Default => DEFAULT_NAME.to_owned(),
            ThreadName::Fixed(name) => name.clone(),
            ThreadName::Made(make) => match catch_unwind(AssertUnwindSafe(|| make())) {
                // The kernel would not take it.
                Ok(name) => name.replace('\0', ""),
                Err(payload) => {
                    // Its destructor may panic as well. A thread that is needed is made all the same.
                    std::mem::forget(payload);
                    DEFAULT_NAME.to_owned()
                }
            },
        }
    }

    /// The name of the next thread of the blocking pool. As [`of_worker`](Self::of_worker).
    pub(crate) fn of_blocking(&self) -> String {
        match self {
            ThreadName::Default => format!("{DEFAULT_NAME}-blocking"),
            _ => self.of_worker(),
        }
    }

    /// Is it a name that cannot be given?
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, ThreadName::Fixed(name) if name.contains('\0'))
    }
}

impl Builder {
    /// The name of the worker threads and of those of `spawn_blocking`. Default `preemptive-worker` and
    /// `preemptive-worker-blocking`.
    ///
    /// The kernel shows the first 15 bytes of it.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` for a name with a NUL byte.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().thread_name("shop").build()?;
    /// let name = runtime.spawn_blocking(|| std::thread::current().name().map(str::to_owned));
    /// assert_eq!(runtime.block_on(name)?.as_deref(), Some("shop"));
    ///
    /// let error = Builder::new_multi_thread().thread_name("a\0b").build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.config.thread_name = ThreadName::Fixed(name.into());
        self
    }

    /// Calls `make` for the name of each such thread. It replaces [`thread_name`](Self::thread_name).
    ///
    /// It is called by whoever makes the thread, among others by a thread of the runtime's own that others may wait for:
    /// it should be quick. NUL bytes are left out. If it panics, the thread gets the default name.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let next = AtomicUsize::new(0);
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .thread_name_fn(move || format!("shop-{}", next.fetch_add(1, Ordering::Relaxed)))
    ///     .build()?;
    /// let name = runtime.spawn_blocking(|| std::thread::current().name().map(str::to_owned));
    /// assert!(runtime.block_on(name)?.unwrap().starts_with("shop-"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_name_fn<F>(&mut self, make: F) -> &mut Self
    where
        F: Fn() -> String + Send + Sync + 'static,
    {
        self.config.thread_name = ThreadName::Made(Arc::new(make));
        self
    }

    /// What the runtime is called, for people: [`Handle::name`](super::runtime::Handle::name) returns it. Default: it has
    /// no name.
    ///
    /// # Panics
    ///
    /// If there is nothing but white space in it.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().name("shop").build()?;
    /// assert_eq!(runtime.handle().name(), Some("shop"));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        let name = name.into();
        assert!(
            !name.trim().is_empty(),
            "the name of a runtime cannot be empty: leave it out instead"
        );
        self.config.name = Some(name);
        self
    }

    /// After so many polls a processor takes a task from the queue that all share, before its own. Default 61.
    ///
    /// That queue has what is spawned and woken from outside the runtime's tasks. 1 takes from it whenever there is
    /// something, so that a processor's own tasks wait; a large value saves synchronisation where tasks wake one another.
    /// A processor without tasks of its own looks there in any case. No effect on a current-thread runtime, where all tasks
    /// go through one queue, first come, first served.
    ///
    /// # Panics
    ///
    /// If `polls` is 0.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .global_queue_interval(1)
    ///     .build()?;
    /// // Two tasks that yield to each other for ever, and one from outside.
    /// for _ in 0..2 {
    ///     runtime.spawn(async { loop { preemptive::task::yield_now().await } });
    /// }
    /// assert_eq!(runtime.block_on(runtime.spawn(async { 6 * 7 }))?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn global_queue_interval(&mut self, polls: u32) -> &mut Self {
        assert!(
            polls > 0,
            "global_queue_interval cannot be 0: use at least 1"
        );
        self.config.global_every = u64::from(polls);
        self
    }

    /// After so many polls a processor looks whether timers are due. Default 16.
    ///
    /// It is the cheap way to be on time where polls are short. Where they are not, a timer that is due preempts the
    /// poll, whatever this is.
    ///
    /// # Panics
    ///
    /// If `polls` is 0.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().event_interval(1).build()?;
    /// let start = Instant::now();
    /// runtime.block_on(async { preemptive::time::sleep(Duration::from_millis(1)).await });
    /// assert!(start.elapsed() >= Duration::from_millis(1));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn event_interval(&mut self, polls: u32) -> &mut Self {
        assert!(polls > 0, "event_interval cannot be 0: use at least 1");
        self.config.timers_every = u64::from(polls);
        self
    }

    /// No task overtakes others because it was woken last: what a task wakes goes to the end of the processor's queue,
    /// where other processors may take it at once.
    ///
    /// Tasks that wake each other in turn get slower by that. What it is good for, a task that spawns another and then
    /// goes on for long, does not need it here: others take such a task after the minimum slice.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().disable_lifo_slot().build()?;
    /// let task = runtime.spawn(async { preemptive::spawn(async { 6 * 7 }).await });
    /// assert_eq!(runtime.block_on(task)??, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn disable_lifo_slot(&mut self) -> &mut Self {
        self.config.uses_slot = false;
        self
    }

    /// Nothing: for Tokio's sake. Timers are always there, and there is no I/O driver.
    ///
    /// ```
    /// // As Tokio's programs have it.
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// assert_eq!(runtime.block_on(runtime.spawn(async { 6 * 7 }))?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_all(&mut self) -> &mut Self {
        self
    }

    /// Nothing: for Tokio's sake. Timers are always there.
    ///
    /// ```
    /// use preemptive::time::{Duration, timeout};
    ///
    /// // It would be no different with `enable_time`.
    /// let runtime = preemptive::runtime::Builder::new_current_thread().build()?;
    /// let late = async { timeout(Duration::from_millis(1), std::future::pending::<()>()).await };
    /// assert!(runtime.block_on(late).is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_time(&mut self) -> &mut Self {
        self
    }

    /// Nothing: for Tokio's sake. This runtime has no I/O driver. Tokio's sockets need a runtime of Tokio's.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().enable_io().build()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_io(&mut self) -> &mut Self {
        self
    }

    /// Nothing: for Tokio's sake. There is no I/O driver.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .enable_io()
    ///     .max_io_events_per_tick(256)
    ///     .build()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn max_io_events_per_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(
            capacity > 0,
            "max_io_events_per_tick cannot be 0: use at least 1"
        );
        self
    }

    /// Nothing: for Tokio's sake. There is no I/O driver.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .enable_io()
    ///     .max_io_events_per_busy_tick(64)
    ///     .build()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn max_io_events_per_busy_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(
            capacity > 0,
            "max_io_events_per_busy_tick cannot be 0: use at least 1"
        );
        self
    }
}
