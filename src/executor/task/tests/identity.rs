//! Ids, join wakers, references and lists.

use super::*;

#[test]
fn a_task_knows_its_id_in_polls_and_destructors() {
    let s = Scheduler::new();
    let seen: Arc<Mutex<Vec<Option<Id>>>> = Arc::default();
    let look = |seen: &Arc<Mutex<Vec<Option<Id>>>>| {
        let seen = seen.clone();
        OnDrop(move || seen.lock().unwrap().push(try_id()))
    };
    let (in_future, in_output) = (look(&seen), look(&seen));
    let inner = s.clone();
    let handle = s.spawn(async move {
        let me = id();
        // Tasks nest: this one is shut down inside the other.
        let (listed, notified, nested) = crate::executor::task::spawn(
            async { id() },
            inner,
            Seed::plain(Id::next(), Location::caller()),
        );
        drop(listed);
        notified.run();
        let mut nested = nested;
        assert_eq!(joined(&mut nested).unwrap(), nested.id());
        assert_eq!(id(), me);
        drop(in_future);
        in_output
    });
    let me = Some(handle.id());
    s.run_all();
    drop(handle);
    // Never polled: dropped where the shutdown is.
    let guard = look(&seen);
    let unpolled = s.spawn(async move {
        let _guard = guard;
    });
    s.shut_down();
    assert_eq!(*seen.lock().unwrap(), [me, me, Some(unpolled.id())]);
    assert_eq!(try_id(), None);
    assert!(catch_unwind(id).is_err());
    s.run_all();
}

#[test]
fn ids_are_unique_and_print_as_numbers() {
    let ids: HashSet<Id> = (0..100).map(|_| Id::next()).collect();
    assert_eq!(ids.len(), 100);
    let id = Id::next();
    assert_eq!(format!("{id} {id:?}"), format!("{0} Id({0})", id.get()));
}

#[test]
fn the_latest_join_waker_counts_and_none_is_kept() {
    let s = Scheduler::new();
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut handle = s.spawn(ready(()));
    assert!(poll_with(&mut handle, &first.clone().into()).is_pending());
    assert!(poll_with(&mut handle, &first.clone().into()).is_pending());
    assert!(poll_with(&mut handle, &second.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&first), 1);
    s.run_all();
    assert_eq!((first.get(), second.get()), (0, 1));
    let stale = handle.abort_handle();
    drop(handle);
    assert_eq!(Arc::strong_count(&second), 1);
    // And if the handle goes first.
    let mut handle = s.spawn(ready(()));
    assert!(poll_with(&mut handle, &second.clone().into()).is_pending());
    drop(handle);
    assert_eq!(Arc::strong_count(&second), 1);
    s.run_all();
    assert_eq!(second.get(), 1);
    drop(stale);
}

#[test]
fn a_join_handle_can_be_dropped_by_the_wake_it_waits_for() {
    struct DropsHandle(Mutex<Option<JoinHandle<BoxedOnDrop>>>);
    impl Wake for DropsHandle {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }
    let s = Scheduler::new();
    let dropped = Counter::default();
    let count = dropped.clone();
    let mut handle = s.spawn(ready(OnDrop(
        Box::new(move || count.add()) as Box<dyn FnMut() + Send>
    )));
    let owner = Arc::new(DropsHandle(Mutex::default()));
    assert!(poll_with(&mut handle, &owner.clone().into()).is_pending());
    *owner.0.lock().unwrap() = Some(handle);
    s.run_all();
    assert_eq!(dropped.get(), 1);
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn a_join_waker_that_panics_harms_nobody_else() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("wake")
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("drop")
        }
    }
    let s = Scheduler::new();
    let mut handle = s.spawn(ready(3));
    let waker = Waker::from(Arc::new(Bad));
    assert!(poll_with(&mut handle, &waker).is_pending());
    std::mem::forget(waker);
    s.run_all();
    assert_eq!(joined(&mut handle).unwrap(), 3);

    // The last reference to the waker is in the slot: its destructor panics in turn when it is replaced,
    // when the handle is dropped, and when the runner finds the handle gone.
    let bad = |handle: &mut JoinHandle<i32>| {
        let waker = Waker::from(Arc::new(Bad));
        assert!(poll_with(handle, &waker).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(waker))).is_ok());
    };
    let mut handle = s.spawn(ready(4));
    bad(&mut handle);
    bad(&mut handle);
    drop(handle);
    s.run_all();
}

#[test]
fn a_waker_whose_clone_panics_leaves_the_handle_usable() {
    use std::task::{RawWaker, RawWakerVTable};
    static VTABLE: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("clone"), |_| (), |_| (), |_| ());
    let s = Scheduler::new();
    let mut handle = s.spawn(ready(3));
    let woken = Arc::new(Counter::default());
    assert!(poll_with(&mut handle, &woken.clone().into()).is_pending());
    // SAFETY: the functions use no data.
    let bad = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
    let polled = catch_unwind(AssertUnwindSafe(|| poll_with(&mut handle, &bad).is_ready()));
    assert!(polled.is_err());
    s.run_all();
    assert_eq!(woken.get(), 1);
    assert_eq!(joined(&mut handle).unwrap(), 3);
}

#[test]
fn a_task_without_references_is_freed() {
    let s = Scheduler::new();
    let dropped = Counter::default();
    let guard = dropped.on_drop();
    let (listed, notified, handle) = crate::executor::task::spawn(
        async move {
            let _guard = guard;
            pending::<()>().await
        },
        s.clone(),
        Seed::plain(Id::next(), Location::caller()),
    );
    assert_eq!(listed.location().file(), file!());
    assert_eq!(listed.id(), handle.id());
    drop(handle);
    drop(listed);
    assert_eq!(Arc::strong_count(&s.0), 2);
    notified.run();
    assert_eq!((dropped.get(), Arc::strong_count(&s.0)), (1, 1));

    let (listed, notified, handle) = crate::executor::task::spawn(
        pending::<()>(),
        s.clone(),
        Seed::plain(Id::next(), Location::caller()),
    );
    drop((notified, listed, handle));
    assert_eq!(Arc::strong_count(&s.0), 1);
}

