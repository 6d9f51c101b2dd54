//! Giving way: what a fiber does once it may be suspended.
//!
//! Both kinds of safe-point end here: the asynchronous one from `async_preempt`, on the fiber's preempt stack,
//! the synchronous one from the end of an outermost critical section, on the fiber's own stack.

use super::target::{How, Target};
use crate::arch;
use crate::stack::Fiber;
use crate::sync::atomic::{Ordering, compiler_fence};

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

/// The synchronous safe-point: the outermost critical section has been left with the guard word poisoned.
#[cold]
pub(crate) fn give_way(fiber: &Fiber) {
    // SAFETY: fibers are freed only after their lender has ended; this code runs as the fiber.
    let fiber: &'static Fiber = unsafe { &*std::ptr::from_ref(fiber) };
    // A handler that interrupts the application's own handler must not be suspended by a wake from there; the
    // signal handler poisons only fibers that run under their worker's mask, off any signal stack.
    loop {
        fiber.enter_critical();
        let keys = arch::swap_protection_keys(None);
        suspend(fiber, How::Synchronous);
        arch::swap_protection_keys(Some(keys));
        compiler_fence(Ordering::SeqCst);
        if !fiber.leave_critical() {
            return;
        }
    }
}
