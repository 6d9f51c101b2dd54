//! The store of pending deadlines: one [`Shard`] per processor, all of them in [`Timers`].
//!
//! Deadlines are nanoseconds of the runtime's clock, exact to the last digit: CLOCK_MONOTONIC ([`crate::sys::now`]),
//! unless a test has paused it ([`clock`]). A timer lives inside the future that waits for it ([`Entry`], pinned) and goes through these states:
//!
//! ```text
//!            insert()              take_expired()
//!    Idle ─────────────▶ Pending ─────────────────▶ Fired
//!     ▲                     │                         │
//!     └───── remove() ──────┴─ ─ ─ ─ ─ reset() ─ ─ ─ ─┘
//! ```
//!
//! | transition       | who              | ordering         | because                                      |
//! |------------------|------------------|------------------|----------------------------------------------|
//! | insert, remove   | the owner        | under the lock   |                                              |
//! | take_expired     | any thread       | Release, locked  | the last touch: the owner may free it now    |
//! | reset of a fired | the owner        | Relaxed, no lock | nobody else points at it                     |
//! | load by the owner| the owner        | Acquire          | pairs with take_expired                      |
//!
//! # Critical sections
//!
//! The lock of a shard is a critical section, and wakers are user code. So under the lock wakers are only
//! ever moved and compared: [`Expired`] carries them out, to be woken when the lock is free.
//!
//! # Sleeping until the next deadline
//!
//! [`Shard::next`] is SeqCst throughout. A processor that goes to sleep says so (SeqCst) and then reads
//! `next`; whoever inserts an earlier deadline writes `next` and then, in [`Driver::earliest_changed`], looks
//! (SeqCst) who sleeps. Either the sleeper's word comes first, and the inserter sees the sleeper, or the
//! inserter's does, and the sleeper sees the deadline.
//!
//! # Invariants
//!
//! 1. A node is in the heap of a shard exactly while it is Pending, as seen under the lock of that shard.
//! 2. A pending node has a waker; a node in any other state has none.
//! 3. When no lock is held, `next` is when the heap's first node is due in real time ([`clock`]), or [`NEVER`].
//! 4. Nothing is inserted into a shard that has been closed.

mod clock;
mod entry;
mod heap;

pub(crate) use clock::{Clock, Refused, Time, was_ever_paused};
pub(crate) use entry::Entry;

use crate::preempt::CriticalMutex;
use crate::primitives::atomic::{AtomicBool, AtomicU64, Ordering};
use heap::{Heap, Node, Ref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};

/// The deadline of a shard without timers.
pub(crate) const NEVER: u64 = u64::MAX;

const IDLE: u8 = 0;
const PENDING: u8 = 1;
const FIRED: u8 = 2;

/// How the timers reach the scheduler. Called in preemptible mode, without any lock of this module.
pub(crate) trait Driver: Send + Sync {
    /// The runtime's timers.
    fn timers(&self) -> &Timers;

    /// The index of the shard to register with from here: the current processor's, or any. It must exist.
    fn shard_here(&self) -> usize;

    /// `deadline` is now the earliest on `shard`: whoever waits for that shard has to wait for less long.
    ///
    /// Called after the lock is free, so an earlier call may come later than a later one; what counts is
    /// [`Shard::next`].
    fn earliest_changed(&self, shard: usize, deadline: u64);
}

/// What became of an insertion, and so what the caller owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is the shard's first timer now: the caller must call [`Driver::earliest_changed`].
    Earliest,
    /// Another is due no later; there is nothing to do.
    Later,
    /// The shard is closed; nothing was inserted.
    ShutDown,
}

/// What [`Shard::take_expired`] left behind.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing is due.
    NothingDue,
    /// There was no room for more, and more are due: wake these and call again.
    MoreDue,
}

/// Wakers on their way out of a shard, in the order in which their timers were due.
///
/// Dropping it wakes those that have not been woken.
#[derive(Debug)]
pub(crate) struct Expired {
    // Filled from `start` to `end`.
    wakers: [Option<Waker>; Expired::ROOM],
    start: usize,
    end: usize,
}

impl Expired {
    /// How many wakers leave a shard at a time: what bounds the critical section.
    pub(crate) const ROOM: usize = 32;

    /// No wakers.
    pub(crate) const fn new() -> Expired {
        Expired {
            wakers: [const { None }; Expired::ROOM],
            start: 0,
            end: 0,
        }
    }

