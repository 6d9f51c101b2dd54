//! Which members of a set have finished, in the order in which they did.
//!
//! Each member leaves a waker in its task that knows the member's key. When the task ends it puts that key on a chain,
//! the latest first; who joins takes the whole chain and turns it round. So a completion costs both sides the same
//! whatever the size of the set, and members that have not finished are never looked at.
//!
//! The chain goes through the members' [`Link`]s, so putting a key on it allocates nothing (rule R1).
//!
//! # Invariants
//!
//! 1. A link is put on its chain at most once: a task wakes its joiner once.
//! 2. `earlier` of a link belongs to the chain's lock until the chain is taken, then to who took it.
//! 3. A chain is used by the members of one set, each of which is in the set while its link can come: a set that lets
//!    its members go ([`after`](Finished::after)) starts a new chain, and late wakers find the old one.

use crate::preempt::CriticalMutex;
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicUsize, Ordering};
use std::mem;
use std::task::{Wake, Waker};

/// The key of no member.
pub(super) const NONE: usize = usize::MAX;

/// In `Link::earlier`: was never on the chain.
const RUNNING: usize = usize::MAX - 1;

/// The chain, and who waits for it.
#[derive(Debug)]
pub(super) struct Finished(CriticalMutex<Chain>);

struct Chain {
    latest: usize,
    waker: Option<Waker>,
}

/// A member's place on the chain, and the waker in its task.
#[derive(Debug)]
pub(super) struct Link {
    key: usize,
    earlier: AtomicUsize,
    finished: Arc<Finished>,
}

impl Finished {
    pub(super) fn new() -> Arc<Finished> {
        Finished::with(None)
    }

    /// An empty chain with the waker of another one.
    pub(super) fn after(old: &Finished) -> Arc<Finished> {
        let waker = old.0.lock().waker.take();
        Finished::with(waker)
    }

    fn with(waker: Option<Waker>) -> Arc<Finished> {
        Arc::new(Finished(CriticalMutex::new(Chain {
            latest: NONE,
            waker,
        })))
    }

    /// Takes the chain: the key of who has finished last.
    pub(super) fn take(&self) -> usize {
        mem::replace(&mut self.0.lock().latest, NONE)
    }

    /// Takes the chain. If it is empty, the waker will be woken when somebody finishes.
    pub(super) fn take_or_register(&self, waker: &Waker) -> usize {
        {
            let mut chain = self.0.lock();
            let is_known = chain.waker.as_ref().is_some_and(|w| w.will_wake(waker));
            if is_known || chain.latest != NONE {
                return mem::replace(&mut chain.latest, NONE);
            }
        }
        // Cloning and dropping wakers is foreign code: outside of the lock, which means looking once more.
        let new = waker.clone();
        let mut chain = self.0.lock();
        let old = chain.waker.replace(new);
        let latest = mem::replace(&mut chain.latest, NONE);
        drop(chain);
        drop(old);
        latest
    }

    fn push(&self, link: &Link) {
        let mut chain = self.0.lock();
        // Relaxed, here and below: the lock, or who took the chain (Invariant 2).
        if link.earlier.load(Ordering::Relaxed) != RUNNING {
            return;
        }
        link.earlier.store(chain.latest, Ordering::Relaxed);
        chain.latest = link.key;
        let waker = chain.waker.take();
        drop(chain);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Link {
    pub(super) fn new(key: usize, finished: &Arc<Finished>) -> Arc<Link> {
        Arc::new(Link {
            key,
            earlier: AtomicUsize::new(RUNNING),
            finished: Arc::clone(finished),
        })
    }

    /// The next key, for who has taken the chain.
    pub(super) fn next(&self) -> usize {
        self.earlier.load(Ordering::Relaxed)
    }

    /// Makes another key the next one, and returns what it was.
    pub(super) fn relink(&self, next: usize) -> usize {
        self.earlier.swap(next, Ordering::Relaxed)
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        self.finished.push(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.finished.push(self);
    }
}
