//! Aborting a task without being able to join it.

use super::header::Reference;
use super::id::Id;
use crate::preempt::morestack::safepoint;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A permission to abort a task, without the permission to join it.
///
/// Comes from [`JoinHandle::abort_handle`](super::JoinHandle::abort_handle). Dropping it does nothing to the
/// task; it keeps a little memory of a finished task, but neither its future nor its output.
///
/// # Examples
///
/// ```
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let handle = preemptive::spawn(std::future::pending::<()>());
///     let abort = handle.abort_handle();
///     abort.abort();
///     assert!(handle.await.unwrap_err().is_cancelled());
///     assert!(abort.is_finished());
/// })
/// ```
#[derive(Clone)]
pub struct AbortHandle(Reference);

// What is behind the reference is in order whatever panics: panics of a task end in the task.
impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl AbortHandle {
    pub(super) fn new(task: Reference) -> AbortHandle {
        AbortHandle(task)
    }

    /// Cancels the task, as [`JoinHandle::abort`](super::JoinHandle::abort) does.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let task = preemptive::spawn(std::future::pending::<()>());
    ///     let abort = task.abort_handle();
    ///     preemptive::spawn(async move { abort.abort() });
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// })
    /// ```
    pub fn abort(&self) {
        safepoint();
        self.0.abort();
    }

    /// Whether the task is finished: it returned, panicked, or was cancelled and its future is dropped; or it has
    /// overflowed its stack, in a runtime that goes on then.
    ///
    /// Right after [`abort`](AbortHandle::abort) it may still be `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let (sender, receiver) = preemptive::sync::channel::<()>(1);
    ///     let task = preemptive::spawn(async move { receiver.recv().await });
    ///     let abort = task.abort_handle();
    ///     assert!(!abort.is_finished());
    ///     drop(sender);
    ///     task.await.unwrap();
    ///     assert!(abort.is_finished());
    /// })
    /// ```
    pub fn is_finished(&self) -> bool {
        safepoint();
        self.0.state().load().is_complete()
    }

    /// Which task it is.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let task = preemptive::spawn(async { preemptive::task::id() });
    ///     let abort = task.abort_handle();
    ///     assert_eq!(task.await.unwrap(), abort.id());
    /// })
    /// ```
    pub fn id(&self) -> Id {
        self.0.header().id
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .finish()
    }
}
