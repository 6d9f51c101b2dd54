//! Waiting for a task. Whose the join slot is, the `state` module says (Invariant 6).

use super::abort::AbortHandle;
use super::error::JoinError;
use super::header::Reference;
use super::id::Id;
use super::stage::contain;
use super::state::{JoinDropped, JoinWaker};
use crate::preempt::morestack::safepoint;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A permission to wait for a task: a future that yields the task's output.
///
/// `spawn` returns it. When it is ready, the task's future has been dropped already, however the task ended; but for a
/// [stack overflow](JoinError::is_stack_overflow).
///
/// Dropping the handle *detaches* the task: the task goes on, its output is dropped as soon as there is one,
/// and a panic in that destructor is swallowed. To stop a task, call [`abort`](JoinHandle::abort).
///
/// # Errors
///
/// Yields a [`JoinError`] if the task panicked, was cancelled by [`abort`](JoinHandle::abort) or by the
/// shutdown of its runtime, or has overflowed its stack.
///
/// # Panics
///
/// When it is polled again after it has yielded.
///
/// # Cancel safety
///
/// Waiting by `&mut handle` is cancel safe: if the wait is given up, for instance because another branch of a
/// `select!` was faster, no output is lost and the handle can be awaited again.
///
/// # Examples
///
/// ```
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let handle = preemptive::spawn(async { 6 * 7 });
///     assert_eq!(handle.await.unwrap(), 42);
/// })
/// ```
pub struct JoinHandle<T> {
    /// Given back by hand: a transition can spend it.
    task: ManuallyDrop<Reference>,
    _output: PhantomData<T>,
}

// SAFETY: the handle may take a `T` to the thread it was sent to, so `T: Send`. The rest is a `Reference`.
unsafe impl<T: Send> Send for JoinHandle<T> {}

// SAFETY: `PhantomData<T>` stops the auto-impl where `T` is not `Sync`. No `T` can be reached through a shared
// handle: taking the output needs `&mut`, dropping it needs the handle itself.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

// It refers to an output, it does not contain one.
impl<T> Unpin for JoinHandle<T> {}

// What is behind the reference is in order whatever panics: panics of a task end in the task.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

/// What a poll of the join handle found.
enum Found {
    /// The output is there.
    Complete,
    /// It is not; the waker will be woken when it is.
    Waiting,
}

impl<T> JoinHandle<T> {
    /// The handle of a task.
    ///
    /// # Safety
    ///
    /// - `T` is the output of the task's future.
    /// - `JOIN_INTEREST` was set on behalf of the value that this returns.
    pub(super) unsafe fn new(task: Reference) -> JoinHandle<T> {
        JoinHandle {
            task: ManuallyDrop::new(task),
            _output: PhantomData,
        }
    }

    /// Cancels the task.
    ///
    /// An idle task is not polled again: a worker drops its future, and the handle yields a
    /// [cancelled](JoinError::is_cancelled) error. A task that is running is cancelled where its current poll
    /// returns, unless that poll is the last: then the output counts. Aborting a finished task does nothing,
    /// and its output stays available. So `abort` does not say how the task ends; the handle does.
    ///
    /// Destructors of the future never run inside this call. If one of them panics, the handle yields that
    /// [panic](JoinError::is_panic).
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let handle = preemptive::spawn(std::future::pending::<()>());
    ///     handle.abort();
    ///     assert!(handle.await.unwrap_err().is_cancelled());
    /// })
    /// ```
    pub fn abort(&self) {
        safepoint();
        self.task.abort();
    }

