//! The contract between a runtime and its tasks: the same bodies on Tokio, on us, and on us beside eight hogs.
//!
//! Each body returns what it observed. What Tokio shows, we must show.

use compat_tests::{Crowded, Failure, Oracle, Ours, Runtime, text};
use std::future::{pending, poll_fn};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// A list of events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    /// Logs when it is dropped.
    fn guard(&self, name: &'static str) -> Guard {
        Guard(self.clone(), name)
    }

    fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Guard(Log, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add(format!("{} dropped", self.1));
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("expected: in drop");
    }
}

fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let message = (payload.downcast_ref::<&str>().copied())
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("expected");
            // The second: what both runtimes say of a handle that is joined twice.
            if !message.starts_with("expected") && message != "JoinHandle polled after completion" {
                before(info);
            }
        }));
    });
}

/// Runs a body's future on a new runtime, for a minute at most, and ends the runtime.
fn on<R: Runtime, T: Send + 'static>(body: impl Future<Output = T> + Send + 'static) -> T {
    quiet();
    let runtime = R::new();
    let output = runtime.block_on(async { R::timeout(LONG, body).await });
    runtime.end();
    output.unwrap_or_else(|| panic!("{}: not done within a minute", R::NAME))
}

/// One test per body: what Tokio shows, we show, alone and beside hogs.
macro_rules! contract {
    ($($name:ident: $body:ident,)*) => { $(
        #[test]
        fn $name() {
            let expected = $body::<Oracle>();
            for _ in 0..5 {
                assert_eq!($body::<Ours>(), expected);
            }
            assert_eq!($body::<Crowded>(), expected);
        }
    )* };
}

contract! {
    a_task_is_polled_once_per_wake: wakes,
    wakers_stay_usable_after_the_end: stale_wakers,
    wakers_of_one_task_are_equal: equal_wakers,
    a_future_is_dropped_before_its_joiner_goes_on: drop_order,
    locals_and_output_are_dropped_in_order: drop_order_inside,
    panics_are_contained_and_reported: panics,
    cancellation_is_reported: cancellation,
    handles_can_be_polled_moved_and_dropped: handles,
    timers_are_never_early_and_may_be_zero: timers,
    everything_is_dropped_at_the_end: shutdown,
    blocking_closures_join_like_tasks: blocking,
    tasks_that_yield_let_others_go: yields,
    a_chain_of_tasks_passes_values_on: chain,
}

fn wakes<R: Runtime>() -> Vec<usize> {
    on::<R, _>(async {
        let mut counts = Vec::new();
        // How often it is woken in its first poll.
        for wakes in [1, 3] {
            let polls = Arc::new(AtomicUsize::new(0));
            let count = polls.clone();
            let task = R::spawn(poll_fn(move |context| {
                if count.fetch_add(1, Ordering::SeqCst) == 3 {
                    return Poll::Ready(());
                }
                (0..wakes).for_each(|_| context.waker().wake_by_ref());
                Poll::Pending
            }));
            task.await.unwrap();
            counts.push(polls.load(Ordering::SeqCst));
        }
        // And without any wake: once.
        let polls = Arc::new(AtomicUsize::new(0));
        let count = polls.clone();
        let task = R::spawn(poll_fn(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Poll::<()>::Pending
        }));
        while polls.load(Ordering::SeqCst) == 0 {
            R::yield_now().await;
        }
        R::sleep(Duration::from_millis(5)).await;
        task.abort();
        task.await.unwrap_err();
        counts.push(polls.load(Ordering::SeqCst));
        counts
    })
}

fn stale_wakers<R: Runtime>() -> usize {
    on::<R, _>(async {
        let polls = Arc::new(AtomicUsize::new(0));
        let (count, (sender, wakers)) = (polls.clone(), mpsc::channel());
        let task = R::spawn(poll_fn(move |context| {
            count.fetch_add(1, Ordering::SeqCst);
            sender.send(context.waker().clone()).unwrap();
            Poll::Ready(())
        }));
        task.await.unwrap();
        let waker: Waker = wakers.recv_timeout(LONG).unwrap();
        for _ in 0..10 {
            waker.wake_by_ref();
            let another = waker.clone();
            assert!(another.will_wake(&waker));
            another.wake();
        }
        R::sleep(Duration::from_millis(2)).await;
        polls.load(Ordering::SeqCst)
    })
}

