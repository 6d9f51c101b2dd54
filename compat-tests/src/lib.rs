//! One face for two runtimes, so that the same test bodies run on both: Tokio is the oracle.
//!
//! Every program that links this has an allocator that aborts where rule R1 forbids it.

pub mod bridge;

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The programs in the pages for users are built as they stand there, and run where that ends.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/beside-tokio.md")]
    struct BesideTokio;
    #[doc = include_str!("../../docs/migrating.md")]
    struct Migrating;
}

#[global_allocator]
static ALLOCATOR: preemptive::testing::StrictAllocator = preemptive::testing::StrictAllocator;

/// How a task ended that has no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was aborted, or its runtime shut down.
    Cancelled,
    /// It panicked; with this message, if it was text.
    Panicked(Option<String>),
}

/// The end of a task.
pub type Outcome<T> = Result<T, Failure>;

/// What a panic said, if it was text.
pub fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// What a task's handle can do.
pub trait Task<T>: Future<Output = Outcome<T>> + Send + Unpin {
    /// Cancels the task.
    fn abort(&self);
    /// Whether it has ended.
    fn is_finished(&self) -> bool;
    /// A function that aborts it, too.
    fn aborter(&self) -> Box<dyn Fn() + Send>;
}

/// A task's handle.
pub type Handle<T> = Box<dyn Task<T>>;

/// What the bodies use of a runtime. All of it but `new` and `block_on` acts on the current one.
pub trait Runtime: Sized + Send + 'static {
    /// For messages.
    const NAME: &'static str;
    /// A runtime with two workers.
    fn new() -> Self;
    /// Runs a future on this thread.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
    /// Ends it; waits for polls in progress.
    fn end(self);
    /// Starts a task.
    fn spawn<T, F>(future: F) -> Handle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static;
    /// Runs a closure where it may block.
    fn spawn_blocking<T, F>(f: F) -> Handle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;
    /// Waits.
    fn sleep(duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Waits at most so long; `None` when it was too long.
    fn timeout<F>(
        duration: Duration,
        future: F,
    ) -> Pin<Box<dyn Future<Output = Option<F::Output>> + Send>>
    where
        F: Future + Send + 'static;
    /// Lets others go first.
    fn yield_now() -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Is there a current runtime here?
    fn is_current() -> bool;
}

/// Implements the face; the two interfaces have the same names, which is the point.
macro_rules! face {
    ($type:ident, $name:literal, $crate_name:ident, $spawn:path, $new:expr) => {
        #[doc = concat!("The face of ", $name, ".")]
        #[derive(Debug)]
        pub struct $type($crate_name::runtime::Runtime);

        const _: () = {
            struct Joins<T>($crate_name::task::JoinHandle<T>);

            impl<T: Send + 'static> Future for Joins<T> {
                type Output = Outcome<T>;

                fn poll(
                    mut self: Pin<&mut Self>,
                    context: &mut std::task::Context<'_>,
                ) -> std::task::Poll<Outcome<T>> {
                    Pin::new(&mut self.0).poll(context).map_err(|error| {
                        assert_ne!(error.is_cancelled(), error.is_panic());
                        match error.try_into_panic() {
                            Ok(payload) => Failure::Panicked(message(&*payload).map(str::to_owned)),
                            Err(_) => Failure::Cancelled,
                        }
                    })
                }
            }

            impl<T: Send + 'static> Task<T> for Joins<T> {
                fn abort(&self) {
                    self.0.abort();
                }

                fn is_finished(&self) -> bool {
                    self.0.is_finished()
                }

                fn aborter(&self) -> Box<dyn Fn() + Send> {
                    let handle = self.0.abort_handle();
                    Box::new(move || handle.abort())
                }
            }

            impl Runtime for $type {
                const NAME: &'static str = $name;

                fn new() -> Self {
                    $type($new)
                }

                fn block_on<F: Future>(&self, future: F) -> F::Output {
                    self.0.block_on(future)
                }

                fn end(self) {
                    drop(self.0);
                }

                fn spawn<T, F>(future: F) -> Handle<T>
                where
                    T: Send + 'static,
                    F: Future<Output = T> + Send + 'static,
                {
                    Box::new(Joins($spawn(future)))
                }

                fn spawn_blocking<T, F>(f: F) -> Handle<T>
                where
                    T: Send + 'static,
                    F: FnOnce() -> T + Send + 'static,
                {
                    Box::new(Joins($crate_name::task::spawn_blocking(f)))
                }

                fn sleep(duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                    Box::pin($crate_name::time::sleep(duration))
                }

                fn timeout<F>(
                    duration: Duration,
                    future: F,
                ) -> Pin<Box<dyn Future<Output = Option<F::Output>> + Send>>
                where
                    F: Future + Send + 'static,
                {
                    let limited = $crate_name::time::timeout(duration, future);
                    Box::pin(async { limited.await.ok() })
                }

                fn yield_now() -> Pin<Box<dyn Future<Output = ()> + Send>> {
                    Box::pin($crate_name::task::yield_now())
                }

                fn is_current() -> bool {
                    $crate_name::runtime::Handle::try_current().is_ok()
                }
            }
        };
    };
}

face!(
    Oracle,
    "Tokio",
    tokio,
    tokio::spawn,
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
);

face!(
    Ours,
    "preemptive",
    preemptive,
    preemptive::spawn,
    preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime")
);

face!(
    Crowded,
    "preemptive beside hogs",
    preemptive,
    preemptive::spawn,
    crowded()
);

/// Starts eight tasks on a runtime that do nothing but use their slices up.
pub fn crowd(runtime: &preemptive::runtime::Runtime) {
    for _ in 0..8 {
        drop(runtime.spawn(async {
            loop {
                // Two milliseconds without an await: forty slices. The await is for the end of the runtime.
                let start = std::time::Instant::now();
                while start.elapsed() < Duration::from_millis(2) {
                    std::hint::black_box(start);
                }
                preemptive::task::yield_now().await;
            }
        }));
    }
}

/// A runtime with the shortest slices, and a crowd.
fn crowded() -> preemptive::runtime::Runtime {
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(50))
        .build()
        .expect("a runtime");
    crowd(&runtime);
    runtime
}

/// Whatever is `Debug`, as text: for logs that are compared.
pub fn text(value: impl Debug) -> String {
    format!("{value:?}")
}
