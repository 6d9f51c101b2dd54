//! When futures, outputs, wakers and thread-locals are dropped, and under which runtime.

mod support;

use preemptive::runtime::{Builder, Handle};
use preemptive::task;
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use support::load::{
    DropGuard, Drops, Hogs, LONG, SHORT, block_on, plain_block_on, quiet, runtime, spin_until,
    wait_until,
};

/// Takes its time in its destructor, so that a joiner that does not wait for it overtakes it.
struct SlowDrop(#[allow(dead_code, reason = "dropped after the body below")] DropGuard);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        for _ in 0..1_000 {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn a_future_is_dropped_before_its_joiner_goes_on_however_it_ends() {
    quiet();
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::start(&runtime, 2);
    let before = runtime.metrics().preemptions();
    let mut rounds = 0;
    while rounds < 100 || runtime.metrics().preemptions() < before + 100 {
        rounds += 1;
        assert!(rounds < 20_000, "nothing is ever preempted");
        let ways = (0..3).map(|way| {
            let drops = Drops::default();
            let guard = SlowDrop(drops.guard());
            let task = runtime.spawn(async move {
                let _guard = guard;
                match way {
                    0 => task::yield_now().await,
                    1 => panic!("expected"),
                    _ => pending::<()>().await,
                }
            });
            if way == 2 {
                task.abort();
            }
            // The joiner is a task of its own, on another worker as often as not.
            runtime.spawn(async move {
                let result = task.await;
                assert_eq!(drops.count(), 1, "way {way}");
                result.is_ok()
            })
        });
        let ways: Vec<_> = ways.collect();
        for (way, joiner) in ways.into_iter().enumerate() {
            assert_eq!(block_on(&runtime, joiner).unwrap(), way == 0);
        }
    }
    hogs.stop(&runtime);
}

