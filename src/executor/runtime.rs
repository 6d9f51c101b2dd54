//! The runtime and the handles to it.

use super::block_on;
use super::blocking;
use super::builder::Builder;
use super::context;
use super::entered::{self, Guard};
use super::home;
use super::metrics::RuntimeMetrics;
use super::shared::{Scheduler, Shared};
use super::shutdown::{self, Attendants};
use super::task::{self, JoinHandle, Notified, Seed, TaskRef};
use super::trace::{self, Kind, Origin};
use crate::preempt::morestack::safepoint;
use crate::primitives::{Arc, MutexGuard};
use crate::sys;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// The executor: its processors, workers, fibers and timers.
///
/// Dropping it waits for the polls that are running to end, drops every task, and runs the destructors of
/// every identity's thread-locals. See [`shutdown_timeout`](Runtime::shutdown_timeout) for one that does not
/// wait for ever.
///
/// # Panics
///
/// Dropping it panics where something is polled, inside a task or a future of `block_on`, since it waits; the runtime
/// ends in the background all the same. There [`shutdown_background`](Runtime::shutdown_background) does, or
/// [`block_in_place`](crate::task::block_in_place).
///
/// ```
/// let runtime = preemptive::runtime::Runtime::new().unwrap();
/// let answer = runtime.block_on(async {
///     preemptive::spawn(async { 6 * 7 }).await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
pub struct Runtime {
    handle: Handle,
    attendants: Attendants,
    is_shut_down: bool,
}

/// A reference to a runtime: spawns and blocks on it from anywhere.
///
/// It does not keep the runtime running: after the [`Runtime`] is dropped, what it spawns is cancelled.
///
/// ```
/// let runtime = preemptive::runtime::Runtime::new()?;
/// let handle = runtime.handle().clone();
/// let task = std::thread::spawn(move || handle.spawn(async { 6 * 7 })).join().unwrap();
/// assert_eq!(runtime.block_on(task)?, 42);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// While it lives, a runtime is current on this thread. Made by [`Handle::enter`].
///
/// Guards of one thread are to be dropped in the reverse of the order in which they were made.
///
/// # Panics
///
/// Dropping it panics if one that was made later still lives, unless the thread panics already.
///
/// ```
/// use preemptive::runtime::{Handle, Runtime};
///
/// let runtime = Runtime::new()?;
/// let guard = runtime.enter();
/// assert_eq!(Handle::current().id(), runtime.handle().id());
/// drop(guard);
/// assert!(Handle::try_current().is_err());
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "the runtime is current only while the guard lives"]
pub struct EnterGuard<'a> {
    // Its destructor is apart from the lifetime: a runtime may be ended, or moved, before its guard is dropped.
    _guard: Guard,
    _runtime: PhantomData<&'a Handle>,
    // It belongs to one thread, though others may look at it.
    _not_send: PhantomData<MutexGuard<'static, ()>>,
}

/// There is no current runtime. Returned by [`Handle::try_current`].
///
/// ```
/// let error = preemptive::runtime::Handle::try_current().unwrap_err();
/// assert!(error.to_string().starts_with("there is no runtime here"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryCurrentError {
    is_destroyed: bool,
}

impl TryCurrentError {
    /// Is it that no runtime was entered here?
    ///
    /// ```
    /// let error = preemptive::runtime::Handle::try_current().unwrap_err();
    /// assert!(error.is_missing_context());
    /// ```
    pub fn is_missing_context(&self) -> bool {
        !self.is_destroyed
    }

    /// Is it that the thread's locals, which know it, are destroyed already? So it is in the last destructors of
    /// thread-locals.
    ///
    /// ```
    /// // This thread is not about to end.
    /// let error = preemptive::runtime::Handle::try_current().unwrap_err();
    /// assert!(!error.is_thread_local_destroyed());
    /// ```
    pub fn is_thread_local_destroyed(&self) -> bool {
        self.is_destroyed
    }
}

