//! The hand-off: who gives which value to whom, under one lock.
//!
//! A channel is a ring with room for `capacity` values, a list of receivers that wait for a value, a list of senders that
//! wait with one, and the values that cancelled receivers have left behind. As in Go, whoever finds the other side
//! waiting does the other's work for it:
//!
//! | | finds | does |
//! |---|---|---|
//! | send | a receiver that waits | writes the value into the receiver's slot, on its stack or in its future |
//! | | room in the ring | puts it there |
//! | | neither | waits, with the value in its own slot |
//! | receive | a value left behind | takes it |
//! | | a value in the ring | takes it, and moves the first waiting sender's value into the freed place |
//! | | a sender that waits (a channel without room) | takes the value out of the sender's slot |
//! | | nothing | waits |
//!
//! So who is woken is done: it looks at its own state, and needs the lock no more.
//!
//! # Invariants
//!
//! 1. Receivers wait only while there is nothing: the ring is empty, nothing is left behind, no sender waits.
//! 2. Senders wait only while the ring is full and no receiver waits.
//! 3. Nobody waits at a closed channel.
//! 4. Values handed to waiting receivers are numbered in the order of the hand-offs. By 1, whatever is in the ring or
//!    with a waiting sender was sent after all of them. So what cancelled receivers leave behind is received before that,
//!    and among itself by number, whoever was cancelled first.
//!
//! # Under the lock (rule R1)
//!
//! It is a lock of critical sections. Values are moved as bytes, and wakers as well: they are cloned before, woken and
//! dropped after. The node for a value that is left behind is made before, and freed after.

use super::state::{IS_CLOSED, Left, ONE, RECEIVABLE, SENDABLE, State, hand};
pub(super) use super::state::{Received, Sent};
use super::waiter::{CLOSED, WAITING, Waiter, Wake};
use crate::preempt::CriticalMutex;
use crate::primitives::atomic::{AtomicUsize, Ordering};
use std::ptr::NonNull;

/// So many waiters are told of a close at a time.
const BATCH: usize = 16;

/// What all handles of a channel share.
pub(super) struct Core<T> {
    state: CriticalMutex<State<T>>,
    /// What the state was when the lock was last freed. A hint: whoever acts on it looks again under the lock.
    hint: AtomicUsize,
    capacity: usize,
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
}

/// Whom to wake when it is dropped: all, should one of them panic.
struct Wakes([Option<Wake>; BATCH]);

impl Wakes {
    fn wake(&mut self) {
        self.0
            .iter_mut()
            .filter_map(Option::take)
            .for_each(Wake::wake);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        /// Goes on where the first panic ended it.
        struct Rest<'a>(&'a mut Wakes);
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.0.wake();
            }
        }
        let rest = Rest(self);
        rest.0.wake();
    }
}

impl<T> Core<T> {
    pub(super) fn new(capacity: usize) -> Core<T> {
        let core = Core {
            state: CriticalMutex::new(State::new(capacity)),
            hint: AtomicUsize::new(0),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        };
        core.locked(|_| ());
        core
    }

    /// Runs `f` on the state, alone, and says in `hint` what it leaves. `f` is critical.
    #[inline]
    fn locked<R>(&self, f: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = self.state.lock();
        let result = f(&mut state);
        self.hint.store(state.hint(), Ordering::Relaxed);
        result
    }

