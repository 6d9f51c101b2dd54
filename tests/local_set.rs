//! Tasks that are not `Send`: sets of them, local runtimes, and rule R2 while others preempt.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task::{self, LocalSet, spawn_local, yield_now};
use preemptive::time::{Duration, sleep, timeout};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use support::current_thread::runtime as current_thread;
use support::load::{
    LONG, Mailbox, SHORT, block_on, check, message, runtime, spin_until, wait_until,
};

/// A number of two halves, which are the same whenever nobody is in the middle of changing it.
#[derive(Default)]
struct Halves {
    one: Cell<u64>,
    other: Cell<u64>,
}

impl Halves {
    /// Adds one, and takes its time over it.
    fn increase(&self, spins: u32) {
        let before = self.one.get();
        assert_eq!(before, self.other.get(), "in the middle of another's poll");
        self.one.set(before + 1);
        for _ in 0..spins {
            check();
            std::hint::spin_loop();
        }
        self.other.set(before + 1);
    }
}

/// Rule R2, for a set that is polled on `runtime`: its tasks hog, and `Send` tasks run beside them. Returns how often one of
/// those was in the middle of a local poll.
fn polls_do_not_interleave(runtime: &Runtime) -> usize {
    const TASKS: u64 = 8;
    const TURNS: u64 = 100;
    let in_poll = Arc::new(AtomicBool::new(false));
    let inside = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let halves = Rc::new(Halves::default());
    let references = Rc::downgrade(&halves);
    let (in_poll_2, inside_2, done_2) = (in_poll.clone(), inside.clone(), done.clone());
    let neighbour = runtime.spawn(async move {
        while !done_2.load(Ordering::Relaxed) {
            inside_2.fetch_add(
                usize::from(in_poll_2.load(Ordering::SeqCst)),
                Ordering::Relaxed,
            );
            yield_now().await;
        }
    });
    let set = LocalSet::new();
    set.block_on(runtime, async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (halves, in_poll) = (halves.clone(), in_poll.clone());
                spawn_local(async move {
                    for _ in 0..TURNS {
                        // The count of an `Rc` is as unprotected as the number.
                        let halves = black_box(halves.clone());
                        assert!(!in_poll.swap(true, Ordering::SeqCst));
                        halves.increase(3_000);
                        in_poll.store(false, Ordering::SeqCst);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            timeout(LONG, task).await.expect("in time").unwrap();
        }
    });
    done.store(true, Ordering::Relaxed);
    block_on(runtime, neighbour).unwrap();
    assert_eq!(halves.one.get(), TASKS * TURNS);
    assert_eq!(halves.other.get(), TASKS * TURNS);
    drop(halves);
    assert_eq!(references.strong_count(), 0, "the count was torn");
    inside.load(Ordering::Relaxed)
}

#[test]
fn local_polls_never_interleave_on_a_current_thread_runtime() {
    let runtime = Builder::new_current_thread()
        .time_slice(SHORT)
        .build()
        .unwrap();
    let mut inside = 0;
    for _ in 0..100 {
        inside += polls_do_not_interleave(&runtime);
        if inside > 0 {
            return;
        }
    }
    panic!("no `Send` task ever ran in the middle of a local poll");
}

#[test]
fn local_polls_never_interleave_on_a_multi_thread_runtime() {
    let runtime = runtime(2, SHORT);
    polls_do_not_interleave(&runtime);
}

#[test]
fn local_polls_never_interleave_inside_a_task() {
    // The set is polled by a fiber that is preempted, and moves between workers.
    let runtime = Arc::new(runtime(2, SHORT));
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..3)
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(async move {
                spin_until("the hogs are let go", || stop.load(Ordering::Relaxed));
            })
        })
        .collect();
    let handle = runtime.handle().clone();
    let task = runtime.spawn(async move {
        let halves = Rc::new(Halves::default());
        let here = thread::current().id();
        let set = LocalSet::new();
        handle.block_on(set.run_until(async {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let halves = halves.clone();
                    spawn_local(async move {
                        for _ in 0..50 {
                            halves.increase(3_000);
                            assert_eq!(thread::current().id(), here);
                            sleep(Duration::from_micros(50)).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
        halves.one.get()
    });
    assert_eq!(block_on(&runtime, task).unwrap(), 400);
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        block_on(&runtime, hog).unwrap();
    }
}

#[test]
fn a_hogging_local_task_starves_nobody_but_its_set() {
    let runtime = current_thread();
    let done = Arc::new(AtomicBool::new(false));
    let set = LocalSet::new();
    let seen = done.clone();
    let hog = set.spawn_local(async move {
        let not_send = Rc::new(());
        spin_until("the others are done", || seen.load(Ordering::Relaxed));
        drop(not_send);
    });
    let ticker = runtime.spawn(async move {
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        done.store(true, Ordering::Relaxed);
    });
    set.block_on(&runtime, async {
        hog.await.unwrap();
        ticker.await.unwrap();
    });
}

#[test]
fn others_wake_and_abort_local_tasks_from_anywhere() {
    let runtime = runtime(2, SHORT);
    let set = LocalSet::new();
    for round in 0..200 {
        let mailbox = Mailbox::new();
        let inside = mailbox.clone();
        let waits = set.spawn_local(async move {
            let not_send = Rc::new(1);
            inside.take().await + *not_send
        });
        let aborted = set.spawn_local(async {
            let _not_send = Rc::new(());
            pending::<()>().await;
        });
        let abort = aborted.abort_handle();
        let wakes = thread::spawn(move || {
            mailbox.put(round);
            abort.abort();
        });
        let (answer, end) = set.block_on(&runtime, async {
            timeout(LONG, async { (waits.await.unwrap(), aborted.await) })
                .await
                .expect("woken")
        });
        assert_eq!(answer, round + 1);
        assert!(end.unwrap_err().is_cancelled());
        wakes.join().unwrap();
    }
}

#[test]
fn a_set_may_end_while_others_wake_its_tasks() {
    let runtime = runtime(1, SHORT);
    for _ in 0..200 {
        let (sender, receiver) = mpsc::channel::<Waker>();
        let stop = Arc::new(AtomicBool::new(false));
        let alive = Arc::new(());
        let seen = stop.clone();
        let wakes = thread::spawn(move || {
            let wakers: Vec<Waker> = receiver.iter().collect();
            while !seen.load(Ordering::Relaxed) {
                wakers.iter().for_each(Waker::wake_by_ref);
            }
            // The last references to the tasks are dropped here.
        });
        let set = LocalSet::new();
        for _ in 0..4 {
            let (sender, alive) = (sender.clone(), alive.clone());
            set.spawn_local(async move {
                let _alive = (alive, Rc::new(()));
                let mut sender = Some(sender);
                poll_fn(|context| {
                    if let Some(sender) = sender.take() {
                        sender.send(context.waker().clone()).unwrap();
                    }
                    Poll::<()>::Pending
                })
                .await;
            });
        }
        drop(sender);
        set.block_on(&runtime, async { sleep(Duration::from_micros(200)).await });
        drop(set);
        assert_eq!(Arc::strong_count(&alive), 1, "dropped with the set, here");
        stop.store(true, Ordering::Relaxed);
        wakes.join().unwrap();
    }
}

/// Writes down where and when it is dropped.
struct Tells(u32, Rc<RefCell<Vec<(u32, thread::ThreadId)>>>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.1.borrow_mut().push((self.0, thread::current().id()));
    }
}

#[test]
fn dropping_a_set_drops_its_futures_here_oldest_first() {
    let runtime = current_thread();
    let dropped = Rc::default();
    let set = LocalSet::new();
    let mut handles = Vec::new();
    for number in 0..5 {
        let tells = Tells(number, Rc::clone(&dropped));
        handles.push(set.spawn_local(async move {
            pending::<()>().await;
            drop(tells);
        }));
    }
    set.block_on(&runtime, yield_now());
    drop(set);
    let here = thread::current().id();
    let expected: Vec<_> = (0..5).map(|number| (number, here)).collect();
    assert_eq!(*dropped.borrow(), expected);
    for handle in handles {
        assert!(runtime.block_on(handle).unwrap_err().is_cancelled());
    }
}

#[test]
fn what_is_spawned_while_a_set_ends_is_cancelled() {
    struct SpawnsLate(Rc<RefCell<Option<task::JoinHandle<()>>>>);
    impl Drop for SpawnsLate {
        fn drop(&mut self) {
            *self.0.borrow_mut() = Some(spawn_local(async {}));
        }
    }
    let runtime = current_thread();
    let late = Rc::default();
    let set = LocalSet::new();
    let spawns = SpawnsLate(Rc::clone(&late));
    set.spawn_local(async move {
        pending::<()>().await;
        drop(spawns);
    });
    set.block_on(&runtime, yield_now());
    drop(set);
    let late = late.borrow_mut().take().expect("spawned");
    assert!(runtime.block_on(late).unwrap_err().is_cancelled());
}

#[test]
fn a_set_dropped_by_its_own_task_ends_it_at_the_end_of_the_poll() {
    let runtime = current_thread();
    let slot: Rc<RefCell<Option<LocalSet>>> = Rc::default();
    let inside = slot.clone();
    let set = LocalSet::new();
    let task = set.spawn_local(async move {
        drop(inside.borrow_mut().take());
        pending::<()>().await;
    });
    *slot.borrow_mut() = Some(set);
    runtime.block_on(poll_fn(|context| {
        let mut set = slot.borrow_mut().take().expect("still there");
        // What the task drops is a set that is not this one any more.
        *slot.borrow_mut() = Some(LocalSet::new());
        let _ = std::pin::Pin::new(&mut set).poll(context);
        assert!(slot.borrow().is_none());
        Poll::Ready(())
    }));
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn sets_nest_and_the_innermost_one_is_current() {
    let runtime = current_thread();
    let outer = Rc::new(LocalSet::new());
    let inner = Rc::new(LocalSet::new());
    let (outer_2, inner_2) = (outer.clone(), inner.clone());
    let order = outer.block_on(&runtime, async move {
        // In a task of the outer set, the outer set itself and another.
        spawn_local(async move {
            let mut order = vec![
                outer_2
                    .run_until(async { spawn_local(async { 1 }).await })
                    .await,
            ];
            order.push(
                inner_2
                    .run_until(async { spawn_local(async { 2 }).await })
                    .await,
            );
            order.push(spawn_local(async { 3 }).await);
            order
        })
        .await
        .unwrap()
    });
    let order: Vec<_> = order.into_iter().map(Result::unwrap).collect();
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn a_set_lets_others_have_their_turn() {
    // Tasks that always wake each other: the future beside them is polled all the same.
    let runtime = current_thread();
    let set = LocalSet::new();
    for _ in 0..100 {
        set.spawn_local(async {
            loop {
                yield_now().await;
            }
        });
    }
    set.block_on(&runtime, async {
        for _ in 0..100 {
            yield_now().await;
        }
        preemptive::spawn(async {}).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn spawn_local_needs_a_set_and_says_so() {
    let runtime = current_thread();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { drop(spawn_local(async {})) });
    }));
    let payload = panic.unwrap_err();
    let text = message(&*payload).unwrap();
    assert!(text.contains("outside of a `task::LocalSet`"), "{text}");
}

#[test]
fn a_set_stays_with_its_thread_when_the_runtime_ends_first() {
    let set = LocalSet::new();
    let ran = Rc::new(Cell::new(0));
    let (first, second) = (current_thread(), current_thread());
    let inside = ran.clone();
    set.spawn_local(async move {
        loop {
            inside.set(inside.get() + 1);
            yield_now().await;
        }
    });
    set.block_on(&first, yield_now());
    drop(first);
    let before = ran.get();
    set.block_on(&second, async {
        for _ in 0..10 {
            yield_now().await;
        }
    });
    assert!(ran.get() > before);
    wait_until("the task's reference is the set's", || {
        Rc::strong_count(&ran) == 2
    });
    drop(set);
    assert_eq!(Rc::strong_count(&ran), 1);
}