/// The one text for it.
pub(super) const NO_RUNTIME: &str = "there is no runtime here: call it from a task, inside `Runtime::block_on`, \
                          or while a guard of `Handle::enter` lives";

impl fmt::Display for TryCurrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is_destroyed {
            false => NO_RUNTIME,
            true => "the thread's locals, the current runtime among them, are destroyed already",
        })
    }
}

impl Error for TryCurrentError {}

// A panic leaves nothing of a runtime half done: those of tasks end in the task, and the runtime's own code, where it holds
// a lock, does not panic.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("config", &self.handle.shared.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime with the default options: see [`Builder`].
    ///
    /// # Errors
    ///
    /// As for [`Builder::build`].
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Runtime> {
        Builder::new_multi_thread().build()
    }

    pub(super) fn new_from(shared: Arc<Shared>, attendants: Attendants) -> Runtime {
        Runtime {
            handle: Handle { shared },
            attendants,
            is_shut_down: false,
        }
    }

    /// A handle to it.
    ///
    /// ```
    /// use preemptive::runtime::{Handle, Runtime};
    ///
    /// let runtime = Runtime::new()?;
    /// let handle: Handle = runtime.handle().clone();
    /// assert_eq!(handle.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts a task. It runs whether or not its handle is awaited, or dropped.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// runtime.spawn(async move { sender.send(6 * 7) });
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs `f` on a thread where blocking is all there is: see [`task::spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let answer = runtime.spawn_blocking(|| 6 * 7);
    /// assert_eq!(runtime.block_on(answer)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, f: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.handle.spawn_blocking(f)
    }

    /// Runs a future to its end on the calling thread, with this runtime current.
    ///
    /// The future itself is polled by the calling thread, as Tokio's multi-thread runtime does; what it
    /// spawns runs on the workers.
    ///
    /// # Panics
    ///
    /// If the future panics. Where this thread polls something already: inside another `block_on`, and in tasks of a
    /// current-thread runtime. A task of a multi-thread runtime may call it for such runtimes: the task waits, its thread
    /// goes on. Inside [`block_in_place`](crate::task::block_in_place) all of it is allowed.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// // It may borrow, and need not be `Send`.
    /// let words = std::rc::Rc::new(["six", "seven"]);
    /// let count = runtime.block_on(async { preemptive::task::yield_now().await; words.len() });
    /// assert_eq!(count, 2);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        // Tokio's rule: who drives a current-thread runtime must not block.
        let may_block = !self.handle.shared.config.home;
        self.handle.block_on_as(future, may_block)
    }

    /// Makes this runtime current on the calling thread: see [`Handle::enter`].
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let task = {
    ///     let _guard = runtime.enter();
    ///     preemptive::spawn(async { 6 * 7 })
    /// };
    /// assert_eq!(runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// What it has counted.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// runtime.block_on(runtime.spawn(async {}))?;
    /// assert_eq!(runtime.metrics().spawned_tasks_count(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
    }

    /// Ends the runtime, waiting at most `timeout` for polls in progress.
    ///
    /// A poll that does not end in time goes on in the background as an ordinary thread of the lowest
    /// priority; its task is dropped when it ends. Its locks are not left locked, and nothing else of the runtime
    /// waits for it. How many there were, and the [ids](crate::task::Id) of their tasks, is written to standard
    /// error.
    ///
    /// Blocking closures that wait for a thread are cancelled; those that have one are waited for likewise.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let (begins, begun) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let hog = runtime.spawn(async move {
    ///     begins.send(()).unwrap();
    ///     while !STOP.load(Ordering::Relaxed) {}
    /// });
    /// begun.recv().unwrap();
    /// runtime.shutdown_timeout(Duration::from_millis(10));
    /// assert!(!hog.is_finished());
    /// STOP.store(true, Ordering::Relaxed);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_timeout(mut self, timeout: Duration) {
        self.shut_down(Some(timeout));
    }

    /// Ends the runtime without waiting: `shutdown_timeout(Duration::ZERO)`. Legal inside a task.
    ///
    /// ```
    /// use preemptive::runtime::Runtime;
    ///
    /// let (runtime, other) = (Runtime::new()?, Runtime::new()?);
    /// let never = other.spawn(std::future::pending::<()>());
    /// let task = runtime.spawn(async {
    ///     other.shutdown_background();
    ///     never.await
    /// });
    /// assert!(runtime.block_on(task)?.unwrap_err().is_cancelled());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_background(self) {
        if entered::is_polling() {
            // The task that calls is one of those that would be waited for, or holds up another.
            let mut runtime = self;
            runtime.is_shut_down = true;
            let shared = Arc::clone(&runtime.handle.shared);
            let mut attendants = std::mem::take(&mut runtime.attendants);
            let spawned = std::thread::Builder::new()
                .name("preemptive-shutdown".to_owned())
                .spawn(move || finish(&shared, &mut attendants, Some(Duration::ZERO)));
            drop(spawned);
        } else {
            self.shutdown_timeout(Duration::ZERO);
        }
    }

    fn shut_down(&mut self, timeout: Option<Duration>) {
        if std::mem::replace(&mut self.is_shut_down, true) {
            return;
        }
        finish(&self.handle.shared, &mut self.attendants, timeout);
    }
}

