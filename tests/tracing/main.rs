//! What `tracing` is told of tasks, with the feature of that name.
//!
//! Each test has a process of its own: there is one subscriber per process.

// Not `required-features`: by that, `--test '*'` without the feature would be an error.
#![cfg(feature = "tracing")]

mod book;
#[path = "../support/mod.rs"]
mod support;

use book::{ATTENDANT, Book};
use preemptive::runtime::{Builder, LocalOptions, OnStackOverflow, Runtime};
use preemptive::sync::channel;
use preemptive::task::{self, LocalSet};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::isolated;
use support::load::{LONG, SHORT, block_on, check, quiet, runtime, spin_until, wait_until};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Computes for so long, as a clock on the wall has it.
fn compute(time: Duration) {
    let end = Instant::now() + time;
    spin_until("the time is over", || Instant::now() >= end);
}

/// A name that lives long enough.
fn named(name: &str) -> task::Builder<'_> {
    task::Builder::new().name(name)
}

#[test]
fn a_span_says_what_was_spawned_and_where() {
    isolated::run("a_span_says_what_was_spawned_and_where", || {
        let book = Book::open();
        let runtime = runtime(1, SHORT);
        let room = [7_u8; 100];
        let future = async move { black_box(room)[3] };
        let size = size_of_val(&future);
        let line = line!() + 1;
        let task = runtime.spawn(future);
        let id = task.id();
        assert_eq!(block_on(&runtime, task).unwrap(), 7);
        let closure = move || black_box(room)[3];
        let builder = named("reader");
        let read = builder.spawn_blocking_on(closure, runtime.handle());
        assert_eq!(block_on(&runtime, read.unwrap()).unwrap(), 7);
        let set = LocalSet::new();
        let local = named("local one").spawn_local_on(async move { room[3] }, &set);
        assert_eq!(set.block_on(&runtime, local.unwrap()).unwrap(), 7);
        drop(runtime);

        let stories = book.stories();
        let plain = stories
            .iter()
            .find(|story| story.fields["task.id"] == id.to_string());
        let plain = plain.expect("there is a span");
        assert_eq!(plain.target, "preemptive::task");
        let field = |name: &str| plain.fields.get(name).map(String::as_str);
        assert_eq!(field("kind"), Some("task"));
        assert_eq!(field("task.name"), Some(""));
        assert_eq!(field("size.bytes"), Some(&*size.to_string()));
        // It was not boxed: the console warns where the sizes differ.
        assert_eq!(field("original_size.bytes"), None);
        assert_eq!(field("loc.file"), Some(file!()));
        assert_eq!(field("loc.line"), Some(&*line.to_string()));
        assert_eq!(field("loc.col"), Some("28"));
        assert_eq!(field("preempted"), None);

        let reader = book.named("reader");
        assert_eq!(reader.target, "preemptive::task::blocking");
        assert_eq!(reader.fields["kind"], "blocking");
        assert_eq!(reader.fields["size.bytes"], "100");
        assert!(reader.fields["fn"].contains("closure"), "{reader:?}");
        let local = book.named("local one");
        assert_eq!(local.fields["kind"], "local");
        assert_eq!(local.fields["loc.file"], file!());
        let roots = stories
            .iter()
            .filter(|story| story.fields["kind"] == "block_on");
        assert_eq!(roots.count(), 3);
        book.check();
    });
}

/// What two hogs on one processor are said to have been busy, together, is not more than there was.
#[test]
fn who_is_suspended_is_not_busy() {
    isolated::run("who_is_suspended_is_not_busy", || {
        let book = Book::open();
        let runtime = runtime(1, Duration::from_millis(5));
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let hogs = ["one", "other"].map(|name| {
            let stop = stop.clone();
            let hog = async move { spin_until("told to stop", || stop.load(Ordering::Relaxed)) };
            named(name).spawn_on(hog, runtime.handle()).unwrap()
        });
        std::thread::sleep(Duration::from_millis(1500));
        stop.store(true, Ordering::Relaxed);
        for hog in hogs {
            block_on(&runtime, hog).unwrap();
        }
        let wall = start.elapsed();
        drop(runtime);
        book.check();
        let stories = ["one", "other"].map(|name| book.named(name));
        let busy: Duration = stories.iter().map(|story| story.busy).sum();
        // Both at once would be twice as much.
        assert!(busy < wall * 3 / 2, "{busy:?} of {wall:?}");
        // Were they never entered again, it would be a slice each.
        assert!(busy > wall / 8, "{busy:?} of {wall:?}");
        for story in stories {
            assert!(story.preempted().unwrap() > 0, "{story:?}");
            assert!(story.enters > 1, "{story:?}");
            // How much of it each has is the scheduler's business, and the kernel's.
            assert!(!story.busy.is_zero(), "{story:?} of {wall:?}");
        }
    });
}

