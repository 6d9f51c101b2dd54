//! Tasks: a future, its state and its output in one allocation, shared by counted references.
//!
//! | reference       | how many           | may                                                       |
//! |-----------------|--------------------|-----------------------------------------------------------|
//! | [`Notified`]    | at most one        | run the task, once                                        |
//! | [`TaskRef`]     | one, on the list   | shut the task down                                        |
//! | [`JoinHandle`]  | at most one        | take the output, abort                                    |
//! | [`AbortHandle`] | any number         | abort                                                     |
//! | `Waker`         | any number         | ask for another run                                       |
//!
//! `state` has the protocol by which they agree, `header` what is the same for all tasks, `raw` what depends on
//! the future, and `list` the list a runtime's shutdown works through.
//!
//! # What holds, however a task ends
//!
//! 1. Its future is dropped before its joiner goes on.
//! 2. Panics of the future, of its destructor and of its output's destructor end in the task. The first one is
//!    what the joiner gets; those of an output that nobody asked for are swallowed.
//! 3. The output of a detached task is dropped at once, not with the last waker.
//! 4. An abort never runs a destructor on the thread that aborts; a shutdown does.
//!
//! But for a task whose poll is *lost*, because its stack has overflowed: its future is never dropped, there is no output,
//! and its joiner gets an error at once.
//!
//! Code of the user (poll, wake, drop) runs outside critical sections here, so it can be preempted anywhere.
//! The only critical sections are in `list`.
//!
//! The division of a task into these references, and the join slot guarded by two bits, follow Tokio's tasks.

mod abort;
mod error;
mod header;
mod id;
mod join;
mod list;
mod raw;
mod resumption;
mod seed;
mod snapshot;
mod stage;
mod state;
mod waker;

#[cfg(all(test, not(loom)))]
mod tests;

pub use abort::AbortHandle;
pub use error::JoinError;
pub(crate) use header::Header;
pub use id::{Id, id, try_id};
pub use join::JoinHandle;
pub(crate) use list::OwnedTasks;
pub(crate) use resumption::Resumption;
pub(crate) use seed::Seed;

use header::Reference;
use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;

/// Where tasks go when they are to be run. Every task has one inside.
///
/// The calls come from any thread and from any preemptible code, also from destructors. They must not panic.
pub(crate) trait Schedule: Clone + Send + Sync + 'static {
    /// Runs the task some time soon.
    fn schedule(&self, task: Notified);

    /// As `schedule`, for a task that was woken while it ran: it goes to the back.
    fn yield_now(&self, task: Notified);

    /// Takes a complete task off the owned list, if it is still there.
    fn release(&self, task: &TaskRef) -> Option<TaskRef>;

    /// A task has ended. Nobody who awaits it knows yet.
    #[inline]
    fn terminated(&self, _task: &TaskRef) {}
}

/// Makes a task. It does not run until its `Notified` does; `bind` the `TaskRef` before that.
pub(crate) fn spawn<F, S>(
    future: F,
    scheduler: S,
    seed: Seed,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // SAFETY: the future and its output are `Send`.
    unsafe { spawn_unchecked(future, scheduler, seed) }
}

/// As [`spawn`], for futures that stay on one thread.
///
/// # Safety
///
/// If `F` or its output is not `Send`:
///
/// - the `TaskRef` is shut down, and every `Notified` that the scheduler is given is run, on the thread that made the
///   task or not at all, though the scheduler's functions are called from any thread;
/// - the `TaskRef` is shut down before it is dropped, unless the task is complete: so whoever drops the last
///   reference, a waker or a `Notified`, wherever that is, finds no future.
pub(crate) unsafe fn spawn_unchecked<F, S>(
    future: F,
    scheduler: S,
    seed: Seed,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    // SAFETY: the caller sees to what runs and drops the task. The join handle of an output that is not `Send`
    // is not `Send` either.
    let task = unsafe { raw::allocate(future, scheduler, seed) };
    // SAFETY: this is the first of the three references that a new task has.
    let listed = TaskRef(unsafe { Reference::from_raw(task) });
    // SAFETY: the second one; a new task is in the state `Notified`.
    let notified = Notified(unsafe { Reference::from_raw(task) });
    // SAFETY: the third one.
    let joined = unsafe { Reference::from_raw(task) };
    // SAFETY: the output has this type, and a new task has `JOIN_INTEREST` set.
    (listed, notified, unsafe { JoinHandle::new(joined) })
}

