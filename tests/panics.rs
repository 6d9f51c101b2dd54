//! Panics in tasks, in preempted tasks, while unwinding, in wakers and in destructors: they end in their task.

mod support;

use preemptive::runtime::{Builder, Handle};
use preemptive::task;
use preemptive::time::sleep;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use support::load::{
    DropGuard, Drops, Hogs, LONG, PanicsInDrop, SHORT, block_on, quiet, runtime, spin_at_most,
    wait_until,
};

#[test]
fn a_panic_ends_in_its_task_and_the_joiner_gets_it() {
    quiet();
    let runtime = runtime(1, SHORT);
    for number in 0..200 {
        let drops = Drops::default();
        let guard = drops.guard();
        let task = runtime.spawn(async move {
            let _guard = guard;
            task::yield_now().await;
            panic_any(number);
        });
        // The output's type is `!`-like; what comes is the payload.
        let error = block_on(&runtime, task).unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(drops.count(), 1);
        assert_eq!(error.into_panic().downcast_ref(), Some(&number));
    }
    let task = runtime.spawn(async { 3 });
    assert_eq!(block_on(&runtime, task).unwrap(), 3);
}

#[test]
fn a_panic_in_a_preempted_poll_unwinds_its_own_stack_only() {
    quiet();
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::start(&runtime, 3);
    let metrics = runtime.metrics();
    const SPIN: Duration = Duration::from_millis(5);
    let mut rounds = 0;
    while rounds < 20 || metrics.migrations() < 5 || metrics.asynchronous_preemptions() < 50 {
        rounds += 1;
        assert!(rounds < 2_000, "no preempted poll ever migrates");
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let metrics = metrics.clone();
                runtime.spawn(async move {
                    let before = metrics.preemptions();
                    let text = format!("expected: {number}");
                    // Bounded: on a machine with no processor time to spare the kernel may be the one that
                    // preempts. The loop around this asks for enough of ours.
                    spin_at_most(SPIN, || metrics.preemptions() > before + 8);
                    let inner = catch_unwind(|| panic!("expected: inner"));
                    assert!(inner.is_err() && !thread::panicking());
                    spin_at_most(SPIN, || metrics.preemptions() > before + 16);
                    panic!("{text}");
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let payload = block_on(&runtime, task).unwrap_err().into_panic();
            assert_eq!(
                payload.downcast_ref::<String>().unwrap(),
                &format!("expected: {number}")
            );
        }
    }
    hogs.stop(&runtime);
}

/// Spins in its destructor, while the panic that runs it is under way.
struct SpinsInDrop(Box<dyn Fn() + Send>);

impl Drop for SpinsInDrop {
    fn drop(&mut self) {
        assert!(thread::panicking());
        (self.0)();
        assert!(thread::panicking());
    }
}

#[test]
fn a_poll_preempted_while_it_unwinds_does_not_make_its_neighbours_panic() {
    quiet();
    let runtime = runtime(1, SHORT);
    let metrics = runtime.metrics();
    let stop = Arc::new(AtomicBool::new(false));
    let is_stopped = stop.clone();
    // One processor: whenever this one looks, the unwinding ones are suspended somewhere.
    let watcher = runtime.spawn(async move {
        let mut looks = 0_u64;
        while !is_stopped.load(Ordering::Relaxed) {
            assert!(!thread::panicking());
            looks += 1;
        }
        looks
    });
    let poisoned = Arc::new(Mutex::new(()));
    let preempted = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (metrics, mutex) = (metrics.clone(), poisoned.clone());
            let preempted = preempted.clone();
            runtime.spawn(async move {
                let _spins = SpinsInDrop(Box::new(move || {
                    let before = metrics.asynchronous_preemptions();
                    let is_preempted = || metrics.asynchronous_preemptions() > before + 10;
                    spin_at_most(Duration::from_millis(50), is_preempted);
                    preempted.fetch_add(usize::from(is_preempted()), Ordering::SeqCst);
                    // Taken and released during a panic: std poisons only a lock taken before it.
                    drop(mutex.lock().unwrap());
                }));
                task::yield_now().await;
                panic!("expected");
            })
        })
        .collect();
    for task in tasks {
        assert!(block_on(&runtime, task).unwrap_err().is_panic());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(block_on(&runtime, watcher).unwrap() > 0);
    assert!(preempted.load(Ordering::SeqCst) > 0);
    assert!(!poisoned.is_poisoned());
}

