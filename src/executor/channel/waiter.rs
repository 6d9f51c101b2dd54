//! Who waits at a channel, and the lists of those.
//!
//! A waiter lies in the future that waits, or on the stack of a parked poll, with a slot for one value. While it is in
//! a list (`WAITING`) all of it but the state belongs to the channel's lock. Whoever takes it off fills or empties the
//! slot, takes the wake out, and then, as the last touch, says so in the state: from there on it is its owner's again,
//! which reads the state without the lock.
//!
//! ```text
//!   IDLE ──────▶ WAITING ─┬─▶ DONE      the value changed hands
//!    ▲  enqueue           └─▶ CLOSED    the channel was closed: a sender's value is still in the slot
//!    └── cancelled
//! ```

use crate::executor::parker::Unparker;
use crate::primitives::atomic::{AtomicU32, Ordering};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};
use std::task::Waker;

/// Not in a list.
pub(super) const IDLE: u32 = 0;
/// In a list: the rest is the lock's.
pub(super) const WAITING: u32 = 1;
/// The value changed hands.
pub(super) const DONE: u32 = 2;
/// The channel was closed.
pub(super) const CLOSED: u32 = 3;

/// How a waiter learns that it is done. Used outside of critical sections only: it may be user code.
#[derive(Debug)]
pub(super) enum Wake {
    /// A future's.
    Task(Waker),
    /// A poll's, or a thread's, that blocks.
    Poll(Unparker),
}

impl Wake {
    #[inline]
    pub(super) fn wake(self) {
        match self {
            Wake::Task(waker) => waker.wake(),
            Wake::Poll(unparker) => unparker.unpark(),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    state: AtomicU32,
    /// What `slot` holds was handed off as the so-manieth value.
    pub(super) number: UnsafeCell<u64>,
    pub(super) slot: UnsafeCell<MaybeUninit<T>>,
    wake: UnsafeCell<Option<Wake>>,
    previous: UnsafeCell<*mut Waiter<T>>,
    next: UnsafeCell<*mut Waiter<T>>,
}

// SAFETY: the lock, or the state, says who may touch the cells; values change threads in them.
unsafe impl<T: Send> Sync for Waiter<T> {}
// SAFETY: as above; an idle waiter may be moved.
unsafe impl<T: Send> Send for Waiter<T> {}

impl<T> Waiter<T> {
    /// One that waits for a value.
    #[inline]
    pub(super) fn empty() -> Waiter<T> {
        Waiter::with_slot(MaybeUninit::uninit())
    }

    /// One that waits to get rid of a value.
    #[inline]
    pub(super) fn full(value: T) -> Waiter<T> {
        Waiter::with_slot(MaybeUninit::new(value))
    }

    #[inline]
    fn with_slot(slot: MaybeUninit<T>) -> Waiter<T> {
        Waiter {
            state: AtomicU32::new(IDLE),
            number: UnsafeCell::new(0),
            slot: UnsafeCell::new(slot),
            wake: UnsafeCell::new(None),
            previous: UnsafeCell::new(null_mut()),
            next: UnsafeCell::new(null_mut()),
        }
    }

    /// What has become of it. Acquire: with `DONE`, the value and its number.
    #[inline]
    pub(super) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    /// Moves the value out.
    ///
    /// # Safety
    ///
    /// - There is one in the slot, and both are the caller's.
    #[inline]
    pub(super) unsafe fn take(&self) -> T {
        // SAFETY: the caller's promise.
        unsafe { (*self.slot.get()).assume_init_read() }
    }

    /// Exchanges whom it wakes.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock, and the waiter is in a list.
    pub(super) unsafe fn replace_wake(&self, new: Wake) -> Option<Wake> {
        // SAFETY: the lock's.
        unsafe { (*self.wake.get()).replace(new) }
    }

    /// The last touch of a waiter that was taken off its list; whom to wake once the lock is free.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock, and has taken the waiter off its list.
    #[inline]
    pub(super) unsafe fn finish(this: NonNull<Waiter<T>>, state: u32) -> Option<Wake> {
        // SAFETY: it waits still, so it is there; its cells are the lock's until the store, after which nothing of it
        // is touched.
        unsafe {
            let waiter = this.as_ref();
            let wake = (*waiter.wake.get()).take();
            waiter.state.store(state, Ordering::Release);
            wake
        }
    }
}

/// Waiters, first come first served. Guarded by the channel's lock.
#[derive(Debug)]
pub(super) struct List<T> {
    first: *mut Waiter<T>,
    last: *mut Waiter<T>,
}

// SAFETY: it is used under a lock only, and what it links may be sent.
unsafe impl<T: Send> Send for List<T> {}

impl<T> List<T> {
    pub(super) fn new() -> List<T> {
        List {
            first: null_mut(),
            last: null_mut(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Puts an idle waiter at the end.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock and owns the waiter, which stays where it is until it is off the list.
    #[inline]
    pub(super) unsafe fn push(&mut self, waiter: NonNull<Waiter<T>>, wake: Wake) {
        // SAFETY: the caller's promise; waiters in the list are still there, and their links are the lock's.
        unsafe {
            let new = waiter.as_ref();
            *new.wake.get() = Some(wake);
            *new.previous.get() = self.last;
            *new.next.get() = null_mut();
            // Relaxed: only its owner looks without the lock, and that is who calls this.
            new.state.store(WAITING, Ordering::Relaxed);
            match self.last.as_ref() {
                Some(last) => *last.next.get() = waiter.as_ptr(),
                None => self.first = waiter.as_ptr(),
            }
        }
        self.last = waiter.as_ptr();
    }

    /// Takes the first off. It waits still: [`Waiter::finish`] follows.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<NonNull<Waiter<T>>> {
        let first = NonNull::new(self.first)?;
        // SAFETY: it is in the list.
        unsafe { self.unlink(first) };
        Some(first)
    }

    /// Takes one off that is cancelled, and says whom it would have woken: to be dropped once the lock is free.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock, and the waiter is in this list.
    pub(super) unsafe fn remove(&mut self, waiter: NonNull<Waiter<T>>) -> Option<Wake> {
        // SAFETY: the caller's promise.
        unsafe {
            self.unlink(waiter);
            Waiter::finish(waiter, IDLE)
        }
    }

    /// # Safety
    ///
    /// - The waiter is in this list.
    #[inline]
    unsafe fn unlink(&mut self, waiter: NonNull<Waiter<T>>) {
        // SAFETY: it and its neighbours are in the list, so they are there and their links the lock's.
        unsafe {
            let previous = *waiter.as_ref().previous.get();
            let next = *waiter.as_ref().next.get();
            match previous.as_ref() {
                Some(previous) => *previous.next.get() = next,
                None => self.first = next,
            }
            match next.as_ref() {
                Some(next) => *next.previous.get() = previous,
                None => self.last = previous,
            }
        }
    }
}