/// Ends a runtime: its blocking pool, then its tasks and threads.
fn finish(shared: &Arc<Shared>, attendants: &mut Attendants, timeout: Option<Duration>) {
    // Thirty years are as good as for ever, and do not overflow.
    let timeout = timeout.map(|timeout| timeout.min(Duration::from_secs(30 * 365 * 86_400)));
    let deadline = timeout.map(|timeout| sys::now() + timeout.as_nanos() as u64);
    let until = timeout.map(|timeout| Instant::now() + timeout);
    shared.blocking.close();
    let left = shutdown::run(shared, attendants, deadline);
    let blocking_ended = shared.blocking.join(until);
    if !left.is_empty() && timeout.is_some_and(|timeout| !timeout.is_zero()) {
        eprintln!(
            "preemptive: shutdown left {} unfinished poll(s){}, which go on at the lowest priority{}",
            left.len(),
            of_tasks(left),
            if blocking_ended {
                ""
            } else {
                ", and blocking closures"
            }
        );
    }
}

/// Whose polls were left, for a message: the lowest numbers of those that are tasks.
fn of_tasks(mut left: Vec<u64>) -> String {
    const MOST: usize = 16;
    left.retain(|task| *task != 0);
    left.sort_unstable();
    let mut text = String::new();
    for (index, task) in left.iter().take(MOST).enumerate() {
        text += if index == 0 { " of tasks " } else { ", " };
        text += &task.to_string();
    }
    if left.len() > MOST {
        text += ", ...";
    }
    text
}

impl Drop for Runtime {
    #[track_caller]
    fn drop(&mut self) {
        if self.is_shut_down {
            return;
        }
        if entered::must_not_wait() && !std::thread::panicking() {
            // Keep the promise that nothing is lost, before complaining.
            self.is_shut_down = true;
            let shared = Arc::clone(&self.handle.shared);
            let mut attendants = std::mem::take(&mut self.attendants);
            let _ = std::thread::Builder::new()
                .name("preemptive-shutdown".to_owned())
                .spawn(move || finish(&shared, &mut attendants, None));
            panic!(
                "Cannot drop a runtime in a context where blocking is not allowed: \
                 a runtime waits for its tasks when it is dropped; drop it outside of tasks, \
                 or call `Runtime::shutdown_background`"
            );
        }
        self.shut_down(if std::thread::panicking() && entered::must_not_wait() {
            Some(Duration::ZERO)
        } else {
            None
        });
    }
}