/// Panics when it is woken, and counts how often.
#[derive(Default)]
struct PanicsInWake(AtomicUsize);

impl Wake for PanicsInWake {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("expected: in wake");
    }
}

#[test]
fn a_panic_in_a_joiners_waker_costs_nobody_anything() {
    quiet();
    let runtime = runtime(1, SHORT);
    let (release, released) = mpsc::channel();
    let task = runtime.spawn(async move { released.recv_timeout(LONG).unwrap() });
    let mut task = pin!(task);
    let wake = Arc::new(PanicsInWake::default());
    let waker = Waker::from(wake.clone());
    let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    release.send(5).unwrap();
    wait_until("the waker is called", || wake.0.load(Ordering::SeqCst) == 1);
    let other = runtime.spawn(async { 6 });
    assert_eq!(block_on(&runtime, other).unwrap(), 6);
    assert_eq!(block_on(&runtime, task).unwrap(), 5);
}

#[test]
fn a_panic_in_a_timers_waker_costs_no_other_timer_its_wake_up() {
    quiet();
    let runtime = runtime(1, SHORT);
    let guard = runtime.enter();
    for _ in 0..20 {
        let wake = Arc::new(PanicsInWake::default());
        let waker = Waker::from(wake.clone());
        // All due at the same time, so that they are served together.
        let at = preemptive::time::Instant::now() + Duration::from_millis(5);
        let mut bad: Vec<_> = (0..5)
            .map(|_| Box::pin(preemptive::time::sleep_until(at)))
            .collect();
        let mut polled = 0;
        for sleep in &mut bad {
            let poll = sleep.as_mut().poll(&mut Context::from_waker(&waker));
            polled += usize::from(poll.is_pending());
        }
        let good: Vec<_> = (0..20)
            .map(|_| runtime.spawn(preemptive::time::sleep_until(at)))
            .collect();
        for task in good {
            block_on(&runtime, task).unwrap();
        }
        wait_until("every bad waker is called", || {
            wake.0.load(Ordering::SeqCst) == polled
        });
    }
    drop(guard);
}

#[test]
fn a_panic_in_the_destructor_of_an_unread_output_is_swallowed() {
    quiet();
    let runtime = runtime(1, SHORT);
    for _ in 0..100 {
        // Detached before it completes, and after.
        drop(runtime.spawn(async {
            task::yield_now().await;
            PanicsInDrop
        }));
        let task = runtime.spawn(async { PanicsInDrop });
        wait_until("it completes", || task.is_finished());
        drop(task);
    }
    wait_until("none is left", || runtime.metrics().num_alive_tasks() == 0);
    let other = runtime.spawn(async { 6 });
    assert_eq!(block_on(&runtime, other).unwrap(), 6);
}

#[test]
fn a_panic_in_the_destructor_of_a_completed_future_is_reported() {
    quiet();
    let runtime = runtime(1, SHORT);
    let mut state = Some(PanicsInDrop);
    let task = runtime.spawn(poll_fn(move |_| {
        assert!(state.as_mut().is_some());
        Poll::Ready("an output that is lost")
    }));
    let error = block_on(&runtime, task).unwrap_err();
    assert!(error.is_panic());
}

