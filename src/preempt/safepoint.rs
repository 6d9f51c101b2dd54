//! Giving way: what a fiber does once it may be suspended.
//!
//! Both kinds of safe-point end here: the asynchronous one from `async_preempt`, on the fiber's preempt stack,
//! the synchronous one from the end of an outermost critical section, on the fiber's own stack.

use super::target::{How, Target};
use crate::arch;
use crate::fatal::fatal;
use crate::primitives::atomic::{Ordering, compiler_fence};
use crate::stack::Fiber;
use crate::sys;

/// The worker that runs this fiber. Meaningful only inside a critical section.
#[inline]
pub(crate) fn worker_of(fiber: &Fiber) -> Option<&'static Target> {
    // SAFETY: null, or the worker that runs this fiber, which is not freed while it does.
    unsafe {
        fiber
            .worker
            .load(Ordering::Relaxed)
            .cast::<Target>()
            .as_ref()
    }
}

/// Honours a request: suspends the fiber, whose `critical` is 1. Returns when it is resumed.
pub(super) fn suspend(fiber: &'static Fiber, how: How) {
    fiber.unpoison();
    // R10: in a forked child there is no scheduler to enter.
    if super::signal::is_forked() {
        return;
    }
    // Given back, the fiber is an ordinary thread: the kernel preempts those.
    if let Some(target) = worker_of(fiber) {
        target.actions.suspend(fiber, how);
    }
}

/// Leaves a fiber whose stack has overflowed. It is never resumed.
#[cold]
pub(super) fn abandon(fiber: &'static Fiber) -> ! {
    match worker_of(fiber) {
        Some(target) => target.actions.abandon(fiber),
        None => fatal!("a fiber that no worker runs was to be left for good"),
    }
}

/// Rule R5: may the fiber go on under another worker's mask?
///
/// The signal handler poisons only fibers that it found under their worker's own mask, off any signal stack. The
/// monitor cannot see that, and a wake does not look: they leave a note that they have not.
fn is_under_workers_mask(fiber: &Fiber) -> bool {
    let Some(target) = worker_of(fiber) else {
        return true;
    };
    if !target.unchecked.swap(false, Ordering::Relaxed) {
        return true;
    }
    let is_own = sys::sigmask(None) == target.mask.load(Ordering::Relaxed);
    if !is_own {
        target.stuck.fetch_add(1, Ordering::Relaxed);
    }
    is_own
}

/// The synchronous safe-point: the outermost critical section has been left with the guard word poisoned.
#[cold]
pub(crate) fn give_way(fiber: &Fiber) {
    // SAFETY: fibers are freed only after their lender has ended; this code runs as the fiber.
    let fiber: &'static Fiber = unsafe { &*std::ptr::from_ref(fiber) };
    loop {
        fiber.enter_critical();
        if !is_under_workers_mask(fiber) {
            fiber.unpoison();
            if let Some(target) = worker_of(fiber) {
                target.actions.retry(target);
            }
            let _ = fiber.leave_critical();
            return;
        }
        let keys = arch::swap_protection_keys(None);
        suspend(fiber, How::Synchronous);
        arch::swap_protection_keys(Some(keys));
        compiler_fence(Ordering::SeqCst);
        if !fiber.leave_critical() {
            return;
        }
    }
}
