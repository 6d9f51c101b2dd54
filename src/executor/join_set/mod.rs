//! Many tasks, joined in the order in which they finish.
//!
//! ```
//! use preemptive::task::JoinSet;
//! use preemptive::task::join_set::Builder;
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! let mut set = JoinSet::new();
//! let builder: Builder<'_, u32> = set.build_task();
//! builder.name("the answer").spawn(async { 6 * 7 }).unwrap();
//! set.spawn(async { 1 });
//! assert_eq!(set.join_all().await.iter().sum::<u32>(), 43);
//! # });
//! ```

mod builder;
mod finished;
mod spawn;

pub use builder::Builder;

use super::task::{AbortHandle, Id, JoinError, JoinHandle};
use crate::preempt::morestack::safepoint;
use crate::primitives::Arc;
use finished::{Finished, Link, NONE};
use slab::Slab;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A set of tasks whose outputs can be awaited in the order in which the tasks finish.
///
/// All of them have the output `T`. The tasks run whether or not somebody waits for them. Dropping the set **aborts**
/// every task in it, in the order in which they were spawned; [`detach_all`](Self::detach_all) lets them go on instead.
///
/// Spawning into the set and joining take the same time whatever its size, and only tasks that have finished are looked
/// at. The set, its functions and what they mean are Tokio's.
///
/// ```
/// use preemptive::task::JoinSet;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let mut set = JoinSet::new();
/// for number in 0..10_u64 {
///     set.spawn(async move { (0..=number).sum::<u64>() });
/// }
/// let mut sum = 0;
/// while let Some(result) = set.join_next().await {
///     sum += result.unwrap();
/// }
/// assert_eq!(sum, 165);
/// # });
/// ```
pub struct JoinSet<T> {
    members: Slab<Member<T>>,
    /// Where members say that they have finished.
    finished: Arc<Finished>,
    /// A chain that was taken from there and turned round: who is to be joined first.
    ready: usize,
    /// How many were ever put in.
    inserted: u64,
}

struct Member<T> {
    handle: JoinHandle<T>,
    link: Arc<Link>,
    /// The older, the smaller.
    number: u64,
}

impl<T> JoinSet<T> {
    /// A set without tasks.
    ///
    /// ```
    /// let set = preemptive::task::JoinSet::<u32>::new();
    /// assert!(set.is_empty());
    /// ```
    pub fn new() -> JoinSet<T> {
        JoinSet {
            members: Slab::new(),
            finished: Finished::new(),
            ready: NONE,
            inserted: 0,
        }
    }

