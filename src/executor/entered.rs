//! What a thread is in the middle of, and what it may begin: guards of `enter`, `block_on`, `block_in_place`.
//!
//! All of it is thread-local, so inside tasks it belongs to an identity and goes with the poll that runs under it:
//! no other poll sees it before that one has ended (rule R3).
//!
//! | this thread            | may call `block_on`                        | may call `block_in_place`      |
//! |------------------------|--------------------------------------------|--------------------------------|
//! | is in nothing          | yes                                        | yes                            |
//! | is inside `block_on`   | no: it would not poll what it has to       | of a multi-thread runtime, or of a current-thread one's `Handle` |
//! | polls a task           | of a multi-thread runtime: the task waits, its thread goes on | on a multi-thread runtime      |
//! | is in `block_in_place` | yes                                        | yes                            |
//!
//! That guards of `enter` are dropped in the reverse order, and who may call `block_in_place`, follows Tokio.

use super::context;
use super::local;
use super::runtime::Handle;
use super::shared::Shared;
use super::task;
use crate::preempt::Critical;
use crate::preempt::morestack::safepoint;
use crate::stack::{self, Fiber};
use std::cell::Cell;

/// What this thread is in, the innermost of it. Tasks as such are not in here: those are fibers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entered {
    Nothing,
    /// `block_on` polls.
    Polls {
        may_block: bool,
    },
    /// The closure of `block_in_place`.
    InPlace,
}

thread_local! {
    static ENTERED: Cell<Entered> = const { Cell::new(Entered::Nothing) };
    /// Guards of `enter` that live.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The fiber that this code runs as; none on a plain thread.
fn fiber_here() -> Option<&'static Fiber> {
    // SAFETY: null, or the fiber that this code runs as, which lives as long as its thread.
    unsafe { stack::current().as_ref() }
}

/// Does the fiber belong to a current-thread runtime?
fn is_of_home(fiber: &Fiber) -> bool {
    // SAFETY: a fiber holds a reference to its runtime while it runs.
    unsafe { &*fiber.owner.cast::<Shared>() }.config.home
}

/// Does the calling code run as a fiber of this runtime?
pub(super) fn is_fiber_of(shared: &Shared) -> bool {
    fiber_here().is_some_and(|fiber| fiber.owner == std::ptr::from_ref(shared).cast())
}

/// Is this code a future being polled: on a fiber, or by `block_on` on a plain thread?
pub(super) fn is_polling() -> bool {
    fiber_here().is_some() || matches!(ENTERED.get(), Entered::Polls { .. })
}

/// Would a thread that waits here hold up what it polls? Not inside `block_in_place`.
pub(super) fn must_not_wait() -> bool {
    is_polling() && ENTERED.get() != Entered::InPlace
}

/// While it lives, a runtime is current on this thread. Part of [`EnterGuard`](super::runtime::EnterGuard), apart from
/// it because that one's lifetime is to end before its destructor runs.
#[derive(Debug)]
pub(super) struct Guard {
    before: Option<Handle>,
    depth: usize,
}

impl Guard {
    pub(super) fn new(handle: Handle) -> Guard {
        let depth = DEPTH.get() + 1;
        let before = context::replace(Some(handle));
        DEPTH.set(depth);
        Guard { before, depth }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if DEPTH.get() != self.depth {
            // While a panic goes through the guards, their order is nobody's choice.
            if std::thread::panicking() {
                return;
            }
            panic!(
                "guards of `Handle::enter` were dropped out of order: drop the one that was made last first"
            );
        }
        DEPTH.set(self.depth - 1);
        drop(context::replace(self.before.take()));
    }
}

/// While it lives, something is entered.
#[derive(Debug)]
pub(super) struct Inside {
    was: Entered,
}

impl Inside {
    fn new(what: Entered) -> Inside {
        Inside {
            was: ENTERED.replace(what),
        }
    }

    /// `block_on` begins to poll. Inside it, `block_in_place` is allowed if `may_block`. `None`: a plain thread that
    /// polls already, or a task of a current-thread runtime, would block what it polls.
    pub(super) fn block_on(may_block: bool) -> Option<Inside> {
        let refused = match (fiber_here(), ENTERED.get()) {
            (_, Entered::InPlace) => false,
            (Some(fiber), _) => is_of_home(fiber),
            (None, entered) => matches!(entered, Entered::Polls { .. }),
        };
        (!refused).then(|| Inside::new(Entered::Polls { may_block }))
    }

