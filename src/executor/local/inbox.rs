//! Runnable tasks on their way into a set, and the waker of whoever polls it.
//!
//! # Waking the set
//!
//! `is_awake` says that the queue will be looked at by a poll that is in progress, or that has been asked for.
//!
//! - **Push.** Put the task into the queue; set `is_awake`; who changed it takes the waker out of its slot and wakes it.
//! - **Poll.** Set `is_awake`; run tasks. At the end leave a waker in the slot, *then* clear `is_awake`, *then* look at the
//!   queue once more; if there is something, it is as if it had just been pushed. Who will not poll again leaves no waker:
//!   that of another poller may be there. What becomes of the others is in `pollers`.
//!
//! `is_awake` changes by exchanges only (AcqRel), which its word has in one order. Either the pusher's comes before the poll's
//! clearing, which acquires the push, so that the last look sees it; or the clearing comes first, and then a waker was in the
//! slot. Should another pusher have taken that one meanwhile, it is about to wake it, and the poll that follows sees this
//! push: the slot was empty, so that poll has not come to its end.
//!
//! # The end
//!
//! Who closes it empties the queue afterwards; who pushes a task looks afterwards whether it is closed, and if so empties the
//! queue as well. Both are sequentially consistent, so one of the two sees the other; tasks left in it would keep the set
//! alive, and the set them.
//!
//! `tests/models` checks both against every interleaving.

use crate::executor::queue::Global;
use crate::executor::task::Notified;
use crate::preempt::{Critical, CriticalMutex};
use crate::primitives::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Global,
    is_closed: AtomicBool,
    is_awake: AtomicBool,
    waker: CriticalMutex<Option<Waker>>,
}

impl Inbox {
    /// An empty one, that nobody polls yet.
    pub(crate) fn new() -> Inbox {
        Inbox {
            queue: Global::new(),
            is_closed: AtomicBool::new(false),
            is_awake: AtomicBool::new(false),
            waker: CriticalMutex::new(None),
        }
    }

    /// Puts a task in, from anywhere.
    pub(crate) fn push(&self, task: Notified) {
        {
            let _critical = Critical::enter();
            self.queue.push(task);
        }
        if self.is_closed.load(Ordering::SeqCst) {
            self.empty();
        } else if !self.is_awake.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Takes the oldest task out.
    pub(crate) fn pop(&self) -> Option<Notified> {
        let _critical = Critical::enter();
        self.queue.pop_many(0, |_| {})
    }

    /// A poll begins. One at a time, or one inside the other.
    pub(crate) fn begin_poll(&self) {
        let _ = self.is_awake.swap(true, Ordering::AcqRel);
    }

    /// It ends: from here on, a task that is pushed wakes the waker in the slot.
    pub(crate) fn end_poll(&self) {
        self.fall_asleep();
        self.look_again();
    }

    /// Leaves a waker in the slot, at the end of a poll after which others follow.
    pub(crate) fn register(&self, waker: &Waker) {
        let is_same = {
            let mut slot = self.waker.lock();
            let current = slot.take();
            // A comparison of two addresses, not user code.
            let is_same = current
                .as_ref()
                .is_some_and(|current| current.will_wake(waker));
            *slot = current;
            is_same
        };
        if !is_same {
            // User code, outside the lock: the clone, and the drop of what was there.
            let new = waker.clone();
            let old = self.waker.lock().replace(new);
            drop(old);
        }
    }

    pub(crate) fn fall_asleep(&self) {
        let _ = self.is_awake.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn look_again(&self) {
        if !self.queue.is_empty() && !self.is_awake.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Drops what is in it, and what comes later.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.empty();
        let waker = self.waker.lock().take();
        drop(waker);
    }

    fn empty(&self) {
        // What is dropped is a reference, no more: futures are dropped by the set.
        while self.pop().is_some() {}
    }
}
