//! The steps of a channel's hand-off, under its lock. What they add up to is at the head of `core`.
//!
//! Nothing here allocates, wakes or drops anything (rule R1): what is to be woken or freed is passed on.

use super::waiter::{DONE, List, Waiter, Wake};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// [`Core`](super::core::Core)'s hint: a receiver would not have to wait.
pub(super) const RECEIVABLE: usize = 1;
/// [`Core`](super::core::Core)'s hint: a sender would not.
pub(super) const SENDABLE: usize = 2;
/// [`Core`](super::core::Core)'s hint: the channel is closed.
pub(super) const IS_CLOSED: usize = 4;
/// [`Core`](super::core::Core)'s hint: one value that can be received.
pub(super) const ONE: usize = 8;

/// What a channel holds, and who waits at it. All of it belongs to the lock.
pub(super) struct State<T> {
    ring: Box<[MaybeUninit<T>]>,
    head: usize,
    len: usize,
    pub(super) receivers: List<T>,
    pub(super) senders: List<T>,
    /// Values left behind by cancelled receivers, by number; the last one first.
    left: Option<Box<Left<T>>>,
    left_len: usize,
    /// Values handed off so far.
    handed: u64,
    pub(super) closed: bool,
}

/// A value that a cancelled receiver had got.
pub(super) struct Left<T> {
    number: u64,
    value: MaybeUninit<T>,
    before: Option<Box<Left<T>>>,
}

impl<T> Left<T> {
    /// Allocates: not under the lock.
    pub(super) fn new(value: T, number: u64) -> Box<Left<T>> {
        Box::new(Left {
            number,
            value: MaybeUninit::new(value),
            before: None,
        })
    }

    /// Where the value is. It is not dropped with the node.
    pub(super) fn value(&self) -> *const T {
        self.value.as_ptr()
    }
}

/// What became of an attempt to send.
pub(super) enum Sent {
    /// The value is in the channel or with a receiver, who is to be woken.
    Done(Option<Wake>),
    /// There is no room: it waits in its slot, enqueued.
    Waits,
    /// The same, but it is not enqueued.
    Full,
    /// The channel is closed. It is still where it was.
    Closed,
}

/// What became of an attempt to receive.
pub(super) enum Received<T> {
    /// There was a value. A sender is to be woken, a node to be freed.
    Done(Option<Wake>, Option<Box<Left<T>>>),
    /// There is none: the waiter is enqueued.
    Waits,
    /// The same, but it is not.
    Empty,
    /// There is none, and will be none.
    Closed,
}

