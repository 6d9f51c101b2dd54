//! Tasks whose stack has ended: what becomes of them, and of the fiber. `preempt::overflow` finds them.

use super::shared::Shared;
use super::task::{Header, Notified};
use super::timeline::Why;
use super::worker::Worker;
use crate::fatal::fatal;
use crate::primitives::atomic::Ordering;
use crate::stack::{Fate, Fiber};
use std::ptr::NonNull;

/// What becomes of the process when a task overflows its stack: see [`Builder::on_stack_overflow`].
///
/// [`Builder::on_stack_overflow`]: super::Builder::on_stack_overflow
///
/// ```
/// use preemptive::runtime::OnStackOverflow;
///
/// assert_eq!(OnStackOverflow::default(), OnStackOverflow::Abort);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStackOverflow {
    /// A report on standard error says which task it was, where it was spawned, and in which functions it is; then the
    /// process aborts.
    #[default]
    Abort,
    /// The task alone ends; the other tasks, and the process, go on. Its [`JoinHandle`] yields an error,
    /// [`is_stack_overflow`].
    ///
    /// A task that has overflowed is **neither finished nor dropped**, for its stack cannot be unwound: other threads may
    /// still borrow from it. What it leaves behind stays, until the process ends:
    ///
    /// - *Locks that it held stay locked.* If the overflow came inside of `malloc`, or while it was printing, that is
    ///   `malloc`'s lock, or standard output's, and the process may hang when it next needs one. Whoever chooses this
    ///   must know what tasks do at the bottom of their recursions.
    /// - *Memory.* Its whole stack, which is in use to the last page ([`Builder::thread_stack_size`]), some 45 KiB of the
    ///   fiber's other stacks and of the kernel's, and all that the future owns. One thread waits for ever. After the
    ///   first one, the runtime's own memory is not returned either when it is dropped.
    ///
    /// A line on standard error says which task it was. The process aborts all the same, and says why, where the task
    /// cannot be left: on a current-thread runtime, while code of the runtime's runs for it (it spawns or wakes a task, say),
    /// inside of a signal handler, under a signal mask of its own, outside of a task's poll (a waker that a timer wakes), in a
    /// task of a [`LocalSet`], whose stack is that of whoever polls the set, and once [`Runtime::shutdown_timeout`] has given
    /// its poll up.
    ///
    /// [`LocalSet`]: crate::task::LocalSet
    /// [`JoinHandle`]: crate::task::JoinHandle
    /// [`is_stack_overflow`]: crate::task::JoinError::is_stack_overflow
    /// [`Builder::thread_stack_size`]: super::Builder::thread_stack_size
    /// [`Runtime::shutdown_timeout`]: super::runtime::Runtime::shutdown_timeout
    ///
    /// ```
    /// use preemptive::runtime::{Builder, OnStackOverflow};
    ///
    /// /// A parser that trusts its input.
    /// fn depth(text: &[u8]) -> usize {
    ///     match text.split_first() {
    ///         Some((b'(', rest)) => 1 + std::hint::black_box(depth(rest)),
    ///         _ => 0,
    ///     }
    /// }
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .on_stack_overflow(OnStackOverflow::FailTask)
    ///     .build()?;
    /// let (honest, hostile) = (vec![b'('; 100], vec![b'('; 100_000_000]);
    /// let honest = runtime.spawn(async move { depth(&honest) });
    /// let hostile = runtime.spawn(async move { depth(&hostile) });
    /// assert_eq!(runtime.block_on(honest).unwrap(), 100);
    /// assert!(runtime.block_on(hostile).unwrap_err().is_stack_overflow());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    FailTask,
}

/// What is to become of the poll in progress on `fiber`. In a handler, under the fiber's identity.
pub(super) fn fate(shared: &Shared, fiber: &Fiber) -> Fate {
    match shared.config.on_overflow {
        OnStackOverflow::Abort => return Fate::Aborts,
        OnStackOverflow::FailTask => {}
    }
    if shared.config.home {
        return Fate::Cannot("this is a current-thread runtime, which cannot go on without it");
    }
    if shared.shutdown.is_abandoned() {
        return Fate::Cannot("its runtime was shut down and has left it");
    }
    match Notified::polled_here() {
        // One task can drop another, whose destructors count as its own code.
        Some((id, task)) if id.get() == fiber.task.load(Ordering::Relaxed) => {
            Fate::Fails(task.as_ptr().cast())
        }
        Some(_) => Fate::Cannot(
            "a task ran inside of it, one of a local set for instance, which cannot go on without it",
        ),
        None => Fate::Cannot("it was not in the middle of a task's poll"),
    }
}

/// A fiber has left for good: it is put nowhere, and the task that was lost with it where somebody completes it.
pub(super) unsafe extern "sysv64" fn abandoned(argument: *mut ()) -> ! {
    // SAFETY: `mcall` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    let shared = worker.shared();
    let fiber = worker.detach();
    worker.keep_signal_stack(fiber);
    if let Some(recorder) = &worker.recorder {
        recorder.leaves(worker, fiber, Why::Overflowed);
    }
    fiber.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
    shared.counters.add(&shared.counters.overflows);
    shared.supply.fiber_count.fetch_sub(1, Ordering::SeqCst);
    let Some(task) = NonNull::new(fiber.lost_task().cast::<Header>()) else {
        fatal!("a fiber that has lost no task was left for good")
    };
    // SAFETY: it came from `fate`, and the code that was in the middle of its poll has just left its stack for ever.
    shared.global.push(unsafe { Notified::lost(task) });
    shared.submitted();
    match worker.processor() {
        Some(processor) => worker.dispatch(processor),
        None => {
            worker.target.arm(u64::MAX);
            worker.spare()
        }
    }
}
