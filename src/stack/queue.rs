//! Queues of suspended fibers, linked through the fibers themselves.
//!
//! Used inside critical sections only: adding and taking neither allocates nor runs anybody's code. A fiber in a
//! queue is owned by the queue (see `fiber`).

use super::fiber::Fiber;
use crate::primitives::RawLock;
use crate::primitives::atomic::{AtomicUsize, Ordering};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// First in, first out, unless put in front.
#[derive(Debug)]
pub(crate) struct FiberQueue {
    lock: RawLock,
    ends: UnsafeCell<Ends>,
    len: AtomicUsize,
}

#[derive(Debug)]
struct Ends {
    first: *mut Fiber,
    last: *mut Fiber,
}

// SAFETY: `ends` and the links of the fibers in the queue are touched only under `lock`.
unsafe impl Sync for FiberQueue {}
// SAFETY: as above.
unsafe impl Send for FiberQueue {}

impl FiberQueue {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        FiberQueue {
            lock: RawLock::new(),
            ends: UnsafeCell::new(Ends {
                first: null_mut(),
                last: null_mut(),
            }),
            len: AtomicUsize::new(0),
        }
    }

    /// How many fibers are in it, at some moment.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SeqCst: half of the sleep protocol, see `executor::sleep`.
        self.len.load(Ordering::SeqCst)
    }

    /// No fiber in it, at some moment.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `f` on the two ends, alone.
    fn locked<R>(&self, f: impl FnOnce(&mut Ends) -> R) -> R {
        self.lock.lock();
        // SAFETY: the lock is held, and `f` is one of the short closures below.
        let result = f(unsafe { &mut *self.ends.get() });
        self.lock.unlock();
        result
    }

    /// Puts a suspended fiber at the end.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber, and does no longer; it cannot be preempted meanwhile.
    pub(crate) unsafe fn push_back(&self, fiber: &'static Fiber) {
        let new = std::ptr::from_ref(fiber).cast_mut();
        self.locked(|ends| {
            // SAFETY: the link is its owner's to write.
            unsafe { *fiber.link.get() = null_mut() };
            // SAFETY: `last` is null or a fiber in this queue, whose link the lock protects.
            match unsafe { ends.last.as_ref() } {
                // SAFETY: as above.
                Some(last) => unsafe { *last.link.get() = new },
                None => ends.first = new,
            }
            ends.last = new;
            self.len.fetch_add(1, Ordering::SeqCst);
        });
    }

    /// Puts a suspended fiber at the front.
    ///
    /// # Safety
    ///
    /// As for [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&self, fiber: &'static Fiber) {
        let new = std::ptr::from_ref(fiber).cast_mut();
        self.locked(|ends| {
            // SAFETY: the link is its owner's to write.
            unsafe { *fiber.link.get() = ends.first };
            ends.first = new;
            if ends.last.is_null() {
                ends.last = new;
            }
            self.len.fetch_add(1, Ordering::SeqCst);
        });
    }

    /// Takes the first. The caller owns it then, and cannot be preempted meanwhile.
    pub(crate) fn pop(&self) -> Option<&'static Fiber> {
        if self.is_empty() {
            return None;
        }
        self.locked(|ends| {
            // SAFETY: `first` is null or a fiber in this queue.
            let first = unsafe { ends.first.as_ref() }?;
            // SAFETY: the lock protects the links of the fibers in the queue.
            ends.first = unsafe { *first.link.get() };
            if ends.first.is_null() {
                ends.last = null_mut();
            }
            self.len.fetch_sub(1, Ordering::SeqCst);
            Some(first)
        })
    }
}
