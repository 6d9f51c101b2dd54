//! The one allocation of a task, and everything that knows its types.
//!
//! ```text
//!   ┌────────┬───────────┬───────────────────────────────┐
//!   │ Header │ scheduler │ Stage: the future, its output │
//!   └────────┴───────────┴───────────────────────────────┘
//!   ▲ NonNull<Header>, valid for all of it
//! ```
//!
//! A task ends in three steps: the future is dropped, the output is stored, the state becomes complete. Only
//! then can a joiner go on, so it finds nothing of the future alive.

use super::error::{JoinError, Payload};
use super::header::{Header, Reference, Vtable};
use super::id::{DropScope, IdScope};
use super::stage::{Stage, contain, discard};
use super::state::{BeginPoll, BeginShutdown, Completed, EndPoll, JoinWoken, Released};
use super::{Notified, Schedule, Seed, TaskRef, waker};
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::{Context, Poll};

#[repr(C)]
struct TaskCell<F: Future, S> {
    /// First, so that a pointer to the one is a pointer to the other.
    header: Header,
    scheduler: S,
    stage: Stage<F>,
}

/// Allocates a task. Three references are counted: for a `TaskRef`, a `Notified` and a `JoinHandle`.
///
/// # Safety
///
/// - If the future or its output is not `Send`, what [`spawn_unchecked`](super::spawn_unchecked) asks for.
pub(super) unsafe fn allocate<F, S>(future: F, scheduler: S, seed: Seed) -> NonNull<Header>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let cell = Box::new(TaskCell {
        header: Header::new(&TaskCell::<F, S>::VTABLE, seed),
        scheduler,
        stage: Stage::new(future),
    });
    NonNull::from(Box::leak(cell)).cast()
}

