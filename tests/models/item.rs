//! What stands for a task in the queues: a number, a link, and contents that loom watches.

use loom::cell::UnsafeCell;
use std::ptr::NonNull;

/// In the place of a task's header.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) number: usize,
    next: UnsafeCell<Option<NonNull<Header>>>,
    contents: UnsafeCell<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// Written by whoever makes it runnable.
    is_filled: bool,
    /// How often it was taken out.
    runs: u32,
}

// SAFETY: the pointers stop the auto-impls; loom reports who touches a cell out of turn.
unsafe impl Send for Header {}
// SAFETY: as above.
unsafe impl Sync for Header {}

impl Header {
    pub(crate) fn new(number: usize) -> Header {
        Header {
            number,
            next: UnsafeCell::new(None),
            contents: UnsafeCell::new(Contents::default()),
        }
    }

    /// # Safety
    ///
    /// - The link is the caller's.
    pub(crate) unsafe fn queue_next(task: NonNull<Header>) -> Option<NonNull<Header>> {
        // SAFETY: tasks outlive the queues of a model, and the link is the caller's: loom checks that.
        unsafe { task.as_ref().next.with(|next| *next) }
    }

    /// # Safety
    ///
    /// - The link is the caller's.
    pub(crate) unsafe fn set_queue_next(task: NonNull<Header>, next: Option<NonNull<Header>>) {
        // SAFETY: as above.
        unsafe { task.as_ref().next.with_mut(|link| *link = next) };
    }

    /// Makes it runnable.
    pub(crate) fn notify(&self) -> Notified {
        // SAFETY: whoever notifies an idle task has it for itself: loom checks that.
        self.contents
            .with_mut(|contents| unsafe { (*contents).is_filled = true });
        Notified(NonNull::from(self))
    }

    /// How often it has run, once no thread but the caller's is left.
    pub(crate) fn runs(&self) -> u32 {
        // SAFETY: as above.
        self.contents.with(|contents| unsafe { (*contents).runs })
    }
}

/// In the place of the right to run a task.
#[derive(Debug)]
pub(crate) struct Notified(NonNull<Header>);

impl Notified {
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        self.0
    }

    /// # Safety
    ///
    /// - The pointer came from [`into_raw`](Notified::into_raw), and belongs to the caller.
    pub(crate) unsafe fn from_raw(task: NonNull<Header>) -> Notified {
        Notified(task)
    }

    /// Runs the task, and says which it was.
    pub(crate) fn run(self) -> usize {
        // SAFETY: tasks outlive the queues of a model.
        let task = unsafe { self.0.as_ref() };
        task.contents.with_mut(|contents| {
            // SAFETY: whoever has taken a task out has it for itself: that is what the models are about.
            let contents = unsafe { &mut *contents };
            assert!(contents.is_filled, "a task without its contents");
            contents.runs += 1;
        });
        task.number
    }
}
