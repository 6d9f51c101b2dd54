//! A poll that was parked and has been woken, as an element of the run queues.
//!
//! It is runnable like a task, and waits where tasks wait: in a processor's slot, in its ring, in the queue that all
//! share. What is queued is no task, though, but the right to resume a fiber, with a header of its own on the parked
//! stack. Nobody runs it or counts its references: whoever takes a [`Notified`] out of a queue asks
//! [`parked_poll`](Notified::parked_poll) first.

use super::header::{Header, Vtable};
use super::id::Id;
use super::{Notified, Reference, Seed};
use crate::fatal::fatal;
use crate::stack::Fiber;
use std::panic::Location;
use std::ptr::NonNull;

/// See the module's head.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Resumption {
    /// First, so that a pointer to the one is a pointer to the other.
    header: Header,
    fiber: &'static Fiber,
}

/// By this one it is known.
static RESUMES: Vtable = Vtable {
    run: refuse,
    schedule: refuse,
    shutdown: refuse,
    take_output: refuse_output,
    drop_output: refuse,
    dealloc: refuse,
};

unsafe fn refuse(_: NonNull<Header>) {
    fatal!("a parked poll was taken for a task");
}

unsafe fn refuse_output(_: NonNull<Header>, _: *mut ()) {
    fatal!("a parked poll was taken for a task");
}

impl Resumption {
    /// That of a fiber which is about to park.
    #[inline]
    #[track_caller]
    pub(crate) fn new(fiber: &'static Fiber) -> Resumption {
        Resumption {
            header: Header::new(&RESUMES, Seed::plain(Id::NONE, Location::caller())),
            fiber,
        }
    }

    /// The fiber.
    pub(crate) fn fiber(&self) -> &'static Fiber {
        self.fiber
    }

    /// What is queued.
    ///
    /// # Safety
    ///
    /// - The caller owns the suspended fiber, and gives it up with the value.
    /// - `this` stays where it is until the fiber is resumed.
    pub(crate) unsafe fn notify(this: NonNull<Resumption>) -> Notified {
        // SAFETY: it is not used for a whole task: see the module's head.
        Notified(unsafe { Reference::from_raw(this.cast()) })
    }
}

impl Notified {
    /// The fiber, if this is no task but a poll that was parked: the caller owns it from now on. Otherwise the task.
    #[inline]
    pub(crate) fn parked_poll(self) -> Result<&'static Fiber, Notified> {
        if !std::ptr::eq(self.0.header().vtable, &RESUMES) {
            return Err(self);
        }
        // SAFETY: only `Resumption::notify` makes a `Notified` with that table, and the fiber that it lies on is
        // suspended.
        let fiber = unsafe { self.into_raw().cast::<Resumption>().as_ref() }.fiber;
        Ok(fiber)
    }
}
