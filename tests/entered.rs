//! What a thread is in the middle of: guards of `enter`, `block_on`, `block_in_place`.

mod support;

use preemptive::runtime::{Builder, EnterGuard, Handle, Runtime, worker_index};
use preemptive::task::{block_in_place, spawn_blocking, yield_now};
use preemptive::time::sleep;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use support::load::{LONG, Mailbox, SHORT, block_on, message};

fn threads(workers: usize) -> Runtime {
    support::load::runtime(workers, SHORT)
}

fn at_home() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// What `f` says when it panics.
#[track_caller]
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => message(&*payload).unwrap_or_default().to_owned(),
    }
}

#[test]
fn guards_that_are_dropped_in_order_restore_what_was_current() {
    let (one, other) = (threads(1), at_home());
    let (first, second) = (one.handle().id(), other.handle().id());
    assert!(Handle::try_current().is_err());
    let outer = one.enter();
    assert_eq!(Handle::current().id(), first);
    let inner = other.enter();
    assert_eq!(Handle::current().id(), second);
    drop(inner);
    assert_eq!(Handle::current().id(), first);
    drop(outer);
    let error = Handle::try_current().unwrap_err();
    assert!(error.is_missing_context());
    assert!(!error.is_thread_local_destroyed());
}

#[test]
fn guards_that_are_dropped_out_of_order_panic() {
    let runtime = threads(1);
    let outer = runtime.enter();
    let inner = runtime.enter();
    let said = panic_of(|| drop(outer));
    assert!(said.contains("out of order"), "{said}");
    // Its own end is out of order as well now; while a panic unwinds it is let pass.
    let said = panic_of(|| {
        let _inner = inner;
        panic!("something else");
    });
    assert_eq!(said, "something else");
    // And `enter` goes on working.
    let guard = runtime.enter();
    let task = preemptive::spawn(async { 3 });
    drop(guard);
    assert_eq!(block_on(&runtime, task).unwrap(), 3);
}

#[test]
fn a_guard_does_not_keep_its_runtime_from_being_ended() {
    let runtime = threads(1);
    let _guard = runtime.enter();
    runtime.shutdown_timeout(LONG);
    let late = preemptive::spawn(async {});
    assert!(late.is_finished());
    assert_eq!(Handle::current().block_on(async { 5 }), 5);
}

#[test]
fn guards_stay_on_their_thread_and_runtimes_cross_panics() {
    fn is_sync<T: Sync + Unpin>() {}
    fn is_shared<T: Send + Sync + Unpin>() {}
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_sync::<EnterGuard<'_>>();
    is_shared::<Builder>();
    is_shared::<Handle>();
    is_shared::<Runtime>();
    is_unwind_safe::<Runtime>();
}

#[test]
fn a_thread_that_is_over_says_that_it_does_not_know_its_runtime() {
    struct Asks(mpsc::Sender<(bool, bool)>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let error = Handle::try_current().unwrap_err();
            let said = error.to_string().contains("destroyed");
            let _ = self.0.send((error.is_thread_local_destroyed(), said));
        }
    }
    thread_local! {
        static ASKS: RefCell<Option<Asks>> = const { RefCell::new(None) };
    }
    let runtime = threads(1);
    let (sender, receiver) = mpsc::channel();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        // What was made last is destroyed first: the runtime's own, then this.
        ASKS.set(Some(Asks(sender)));
        let _guard = handle.enter();
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv().unwrap(), (true, true));
}

#[test]
fn tasks_know_their_processor_and_others_have_none() {
    assert_eq!(worker_index(), None);
    let runtime = threads(3);
    runtime.block_on(async { assert_eq!(worker_index(), None) });
    for _ in 0..50 {
        let index = runtime.spawn(async { worker_index() });
        assert!(
            block_on(&runtime, index)
                .unwrap()
                .is_none_or(|index| index < 3)
        );
    }
    let blocking = runtime.spawn_blocking(worker_index);
    assert_eq!(block_on(&runtime, blocking).unwrap(), None);

    let runtime = at_home();
    runtime.block_on(async {
        assert_eq!(worker_index(), Some(0));
        let task = preemptive::spawn(async { worker_index() });
        assert_eq!(task.await.unwrap(), Some(0));
        assert_eq!(spawn_blocking(worker_index).await.unwrap(), None);
    });
    assert_eq!(worker_index(), None);
}

#[test]
fn a_second_thread_inside_block_on_of_a_current_thread_runtime_is_no_worker() {
    let runtime = at_home();
    let (entered, drives) = mpsc::channel();
    let release = Mailbox::new();
    let waits = release.clone();
    std::thread::scope(|scope| {
        let runtime = &runtime;
        let driver = scope.spawn(move || {
            runtime.block_on(async {
                entered.send(()).unwrap();
                waits.take().await;
                worker_index()
            })
        });
        drives.recv().unwrap();
        let other = scope.spawn(|| runtime.block_on(async { worker_index() }));
        assert_eq!(other.join().unwrap(), None);
        release.put(());
        assert_eq!(driver.join().unwrap(), Some(0));
    });
}

thread_local! {
    static MARK: Cell<u64> = const { Cell::new(0) };
}

