//! The part of a task that does not depend on its types, and the counted reference to it.

use super::Seed;
use super::id::Id;
use super::state::{Released, State, Wake};
use crate::executor::trace::TaskSpan;
use crate::primitives::atomic::AtomicUsize;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::Waker;

/// The first field of every task. What follows it, only the functions in its [`Vtable`] know.
#[repr(C)]
pub(crate) struct Header {
    /// See the `state` module.
    pub(super) state: State,
    /// The next task in a run queue. It belongs to whoever owns the task's one `Notified`.
    pub(crate) queue_next: UnsafeCell<Option<NonNull<Header>>>,
    pub(super) vtable: &'static Vtable,
    /// The list that the task was last bound to, as a number, or zero. Written before it is linked.
    pub(super) owner: AtomicUsize,
    /// The place in that list. Guarded by the lock of the shard.
    pub(super) links: UnsafeCell<Links>,
    /// Where the joiner leaves its waker. Whose it is, the `state` module says (Invariant 6).
    pub(super) join_slot: UnsafeCell<Option<Waker>>,
    pub(super) id: Id,
    pub(super) location: &'static Location<'static>,
    /// What `tracing` is told of it: see `executor::trace`.
    pub(super) span: TaskSpan,
}

/// A task's place in its owned list.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) linked: bool,
    pub(super) previous: Option<NonNull<Header>>,
    pub(super) next: Option<NonNull<Header>>,
}

/// What depends on the types of the future and of the scheduler. `raw` has the functions and their debts.
#[derive(Debug)]
pub(super) struct Vtable {
    /// Runs the task once, for the reference of a `Notified`.
    pub(super) run: unsafe fn(NonNull<Header>),
    /// Makes a `Notified` of one reference and schedules it.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Cancels the task here and now if it does not run, for the reference of a `TaskRef`.
    pub(super) shutdown: unsafe fn(NonNull<Header>),
    /// Moves the output to an `Option<Result<Output, JoinError>>`; `None` if it was taken before.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the output where it is, and swallows its panic.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Frees the task. No reference is left.
    pub(super) dealloc: unsafe fn(NonNull<Header>),
}

impl Header {
    /// The header of a task that was just spawned.
    pub(super) fn new(vtable: &'static Vtable, seed: Seed) -> Header {
        let Seed { id, location, span } = seed;
        Header {
            state: State::new(),
            queue_next: UnsafeCell::new(None),
            vtable,
            owner: AtomicUsize::new(0),
            links: UnsafeCell::default(),
            join_slot: UnsafeCell::new(None),
            id,
            location,
            span,
        }
    }

    /// The task behind `task` in its run queue.
    ///
    /// # Safety
    ///
    /// - `task` came from [`Notified::into_raw`](super::Notified::into_raw) and was not made into a `Notified`
    ///   again.
    /// - Nobody calls [`set_queue_next`](Header::set_queue_next) for it at the same time.
    #[inline]
    pub(crate) unsafe fn queue_next(task: NonNull<Header>) -> Option<NonNull<Header>> {
        // SAFETY: the reference of the `Notified` keeps the task alive, and nobody writes the link (above).
        unsafe { *task.as_ref().queue_next.get() }
    }

    /// Puts `next` behind `task`.
    ///
    /// # Safety
    ///
    /// - `task` came from [`Notified::into_raw`](super::Notified::into_raw) and was not made into a `Notified`
    ///   again.
    /// - Nobody reads or writes its link at the same time.
    #[inline]
    pub(crate) unsafe fn set_queue_next(task: NonNull<Header>, next: Option<NonNull<Header>>) {
        // SAFETY: the reference of the `Notified` keeps the task alive, and the link is the caller's (above).
        unsafe { *task.as_ref().queue_next.get() = next }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// One counted reference to a task.
pub(super) struct Reference(NonNull<Header>);

// SAFETY: `NonNull` stops the auto-impl. The state word says who may touch the future, the output and the join
// slot, the lock of a shard guards the links, and all else in the header is constant. Who may take the future to
// another thread is the debt of `raw::allocate`.
unsafe impl Send for Reference {}

// SAFETY: as for `Send`; a shared `Reference` gives access to the header only.
unsafe impl Sync for Reference {}

impl Reference {
    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// - `task` came from `raw::allocate`, so it may be used for the whole task, not just for the header.
    /// - One reference was counted for the value that this returns.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Reference {
        Reference(task)
    }

    /// Gives up the value, but not the reference.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// The task, while the reference lasts.
    #[inline]
    pub(super) fn as_raw(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the reference keeps the task alive, and a header is only ever shared.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn state(&self) -> &State {
        &self.header().state
    }

    /// Cancels the task. It is dropped by whoever runs it next, never here.
    pub(super) fn abort(&self) {
        match self.state().abort() {
            Wake::Nothing => (),
            // SAFETY: `abort` counted the reference that this takes.
            Wake::Schedule => unsafe { (self.header().vtable.schedule)(self.0) },
        }
    }

    /// Wakes the task.
    #[inline]
    pub(super) fn wake(&self) {
        match self.state().wake_by_ref() {
            Wake::Nothing => (),
            // SAFETY: `wake_by_ref` counted the reference that this takes.
            Wake::Schedule => unsafe { (self.header().vtable.schedule)(self.0) },
        }
    }
}

impl Clone for Reference {
    #[inline]
    fn clone(&self) -> Reference {
        self.state().retain();
        Reference(self.0)
    }
}

impl Drop for Reference {
    #[inline]
    fn drop(&mut self) {
        let vtable = self.header().vtable;
        match self.state().release(1) {
            Released::Others => (),
            // SAFETY: that was the last reference.
            Released::Last => unsafe { (vtable.dealloc)(self.0) },
        }
    }
}
