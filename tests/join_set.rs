//! Join sets: in which order outputs come, and that each comes once whatever becomes of the tasks.

mod support;

use preemptive::runtime::{Builder, OnStackOverflow, Runtime};
use preemptive::task::{self, AbortHandle, JoinSet};
use preemptive::time::timeout;
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::load::{
    Drops, Hogs, Mailbox, PanicsInDrop, SHORT, block_on, message, plain_block_on, quiet, runtime,
    spin_at_most, wait_until,
};

/// One thread, and nobody is preempted in these tests' lifetimes: what is done first ends first.
fn orderly() -> Runtime {
    Builder::new_current_thread()
        .time_slice(Duration::from_secs(10))
        .min_slice(Duration::from_secs(10))
        .build()
        .unwrap()
}

async fn finished(task: &AbortHandle) {
    while !task.is_finished() {
        task::yield_now().await;
    }
}

#[test]
fn outputs_come_in_the_order_in_which_the_tasks_finish() {
    const TASKS: usize = 20;
    let runtime = orderly();
    block_on(&runtime, async {
        let gates: Vec<_> = (0..TASKS).map(|_| Mailbox::new()).collect();
        let mut set = JoinSet::new();
        let tasks: Vec<_> = gates
            .iter()
            .map(|gate| {
                let gate = gate.clone();
                set.spawn(async move { gate.take().await })
            })
            .collect();
        // Neither the order in which they were spawned nor the reverse; joined in two parts.
        let order: Vec<_> = (0..TASKS).map(|number| number * 7 % TASKS).collect();
        let mut joined = Vec::new();
        for part in order.chunks(TASKS / 2 + 3) {
            for &number in part {
                gates[number].put(number);
                finished(&tasks[number]).await;
            }
            joined.push(set.join_next().await.unwrap().unwrap());
        }
        while let Some(result) = set.try_join_next() {
            joined.push(result.unwrap());
        }
        assert_eq!(joined, order);
        assert!(set.is_empty() && set.join_next().await.is_none());
    });
}

#[test]
fn every_task_is_joined_once_beside_hogs() {
    const TASKS: usize = 3_000;
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    block_on(&runtime, async {
        let mut set = JoinSet::new();
        let mut spawned = BTreeSet::new();
        let mut joined = BTreeSet::new();
        for number in 0..TASKS {
            let task = set.spawn(async move {
                if number % 3 == 0 {
                    task::yield_now().await;
                }
                number
            });
            assert!(spawned.insert((task.id().to_string(), number)));
            // Members leave while others come, so places are used again.
            if number % 5 == 0 {
                let (id, number) = set.join_next_with_id().await.unwrap().unwrap();
                assert!(joined.insert((id.to_string(), number)));
            }
        }
        assert_eq!(set.len() + joined.len(), TASKS);
        while let Some(result) = set.join_next_with_id().await {
            let (id, number) = result.unwrap();
            assert!(joined.insert((id.to_string(), number)));
        }
        assert_eq!(joined, spawned);
    });
    hogs.stop(&runtime);
}

#[test]
fn a_plain_thread_is_woken_by_the_first_to_finish() {
    let runtime = runtime(2, SHORT);
    let mut set = JoinSet::new();
    set.spawn_on(pending(), runtime.handle());
    for number in 0..200 {
        let gate = Mailbox::new();
        let opened = gate.clone();
        set.spawn_on(async move { gate.take().await }, runtime.handle());
        let opener = runtime.spawn(async move { opened.put(number) });
        assert_eq!(plain_block_on(set.join_next()).unwrap().unwrap(), number);
        block_on(&runtime, opener).unwrap();
    }
    assert_eq!(set.len(), 1);
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    const TASKS: usize = 300;
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    block_on(&runtime, async {
        let mut set: JoinSet<usize> = (0..TASKS)
            .map(|number| async move {
                spin_at_most(Duration::from_micros(50), || false);
                number
            })
            .collect();
        let mut seen = vec![false; TASKS];
        while !set.is_empty() {
            if let Ok(joined) = timeout(Duration::from_micros(100), set.join_next()).await {
                let number = joined.unwrap().unwrap();
                assert!(!std::mem::replace(&mut seen[number], true));
            }
        }
        assert!(seen.into_iter().all(|seen| seen));
    });
    hogs.stop(&runtime);
}

