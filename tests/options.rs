//! The builder's smaller options, what handles say of their runtimes, and figures beside those of scheduling.

mod support;

use preemptive::runtime::{Builder, Handle, RuntimeFlavor, is_rt_shutdown_err};
use preemptive::time::sleep;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::load::{SHORT, block_on, message, runtime as threads_of, wait_until};

/// What `f` says when it panics.
#[track_caller]
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => message(&*payload).unwrap_or_default().to_owned(),
    }
}

#[test]
fn runtimes_have_names_numbers_and_flavours() {
    let named = Builder::new_multi_thread().name("shop").build().unwrap();
    let other = Builder::new_current_thread().build().unwrap();
    assert_eq!(named.handle().name(), Some("shop"));
    assert_eq!(other.handle().name(), None);
    assert_eq!(named.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
    assert_eq!(
        other.handle().runtime_flavor(),
        RuntimeFlavor::CurrentThread
    );
    assert_eq!(named.handle().id(), named.handle().clone().id());
    assert_ne!(named.handle().id(), other.handle().id());
    assert_ne!(
        named.handle().id().to_string(),
        other.handle().id().to_string()
    );
    let seen = block_on(&named, named.spawn(async { Handle::current().id() })).unwrap();
    assert_eq!(seen, named.handle().id());
}

#[test]
fn an_error_of_a_runtime_that_has_ended_is_told_by_what_it_says() {
    let text = "A Tokio 1.x context was found, but it is being shutdown.";
    assert!(is_rt_shutdown_err(&io::Error::other(text)));
    let others = [
        io::Error::other(format!("{text} And so on.")),
        io::Error::other("another"),
        io::Error::new(io::ErrorKind::TimedOut, text),
        io::Error::from(io::ErrorKind::Other),
    ];
    assert!(!others.iter().any(is_rt_shutdown_err));
}

#[test]
fn the_queue_that_all_share_goes_first_as_often_as_it_was_told() {
    /// How many tasks of the processor's own have run before one that came from outside.
    fn own_before_outside(every: u32) -> usize {
        const OWN: usize = 100;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .global_queue_interval(every)
            // Nothing but the interval decides: no poll makes room for another.
            .async_preempt(false)
            .time_slice(Duration::from_secs(10))
            .min_slice(Duration::from_secs(10))
            .build()
            .unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let (count, handle) = (ran.clone(), runtime.handle().clone());
        let task = runtime.spawn(async move {
            // The processor looks there before its first poll in any case.
            preemptive::spawn(async {}).await.unwrap();
            for _ in 0..OWN {
                let count = count.clone();
                drop(preemptive::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                }));
            }
            // The one processor is busy with this poll, which does not block either: nothing runs meanwhile.
            let (sender, spawned) = std::sync::mpsc::channel();
            let outside = std::thread::spawn(move || {
                let task = handle.spawn(async move { count.load(Ordering::SeqCst) });
                sender.send(task).unwrap();
            });
            let task = loop {
                match spawned.try_recv() {
                    Ok(task) => break task,
                    Err(_) => std::hint::spin_loop(),
                }
            };
            let before = task.await.unwrap();
            outside.join().unwrap();
            before
        });
        runtime.block_on(task).unwrap()
    }
    let (often, seldom) = (own_before_outside(1), own_before_outside(u32::MAX));
    assert!(often <= 2, "{often}");
    assert!(seldom >= 90, "{seldom}");
}

#[test]
fn what_was_woken_last_goes_first_unless_that_is_switched_off() {
    fn order(overtakes: bool) -> Vec<usize> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .async_preempt(false)
            .time_slice(Duration::from_secs(10))
            .min_slice(Duration::from_secs(10));
        if !overtakes {
            builder.disable_lifo_slot();
        }
        let runtime = builder.build().unwrap();
        let ran = Arc::new(std::sync::Mutex::new(Vec::new()));
        let order = ran.clone();
        let task = runtime.spawn(async move {
            for index in 0..3 {
                let order = order.clone();
                drop(preemptive::spawn(async move {
                    order.lock().unwrap().push(index)
                }));
            }
        });
        block_on(&runtime, task).unwrap();
        wait_until("all have run", || ran.lock().unwrap().len() == 3);
        std::mem::take(&mut *ran.lock().unwrap())
    }
    assert_eq!(order(true), [2, 0, 1]);
    assert_eq!(order(false), [0, 1, 2]);
}

