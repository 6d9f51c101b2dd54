//! A processor's own ring of runnable tasks: its owner pushes and pops, anybody steals half.
//!
//! ```text
//!        head (CAS: owner's pop, thieves)        tail (store: owner's push)
//!          ▼                                       ▼
//!   ┌────┬────┬────┬────┬────┬────┬────┬────┬────┬────┐
//!   │    │ t  │ t  │ t  │ t  │ t  │ t  │ t  │    │    │   256 slots, both counters run on for ever
//!   └────┴────┴────┴────┴────┴────┴────┴────┴────┴────┘
//! ```
//!
//! | step | who | ordering | because |
//! |---|---|---|---|
//! | push: store slot, then tail | owner | Release on tail | a thief that sees the tail sees the slot |
//! | pop, steal: read slots, then CAS head | anyone | AcqRel on head | whoever moves head owns what it passed |
//!
//! # Invariants
//!
//! 1. Only the processor's owner writes `tail` and the slots.
//! 2. A slot is not overwritten before `head` has passed it: the owner reads `head` with Acquire before it
//!    decides that there is room.
//! 3. What a thief read from a slot counts only if its CAS on `head` succeeds; until then the slot was
//!    unchanged by Invariant 2 (the counters are 32 bits wide and do not come round in between).

use super::CAPACITY;
use super::global::{Chain, Global};
use crate::executor::task::{Header, Notified};
use crate::primitives::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::ptr::{NonNull, null_mut};

const MASK: usize = CAPACITY - 1;
const _: () = assert!(CAPACITY.is_power_of_two());

/// Where both counters start: so close to their end that they come round in every program, not in one that has run
/// for days.
const START: u32 = (CAPACITY as u32 / 2).wrapping_neg();

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Local {
    head: AtomicU32,
    tail: AtomicU32,
    slots: Box<[AtomicPtr<Header>]>,
}

impl Local {
    /// An empty ring.
    pub(crate) fn new() -> Self {
        Local {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            slots: (0..CAPACITY).map(|_| AtomicPtr::new(null_mut())).collect(),
        }
    }

    /// How many tasks are in it, at some moment.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SeqCst: half of the sleep protocol, see `executor::sleep`. The head first: it never overtakes the
        // tail, so the difference does not wrap.
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst);
        tail.wrapping_sub(head) as usize
    }

    /// No task in it, at some moment.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a task; with the ring full, half of it goes to `overflow` as well. Owner only, critical.
    #[inline]
    pub(crate) fn push(&self, task: Notified, overflow: &Global) {
        if let Err(task) = self.try_push(task.into_raw()) {
            // SAFETY: it was turned raw in the line above.
            self.spill(unsafe { Notified::from_raw(task) }, overflow);
        }
    }

    /// Adds a task if there is room. Owner only, critical.
    #[inline]
    pub(crate) fn try_push(&self, task: NonNull<Header>) -> Result<(), NonNull<Header>> {
        let tail = self.tail.load(Ordering::Relaxed);
        let head = self.head.load(Ordering::Acquire);
        if tail.wrapping_sub(head) as usize >= CAPACITY {
            return Err(task);
        }
        self.slots[tail as usize & MASK].store(task.as_ptr(), Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    #[cold]
    fn spill(&self, task: Notified, overflow: &Global) {
        let mut half = [null_mut(); CAPACITY / 2];
        let taken = self.take(&mut half);
        let mut older = half[..taken].iter().filter_map(|task| NonNull::new(*task));
        // Thieves may have emptied the ring meanwhile; the new task goes last in any case.
        let chain = match older.next() {
            None => Chain::new(task),
            Some(first) => {
                // SAFETY: `take` made it ours; it was pushed as a raw notification.
                let mut chain = Chain::new(unsafe { Notified::from_raw(first) });
                older.for_each(|task| chain.push(task));
                chain.push(task.into_raw());
                chain
            }
        };
        overflow.push_chain(chain);
    }

    /// Takes the first task. Owner only, critical.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Notified> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            if head == self.tail.load(Ordering::Relaxed) {
                return None;
            }
            let task = self.slots[head as usize & MASK].load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    // SAFETY: moving `head` past the slot made the task ours; it was pushed as a raw
                    // notification.
                    return NonNull::new(task).map(|task| unsafe { Notified::from_raw(task) });
                }
                Err(now) => head = now,
            }
        }
    }

    /// Moves up to `into.len()` tasks, but at most half of the ring (at least one), out of it.
    fn take(&self, into: &mut [*mut Header]) -> usize {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let tail = self.tail.load(Ordering::Acquire);
            let len = tail.wrapping_sub(head) as usize;
            let half = (len - len / 2).min(into.len());
            // Read at different moments, the two can be further apart than the ring is long.
            if len == 0 || len > CAPACITY {
                if len == 0 {
                    return 0;
                }
                head = self.head.load(Ordering::Acquire);
                continue;
            }
            for (index, task) in into[..half].iter_mut().enumerate() {
                *task = self.slots[(head as usize + index) & MASK].load(Ordering::Relaxed);
            }
            match self.head.compare_exchange(
                head,
                head.wrapping_add(half as u32),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return half,
                Err(now) => head = now,
            }
        }
    }

    /// Steals half of `self` into `own`, and returns one of the tasks. `own` must be the thief's and empty.
    pub(crate) fn steal_into(&self, own: &Local) -> Option<Notified> {
        let mut half = [null_mut(); CAPACITY / 2];
        let taken = self.take(&mut half);
        let (first, rest) = half[..taken].split_first()?;
        for task in rest.iter().filter_map(|task| NonNull::new(*task)) {
            if own.try_push(task).is_err() {
                crate::fatal::fatal!("a thief's own ring was not empty");
            }
        }
        // SAFETY: `take` made it ours; it was pushed as a raw notification.
        NonNull::new(*first).map(|task| unsafe { Notified::from_raw(task) })
    }
}
