//! Task-locals: each task finds its own value, however often it is preempted, and wherever its future ends.

mod support;

use preemptive::task::{self, JoinSet};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use support::load::{
    Drops, Hogs, SHORT, block_on, message, plain_block_on, quiet, runtime, spin_until, wait_until,
};

preemptive::task_local! {
    static NUMBER: usize;
    /// Attributes and visibility stay.
    #[allow(dead_code, reason = "it is there to be parsed")]
    pub(crate) static OTHER: Vec<(u8, &'static str)>;
    static COUNT: Cell<usize>
}

#[test]
fn preempted_polls_keep_their_values() {
    const TASKS: usize = 12;
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    let mut set = JoinSet::new();
    for number in 0..TASKS {
        let metrics = runtime.metrics();
        let looking = NUMBER.scope(number, async move {
            for _ in 0..4 {
                // Preempted in the middle of a look, more often than not.
                let until = metrics.preemptions() + 20;
                spin_until("it is preempted", || {
                    NUMBER.with(|own| {
                        assert_eq!(*own, number);
                        NUMBER.get() == number && metrics.preemptions() >= until
                    })
                });
                // A value of a shorter scope, across polls.
                let inner = NUMBER.scope(number + 1_000, async {
                    task::yield_now().await;
                    NUMBER.get()
                });
                assert_eq!(inner.await, number + 1_000);
                assert_eq!(NUMBER.get(), number);
            }
        });
        set.spawn_on(looking, runtime.handle());
    }
    block_on(&runtime, set.join_all());
    hogs.stop(&runtime);
}

#[test]
fn tasks_and_closures_do_not_inherit_values() {
    let runtime = runtime(2, SHORT);
    let inside = NUMBER.scope(1, async {
        let task = preemptive::spawn(async { NUMBER.try_get().is_err() });
        let closure = task::spawn_blocking(|| NUMBER.try_get().is_err());
        (task.await.unwrap(), closure.await.unwrap(), NUMBER.get())
    });
    assert_eq!(block_on(&runtime, inside), (true, true, 1));
    assert!(NUMBER.try_get().is_err());
}

#[test]
fn a_value_is_gone_after_a_panic() {
    quiet();
    // One worker, so the next tasks run under the same identity.
    let runtime = runtime(1, SHORT);
    for _ in 0..20 {
        let fails = NUMBER.scope(1, async {
            NUMBER
                .scope(2, async { panic!("expected: in a scope") })
                .await
        });
        let failed: Result<(), _> = block_on(&runtime, runtime.spawn(fails));
        assert!(failed.unwrap_err().is_panic());
        let next = runtime.spawn(async { NUMBER.try_get().is_err() });
        assert!(block_on(&runtime, next).unwrap());
    }
    let outer = NUMBER.sync_scope(1, || {
        let inner = || NUMBER.sync_scope(2, || panic!("expected: in a scope"));
        catch_unwind(inner).unwrap_err();
        NUMBER.get()
    });
    assert_eq!(outer, 1);
}

/// Says what `NUMBER` is when it is dropped.
struct Says(Arc<Mutex<Vec<Result<usize, task::AccessError>>>>);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(NUMBER.try_get());
    }
}

/// Ends at once, and still has `says` then.
async fn ready_while(says: Says) {
    let _says = says;
}

#[test]
fn destructors_of_the_future_find_the_value() {
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    let said = Arc::new(Mutex::new(Vec::new()));
    let says = || Says(said.clone());

    // At its end, when it is aborted, when it was never polled, and when it is dropped on a plain thread.
    let (first, second, third, fourth) = (says(), says(), says(), says());
    let ends = NUMBER.scope(1, ready_while(first));
    block_on(&runtime, runtime.spawn(ends)).unwrap();
    let started = Drops::default();
    let start = started.guard();
    let waits = runtime.spawn(NUMBER.scope(2, async move {
        let _second = second;
        drop(start);
        pending::<()>().await;
    }));
    wait_until("it waits", || started.count() == 1);
    waits.abort();
    block_on(&runtime, waits).unwrap_err();
    drop(NUMBER.scope(3, async move { drop(third) }));
    let mut polled = Box::pin(NUMBER.scope(4, async move {
        let _fourth = fourth;
        pending::<()>().await;
    }));
    let mut context = Context::from_waker(Waker::noop());
    assert!(polled.as_mut().poll(&mut context).is_pending());
    drop(polled);

    assert_eq!(*said.lock().unwrap(), [Ok(1), Ok(2), Ok(3), Ok(4)]);
    hogs.stop(&runtime);
}

#[test]
fn a_value_that_was_taken_is_missing() {
    quiet();
    let mut counts = Box::pin(COUNT.scope(Cell::new(5), async {
        COUNT.with(|count| count.set(count.get() + 1));
        task::yield_now().await;
        COUNT.with(Cell::get)
    }));
    let mut context = Context::from_waker(Waker::noop());
    assert!(counts.as_mut().poll(&mut context).is_pending());
    assert!(format!("{counts:?}").contains('6'));
    assert_eq!(counts.as_mut().take_value(), Some(Cell::new(6)));
    assert_eq!(counts.as_mut().take_value(), None);
    assert!(format!("{counts:?}").contains("<missing>"));
    let poll = AssertUnwindSafe(|| counts.as_mut().poll(&mut context));
    let payload = catch_unwind(poll).unwrap_err();
    assert!(message(&*payload).unwrap().contains("has no value here"));
}

#[test]
fn a_scope_cannot_be_entered_while_its_value_is_looked_at() {
    NUMBER.sync_scope(1, || {
        NUMBER.with(|_| {
            let enter = || NUMBER.sync_scope(2, || ());
            let payload = catch_unwind(enter).unwrap_err();
            assert!(message(&*payload).unwrap().contains("cannot enter"));
            let poll = || plain_block_on(NUMBER.scope(2, async {}));
            let payload = catch_unwind(poll).unwrap_err();
            assert!(message(&*payload).unwrap().contains("cannot enter"));
            // Looking twice is no harm, and neither is another key.
            assert_eq!(NUMBER.get(), 1);
            COUNT.sync_scope(Cell::new(7), || assert_eq!(COUNT.get().get(), 7));
        });
        assert_eq!(NUMBER.get(), 1);
    });
}

#[test]
#[should_panic(expected = "polled after it had ended")]
fn polling_a_scope_after_its_end_panics() {
    let mut ended = Box::pin(NUMBER.scope(1, async {}));
    plain_block_on(ended.as_mut());
    plain_block_on(ended.as_mut());
}

#[test]
fn thread_locals_that_are_destroyed_find_no_value() {
    struct Last;

    impl Drop for Last {
        fn drop(&mut self) {
            FOUND.fetch_add(usize::from(NUMBER.try_get().is_err()), Ordering::SeqCst);
        }
    }

    static FOUND: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }

    let runtime = runtime(1, SHORT);
    let task = runtime.spawn(NUMBER.scope(1, async {
        LAST.with(|last| *last.borrow_mut() = Some(Last));
    }));
    block_on(&runtime, task).unwrap();
    drop(runtime);
    assert_eq!(FOUND.load(Ordering::SeqCst), 1);
}