#[test]
fn dropping_a_set_aborts_its_tasks() {
    const TASKS: usize = 200;
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    let mut set = JoinSet::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let guard = drops.guard();
            let future = async move {
                let _guard = guard;
                if number % 2 == 0 {
                    pending::<()>().await;
                }
            };
            set.spawn_on(future, runtime.handle())
        })
        .collect();
    drop(set);
    wait_until("all of them end", || {
        tasks.iter().all(AbortHandle::is_finished)
    });
    assert_eq!(drops.count(), TASKS);
}

#[test]
fn what_finished_tasks_left_is_dropped_in_the_order_in_which_they_were_spawned() {
    struct Says(usize, Arc<Mutex<Vec<usize>>>);

    impl Drop for Says {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    let runtime = runtime(2, SHORT);
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut set = JoinSet::new();
    let spawn = |set: &mut JoinSet<Says>, number| {
        let says = Says(number, log.clone());
        let task = set.spawn_on(async move { says }, runtime.handle());
        wait_until("it ends", || task.is_finished());
    };
    (0..10).for_each(|number| spawn(&mut set, number));
    // The places of the first three are used again.
    for _ in 0..3 {
        drop(block_on(&runtime, set.join_next()).unwrap().unwrap());
    }
    (10..15).for_each(|number| spawn(&mut set, number));
    log.lock().unwrap().clear();
    drop(set);
    assert_eq!(*log.lock().unwrap(), (3..15).collect::<Vec<_>>());
}

#[test]
fn destructors_that_panic_do_not_keep_the_others_from_being_dropped() {
    quiet();
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    let mut set: JoinSet<Box<dyn Send>> = JoinSet::new();
    for number in 0..20 {
        let guard = drops.guard();
        let future = async move {
            match number % 2 {
                0 => Box::new((PanicsInDrop, guard)) as Box<dyn Send>,
                _ => Box::new(guard),
            }
        };
        let task = set.spawn_on(future, runtime.handle());
        wait_until("it ends", || task.is_finished());
    }
    drop(set);
    assert_eq!(drops.count(), 20);
}

#[test]
fn a_panic_is_an_error_of_one_task() {
    quiet();
    let runtime = runtime(2, SHORT);
    block_on(&runtime, async {
        let mut set = JoinSet::new();
        for number in 0..10 {
            set.spawn(async move { assert!(number % 2 == 0, "expected: odd") });
        }
        let (mut good, mut bad) = (0, 0);
        while let Some(result) = set.join_next().await {
            match result {
                Ok(()) => good += 1,
                Err(error) => {
                    assert_eq!(message(&*error.into_panic()), Some("expected: odd"));
                    bad += 1;
                }
            }
        }
        assert_eq!((good, bad), (5, 5));
    });
}

#[test]
fn join_all_passes_a_panic_on_and_aborts_the_rest() {
    quiet();
    let runtime = runtime(2, SHORT);
    let drops = Drops::default();
    let mut set = JoinSet::new();
    let rest = {
        let guard = drops.guard();
        let future = async move {
            let _guard = guard;
            pending::<()>().await;
        };
        set.spawn_on(future, runtime.handle())
    };
    set.spawn_on(async { panic!("expected: by join_all") }, runtime.handle());
    let error = block_on(&runtime, runtime.spawn(set.join_all())).unwrap_err();
    assert_eq!(message(&*error.into_panic()), Some("expected: by join_all"));
    wait_until("the rest is cancelled", || rest.is_finished());
    assert_eq!(drops.count(), 1);
}

#[test]
#[should_panic(expected = "was cancelled")]
fn join_all_panics_when_a_task_was_cancelled() {
    let runtime = runtime(2, SHORT);
    let mut set = JoinSet::new();
    set.spawn_on(pending::<()>(), runtime.handle()).abort();
    block_on(&runtime, set.join_all());
}

#[test]
fn aborted_tasks_stay_in_the_set_until_they_are_joined() {
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    block_on(&runtime, async {
        let mut set = JoinSet::new();
        let tasks: Vec<_> = (0..100).map(|_| set.spawn(pending::<()>())).collect();
        tasks[17].abort();
        let error = set.join_next().await.unwrap().unwrap_err();
        assert!(error.is_cancelled() && error.id() == tasks[17].id());
        assert_eq!(set.len(), 99);
        set.abort_all();
        assert_eq!(set.len(), 99);
        while let Some(result) = set.join_next().await {
            assert!(result.unwrap_err().is_cancelled());
        }
        // It goes on as a new one would.
        set.spawn(async {});
        set.spawn(pending());
        assert!(set.join_next().await.unwrap().is_ok());
        set.shutdown().await;
        assert!(set.is_empty());
    });
    hogs.stop(&runtime);
}

#[test]
fn tasks_that_were_let_go_do_not_show_up_among_their_successors() {
    const ROUNDS: usize = 300;
    const TASKS: usize = 8;
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    let ran = Arc::new(AtomicUsize::new(0));
    block_on(&runtime, async {
        let mut set = JoinSet::new();
        for round in 0..ROUNDS {
            for _ in 0..TASKS {
                let ran = ran.clone();
                set.spawn(async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    round
                });
            }
            // Some of them have finished by now, some do just now. The next ones get their places.
            if round % 2 == 0 {
                set.detach_all();
                assert!(set.is_empty());
                continue;
            }
            for _ in 0..TASKS {
                assert_eq!(set.join_next().await.unwrap().unwrap(), round);
            }
        }
    });
    wait_until("those that were let go run to their ends", || {
        ran.load(Ordering::SeqCst) == ROUNDS * TASKS
    });
    hogs.stop(&runtime);
}

