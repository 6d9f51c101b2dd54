//! What joiners get, and when things are dropped.

use super::*;

#[test]
fn an_output_reaches_the_joiner() {
    let s = Scheduler::new();
    let mut handle = s.spawn(async { 6 * 7 });
    assert!(poll(&mut handle).is_pending());
    assert!(!handle.is_finished());
    s.run_all();
    assert!(handle.is_finished());
    assert_eq!(joined(&mut handle).unwrap(), 42);
    assert!(s.0.tasks.is_empty());
}

#[test]
#[should_panic = "JoinHandle polled after completion"]
fn polling_again_after_the_output_panics() {
    let s = Scheduler::new();
    let mut handle = s.spawn(ready(1));
    s.run_all();
    assert_eq!(joined(&mut handle).unwrap(), 1);
    let _ = poll(&mut handle);
}

#[test]
fn the_future_is_dropped_before_the_joiner_is_woken() {
    // In each of the ways a task can end.
    for how in ["return", "panic", "abort", "shutdown"] {
        let s = Scheduler::new();
        let dropped = Counter::default();
        let guard = dropped.on_drop();
        let gate = Gate::default();
        let wait = gate.clone().wait();
        let mut handle = s.spawn(async move {
            let _guard = guard;
            wait.await;
            assert_ne!(how, "panic");
        });
        struct Check(Counter, Counter);
        impl Wake for Check {
            fn wake(self: Arc<Self>) {
                assert_eq!(self.0.get(), 1);
                self.1.add();
            }
        }
        let woken = Counter::default();
        let waker = Waker::from(Arc::new(Check(dropped.clone(), woken.clone())));
        s.run_all();
        assert!(poll_with(&mut handle, &waker).is_pending());
        match how {
            "abort" => handle.abort(),
            "shutdown" => s.shut_down(),
            _ => gate.open(),
        }
        s.run_all();
        assert_eq!((dropped.get(), woken.get()), (1, 1), "{how}");
        assert_eq!(joined(&mut handle).is_ok(), how == "return");
        assert_eq!(
            Arc::strong_count(&dropped.0),
            2,
            "{how}: the waker and the test"
        );
    }
}

#[test]
fn a_panic_reaches_the_joiner() {
    let s = Scheduler::new();
    let mut handle = s.spawn(async { panic!("boom") });
    let id = handle.id();
    s.run_all();
    let error: JoinError = joined::<()>(&mut handle).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.id(), id);
    assert_eq!(
        error.to_string(),
        format!("task {id} panicked with message \"boom\"")
    );
    assert_eq!(
        format!("{error:?}"),
        format!("JoinError::Panic(Id({id}), \"boom\", ...)")
    );
    assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"boom"));
}

#[test]
fn errors_read_as_documented() {
    let s = Scheduler::new();
    let mut cancelled = s.spawn(pending::<()>());
    cancelled.abort();
    let mut odd = s.spawn(async { panic_any(17) });
    let mut formatted = s.spawn(async { panic!("{}", 17) });
    s.run_all();
    let (c, o) = (cancelled.id(), odd.id());
    let error = joined(&mut cancelled).unwrap_err();
    assert_eq!(error.to_string(), format!("task {c} was cancelled"));
    assert_eq!(
        format!("{error:?}"),
        format!("JoinError::Cancelled(Id({c}))")
    );
    let error = error.try_into_panic().unwrap_err();
    assert!(catch_unwind(AssertUnwindSafe(|| error.into_panic())).is_err());
    let error: JoinError = joined::<()>(&mut odd).unwrap_err();
    assert_eq!(error.to_string(), format!("task {o} panicked"));
    assert_eq!(
        format!("{error:?}"),
        format!("JoinError::Panic(Id({o}), ...)")
    );
    let error = std::io::Error::from(joined::<()>(&mut formatted).unwrap_err());
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    assert_eq!(error.to_string(), "task panicked");
}

#[test]
fn a_destructor_that_panics_while_the_poll_unwinds_is_contained() {
    struct Bad;
    impl Future for Bad {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("first")
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(thread::panicking(), "not dropped by the unwinding");
            panic!("second")
        }
    }
    let s = Scheduler::new();
    let mut handle = s.spawn(Bad);
    s.run_all();
    let payload = error(&mut handle).into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"first"));
}

#[test]
fn a_destructor_of_the_future_that_panics_is_the_joiners_to_know() {
    struct Bad(bool, Counter);
    impl Future for Bad {
        type Output = BoxedOnDrop;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            let counter = self.1.clone();
            match self.0 {
                true => Poll::Ready(OnDrop(Box::new(move || {
                    counter.add();
                    panic!("output")
                }))),
                false => Poll::Pending,
            }
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("future")
        }
    }
    // On completion, where the output is lost, and whose own panic is swallowed.
    let s = Scheduler::new();
    let outputs = Counter::default();
    let mut handle = s.spawn(Bad(true, outputs.clone()));
    s.run_all();
    assert!(error(&mut handle).to_string().ends_with("\"future\""));
    assert_eq!(outputs.get(), 1);
    // On an abort, before the first poll and after it.
    for polls in 0..2 {
        let mut handle = s.spawn(Bad(false, outputs.clone()));
        (0..polls).for_each(|_| s.run_all());
        handle.abort();
        s.run_all();
        assert!(error(&mut handle).is_panic());
    }
    // On a shutdown.
    let mut handle = s.spawn(Bad(false, outputs));
    s.shut_down();
    assert!(error(&mut handle).is_panic());
    s.run_all();
}

#[test]
fn the_output_of_a_detached_task_does_not_wait_for_stale_wakers() {
    let s = Scheduler::new();
    let dropped = Counter::default();
    let output = dropped.on_drop();
    let gate = Gate::default();
    let wait = gate.clone().wait();
    let handle = s.spawn(async move {
        wait.await;
        output
    });
    s.run_all();
    let stale = gate.waker();
    drop(handle);
    gate.open();
    assert_eq!(dropped.get(), 0);
    s.run_all();
    assert_eq!(dropped.get(), 1);
    stale.wake_by_ref();
    stale.wake();
    assert_eq!(s.queued(), 0);
}

#[test]
fn an_output_nobody_takes_is_dropped_by_the_handle_and_its_panic_swallowed() {
    let s = Scheduler::new();
    let dropped = Counter::default();
    let bad = |counter: Counter| {
        OnDrop(move || {
            counter.add();
            assert!(try_id().is_some());
            panic!("unread")
        })
    };
    let kept = s.spawn(ready(bad(dropped.clone())));
    drop(s.spawn(ready(bad(dropped.clone()))));
    s.run_all();
    assert_eq!(dropped.get(), 1);
    drop(kept);
    assert_eq!(dropped.get(), 2);
    assert_eq!(try_id(), None);
}

#[test]
fn a_payload_that_panics_when_dropped_is_contained() {
    let s = Scheduler::new();
    let handle = s.spawn(async { panic_any(OnDrop(|| panic!("payload"))) });
    drop(s.spawn(async { panic_any(OnDrop(|| panic!("payload"))) }));
    s.run_all();
    drop::<JoinHandle<()>>(handle);
}
