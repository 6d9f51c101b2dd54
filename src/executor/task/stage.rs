//! The place for the future and, later, for its output.

use super::error::{JoinError, Payload};
use std::cell::UnsafeCell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

enum Content<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Nothing,
}

/// A future, which never moves, or what it came to. Who may call these functions, the state word says.
pub(super) struct Stage<F: Future>(UnsafeCell<Content<F>>);

impl<F: Future> Stage<F> {
    pub(super) fn new(future: F) -> Stage<F> {
        Stage(UnsafeCell::new(Content::Future(future)))
    }

    /// Polls the future, and drops it if that ends it. Contains its panics and reports the first.
    ///
    /// # Safety
    ///
    /// - The stage is the caller's alone for the time of the call.
    /// - It holds the future, and never moves again.
    #[inline]
    pub(super) unsafe fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<F::Output, Payload>> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // Dropped in the course of the unwinding: what the future owns can see that, as it would on a thread.
            let cleanup = ClearOnUnwind(self);
            // SAFETY: the stage is ours (above), and nothing else refers to its content.
            let content = unsafe { &mut *self.0.get() };
            let Content::Future(future) = content else {
                unreachable!("a task is polled only before it is complete")
            };
            // SAFETY: neither the stage nor its content moves (above); the future is dropped in place.
            let polled = unsafe { Pin::new_unchecked(future) }.poll(cx);
            mem::forget(cleanup);
            polled
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            // SAFETY: the stage is still ours.
            Ok(Poll::Ready(output)) => Poll::Ready(match unsafe { self.clear() } {
                Ok(()) => Ok(output),
                Err(payload) => {
                    contain(|| drop(output));
                    Err(payload)
                }
            }),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }

    /// Drops what is there, in place, and contains the panic.
    ///
    /// # Safety
    ///
    /// - The stage is the caller's alone for the time of the call.
    pub(super) unsafe fn clear(&self) -> Result<(), Payload> {
        let content = self.0.get();
        // SAFETY: the stage is ours (above), and what was dropped is overwritten before anyone looks at it.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ptr::drop_in_place(content) }));
        // SAFETY: as above; plain `write`, because the old content is gone.
        unsafe { content.write(Content::Nothing) };
        dropped
    }

    /// Puts the output in.
    ///
    /// # Safety
    ///
    /// - The stage is the caller's alone for the time of the call.
    /// - It was cleared.
    pub(super) unsafe fn store(&self, output: Result<F::Output, JoinError>) {
        // SAFETY: the stage is ours (above), and holds nothing that `write` would forget.
        unsafe { self.0.get().write(Content::Output(output)) };
    }

    /// Takes the output out, or `None` where it was taken or dropped before.
    ///
    /// # Safety
    ///
    /// - The stage is the caller's alone for the time of the call.
    /// - The task is complete.
    pub(super) unsafe fn take(&self) -> Option<Result<F::Output, JoinError>> {
        // SAFETY: the stage is ours (above). No future is moved: the task is complete.
        match mem::replace(unsafe { &mut *self.0.get() }, Content::Nothing) {
            Content::Output(output) => Some(output),
            Content::Nothing => None,
            Content::Future(_) => unreachable!("a complete task has no future"),
        }
    }
}

struct ClearOnUnwind<'a, F: Future>(&'a Stage<F>);

impl<F: Future> Drop for ClearOnUnwind<'_, F> {
    fn drop(&mut self) {
        // SAFETY: `poll` has the stage, and no longer uses the future.
        if let Err(payload) = unsafe { self.0.clear() } {
            // A second panic; the joiner hears of the first.
            discard(payload);
        }
    }
}

/// Runs code of the user whose panic would tell nobody anything.
pub(super) fn contain(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        discard(payload);
    }
}

/// Drops what a panic was raised with. That can panic too; then what that was raised with is leaked.
pub(super) fn discard(payload: Payload) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
}
