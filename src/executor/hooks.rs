//! Functions of the user's that a runtime calls when its threads go idle and when its tasks come and go.
//!
//! They are user code, so they run preemptibly, outside of critical sections, like polls. A hook that spawns or wakes a
//! task before a thread sleeps is seen: what `told` does after it is the whole of Park (see `sleep`), which looks
//! at every queue once more. While a hook runs, nobody counts on its processor to find anything.
//!
//! What is not set costs a branch where threads go idle, where tasks are spawned and where they end; polls are asked about
//! together with their histogram, by one flag.

use super::builder::Builder;
use super::config::Hook;
use super::task::{Id, Notified, TaskRef};
use crate::primitives::Arc;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// What a hook is told about a task.
///
/// ```
/// use preemptive::runtime::{Builder, TaskMeta};
///
/// let (told, lines) = std::sync::mpsc::channel();
/// let runtime = Builder::new_current_thread()
///     .on_task_spawn(move |task: &TaskMeta<'_>| {
///         told.send(format!("{} was spawned at {}", task.id(), task.spawned_at())).unwrap();
///     })
///     .build()?;
/// runtime.spawn(async {});
/// assert!(lines.try_recv().unwrap().contains("was spawned at"));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TaskMeta<'a> {
    id: Id,
    spawned_at: &'static Location<'static>,
    // Tokio's has a lifetime.
    _borrowed: PhantomData<&'a ()>,
}

impl TaskMeta<'_> {
    pub(crate) fn new(id: Id, spawned_at: &'static Location<'static>) -> Self {
        TaskMeta {
            id,
            spawned_at,
            _borrowed: PhantomData,
        }
    }

    pub(crate) fn of(task: &Notified) -> Self {
        TaskMeta::new(task.id(), task.location())
    }

    /// Which task it is: what [`task::id`](crate::task::id) returns inside it.
    ///
    /// ```
    /// let (told, ids) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .on_task_spawn(move |task| told.send(task.id()).unwrap())
    ///     .build()?;
    /// let task = runtime.spawn(async {});
    /// assert_eq!(ids.try_recv(), Ok(task.id()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn id(&self) -> Id {
        self.id
    }

    /// Where in the source it was spawned.
    ///
    /// ```
    /// let (told, places) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .on_task_spawn(move |task| told.send(task.spawned_at()).unwrap())
    ///     .build()?;
    /// let line = line!() + 1;
    /// runtime.spawn(async {});
    /// let place = places.try_recv().unwrap();
    /// assert_eq!((place.file(), place.line()), (file!(), line));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }
}

/// Something to run for a task.
pub(crate) type TaskHook = Arc<dyn Fn(&TaskMeta<'_>) + Send + Sync>;

/// All hooks but those of threads that start and stop.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    park: Option<Hook>,
    unpark: Option<Hook>,
    task_spawn: Option<TaskHook>,
    task_terminate: Option<TaskHook>,
    before_poll: Option<TaskHook>,
    after_poll: Option<TaskHook>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("parks", &self.watch_parks())
            .field("spawns", &self.task_spawn.is_some())
            .field("terminations", &self.task_terminate.is_some())
            .field("polls", &self.watch_polls())
            .finish()
    }
}

/// Runs a hook whose panic is nobody's: the panic hook has reported it.
pub(super) fn contain(hook: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(hook)) {
        // Its destructor may panic as well.
        std::mem::forget(payload);
    }
}

fn call(hook: &Option<TaskHook>, task: &TaskMeta<'_>) {
    if let Some(hook) = hook {
        contain(|| hook(task));
    }
}

impl Hooks {
    /// Is anybody told when threads go idle?
    pub(crate) fn watch_parks(&self) -> bool {
        self.park.is_some() || self.unpark.is_some()
    }

    /// Is anybody told when threads go on?
    pub(crate) fn watch_unparks(&self) -> bool {
        self.unpark.is_some()
    }

    /// Is anybody told of polls?
    pub(crate) fn watch_polls(&self) -> bool {
        self.before_poll.is_some() || self.after_poll.is_some()
    }

    /// Is anybody told of tasks that are spawned?
    pub(crate) fn watch_spawns(&self) -> bool {
        self.task_spawn.is_some()
    }

    pub(crate) fn park(&self) {
        self.park.iter().for_each(|hook| contain(|| hook()));
    }

    pub(crate) fn unpark(&self) {
        self.unpark.iter().for_each(|hook| contain(|| hook()));
    }

    /// Its panic is that of whoever spawns.
    pub(crate) fn task_spawn(&self, task: &TaskRef) {
        if let Some(hook) = &self.task_spawn {
            hook(&TaskMeta::new(task.id(), task.location()));
        }
    }

    #[inline]
    pub(crate) fn task_terminate(&self, task: &TaskRef) {
        if self.task_terminate.is_some() {
            self.tell_termination(task);
        }
    }

    #[cold]
    fn tell_termination(&self, task: &TaskRef) {
        call(
            &self.task_terminate,
            &TaskMeta::new(task.id(), task.location()),
        );
    }

    pub(crate) fn before_poll(&self, task: &TaskMeta<'_>) {
        call(&self.before_poll, task);
    }

