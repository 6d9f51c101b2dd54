//! A current-thread runtime whose tasks need not be `Send`.

use super::LocalSet;
use crate::executor::builder::Builder;
use crate::executor::metrics::RuntimeMetrics;
use crate::executor::runtime::{EnterGuard, Handle, Runtime};
use crate::executor::task::JoinHandle;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// Options of a [`LocalRuntime`] beside those of the [`Builder`]. There are none so far; `LocalOptions::default()`.
///
/// ```
/// use preemptive::runtime::{Builder, LocalOptions};
///
/// let runtime = Builder::new_current_thread().build_local(LocalOptions::default())?;
/// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
/// # std::io::Result::Ok(())
/// ```
#[derive(Default, Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    _not_send: PhantomData<*mut u8>,
}

/// A runtime that stays on the thread that made it: [`spawn_local`](crate::task::spawn_local) works anywhere inside,
/// without a [`LocalSet`].
///
/// Its tasks run while the thread is inside [`block_on`](Self::block_on). Tasks that are `Send` can be spawned as well,
/// also by other threads through a [`Handle`].
///
/// Unless [`Builder::home_only(false)`](Builder::home_only) was said, no task here is preempted: `spawn_local` works in all
/// of them then, since all of them are polled by this thread.
///
/// Dropping it drops its local tasks, oldest first, and waits for the rest to end.
///
/// # Panics
///
/// When it is dropped in a task or in the future of a `block_on`, where waiting would hold up others. It ends all the same,
/// in the background. [`shutdown_background`](Self::shutdown_background) is for such places.
///
/// ```
/// use preemptive::runtime::LocalRuntime;
/// use std::rc::Rc;
///
/// let runtime = LocalRuntime::new().unwrap();
/// let not_send = Rc::new(42);
/// let task = runtime.spawn_local(async move { *not_send });
/// assert_eq!(runtime.block_on(task).unwrap(), 42);
/// ```
pub struct LocalRuntime {
    set: LocalSet,
    /// None: it has been shut down, on the way out of `self`.
    runtime: Option<Runtime>,
}

impl LocalRuntime {
    /// A local runtime with the default options: see [`Builder::build_local`].
    ///
    /// # Errors
    ///
    /// As for [`Builder::build`].
    ///
    /// ```
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let not_send = std::rc::Rc::new(42);
    /// assert_eq!(runtime.block_on(async { *not_send }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<LocalRuntime> {
        Builder::new_current_thread().build_local(LocalOptions::default())
    }

    /// Makes a current-thread runtime a local one.
    pub(in crate::executor) fn new_from(runtime: Runtime) -> LocalRuntime {
        let set = LocalSet::new();
        let _ = runtime.handle().shared.local.set(set.shared.clone());
        LocalRuntime {
            set,
            runtime: Some(runtime),
        }
    }

    fn runtime(&self) -> &Runtime {
        match &self.runtime {
            Some(runtime) => runtime,
            None => unreachable!("a local runtime is used after its end"),
        }
    }

    /// A handle to it. What it spawns must be `Send`.
    ///
    /// ```
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let handle = runtime.handle().clone();
    /// let spawner = std::thread::spawn(move || handle.spawn(async { 6 * 7 }));
    /// let task = spawner.join().unwrap();
    /// assert_eq!(runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn handle(&self) -> &Handle {
        self.runtime().handle()
    }

    /// Starts a task that stays on this thread. It runs whether or not its handle is awaited.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let count = Rc::new(Cell::new(0));
    /// let inside = count.clone();
    /// let task = runtime.spawn_local(async move { inside.set(inside.get() + 1) });
    /// runtime.block_on(task)?;
    /// assert_eq!(count.get(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.set.spawn_local(future)
    }

    /// Runs `f` on a thread where blocking is all there is: see [`task::spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let here = std::thread::current().id();
    /// let task = runtime.spawn_blocking(|| std::thread::current().id());
    /// assert_ne!(runtime.block_on(task)?, here);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, f: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.runtime().spawn_blocking(f)
    }

    /// Runs a future to its end on this thread, and all tasks meanwhile.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    ///
    /// ```
    /// use preemptive::task::spawn_local;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let sum = runtime.block_on(async {
    ///     let (one, two) = (spawn_local(async { 1 }), spawn_local(async { 2 }));
    ///     one.await.unwrap() + two.await.unwrap()
    /// });
    /// assert_eq!(sum, 3);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.set.block_on(self.runtime(), future)
    }

    /// Makes this runtime current on this thread: see [`Handle::enter`]. `spawn_local` works then.
    ///
    /// ```
    /// use preemptive::task::spawn_local;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let task = {
    ///     let _guard = runtime.enter();
    ///     spawn_local(async { std::rc::Rc::new(42) })
    /// };
    /// assert_eq!(*runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    /// What it has counted.
    ///
    /// ```
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// assert_eq!(runtime.metrics().num_workers(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn metrics(&self) -> RuntimeMetrics {
        self.runtime().metrics()
    }

    /// Ends the runtime: see [`Runtime::shutdown_timeout`]. Local tasks are dropped first, here.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use std::time::Duration;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let value = Rc::new(42);
    /// let inside = value.clone();
    /// runtime.spawn_local(async move {
    ///     std::future::pending::<()>().await;
    ///     drop(inside);
    /// });
    /// runtime.shutdown_timeout(Duration::from_secs(60));
    /// // The task was dropped.
    /// assert_eq!(Rc::strong_count(&value), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_timeout(mut self, timeout: Duration) {
        self.end(|runtime| runtime.shutdown_timeout(timeout));
    }

    /// Ends the runtime without waiting: see [`Runtime::shutdown_background`]. Local tasks are dropped first, here.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let value = Rc::new(42);
    /// let inside = value.clone();
    /// runtime.spawn_local(async move {
    ///     std::future::pending::<()>().await;
    ///     drop(inside);
    /// });
    /// runtime.shutdown_background();
    /// // The task was dropped.
    /// assert_eq!(Rc::strong_count(&value), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_background(mut self) {
        self.end(Runtime::shutdown_background);
    }

    /// Local tasks first: their destructors find the runtime current.
    fn end(&mut self, end: impl FnOnce(Runtime)) {
        if let Some(runtime) = self.runtime.take() {
            {
                let _current = runtime.enter();
                self.set.close();
            }
            end(runtime);
        }
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        self.end(drop);
    }
}

// What is inside is in order whatever panics: panics of a task end in the task.
impl UnwindSafe for LocalRuntime {}
impl RefUnwindSafe for LocalRuntime {}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime")
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}
