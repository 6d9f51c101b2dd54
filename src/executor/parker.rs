//! Waiting in the middle of a poll without holding up a kernel thread: the poll's *fiber* is parked.
//!
//! A [`Parker`] is one wait of one poll. [`park`](Parker::park) suspends the fiber, and its worker goes on with other work;
//! [`unpark`](Parker::unpark), from any thread and at any moment before or after, makes it runnable again. It is then
//! queued like a task that was woken (`task::Resumption`): interactive, in the waker's slot, to be stolen like one.
//! The words, and why no wake is lost, are in `stack::parked`.
//!
//! # Where it waits in the kernel instead
//!
//! On plain threads (those of `spawn_blocking` too), on a lender that goes on with its fiber, in a current-thread runtime
//! (its home fiber cannot leave its thread, and with nobody inside `block_on` nobody would resume the others), under a
//! signal mask that the task has changed (rule R5), and in a forked child. There a futex does it; inside a task the
//! processor is given away before.
//!
//! # What a parked poll holds
//!
//! Its fiber, with a lender and the committed part of a stack, but neither a worker nor a processor. Others may write
//! into its stack meanwhile, above the saved stack pointer: a channel puts the value there that the poll waits for.
//! The supplier returns what lies below to the kernel (rule R4), once it has been parked for a second or so.
//!
//! # Shutdown
//!
//! A parked poll is one in progress. When nobody is left to resume it, or shutdown waits no longer, it is given back: its
//! lender goes on with the wait as an ordinary thread. Whoever parks later finds that out after its commit, and whoever
//! wakes one after it has queued it: each writes first and looks then, as shutdown does the reverse.

use super::shared::Shared;
use super::task::Resumption;
use super::worker::Worker;
use crate::arch;
use crate::preempt::{Critical, safepoint, signal};
use crate::primitives::Arc;
use crate::primitives::atomic::Ordering;
use crate::stack::{ASLEEP, Fiber, Notice, Taken, Waits};
use crate::sys;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Parker {
    notice: Notice,
    /// Written before the fiber parks.
    resumption: UnsafeCell<MaybeUninit<Resumption>>,
}

// SAFETY: the cell is written by the poll that parks, before its notice is `PARKED`, and read by whoever finds it so.
unsafe impl Sync for Parker {}

/// The way to a [`Parker`], for whoever wakes.
#[derive(Debug)]
pub(crate) struct Unparker(NonNull<Parker>);

// SAFETY: see `Sync` above, and `Parker::unparker`.
unsafe impl Send for Unparker {}

impl Unparker {
    /// Ends the wait, once. Not in a critical section: it may drop the last reference to a runtime.
    #[inline]
    pub(crate) fn unpark(self) {
        // SAFETY: `Parker::unparker` promises that the parker waits for this very call.
        unsafe { Parker::unpark(self.0) }
    }
}