#[test]
fn a_closure_that_blocks_runs_in_place_and_others_go_on() {
    let runtime = threads(1);
    let (unblock, blocks) = mpsc::channel();
    let task = runtime.spawn(async move {
        MARK.set(7);
        let got = block_in_place(|| {
            assert_eq!(MARK.get(), 7);
            let nested = block_in_place(|| blocks.recv_timeout(LONG).unwrap());
            assert_eq!(MARK.get(), 7, "no other poll has seen this identity");
            nested
        });
        yield_now().await;
        got
    });
    // One processor, whose task blocks: the others run all the same.
    for _ in 0..20 {
        block_on(&runtime, runtime.spawn(async { MARK.set(1) })).unwrap();
    }
    unblock.send(11).unwrap();
    assert_eq!(block_on(&runtime, task).unwrap(), 11);
}

#[test]
fn block_in_place_is_allowed_wherever_another_thread_can_go_on() {
    assert_eq!(block_in_place(|| 1), 1);
    let runtime = threads(1);
    assert_eq!(runtime.block_on(async { block_in_place(|| 2) }), 2);
    let blocking = runtime.spawn_blocking(|| block_in_place(|| 3));
    assert_eq!(block_on(&runtime, blocking).unwrap(), 3);
    let panics = runtime.spawn(async { block_in_place(|| std::panic::resume_unwind(Box::new(4))) });
    assert!(block_on(&runtime, panics).unwrap_err().is_panic());
    // What it has entered is left again.
    let after = runtime.spawn(async { panic_of(|| drop(threads(1))) });
    assert!(
        block_on(&runtime, after)
            .unwrap()
            .contains("Cannot drop a runtime")
    );
}

#[test]
fn block_in_place_is_refused_on_the_thread_of_a_current_thread_runtime() {
    let runtime = at_home();
    runtime.block_on(async {
        let said = panic_of(|| block_in_place(|| ()));
        assert!(said.contains("multi-threaded runtime"), "{said}");
        let task = preemptive::spawn(async { panic_of(|| block_in_place(|| ())) });
        assert!(task.await.unwrap().contains("multi-threaded runtime"));
        spawn_blocking(|| block_in_place(|| ())).await.unwrap();
    });
    // A handle's own, as on Tokio; but not in the tasks that it runs meanwhile.
    let handle = runtime.handle().clone();
    handle.block_on(async {
        assert_eq!(
            block_in_place(|| Handle::current().block_on(async { 6 })),
            6
        );
        let task = preemptive::spawn(async { panic_of(|| block_in_place(|| ())) });
        assert!(task.await.unwrap().contains("multi-threaded runtime"));
    });
    block_in_place(|| ());
}

#[test]
fn block_on_inside_it_works_and_says_no_outside() {
    let (runtime, home) = (threads(1), at_home());
    for inner in [runtime.handle().clone(), home.handle().clone()] {
        let nested = inner.clone();
        runtime.block_on(async {
            let said = panic_of(|| nested.block_on(async {}));
            assert!(said.contains("from within a runtime"), "{said}");
            block_in_place(|| {
                nested.block_on(async {
                    sleep(Duration::from_micros(100)).await;
                    preemptive::spawn(async { yield_now().await })
                        .await
                        .unwrap();
                    let said = panic_of(|| nested.block_on(async {}));
                    assert!(said.contains("from within a runtime"), "{said}");
                });
            });
            let said = panic_of(|| nested.block_on(async {}));
            assert!(said.contains("from within a runtime"), "{said}");
        });
        let task = runtime.spawn(async move {
            block_in_place(|| {
                inner.block_on(async {
                    sleep(Duration::from_micros(100)).await;
                    preemptive::spawn(async { 9 }).await.unwrap()
                })
            })
        });
        assert_eq!(block_on(&runtime, task).unwrap(), 9);
    }
}

#[test]
fn a_task_lends_a_current_thread_runtime_a_thread_while_it_waits_for_it() {
    let runtime = threads(1);
    for _ in 0..20 {
        let task = runtime.spawn(async {
            let ran = Arc::new(AtomicUsize::new(0));
            let count = ran.clone();
            let got = block_in_place(move || {
                let inner = at_home();
                let tasks: Vec<_> = (0..10)
                    .map(|_| {
                        let count = count.clone();
                        inner.spawn(async move {
                            yield_now().await;
                            count.fetch_add(1, Ordering::SeqCst);
                        })
                    })
                    .collect();
                // The future stays here: it is not Send.
                let here = Rc::new(Cell::new(0));
                let got = inner.block_on(async {
                    for task in tasks {
                        task.await.unwrap();
                        here.set(here.get() + 1);
                    }
                    assert!(panic_of(|| block_in_place(|| ())).contains("multi-threaded"));
                    here.get()
                });
                assert_eq!(
                    panic_of(|| inner.block_on(async { panic!("its own") })),
                    "its own"
                );
                // And it is dropped here, which waits.
                got
            });
            (got, ran.load(Ordering::SeqCst))
        });
        assert_eq!(block_on(&runtime, task).unwrap(), (10, 10));
    }
}

#[test]
fn a_handle_that_blocks_in_place_leaves_the_runtime_to_run() {
    let runtime = at_home();
    let handle = runtime.handle().clone();
    // The thread drives, and waits in the middle of its own poll for a task that only it can run.
    let got = handle.block_on(async {
        let task = preemptive::spawn(async {
            sleep(Duration::from_millis(2)).await;
            12
        });
        block_in_place(|| Handle::current().block_on(task)).unwrap()
    });
    assert_eq!(got, 12);
}