    /// Is `block_on` called inside a task which has not said that it blocks, on a thread that would have to drive the
    /// runtime it is called for?
    pub(super) fn is_plain_task() -> bool {
        fiber_here().is_some() && ENTERED.get() != Entered::InPlace
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        ENTERED.set(self.was);
    }
}

/// Runs a closure that blocks, right here.
///
/// Tasks may block anyway here: a thread that is blocked in the kernel loses its processor to another, and one that
/// computes is preempted. So this does nothing that others would need. It says, as on Tokio, that the closure may
/// block: inside it `block_on` may be called where it is refused otherwise, of current-thread runtimes as well, and
/// a runtime may be dropped. What runs concurrently in the same task, say in the other arms of a `join!`, waits.
///
/// The closure runs under the same thread identity and sees the same thread-locals as the code around it. While it
/// runs, no other task sees them. It cannot be cancelled: a shutdown waits for it like for any poll.
///
/// Outside of runtimes, and on threads of [`spawn_blocking`](crate::task::spawn_blocking), it just calls the closure.
///
/// # Panics
///
/// On a current-thread runtime, inside [`Runtime::block_on`](crate::runtime::Runtime::block_on) and in tasks. While a
/// [`LocalSet`](crate::task::LocalSet) is polled or dropped, in its tasks or beside them: all of those would wait. If the
/// closure panics.
///
/// ```
/// use preemptive::runtime::Handle;
/// use preemptive::task::block_in_place;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let task = preemptive::spawn(async {
///     block_in_place(|| Handle::current().block_on(async { 6 * 7 }))
/// });
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn block_in_place<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    safepoint();
    let (fiber, entered) = (fiber_here(), ENTERED.get());
    let at_home = fiber.is_some_and(is_of_home);
    let allowed = match entered {
        Entered::InPlace => true,
        // A task that the home fiber polls sees what its `block_on` has set, but is not that.
        Entered::Polls { may_block } => may_block && !(at_home && task::try_id().is_some()),
        Entered::Nothing => !at_home,
    };
    if !allowed || local::is_polling() {
        panic!(
            "can call blocking only when running on the multi-threaded runtime: a current-thread runtime, or a set \
             of local tasks, has no other thread to go on meanwhile; use `spawn_blocking`"
        );
    }
    let _inside =
        (entered != Entered::Nothing || fiber.is_some()).then(|| Inside::new(Entered::InPlace));
    f()
}

/// The number of the processor that the calling task runs on, as
/// [`RuntimeMetrics`](crate::runtime::RuntimeMetrics) numbers them.
///
/// Tasks of a multi-thread runtime get 0 up to `worker_threads` less one. On a current-thread runtime it is 0, in tasks
/// and in the future that `block_on` polls, if it is this thread that runs the tasks.
///
/// `None` elsewhere: on plain threads, those inside `block_on` of a multi-thread runtime and those of
/// [`spawn_blocking`](crate::task::spawn_blocking) included; and in a poll that goes on without a processor, because it
/// has been blocked in the kernel, until it gets one again.
///
/// Unlike Tokio's it may change at any instruction, not just at an `.await`: a poll that was preempted goes on on
/// whichever processor is free. So it is good for statistics, not for indexing what others must not touch.
///
/// ```
/// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
/// let index = runtime.block_on(runtime.spawn(async { preemptive::runtime::worker_index() }))?;
/// assert!(index.is_none_or(|index| index < 2));
/// assert_eq!(preemptive::runtime::worker_index(), None);
/// # std::io::Result::Ok(())
/// ```
pub fn worker_index() -> Option<usize> {
    let critical = Critical::enter();
    let fiber = critical.fiber()?;
    // SAFETY: a fiber holds a reference to its runtime while it runs.
    let shared = unsafe { &*fiber.owner.cast::<Shared>() };
    shared
        .processor_here(&critical)
        .map(|processor| processor.index)
}