/// What is left to do for a task that was spawned, because it runs code of the user's: dropped, it does that.
#[derive(Debug)]
pub(super) struct Rest {
    task: Option<(TaskRef, Notified)>,
    /// A hook is to be told of the task before it may run. Without: it came too late, and is cancelled; its future goes
    /// first, then its handle knows.
    hooked: Option<Arc<Shared>>,
}

impl Rest {
    /// Does it. False: the runtime has ended, so the task is cancelled.
    pub(super) fn admit(mut self) -> bool {
        self.settle()
    }

    /// A task that came too late. Apart, and in a box, so that a spawn that has nothing left to do knows little of it.
    #[cold]
    fn refused(task: TaskRef, notified: Notified) -> Box<Rest> {
        Box::new(Rest {
            task: Some((task, notified)),
            hooked: None,
        })
    }

    /// A task that a hook is to be told of.
    #[cold]
    fn hooked(shared: &Arc<Shared>, task: TaskRef, notified: Notified) -> Box<Rest> {
        Box::new(Rest {
            task: Some((task, notified)),
            hooked: Some(Arc::clone(shared)),
        })
    }

    fn settle(&mut self) -> bool {
        let Some((task, notified)) = self.task.take() else {
            return true;
        };
        let Some(shared) = self.hooked.take() else {
            task.shutdown();
            return false;
        };
        // Cancelled if the hook panics, so that whoever was told of it learns of its end as well.
        let mut told = Rest {
            task: Some((task, notified)),
            hooked: None,
        };
        if let Some((task, _)) = &told.task {
            shared.config.hooks.task_spawn(task);
        }
        let Some((task, notified)) = told.task.take() else {
            return true;
        };
        admit(&shared, task, notified).is_none_or(|rest| rest.admit())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}

/// Lets a task run. Returns it if the runtime has ended.
#[inline]
fn admit(shared: &Shared, task: TaskRef, notified: Notified) -> Option<Box<Rest>> {
    match shared.tasks.bind(task) {
        Ok(()) => {
            shared.schedule(notified);
            None
        }
        Err(task) => Some(Rest::refused(task, notified)),
    }
}

impl Handle {
    /// The current runtime's handle.
    ///
    /// # Panics
    ///
    /// If there is none.
    ///
    /// ```
    /// use preemptive::runtime::{Handle, Runtime};
    ///
    /// let runtime = Runtime::new()?;
    /// let task = runtime.spawn(async { Handle::current().id() });
    /// assert_eq!(runtime.block_on(task)?, runtime.handle().id());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn current() -> Handle {
        match Handle::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// The current runtime's handle, if there is one.
    ///
    /// # Errors
    ///
    /// There is none, or the thread is ending and does not know any more.
    ///
    /// ```
    /// use preemptive::runtime::{Handle, Runtime};
    ///
    /// assert!(Handle::try_current().is_err());
    /// let runtime = Runtime::new()?;
    /// assert!(runtime.block_on(async { Handle::try_current().is_ok() }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_current() -> Result<Handle, TryCurrentError> {
        safepoint();
        match context::try_current() {
            Ok(current) => current.ok_or(TryCurrentError {
                is_destroyed: false,
            }),
            Err(context::Destroyed) => Err(TryCurrentError { is_destroyed: true }),
        }
    }

