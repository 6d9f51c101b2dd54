//! The owner's side of a timer: what lives inside every pinned sleep.
//!
//! An [`Entry`] is registered on its first poll, moved by [`Entry::reset`], and taken out when it is dropped.
//! Wakers are cloned before the lock is taken and dropped after it is free (rule R1): a waker is user code.

use super::heap::Node;
use super::{Driver, FIRED, IDLE, Inserted, PENDING, Shard, Timers};
use crate::primitives::Arc;
use crate::primitives::atomic::Ordering;
use std::pin::Pin;
use std::task::{Poll, Waker};

/// One timer. While it is pending its shard points into it, hence the pin.
///
/// The node is `!Unpin`, and so is whatever holds it: a `&mut Entry` does not claim that nobody else looks at
/// the node, which others do under the lock of the shard.
pub(crate) struct Entry {
    driver: Arc<dyn Driver>,
    /// Where the node is, or was last, pending. The owner's alone.
    shard: usize,
    node: Node,
}

impl Entry {
    /// A timer of `driver`'s runtime that is not registered yet.
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Entry {
        Entry {
            driver,
            shard: 0,
            node: Node::new(IDLE),
        }
    }

    /// Ready once the timer has fired; until then `waker` is told when it does.
    ///
    /// An unregistered timer asks `deadline` when it is due, by the clock of these timers: `None` says it is already.
    ///
    /// # Panics
    ///
    /// If the runtime has been shut down.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        waker: &Waker,
        deadline: impl FnOnce(&Timers) -> Option<u64>,
    ) -> Poll<()> {
        let timers = self.driver.timers();
        if timers.is_shut_down() {
            shut_down();
        }
        // Acquire: pairs with the Release of the firing, whose last touch of the node it is.
        match self.node.state.load(Ordering::Acquire) {
            IDLE => match deadline(timers) {
                Some(deadline) => self.register(waker, deadline),
                None => Poll::Ready(()),
            },
            PENDING => self.wait_on(waker),
            _ => Poll::Ready(()),
        }
    }

    /// IDLE → PENDING.
    fn register(self: Pin<&mut Self>, waker: &Waker, deadline: u64) -> Poll<()> {
        // SAFETY: nothing is moved out of the reference.
        let this = unsafe { self.get_unchecked_mut() };
        let mut waker = Some(waker.clone());
        this.shard = this.driver.shard_here();
        let shard = this.shard();
        // SAFETY: the node is idle. It is pinned, so it stays in place until `drop`, which takes it out of
        // `this.shard`; the field changes only here, where the node is in no shard.
        let inserted = unsafe { shard.insert(&this.node, deadline, &mut waker) };
        match inserted {
            Inserted::Earliest => this.driver.earliest_changed(this.shard, deadline),
            Inserted::Later => {}
            Inserted::ShutDown => shut_down(),
        }
        Poll::Pending
    }

    /// Sees to it that a pending timer wakes `waker`; notices when it has fired meanwhile.
    fn wait_on(self: Pin<&mut Self>, waker: &Waker) -> Poll<()> {
        let shard = self.shard();
        // Most polls bring the waker of the last one, which costs no clone.
        // SAFETY: the node was pending, on this shard: only `register` makes it so, and it set the field.
        if let Some(answer) = unsafe { shard.waits_for(&self.node, waker) } {
            return answer;
        }
        let mut waker = Some(waker.clone());
        // SAFETY: as above.
        let answer = unsafe { shard.swap_waker(&self.node, &mut waker) };
        // Here the lock is free again: the old waker, or the new one of a fired timer, dies now.
        drop(waker);
        answer
    }

    /// Gives the timer a new deadline. While it is pending its waker stays, otherwise it becomes unregistered.
    ///
    /// It fires at once if the deadline has passed.
    pub(crate) fn reset(self: Pin<&mut Self>, deadline: u64) {
        if self.node.state.load(Ordering::Acquire) == PENDING {
            // SAFETY: the node was pending, on this shard: only `register` makes it so, and it set the field.
            match unsafe { self.shard().reset(&self.node, deadline) } {
                Some(Inserted::Earliest) if deadline <= self.driver.timers().now() => {
                    self.fire();
                    return;
                }
                Some(Inserted::Earliest) => {
                    self.driver.earliest_changed(self.shard, deadline);
                    return;
                }
                Some(_) => return,
                // It has fired in the meantime.
                None => {}
            }
        }
        // Relaxed: the node is in no shard, so this is the owner's own variable.
        self.node.state.store(IDLE, Ordering::Relaxed);
    }

    /// PENDING → FIRED, by the owner, if nobody is faster.
    fn fire(&self) {
        // SAFETY: the node was pending, on this shard: only `register` makes it so, and it set the field.
        if let Some(waker) = unsafe { self.shard().remove(&self.node) } {
            // Relaxed: the node is in no shard, so this is the owner's own variable.
            self.node.state.store(FIRED, Ordering::Relaxed);
            waker.wake();
        }
    }

    /// The timers that it is one of.
    pub(crate) fn timers(&self) -> &Timers {
        self.driver.timers()
    }

    fn shard(&self) -> &Shard {
        self.driver.timers().shard(self.shard)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Most timers die fired or unused, and need no lock for that.
        if self.node.state.load(Ordering::Acquire) == PENDING {
            // SAFETY: the node was pending, on this shard: only `register` makes it so, and it set the field.
            let waker = unsafe { self.shard().remove(&self.node) };
            drop(waker);
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.node.state.load(Ordering::Relaxed) {
            IDLE => "idle",
            PENDING => "pending",
            _ => "fired",
        };
        f.debug_tuple("Entry").field(&state).finish()
    }
}

#[cold]
fn shut_down() -> ! {
    panic!(
        "the runtime of this timer has been shut down: \
         keep the `Runtime` alive for as long as its timers are awaited"
    )
}