/// Hands a value to a receiver that was taken off its list.
///
/// # Safety
///
/// - The lock is held, and the receiver waits with an empty slot. `value` is valid, and moved out.
#[inline]
pub(super) unsafe fn hand<T>(
    waiter: NonNull<Waiter<T>>,
    value: *const T,
    number: u64,
) -> Option<Wake> {
    // SAFETY: the caller's promise. Should the receiver be parked, its slot lies above the saved stack pointer, so even a
    // trimmer that is at work on that very stack leaves it alone (`stack::parked`).
    unsafe {
        (*waiter.as_ref().slot.get())
            .as_mut_ptr()
            .copy_from_nonoverlapping(value, 1);
        *waiter.as_ref().number.get() = number;
        Waiter::finish(waiter, DONE)
    }
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> State<T> {
        State {
            ring: Box::new_uninit_slice(capacity),
            head: 0,
            len: 0,
            receivers: List::new(),
            senders: List::new(),
            left: None,
            left_len: 0,
            handed: 0,
            closed: false,
        }
    }

    /// What [`Core`](super::core::Core) says of it to those without the lock.
    #[inline]
    pub(super) fn hint(&self) -> usize {
        let waiting = usize::from(self.ring.is_empty() && !self.senders.is_empty());
        let ready = self.len + self.left_len;
        let mut hint = ready * ONE;
        if ready + waiting > 0 || self.closed {
            hint |= RECEIVABLE;
        }
        if self.len < self.ring.len() || !self.receivers.is_empty() || self.closed {
            hint |= SENDABLE;
        }
        if self.closed {
            hint |= IS_CLOSED;
        }
        hint
    }

    /// Sends.
    ///
    /// # Safety
    ///
    /// - `value` is valid; it is moved out if the answer is `Done`.
    #[inline]
    pub(super) unsafe fn push(&mut self, value: *const T) -> Sent {
        if self.closed {
            return Sent::Closed;
        }
        if let Some(waiter) = self.receivers.pop() {
            let number = self.handed;
            self.handed += 1;
            // SAFETY: it waited, so its slot is empty; `value` is the caller's.
            return Sent::Done(unsafe { hand(waiter, value, number) });
        }
        if self.len == self.ring.len() {
            return Sent::Full;
        }
        // SAFETY: the caller's promise.
        unsafe { self.store(value) };
        Sent::Done(None)
    }

    /// Puts a value at the end of the ring, which has room.
    ///
    /// # Safety
    ///
    /// - `value` is valid, and moved out.
    #[inline]
    unsafe fn store(&mut self, value: *const T) {
        let mut tail = self.head + self.len;
        if tail >= self.ring.len() {
            tail -= self.ring.len();
        }
        // SAFETY: the caller's promise; the place is free.
        unsafe {
            self.ring[tail]
                .as_mut_ptr()
                .copy_from_nonoverlapping(value, 1);
        }
        self.len += 1;
    }

    /// Receives.
    ///
    /// # Safety
    ///
    /// - `to` is valid for writes; it is filled if the answer is `Done`.
    #[inline]
    pub(super) unsafe fn pull(&mut self, to: *mut T) -> Received<T> {
        if let Some(node) = self.next_left() {
            // SAFETY: the caller's promise; the node is freed, its value is not dropped with it.
            unsafe { to.copy_from_nonoverlapping(node.value.as_ptr(), 1) };
            return Received::Done(None, Some(node));
        }
        if self.len > 0 {
            // SAFETY: the caller's promise; the place is full, and free from here on.
            unsafe { to.copy_from_nonoverlapping(self.ring[self.head].as_ptr(), 1) };
            self.head += 1;
            if self.head == self.ring.len() {
                self.head = 0;
            }
            self.len -= 1;
            let wake = self.senders.pop().and_then(|waiter| {
                // SAFETY: it waits, so its slot is full, and it is told after the value was moved.
                unsafe {
                    self.store((*waiter.as_ref().slot.get()).as_ptr());
                    Waiter::finish(waiter, DONE)
                }
            });
            return Received::Done(wake, None);
        }
        // Invariant 2: it is a channel without room.
        if let Some(waiter) = self.senders.pop() {
            // SAFETY: as above.
            let wake = unsafe {
                to.copy_from_nonoverlapping((*waiter.as_ref().slot.get()).as_ptr(), 1);
                Waiter::finish(waiter, DONE)
            };
            return Received::Done(wake, None);
        }
        match self.closed {
            true => Received::Closed,
            false => Received::Empty,
        }
    }

    /// Takes the earliest of the values left behind.
    #[inline]
    fn next_left(&mut self) -> Option<Box<Left<T>>> {
        self.left.as_ref()?;
        self.take_left()
    }

    #[cold]
    fn take_left(&mut self) -> Option<Box<Left<T>>> {
        let mut place = &mut self.left;
        while place.as_ref()?.before.is_some() {
            place = &mut place.as_mut()?.before;
        }
        self.left_len -= 1;
        place.take()
    }

    /// Puts a value behind those with smaller numbers: mostly behind all.
    pub(super) fn leave(&mut self, node: Option<Box<Left<T>>>) {
        let Some(mut node) = node else {
            return;
        };
        let mut place = &mut self.left;
        while place.as_ref().is_some_and(|left| left.number > node.number) {
            let Some(left) = place else { return };
            place = &mut left.before;
        }
        node.before = place.take();
        *place = Some(node);
        self.left_len += 1;
    }
}