#[test]
fn a_task_survives_a_raw_queue() {
    let s = Scheduler::new();
    let mut handle = s.spawn(ready(9));
    let raw = s.next().unwrap().into_raw();
    // SAFETY: the task is in nobody else's queue.
    unsafe { crate::executor::task::Header::set_queue_next(raw, Some(raw)) };
    // SAFETY: as above.
    let next = unsafe { crate::executor::task::Header::queue_next(raw) };
    assert_eq!(next, Some(raw));
    // SAFETY: it came from `into_raw` just now.
    unsafe { Notified::from_raw(raw) }.run();
    assert_eq!(joined(&mut handle).unwrap(), 9);
}

#[test]
fn a_list_releases_only_its_own_tasks() {
    let (mine, other) = (OwnedTasks::new(1), OwnedTasks::new(1));
    let s = Scheduler::new();
    let make = || {
        crate::executor::task::spawn(
            ready(()),
            s.clone(),
            Seed::plain(Id::next(), Location::caller()),
        )
    };
    let tasks: Vec<_> = (0..3).map(|_| make()).collect();
    let raw: Vec<_> = tasks.iter().map(|(task, ..)| task.0.clone()).collect();
    let mut rest = Vec::new();
    for (task, notified, handle) in tasks {
        mine.bind(task).unwrap();
        rest.push((notified, handle));
    }
    assert_eq!(mine.len(), 3);
    let middle = TaskRef(raw[1].clone());
    assert!(other.remove(&middle).is_none());
    assert!(mine.remove(&middle).is_some());
    assert!(mine.remove(&middle).is_none());
    mine.close();
    let task = mine.bind(middle).unwrap_err();
    // The oldest first, as they were bound.
    assert_eq!(mine.pop(7).unwrap().id(), raw[0].header().id);
    assert_eq!(mine.pop(7).unwrap().id(), raw[2].header().id);
    assert!(mine.pop(0).is_none() && mine.is_empty());
    drop(task);
}

#[test]
fn a_list_that_goes_away_shuts_its_tasks_down() {
    let list = OwnedTasks::new(2);
    let (task, _notified, mut handle) = crate::executor::task::spawn(
        pending::<()>(),
        Scheduler::new(),
        Seed::plain(Id::next(), Location::caller()),
    );
    list.bind(task).unwrap();
    drop(list);
    assert!(error(&mut handle).is_cancelled());
}

#[test]
fn handles_have_the_auto_traits_they_should() {
    use std::cell::Cell;
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
    fn send_sync<T: Send + Sync + 'static>() {}
    check::<JoinHandle<Cell<u8>>>();
    check::<JoinHandle<Box<dyn FnMut() + Send>>>();
    check::<JoinHandle<std::marker::PhantomPinned>>();
    check::<AbortHandle>();
    send_sync::<JoinError>();
    send_sync::<OwnedTasks>();
    send_sync::<Notified>();
    send_sync::<TaskRef>();
}

#[test]
fn states_print_their_bits() {
    let state = crate::executor::task::state::State::new();
    assert_eq!(
        format!("{state:?}"),
        "State(NOTIFIED | JOIN_INTEREST | references: 3)"
    );
}

#[test]
fn everything_is_dropped_once_whoever_is_first() {
    // Workers, wakers, aborters, joiners and a shutdown race for small tasks.
    let rounds = if cfg!(miri) { 3 } else { 400 };
    for round in 0..rounds {
        let s = Scheduler::new();
        let (futures, outputs) = (Counter::default(), Counter::default());
        let made = Counter::default();
        let barrier = Barrier::new(5);
        let (mut joins, mut aborts, mut gates) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..24 {
            let gate = Gate::default();
            let (guard, output, made) = (futures.on_drop(), outputs.clone(), made.clone());
            let wait = gate.clone().wait();
            let handle = s.spawn(async move {
                let _guard = guard;
                if n % 3 != 0 {
                    wait.await;
                }
                made.add();
                output.on_drop()
            });
            gates.push(gate);
            if n % 4 == 0 {
                aborts.push(handle.abort_handle());
            }
            joins.push(handle);
        }
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..200 {
                        s.run_all();
                        std::hint::spin_loop();
                    }
                });
            }
            scope.spawn(|| {
                barrier.wait();
                for gate in &gates {
                    let waker = {
                        let mut gate = gate.0.lock().unwrap();
                        gate.0 = true;
                        gate.1.take()
                    };
                    waker.into_iter().for_each(Waker::wake);
                }
            });
            scope.spawn(|| {
                barrier.wait();
                aborts.iter().for_each(AbortHandle::abort);
                if round % 2 == 0 {
                    s.shut_down();
                }
            });
            scope.spawn(|| {
                barrier.wait();
                for (n, mut handle) in joins.drain(..).enumerate() {
                    let waker = Arc::new(Counter::default()).into();
                    for _ in 0..n {
                        if poll_with(&mut handle, Waker::noop()).is_ready()
                            || poll_with(&mut handle, &waker).is_ready()
                        {
                            break;
                        }
                    }
                }
            });
        });
        s.shut_down();
        s.run_all();
        drop((gates, aborts));
        assert_eq!(futures.get(), 24, "round {round}");
        assert_eq!(outputs.get(), made.get(), "round {round}");
        assert_eq!(Arc::strong_count(&s.0), 1, "round {round}: a task is left");
    }
}