    /// A handle that can abort the task, for those who do not wait for it.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let task = preemptive::spawn(std::future::pending::<()>());
    ///     let abort = task.abort_handle();
    ///     assert_eq!(abort.id(), task.id());
    ///     abort.abort();
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// })
    /// ```
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(Reference::clone(&self.task))
    }

    /// Whether the task is finished: it returned, panicked, or was cancelled and its future is dropped; or it has
    /// overflowed its stack, in a runtime that goes on then.
    ///
    /// Once it is, awaiting the handle does not wait. Right after [`abort`](JoinHandle::abort) it may still be
    /// `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let mut handle = preemptive::spawn(async {});
    ///     (&mut handle).await.unwrap();
    ///     assert!(handle.is_finished());
    /// })
    /// ```
    pub fn is_finished(&self) -> bool {
        safepoint();
        self.task.state().load().is_complete()
    }

    /// Which task it is.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let task = preemptive::spawn(async { preemptive::task::id() });
    ///     let id = task.id();
    ///     assert_eq!(task.await.unwrap(), id);
    /// })
    /// ```
    pub fn id(&self) -> Id {
        self.task.header().id
    }

    /// Looks for the output, or leaves a waker for the time when there is one.
    fn look_or_register(&mut self, waker: &Waker) -> Found {
        let state = self.task.state();
        let slot = self.task.header().join_slot.get();
        let seen = state.load();
        if seen.is_complete() {
            return Found::Complete;
        }
        if seen.has_join_waker() {
            // SAFETY: `JOIN_WAKER` is set, and only we could clear it before completion: nobody writes the slot.
            let published = unsafe { &*slot };
            if published.as_ref().is_some_and(|old| old.will_wake(waker)) {
                return Found::Waiting;
            }
        }
        // The clone is foreign code and may panic: before anything has changed, and to the joiner, whose it is.
        let new = waker.clone();
        if seen.has_join_waker() {
            match state.withdraw_join_waker() {
                JoinWaker::Changed => (),
                // The slot is the runner's for now. If we are gone before it is ready, it empties it.
                JoinWaker::Complete => {
                    contain(|| drop(new));
                    return Found::Complete;
                }
            }
        }
        // SAFETY: `JOIN_WAKER` is clear, so the slot is ours, and we are the only handle.
        let old = unsafe { slot.replace(Some(new)) };
        let found = match state.publish_join_waker() {
            JoinWaker::Changed => Found::Waiting,
            // Nobody will look at the slot. It is emptied when the handle is dropped.
            JoinWaker::Complete => Found::Complete,
        };
        contain(|| drop(old));
        found
    }

    /// Leaves a waker that is woken when the task has finished; at once, if it has.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        if let Found::Complete = self.look_or_register(waker) {
            waker.wake_by_ref();
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        safepoint();
        match self.look_or_register(cx.waker()) {
            Found::Waiting => Poll::Pending,
            Found::Complete => {
                let mut output: Option<Self::Output> = None;
                let take = self.task.header().vtable.take_output;
                // SAFETY: the task is complete and we had an interest in it, so the output is ours (State,
                // Invariant 4). `T` is its type (`new`), so the place has the type that `take_output` wants.
                unsafe { take(self.task.as_raw(), (&raw mut output).cast()) };
                Poll::Ready(output.expect("JoinHandle polled after completion"))
            }
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let vtable = self.task.header().vtable;
        let task = self.task.as_raw();
        let (drop_output, drop_waker) = match self.task.state().drop_join_handle() {
            // Our reference is spent: `self.task` may not be looked at any more.
            JoinDropped::Detached => return,
            JoinDropped::Waker => (false, true),
            JoinDropped::Output => (true, false),
            JoinDropped::OutputAndWaker => (true, true),
        };
        if drop_output {
            // SAFETY: the task is complete, so the output is ours (State, Invariant 4).
            unsafe { (vtable.drop_output)(task) };
        }
        if drop_waker {
            // SAFETY: both bits are clear, and we cleared the later one (State, Invariant 6).
            let waker = unsafe { &mut *self.task.header().join_slot.get() }.take();
            contain(|| drop(waker));
        }
        // SAFETY: our reference was not spent, and the field is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.task) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .finish()
    }
}
