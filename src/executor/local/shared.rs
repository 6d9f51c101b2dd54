//! The part of a [`LocalSet`](super::LocalSet) that its tasks and their wakers share, on whatever thread they are.
//!
//! # Who may do what
//!
//! | operation                            | who                                     |
//! |--------------------------------------|-----------------------------------------|
//! | spawn, run and shut down a task      | the *owner*: one thread identity        |
//! | schedule a task (wake, abort)        | anybody                                 |
//! | drop a `Notified`                    | anybody: the list has the task as well  |
//!
//! A set never crosses threads (it is not `Send`), so all that its tasks are is made, polled and dropped under the
//! owner's identity. A fiber that is preempted and goes on elsewhere keeps its identity.
//!
//! # Waking the set
//!
//! `is_awake` says that the set's queue will be looked at by a poll that is in progress, or that has been asked for.
//!
//! - **Schedule.** Push the task; set `is_awake`; who changed it takes the waker out of its slot and wakes it.
//! - **Poll.** Set `is_awake`; run tasks. At the end leave a waker in the slot, *then* clear `is_awake`, *then* look at the
//!   queue once more; if there is something, it is as if it had just been scheduled.
//!
//! All of these are sequentially consistent. Either the push comes before the last look, which sees it, or the poll's
//! clearing comes before the change of `is_awake`, and then a waker was in the slot. Should another scheduler have taken it
//! meanwhile, that one is about to wake it, and the poll that follows sees the push: the slot was empty, so that poll has not
//! come to its end.
//!
//! # The end
//!
//! `close` refuses tasks, then shuts down those there are, then empties the queue. Who pushes a task looks afterwards
//! whether the set is closed, and if so empties the queue too; or the two would keep each other alive.

use crate::arch;
use crate::executor::queue::Global;
use crate::executor::task::{self, Id, JoinHandle, Notified, OwnedTasks, Schedule, TaskRef};
use crate::preempt::{Critical, CriticalMutex};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, Ordering};
use std::panic::Location;
use std::task::Waker;

/// A set polls at most so many tasks before it lets others go on.
const TASKS_PER_POLL: usize = 61;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Local {
    /// The thread pointer of the identity that made the set.
    owner: usize,
    /// What is to be run.
    queue: Global,
    /// All that is not complete.
    tasks: OwnedTasks,
    is_closed: AtomicBool,
    is_awake: AtomicBool,
    waker: CriticalMutex<Option<Waker>>,
}

impl Local {
    /// A set of the calling identity.
    pub(super) fn new() -> Local {
        Local {
            owner: arch::thread_pointer(),
            queue: Global::new(),
            tasks: OwnedTasks::new(1),
            is_closed: AtomicBool::new(false),
            is_awake: AtomicBool::new(false),
            waker: CriticalMutex::new(None),
        }
    }

    /// Is this code the owner's?
    pub(super) fn is_owned_here(&self) -> bool {
        self.owner == arch::thread_pointer()
    }

    /// Starts a task. A set that is closed cancels it at once.
    ///
    /// # Panics
    ///
    /// If the caller is not the owner.
    #[track_caller]
    pub(super) fn spawn<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(
            self.is_owned_here(),
            "a local task was spawned on another thread than its set's"
        );
        let scheduler = Scheduler(Arc::clone(self));
        // SAFETY: the caller is the owner, the only one to run and to shut down tasks: `run_some` and `close` are called
        // through values that are not `Send`. Whoever else has a `Notified` only queues or drops it. The list's `TaskRef` is
        // shut down by `close`, which a set calls before it is dropped; a refused one, here.
        let (listed, notified, handle) =
            unsafe { task::spawn_unchecked(future, scheduler, Id::next(), Location::caller()) };
        match self.tasks.bind(listed) {
            Ok(()) => self.schedule(notified),
            Err(refused) => {
                refused.shutdown();
                drop(notified);
            }
        }
        handle
    }

    /// Makes a task runnable, from anywhere.
    fn schedule(&self, task: Notified) {
        {
            let _critical = Critical::enter();
            self.queue.push(task);
        }
        if self.is_closed.load(Ordering::SeqCst) {
            self.empty_queue();
        } else if !self.is_awake.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A poll of the set begins. Owner only.
    pub(super) fn begin_poll(&self) {
        self.is_awake.store(true, Ordering::SeqCst);
    }

    /// It ends: from here on, a task that is scheduled wakes `waker`.
    pub(super) fn end_poll(&self, waker: &Waker) {
        self.register(waker);
        self.is_awake.store(false, Ordering::SeqCst);
        if !self.queue.is_empty() && !self.is_awake.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn register(&self, waker: &Waker) {
        let new = {
            let mut slot = self.waker.lock();
            let current = slot.take();
            // A comparison of two addresses, not user code.
            let is_same = current
                .as_ref()
                .is_some_and(|current| current.will_wake(waker));
            *slot = current;
            drop(slot);
            if is_same { None } else { Some(waker.clone()) }
        };
        if let Some(new) = new {
            let old = self.waker.lock().replace(new);
            // User code, outside the lock.
            drop(old);
        }
    }

    fn pop(&self) -> Option<Notified> {
        let _critical = Critical::enter();
        self.queue.pop_many(0, |_| {})
    }

    /// Runs what is runnable, but not for ever. Owner only.
    pub(super) fn run_some(&self) {
        debug_assert!(self.is_owned_here(), "a set is polled by another thread");
        for _ in 0..TASKS_PER_POLL {
            let Some(task) = self.pop() else { return };
            task.run();
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
        self.is_closed.store(true, Ordering::SeqCst);
        self.empty_queue();
        let waker = self.waker.lock().take();
        drop(waker);
    }

    fn empty_queue(&self) {
        while let Some(task) = self.pop() {
            // A reference, no more: its future is dropped by the owner.
            drop(task);
        }
    }
}

/// How local tasks reach their set.
#[derive(Clone, Debug)]
struct Scheduler(Arc<Local>);

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.0.schedule(task);
    }

    fn yield_now(&self, task: Notified) {
        self.0.schedule(task);
    }

    fn release(&self, task: &TaskRef) -> Option<TaskRef> {
        self.0.tasks.remove(task)
    }
}