#[test]
fn a_payload_that_panics_in_its_destructor_harms_nobody() {
    quiet();
    let runtime = runtime(1, SHORT);
    for _ in 0..50 {
        drop(runtime.spawn(async { panic_any(PanicsInDrop) }));
    }
    wait_until("none is left", || runtime.metrics().num_alive_tasks() == 0);
    let other = runtime.spawn(async { 6 });
    assert_eq!(block_on(&runtime, other).unwrap(), 6);
}

#[test]
fn a_panic_of_block_on_reaches_its_caller_and_the_runtime_lives_on() {
    quiet();
    let runtime = runtime(1, SHORT);
    let drops = Drops::default();
    let guard = drops.guard();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let _guard = guard;
            sleep(Duration::from_millis(1)).await;
            panic!("expected");
        })
    }));
    assert!(caught.is_err());
    assert_eq!(drops.count(), 1);
    assert!(Handle::try_current().is_err());
    assert_eq!(block_on(&runtime, async { 6 }), 6);
}

#[test]
fn a_panic_in_a_blocking_closure_reaches_its_joiner() {
    quiet();
    let runtime = runtime(1, SHORT);
    for _ in 0..20 {
        let task = runtime.spawn_blocking(|| panic!("expected"));
        assert!(block_on(&runtime, task).unwrap_err().is_panic());
    }
    let task = runtime.spawn_blocking(|| 6);
    assert_eq!(block_on(&runtime, task).unwrap(), 6);
}

/// Wakes a waker when it is dropped.
struct WakesInDrop(
    Arc<Mutex<Option<Waker>>>,
    #[allow(dead_code, reason = "counts the drop")] DropGuard,
);

impl Drop for WakesInDrop {
    fn drop(&mut self) {
        if let Some(waker) = self.0.lock().unwrap().take() {
            waker.wake();
        }
    }
}

#[test]
fn a_destructor_that_runs_in_a_panic_can_wake_its_own_task_and_others() {
    quiet();
    let runtime = runtime(2, SHORT);
    for own in [true, false] {
        let (slot, drops) = (Arc::new(Mutex::new(None)), Drops::default());
        let other_slot = slot.clone();
        let is_woken = Arc::new(AtomicBool::new(false));
        let wakes = WakesInDrop(slot.clone(), drops.guard());
        let wake_flag = is_woken.clone();
        let other = runtime.spawn(poll_fn(move |context| {
            if own || wake_flag.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            let mut slot = other_slot.lock().unwrap();
            *slot = Some(context.waker().clone());
            Poll::Pending
        }));
        if !own {
            wait_until("the other waits", || slot.lock().unwrap().is_some());
            is_woken.store(true, Ordering::SeqCst);
        }
        let task = runtime.spawn(async move {
            let wakes = wakes;
            if own {
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                *wakes.0.lock().unwrap() = Some(waker);
            }
            panic!("expected");
        });
        assert!(block_on(&runtime, task).unwrap_err().is_panic());
        assert_eq!(drops.count(), 1);
        block_on(&runtime, other).unwrap();
    }
}

#[test]
fn panics_in_destructors_at_shutdown_do_not_stop_it() {
    quiet();
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    for _ in 0..50 {
        let guard = drops.guard();
        drop(runtime.spawn(async move {
            let _panics = PanicsInDrop;
            let _guard = guard;
            pending::<()>().await;
        }));
    }
    drop(runtime);
    assert_eq!(drops.count(), 50);
}

#[test]
fn wakers_that_panic_do_not_disturb_their_runtimes_end() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a waker's own panic"));
        }
    }
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.worker_threads(1).build().unwrap();
        let waker = Waker::from(Arc::new(Bomb));
        let mut context = Context::from_waker(&waker);
        let mut sleeps: Vec<_> = {
            let _current = runtime.enter();
            let hour = Duration::from_secs(3600);
            (0..40).map(|_| Box::pin(sleep(hour))).collect()
        };
        for sleep in &mut sleeps {
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }
        // They wake whoever waits for a timer of theirs, so that it learns of the end.
        drop(runtime);
    }
}
