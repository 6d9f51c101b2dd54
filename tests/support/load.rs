//! Neighbours that never await, bounded waits, and other things that most tests share.

use preemptive::runtime::{Builder, Runtime};
use preemptive::task::JoinHandle;
use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a machine that is not hung.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A runtime with so many workers and such a slice.
pub(crate) fn runtime(workers: usize, slice: Duration) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(slice)
        .build()
        .expect("a runtime")
}

/// The shortest slice there is.
pub(crate) const SHORT: Duration = Duration::from_micros(50);

/// Waits on a plain thread until `done`, and says what it waited for if that never comes.
#[track_caller]
pub(crate) fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_at_most(LONG, what, done);
}

/// Waits for threads that were left to the lowest priority. On a machine with more to do than cores, the kernel lets
/// those wait for seconds each time.
#[track_caller]
pub(crate) fn wait_for_idle_threads(what: &str, done: impl FnMut() -> bool) {
    wait_at_most(LONG * 8, what, done);
}

#[track_caller]
fn wait_at_most(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < limit,
            "in {limit:?} it did not happen that {what}"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs a future on a runtime, for a minute at most.
#[track_caller]
pub(crate) fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    runtime
        .block_on(async { preemptive::time::timeout(LONG, future).await })
        .expect("done within a minute")
}

/// Runs a future on this thread, without any runtime.
pub(crate) fn plain_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(LONG);
    }
}

/// Room for one value, which a task can wait for.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Mutex<(Option<T>, Option<Waker>)>);

impl<T> Mailbox<T> {
    /// An empty one.
    pub(crate) fn new() -> Arc<Mailbox<T>> {
        Arc::new(Mailbox(Mutex::new((None, None))))
    }

    /// Puts a value in; what was there is lost.
    pub(crate) fn put(&self, value: T) {
        let waker = {
            let mut inside = self.0.lock().unwrap();
            inside.0 = Some(value);
            inside.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits for a value and takes it out.
    pub(crate) async fn take(&self) -> T {
        poll_fn(|context| {
            let mut inside = self.0.lock().unwrap();
            match inside.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    inside.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// What checked code does in its loops, where nothing but that can stop it: with asynchronous preemption off. Elsewhere
/// hogs are to be stopped at any instruction, not just here.
#[inline]
pub(crate) fn check() {
    static OFF: LazyLock<bool> = LazyLock::new(|| {
        std::env::var_os("PREEMPTIVE_ASYNC_PREEMPT").is_some_and(|value| value == "off")
    });
    if *OFF {
        preemptive::safepoint();
    }
}

/// Spins until `done`, a minute at most: for tasks that are to be preempted meanwhile. Never awaits, and makes no
/// system call but a clock that is none.
#[track_caller]
pub(crate) fn spin_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < LONG,
            "in a minute it did not happen that {what}"
        );
        check();
        std::hint::spin_loop();
    }
}

/// The same, but gives up after so long.
pub(crate) fn spin_at_most(limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < limit {
        check();
        for _ in 0..100 {
            std::hint::spin_loop();
        }
    }
}

/// Tasks that compute until they are told to stop, or this is dropped.
#[derive(Debug)]
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Hogs {
    /// Starts so many that never await, and waits for none.
    pub(crate) fn start(runtime: &Runtime, count: usize) -> Hogs {
        Hogs::with_polls_of(None, runtime, count)
    }

    /// Starts so many, or one more than there are processors: so there is always one to be preempted.
    ///
    /// Each poll ends after many slices, so that one that was given back to its lender, where nobody preempts it,
    /// comes back to the workers.
    pub(crate) fn crowd(runtime: &Runtime, count: usize) -> Hogs {
        let count = count.max(runtime.metrics().num_workers() + 1);
        Hogs::with_polls_of(Some(Duration::from_millis(2)), runtime, count)
    }

    fn with_polls_of(length: Option<Duration>, runtime: &Runtime, count: usize) -> Hogs {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(async move {
                    let mut turns = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        while !stop.load(Ordering::Relaxed)
                            && length.is_none_or(|length| start.elapsed() < length)
                        {
                            check();
                            turns = std::hint::black_box(turns + 1);
                        }
                        preemptive::task::yield_now().await;
                    }
                    turns
                })
            })
            .collect();
        Hogs { stop, tasks }
    }

    /// Stops them and waits for their ends; none of them has failed.
    pub(crate) fn stop(mut self, runtime: &Runtime) {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            block_on(runtime, task).expect("a hog ends well");
        }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Counts its drops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    /// How many guards were dropped.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Something that counts once, when it is dropped.
    pub(crate) fn guard(&self) -> DropGuard {
        DropGuard(self.clone())
    }
}

/// See [`Drops::guard`].
#[derive(Debug)]
pub(crate) struct DropGuard(Drops);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped, with a message of the kind that [`quiet`] silences.
#[derive(Debug)]
pub(crate) struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("expected: in drop");
    }
}

/// What a panic said, if it was text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// From here on, panics whose message begins with `expected`, and those without a message, are not printed.
pub(crate) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !message(info.payload()).is_none_or(|text| text.starts_with("expected")) {
                before(info);
            }
        }));
    });
}
