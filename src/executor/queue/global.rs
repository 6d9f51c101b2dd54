//! The queue that all processors share: first in, first out, linked through the tasks themselves.
//!
//! It takes what is woken from outside, what a full ring spills, and what its processor lost.

use crate::executor::task::{Header, Notified};
use crate::primitives::RawLock;
use crate::primitives::atomic::{AtomicUsize, Ordering};
use std::cell::UnsafeCell;
use std::ptr::NonNull;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Global {
    lock: RawLock,
    ends: UnsafeCell<Option<(NonNull<Header>, NonNull<Header>)>>,
    len: AtomicUsize,
}

// SAFETY: the ends, and the links of the tasks in the queue, are touched only under the lock.
unsafe impl Sync for Global {}
// SAFETY: runnable tasks may be sent anywhere.
unsafe impl Send for Global {}

/// Tasks linked to each other, on their way into the queue.
#[derive(Debug)]
pub(crate) struct Chain {
    first: NonNull<Header>,
    last: NonNull<Header>,
    len: usize,
}

fn link(task: NonNull<Header>, next: Option<NonNull<Header>>) {
    // SAFETY: a task's link belongs to whoever holds its notification: the queue, or the chain.
    unsafe { Header::set_queue_next(task, next) };
}

fn next(task: NonNull<Header>) -> Option<NonNull<Header>> {
    // SAFETY: as in `link`.
    unsafe { Header::queue_next(task) }
}

impl Chain {
    /// A chain of one.
    pub(crate) fn new(task: Notified) -> Chain {
        let task = task.into_raw();
        link(task, None);
        Chain {
            first: task,
            last: task,
            len: 1,
        }
    }

    /// Adds one at the end.
    pub(crate) fn push(&mut self, task: NonNull<Header>) {
        link(task, None);
        link(self.last, Some(task));
        self.last = task;
        self.len += 1;
    }
}

impl Global {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Global {
            lock: RawLock::new(),
            ends: UnsafeCell::new(None),
            len: AtomicUsize::new(0),
        }
    }

    /// How many tasks are in it, at some moment.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SeqCst: half of the sleep protocol, see `executor::sleep`.
        self.len.load(Ordering::SeqCst)
    }

    /// No task in it, at some moment.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a task. In a critical section.
    pub(crate) fn push(&self, task: Notified) {
        self.push_chain(Chain::new(task));
    }

    /// Adds several tasks at once. In a critical section.
    pub(crate) fn push_chain(&self, chain: Chain) {
        self.lock.lock();
        // SAFETY: the lock is held.
        let ends = unsafe { &mut *self.ends.get() };
        *ends = match *ends {
            None => Some((chain.first, chain.last)),
            Some((first, last)) => {
                link(last, Some(chain.first));
                Some((first, chain.last))
            }
        };
        self.len.fetch_add(chain.len, Ordering::SeqCst);
        self.lock.unlock();
    }

    /// Takes the first task, and passes up to `more` of those behind it to `take`. In a critical section.
    pub(crate) fn pop_many(
        &self,
        more: usize,
        mut take: impl FnMut(NonNull<Header>),
    ) -> Option<Notified> {
        if self.is_empty() {
            return None;
        }
        self.lock.lock();
        // SAFETY: the lock is held.
        let ends = unsafe { &mut *self.ends.get() };
        let mut popped = 0;
        let mut result = None;
        while let Some((first, last)) = *ends {
            if popped > more {
                break;
            }
            *ends = next(first).map(|second| (second, last));
            if popped == 0 {
                result = Some(first);
            } else {
                take(first);
            }
            popped += 1;
        }
        self.len.fetch_sub(popped, Ordering::SeqCst);
        self.lock.unlock();
        // SAFETY: it came out of `Notified::into_raw` when it was pushed.
        result.map(|task| unsafe { Notified::from_raw(task) })
    }
}
