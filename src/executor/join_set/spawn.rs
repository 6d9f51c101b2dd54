//! The ways into a set.

use super::{Builder, JoinSet};
use crate::executor;
use crate::executor::LocalSet;
use crate::executor::runtime::Handle;
use crate::executor::task::AbortHandle;
use std::future::Future;

impl<T: 'static> JoinSet<T> {
    /// Starts a task on the current runtime and puts it into the set: see [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let (endless, short) = (set.spawn(std::future::pending()), set.spawn(async { "done" }));
    /// let (id, output) = set.join_next_with_id().await.unwrap().unwrap();
    /// assert_eq!((id, output), (short.id(), "done"));
    /// endless.abort();
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(executor::spawn(future))
    }

    /// Starts a task on the runtime of `handle` and puts it into the set: see [`Handle::spawn`].
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn_on(async { 42 }, runtime.handle());
    /// assert_eq!(runtime.block_on(set.join_all()), [42]);
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn(future))
    }

    /// Runs a closure on a thread of the blocking pool of the current runtime, and puts its task into the set: see
    /// [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    ///
    /// Outside of a runtime; if the first thread of the pool cannot be created.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn_blocking(|| 1 + 1);
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(executor::spawn_blocking(f))
    }

    /// The same on the runtime of `handle`: see [`Handle::spawn_blocking`].
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn_blocking_on(|| 1 + 1, runtime.handle());
    /// assert_eq!(runtime.block_on(set.join_all()), [2]);
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, f: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn_blocking(f))
    }

    /// Starts a task that is not `Send` on the current [`LocalSet`] or local runtime, and puts it into the set: see
    /// [`spawn_local`](crate::task::spawn_local).
    ///
    /// # Panics
    ///
    /// Where `spawn_local` does.
    ///
    /// ```
    /// use preemptive::task::{JoinSet, LocalSet};
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let output = LocalSet::new().block_on(&runtime, async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn_local(async { Rc::new(42) });
    ///     set.join_next().await.unwrap().unwrap()
    /// });
    /// assert_eq!(*output, 42);
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(executor::spawn_local(future))
    }

    /// Starts a task that is not `Send` on `local_set`, and puts it into the set: see [`LocalSet::spawn_local`].
    ///
    /// ```
    /// use preemptive::task::{JoinSet, LocalSet};
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let (local_set, mut set) = (LocalSet::new(), JoinSet::new());
    /// set.spawn_local_on(async { Rc::new(42) }, &local_set);
    /// let outputs = local_set.block_on(&runtime, set.join_all());
    /// assert_eq!(*outputs[0], 42);
    /// ```
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, future: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(local_set.spawn_local(future))
    }

    /// For a task of the set with a name, or a larger stack: see [`Builder`].
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.build_task().name("the answer").stack_size(8 << 20).spawn(async { 6 * 7 })?;
    /// assert_eq!(set.len(), 1);
    /// assert_eq!(set.join_all().await, [42]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn build_task(&mut self) -> Builder<'_, T> {
        Builder::new(self)
    }
}

/// Starts a task on the current runtime for each of the futures. Panics outside of a runtime.
impl<T, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> JoinSet<T> {
        let mut set = JoinSet::new();
        set.extend(futures);
        set
    }
}

/// Starts a task on the current runtime for each of the futures. Panics outside of a runtime.
impl<T, F> Extend<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.spawn(future);
        }
    }
}
