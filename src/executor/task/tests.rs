//! What a task promises, under a scheduler that does nothing by itself: the test is the worker.

use super::{
    AbortHandle, Id, JoinError, JoinHandle, Notified, OwnedTasks, Schedule, TaskRef, id, try_id,
};
use std::collections::{HashSet, VecDeque};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

#[derive(Clone)]
struct Scheduler(Arc<Shared>);

struct Shared {
    queue: Mutex<VecDeque<Notified>>,
    tasks: OwnedTasks,
    yields: AtomicUsize,
}

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.0.queue.lock().unwrap().push_back(task);
    }

    fn yield_now(&self, task: Notified) {
        self.0.yields.fetch_add(1, SeqCst);
        self.schedule(task);
    }

    fn release(&self, task: &TaskRef) -> Option<TaskRef> {
        self.0.tasks.remove(task)
    }
}

impl Scheduler {
    fn new() -> Scheduler {
        Scheduler(Arc::new(Shared {
            queue: Mutex::default(),
            tasks: OwnedTasks::new(3),
            yields: AtomicUsize::new(0),
        }))
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (listed, notified, handle) =
            super::spawn(future, self.clone(), Id::next(), Location::caller());
        match self.0.tasks.bind(listed) {
            Ok(()) => self.schedule(notified),
            Err(listed) => listed.shutdown(),
        }
        handle
    }

    fn next(&self) -> Option<Notified> {
        self.0.queue.lock().unwrap().pop_front()
    }

    fn queued(&self) -> usize {
        self.0.queue.lock().unwrap().len()
    }

    fn run_all(&self) {
        while let Some(task) = self.next() {
            task.run();
        }
    }

    fn shut_down(&self) {
        self.0.tasks.close();
        while let Some(task) = self.0.tasks.pop(1) {
            task.shutdown();
        }
    }
}

/// A drop in a type that can be named.
type BoxedOnDrop = OnDrop<Box<dyn FnMut() + Send>>;

/// Counts its drops.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn on_drop(&self) -> OnDrop<impl FnMut() + Send + use<>> {
        let counter = self.clone();
        OnDrop(move || counter.add())
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn poll<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    poll_with(handle, Waker::noop())
}

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

#[track_caller]
fn joined<T>(handle: &mut JoinHandle<T>) -> Result<T, JoinError> {
    match poll(handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("{handle:?} is not ready"),
    }
}

#[track_caller]
fn error<T>(handle: &mut JoinHandle<T>) -> JoinError {
    joined(handle).err().expect("the task has an output")
}

/// A future that hands out its waker and stays pending until `open`.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    async fn wait(self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await
    }

    fn waker(&self) -> Waker {
        self.0.lock().unwrap().1.clone().expect("not polled yet")
    }

    fn open(&self) {
        self.0.lock().unwrap().0 = true;
        self.waker().wake();
    }
}

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
        let (listed, notified, nested) =
            super::spawn(async { id() }, inner, Id::next(), Location::caller());
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
    let (listed, notified, handle) = super::spawn(
        async move {
            let _guard = guard;
            pending::<()>().await
        },
        s.clone(),
        Id::next(),
        Location::caller(),
    );
    assert_eq!(listed.location().file(), file!());
    assert_eq!(listed.id(), handle.id());
    drop(handle);
    drop(listed);
    assert_eq!(Arc::strong_count(&s.0), 2);
    notified.run();
    assert_eq!((dropped.get(), Arc::strong_count(&s.0)), (1, 1));

    let (listed, notified, handle) =
        super::spawn(pending::<()>(), s.clone(), Id::next(), Location::caller());
    drop((notified, listed, handle));
    assert_eq!(Arc::strong_count(&s.0), 1);
}

#[test]
fn a_task_survives_a_raw_queue() {
    let s = Scheduler::new();
    let mut handle = s.spawn(ready(9));
    let raw = s.next().unwrap().into_raw();
    // SAFETY: the task is in nobody else's queue.
    unsafe { super::Header::set_queue_next(raw, Some(raw)) };
    // SAFETY: as above.
    assert_eq!(unsafe { super::Header::queue_next(raw) }, Some(raw));
    // SAFETY: it came from `into_raw` just now.
    unsafe { Notified::from_raw(raw) }.run();
    assert_eq!(joined(&mut handle).unwrap(), 9);
}

#[test]
fn a_list_releases_only_its_own_tasks() {
    let (mine, other) = (OwnedTasks::new(1), OwnedTasks::new(1));
    let s = Scheduler::new();
    let make = || super::spawn(ready(()), s.clone(), Id::next(), Location::caller());
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
    assert_eq!(mine.pop(7).unwrap().id(), raw[2].header().id);
    assert_eq!(mine.pop(7).unwrap().id(), raw[0].header().id);
    assert!(mine.pop(0).is_none() && mine.is_empty());
    drop(task);
}

#[test]
fn a_list_that_goes_away_shuts_its_tasks_down() {
    let list = OwnedTasks::new(2);
    let (task, _notified, mut handle) = super::spawn(
        pending::<()>(),
        Scheduler::new(),
        Id::next(),
        Location::caller(),
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
    let state = super::state::State::new();
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