    /// Makes this runtime current on the calling thread while the guard lives.
    ///
    /// Guards nest: drop the one that was made last first, or the drop [panics](EnterGuard).
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let guard = runtime.handle().enter();
    /// let task = preemptive::spawn(async { 6 * 7 });
    /// drop(guard);
    /// assert_eq!(runtime.block_on(task).unwrap(), 42);
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard {
            _guard: Guard::new(self.clone()),
            _runtime: PhantomData,
            _not_send: PhantomData,
        }
    }

    /// Starts a task: see [`Runtime::spawn`]. After the runtime has ended the task is cancelled at once.
    ///
    /// ```
    /// use preemptive::runtime::Runtime;
    ///
    /// let runtime = Runtime::new()?;
    /// let handle = runtime.handle().clone();
    /// assert_eq!(runtime.block_on(handle.spawn(async { 6 * 7 }))?, 42);
    /// drop(runtime);
    /// let error = Runtime::new()?.block_on(handle.spawn(async { 6 * 7 })).unwrap_err();
    /// assert!(error.is_cancelled());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let origin = Origin::of::<F>(Location::caller());
        self.spawn_from(future, Seed::new(Kind::Task, &origin))
    }

    /// The same, with what the task begins with.
    pub(super) fn spawn_from<F>(&self, future: F, seed: Seed) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (handle, rest) = self.try_spawn(future, seed);
        drop(rest);
        handle
    }

    /// Starts a task. Runs no code of the user's: the caller drops what else this returns, which does. A future that the
    /// runtime refuses, because it has ended, goes with it; a task that a hook is to be told of starts with it.
    #[inline]
    pub(super) fn try_spawn<F>(
        &self,
        future: F,
        seed: Seed,
    ) -> (JoinHandle<F::Output>, Option<Box<Rest>>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let scheduler = Scheduler(Arc::clone(&self.shared));
        let (owned, notified, handle) = task::spawn(future, scheduler, seed);
        if self.shared.config.hooks.watch_spawns() {
            return (handle, Some(Rest::hooked(&self.shared, owned, notified)));
        }
        (handle, admit(&self.shared, owned, notified))
    }

    /// Runs `f` on a thread of the blocking pool: see [`task::spawn_blocking`](crate::task::spawn_blocking). After the
    /// runtime has ended it is cancelled at once.
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// use preemptive::runtime::{Handle, Runtime};
    ///
    /// let runtime = Runtime::new()?;
    /// let handle = runtime.handle().clone();
    /// // The runtime is current there.
    /// let id = handle.spawn_blocking(|| Handle::current().id());
    /// assert_eq!(runtime.block_on(id)?, handle.id());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, f: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let origin = Origin::of::<F>(Location::caller());
        self.spawn_blocking_from(f, Seed::blocking::<F>(&origin))
    }

    /// The same, with what its task begins with.
    #[track_caller]
    pub(super) fn spawn_blocking_from<F, R>(&self, f: F, seed: Seed) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        blocking::spawn(&self.shared, f, seed)
    }

    /// Runs a future to its end on the calling thread: see [`Runtime::block_on`].
    ///
    /// Inside tasks of a multi-thread runtime as well. For a current-thread runtime the calling thread runs the tasks
    /// and timers meanwhile, if no other does: on Tokio it is the runtime's own `block_on` alone that does so. The future
    /// may call [`block_in_place`](crate::task::block_in_place), whichever runtime it is.
    ///
    /// After the runtime has ended, it goes on polling the future, which gets nothing of that runtime any more.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let handle = runtime.handle().clone();
    /// // Inside a task, too: it waits, and starves nobody.
    /// let task = runtime.spawn(async move { handle.block_on(async { 6 * 7 }) });
    /// assert_eq!(runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.block_on_as(future, true)
    }

    #[track_caller]
    fn block_on_as<F: Future>(&self, future: F, may_block: bool) -> F::Output {
        let _current = self.enter();
        let future = trace::root(future, Location::caller());
        if self.shared.config.home {
            return home::block_on(&self.shared, future, may_block);
        }
        block_on::block_on(future, may_block)
    }

    /// What the runtime has counted.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let metrics = runtime.handle().metrics();
    /// drop(runtime);
    /// // What was counted remains.
    /// assert_eq!(metrics.num_workers(), 2);
    /// assert_eq!(metrics.num_alive_tasks(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics {
            shared: Arc::clone(&self.shared),
        }
    }
}