#[test]
fn a_waker_of_a_set_may_use_a_runtime_where_it_is_dropped() {
    struct RunsWhenDropped(Runtime);

    impl Wake for RunsWhenDropped {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for RunsWhenDropped {
        fn drop(&mut self) {
            self.0.block_on(task::yield_now());
        }
    }

    let runtime = orderly();
    let mut set = JoinSet::new();
    let task = set.spawn_on(async { 42 }, runtime.handle());
    let waker = Waker::from(Arc::new(RunsWhenDropped(runtime)));
    assert!(
        set.poll_join_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    // Another waker takes the place of the first, whose drop lets the task finish, on this very thread.
    let mut context = Context::from_waker(Waker::noop());
    let polled = set.poll_join_next(&mut context);
    assert!(task.is_finished());
    match polled {
        Poll::Ready(joined) => assert_eq!(joined.unwrap().unwrap(), 42),
        Poll::Pending => assert_eq!(set.try_join_next().unwrap().unwrap(), 42),
    }
}

#[test]
fn tasks_of_a_runtime_that_has_ended_are_cancelled() {
    let ended = runtime(1, SHORT);
    let handle = ended.handle().clone();
    let mut set = JoinSet::new();
    set.spawn_on(pending::<()>(), &handle);
    drop(ended);
    // This one has ended before it is in the set.
    set.spawn_on(async {}, &handle);
    for _ in 0..2 {
        let joined = plain_block_on(set.join_next()).unwrap();
        assert!(joined.unwrap_err().is_cancelled());
    }
}

#[test]
fn a_task_that_is_lost_is_joined_with_an_error() {
    fn deeper(depth: u64) -> u64 {
        std::hint::black_box(depth)
            + if depth == u64::MAX {
                0
            } else {
                deeper(depth + 1)
            }
    }

    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .on_stack_overflow(OnStackOverflow::FailTask)
        .build()
        .unwrap();
    let mut set = JoinSet::new();
    set.spawn_on(async { deeper(0) }, runtime.handle());
    let lost = block_on(&runtime, set.join_next()).unwrap().unwrap_err();
    assert!(lost.is_stack_overflow());
    assert!(set.is_empty());
}

#[test]
fn closures_and_tasks_with_names_go_in_as_well() {
    let runtime = runtime(2, SHORT);
    let is_held = Arc::new(AtomicBool::new(true));
    block_on(&runtime, async {
        let mut set = JoinSet::new();
        let is_held = is_held.clone();
        set.spawn_blocking(move || {
            wait_until("the test lets go", || !is_held.load(Ordering::SeqCst));
            "closure"
        });
        let task = set.build_task().name("named").stack_size(8 << 20);
        task.spawn(async { "named" }).unwrap();
        assert_eq!(set.join_next().await.unwrap().unwrap(), "named");
        assert!(set.try_join_next().is_none());
        assert!(
            set.build_task()
                .stack_size(usize::MAX)
                .spawn(async { "" })
                .is_err()
        );
        assert_eq!(set.len(), 1);
    });
    is_held.store(false, Ordering::SeqCst);
}