/// The right to run a task once, and one reference to it.
///
/// Dropping it instead leaves a task that nobody can wake any more; a shutdown still ends it.
#[must_use = "a task that is dropped instead of run can only be shut down"]
pub(crate) struct Notified(Reference);

impl Notified {
    /// Polls the task, or cancels it if it was aborted. Panics of the task stay in the task.
    #[inline]
    pub(crate) fn run(self) {
        let run = self.0.header().vtable.run;
        // SAFETY: the reference is given away, and it is that of the `Notified`.
        unsafe { run(self.into_raw()) }
    }

    /// Which task it is.
    #[inline]
    pub(crate) fn id(&self) -> Id {
        self.0.header().id
    }

    /// Where it was spawned.
    #[inline]
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.0.header().location
    }

    /// The task that the calling code, or the code that a handler has interrupted, is in the middle of a poll of: its number,
    /// and what [`lost`](Notified::lost) wants.
    pub(crate) fn polled_here() -> Option<(Id, NonNull<Header>)> {
        let task = id::polled()?;
        // SAFETY: while that code runs, the task's runner has a reference, and a header is only ever shared.
        Some((unsafe { task.as_ref() }.id, task))
    }

    /// The right to complete a task whose poll will never go on. It takes the runner's place: see the `state` module,
    /// Invariant 7. Neither allocates nor runs code of the user's.
    ///
    /// # Safety
    ///
    /// - `task` came from [`polled_here`](Notified::polled_here), and the code that was in the middle of that poll never
    ///   goes on.
    /// - This is the only call for it.
    pub(crate) unsafe fn lost(task: NonNull<Header>) -> Notified {
        // SAFETY: the runner's reference, which it will never give back.
        let lost = Notified(unsafe { Reference::from_raw(task) });
        lost.0.state().lose();
        lost
    }

    /// Gives the right up, at the end of a runtime. A lost task is completed: its joiner may wait.
    pub(crate) fn give_up(self) {
        if self.0.state().load().is_lost() {
            self.run();
        }
    }

    /// The task as an element of a run queue, which has the right and the reference from now on.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        self.0.into_raw()
    }

    /// Takes the right and the reference back.
    ///
    /// # Safety
    ///
    /// - `task` came from [`into_raw`](Notified::into_raw), and this is the only call for it.
    #[inline]
    pub(crate) unsafe fn from_raw(task: NonNull<Header>) -> Notified {
        // SAFETY: the reference was counted for the value that `into_raw` took.
        Notified(unsafe { Reference::from_raw(task) })
    }
}

impl fmt::Debug for Notified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notified").field(self.0.header()).finish()
    }
}

/// The reference of the owned list, and the right to shut the task down.
pub(crate) struct TaskRef(Reference);

impl TaskRef {
    /// Cancels the task. If it runs, its runner does that at the end of the poll; otherwise its future is
    /// dropped here and now. Its panics stay in the task.
    pub(crate) fn shutdown(self) {
        let shutdown = self.0.header().vtable.shutdown;
        // SAFETY: the reference is given away.
        unsafe { shutdown(self.0.into_raw()) }
    }

    /// Which task it is.
    pub(crate) fn id(&self) -> Id {
        self.0.header().id
    }

    /// Where the task was spawned.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.0.header().location
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef").field(self.0.header()).finish()
    }
}