#[test]
fn options_that_cannot_be_zero_or_empty_panic_and_name_the_cure() {
    let mut builder = Builder::new_multi_thread();
    for said in [
        panic_of(|| drop(builder.global_queue_interval(0).clone())),
        panic_of(|| drop(builder.event_interval(0).clone())),
        panic_of(|| drop(builder.max_io_events_per_tick(0).clone())),
        panic_of(|| drop(builder.max_io_events_per_busy_tick(0).clone())),
    ] {
        assert!(said.contains("use at least 1"), "{said}");
    }
    let said = panic_of(|| drop(builder.name(" \t").clone()));
    assert!(said.contains("leave it out"), "{said}");
    let runtime = builder
        .enable_io()
        .max_io_events_per_tick(1)
        .max_io_events_per_busy_tick(1)
        .event_interval(1)
        .build()
        .unwrap();
    block_on(&runtime, async { sleep(Duration::from_millis(1)).await });
}

#[test]
fn threads_get_the_names_they_were_given() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name_fn(move || match count.fetch_add(1, Ordering::SeqCst) {
            // A NUL byte, and then a panic: the thread is made all the same.
            0 => "made\0-0".to_owned(),
            1 => std::panic::resume_unwind(Box::new(())),
            number => format!("made-{number}"),
        })
        .build()
        .unwrap();
    assert!(made.load(Ordering::SeqCst) >= 2, "one for each worker");
    let name = || std::thread::current().name().map(str::to_owned);
    let blocking = block_on(&runtime, runtime.spawn_blocking(name)).unwrap();
    assert!(blocking.unwrap().starts_with("made-"));

    for (builder, expected) in [
        (Builder::new_multi_thread(), "preemptive-worker-blocking"),
        (
            Builder::new_multi_thread().thread_name("mine").clone(),
            "mine",
        ),
    ] {
        let runtime = builder.clone().worker_threads(1).build().unwrap();
        let blocking = block_on(&runtime, runtime.spawn_blocking(name)).unwrap();
        assert_eq!(blocking.as_deref(), Some(expected));
    }
}

#[test]
fn figures_of_parks_tasks_and_blocking_threads_move() {
    let runtime = threads_of(1, SHORT);
    let metrics = runtime.metrics();
    wait_until("its processor sleeps", || {
        metrics.worker_park_unpark_count(0) % 2 == 1
    });
    let before = metrics.worker_park_unpark_count(0);
    let task = runtime.spawn(async { sleep(Duration::from_micros(100)).await });
    block_on(&runtime, task).unwrap();
    wait_until("it has gone on and sleeps again", || {
        let now = metrics.worker_park_unpark_count(0);
        now > before && now % 2 == 1
    });
    assert_eq!(
        metrics.worker_park_count(0),
        metrics.worker_park_unpark_count(0).div_ceil(2)
    );
    let spawned = metrics.spawned_tasks_count();
    for _ in 0..10 {
        block_on(&runtime, runtime.spawn(async {})).unwrap();
    }
    assert_eq!(metrics.spawned_tasks_count(), spawned + 10);
    block_on(&runtime, runtime.spawn_blocking(|| ())).unwrap();
    assert_eq!(metrics.spawned_tasks_count(), spawned + 10);
    wait_until("the pool's thread has nothing to do", || {
        metrics.num_idle_blocking_threads() == 1
    });
    drop(runtime);
    assert_eq!(metrics.worker_park_unpark_count(0) % 2, 0);
}
