//! The current-thread flavour: the caller's thread runs tasks, sees its own thread-locals, and nothing starves.

mod support;

use preemptive::runtime::{Builder, Handle};
use preemptive::task::yield_now;
use preemptive::time::{Duration, Instant, sleep, timeout};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use support::current_thread::{detach, runtime};
use support::load::{LONG, spin_until};

thread_local! {
    static MARK: Cell<u64> = const { Cell::new(0) };
    static NAMES: RefCell<HashMap<u64, String>> = RefCell::new(HashMap::new());
}

#[test]
fn the_root_future_need_not_be_send() {
    let runtime = runtime();
    let count = Rc::new(Cell::new(0));
    let inside = Rc::clone(&count);
    let answer = runtime.block_on(async move {
        for _ in 0..100 {
            inside.set(inside.get() + 1);
            preemptive::spawn(async { yield_now().await })
                .await
                .unwrap();
        }
        inside.get()
    });
    assert_eq!((answer, count.get()), (100, 100));
}

#[test]
fn tasks_see_the_callers_thread_and_its_locals() {
    let runtime = Builder::new_current_thread().build().unwrap();
    MARK.set(42);
    let here = thread::current().id();
    let mut seen = 0;
    for _ in 0..100 {
        let (mark, thread) = runtime
            .block_on(async {
                preemptive::spawn(async { (MARK.get(), thread::current().id()) }).await
            })
            .unwrap();
        // Unless the kernel held the thread up for a slice in the middle of the root's poll.
        assert_eq!(mark == 42, thread == here);
        seen += usize::from(mark == 42);
    }
    assert!(seen > 50, "{seen} of 100");
}

#[test]
fn a_task_makes_no_progress_without_block_on() {
    let runtime = runtime();
    let (sender, receiver) = mpsc::channel();
    let task = runtime.spawn(async move { sender.send(()).unwrap() });
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
    runtime.block_on(task).unwrap();
    receiver.recv().unwrap();
}

