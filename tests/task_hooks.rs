//! What a runtime tells its hooks of tasks that come and go, and of polls.

mod support;

use preemptive::runtime::{Builder, Runtime, TaskMeta};
use preemptive::task::{Id, yield_now};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use support::load::{SHORT, block_on};

/// Both flavours, with the shortest slice.
fn builders() -> [Builder; 3] {
    [(1, true), (1, false), (4, false)].map(|(workers, at_home)| {
        let mut builder = match at_home {
            true => Builder::new_current_thread(),
            false => Builder::new_multi_thread(),
        };
        builder.worker_threads(workers).time_slice(SHORT);
        builder
    })
}

/// The tasks that were spawned and have not ended, and how many there were.
#[derive(Default)]
struct Register {
    alive: Mutex<Vec<Id>>,
    spawned: AtomicUsize,
}

impl Register {
    fn watch(builder: &mut Builder) -> Arc<Register> {
        let register = Arc::new(Register::default());
        let (spawns, ends) = (register.clone(), register.clone());
        builder.on_task_spawn(move |task| {
            Register::check(task);
            spawns.spawned.fetch_add(1, Ordering::SeqCst);
            spawns.alive.lock().unwrap().push(task.id());
        });
        builder.on_task_terminate(move |task| {
            Register::check(task);
            let mut alive = ends.alive.lock().unwrap();
            let index = alive.iter().position(|id| *id == task.id());
            alive.swap_remove(index.expect("a task that was spawned, and ends once"));
        });
        register
    }

    fn check(task: &TaskMeta<'_>) {
        assert_eq!(task.spawned_at().file(), file!());
    }

    fn alive(&self) -> usize {
        self.alive.lock().unwrap().len()
    }
}

/// Dropped, it says that its future was.
struct Drops(Arc<AtomicBool>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn every_task_is_told_of_once_when_it_is_spawned_and_once_when_it_has_ended() {
    for mut builder in builders() {
        let register = Register::watch(&mut builder);
        let runtime = builder.build().unwrap();
        let handle = runtime.handle().clone();
        let finished = runtime.spawn(async { yield_now().await });
        block_on(&runtime, finished).unwrap();
        assert_eq!(
            register.alive(),
            0,
            "whoever awaits a task goes on after that"
        );

        let panicked = runtime.spawn(async { resume_unwind(Box::new(1)) });
        assert!(block_on(&runtime, panicked).unwrap_err().is_panic());
        assert_eq!(register.alive(), 0);

        let aborted = runtime.spawn(pending::<()>());
        assert_eq!(register.alive(), 1);
        aborted.abort();
        assert!(block_on(&runtime, aborted).unwrap_err().is_cancelled());
        assert_eq!(register.alive(), 0);

        let inside = async { preemptive::spawn(async { preemptive::spawn(async {}).await }).await };
        block_on(&runtime, inside).unwrap().unwrap();
        let named = preemptive::task::Builder::new()
            .name("named")
            .spawn_on(async {}, &handle)
            .unwrap();
        block_on(&runtime, named).unwrap();
        assert_eq!(register.alive(), 0);

        let left = runtime.spawn(pending::<()>());
        drop(runtime);
        assert!(left.is_finished());
        assert_eq!(register.alive(), 0, "what shutdown drops has ended, too");
        drop(handle.spawn(async {}));
        assert_eq!(register.alive(), 0, "and so has what comes too late");
        assert_eq!(register.spawned.load(Ordering::SeqCst), 8);
    }
}

#[test]
fn a_task_does_not_run_before_it_was_told_of() {
    for mut builder in builders() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        builder.on_task_spawn(move |_| {
            // Time for a task that would be queued already.
            std::thread::sleep(Duration::from_millis(2));
            count.fetch_add(1, Ordering::SeqCst);
        });
        let runtime = builder.build().unwrap();
        for number in 1..10 {
            let told = told.clone();
            let task = runtime.spawn(async move { told.load(Ordering::SeqCst) });
            assert_eq!(block_on(&runtime, task).unwrap(), number);
        }
    }
}

