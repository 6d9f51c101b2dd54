//! The pool behind `spawn_blocking`: ordinary threads that run closures to their end.
//!
//! Blocking inside a task is allowed here, and does no harm to others. The pool is for what is better off on
//! a thread of its own: many long blocking calls at once, or code that needs a kernel thread to itself.

use super::context;
use super::hooks;
use super::runtime::Handle;
use super::shared::Shared;
use super::task::{self, JoinHandle, Notified, Schedule, Seed, TaskRef};
use crate::primitives::{Arc, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct BlockingPool {
    state: Mutex<State>,
    wanted: Condvar,
    /// A thread has ended.
    ended: Condvar,
    max_threads: usize,
    keep_alive: Duration,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Threads that have not come to look for a job yet.
    starting: usize,
    closed: bool,
}

/// A closure on its way to a thread. Both references keep its task alive.
#[derive(Debug)]
struct Job {
    task: TaskRef,
    run: Notified,
}

/// Blocking closures are run once and never woken.
#[derive(Clone, Debug)]
struct RunOnce;

impl Schedule for RunOnce {
    fn schedule(&self, task: Notified) {
        drop(task);
    }

    fn yield_now(&self, task: Notified) {
        drop(task);
    }

    fn release(&self, _task: &TaskRef) -> Option<TaskRef> {
        None
    }
}

/// The future that calls the closure at its only poll.
struct Call<F>(Option<F>);

// Nothing in it is ever pinned.
impl<F> Unpin for Call<F> {}

impl<F: FnOnce() -> R, R> Future for Call<F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        match self.0.take() {
            Some(call) => Poll::Ready(call()),
            None => Poll::Pending,
        }
    }
}

impl BlockingPool {
    pub(crate) fn new(max_threads: usize, keep_alive: Duration) -> BlockingPool {
        BlockingPool {
            state: Mutex::new(State::default()),
            wanted: Condvar::new(),
            ended: Condvar::new(),
            max_threads,
            keep_alive,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.lock().threads
    }

    /// Those of them that wait for a closure.
    pub(crate) fn idle(&self) -> usize {
        self.lock().idle
    }

    /// Closures that wait for one.
    pub(crate) fn queued(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Takes no more closures. Those that no thread is on its way to are cancelled.
    pub(crate) fn close(&self) {
        let jobs = {
            let mut state = self.lock();
            state.closed = true;
            let run = (state.idle + state.starting).min(state.jobs.len());
            state.jobs.split_off(run)
        };
        self.wanted.notify_all();
        jobs.into_iter().for_each(Job::cancel);
    }

    /// Waits until every thread has ended; false: `deadline` passed first.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.threads > 0 {
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self
                    .ended
                    .wait(state)
                    .unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    self.ended
                        .wait_timeout(state, left)
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .0
                }
            };
        }
        true
    }
}

impl Job {
    fn cancel(self) {
        let Job { task, run } = self;
        task.shutdown();
        drop(run);
    }

    fn run(self) {
        self.run.run();
        drop(self.task);
    }
}

/// Runs `f` on a thread of the pool.
pub(crate) fn spawn<F, R>(shared: &Arc<Shared>, f: F, seed: Seed) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let (task, run, handle) = task::spawn(Call(Some(f)), RunOnce, seed);
    let job = Job { task, run };
    let pool = &shared.blocking;
    let mut state = pool.lock();
    if state.closed {
        drop(state);
        job.cancel();
        return handle;
    }
    // Before another thread can end it.
    shared.hold_clock();
    state.jobs.push_back(job);
    let needed = state.idle < state.jobs.len() && state.threads < pool.max_threads;
    if !needed {
        drop(state);
        pool.wanted.notify_one();
        return handle;
    }
    state.threads += 1;
    state.starting += 1;
    drop(state);
    let arc = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name(shared.config.thread_name.of_blocking())
        .spawn(move || work(&arc));
    if let Err(error) = spawned {
        let mut state = pool.lock();
        state.threads -= 1;
        state.starting -= 1;
        if state.threads == 0 {
            // Nobody will ever run it.
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            for job in jobs {
                job.cancel();
                shared.let_clock_go();
            }
            panic!(
                "cannot create a thread for spawn_blocking \
                 (raise RLIMIT_NPROC or lower Builder::max_blocking_threads): {error}"
            );
        }
    }
    handle
}

/// A thread of the pool.
fn work(shared: &Arc<Shared>) {
    context::replace(Some(Handle {
        shared: Arc::clone(shared),
    }));
    if let Some(hook) = &shared.config.on_thread_start {
        hooks::contain(|| hook());
    }
    let pool = &shared.blocking;
    let mut state = pool.lock();
    state.starting -= 1;
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job.run();
            // Whoever awaits it has been woken.
            shared.let_clock_go();
            state = pool.lock();
            continue;
        }
        if state.closed {
            break;
        }
        state.idle += 1;
        let (back, waited) = pool
            .wanted
            .wait_timeout(state, pool.keep_alive)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        state = back;
        state.idle -= 1;
        if waited.timed_out() && state.jobs.is_empty() {
            break;
        }
    }
    drop(state);
    if let Some(hook) = &shared.config.on_thread_stop {
        hooks::contain(|| hook());
    }
    context::replace(None);
    let mut state = pool.lock();
    state.threads -= 1;
    drop(state);
    pool.ended.notify_all();
}
