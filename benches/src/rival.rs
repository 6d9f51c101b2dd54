//! The runtimes that run the same program, behind one face.
//!
//! Functions without `self`: a task finds its runtime as its users would have it, through the thread it runs on.
//! Each is started once per process and never shut down; one that was not started has no threads.

use std::future::Future;
use std::sync::OnceLock;
use std::thread;

/// A runtime of this process.
pub trait Rival: 'static {
    /// What it is called on the command line and in figures.
    const NAME: &'static str;

    /// Starts it. The second call panics.
    fn start(workers: usize);

    /// Runs a future to its end on the calling thread, beside the workers.
    fn block_on<F: Future>(future: F) -> F::Output;

    /// A task that nobody waits for. From within [`block_on`](Rival::block_on) or a task.
    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F);

    /// A task, and the wait for its end.
    fn join<F: Future<Output = ()> + Send + 'static>(future: F) -> impl Future<Output = ()> + Send;

    /// Lets others run.
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// This project.
#[derive(Debug)]
pub struct Preemptive;

static PREEMPTIVE: OnceLock<preemptive::runtime::Runtime> = OnceLock::new();

impl Preemptive {
    /// The runtime, for its counters.
    pub fn runtime() -> &'static preemptive::runtime::Runtime {
        PREEMPTIVE.get().expect("a runtime that was started")
    }

    /// Starts one with other options.
    pub fn start_with(builder: &mut preemptive::runtime::Builder) {
        let runtime = builder.build().expect("a runtime");
        PREEMPTIVE.set(runtime).expect("not started before");
    }
}

impl Rival for Preemptive {
    const NAME: &'static str = "preemptive";

    fn start(workers: usize) {
        Preemptive::start_with(
            preemptive::runtime::Builder::new_multi_thread().worker_threads(workers),
        );
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        Preemptive::runtime().block_on(future)
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) {
        drop(preemptive::spawn(future));
    }

    async fn join<F: Future<Output = ()> + Send + 'static>(future: F) {
        preemptive::spawn(future).await.expect("it does not panic");
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        preemptive::task::yield_now()
    }
}

/// Tokio's multi-thread runtime.
#[derive(Debug)]
pub struct Tokio;

static TOKIO: OnceLock<tokio::runtime::Runtime> = OnceLock::new();

impl Rival for Tokio {
    const NAME: &'static str = "tokio";

    fn start(workers: usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .build()
            .expect("a runtime");
        TOKIO.set(runtime).expect("not started before");
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = TOKIO.get().expect("a runtime that was started");
        runtime.block_on(future)
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) {
        drop(tokio::spawn(future));
    }

    async fn join<F: Future<Output = ()> + Send + 'static>(future: F) {
        tokio::spawn(future).await.expect("it does not panic");
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

/// smol's executor, on threads that do nothing else.
#[derive(Debug)]
pub struct AsyncExecutor;

static ASYNC_EXECUTOR: async_executor::Executor<'static> = async_executor::Executor::new();

impl Rival for AsyncExecutor {
    const NAME: &'static str = "async-executor";

    fn start(workers: usize) {
        for _ in 0..workers {
            thread::Builder::new()
                .name("async-executor".to_owned())
                .spawn(|| {
                    futures_lite::future::block_on(
                        ASYNC_EXECUTOR.run(std::future::pending::<()>()),
                    );
                })
                .expect("a thread");
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        futures_lite::future::block_on(future)
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) {
        ASYNC_EXECUTOR.spawn(future).detach();
    }

    fn join<F: Future<Output = ()> + Send + 'static>(future: F) -> impl Future<Output = ()> + Send {
        ASYNC_EXECUTOR.spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }
}