    fn hint(&self) -> usize {
        self.hint.load(Ordering::Relaxed)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Values that were sent and can be received at once.
    pub(super) fn len(&self) -> usize {
        self.hint() / ONE
    }

    pub(super) fn is_closed(&self) -> bool {
        self.hint() & IS_CLOSED != 0
    }

    /// Would a receiver wait, as it seems?
    #[inline]
    pub(super) fn seems_empty(&self) -> bool {
        self.hint() & RECEIVABLE == 0
    }

    /// Would a sender wait, as it seems?
    #[inline]
    pub(super) fn seems_full(&self) -> bool {
        self.hint() & SENDABLE == 0
    }

    /// Sends what is in `value`, or if it must wait, enqueues it with `wake`, if there is one. That is taken only then.
    ///
    /// # Safety
    ///
    /// - The slot is full, and the waiter idle and the caller's. It stays where it is while it waits.
    #[inline]
    pub(super) unsafe fn send(&self, waiter: &Waiter<T>, wake: &mut Option<Wake>) -> Sent {
        self.locked(|state| {
            // SAFETY: the slot is full; when the answer is `Done`, it is empty.
            let sent = unsafe { state.push((*waiter.slot.get()).as_ptr()) };
            if let Sent::Full = sent
                && let Some(wake) = wake.take()
            {
                // SAFETY: the caller's promise.
                unsafe { state.senders.push(NonNull::from(waiter), wake) };
                return Sent::Waits;
            }
            sent
        })
    }

    /// Receives a value into the slot, or if it must wait, enqueues the waiter as [`send`](Core::send) does.
    ///
    /// # Safety
    ///
    /// - The slot is empty, and the waiter idle and the caller's. It stays where it is while it waits.
    #[inline]
    pub(super) unsafe fn receive(
        &self,
        waiter: &Waiter<T>,
        wake: &mut Option<Wake>,
    ) -> Received<T> {
        self.locked(|state| {
            // SAFETY: the slot is empty.
            let received = unsafe { state.pull((*waiter.slot.get()).as_mut_ptr()) };
            if let Received::Empty = received
                && let Some(wake) = wake.take()
            {
                // SAFETY: the caller's promise.
                unsafe { state.receivers.push(NonNull::from(waiter), wake) };
                return Received::Waits;
            }
            received
        })
    }

    /// Exchanges whom a waiter wakes, if it still waits: true. What comes back is to be dropped.
    pub(super) fn rewake(&self, waiter: &Waiter<T>, new: Wake) -> (bool, Option<Wake>) {
        self.locked(|_| {
            if waiter.state() != WAITING {
                return (false, Some(new));
            }
            // SAFETY: the lock is held, and it waits.
            (true, unsafe { waiter.replace_wake(new) })
        })
    }

    /// A sender waits no longer: true, with what it would have woken, if it did until now.
    ///
    /// # Safety
    ///
    /// - The waiter came to this channel with a value, or not at all.
    pub(super) unsafe fn cancel_send(&self, waiter: &Waiter<T>) -> (bool, Option<Wake>) {
        self.locked(|state| {
            let waits = waiter.state() == WAITING;
            // SAFETY: it is in the list, and the lock is held.
            let wake = waits.then(|| unsafe { state.senders.remove(NonNull::from(waiter)) });
            (waits, wake.flatten())
        })
    }

    /// A receiver waits no longer: true, with what it would have woken, if it did until now. False: it has got a value,
    /// or the channel was closed.
    ///
    /// # Safety
    ///
    /// - The waiter came to this channel for a value, or not at all.
    pub(super) unsafe fn cancel_receive(&self, waiter: &Waiter<T>) -> (bool, Option<Wake>) {
        self.locked(|state| {
            let waits = waiter.state() == WAITING;
            // SAFETY: it is in the list, and the lock is held.
            let wake = waits.then(|| unsafe { state.receivers.remove(NonNull::from(waiter)) });
            (waits, wake.flatten())
        })
    }

    /// Puts a value back that a receiver was handed and does not want any more: it is the next one, but for earlier ones
    /// that were put back.
    pub(super) fn put_back(&self, value: T, number: u64) {
        let mut node = Some(Left::new(value, number));
        let wake = self.locked(|state| {
            let Some(waiter) = state.receivers.pop() else {
                state.leave(node.take());
                return None;
            };
            let value = node.as_ref().map(|node| node.value());
            // SAFETY: the receiver waits, and its slot is empty; the node's value is moved out, and not dropped with it.
            unsafe { value.and_then(|value| hand(waiter, value, number)) }
        });
        drop(node);
        wake.into_iter().for_each(Wake::wake);
    }

    /// Closes the channel: nothing more is sent, and who waits is told.
    pub(super) fn close(&self) {
        /// Goes on where a waker's panic ended it.
        struct Rest<'a, T>(&'a Core<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while self.0.close_some() {}
            }
        }
        let _rest = Rest(self);
        while self.close_some() {}
    }

    /// Tells some of those who wait. True: there may be more.
    fn close_some(&self) -> bool {
        let mut wakes = Wakes([const { None }; BATCH]);
        self.locked(|state| {
            state.closed = true;
            for place in &mut wakes.0 {
                let next = state.receivers.pop().or_else(|| state.senders.pop());
                let Some(waiter) = next else {
                    return false;
                };
                // SAFETY: the lock is held, and it was taken off its list.
                *place = unsafe { Waiter::finish(waiter, CLOSED) };
            }
            true
        })
    }

    /// Drops what nobody can receive any more. The channel is closed.
    pub(super) fn clear(&self) {
        loop {
            let waiter = Waiter::empty();
            // SAFETY: the slot is empty, and the waiter is not enqueued.
            let Received::Done(..) = (unsafe { self.receive(&waiter, &mut None) }) else {
                return;
            };
            // SAFETY: it has just been filled.
            drop(unsafe { waiter.take() });
        }
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        // Nobody waits any more: waiters borrow a handle, which keeps this.
        self.clear();
    }
}

impl<T> std::fmt::Debug for Core<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("capacity", &self.capacity)
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}
