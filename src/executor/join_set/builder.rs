//! Tasks of a set with more than a future.

use super::JoinSet;
use crate::executor::LocalSet;
use crate::executor::runtime::Handle;
use crate::executor::task::AbortHandle;
use crate::executor::task_builder;
use std::fmt;
use std::future::Future;
use std::io;

/// Spawns a task of a [`JoinSet`] that has a name, or needs more stack than others.
///
/// Comes from [`JoinSet::build_task`]. What it can be told is what [`task::Builder`](crate::task::Builder) can be told.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let mut set = preemptive::task::JoinSet::new();
/// set.build_task().name("the answer").spawn(async { 6 * 7 })?;
/// assert_eq!(set.join_all().await, [42]);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[must_use = "it spawns nothing until one of the spawn functions is called"]
pub struct Builder<'a, T> {
    set: &'a mut JoinSet<T>,
    task: task_builder::Builder<'a>,
}

impl<'a, T: 'static> Builder<'a, T> {
    pub(super) fn new(set: &'a mut JoinSet<T>) -> Builder<'a, T> {
        Builder {
            set,
            task: task_builder::Builder::new(),
        }
    }

    /// What the task is called: see [`task::Builder::name`](crate::task::Builder::name).
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// for number in 0..3 {
    ///     set.build_task().name(&format!("worker {number}")).spawn(async move { number })?;
    /// }
    /// let mut outputs = set.join_all().await;
    /// outputs.sort();
    /// assert_eq!(outputs, [0, 1, 2]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn name(self, name: &'a str) -> Builder<'a, T> {
        Builder {
            task: self.task.name(name),
            ..self
        }
    }

    /// Bytes of stack that each poll of the task has, at least: see
    /// [`task::Builder::stack_size`](crate::task::Builder::stack_size).
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let deep = set.build_task().stack_size(64 << 20);
    /// deep.spawn(async { preemptive::stack::remaining() })?;
    /// assert!(set.join_next().await.unwrap()?.unwrap() > 63 << 20);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn stack_size(self, bytes: usize) -> Builder<'a, T> {
        Builder {
            task: self.task.stack_size(bytes),
            ..self
        }
    }

    /// Starts the task on the current runtime: see [`JoinSet::spawn`].
    ///
    /// # Errors
    ///
    /// As for [`task::Builder::spawn`](crate::task::Builder::spawn); nothing was put into the set then.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let abort = set.build_task().name("endless").spawn(std::future::pending::<()>())?;
    /// abort.abort();
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.task.spawn(future)?))
    }

    /// Starts the task on the runtime of `handle`: see [`JoinSet::spawn_on`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.build_task().name("adder").spawn_on(async { 1 + 1 }, runtime.handle())?;
    /// assert_eq!(runtime.block_on(set.join_all()), [2]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.task.spawn_on(future, handle)?))
    }

    /// Starts the task, which need not be `Send`, on the current [`LocalSet`] or local runtime: see [`JoinSet::spawn_local`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Where [`spawn_local`](crate::task::spawn_local) does.
    ///
    /// ```
    /// use preemptive::task::JoinSet;
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// let outputs = runtime.block_on(async {
    ///     let mut set = JoinSet::new();
    ///     set.build_task().name("local").spawn_local(async { Rc::new(42) })?;
    ///     std::io::Result::Ok(set.join_all().await)
    /// })?;
    /// assert_eq!(*outputs[0], 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        Ok(self.set.insert(self.task.spawn_local(future)?))
    }

    /// Starts the task, which need not be `Send`, on `local_set`: see [`JoinSet::spawn_local_on`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// ```
    /// use preemptive::task::{JoinSet, LocalSet};
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let (local_set, mut set) = (LocalSet::new(), JoinSet::new());
    /// set.build_task().name("local").spawn_local_on(async { Rc::new(42) }, &local_set)?;
    /// let outputs = local_set.block_on(&runtime, set.join_all());
    /// assert_eq!(*outputs[0], 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_local_on<F>(self, future: F, local_set: &LocalSet) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        Ok(self
            .set
            .insert(self.task.spawn_local_on(future, local_set)?))
    }

    /// Runs a closure on a thread of the blocking pool of the current runtime: see [`JoinSet::spawn_blocking`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Outside of a runtime; if the first thread of the pool cannot be created.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.build_task().name("reader").spawn_blocking(|| "a file".len())?;
    /// assert_eq!(set.join_all().await, [6]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(self, f: F) -> io::Result<AbortHandle>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.task.spawn_blocking(f)?))
    }

    /// The same on the runtime of `handle`: see [`JoinSet::spawn_blocking_on`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.build_task().name("reader").spawn_blocking_on(|| "a file".len(), runtime.handle())?;
    /// assert_eq!(runtime.block_on(set.join_all()), [6]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F>(self, f: F, handle: &Handle) -> io::Result<AbortHandle>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.task.spawn_blocking_on(f, handle)?))
    }
}

impl<T> fmt::Debug for Builder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("set", &self.set)
            .field("task", &self.task)
            .finish()
    }
}