/// So often.
const WAITS: u32 = 20;

#[test]
fn who_waits_in_the_middle_of_a_poll_is_not_busy() {
    isolated::run("who_waits_in_the_middle_of_a_poll_is_not_busy", || {
        let book = Book::open();
        let runtime = runtime(1, SHORT);
        let (sender, receiver) = channel::<u32>(0);
        let waits = async move { (0..WAITS).map(|_| receiver.blocking_recv().unwrap()).sum() };
        let task = named("waits").spawn_on(waits, runtime.handle()).unwrap();
        for _ in 0..WAITS {
            std::thread::sleep(Duration::from_millis(40));
            sender.blocking_send(1).unwrap();
        }
        let sum: u32 = block_on(&runtime, task).unwrap();
        assert_eq!(sum, WAITS);
        drop(runtime);
        book.check();
        let story = book.named("waits");
        assert!(story.busy < Duration::from_millis(500), "{story:?}");
        // It is not preempted when it waits; now and then, when it has lost its processor, it is.
        let preempted = story.preempted().unwrap_or(0);
        assert!(preempted < u64::from(WAITS) / 2, "{story:?}");
    });
}

/// Many tasks of all kinds, most of them preempted, some in the subscriber: every span is closed once, no thread keeps one.
fn crowd(book: &Book, runtime: &Runtime, rounds: usize) {
    for round in 0..rounds {
        let tasks: Vec<_> = (0..8_u64)
            .map(|index| {
                let name = match index % 4 {
                    0 => format!("holds the lock {round}.{index}"),
                    _ => format!("crowd {round}.{index}"),
                };
                let work = async move {
                    for _ in 0..3 {
                        compute(Duration::from_micros(200 * (index % 3)));
                        preemptive::time::sleep(Duration::from_micros(50 * index)).await;
                        let inner = tracing::info_span!("inner");
                        let _inside = inner.enter();
                        compute(Duration::from_micros(100));
                        tracing::info!(target: "test", "{round}.{index}");
                    }
                };
                let work = async move {
                    match index {
                        // Never woken: cancelled.
                        7 => std::future::pending().await,
                        _ => work_boxed(work).await,
                    }
                };
                named(&name).spawn_on(work, runtime.handle()).unwrap()
            })
            .collect();
        for (index, task) in tasks.into_iter().enumerate() {
            if index == 7 {
                task.abort();
                assert!(block_on(runtime, task).unwrap_err().is_cancelled());
            } else {
                block_on(runtime, task).unwrap();
            }
        }
    }
    for (around, text) in book.events() {
        let [task, inner] = around.split('/').collect::<Vec<_>>()[..] else {
            panic!("the event {text} is in {around}");
        };
        assert!(task.ends_with(&format!(" {text}")), "{text} is in {around}");
        assert_eq!(inner, "inner");
    }
}

/// Guards of spans do not go with a task, so this one says that it may.
fn work_boxed<F: Future<Output = ()>>(future: F) -> impl Future<Output = ()> + Send {
    struct Stays<F>(F);
    // SAFETY: the guards live between two waits only, within one poll.
    unsafe impl<F> Send for Stays<F> {}
    impl<F: Future> Future for Stays<F> {
        type Output = F::Output;
        fn poll(
            self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<F::Output> {
            // SAFETY: it is not moved.
            unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(context)
        }
    }
    Stays(future)
}

#[test]
fn no_span_is_left_and_none_is_closed_early() {
    isolated::run("no_span_is_left_and_none_is_closed_early", || {
        let book = Book::open();
        let runtime = runtime(2, SHORT);
        crowd(&book, &runtime, 12);
        drop(runtime);
        book.check();
        let stories = book.stories();
        let preempted: u64 = stories.iter().filter_map(book::Story::preempted).sum();
        assert!(preempted > 0, "nothing was preempted");
    });
}

#[test]
fn nor_in_a_current_thread_runtime() {
    isolated::run("nor_in_a_current_thread_runtime", || {
        let book = Book::open();
        let runtime = Builder::new_current_thread()
            .time_slice(SHORT)
            .build()
            .unwrap();
        crowd(&book, &runtime, 6);
        // The root is preempted as well.
        let hog = runtime.spawn(async { compute(Duration::from_millis(20)) });
        runtime.block_on(async {
            compute(Duration::from_millis(20));
            hog.await.unwrap();
        });
        drop(runtime);
        book.check();
    });
}

/// Without signals, and on the only thread there is, a poll that waits for the subscriber lets its holder run.
#[test]
fn nor_without_signals() {
    let environment = [("PREEMPTIVE_ASYNC_PREEMPT", "off")];
    isolated::run_with("nor_without_signals", &environment, LONG, || {
        let book = Book::open();
        let runtime = Builder::new_current_thread()
            .time_slice(SHORT)
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..6)
            .map(|index| {
                let work = async move {
                    let end = Instant::now() + Duration::from_millis(20);
                    while Instant::now() < end {
                        preemptive::safepoint();
                        tracing::info!(target: "elsewhere", "works");
                    }
                };
                let name = format!("holds the lock {index}");
                named(&name).spawn_on(work, runtime.handle()).unwrap()
            })
            .collect();
        for task in tasks {
            block_on(&runtime, task).unwrap();
        }
        drop(runtime);
        book.check();
    });
}