#[test]
fn a_hook_may_spawn_and_its_panic_is_that_of_the_call() {
    for mut builder in builders() {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        builder.on_task_spawn(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => drop(preemptive::spawn(async {})),
            2 => resume_unwind(Box::new("not this one")),
            _ => (),
        });
        let runtime = builder.build().unwrap();
        let _current = runtime.enter();
        let task = runtime.spawn(async { 1 });
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert_eq!(block_on(&runtime, task).unwrap(), 1);

        let dropped = Arc::new(AtomicBool::new(false));
        let future = Drops(dropped.clone());
        let spawns = AssertUnwindSafe(|| {
            drop(preemptive::spawn(async move { drop(future) }));
        });
        let payload = catch_unwind(spawns).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"not this one"));
        assert!(dropped.load(Ordering::SeqCst), "its future was dropped");
        let task = runtime.spawn(async { 2 });
        assert_eq!(block_on(&runtime, task).unwrap(), 2);
    }
}

#[test]
fn a_task_whose_hook_panics_is_told_of_as_ended() {
    for mut builder in builders() {
        let register = Register::watch(&mut builder);
        let hook = register.clone();
        builder.on_task_spawn(move |task| {
            hook.alive.lock().unwrap().push(task.id());
            resume_unwind(Box::new("no task"));
        });
        let runtime = builder.build().unwrap();
        let spawns = AssertUnwindSafe(|| drop(runtime.spawn(async {})));
        assert!(catch_unwind(spawns).is_err());
        assert_eq!(register.alive(), 0);
    }
}

/// Polls as the hooks see them: begun, ended, and the wrong ones.
#[derive(Default)]
struct Polls {
    begun: AtomicUsize,
    ended: AtomicUsize,
    wrong: AtomicUsize,
}

thread_local! {
    static POLLED: Cell<Option<Id>> = const { Cell::new(None) };
}

#[test]
fn polls_are_told_of_once_though_they_are_preempted() {
    for mut builder in builders() {
        let polls = Arc::new(Polls::default());
        let (begin, end) = (polls.clone(), polls.clone());
        builder.on_before_task_poll(move |task| {
            begin.begun.fetch_add(1, Ordering::SeqCst);
            if POLLED.replace(Some(task.id())).is_some() {
                begin.wrong.fetch_add(1, Ordering::SeqCst);
            }
        });
        builder.on_after_task_poll(move |task| {
            end.ended.fetch_add(1, Ordering::SeqCst);
            if POLLED.take() != Some(task.id()) {
                end.wrong.fetch_add(1, Ordering::SeqCst);
            }
        });
        let runtime: Runtime = builder
            .enable_metrics_poll_time_histogram()
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let mut polls = 0;
                runtime.spawn(poll_fn(move |context| {
                    assert_eq!(POLLED.get(), preemptive::task::try_id());
                    std::hint::black_box(
                        (0..200_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)),
                    );
                    assert_eq!(POLLED.get(), preemptive::task::try_id());
                    polls += 1;
                    context.waker().wake_by_ref();
                    match polls {
                        10 => Poll::Ready(()),
                        _ => Poll::Pending,
                    }
                }))
            })
            .collect();
        for task in tasks {
            block_on(&runtime, task).unwrap();
        }
        let metrics = runtime.metrics();
        drop(runtime);
        let timed: u64 = (0..metrics.num_workers())
            .flat_map(|worker| (0..24).map(move |bucket| (worker, bucket)))
            .filter(|(_, bucket)| *bucket < metrics.poll_time_histogram_num_buckets())
            .map(|(worker, bucket)| metrics.poll_time_histogram_bucket_count(worker, bucket))
            .sum();
        assert_eq!(polls.begun.load(Ordering::SeqCst), 40);
        assert_eq!(polls.ended.load(Ordering::SeqCst), 40);
        assert_eq!(polls.wrong.load(Ordering::SeqCst), 0);
        assert!(timed >= 40, "polls are timed as well: {timed}");
    }
}