fn equal_wakers<R: Runtime>() -> Vec<bool> {
    on::<R, _>(async {
        let (mut last, mut equal) = (None::<Waker>, Vec::new());
        let task = R::spawn(poll_fn(move |context| {
            if let Some(last) = &last {
                equal.push(last.will_wake(context.waker()));
            }
            last = Some(context.waker().clone());
            context.waker().wake_by_ref();
            match equal.len() {
                3 => Poll::Ready(std::mem::take(&mut equal)),
                _ => Poll::Pending,
            }
        }));
        task.await.unwrap()
    })
}

fn drop_order<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let log = Log::default();
        for end in ["output", "panic", "abort"] {
            let guard = log.guard("future");
            let started = Arc::new(AtomicUsize::new(0));
            let has_started = started.clone();
            let task = R::spawn(async move {
                let _guard = guard;
                has_started.store(1, Ordering::SeqCst);
                R::yield_now().await;
                match end {
                    "output" => {}
                    "panic" => panic!("expected"),
                    _ => pending().await,
                }
            });
            while started.load(Ordering::SeqCst) == 0 {
                R::yield_now().await;
            }
            if end == "abort" {
                task.abort();
            }
            let outcome = task.await;
            log.add(format!("{end} joined: {}", text(outcome)));
        }
        log.events()
    })
}

fn drop_order_inside<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let log = Log::default();
        let (captured, inside, output) = (log.guard("captured"), log.clone(), log.guard("output"));
        let task = R::spawn(async move {
            let _first = inside.guard("first local");
            let _second = inside.guard("second local");
            R::yield_now().await;
            drop(captured);
            output
        });
        let output = task.await;
        log.add("joined");
        drop(output);
        // Detached: the output goes when the task ends.
        let (done, is_done) = mpsc::channel::<()>();
        let inside = log.clone();
        drop(R::spawn(async move {
            R::yield_now().await;
            (inside.guard("detached output"), done)
        }));
        while is_done.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            R::yield_now().await;
        }
        log.events()
    })
}

fn panics<R: Runtime>() -> Vec<Result<u32, Failure>> {
    on::<R, _>(async {
        let mut outcomes = vec![
            R::spawn(async { panic!("expected: at once") }).await,
            R::spawn(async {
                R::yield_now().await;
                panic!("expected: {}", "formatted")
            })
            .await,
            R::spawn(async { std::panic::panic_any(17_u8) }).await,
            R::spawn(async {
                let _panics = PanicsInDrop;
                4
            })
            .await,
        ];
        // In a destructor, in the course of an abort.
        let (started, is_started) = mpsc::channel();
        let task = R::spawn(async move {
            let _panics = PanicsInDrop;
            started.send(()).unwrap();
            pending().await
        });
        while is_started.try_recv().is_err() {
            R::yield_now().await;
        }
        task.abort();
        outcomes.push(task.await);
        // In the destructor of an output that nobody asked for.
        let task = R::spawn(async { PanicsInDrop });
        while !task.is_finished() {
            R::yield_now().await;
        }
        drop(task);
        outcomes.push(R::spawn(async { 5 }).await);
        outcomes
    })
}

fn cancellation<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        // Before it was ever polled, or right after.
        let task = R::spawn(pending::<()>());
        task.abort();
        task.abort();
        seen.push(text(task.await));
        // After its end.
        let task = R::spawn(async { 3 });
        while !task.is_finished() {
            R::yield_now().await;
        }
        task.abort();
        seen.push(text(task.await));
        // From another task.
        let task = R::spawn(pending::<()>());
        let abort = task.aborter();
        R::spawn(async move { abort() }).await.unwrap();
        seen.push(text(task.await));
        // By itself: at the next await.
        let (sender, own) = mpsc::channel::<Box<dyn Fn() + Send>>();
        let log = Log::default();
        let inside = log.clone();
        let task = R::spawn(async move {
            own.recv_timeout(LONG).unwrap()();
            inside.add("aborted itself");
            R::yield_now().await;
            inside.add("went on");
        });
        sender.send(task.aborter()).unwrap();
        seen.push(text(task.await));
        seen.extend(log.events());
        seen
    })
}