impl Parker {
    /// A wait that has not begun.
    #[inline]
    pub(crate) fn new() -> Parker {
        Parker {
            notice: Notice::new(),
            resumption: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The way to it.
    ///
    /// # Safety
    ///
    /// - The parker stays where it is until [`park`](Self::park) has returned, or the value was dropped unused.
    /// - There is one at a time.
    #[inline]
    pub(crate) unsafe fn unparker(&self) -> Unparker {
        Unparker(NonNull::from(self))
    }

    /// What the park commit looks at.
    pub(super) fn notice(&self) -> &Notice {
        &self.notice
    }

    /// Has the wait been ended? Should `park` follow, it returns at once.
    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.notice.is_notified()
    }

    /// Waits for [`unpark`](Unparker::unpark). Once.
    pub(crate) fn park(&self) {
        if self.notice.is_notified() {
            return;
        }
        // Shutdown may have left it to its lender before it was parked: then it has not waited yet.
        if self.park_fiber() && self.notice.is_notified() {
            return;
        }
        if !self.notice.sleep() {
            return;
        }
        super::actions::before_blocking();
        while !self.notice.is_notified() {
            sys::futex_wait(self.notice.word(), ASLEEP, None);
        }
    }

    /// Waits with the fiber parked. False: this is not a place where it can be.
    fn park_fiber(&self) -> bool {
        let fiber = {
            let critical = Critical::enter();
            let Some((fiber, worker)) = parkable(&critical) else {
                return false;
            };
            // SAFETY: nobody reads it before the notice says so.
            unsafe { (*self.resumption.get()).write(Resumption::new(fiber)) };
            let keys = arch::swap_protection_keys(None);
            worker.park(fiber, self);
            arch::swap_protection_keys(Some(keys));
            fiber
        };
        // Given back, it goes on waiting on its lender, an ordinary thread.
        while let Some(given) = fiber.parked.given() {
            sys::futex_wait(fiber.parked.word(), given, None);
        }
        true
    }

    /// See [`Unparker::unpark`].
    ///
    /// # Safety
    ///
    /// - The parker waits for this call, or is about to: it is still there.
    #[inline]
    unsafe fn unpark(this: NonNull<Parker>) {
        // SAFETY: the caller's promise.
        let word: *const _ = unsafe { this.as_ref() }.notice.word();
        // SAFETY: as above; with any answer but `Fiber` this is the last touch.
        match unsafe { this.as_ref() }.notice.tell() {
            Waits::Nobody => {}
            Waits::Thread => sys::futex_wake_at(word, 1),
            // SAFETY: the fiber, on whose stack the parker lies, goes on only once it is taken.
            Waits::Fiber => unsafe { resume(this.as_ref()) },
        }
    }
}

/// The fiber that this code runs as and its worker, if the fiber may be parked here.
fn parkable(critical: &Critical) -> Option<(&'static Fiber, &'static Worker)> {
    let fiber: *const Fiber = critical.fiber()?;
    // SAFETY: fibers are freed only after their lender has ended; this code runs as the fiber.
    let fiber: &'static Fiber = unsafe { &*fiber };
    let target = safepoint::worker_of(fiber)?;
    // SAFETY: a target is the first field of its worker, which is freed after this poll has ended, on it or elsewhere.
    let worker = unsafe { &*std::ptr::from_ref(target).cast::<Worker>() };
    let is_place = !worker.shared().config.home
        && !signal::is_forked()
        && fiber.gate.critical.load(Ordering::Relaxed) == 1
        // Rule R5.
        && sys::sigmask(None) == target.mask.load(Ordering::Relaxed);
    is_place.then_some((fiber, worker))
}

/// Makes a parked poll runnable.
///
/// # Safety
///
/// - The notice was `PARKED`, and the caller has moved it on.
unsafe fn resume(parker: &Parker) {
    // SAFETY: written before the notice was `PARKED`.
    let resumption = unsafe { (*parker.resumption.get()).assume_init_ref() };
    let fiber = resumption.fiber();
    let owner = fiber.owner.cast::<Shared>();
    let resumption = NonNull::from(resumption);
    let critical = Critical::enter();
    let is_own = critical
        .fiber()
        .is_some_and(|here| here.owner == fiber.owner);
    // A fiber of the same runtime keeps that alive by itself. Otherwise the poll may end, and the runtime with it,
    // before this function does.
    let keep = (!is_own).then(|| {
        // SAFETY: the owner is an `Arc` that is counted for the fiber, which is still parked.
        unsafe {
            Arc::increment_strong_count(owner);
            Arc::from_raw(owner)
        }
    });
    // SAFETY: kept alive, as just said.
    let shared = unsafe { &*owner };
    let word: *const _ = fiber.parked.word();
    match fiber.parked.take() {
        // SAFETY: the fiber is ours, and suspended; the resumption lies on its stack.
        Taken::Mine => unsafe { shared.woken(resumption) },
        Taken::Trimmers => {}
        Taken::Lenders => sys::futex_wake_at(word, 1),
    }
    drop(critical);
    // Maybe the last reference: outside of the critical section.
    drop(keep);
}