/// A set polled by a preempted root, tasks that end in every other way, and a set that outlives the runtime.
#[test]
fn spans_nest_and_end_with_their_tasks() {
    isolated::run("spans_nest_and_end_with_their_tasks", || {
        let book = Book::open();
        quiet();
        let runtime = Builder::new_current_thread()
            .time_slice(SHORT)
            .build_local(LocalOptions::default())
            .unwrap();
        let hogs: Vec<_> = (0..2)
            .map(|_| runtime.spawn_local(async { compute(Duration::from_millis(5)) }))
            .collect();
        let never = runtime.spawn_local(std::future::pending::<()>());
        runtime.block_on(async {
            for hog in hogs {
                hog.await.unwrap();
            }
        });
        drop(runtime);
        drop(never);

        let multi = runtime_of_two();
        let set = LocalSet::new();
        let outlives = named("outlives").spawn_local_on(std::future::pending::<()>(), &set);
        let panics = named("panics").spawn_on(async { panic!("expected") }, multi.handle());
        assert!(block_on(&multi, panics.unwrap()).unwrap_err().is_panic());
        // Nobody polls it, nobody waits for it, and somebody wakes it when it is gone.
        let (sender, receiver) = std::sync::mpsc::channel();
        let gone = named("gone").spawn_on(
            std::future::poll_fn(move |context| {
                sender.send(context.waker().clone()).unwrap();
                std::task::Poll::<()>::Pending
            }),
            multi.handle(),
        );
        let waker = receiver.recv().unwrap();
        drop(gone);
        drop(multi);
        waker.wake_by_ref();
        drop(waker);
        drop(set);
        drop(outlives);
        book.check();
    });
}

fn runtime_of_two() -> Runtime {
    runtime(2, SHORT)
}

#[test]
fn wakers_tell_what_is_done_with_them() {
    isolated::run("wakers_tell_what_is_done_with_them", || {
        let book = Book::open();
        let runtime = runtime(1, SHORT);
        let yields = named("yields").spawn_on(
            async {
                for _ in 0..5 {
                    task::yield_now().await;
                }
            },
            runtime.handle(),
        );
        block_on(&runtime, yields.unwrap()).unwrap();
        let sleeps = named("sleeps").spawn_on(
            async {
                for _ in 0..3 {
                    preemptive::time::sleep(Duration::from_millis(20)).await;
                }
            },
            runtime.handle(),
        );
        block_on(&runtime, sleeps.unwrap()).unwrap();
        drop(runtime);
        book.check();
        let yields = book.named("yields");
        assert_eq!(
            yields.wakes.get("waker.wake_by_ref"),
            Some(&5),
            "{yields:?}"
        );
        assert_eq!(yields.self_wakes, 5, "{yields:?}");
        let sleeps = book.named("sleeps");
        let count = |op| sleeps.wakes.get(op).copied().unwrap_or(0);
        // A sleep that is over when it begins wakes nobody.
        let wakes = count("waker.wake") + count("waker.wake_by_ref");
        assert!((1..=3).contains(&wakes), "{sleeps:?}");
        assert_eq!(sleeps.self_wakes, 0, "{sleeps:?}");
        assert_eq!(
            count("waker.clone"),
            count("waker.drop") + count("waker.wake"),
            "{sleeps:?}"
        );
    });
}

/// As on Tokio: a task whose span panics has panicked; others go on.
#[test]
fn a_subscriber_that_panics_fails_the_task() {
    isolated::run("a_subscriber_that_panics_fails_the_task", || {
        let book = Book::open_alone();
        quiet();
        let runtime = runtime(1, SHORT);
        for name in ["panics in enter", "panics in exit"] {
            // Preempted as well: then it is the attendant that sees some of it.
            let hog = runtime.spawn(async { compute(Duration::from_millis(5)) });
            let task = named(name).spawn_on(
                async { compute(Duration::from_millis(5)) },
                runtime.handle(),
            );
            assert!(
                block_on(&runtime, task.unwrap()).unwrap_err().is_panic(),
                "{name}"
            );
            block_on(&runtime, hog).unwrap();
        }
        assert_eq!(block_on(&runtime, runtime.spawn(async { 4 })).unwrap(), 4);
        drop(runtime);
        assert!(book.stories().iter().all(|story| story.is_closed));
    });
}