    /// How many wakers there are.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Wakes them all and is empty again. User code runs: preemptible mode only.
    ///
    /// A waker of somebody's own making may panic: that is theirs, and costs no other task its wake-up.
    pub(crate) fn wake_all(&mut self) {
        while self.start < self.end {
            let waker = self.wakers[self.start].take();
            self.start += 1;
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.map(Waker::wake))) {
                // Its destructor may panic as well.
                std::mem::forget(payload);
            }
        }
        (self.start, self.end) = (0, 0);
    }

    fn is_full(&self) -> bool {
        self.end == Expired::ROOM
    }

    /// Takes a waker in. Nothing is dropped here: the place is empty.
    fn push(&mut self, waker: Option<Waker>) {
        self.wakers[self.end] = waker;
        self.end += 1;
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        self.wake_all();
    }
}

/// The pending timers of one processor. Any thread may use it.
#[derive(Debug)]
// Two lines: neighbours are fetched in pairs.
#[repr(align(128))]
pub(crate) struct Shard {
    pending: CriticalMutex<Pending>,
    /// Written under the lock only (Invariant 3).
    next: AtomicU64,
}

#[derive(Debug)]
struct Pending {
    heap: Heap,
    /// The clock that the deadlines go by.
    time: Time,
    is_closed: bool,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            pending: CriticalMutex::new(Pending {
                heap: Heap::new(),
                time: Time::REAL,
                is_closed: false,
            }),
            next: AtomicU64::new(NEVER),
        }
    }

    /// When the first is due, in real time, or [`NEVER`]. One load: fit for a signal handler.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// Is one due? Reads the clock only if there are any.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let next = self.next();
        next != NEVER && next <= crate::sys::now()
    }

    /// Fires timers that are due at the real time `now`, as many as `into` has room for.
    ///
    /// May be called in a critical section, if `into` is woken outside it.
    pub(crate) fn take_expired(&self, now: u64, into: &mut Expired) -> Left {
        if self.next() > now {
            return Left::NothingDue;
        }
        let mut pending = self.pending.lock();
        let time = pending.time.at(now);
        let mut left = Left::NothingDue;
        while let Some(first) = pending.heap.first()
            && first.deadline() <= time
        {
            if into.is_full() {
                left = Left::MoreDue;
                break;
            }
            pending.heap.remove(first);
            into.push(first.waker.take());
            // Release: the owner may see this, and free the node, before we leave the lock.
            first.state.store(FIRED, Ordering::Release);
        }
        self.publish(&pending);
        left
    }

    /// Fires and wakes all timers that are due at `now`; returns how many. Preemptible mode only.
    pub(crate) fn fire(&self, now: u64) -> usize {
        let mut expired = Expired::new();
        let mut fired = 0;
        loop {
            let left = self.take_expired(now, &mut expired);
            fired += expired.len();
            expired.wake_all();
            if left == Left::NothingDue {
                return fired;
            }
        }
    }

    /// Idle → Pending. The waker is taken, unless the shard is closed.
    ///
    /// # Safety
    ///
    /// - `node` is idle.
    /// - It stays alive and in place until it has fired or [`Shard::remove`] of this shard has returned.
    unsafe fn insert(&self, node: &Node, deadline: u64, waker: &mut Option<Waker>) -> Inserted {
        let mut pending = self.pending.lock();
        if pending.is_closed {
            return Inserted::ShutDown;
        }
        // An idle node has no waker (Invariant 2), so nothing is dropped under the lock.
        node.waker.set(waker.take());
        node.state.store(PENDING, Ordering::Relaxed);
        // SAFETY: the caller promises that it lives as long as it is in the heap; the cells of a pending node
        // belong to the holder of the lock.
        let node = unsafe { Ref::new(node) };
        self.place(&mut pending, node, deadline)
    }

    /// Pending → Idle. Returns the waker, to be dropped by the caller; none if the timer has fired.
    ///
    /// # Safety
    ///
    /// `node` has been inserted into this shard, by the caller or before it, and into no other since.
    unsafe fn remove(&self, node: &Node) -> Option<Waker> {
        let mut pending = self.pending.lock();
        // SAFETY: the caller's promise, passed on.
        let node = unsafe { still_pending(node) }?;
        pending.heap.remove(node);
        node.state.store(IDLE, Ordering::Relaxed);
        let waker = node.waker.take();
        self.publish(&pending);
        waker
    }

    /// Pending → Pending at another deadline, behind its equals. None if the timer has fired.
    ///
    /// # Safety
    ///
    /// As for [`Shard::remove`].
    unsafe fn reset(&self, node: &Node, deadline: u64) -> Option<Inserted> {
        let mut pending = self.pending.lock();
        // SAFETY: the caller's promise, passed on.
        let node = unsafe { still_pending(node) }?;
        pending.heap.remove(node);
        Some(self.place(&mut pending, node, deadline))
    }

    /// Ready if the timer has fired, Pending if it is going to wake `waker`, none if it would wake another.
    ///
    /// # Safety
    ///
    /// As for [`Shard::remove`].
    unsafe fn waits_for(&self, node: &Node, waker: &Waker) -> Option<Poll<()>> {
        let _pending = self.pending.lock();
        // SAFETY: the caller's promise, passed on.
        let Some(node) = (unsafe { still_pending(node) }) else {
            return Some(Poll::Ready(()));
        };
        let current = node.waker.take();
        // A comparison of two addresses, not user code.
        let is_same = current
            .as_ref()
            .is_some_and(|current| current.will_wake(waker));
        node.waker.set(current);
        is_same.then_some(Poll::Pending)
    }

    /// Exchanges the wakers of a pending timer and of the caller. Ready, and no exchange, if it has fired.
    ///
    /// # Safety
    ///
    /// As for [`Shard::remove`].
    unsafe fn swap_waker(&self, node: &Node, waker: &mut Option<Waker>) -> Poll<()> {
        let _pending = self.pending.lock();
        // SAFETY: the caller's promise, passed on.
        let Some(node) = (unsafe { still_pending(node) }) else {
            return Poll::Ready(());
        };
        *waker = node.waker.replace(waker.take());
        Poll::Pending
    }

    fn place(&self, pending: &mut Pending, node: Ref, deadline: u64) -> Inserted {
        pending.heap.insert(node, deadline.min(NEVER - 1));
        self.publish(pending);
        if pending.heap.first() == Some(node) {
            Inserted::Earliest
        } else {
            Inserted::Later
        }
    }

    /// Restores Invariant 3 before the lock is given back.
    fn publish(&self, pending: &Pending) {
        let next = match pending.heap.first() {
            Some(first) => pending.time.real(first.deadline()),
            None => NEVER,
        };
        // Relaxed: all writers hold the lock. The store is dear, and most timers are not the first.
        if self.next.load(Ordering::Relaxed) != next {
            self.next.store(next, Ordering::SeqCst);
        }
    }

    /// Refuses insertions from now on (Invariant 4).
    fn close(&self) {
        self.pending.lock().is_closed = true;
    }
}