#[test]
fn a_hogging_task_starves_neither_timers_nor_tasks_nor_the_root() {
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let ticks = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let hogs: Vec<_> = (0..3)
            .map(|_| {
                let (stop, ticks) = (stop.clone(), ticks.clone());
                preemptive::spawn(async move {
                    spin_until("the hogs are let go", || stop.load(Ordering::Relaxed));
                    ticks.load(Ordering::Relaxed)
                })
            })
            .collect();
        let ticker = {
            let ticks = ticks.clone();
            preemptive::spawn(async move {
                for _ in 0..20 {
                    sleep(Duration::from_millis(1)).await;
                    ticks.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        // The root shares its identity with one of the hogs, so another task has to end them.
        let watch = stop.clone();
        detach(async move {
            ticker.await.unwrap();
            watch.store(true, Ordering::Relaxed);
        });
        for hog in hogs {
            assert_eq!(hog.await.unwrap(), 20);
        }
    });
    assert!(runtime.metrics().preemptions() > 0);
}

#[test]
fn a_hogging_root_starves_no_task_and_keeps_its_identity() {
    let runtime = runtime();
    let ticks = Arc::new(AtomicUsize::new(0));
    let inside = ticks.clone();
    MARK.set(7);
    let here = thread::current().id();
    runtime.block_on(async {
        let ticker = preemptive::spawn(async move {
            for tick in 0..20_u64 {
                sleep(Duration::from_micros(200)).await;
                MARK.set(100 + tick);
                NAMES.with_borrow_mut(|names| names.insert(tick, format!("task {tick}")));
                inside.fetch_add(1, Ordering::Relaxed);
            }
        });
        NAMES.with_borrow_mut(|names| {
            // Borrowed all the while: whoever came here under the same identity would panic.
            spin_until("the ticks are over", || {
                assert_eq!(thread::current().id(), here);
                assert_eq!(MARK.get(), 7);
                names.insert(black_box(0), format!("root {}", names.len()));
                ticks.load(Ordering::Relaxed) == 20
            });
        });
        ticker.await.unwrap();
    });
    assert!(runtime.metrics().preemptions() > 0);
}

#[test]
fn a_blocked_root_starves_no_task() {
    let runtime = runtime();
    let (sender, receiver) = mpsc::channel();
    let answer = runtime.block_on(async {
        detach(async move {
            for number in 0..10 {
                sleep(Duration::from_millis(1)).await;
                sender.send(number).unwrap();
            }
        });
        // Blocks the thread in the kernel until tasks, on the same thread, have sent something.
        receiver.iter().sum::<u64>()
    });
    assert_eq!(answer, 45);
}

#[test]
fn a_lock_held_by_a_preempted_poll_is_waited_for() {
    let runtime = runtime();
    let lock = Arc::new(Mutex::new(0_u64));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let lock = lock.clone();
                preemptive::spawn(async move {
                    for _ in 0..20 {
                        {
                            let mut guard = lock.lock().unwrap();
                            black_box((0..20_000_u64).sum::<u64>());
                            *guard += 1;
                        }
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*lock.lock().unwrap(), 160);
}

#[test]
fn several_threads_block_on_one_runtime() {
    let runtime = Arc::new(runtime());
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let runtime = runtime.clone();
            thread::spawn(move || {
                MARK.set(thread);
                for round in 0..50_u64 {
                    let root = Rc::new(thread);
                    let answer = runtime.block_on(async move {
                        let task = preemptive::spawn(async move {
                            sleep(Duration::from_micros(100)).await;
                            round
                        });
                        sleep(Duration::from_micros(50)).await;
                        let answer = task.await.unwrap();
                        assert_eq!(MARK.get(), *root);
                        answer
                    });
                    assert_eq!(answer, round);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_thousand_calls_leave_nothing_behind() {
    let runtime = runtime();
    let mut fibers = 0;
    for round in 0..1000_u64 {
        let answer = runtime.block_on(async move {
            preemptive::spawn(async move {
                yield_now().await;
                round
            })
            .await
        });
        assert_eq!(answer.unwrap(), round);
        if round == 100 {
            fibers = runtime.metrics().fibers();
        }
    }
    // Some polls may have been preempted, each of which had a fiber.
    assert!(runtime.metrics().fibers() <= fibers + 10);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

#[test]
fn a_wake_from_another_thread_reaches_the_root() {
    let runtime = runtime();
    for round in 0..100_u64 {
        let (sender, receiver) = futures_channel();
        let other = thread::spawn(move || sender.send(round));
        assert_eq!(runtime.block_on(receiver), round);
        other.join().unwrap();
    }
}

#[test]
fn a_root_that_yields_without_end_starves_no_hog_and_no_task() {
    let runtime = runtime();
    let done = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let flag = done.clone();
        detach(async move {
            // Long enough to be preempted.
            let start = Instant::now();
            spin_until("it is later", || start.elapsed() > Duration::from_millis(3));
            detach(async move { flag.store(true, Ordering::Relaxed) });
        });
        let start = Instant::now();
        while !done.load(Ordering::Relaxed) {
            assert!(start.elapsed() < LONG);
            yield_now().await;
        }
    });
}

#[test]
fn a_runtime_shut_down_by_its_own_root_lets_the_root_go_on() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let (sender, receiver) = futures_channel();
    handle.block_on(async move {
        let task = preemptive::spawn(std::future::pending::<()>());
        runtime.shutdown_background();
        assert!(task.await.unwrap_err().is_cancelled());
        thread::spawn(move || sender.send(1));
        assert_eq!(receiver.await, 1);
    });
}

#[test]
fn nested_calls_are_refused() {
    let outer = runtime();
    let inner = runtime();
    let threads = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let refused = |f: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("a panic");
        let message = payload
            .downcast::<&str>()
            .map(|message| message.to_string());
        let message = message.unwrap_or_else(|payload| *payload.downcast::<String>().unwrap());
        assert!(message.contains("from within a runtime"), "{message}");
    };
    outer.block_on(async {
        refused(&|| inner.block_on(async {}));
        refused(&|| outer.block_on(async {}));
        refused(&|| threads.block_on(async {}));
    });
    let handle = inner.handle().clone();
    threads
        .block_on(threads.spawn(async move {
            let payload = catch_unwind(AssertUnwindSafe(|| handle.block_on(async {})));
            assert!(payload.is_err());
        }))
        .unwrap();
    inner.block_on(async {});
}

#[test]
fn timeouts_and_blocking_closures_work() {
    let runtime = runtime();
    runtime.block_on(async {
        assert!(
            timeout(Duration::from_millis(1), std::future::pending::<()>())
                .await
                .is_err()
        );
        let handle = Handle::current();
        let sum = preemptive::task::spawn_blocking(move || handle.block_on(async { 40 + 2 }));
        assert_eq!(sum.await.unwrap(), 42);
    });
}

/// A value that comes from another thread.
fn futures_channel() -> (Sender, impl Future<Output = u64>) {
    let slot: Sender = Sender(Arc::new(Mutex::new((None, None))));
    let receiver = slot.0.clone();
    let future = std::future::poll_fn(move |context| {
        let mut slot = receiver.lock().unwrap();
        match slot.0.take() {
            Some(value) => std::task::Poll::Ready(value),
            None => {
                slot.1 = Some(context.waker().clone());
                std::task::Poll::Pending
            }
        }
    });
    (slot, future)
}

type Slot = (Option<u64>, Option<std::task::Waker>);

struct Sender(Arc<Mutex<Slot>>);

impl Sender {
    fn send(self, value: u64) {
        let waker = {
            let mut slot = self.0.lock().unwrap();
            slot.0 = Some(value);
            slot.1.take()
        };
        waker.into_iter().for_each(std::task::Waker::wake);
    }
}

#[test]
fn tasks_run_in_the_order_in_which_they_became_runnable() {
    // More than a ring has room for, and half of them are spawned by the others.
    const TASKS: u32 = 2_000;
    let runtime = Builder::new_current_thread()
        .home_only(true)
        .build()
        .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let order = order.clone();
                preemptive::spawn(async move {
                    order.lock().unwrap().push(number);
                    let inner = order.clone();
                    preemptive::spawn(async move { inner.lock().unwrap().push(number + TASKS) });
                    yield_now().await;
                    order.lock().unwrap().push(number + 2 * TASKS);
                })
            })
            .collect();
        for task in tasks {
            timeout(LONG, task).await.unwrap().unwrap();
        }
    });
    let order = order.lock().unwrap();
    let first: Vec<u32> = (0..TASKS).collect();
    let then: Vec<u32> = (0..TASKS)
        .flat_map(|number| [number + TASKS, number + 2 * TASKS])
        .collect();
    assert_eq!(order[..TASKS as usize], first);
    assert_eq!(order[TASKS as usize..], then);
}
