//! The state of a task: wake-ups, the output, the join slot, cancelling, references.
//!
//! In all of these, loom checks that the future, the output and the join slot have one owner at a time, and that every
//! use of a task comes before it is freed.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::task::{Join, Output, Signal, Task};
use loom::sync::atomic::Ordering;
use loom::sync::{Arc, Notify};
use loom::thread;

fn signal() -> Signal {
    Arc::new(Notify::new())
}

/// A thread that does something to the task.
fn beside(task: &Arc<Task>, act: impl FnOnce(&Arc<Task>) + 'static) -> thread::JoinHandle<()> {
    let task = Arc::clone(task);
    thread::spawn(move || act(&task))
}

/// Something that the future waits for happens.
fn arrive(task: &Task, piece: u32) {
    task.news.fetch_or(1 << piece, Ordering::Relaxed);
}

/// Two wakers, one that goes on and one that does not, while the first poll runs.
fn wake_ups() {
    let task = Task::new(2);
    // Each waker has a reference of its own.
    task.retain();
    task.retain();
    let by_ref = beside(&task, |task| {
        arrive(task, 0);
        task.wake_by_ref();
        task.release(1);
    });
    let by_value = beside(&task, |task| {
        arrive(task, 1);
        task.wake();
    });
    drop(Join(Arc::clone(&task)));
    task.run();
    by_ref.join().unwrap();
    by_value.join().unwrap();
    task.assert_is_over();
}