    /// How many tasks are in the set: those that run, and those that have finished and were not joined yet.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(async { 1 });
    /// set.spawn(async { 2 });
    /// assert_eq!(set.len(), 2);
    /// set.join_next().await;
    /// assert_eq!(set.len(), 1);
    /// # });
    /// ```
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no task in the set.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(async {});
    /// assert!(!set.is_empty());
    /// set.join_next().await;
    /// assert!(set.is_empty());
    /// # });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Puts a task in.
    fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        let number = self.inserted;
        self.inserted += 1;
        let entry = self.members.vacant_entry();
        let link = Link::new(entry.key(), &self.finished);
        let waker = Waker::from(Arc::clone(&link));
        let member = entry.insert(Member {
            handle,
            link,
            number,
        });
        member.handle.watch(&waker);
        abort
    }

    /// Takes out the task that finished first.
    fn pop(&mut self, waker: Option<&Waker>) -> Option<Member<T>> {
        if self.ready == NONE {
            let mut latest = match waker {
                Some(waker) => self.finished.take_or_register(waker),
                None => self.finished.take(),
            };
            while latest != NONE {
                let earlier = self.members[latest].link.relink(self.ready);
                self.ready = mem::replace(&mut latest, earlier);
            }
        }
        if self.ready == NONE {
            return None;
        }
        let member = self.members.remove(self.ready);
        self.ready = member.link.next();
        Some(member)
    }

    fn poll_pop(&mut self, context: &mut Context<'_>) -> Poll<Option<Member<T>>> {
        safepoint();
        if self.is_empty() {
            return Poll::Ready(None);
        }
        match self.pop(Some(context.waker())) {
            Some(member) => Poll::Ready(Some(member)),
            None => Poll::Pending,
        }
    }

    /// Waits until one of the tasks has finished, takes it out of the set and returns its output; `None` if the set is
    /// empty.
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`]. The task has left the set then, too.
    ///
    /// # Cancel safety
    ///
    /// It is cancel safe: if the wait is given up, no task has been taken out.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// set.spawn(async move { receiver.recv().await });
    /// set.spawn(async { Some("early") });
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), Some("early"));
    /// sender.send("late").await.unwrap();
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), Some("late"));
    /// assert!(set.join_next().await.is_none());
    /// # });
    /// ```
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|context| self.poll_join_next(context)).await
    }

    /// As [`join_next`](Self::join_next), with the task's [`Id`]. (A [`JoinError`] has it anyway.)
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`].
    ///
    /// # Cancel safety
    ///
    /// As for [`join_next`](Self::join_next).
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let spawned = set.spawn(async { "done" }).id();
    /// assert_eq!(set.join_next_with_id().await.unwrap().unwrap(), (spawned, "done"));
    /// # });
    /// ```
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|context| self.poll_join_next_with_id(context)).await
    }

    /// Takes out the task that finished first and returns its output, without waiting; `None` if no task has finished,
    /// or the set is empty.
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`].
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// assert!(set.try_join_next().is_none());
    /// assert_eq!(set.len(), 1);
    /// # });
    /// ```
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        safepoint();
        self.pop(None).map(Member::output)
    }

    /// As [`try_join_next`](Self::try_join_next), with the task's [`Id`].
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`].
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let spawned = set.spawn(async { "done" }).id();
    /// let joined = loop {
    ///     match set.try_join_next_with_id() {
    ///         Some(joined) => break joined,
    ///         None => preemptive::task::yield_now().await,
    ///     }
    /// };
    /// assert_eq!(joined.unwrap(), (spawned, "done"));
    /// # });
    /// ```
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        safepoint();
        self.pop(None).map(Member::output_with_id)
    }

    /// What [`join_next`](Self::join_next) awaits: `Ready(None)` if the set is empty, `Pending` if no task has
    /// finished.
    ///
    /// After `Pending`, the waker of the last call is woken when a task finishes. Other than Tokio's, it is never
    /// `Pending` while there is a task to return: there is no budget.
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`].
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(async { "done" });
    /// let joined = poll_fn(|context| set.poll_join_next(context)).await;
    /// assert_eq!(joined.unwrap().unwrap(), "done");
    /// assert!(poll_fn(|context| set.poll_join_next(context)).await.is_none());
    /// # });
    /// ```
    pub fn poll_join_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_pop(context)
            .map(|member| member.map(Member::output))
    }

    /// As [`poll_join_next`](Self::poll_join_next), with the task's [`Id`].
    ///
    /// # Errors
    ///
    /// As for a [`JoinHandle`].
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let spawned = set.spawn(async { "done" }).id();
    /// let joined = poll_fn(|context| set.poll_join_next_with_id(context)).await;
    /// assert_eq!(joined.unwrap().unwrap(), (spawned, "done"));
    /// # });
    /// ```
    pub fn poll_join_next_with_id(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        self.poll_pop(context)
            .map(|member| member.map(Member::output_with_id))
    }

    /// Aborts all tasks and waits until they have ended: then the set is empty. Their outputs are dropped.
    ///
    /// # Cancel safety
    ///
    /// If the wait is given up, all tasks are aborted, and those that were not waited for are still in the set.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.shutdown().await;
    /// assert!(set.is_empty());
    /// # });
    /// ```
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for all tasks; their outputs, in the order in which they finished.
    ///
    /// # Panics
    ///
    /// When a task has panicked, with what it panicked with; when a task was cancelled, or has overflowed its stack.
    /// The remaining tasks are aborted then.
    ///
    /// # Cancel safety
    ///
    /// If the wait is given up, the set is dropped: the tasks are aborted.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let set: preemptive::task::JoinSet<_> = (0..4).map(|i| async move { i * i }).collect();
    /// let mut squares = set.join_all().await;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # });
    /// ```
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result.map_err(|error| (error.to_string(), error.try_into_panic())) {
                Ok(output) => outputs.push(output),
                Err((_, Ok(payload))) => resume_unwind(payload),
                Err((message, Err(_))) => panic!("join_all: {message}"),
            }
        }
        outputs
    }

    /// Aborts all tasks, in the order in which they were spawned. They stay in the set: join them to know that they
    /// have ended.
    ///
    /// See [`JoinHandle::abort`] for what an abort does. Destructors of the futures never run inside this call.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.spawn(std::future::pending());
    /// set.abort_all();
    /// assert_eq!(set.len(), 2);
    /// while let Some(result) = set.join_next().await {
    ///     assert!(result.unwrap_err().is_cancelled());
    /// }
    /// # });
    /// ```
    pub fn abort_all(&mut self) {
        let mut members: Vec<_> = self.members.iter().map(|(_, member)| member).collect();
        members.sort_unstable_by_key(|member| member.number);
        members.iter().for_each(|member| member.handle.abort());
    }

    /// Takes all tasks out of the set and lets them go on. Nobody will learn of their outputs.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut set = preemptive::task::JoinSet::new();
    /// let (sender, receiver) = preemptive::sync::channel(1);
    /// set.spawn(async move { sender.send("still here").await });
    /// set.detach_all();
    /// assert!(set.is_empty());
    /// assert_eq!(receiver.recv().await, Some("still here"));
    /// # });
    /// ```
    pub fn detach_all(&mut self) {
        drop(self.take_all());
    }

    /// Takes all tasks out, the oldest first.
    fn take_all(&mut self) -> Vec<Member<T>> {
        if self.is_empty() {
            return Vec::new();
        }
        // Wakers of those that go may still come: not to the keys of those that are yet to come.
        self.finished = Finished::after(&self.finished);
        self.ready = NONE;
        let mut members: Vec<_> = mem::take(&mut self.members)
            .into_iter()
            .map(|(_, member)| member)
            .collect();
        members.sort_unstable_by_key(|member| member.number);
        members
    }
}

impl<T> Member<T> {
    /// What the task, which has finished, came to.
    fn output(mut self) -> Result<T, JoinError> {
        match Pin::new(&mut self.handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("a task wakes its joiner when it has finished"),
        }
    }

    fn output_with_id(self) -> Result<(Id, T), JoinError> {
        let id = self.handle.id();
        self.output().map(|output| (id, output))
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        for member in self.take_all() {
            member.handle.abort();
        }
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
