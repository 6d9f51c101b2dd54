//! Aborts, shutdowns and wakes.

use super::*;

#[test]
fn an_abort_leaves_the_dropping_to_a_worker() {
    let s = Scheduler::new();
    let dropped = Counter::default();
    let guard = dropped.on_drop();
    let mut handle = s.spawn(async move {
        let _guard = guard;
        pending::<()>().await
    });
    s.run_all();
    handle.abort();
    handle.abort();
    assert_eq!((dropped.get(), s.queued()), (0, 1));
    assert!(!handle.is_finished());
    s.run_all();
    assert_eq!(dropped.get(), 1);
    assert!(error(&mut handle).is_cancelled());
    assert!(s.0.tasks.is_empty());
}

#[test]
fn no_poll_follows_an_abort() {
    let s = Scheduler::new();
    let polls = Counter::default();
    let count = polls.clone();
    let mut handle = s.spawn(poll_fn(move |_| {
        count.add();
        Poll::<()>::Pending
    }));
    let abort = handle.abort_handle();
    abort.abort();
    s.run_all();
    assert_eq!(polls.get(), 0);
    assert!(error(&mut handle).is_cancelled());
}

#[test]
fn an_abort_or_shutdown_of_a_running_task_acts_when_its_poll_returns() {
    for shutdown in [false, true] {
        let s = Scheduler::new();
        let inner = s.clone();
        let slot: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
        let mine = slot.clone();
        let dropped = Counter::default();
        let (guard, seen) = (dropped.on_drop(), dropped.clone());
        let mut handle = s.spawn(async move {
            let _guard = guard;
            match shutdown {
                true => inner.shut_down(),
                false => mine.lock().unwrap().take().unwrap().abort(),
            }
            assert_eq!(seen.get(), 0);
            pending::<()>().await
        });
        *slot.lock().unwrap() = Some(handle.abort_handle());
        s.next().unwrap().run();
        assert_eq!((dropped.get(), s.queued()), (1, 0));
        assert!(error(&mut handle).is_cancelled());
    }
}

#[test]
fn the_last_poll_wins_over_an_abort_during_it() {
    let s = Scheduler::new();
    let slot: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
    let mine = slot.clone();
    let mut handle = s.spawn(async move {
        mine.lock().unwrap().take().unwrap().abort();
        5
    });
    *slot.lock().unwrap() = Some(handle.abort_handle());
    s.run_all();
    handle.abort();
    assert_eq!(s.queued(), 0);
    assert_eq!(joined(&mut handle).unwrap(), 5);
}

#[test]
fn a_shutdown_drops_idle_and_unpolled_tasks_on_the_spot() {
    let s = Scheduler::new();
    let dropped = Counter::default();
    let mut handles = Vec::new();
    for _ in 0..10 {
        let guard = dropped.on_drop();
        handles.push(s.spawn(async move {
            let _guard = guard;
            assert!(try_id().is_some());
            pending::<()>().await
        }));
    }
    for _ in 0..5 {
        s.next().unwrap().run();
    }
    assert_eq!(s.0.tasks.len(), 10);
    s.shut_down();
    assert_eq!((dropped.get(), s.0.tasks.len()), (10, 0));
    // What is still queued finds nothing to do.
    s.run_all();
    for handle in &mut handles {
        assert!(error(handle).is_cancelled());
    }
    // And nothing can be added.
    assert!(error(&mut s.spawn(async {})).is_cancelled());
}

#[test]
fn wakes_of_a_running_task_become_one_yield() {
    let s = Scheduler::new();
    let mut left = 3;
    let mut handle = s.spawn(poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        let another = cx.waker().clone();
        another.wake();
        left -= 1;
        if left == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    s.next().unwrap().run();
    assert_eq!((s.queued(), s.0.yields.load(SeqCst)), (1, 1));
    s.run_all();
    assert_eq!(s.0.yields.load(SeqCst), 2);
    joined(&mut handle).unwrap();
}

#[test]
fn wakes_of_an_idle_task_schedule_it_once() {
    let s = Scheduler::new();
    let gate = Gate::default();
    let handle = s.spawn(gate.clone().wait());
    gate_is_unpolled(&gate);
    s.run_all();
    let (a, b) = (gate.waker(), gate.waker());
    assert!(a.will_wake(&b) && a.will_wake(&a.clone()));
    a.wake_by_ref();
    b.wake();
    a.wake();
    assert_eq!((s.queued(), s.0.yields.load(SeqCst)), (1, 0));
    drop(handle);
    s.shut_down();
    s.run_all();
}

fn gate_is_unpolled(gate: &Gate) {
    assert!(gate.0.lock().unwrap().1.is_none());
}