/// The node, if it is still in the heap. The caller holds the lock of the shard that it was inserted into.
///
/// # Safety
///
/// As for [`Shard::remove`], and the lock is held for as long as the result is used.
unsafe fn still_pending(node: &Node) -> Option<Ref> {
    // Relaxed: under the lock that all transitions of a pending node hold.
    if node.state.load(Ordering::Relaxed) != PENDING {
        return None;
    }
    // SAFETY: the reference keeps it alive during the call; its cells belong to the holder of the lock.
    Some(unsafe { Ref::new(node) })
}

/// All timers of a runtime.
#[derive(Debug)]
pub(crate) struct Timers {
    shards: Box<[Shard]>,
    clock: Clock,
    is_shut_down: AtomicBool,
}

impl Timers {
    /// Room for the timers of `shards` processors: one, if their clock can be paused.
    pub(crate) fn new(shards: usize, can_pause: bool) -> Timers {
        Timers {
            shards: (0..shards).map(|_| Shard::new()).collect(),
            clock: Clock::new(can_pause),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// What they go by.
    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The present, in the time that deadlines are in.
    pub(crate) fn now(&self) -> u64 {
        self.clock.time().at(crate::sys::now())
    }

    /// One processor's timers.
    pub(crate) fn shard(&self, index: usize) -> &Shard {
        &self.shards[index]
    }

    /// All shards, in the order of their indices.
    #[cfg(test)]
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The earliest deadline of all shards, or [`NEVER`]. Fit for a signal handler.
    #[cfg(test)]
    pub(crate) fn next(&self) -> u64 {
        self.shards.iter().map(Shard::next).min().unwrap_or(NEVER)
    }

    /// Whether [`Timers::shut_down`] has been called.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }

    /// Ends all waiting: who still awaits a timer, from another runtime, say, is woken, and its poll panics.
    ///
    /// Call it when the runtime's own tasks are gone. Wakers run: preemptible mode only.
    pub(crate) fn shut_down(&self) {
        // Before any waker runs: the poll that follows must see it.
        self.is_shut_down.store(true, Ordering::Release);
        for shard in &self.shards {
            shard.close();
            shard.fire(NEVER);
        }
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