    pub(crate) fn after_poll(&self, task: &TaskMeta<'_>) {
        call(&self.after_poll, task);
    }
}

/// Hooks. There is one of each: setting it again replaces it.
///
/// They run as code of the runtime's threads with the runtime current, may spawn and wake, may be preempted, and should
/// be short: a thread that goes idle, and a task, wait for theirs. One that panics is reported by the panic hook, and the
/// runtime goes on.
impl Builder {
    /// Runs `hook` when a thread has found nothing to do and is about to sleep.
    ///
    /// If the hook wakes or spawns a task, the thread does not sleep. Either way [`on_thread_unpark`] follows, under the
    /// same thread identity: the two come in pairs. On a current-thread runtime it is the thread inside `block_on` that
    /// runs both, as long as it is the one that runs the tasks. A thread that is blocked in the middle of a poll is not
    /// idle, and one that is inside `block_on` of a multi-thread runtime is no thread of it.
    ///
    /// [`on_thread_unpark`]: Self::on_thread_unpark
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let parks = Arc::new(AtomicUsize::new(0));
    /// let count = parks.clone();
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .on_thread_park(move || { count.fetch_add(1, Ordering::Relaxed); })
    ///     .build()?;
    /// runtime.block_on(async { preemptive::time::sleep(std::time::Duration::from_millis(1)).await });
    /// assert!(parks.load(Ordering::Relaxed) > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_park<F: Fn() + Send + Sync + 'static>(&mut self, hook: F) -> &mut Self {
        self.config.hooks.park = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` when a thread that was idle goes on, before it does anything else: the other half of
    /// [`on_thread_park`](Self::on_thread_park).
    ///
    /// ```
    /// let (told, unparks) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .on_thread_unpark(move || { told.send("there is something to do").unwrap(); })
    ///     .build()?;
    /// while unparks.try_recv().is_err() {
    ///     runtime.block_on(runtime.spawn(async {}))?;
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_unpark<F: Fn() + Send + Sync + 'static>(&mut self, hook: F) -> &mut Self {
        self.config.hooks.unpark = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` for every task that is spawned, on the thread that spawns it and before the task can run.
    ///
    /// A hook that spawns on the same runtime is called for that task as well. Closures of `spawn_blocking` are no
    /// tasks, and local tasks, those of a `LocalSet` or a `LocalRuntime`, are not told of.
    ///
    /// # Panics
    ///
    /// If it panics, so does the call that spawns, and the task is cancelled.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let alive = Arc::new(AtomicUsize::new(0));
    /// let (more, less) = (alive.clone(), alive.clone());
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .on_task_spawn(move |_| { more.fetch_add(1, Ordering::Relaxed); })
    ///     .on_task_terminate(move |_| { less.fetch_sub(1, Ordering::Relaxed); })
    ///     .build()?;
    /// let task = runtime.spawn(std::future::pending::<()>());
    /// assert_eq!(alive.load(Ordering::Relaxed), 1);
    /// task.abort();
    /// assert!(runtime.block_on(task).is_err());
    /// assert_eq!(alive.load(Ordering::Relaxed), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_task_spawn<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.config.hooks.task_spawn = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` when a task has ended, however it did: its future is dropped, whoever awaits it does not know yet.
    ///
    /// Once for every task that [`on_task_spawn`](Self::on_task_spawn) has seen, which has an example.
    ///
    /// ```
    /// let (told, ended) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .on_task_terminate(move |task| told.send(task.id()).unwrap())
    ///     .build()?;
    /// let task = runtime.spawn(async {});
    /// let id = task.id();
    /// runtime.block_on(task)?;
    /// assert_eq!(ended.try_recv(), Ok(id));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_task_terminate<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.config.hooks.task_terminate = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` before every poll of a task, under the thread identity that polls it.
    ///
    /// A poll that is preempted, or blocks, and goes on later is one poll. So is a task that is cancelled when its turn
    /// comes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let polls = Arc::new(AtomicUsize::new(0));
    /// let count = polls.clone();
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .on_before_task_poll(|task| println!("{} begins", task.id()))
    ///     .on_after_task_poll(move |_| { count.fetch_add(1, Ordering::Relaxed); })
    ///     .build()?;
    /// runtime.block_on(runtime.spawn(preemptive::task::yield_now()))?;
    /// drop(runtime);
    /// assert_eq!(polls.load(Ordering::Relaxed), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_before_task_poll<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.config.hooks.before_poll = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` after every poll of a task: the other half of [`on_before_task_poll`](Self::on_before_task_poll),
    /// which has an example. After the last poll whoever awaits the task may be on already.
    ///
    /// ```
    /// let (told, polled) = std::sync::mpsc::channel();
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .on_after_task_poll(move |task| told.send(task.id()).unwrap())
    ///     .build()?;
    /// let task = runtime.spawn(preemptive::task::yield_now());
    /// let id = task.id();
    /// runtime.block_on(task)?;
    /// assert_eq!([polled.recv(), polled.recv()], [Ok(id), Ok(id)]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_after_task_poll<F>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.config.hooks.after_poll = Some(Arc::new(hook));
        self
    }
}
