//! Tasks that are not `Send`: sets of them, and a runtime that is one.
//!
//! A [`LocalSet`] is a future. Whoever polls it, the future given to `block_on` nearly always, runs the set's tasks, one
//! after the other, under its own thread identity. It knows nothing of processors, workers or fibers, and they know
//! nothing of it: to the scheduler a set and all of its tasks are one poll.
//!
//! # Rule R2: tasks of one set never interleave inside a poll
//!
//! They are polled by plain calls in a loop, so the next begins when the one before has returned. If one hogs, it is the
//! poll *around* the loop that is preempted, loop and all; nobody else polls the set meanwhile, because that poll has not
//! ended, and nobody else could, because the set does not leave its identity. What may run meanwhile are tasks that are
//! `Send`, under other identities: they cannot have a reference to anything of the set that is not `Sync`.
//!
//! [`LocalRuntime`] is a current-thread runtime with a set of its own, which every `block_on` polls together with its
//! future. `shared` has what a set's tasks share with their wakers.

mod inbox;
mod pollers;
mod runtime;
mod shared;

pub use runtime::{LocalOptions, LocalRuntime};
pub(super) use shared::Local;

use super::about::Id;
use super::context;
use super::runtime::Runtime;
use super::task::{JoinHandle, Seed};
use super::trace::{Kind, Origin};
use crate::preempt::morestack::safepoint;
use crate::primitives::Arc;
use pollers::Pollers;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

thread_local! {
    /// The set that `spawn_local` means here.
    static CURRENT: RefCell<Option<Arc<Local>>> = const { RefCell::new(None) };
    /// A set is being polled, or ended, by this code.
    static IN_POLL: Cell<bool> = const { Cell::new(false) };
}

/// Is this code part of a poll of some set? Blocking here would hold up all of its tasks.
pub(super) fn is_polling() -> bool {
    IN_POLL.get()
}

/// While it lives, a set is polled here.
struct Polls {
    was: bool,
}

impl Polls {
    fn begin() -> Polls {
        Polls {
            was: IN_POLL.replace(true),
        }
    }
}

impl Drop for Polls {
    fn drop(&mut self) {
        IN_POLL.set(self.was);
    }
}

/// The two texts are as Tokio has them: programs and tests look for them.
const NO_SET: &str =
    "`spawn_local` called from outside of a `task::LocalSet` or `runtime::LocalRuntime`";
const OTHER_THREAD: &str =
    "Local tasks can only be spawned on a LocalRuntime from the thread the runtime was created on";

/// Starts a task that is not `Send`, on the current [`LocalSet`] or [`LocalRuntime`].
///
/// The task runs under the identity of the thread that drives the set, whenever the set is polled.
///
/// # Panics
///
/// Outside of a set and of a local runtime; in a local runtime, on another thread than its own, and in a task that was
/// started by `spawn` and is polled under a spare identity
/// ([`Builder::home_only`](crate::runtime::Builder::home_only) says when).
///
/// ```
/// use preemptive::task::{LocalSet, spawn_local};
/// use std::rc::Rc;
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let set = LocalSet::new();
/// let answer = set
///     .run_until(async {
///         let not_send = Rc::new(42);
///         spawn_local(async move { *not_send }).await.unwrap()
///     })
///     .await;
/// assert_eq!(answer, 42);
/// # });
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let origin = Origin::of::<F>(Location::caller());
    spawn_local_from(future, Seed::new(Kind::Local, &origin))
}

/// The same, with what the task begins with.
#[track_caller]
pub(super) fn spawn_local_from<F>(future: F, seed: Seed) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    safepoint();
    match context::with_current(|handle| handle.shared.local.get().map(Arc::clone)) {
        Some(Some(set)) if set.is_owned_here() => return set.spawn(future, seed),
        Some(Some(_)) => panic!("{OTHER_THREAD}"),
        _ => (),
    }
    match current() {
        Some(set) => set.spawn(future, seed),
        None => panic!("{NO_SET}"),
    }
}