/// A poll that begins after a wake sees what the waker did, also where the task was notified already.
#[test]
fn no_wake_up_is_lost() {
    check(2, wake_ups);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_one_poll_would_not_see_the_other() {
    weakened(Weakness::Release, || check(2, wake_ups));
}

/// Why a wake writes even when there is nothing to change.
#[test]
#[should_panic(expected = "never completed")]
fn a_waker_that_only_looks_would_be_lost() {
    check(3, || {
        let task = Task::new(1);
        task.retain();
        let waker = beside(&task, |task| {
            arrive(task, 0);
            if !task.state.load().is_notified() {
                task.wake_by_ref();
            }
            task.release(1);
        });
        task.run();
        waker.join().unwrap();
        assert!(task.state.load().is_complete(), "never completed");
    });
}

/// The joiner's waker is read by the runner while the joiner puts another in its place.
fn completes_while_joined() {
    let task = Task::new(0);
    let join = Join(Arc::clone(&task));
    let runner = beside(&task, |task| task.run());
    let (first, second) = (signal(), signal());
    let output = join
        .poll(&first)
        // The same again, then another: only the last is sure to be woken.
        .or_else(|| join.poll(&first))
        .unwrap_or_else(|| join.wait(&second));
    assert_eq!(output, Output::Value);
    drop(join);
    runner.join().unwrap();
    task.assert_is_over();
}

#[test]
fn a_joiner_is_woken_and_gets_the_output() {
    check(3, completes_while_joined);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_the_output_would_come_before_its_contents() {
    weakened(Weakness::Release, || check(4, completes_while_joined));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_acquire_the_output_would_come_before_its_contents() {
    weakened(Weakness::Acquire, || check(4, completes_while_joined));
}

/// Invariant 6: a published slot is not written.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_joiner_that_does_not_withdraw_would_write_what_the_runner_reads() {
    check(3, || {
        let task = Task::new(0);
        let join = Join(Arc::clone(&task));
        let runner = beside(&task, |task| task.run());
        if join.poll(&signal()).is_none() {
            join.fill_slot(&signal());
        }
        runner.join().unwrap();
    });
}

/// The handle goes away, with or without a waker left behind, while the task completes.
#[test]
fn an_output_that_nobody_wants_is_dropped_once() {
    check(4, || {
        let task = Task::new(0);
        let join = Join(Arc::clone(&task));
        let runner = beside(&task, |task| task.run());
        drop(join);
        runner.join().unwrap();
        task.assert_is_over();
    });
}

#[test]
fn an_output_and_a_waker_that_nobody_wants_are_dropped_once() {
    check(4, || {
        let task = Task::new(0);
        let join = Join(Arc::clone(&task));
        let runner = beside(&task, |task| task.run());
        let taken = join.poll(&signal());
        drop(join);
        runner.join().unwrap();
        assert!(taken.is_none_or(|output| output == Output::Value));
        task.assert_is_over();
    });
}

/// Invariant 4: a runner that drops the output whatever the state says.
#[test]
#[should_panic(expected = "Causality violation")]
fn an_output_that_both_sides_take_would_have_two_owners() {
    check(3, || {
        let task = Task::new(0);
        task.retain();
        let join = Join(Arc::clone(&task));
        let runner = beside(&task, |task| {
            task.run();
            let _ = task.take_output();
            task.release(1);
        });
        join.poll(&signal());
        drop(join);
        runner.join().unwrap();
    });
}

/// The future is never ready: only the abort ends it.
#[test]
fn an_abort_is_never_lost() {
    check(2, || {
        let task = Task::new(1);
        task.retain();
        let join = Join(Arc::clone(&task));
        let aborter = beside(&task, |task| {
            task.abort();
            task.release(1);
        });
        task.run();
        assert_eq!(join.wait(&signal()), Output::Cancelled);
        drop(join);
        aborter.join().unwrap();
        task.assert_is_over();
    });
}

/// A wake-up that makes the future ready, an abort, the first poll: it ends once, one way or the other.
#[test]
fn an_abort_and_a_wake_up_end_a_task_once() {
    check(2, || {
        let task = Task::new(1);
        task.retain();
        task.retain();
        let aborter = beside(&task, |task| {
            task.abort();
            task.release(1);
        });
        let waker = beside(&task, |task| {
            arrive(task, 0);
            task.wake();
        });
        drop(Join(Arc::clone(&task)));
        task.run();
        aborter.join().unwrap();
        waker.join().unwrap();
        task.assert_is_over();
    });
}

/// Invariant 5.
#[test]
fn no_poll_begins_after_an_abort() {
    check(3, || {
        let task = Task::new(1);
        task.retain();
        let waker = beside(&task, |task| {
            arrive(task, 0);
            task.wake();
        });
        let join = Join(Arc::clone(&task));
        // It has not run yet.
        task.abort();
        task.run();
        assert_eq!(join.wait(&signal()), Output::Cancelled);
        drop(join);
        waker.join().unwrap();
        task.assert_is_over();
    });
}

#[test]
fn a_shutdown_and_a_poll_end_a_task_once() {
    check(2, || {
        let task = Task::new(1);
        task.retain();
        let shutdown = beside(&task, |task| task.shut_down());
        let waker = beside(&task, |task| {
            arrive(task, 0);
            task.wake();
        });
        drop(Join(Arc::clone(&task)));
        task.run();
        shutdown.join().unwrap();
        waker.join().unwrap();
        task.assert_is_over();
    });
}

/// A task that is idle for ever ends when the shutdown finds it.
#[test]
fn a_shutdown_wakes_the_joiner_of_an_idle_task() {
    check(2, || {
        let task = Task::new(1);
        let join = Join(Arc::clone(&task));
        let shutdown = beside(&task, |task| task.shut_down());
        task.run();
        assert_eq!(join.wait(&signal()), Output::Cancelled);
        drop(join);
        shutdown.join().unwrap();
        task.assert_is_over();
    });
}

/// References that come and go beside a task that ends.
fn references() {
    let task = Task::new(0);
    task.retain();
    let other = beside(&task, |task| {
        task.retain();
        task.wake();
        task.release(1);
    });
    drop(Join(Arc::clone(&task)));
    task.run();
    other.join().unwrap();
    task.assert_is_over();
}

#[test]
fn a_task_is_freed_once_and_after_its_last_use() {
    check(4, references);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_acquire_it_would_be_freed_before_its_last_use() {
    weakened(Weakness::Acquire, || check(4, references));
}

/// A reference too many is given back.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_reference_that_was_not_counted_would_free_it_early() {
    check(3, || {
        let task = Task::new(0);
        let other = beside(&task, |task| task.wake());
        drop(Join(Arc::clone(&task)));
        task.run();
        other.join().unwrap();
        task.assert_is_over();
    });
}

/// Invariant 7: a poll is lost, and completed by another thread while its joiner comes.
#[test]
fn the_joiner_of_a_lost_poll_is_woken() {
    check(3, || {
        let task = Task::new(1);
        let join = Join(Arc::clone(&task));
        task.begin_and_lose();
        let finisher = beside(&task, |task| task.run());
        assert_eq!(join.wait(&signal()), Output::Lost);
        drop(join);
        finisher.join().unwrap();
        task.assert_is_lost();
    });
}

/// As before, but nobody joins: others wake, abort and shut down the task.
#[test]
fn a_lost_poll_is_completed_once_and_left_alone() {
    check(2, || {
        let task = Task::new(1);
        task.retain();
        drop(Join(Arc::clone(&task)));
        task.begin_and_lose();
        let finisher = beside(&task, |task| task.run());
        let waker = beside(&task, |task| {
            task.abort();
            task.wake();
        });
        task.shut_down();
        finisher.join().unwrap();
        waker.join().unwrap();
        task.assert_is_lost();
    });
}

/// The runner's own reference must stay for ever.
#[test]
#[should_panic(expected = "freed")]
fn a_lost_poll_whose_reference_is_given_back_would_be_freed() {
    check(2, || {
        let task = Task::new(1);
        let join = Join(Arc::clone(&task));
        task.begin_and_lose();
        let finisher = beside(&task, |task| {
            task.run();
            task.release(1);
        });
        assert_eq!(join.wait(&signal()), Output::Lost);
        drop(join);
        finisher.join().unwrap();
        task.assert_is_lost();
    });
}
