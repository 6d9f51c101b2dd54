//! Which runtime is current: thread-local, so it belongs to an identity.
//!
//! A fiber's identity enters its runtime once, when its lender starts; no poll pays for it. A plain thread enters
//! by [`Handle::enter`](super::runtime::Handle::enter) and by `block_on`; how, is in `entered`.

use super::runtime::Handle;
use super::shared::Shared;
use super::timer::Driver;
use crate::preempt::Critical;
use crate::primitives::Arc;
use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The thread's locals are being destroyed.
#[derive(Debug)]
pub(super) struct Destroyed;

/// The current runtime, if any, and if that can be said.
pub(super) fn try_current() -> Result<Option<Handle>, Destroyed> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .map_err(|_| Destroyed)
}

/// The current runtime, if any. None as well while the thread's locals are being destroyed.
pub(crate) fn current() -> Option<Handle> {
    try_current().ok().flatten()
}

/// Runs `f` with the current runtime, which is not counted for it. `f` must not run code of the user's: a
/// destructor, say, may want to enter another runtime. None as in [`current`].
pub(super) fn with_current<R>(f: impl FnOnce(&Handle) -> R) -> Option<R> {
    // Not moved in: it is user code that is dropped with it where there is no runtime.
    let mut f = Some(f);
    CURRENT
        .try_with(|current| {
            let current = current.borrow();
            let handle = current.as_ref()?;
            f.take().map(|f| f(handle))
        })
        .ok()
        .flatten()
}

/// What timers made here belong to.
pub(crate) fn timer_driver() -> Option<Arc<dyn Driver>> {
    current().map(|handle| handle.shared as Arc<dyn Driver>)
}

/// Enters a fiber's runtime for the rest of its identity's life.
pub(super) fn set_for_fiber(shared: &Arc<Shared>) {
    let handle = Handle {
        shared: Arc::clone(shared),
    };
    CURRENT.set(Some(handle));
}

/// Leaves it, before the identity's thread-locals are destroyed.
pub(super) fn clear() {
    drop(CURRENT.take());
}

/// Makes `handle` current; returns what was.
pub(super) fn replace(handle: Option<Handle>) -> Option<Handle> {
    CURRENT.replace(handle)
}

/// Runs `f` with `handle` current; without, where the thread's locals are being destroyed.
pub(super) fn with<R>(handle: Handle, f: impl FnOnce() -> R) -> R {
    let before = CURRENT.try_with(|current| current.replace(Some(handle)));
    let result = f();
    if let Ok(before) = before {
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
    result
}

/// What keeps a paused clock from advancing by itself: see `timer::clock`.
impl Shared {
    /// Something goes on that the runtime's one processor does not know of.
    pub(super) fn hold_clock(&self) {
        if self.config.home {
            self.timers.clock().hold();
        }
    }

    /// It has ended.
    pub(super) fn let_clock_go(&self) {
        if self.config.home && self.timers.clock().let_go() {
            self.earliest_changed(0, 0);
        }
    }
}

impl Driver for Shared {
    fn timers(&self) -> &super::timer::Timers {
        &self.timers
    }

    fn shard_here(&self) -> usize {
        let critical = Critical::enter();
        match self.processor_here(&critical) {
            Some(processor) => processor.index,
            // Any will do, the same for the same thread: its thread pointer tells it from others.
            None => (crate::arch::thread_pointer() >> 12) % self.processors.len(),
        }
    }

    fn earliest_changed(&self, shard: usize, _deadline: u64) {
        let _critical = Critical::enter();
        // Its idle worker waits for the old deadline: it must look again. A busy one has a timer.
        if self.sleep.idle.remove(shard) {
            self.wake(shard);
        } else {
            self.rearm(&self.processors[shard], false);
        }
    }
}