fn current() -> Option<Arc<Local>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Makes a set current; returns what was. Without effect where the thread's locals are being destroyed.
fn replace(set: Option<Arc<Local>>) -> Option<Arc<Local>> {
    CURRENT
        .try_with(|current| current.replace(set))
        .ok()
        .flatten()
}

/// A set of tasks that are not `Send`, and a future that runs them.
///
/// Its tasks run only while the set is polled: inside [`run_until`](Self::run_until) or [`block_on`](Self::block_on), or
/// when the set itself is awaited, which ends when all of its tasks have. They take turns under one thread identity, and
/// a task of the set is never interrupted by another in the middle of a poll, so `Rc` and `RefCell` are as safe between
/// them as elsewhere. A task that hogs holds up its set, but nothing else: where the set is polled inside `block_on` of a
/// multi-thread runtime the workers go on, and on a current-thread runtime tasks that are `Send` do.
///
/// A poll of the set runs at most 61 tasks; then others have their turn.
///
/// Dropping the set cancels its tasks: their futures are dropped, the oldest first.
///
/// # Panics
///
/// A task's panic stays in the task, for whoever joins it.
///
/// ```
/// use preemptive::task::LocalSet;
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// # let runtime = preemptive::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let count = Rc::new(Cell::new(0));
/// let set = LocalSet::new();
/// for _ in 0..10 {
///     let count = count.clone();
///     set.spawn_local(async move {
///         let before = count.get();
///         count.set(before + 1);
///     });
/// }
/// set.await;
/// assert_eq!(count.get(), 10);
/// # });
/// ```
pub struct LocalSet {
    shared: Arc<Local>,
    pollers: Pollers,
    id: Id,
    _not_send: PhantomData<*const ()>,
}

/// While it lives, a [`LocalSet`] is current on this thread. Made by [`LocalSet::enter`].
///
/// ```
/// use preemptive::task::{LocalEnterGuard, LocalSet, spawn_local};
///
/// let runtime = preemptive::runtime::Runtime::new().unwrap();
/// let (outer, inner) = (LocalSet::new(), LocalSet::new());
/// let _outer: LocalEnterGuard = outer.enter();
/// {
///     let _inner: LocalEnterGuard = inner.enter();
///     spawn_local(std::future::pending::<()>());
/// }
/// // `outer` is current again.
/// let task = spawn_local(async { 42 });
/// assert_eq!(outer.block_on(&runtime, task).unwrap(), 42);
/// ```
#[must_use = "the set is current only while the guard lives"]
pub struct LocalEnterGuard {
    before: Option<Arc<Local>>,
    _not_send: PhantomData<*const ()>,
}

impl LocalEnterGuard {
    fn new(set: &Arc<Local>) -> LocalEnterGuard {
        LocalEnterGuard {
            before: replace(Some(Arc::clone(set))),
            _not_send: PhantomData,
        }
    }
}

impl Drop for LocalEnterGuard {
    fn drop(&mut self) {
        replace(self.before.take());
    }
}

impl fmt::Debug for LocalEnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEnterGuard").finish()
    }
}

impl LocalSet {
    /// An empty set, of the calling thread.
    ///
    /// ```
    /// use preemptive::task::LocalSet;
    /// use preemptive::time::{Duration, timeout};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// // A set without tasks is done at once.
    /// assert!(timeout(Duration::ZERO, LocalSet::new()).await.is_ok());
    /// # });
    /// ```
    pub fn new() -> LocalSet {
        LocalSet {
            shared: Arc::new(Local::new()),
            pollers: Pollers::new(),
            id: Id::next(),
            _not_send: PhantomData,
        }
    }

    /// Makes the set current while the guard lives: [`spawn_local`] puts tasks on it. They run when the set is polled.
    ///
    /// ```
    /// use preemptive::task::{LocalSet, spawn_local};
    ///
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let set = LocalSet::new();
    /// let task = {
    ///     let _guard = set.enter();
    ///     spawn_local(async { 42 })
    /// };
    /// assert_eq!(set.block_on(&runtime, task).unwrap(), 42);
    /// ```
    pub fn enter(&self) -> LocalEnterGuard {
        LocalEnterGuard::new(&self.shared)
    }