impl<F, S> TaskCell<F, S>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    const VTABLE: Vtable = Vtable {
        run: Self::run,
        schedule: Self::schedule,
        shutdown: Self::shutdown,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        dealloc: Self::dealloc,
    };

    /// The whole task.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types.
    /// - A reference lasts for `'a`.
    #[inline]
    unsafe fn of<'a>(task: NonNull<Header>) -> &'a Self {
        // SAFETY: the header is the first field (`repr(C)`), the pointer is valid for all of the task and the
        // task is alive (above). It is only ever shared until it is freed.
        unsafe { task.cast::<Self>().as_ref() }
    }

    /// Polls or cancels the task, once.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types.
    /// - The caller gives away the reference of the task's `Notified`.
    unsafe fn run(task: NonNull<Header>) {
        // SAFETY: the caller's reference lasts until it is given back below, the last use of `cell`.
        let cell = unsafe { Self::of(task) };
        match cell.header.state.begin_poll() {
            // SAFETY: we are the runner, and have the caller's reference.
            BeginPoll::Poll => unsafe { Self::poll(task) },
            // SAFETY: as above.
            BeginPoll::Cancel => unsafe { Self::cancel(task) },
            // SAFETY: the lost runner's place is ours (State, Invariant 7).
            BeginPoll::Lost => unsafe { Self::complete(task, 0) },
            BeginPoll::Nothing => (),
            // SAFETY: the state says that no reference is left.
            BeginPoll::Dealloc => unsafe { Self::dealloc(task) },
        }
    }

    /// Polls the future and does what follows from it.
    ///
    /// # Safety
    ///
    /// - The caller is the runner, and gives away one reference.
    #[inline]
    unsafe fn poll(task: NonNull<Header>) {
        // SAFETY: the reference lasts until it is given back below.
        let cell = unsafe { Self::of(task) };
        let polled = {
            let _scope = IdScope::enter(task);
            // SAFETY: the reference outlasts the borrowed waker, which stays in this block.
            let waker = unsafe { waker::borrowed(task) };
            // SAFETY: the runner has the stage (State, Invariant 1), the task was never polled to its end, and
            // the allocation never moves.
            let poll = || unsafe { cell.stage.poll(&mut Context::from_waker(&waker)) };
            // SAFETY: we are the runner.
            unsafe { cell.in_span(Poll::is_ready, |error| Poll::Ready(Err(error)), poll) }
        };
        if let Poll::Ready(result) = polled {
            let result = result.map_err(|payload| JoinError::panicked(cell.header.id, payload));
            // SAFETY: as above, and a poll that ends has cleared the stage.
            unsafe { cell.stage.store(result) };
            // SAFETY: we are the runner, the output is stored, and the reference is given away.
            return unsafe { Self::complete(task, 1) };
        }
        match cell.header.state.end_poll() {
            EndPoll::Idle => (),
            // SAFETY: the state says that no reference is left.
            EndPoll::Dealloc => unsafe { Self::dealloc(task) },
            EndPoll::Reschedule => {
                // SAFETY: our own reference, given back after the scheduler has returned: it is in the task.
                let _keep = unsafe { Reference::from_raw(task) };
                // SAFETY: `end_poll` counted this one, and says that there is no other `Notified`.
                let notified = Notified(unsafe { Reference::from_raw(task) });
                cell.scheduler.yield_now(notified);
            }
            // SAFETY: we are still the runner and have our reference.
            EndPoll::Cancel => unsafe { Self::cancel(task) },
        }
    }

    /// Runs a poll, or the future's destructor, inside of the task's span. Where the subscriber panics, so has the task:
    /// `failed` makes of that what `f` would return.
    ///
    /// # Safety
    ///
    /// - The caller is the runner.
    #[inline]
    unsafe fn in_span<R>(
        &self,
        is_over: impl FnOnce(&R) -> bool,
        failed: impl FnOnce(Payload) -> R,
        f: impl FnOnce() -> R,
    ) -> R {
        if !cfg!(feature = "tracing") {
            return f();
        }
        let run = || self.header.span.run(is_over, f);
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
            // SAFETY: the runner has the stage; whatever is there, the task is over.
            if let Err(second) = unsafe { self.stage.clear() } {
                discard(second);
            }
            failed(payload)
        })
    }

    /// Drops the future and completes the task without an output.
    ///
    /// # Safety
    ///
    /// - The caller is the runner, and gives away one reference.
    #[cold]
    unsafe fn cancel(task: NonNull<Header>) {
        // SAFETY: the reference lasts until `complete`.
        let cell = unsafe { Self::of(task) };
        let id = cell.header.id;
        {
            let _scope = IdScope::enter(task);
            // SAFETY: the runner has the stage (State, Invariant 1).
            let clear = || unsafe { cell.stage.clear() };
            // SAFETY: we are the runner.
            let error = match unsafe { cell.in_span(|_| true, Err, clear) } {
                Ok(()) => JoinError::cancelled(id),
                Err(payload) => JoinError::panicked(id, payload),
            };
            // SAFETY: as above, and it was just cleared.
            unsafe { cell.stage.store(Err(error)) };
        }
        // SAFETY: we are the runner, the output is stored, and the reference is given away.
        unsafe { Self::complete(task, 1) }
    }

    /// Hands the output over, takes the task off its list, wakes the joiner.
    ///
    /// # Safety
    ///
    /// - The caller is the runner, has stored the output, and gives away `references`, which is one; or it completes a
    ///   lost task, whose runner's reference stays for ever, and `references` is none.
    unsafe fn complete(task: NonNull<Header>, mut references: usize) {
        // SAFETY: the runner's reference lasts until `release` below.
        let cell = unsafe { Self::of(task) };
        // SAFETY: a second value for our own reference; it is not dropped.
        let this = ManuallyDrop::new(TaskRef(unsafe { Reference::from_raw(task) }));
        // SAFETY: the runner is alone, or was lost.
        unsafe { cell.header.span.close(references == 0) };
        cell.scheduler.terminated(&this);
        let completed = cell.header.state.complete();
        if completed == Completed::Detached {
            // SAFETY: nobody joins, so the output is ours (State, Invariant 4).
            unsafe { Self::drop_output(task) };
        }

        if let Some(listed) = cell.scheduler.release(&this) {
            debug_assert_eq!(
                listed.0.as_raw(),
                task,
                "the scheduler released another task"
            );
            // Given back together with ours, in one step.
            mem::forget(listed);
            references += 1;
        }

        if completed == Completed::Watched {
            // SAFETY: `JOIN_WAKER` is set and the task complete: the slot is only read (State, Invariant 6).
            if let Some(waker) = unsafe { &*cell.header.join_slot.get() } {
                contain(|| waker.wake_by_ref());
            }
            match cell.header.state.finish_join_wake() {
                JoinWoken::LeaveWaker => (),
                JoinWoken::DropWaker => {
                    // SAFETY: both bits are clear, and we cleared the later one (State, Invariant 6).
                    let waker = unsafe { &mut *cell.header.join_slot.get() }.take();
                    contain(|| drop(waker));
                }
            }
        }

        match cell.header.state.release(references) {
            Released::Others => (),
            // SAFETY: that was the last reference.
            Released::Last => unsafe { Self::dealloc(task) },
        }
    }

    /// Schedules the task.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types.
    /// - The caller gives away one reference that a transition has counted for a new `Notified`, and keeps
    ///   another until this returns.
    unsafe fn schedule(task: NonNull<Header>) {
        // SAFETY: the caller keeps a reference.
        let cell = unsafe { Self::of(task) };
        // SAFETY: the reference was counted for this.
        let notified = Notified(unsafe { Reference::from_raw(task) });
        cell.scheduler.schedule(notified);
    }

    /// Cancels the task: here and now if nobody runs it, otherwise at the end of the current poll.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types.
    /// - The caller gives away one reference.
    unsafe fn shutdown(task: NonNull<Header>) {
        // SAFETY: the caller's reference lasts until it is given back below.
        let cell = unsafe { Self::of(task) };
        match cell.header.state.begin_shutdown() {
            // SAFETY: we are the runner, and have the caller's reference.
            BeginShutdown::Cancel => unsafe { Self::cancel(task) },
            // SAFETY: the caller's reference.
            BeginShutdown::Nothing => drop(unsafe { Reference::from_raw(task) }),
        }
    }

    /// Moves the output out.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types, is complete, and a reference lasts.
    /// - The output is the caller's (State, Invariant 4).
    /// - `output` is valid for writes and points to an initialised `Option<Result<F::Output, JoinError>>`.
    unsafe fn take_output(task: NonNull<Header>, output: *mut ()) {
        // SAFETY: a reference lasts (above).
        let cell = unsafe { Self::of(task) };
        let taken = if cell.header.state.load().is_lost() {
            // What others may still use is left alone, each time it is asked for.
            Some(Err(JoinError::overflowed(cell.header.id)))
        } else {
            // SAFETY: the output is the caller's, and with it the stage of a complete task.
            unsafe { cell.stage.take() }
        };
        // SAFETY: the type is the right one (above).
        unsafe { *output.cast::<Option<Result<F::Output, JoinError>>>() = taken };
    }

    /// Drops the output, if it was not taken.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types, is complete, and a reference lasts.
    /// - The output is the caller's (State, Invariant 4).
    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: a reference lasts (above).
        let cell = unsafe { Self::of(task) };
        if cell.header.state.load().is_lost() {
            return;
        }
        let _scope = DropScope::enter(task);
        // SAFETY: the output is the caller's, and with it the stage of a complete task.
        if let Err(payload) = unsafe { cell.stage.clear() } {
            discard(payload);
        }
    }

    /// Frees the task, with its future where nobody shut it down.
    ///
    /// # Safety
    ///
    /// - `task` came from [`allocate`] with these types.
    /// - No reference is left.
    #[cold]
    unsafe fn dealloc(task: NonNull<Header>) {
        // SAFETY: it came from a box of this type and nobody else has it (above).
        let cell = unsafe { Box::from_raw(task.cast::<Self>().as_ptr()) };
        let _scope = DropScope::enter(NonNull::from(&cell.header));
        // SAFETY: the whole task is ours.
        if let Err(payload) = unsafe { cell.stage.clear() } {
            discard(payload);
        }
    }
}