fn handles<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        let (sender, receiver) = mpsc::channel();
        let mut task = R::spawn(async move {
            while receiver.try_recv().is_err() {
                R::yield_now().await;
            }
            "output"
        });
        seen.push(text(futures::poll!(&mut task).is_pending()));
        seen.push(text(task.is_finished()));
        sender.send(()).unwrap();
        seen.push(text((&mut task).await));
        seen.push(text(task.is_finished()));
        // Joined twice: a panic of whoever joins.
        let twice = R::spawn(async move { task.await.unwrap() });
        seen.push(text(matches!(twice.await, Err(Failure::Panicked(_)))));
        // A handle that moves to another task while it is waited for.
        let mut inner = R::spawn(async {
            R::sleep(Duration::from_millis(3)).await;
            7
        });
        let _ = futures::poll!(&mut inner);
        seen.push(text(R::spawn(inner).await));
        seen
    })
}

fn timers<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let mut seen = Vec::new();
        for millis in [0, 1, 5] {
            let (start, duration) = (Instant::now(), Duration::from_millis(millis));
            R::sleep(duration).await;
            seen.push(text(start.elapsed() >= duration));
        }
        let zero = Duration::ZERO;
        seen.push(text(R::timeout(zero, async { 3 }).await));
        seen.push(text(R::timeout(zero, pending::<()>()).await));
        seen.push(text(R::timeout(Duration::MAX, async { 4 }).await));
        let endless = R::timeout(Duration::from_millis(2), R::sleep(Duration::MAX));
        seen.push(text(endless.await));
        let log = Log::default();
        let guard = log.guard("given up");
        let given_up = R::timeout(Duration::from_millis(2), async move {
            let _guard = guard;
            pending::<()>().await
        });
        seen.push(text(given_up.await));
        seen.extend(log.events());
        seen
    })
}

/// At the end of its life: wakes its own task and looks for the runtime.
struct Last<R: Runtime> {
    waker: Waker,
    saw: mpsc::Sender<bool>,
    _runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Drop for Last<R> {
    fn drop(&mut self) {
        self.waker.wake_by_ref();
        self.saw.send(R::is_current()).unwrap();
    }
}

fn shutdown<R: Runtime>() -> (usize, Vec<bool>, bool) {
    quiet();
    let runtime = R::new();
    let (log, (sender, saw)) = (Log::default(), mpsc::channel());
    let (started, has_started) = mpsc::channel();
    let mut left = None;
    runtime.block_on(async {
        for _ in 0..20 {
            let (guard, saw, started) = (log.guard("task"), sender.clone(), started.clone());
            drop(R::spawn(async move {
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                let last = Last::<R> {
                    waker,
                    saw,
                    _runtime: PhantomData,
                };
                let _all = (last, guard);
                started.send(()).unwrap();
                pending::<()>().await;
            }));
        }
        // Panics in destructors stop nothing.
        drop(R::spawn(async {
            let _panics = PanicsInDrop;
            pending::<()>().await
        }));
        left = Some(R::spawn(pending::<()>()));
    });
    for _ in 0..20 {
        has_started.recv_timeout(LONG).unwrap();
    }
    runtime.end();
    drop(sender);
    let left = left.expect("it was spawned");
    let cancelled = futures::executor::block_on(left) == Err(Failure::Cancelled);
    (log.events().len(), saw.iter().collect(), cancelled)
}

fn blocking<R: Runtime>() -> Vec<String> {
    on::<R, _>(async {
        let panics = R::spawn_blocking(|| -> () { panic!("expected: blocking") });
        let mut seen = vec![
            text(R::spawn_blocking(|| 3).await),
            text(panics.await),
            text(R::spawn_blocking(R::is_current).await),
        ];
        let (sender, receiver) = mpsc::channel();
        let (started, is_started) = mpsc::channel();
        let task = R::spawn_blocking(move || {
            started.send(()).unwrap();
            receiver.recv_timeout(LONG).unwrap()
        });
        while is_started.try_recv().is_err() {
            R::yield_now().await;
        }
        task.abort();
        sender.send("once it runs it is not aborted").unwrap();
        seen.push(text(task.await));
        seen
    })
}

fn yields<R: Runtime>() -> usize {
    on::<R, _>(async {
        let turns = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let turns = turns.clone();
                R::spawn(async move {
                    for _ in 0..20 {
                        turns.fetch_add(1, Ordering::SeqCst);
                        R::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        turns.load(Ordering::SeqCst)
    })
}

fn chain<R: Runtime>() -> Result<u32, Failure> {
    on::<R, _>(async {
        let mut last = R::spawn(async { 0 });
        for _ in 0..200 {
            last = R::spawn(async move { last.await.unwrap() + 1 });
        }
        last.await
    })
}
