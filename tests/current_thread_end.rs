//! How current-thread runtimes, and calls of `block_on`, end: preempted polls are finished, tasks dropped, panics
//! passed on.

mod support;

use preemptive::runtime::{Builder, Handle, Runtime};
use preemptive::task::yield_now;
use preemptive::time::{Duration, sleep};
use std::cell::RefCell;
use std::fs;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use support::current_thread::{detach, runtime};
use support::load::{LONG, Mailbox, plain_block_on, spin_until, wait_until};
use support::pressure::kernel_thread;

/// Starts two polls that go on until `stop`, on other identities than the calling thread's own, and so are set
/// aside when this returns.
async fn start_hogs(stop: &Arc<AtomicBool>, at_end: impl Fn() + Clone + Send + 'static) {
    let home = thread::current().id();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut is_started = false;
    while !is_started {
        let (begun, stop, at_end) = (begun.clone(), stop.clone(), at_end.clone());
        // While this occupies the thread's own identity, the two cannot get it.
        let occupant = preemptive::spawn(async move {
            if thread::current().id() != home {
                return false;
            }
            for _ in 0..2 {
                let (begun, stop, at_end) = (begun.clone(), stop.clone(), at_end.clone());
                detach(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    spin_until("the polls are let go", || stop.load(Ordering::Relaxed));
                    at_end();
                });
            }
            spin_until("both have begun", || begun.load(Ordering::Relaxed) == 2);
            true
        });
        is_started = occupant.await.unwrap();
    }
}

#[test]
fn a_poll_set_aside_when_block_on_returns_is_finished_by_its_lender() {
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    runtime.block_on(start_hogs(&stop, move || sender.send(()).unwrap()));
    assert_eq!(runtime.metrics().given_back(), 2);
    stop.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        receiver.recv_timeout(LONG).unwrap();
    }
    runtime.block_on(async { yield_now().await });
}

#[test]
fn dropping_the_runtime_ends_preempted_polls_and_drops_tasks_where_it_is_current() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            assert!(Handle::try_current().is_ok());
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = runtime();
    let dropped = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        for _ in 0..10 {
            let guard = Dropped(dropped.clone());
            detach(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        let guard = Arc::new(Dropped(dropped.clone()));
        start_hogs(&stop, move || drop(guard.clone())).await;
    });
    // Never polled.
    let guard = Dropped(dropped.clone());
    drop(runtime.spawn(async move { drop(guard) }));
    stop.store(true, Ordering::Relaxed);
    drop(runtime);
    assert_eq!(dropped.load(Ordering::SeqCst), 12);
    assert!(Handle::try_current().is_err());
}

#[test]
fn shutdown_timeout_leaves_a_poll_that_does_not_end() {
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    runtime.block_on(start_hogs(&stop, move || sender.send(()).unwrap()));
    runtime.shutdown_timeout(Duration::from_millis(20));
    stop.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        receiver.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn shutdown_timeout_drops_tasks_though_whoever_drives_polls_for_ever() {
    for home_only in [false, true] {
        let runtime = Builder::new_current_thread()
            .home_only(home_only)
            .build()
            .expect("a runtime");
        let (begun, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (begins, stops) = (begun.clone(), stop.clone());
        let (idle, hog) = (Arc::new(()), Arc::new(()));
        let (inside_idle, inside_hog) = (idle.clone(), hog.clone());
        let waits = runtime.spawn(async move {
            let _inside = inside_idle;
            pending::<()>().await;
        });
        drop(runtime.spawn(async move {
            let _inside = inside_hog;
            begins.store(true, Ordering::Relaxed);
            spin_until("the poll is let go", || stops.load(Ordering::Relaxed));
            pending::<()>().await;
        }));
        let handle = runtime.handle().clone();
        let driver = thread::spawn(move || {
            handle.block_on(async {
                while Handle::current().metrics().num_alive_tasks() > 0 {
                    yield_now().await;
                }
            });
        });
        wait_until("the poll has begun", || begun.load(Ordering::Relaxed));
        runtime.shutdown_timeout(Duration::from_millis(1));
        assert_eq!(Arc::strong_count(&idle), 1, "nobody polled this one");
        assert!(plain_block_on(waits).unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&hog), 2, "somebody polls this one");
        stop.store(true, Ordering::Relaxed);
        wait_until("its poll ends", || Arc::strong_count(&hog) == 1);
        driver.join().unwrap();
    }
}

#[test]
fn a_runtime_in_a_thread_local_ends_with_its_thread() {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let ended = Arc::new(());
    let watched = ended.clone();
    thread::spawn(move || {
        RUNTIME.with_borrow_mut(|slot| *slot = Some(runtime()));
        // The runtime's own thread-locals come later, and are destroyed first.
        RUNTIME.with_borrow(|slot| {
            let runtime = slot.as_ref().unwrap();
            drop(runtime.spawn(async move {
                let _watched = watched;
                std::future::pending::<()>().await;
            }));
            runtime.block_on(async { yield_now().await });
        });
    })
    .join()
    .unwrap();
    assert_eq!(Arc::strong_count(&ended), 1);
}

#[test]
fn a_panic_of_the_root_comes_out_of_block_on_and_the_runtime_goes_on() {
    let runtime = runtime();
    for _ in 0..20 {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                yield_now().await;
                panic!("root");
            })
        }));
        assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "root");
        assert_eq!(
            runtime
                .block_on(async { preemptive::spawn(async { 1 }).await })
                .unwrap(),
            1
        );
    }
}

/// Waits until a thread sleeps in the kernel.
fn wait_until_asleep(thread: i32) {
    wait_until("the thread sleeps", || {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("it lives");
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('S'))
    });
}

#[test]
fn who_polls_for_long_is_not_the_one_to_take_over() {
    let runtime = Arc::new(runtime());
    let (end_lead, start_long) = (Mailbox::new(), Mailbox::new());
    let (release, released) = mpsc::channel::<()>();
    let (polls, is_polling) = mpsc::channel();
    let (led, leads) = mpsc::channel();
    let leader = thread::spawn({
        let (runtime, end_lead) = (runtime.clone(), end_lead.clone());
        move || {
            runtime.block_on(async move {
                led.send(()).unwrap();
                end_lead.take().await;
            });
        }
    });
    leads.recv().unwrap();
    // Both wait for their futures; the second is the one that would be told first.
    let follower = |future: Box<dyn FnOnce() + Send>| {
        let (told, id) = mpsc::channel();
        let thread = thread::spawn(move || {
            told.send(kernel_thread()).unwrap();
            future();
        });
        wait_until_asleep(id.recv().unwrap());
        thread
    };
    let waits = follower(Box::new({
        let runtime = runtime.clone();
        move || {
            let task = runtime.spawn(async {
                sleep(Duration::from_millis(200)).await;
                6 * 7
            });
            assert_eq!(runtime.block_on(task).unwrap(), 42);
        }
    }));
    let polls_for_long = follower(Box::new({
        let (runtime, start_long) = (runtime.clone(), start_long.clone());
        move || {
            runtime.block_on(async move {
                start_long.take().await;
                polls.send(()).unwrap();
                released.recv().unwrap();
            });
        }
    }));
    start_long.put(());
    is_polling.recv().unwrap();
    end_lead.put(());
    // Only a runtime that is driven completes the task.
    waits.join().unwrap();
    release.send(()).unwrap();
    polls_for_long.join().unwrap();
    leader.join().unwrap();
}
