//! All tasks of a runtime that are not complete, so that its shutdown can find them.
//!
//! An intrusive, doubly linked list, split into shards by task number so that spawning threads rarely meet.
//!
//! # Invariants
//!
//! 1. A task whose links say so is linked into a shard of the list that `owner` names, and that list has one
//!    reference to it. The links change under the lock of the shard; `owner` does not change while they say so.
//! 2. A shard that is closed stays closed and only shrinks. `bind` looks under the lock, so a task is either
//!    refused or found by a `pop` that follows `close`.
//! 3. Under the lock nothing is allocated, dropped or called (rule R1): tasks go in and out by value.

use super::TaskRef;
use super::header::{Header, Links, Reference};
use crate::preempt::CriticalMutex;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// The tasks a runtime owns.
pub(crate) struct OwnedTasks {
    /// Their number is a power of two.
    shards: Box<[Slot]>,
}

/// Two cache lines, because neighbours are fetched in pairs.
#[repr(align(128))]
struct Slot(CriticalMutex<Shard>);

struct Shard {
    /// The oldest.
    head: Option<NonNull<Header>>,
    tail: Option<NonNull<Header>>,
    len: usize,
    /// How many were ever linked in.
    spawned: u64,
    closed: bool,
}

// SAFETY: `NonNull` stops the auto-impl. It stands for a reference to a task, which is `Send`.
unsafe impl Send for Shard {}

impl OwnedTasks {
    /// An empty list of at least `shards` shards: the next power of two.
    pub(crate) fn new(shards: usize) -> OwnedTasks {
        let shard = |_| {
            Slot(CriticalMutex::new(Shard {
                head: None,
                tail: None,
                len: 0,
                spawned: 0,
                closed: false,
            }))
        };
        OwnedTasks {
            shards: (0..shards.max(1).next_power_of_two()).map(shard).collect(),
        }
    }

    /// Puts a task on the list. To be called before its `Notified` is given to anyone.
    ///
    /// # Errors
    ///
    /// The task, if the list is closed: the caller shuts it down.
    pub(crate) fn bind(&self, task: TaskRef) -> Result<(), TaskRef> {
        // Relaxed: whoever compares it later got the task from us.
        task.0.header().owner.store(self.number(), Relaxed);
        let mut shard = self.shard_of(&task).lock();
        if shard.closed {
            drop(shard);
            return Err(task);
        }
        // SAFETY: the list gets the task's reference, and has the lock. The task is on no list: a list has the
        // `TaskRef` of each of its own.
        unsafe { shard.push(task.0.into_raw()) };
        Ok(())
    }

    /// Takes a task off the list, if it is on this one.
    pub(crate) fn remove(&self, task: &TaskRef) -> Option<TaskRef> {
        let header = task.0.header();
        // Tells tasks of other lists apart, whose links are not guarded by our lock.
        if header.owner.load(Relaxed) != self.number() {
            return None;
        }
        let mut shard = self.shard_of(task).lock();
        // SAFETY: this is the list that the task was bound to, and we have the lock of its shard.
        if !unsafe { &*header.links.get() }.linked {
            // It was refused, or a `pop` was faster.
            return None;
        }
        // SAFETY: it is linked into this shard (Invariant 1), and we have the lock.
        let removed = unsafe { shard.unlink(task.0.as_raw()) };
        drop(shard);
        Some(removed)
    }

    /// Refuses all further tasks.
    pub(crate) fn close(&self) {
        for slot in &self.shards {
            slot.0.lock().closed = true;
        }
    }

    /// Takes a task off the list, looking into the shards from `start` on; the oldest of its shard.
    ///
    /// `None` means that there was none in each shard at the time it was looked at; after
    /// [`close`](OwnedTasks::close), that there is none any more.
    pub(crate) fn pop(&self, start: usize) -> Option<TaskRef> {
        (0..self.shards.len()).find_map(|offset| {
            let mut shard = self.shards[self.index(start.wrapping_add(offset))].0.lock();
            let head = shard.head?;
            // SAFETY: it is linked into this shard (Invariant 1), and we have the lock.
            let popped = unsafe { shard.unlink(head) };
            drop(shard);
            Some(popped)
        })
    }

    /// How many tasks are on the list; the shards are counted one after another.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|slot| slot.0.lock().len).sum()
    }

    /// How many were ever on it.
    pub(crate) fn spawned(&self) -> u64 {
        self.shards.iter().map(|slot| slot.0.lock().spawned).sum()
    }

    /// Whether each shard was empty when it was looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard_of(&self, task: &TaskRef) -> &CriticalMutex<Shard> {
        &self.shards[self.index(task.id().get() as usize)].0
    }

    fn index(&self, number: usize) -> usize {
        number & (self.shards.len() - 1)
    }

    /// What `owner` says of a task on this list: an address. A list that is gone has no task linked any more, so it
    /// does not matter if another one gets the same.
    fn number(&self) -> usize {
        self.shards.as_ptr().addr()
    }
}

impl Drop for OwnedTasks {
    fn drop(&mut self) {
        self.close();
        while let Some(task) = self.pop(0) {
            task.shutdown();
        }
    }
}

impl fmt::Debug for OwnedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedTasks")
            .field("shards", &self.shards.len())
            .field("len", &self.len())
            .finish()
    }
}

impl Shard {
    /// Links a task in, at the end.
    ///
    /// # Safety
    ///
    /// - The caller gives away one reference to `task`, and has written its `owner`.
    /// - The task is on no list.
    unsafe fn push(&mut self, task: NonNull<Header>) {
        let links = Links {
            linked: true,
            previous: self.tail,
            next: None,
        };
        // SAFETY: the task is alive and on no list, so its links are ours.
        unsafe { *task.as_ref().links.get() = links };
        match self.tail {
            // SAFETY: the list has a reference to the tail, and `&mut self` is the lock.
            Some(tail) => unsafe { (*tail.as_ref().links.get()).next = Some(task) },
            None => self.head = Some(task),
        }
        self.tail = Some(task);
        self.len += 1;
        self.spawned += 1;
    }

    /// Takes a task out.
    ///
    /// # Safety
    ///
    /// - The task is linked into this shard.
    unsafe fn unlink(&mut self, task: NonNull<Header>) -> TaskRef {
        // SAFETY: the list has one reference to a task that is linked in (Invariant 1), and gives it away here.
        let reference = unsafe { Reference::from_raw(task) };
        let header = reference.header();
        // SAFETY: `&mut self` is the lock that guards the links.
        let Links { previous, next, .. } = std::mem::take(unsafe { &mut *header.links.get() });
        match previous {
            // SAFETY: the neighbour is linked into this shard too, so it is alive and its links are ours.
            Some(previous) => unsafe { (*previous.as_ref().links.get()).next = next },
            None => self.head = next,
        }
        match next {
            // SAFETY: as for `previous`.
            Some(next) => unsafe { (*next.as_ref().links.get()).previous = previous },
            None => self.tail = previous,
        }
        self.len -= 1;
        TaskRef(reference)
    }
}
