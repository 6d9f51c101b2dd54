//! What a runtime tells its hooks of threads that go idle, and that it goes on whatever hooks do.

mod support;

use preemptive::runtime::Builder;
use preemptive::task::yield_now;
use preemptive::time::sleep;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::load::{Mailbox, SHORT, block_on, wait_for_idle_threads, wait_until};

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

thread_local! {
    static IS_IDLE: Cell<bool> = const { Cell::new(false) };
}

/// Counts parks and unparks, and fails where they do not come in pairs under one identity.
#[derive(Default)]
struct Pairs {
    parks: AtomicUsize,
    unparks: AtomicUsize,
    unpaired: AtomicUsize,
}

impl Pairs {
    fn watch(builder: &mut Builder) -> Arc<Pairs> {
        let pairs = Arc::new(Pairs::default());
        let (parks, unparks) = (pairs.clone(), pairs.clone());
        builder
            .on_thread_park(move || parks.note(&parks.parks, true))
            .on_thread_unpark(move || unparks.note(&unparks.unparks, false));
        pairs
    }

    fn note(&self, count: &AtomicUsize, is_idle: bool) {
        if IS_IDLE.replace(is_idle) == is_idle {
            self.unpaired.fetch_add(1, Ordering::SeqCst);
        }
        count.fetch_add(1, Ordering::SeqCst);
    }

    #[track_caller]
    fn check(&self) {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        assert_eq!(count(&self.unpaired), 0);
        assert_eq!(count(&self.parks), count(&self.unparks));
        assert!(count(&self.parks) > 0);
    }
}