#[test]
fn a_detached_output_is_dropped_at_completion_though_stale_wakers_live() {
    let runtime = runtime(2, SHORT);
    for _ in 0..200 {
        let (output, future) = (Drops::default(), Drops::default());
        let (of_output, of_future) = (output.guard(), future.guard());
        let stale: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let wakers = stale.clone();
        drop(runtime.spawn(async move {
            let _of_future = of_future;
            poll_fn(|context| {
                let mut wakers = wakers.lock().unwrap();
                wakers.extend((0..3).map(|_| context.waker().clone()));
                Poll::Ready(())
            })
            .await;
            of_output
        }));
        wait_until("the output is dropped", || output.count() == 1);
        assert_eq!(future.count(), 1);
        let wakers = std::mem::take(&mut *stale.lock().unwrap());
        assert_eq!(wakers.len(), 3);
        wakers.iter().for_each(Waker::wake_by_ref);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[test]
fn an_output_that_was_taken_is_dropped_once() {
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    for number in 0..500 {
        let guard = drops.guard();
        let task = runtime.spawn(async move { guard });
        let guard = block_on(&runtime, task).unwrap();
        assert_eq!(drops.count(), number);
        drop(guard);
    }
}

/// What a destructor saw of the runtime.
type Seen = mpsc::Sender<(bool, bool)>;

/// At the end of its life: takes a lock, wakes a waker, spawns.
struct BusyDrop {
    lock: Arc<Mutex<u32>>,
    waker: Option<Waker>,
    seen: Seen,
}

impl Drop for BusyDrop {
    fn drop(&mut self) {
        *self.lock.lock().unwrap() += 1;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        let handle = Handle::try_current();
        let (cancelled, is_cancelled) = mpsc::channel();
        if let Ok(handle) = &handle {
            let task = handle.spawn(async { unreachable!("the runtime has ended") });
            // Cancelled at once: whoever joins it elsewhere learns it without any runtime.
            thread::spawn(move || {
                let result = plain_block_on(task);
                cancelled.send(result.unwrap_err().is_cancelled()).unwrap();
            });
        }
        let is_cancelled = is_cancelled.recv_timeout(LONG) == Ok(true);
        self.seen.send((handle.is_ok(), is_cancelled)).unwrap();
    }
}

#[test]
fn destructors_at_shutdown_have_a_runtime_and_may_lock_wake_and_spawn() {
    for workers in [1, 2] {
        let runtime = runtime(workers, SHORT);
        let (seen, have_seen) = mpsc::channel();
        let lock = Arc::new(Mutex::new(0));
        const TASKS: usize = 10;
        let (started, have_started) = mpsc::channel();
        for _ in 0..TASKS {
            let (lock, seen, started) = (lock.clone(), seen.clone(), started.clone());
            drop(runtime.spawn(async move {
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                let _busy = BusyDrop {
                    lock,
                    waker: Some(waker),
                    seen,
                };
                started.send(()).unwrap();
                pending::<()>().await;
            }));
        }
        for _ in 0..TASKS {
            have_started.recv_timeout(LONG).unwrap();
        }
        drop((seen, runtime));
        assert_eq!(have_seen.iter().collect::<Vec<_>>(), [(true, true); TASKS]);
        assert_eq!(*lock.lock().unwrap(), TASKS as u32);
    }
}

#[test]
fn a_task_that_was_never_polled_is_dropped_at_shutdown() {
    let runtime = runtime(1, SHORT);
    let (drops, polled) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    let (started, has_started) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let is_stopped = stop.clone();
    // Keeps the only processor, with a slice far longer than this test, until shutdown has begun.
    let long = Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(std::time::Duration::from_secs(10))
        .min_slice(std::time::Duration::from_secs(10))
        .build()
        .unwrap();
    drop(long.spawn(async move {
        started.send(()).unwrap();
        spin_until("shutdown begins", || is_stopped.load(Ordering::SeqCst));
    }));
    has_started.recv_timeout(LONG).unwrap();
    for _ in 0..100 {
        let (guard, polled) = (drops.guard(), polled.clone());
        drop(long.spawn(async move {
            polled.fetch_add(1, Ordering::SeqCst);
            drop(guard);
        }));
    }
    let handle = long.handle().clone();
    let closer = runtime.spawn_blocking(move || drop(long));
    // That it has begun can be seen from what it does to new tasks, at its very first step; the others follow at once.
    let lets_go = runtime.spawn(async move {
        let nap = std::time::Duration::from_millis(20);
        while !handle.spawn(async {}).is_finished() {
            preemptive::time::sleep(nap).await;
        }
        preemptive::time::sleep(nap).await;
        stop.store(true, Ordering::SeqCst);
    });
    block_on(&runtime, async {
        lets_go.await.unwrap();
        closer.await.unwrap();
    });
    assert_eq!(drops.count(), 100);
    assert_eq!(polled.load(Ordering::SeqCst), 0);
}

#[test]
fn wakers_and_handles_outlive_their_runtime() {
    let runtime = runtime(2, SHORT);
    let (sender, wakers) = mpsc::channel();
    let task = runtime.spawn(poll_fn(move |context| {
        sender.send(context.waker().clone()).unwrap();
        Poll::<()>::Pending
    }));
    let waker = wakers.recv_timeout(LONG).unwrap();
    let (abort, handle) = (task.abort_handle(), runtime.handle().clone());
    let metrics = runtime.metrics();
    drop(runtime);
    waker.wake_by_ref();
    abort.abort();
    let error = plain_block_on(task).unwrap_err();
    assert!(error.is_cancelled());
    let late = handle.spawn(async { 1 });
    assert!(plain_block_on(late).unwrap_err().is_cancelled());
    let late = handle.spawn_blocking(|| 1);
    assert!(plain_block_on(late).unwrap_err().is_cancelled());
    assert_eq!(metrics.num_alive_tasks(), 0);
    waker.wake();
}

#[test]
fn a_task_that_holds_its_own_runtimes_handle_is_not_leaked() {
    let drops = Drops::default();
    for _ in 0..10 {
        let runtime = runtime(1, SHORT);
        let (handle, guard) = (runtime.handle().clone(), drops.guard());
        drop(runtime.spawn(async move {
            let _kept = (handle, guard);
            pending::<()>().await;
        }));
    }
    assert_eq!(drops.count(), 10);
}

static LOCALS_MADE: AtomicUsize = AtomicUsize::new(0);
static LOCALS_DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Local(#[allow(dead_code, reason = "something to free")] Vec<u8>);

impl Drop for Local {
    fn drop(&mut self) {
        LOCALS_DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

#[test]
fn dropping_a_runtime_runs_the_destructors_of_every_identitys_thread_locals() {
    for _ in 0..5 {
        let hooks = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let (on_start, on_stop) = (hooks.clone(), hooks.clone());
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .time_slice(SHORT)
            .on_thread_start(move || {
                on_start.0.fetch_add(1, Ordering::SeqCst);
            })
            .on_thread_stop(move || {
                on_stop.1.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        let before = LOCALS_MADE.load(Ordering::SeqCst);
        let goal = before + 6;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                runtime.spawn(async move {
                    LOCAL.with_borrow_mut(|local| {
                        local.get_or_insert_with(|| {
                            LOCALS_MADE.fetch_add(1, Ordering::SeqCst);
                            Local(vec![1; 1000])
                        });
                    });
                    // Each is in the middle of its poll until the last has begun: six identities.
                    spin_until("six polls are in progress", || {
                        LOCALS_MADE.load(Ordering::SeqCst) >= goal
                    });
                })
            })
            .collect();
        for task in tasks {
            block_on(&runtime, task).unwrap();
        }
        assert!(runtime.metrics().preemptions() > 0);
        drop(runtime);
        assert_eq!(
            LOCALS_MADE.load(Ordering::SeqCst),
            LOCALS_DROPPED.load(Ordering::SeqCst)
        );
        let (starts, stops) = (
            hooks.0.load(Ordering::SeqCst),
            hooks.1.load(Ordering::SeqCst),
        );
        assert!(
            starts >= 6,
            "one identity per poll in progress, not {starts}"
        );
        assert_eq!(starts, stops);
    }
}
