//! The part of a [`LocalSet`](super::LocalSet) that its tasks and their wakers share, on whatever thread they are.
//!
//! | operation                            | who                                     |
//! |--------------------------------------|-----------------------------------------|
//! | spawn, run and shut down a task      | the *owner*: one thread identity        |
//! | schedule a task (wake, abort)        | anybody                                 |
//! | drop a `Notified`                    | anybody: the list has the task as well  |
//!
//! A set never crosses threads (it is not `Send`), so all that its tasks are is made, polled and dropped under the
//! owner's identity. A fiber that is preempted and goes on elsewhere keeps its identity.

use super::inbox::Inbox;
use crate::executor::task::{self, JoinHandle, Notified, OwnedTasks, Schedule, Seed, TaskRef};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicU64, Ordering};
use std::cell::Cell;
use std::task::Waker;

/// A set polls at most so many tasks before it lets others go on.
const TASKS_PER_POLL: usize = 61;

thread_local! {
    /// The calling identity's number, or 0 where it has none yet.
    static IDENTITY: Cell<u64> = const { Cell::new(0) };
}

/// A number of the calling identity that no other one ever has. (A thread pointer would do while its thread lives; the next
/// thread may well get the same.)
fn identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if IDENTITY.get() == 0 {
        // Relaxed: only the number itself matters.
        IDENTITY.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    IDENTITY.get()
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Local {
    /// The identity that made the set.
    owner: u64,
    /// What is to be run.
    inbox: Inbox,
    /// All that is not complete.
    tasks: OwnedTasks,
}

impl Local {
    /// A set of the calling identity.
    pub(super) fn new() -> Local {
        Local {
            owner: identity(),
            inbox: Inbox::new(),
            tasks: OwnedTasks::new(1),
        }
    }

    /// Is this code the owner's?
    pub(super) fn is_owned_here(&self) -> bool {
        self.owner == identity()
    }

    /// Starts a task. A set that is closed cancels it at once.
    ///
    /// # Panics
    ///
    /// If the caller is not the owner.
    #[track_caller]
    pub(super) fn spawn<F>(self: &Arc<Self>, future: F, seed: Seed) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(
            self.is_owned_here(),
            "a local task was spawned on another thread than its set's"
        );
        let scheduler = Scheduler(Arc::clone(self));
        // SAFETY: the caller is the owner, the only one to run and to shut down tasks: `poll` and `close` are called through
        // values that are not `Send`. Whoever else has a `Notified` only queues or drops it. The list's `TaskRef` is shut
        // down by `close`, which a set calls before it is dropped; a refused one, here.
        let (listed, notified, handle) = unsafe { task::spawn_unchecked(future, scheduler, seed) };
        match self.tasks.bind(listed) {
            Ok(()) => self.inbox.push(notified),
            Err(refused) => {
                refused.shutdown();
                drop(notified);
            }
        }
        handle
    }

    /// One poll of the set: `first`, then what is runnable, if `first` says so, but not for ever. Owner only.
    ///
    /// Where `first` says no, or panics, the waker of an earlier poll stays: it may be somebody else's, who goes on.
    pub(super) fn poll(&self, waker: &Waker, first: impl FnOnce() -> bool) {
        debug_assert!(self.is_owned_here(), "a set is polled by another thread");
        self.inbox.begin_poll();
        let _poll = Poll(&self.inbox);
        if first() {
            for _ in 0..TASKS_PER_POLL {
                match self.inbox.pop() {
                    Some(task) => task.run(),
                    None => break,
                }
            }
            self.inbox.register(waker);
        }
    }

    /// No task that is not complete?
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Cancels all tasks, and every one that comes later. Owner only.
    pub(super) fn close(&self) {
        self.tasks.close();
        while let Some(task) = self.tasks.pop(0) {
            task.shutdown();
        }
        self.inbox.close();
    }
}

/// A poll in progress.
struct Poll<'a>(&'a Inbox);

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.0.end_poll();
    }
}

/// How local tasks reach their set.
#[derive(Clone, Debug)]
struct Scheduler(Arc<Local>);

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.0.inbox.push(task);
    }

    fn yield_now(&self, task: Notified) {
        self.0.inbox.push(task);
    }

    fn release(&self, task: &TaskRef) -> Option<TaskRef> {
        self.0.tasks.remove(task)
    }
}