#[test]
fn threads_that_go_idle_say_so_and_that_it_is_over_under_one_identity() {
    for mut builder in builders() {
        let pairs = Pairs::watch(&mut builder);
        let runtime = builder.build().unwrap();
        block_on(&runtime, async {
            for round in 0..20 {
                let tasks: Vec<_> = (0..8)
                    .map(|task| {
                        preemptive::spawn(async move {
                            assert!(!IS_IDLE.get(), "a thread that says it is idle polls");
                            sleep(Duration::from_micros(task * 100)).await;
                            // Some are preempted: the slice is 50 µs.
                            std::hint::black_box((0..round * 2_000).fold(0, |a, b| a ^ b));
                            assert!(!IS_IDLE.get(), "a thread that says it is idle polls");
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            }
        });
        drop(runtime);
        pairs.check();
    }
}

#[test]
fn a_thread_does_not_sleep_on_what_its_hook_wakes() {
    for mut builder in builders() {
        let mailbox = Mailbox::new();
        let post = mailbox.clone();
        let once = AtomicBool::new(false);
        let armed = Arc::new(AtomicBool::new(false));
        let is_armed = armed.clone();
        builder.on_thread_park(move || {
            if is_armed.load(Ordering::SeqCst) && !once.swap(true, Ordering::SeqCst) {
                post.put(());
            }
        });
        let runtime = builder.build().unwrap();
        // A task, so that threads of the runtime go idle when it waits. Nobody else wakes it.
        let task = runtime.spawn(async move {
            armed.store(true, Ordering::SeqCst);
            mailbox.take().await;
        });
        block_on(&runtime, task).unwrap();
    }
}

#[test]
fn a_current_thread_runtime_does_not_sleep_on_a_root_that_its_hook_wakes() {
    let mailbox = Mailbox::new();
    let post = mailbox.clone();
    let runtime = Builder::new_current_thread()
        .on_thread_park(move || post.put(()))
        .build()
        .unwrap();
    for _ in 0..100 {
        // No timer that would wake it: `load::block_on` has one.
        runtime.block_on(mailbox.take());
    }
}

#[test]
fn what_a_hook_spawns_runs_before_the_thread_sleeps() {
    for mut builder in builders() {
        let mailbox = Mailbox::new();
        let post = mailbox.clone();
        let once = AtomicBool::new(false);
        builder.on_thread_park(move || {
            if !once.swap(true, Ordering::SeqCst) {
                let post = post.clone();
                drop(preemptive::spawn(async move { post.put(17) }));
            }
        });
        let runtime = builder.build().unwrap();
        assert_eq!(block_on(&runtime, mailbox.take()), 17);
    }
}

#[test]
fn timers_go_on_though_a_hook_wakes_the_root_every_time() {
    let mailbox = Mailbox::new();
    let post = mailbox.clone();
    let runtime = Builder::new_current_thread()
        .on_thread_park(move || post.put(()))
        .build()
        .unwrap();
    let task = runtime.spawn(async { sleep(Duration::from_millis(2)).await });
    wait_until("a task has slept for two milliseconds", || {
        runtime.block_on(mailbox.take());
        task.is_finished()
    });
}

#[test]
fn a_hook_that_does_not_end_is_preempted_like_a_poll() {
    for mut builder in builders() {
        let go_on = Arc::new(AtomicBool::new(false));
        let hogs = Arc::new(AtomicUsize::new(0));
        let (stop, hog) = (go_on.clone(), hogs.clone());
        let pairs = Arc::new(AtomicUsize::new(0));
        let (more, less) = (pairs.clone(), pairs.clone());
        builder.on_thread_park(move || {
            more.fetch_add(1, Ordering::SeqCst);
            hog.fetch_add(1, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        });
        builder.on_thread_unpark(move || {
            less.fetch_sub(1, Ordering::SeqCst);
        });
        let runtime = builder.build().unwrap();
        // The root of a current-thread runtime would wait for the hook, which occupies its thread: tasks do not.
        let (end, handle) = (go_on.clone(), runtime.handle().clone());
        let others = std::thread::spawn(move || {
            wait_until("a thread is in its hook", || {
                hogs.load(Ordering::SeqCst) > 0
            });
            for _ in 0..20 {
                let task = handle.spawn(async { yield_now().await });
                wait_until("a task has run beside the hook", || task.is_finished());
            }
            end.store(true, Ordering::SeqCst);
        });
        block_on(&runtime, async {
            while !go_on.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(1)).await;
            }
        });
        others.join().unwrap();
        drop(runtime);
        assert_eq!(pairs.load(Ordering::SeqCst), 0, "they come in pairs");
    }
}

#[test]
fn what_ends_a_threads_sleep_does_not_wait_for_the_hook_to_end() {
    for mut builder in builders() {
        let (armed, ran) = (Arc::new(AtomicBool::new(false)), Mailbox::new());
        let (hogs, done) = (armed.clone(), Arc::new(AtomicBool::new(false)));
        let is_done = done.clone();
        builder.on_thread_unpark(move || {
            while hogs.load(Ordering::SeqCst) && !is_done.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        });
        let runtime = builder.build().unwrap();
        let post = ran.clone();
        let handle = runtime.handle().clone();
        let other = std::thread::spawn(move || {
            for _ in 0..20 {
                done.store(false, Ordering::SeqCst);
                armed.store(true, Ordering::SeqCst);
                let done = done.clone();
                let task = handle.spawn(async move { done.store(true, Ordering::SeqCst) });
                wait_until("a task has run beside the hook", || task.is_finished());
            }
            post.put(());
        });
        block_on(&runtime, ran.take());
        other.join().unwrap();
    }
}

#[test]
fn a_hook_that_does_not_end_is_left_behind_by_a_shutdown_and_ends_later() {
    let go_on = Arc::new(AtomicBool::new(false));
    let (stop, hogs) = (go_on.clone(), Arc::new(AtomicUsize::new(0)));
    let (more, less) = (hogs.clone(), hogs.clone());
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_park(move || {
            more.fetch_add(1, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        })
        .on_thread_unpark(move || {
            less.fetch_sub(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    wait_until("a thread is in its hook", || {
        hogs.load(Ordering::SeqCst) == 1
    });
    runtime.shutdown_timeout(Duration::from_millis(5));
    assert_eq!(hogs.load(Ordering::SeqCst), 1);
    go_on.store(true, Ordering::SeqCst);
    wait_for_idle_threads("it has said that this is over", || {
        hogs.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn a_hook_that_panics_does_no_harm() {
    for mut builder in builders() {
        builder
            .on_thread_park(|| resume_unwind(Box::new("before it sleeps")))
            .on_thread_unpark(|| resume_unwind(Box::new("when it goes on")))
            .on_before_task_poll(|_| resume_unwind(Box::new("before a poll")))
            .on_after_task_poll(|_| resume_unwind(Box::new("after a poll")))
            .on_task_terminate(|_| resume_unwind(Box::new("at the end")));
        let runtime = builder.build().unwrap();
        for _ in 0..10 {
            let task = runtime.spawn(async {
                sleep(Duration::from_micros(100)).await;
                4
            });
            assert_eq!(block_on(&runtime, task).unwrap(), 4);
        }
    }
}

#[test]
fn threads_whose_hooks_panic_begin_work_and_end() {
    for mut builder in builders() {
        builder
            .on_thread_start(|| resume_unwind(Box::new("at the start")))
            .on_thread_stop(|| resume_unwind(Box::new("at the end")));
        let runtime = builder.build().unwrap();
        let both = async {
            let task = preemptive::spawn(async { 1 });
            let closure = preemptive::task::spawn_blocking(|| 2);
            (task.await.unwrap(), closure.await.unwrap())
        };
        assert_eq!(block_on(&runtime, both), (1, 2));
        let begun = std::time::Instant::now();
        runtime.shutdown_timeout(support::load::LONG);
        assert!(
            begun.elapsed() < support::load::LONG,
            "all threads have ended"
        );
    }
}

#[test]
fn no_wake_up_is_lost_between_hooks() {
    const ROUNDS: usize = 2_000;
    for mut builder in builders() {
        let pairs = Pairs::watch(&mut builder);
        let runtime = builder.build().unwrap();
        let boxes: Vec<_> = (0..4).map(|_| Mailbox::new()).collect();
        let around = (0..4).map(|index| {
            let (from, to) = (boxes[index].clone(), boxes[(index + 1) % 4].clone());
            runtime.spawn(async move {
                for round in 0..ROUNDS {
                    let value: usize = from.take().await;
                    if round % 64 == index {
                        sleep(Duration::from_micros(50)).await;
                    }
                    to.put(value + 1);
                }
            })
        });
        let around: Vec<_> = around.collect();
        // The four put the value from box to box, and all are idle at times.
        boxes[0].put(0);
        block_on(&runtime, async {
            for task in around {
                task.await.unwrap();
            }
            assert_eq!(boxes[0].take().await, 4 * ROUNDS);
        });
        drop(runtime);
        pairs.check();
    }
}