    /// Starts a task on this set. It runs when the set is polled next, whether or not its handle is awaited.
    ///
    /// Unlike [`spawn_local`], this works anywhere on the set's thread.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let set = preemptive::task::LocalSet::new();
    /// let done = Rc::new(Cell::new(false));
    /// let inside = done.clone();
    /// set.spawn_local(async move { inside.set(true) });
    /// assert!(!done.get());
    /// runtime.block_on(set);
    /// assert!(done.get());
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let origin = Origin::of::<F>(Location::caller());
        self.spawn_local_from(future, Seed::new(Kind::Local, &origin))
    }

    /// The same, with what the task begins with.
    #[track_caller]
    pub(super) fn spawn_local_from<F>(&self, future: F, seed: Seed) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        safepoint();
        self.shared.spawn(future, seed)
    }

    /// Runs a future to its end on the calling thread, with `runtime` current, and the set's tasks meanwhile.
    ///
    /// # Panics
    ///
    /// If the future panics; where [`Runtime::block_on`] may not be called.
    ///
    /// ```
    /// use preemptive::task::{LocalSet, spawn_local};
    ///
    /// let runtime = preemptive::runtime::Runtime::new().unwrap();
    /// let set = LocalSet::new();
    /// let answer = set.block_on(&runtime, async {
    ///     let not_send = std::rc::Rc::new(42);
    ///     spawn_local(async move { *not_send }).await.unwrap()
    /// });
    /// assert_eq!(answer, 42);
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(self.run_until(future))
    }

    /// Runs a future to its end, and the set's tasks meanwhile. In the future, [`spawn_local`] puts tasks on this set.
    ///
    /// Tasks that have not ended by then stay on the set, and go on when it is polled again. Several such futures may run
    /// the set by turns, each for all of its tasks.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future`; the set's tasks stay.
    ///
    /// ```
    /// use preemptive::sync::channel;
    /// use preemptive::task::{LocalSet, spawn_local};
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let set = LocalSet::new();
    /// let (sender, receiver) = channel(1);
    /// let task = set.run_until(async { spawn_local(async move { receiver.recv().await }) }).await;
    /// // The task is still on the set.
    /// assert!(!task.is_finished());
    /// sender.send(42).await.unwrap();
    /// assert_eq!(set.run_until(task).await.unwrap(), Some(42));
    /// # });
    /// ```
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        let poller = self.pollers.enter();
        let mut future = pin!(future);
        poll_fn(|context| {
            let mut output = Poll::Pending;
            self.poll_with(context, |context| {
                output = future.as_mut().poll(context);
                output.is_pending()
            });
            if output.is_pending() {
                poller.polls(context.waker());
            }
            output
        })
        .await
    }

    /// One poll of the set. `first` runs before the tasks, with the set current, and says whether they are to run.
    fn poll_with(&self, context: &mut Context<'_>, first: impl FnOnce(&mut Context<'_>) -> bool) {
        safepoint();
        let (_current, _polls) = (self.enter(), Polls::begin());
        let waker = context.waker().clone();
        self.shared.poll(&waker, || first(context));
    }

    /// Which set it is: no two sets or runtimes of a process have the same.
    ///
    /// ```
    /// use preemptive::task::LocalSet;
    ///
    /// assert_ne!(LocalSet::new().id(), LocalSet::new().id());
    /// ```
    pub fn id(&self) -> Id {
        self.id
    }

    /// Cancels all tasks, with the set current as far as that is possible.
    fn close(&self) {
        let (_current, _polls) = (self.enter(), Polls::begin());
        self.shared.close();
    }
}

impl Future for LocalSet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_with(context, |_| true);
        if self.shared.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Default for LocalSet {
    fn default() -> LocalSet {
        LocalSet::new()
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").finish_non_exhaustive()
    }
}