#[test]
fn a_task_that_has_overflowed_is_closed() {
    #[inline(never)]
    fn recurse(depth: u64) -> u64 {
        let room = black_box([depth; 8]);
        match black_box(depth) {
            u64::MAX => 0,
            _ => recurse(depth + 1) + room[3],
        }
    }
    isolated::run("a_task_that_has_overflowed_is_closed", || {
        let book = Book::open();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_stack_size(128 * 1024)
            .on_stack_overflow(OnStackOverflow::FailTask)
            .build()
            .unwrap();
        let deep = named("deep").spawn_on(async { recurse(1) }, runtime.handle());
        let error = block_on(&runtime, deep.unwrap()).unwrap_err();
        assert!(error.is_stack_overflow());
        drop(runtime);
        let story = book.named("deep");
        assert!(story.is_closed && !story.is_late, "{story:?}");
        assert_eq!((story.enters, story.exits), (1, 1), "{story:?}");
    });
}

/// The thread that tells comes with the first span and goes with the last runtime.
#[test]
fn the_attendant_comes_and_goes() {
    fn attendants() -> usize {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok())
            .filter(|name| name.trim() == ATTENDANT)
            .count()
    }
    isolated::run("the_attendant_comes_and_goes", || {
        let quiet = runtime(1, SHORT);
        block_on(&quiet, quiet.spawn(async {})).unwrap();
        assert_eq!(attendants(), 0, "nobody is interested yet");
        let book = Book::open();
        for _ in 0..3 {
            let (one, other) = (runtime(1, SHORT), runtime(1, SHORT));
            for runtime in [&one, &other] {
                block_on(runtime, runtime.spawn(async {})).unwrap();
            }
            // A thread names itself, once it runs.
            wait_until("there is an attendant", || attendants() == 1);
            drop(one);
            assert_eq!(attendants(), 1);
            let task = other.spawn(async { compute(Duration::from_millis(2)) });
            block_on(&other, task).unwrap();
            drop(other);
            // Its thread says that it ends, and ends.
            wait_until("the attendant's thread has ended", || attendants() == 0);
        }
        drop(quiet);
        book.check();
    });
}

/// A runtime that is given up with a poll in progress: its span goes on with that poll.
#[test]
fn a_poll_that_outlives_its_runtime_keeps_its_span() {
    let name = "a_poll_that_outlives_its_runtime_keeps_its_span";
    isolated::run_with(name, &[], LONG * 4, || {
        let book = Book::open();
        let runtime = runtime(1, SHORT);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let hog = async move {
            while !told.load(Ordering::Relaxed) {
                check();
            }
        };
        let hog = named("hog").spawn_on(hog, runtime.handle()).unwrap();
        let other = runtime.spawn(async { compute(Duration::from_millis(5)) });
        block_on(&runtime, other).unwrap();
        runtime.shutdown_timeout(Duration::from_millis(10));
        assert!(!book.named("hog").is_closed);
        stop.store(true, Ordering::Relaxed);
        support::load::wait_for_idle_threads("the hog is over", || book.named("hog").is_closed);
        wait_until("the task is finished", || hog.is_finished());
        book.check();
    });
}

/// A subscriber that is slow on the attendant's thread.
struct Slow(AtomicU64);

impl Subscriber for Slow {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {
        if std::thread::current().name() == Some(ATTENDANT) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    fn exit(&self, _: &Id) {}
}

/// In the child nobody tells what was still to be told of the poll that forked: it does not wait for that.
#[test]
fn a_forked_child_that_returns_ends_at_once() {
    isolated::run("a_forked_child_that_returns_ends_at_once", || {
        let slow = Slow(AtomicU64::new(0));
        tracing::subscriber::set_global_default(slow).unwrap();
        let runtime = runtime(1, SHORT);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let hog = runtime.spawn(async move {
            spin_until("told to stop", || told.load(Ordering::Relaxed));
        });
        let forks = runtime.spawn(async {
            // Until it was away, for longer than the attendant needs to say so.
            let mut last = Instant::now();
            spin_until("it has been preempted", || {
                std::mem::replace(&mut last, Instant::now()).elapsed() > SHORT / 2
            });
            // SAFETY: the child returns, which ends it.
            unsafe { libc::fork() }
        });
        let child = block_on(&runtime, forks).unwrap();
        let mut status = 0;
        wait_until("the child has ended", || {
            // SAFETY: the child is ours, the status is valid for writes.
            unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) == child }
        });
        assert_eq!(libc::WTERMSIG(status), libc::SIGABRT);
        stop.store(true, Ordering::Relaxed);
        block_on(&runtime, hog).unwrap();
    });
}
