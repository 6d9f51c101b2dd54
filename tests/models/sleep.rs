//! How processors sleep: with a task in a queue, not all of them stay asleep, and none that somebody counts on.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::runtime::{Model, Processor, Without};
use loom::sync::Arc;
use loom::thread;

fn worker(
    model: &Arc<Model>,
    index: usize,
    during: impl Fn(&Model, &Processor, usize) + 'static,
) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || model.work(index, |processor, task| during(&model, processor, task)))
}

/// Two processors that have just run out of work, and tasks from outside.
fn tasks_from_outside(tasks: usize, without: Without) {
    let model = Model::new(tasks, 3, without);
    let workers = [0, 1].map(|index| worker(&model, index, |_, _, _| ()));
    for task in 0..tasks {
        model.submit(task);
    }
    model.end();
    for worker in workers {
        worker.join().unwrap();
    }
    model.assert_is_over();
}

#[test]
fn a_task_from_outside_finds_a_processor() {
    check(2, || tasks_from_outside(1, Without::Nothing));
}

#[test]
#[should_panic(expected = "nobody is left")]
fn without_the_last_look_a_task_would_be_left_behind() {
    check(2, || tasks_from_outside(1, Without::LastLook));
}

#[test]
#[should_panic(expected = "nobody is left")]
fn without_a_total_order_a_task_would_be_left_behind() {
    weakened(Weakness::TotalOrder, || {
        check(2, || tasks_from_outside(1, Without::Nothing));
    });
}

/// A task that makes another runnable, and holds on to its processor until that one has run, unless it is told that
/// all processors are busy: then its slice is bounded.
fn a_hog_and_what_it_wakes(without: Without) {
    let model = Model::new(2, 2, without);
    let other = worker(&model, 1, |_, _, _| ());
    let hog = &model.processors[0];
    model.run(model.tasks[0].notify(), |_| {
        if model.submit_to(hog, 1) {
            model.hog();
        }
    });
    model.work(0, |_, _| ());
    other.join().unwrap();
    model.assert_is_over();
}

#[test]
fn what_a_hog_wakes_is_taken_by_another() {
    check(3, || a_hog_and_what_it_wakes(Without::Nothing));
}

#[test]
#[should_panic(expected = "nobody is left")]
fn without_the_fence_it_would_wait_for_the_hog() {
    check(3, || a_hog_and_what_it_wakes(Without::Fence));
}

#[test]
#[should_panic(expected = "nobody is left")]
fn without_the_last_look_it_would_wait_for_the_hog() {
    check(3, || a_hog_and_what_it_wakes(Without::LastLook));
}

/// Two tasks from outside, of which the first holds on to its processor until the second has run. Whoever takes the
/// first may be the searcher that the second was left to.
fn a_hog_and_what_follows(without: Without) {
    let model = Model::new(2, 3, without);
    let workers = [0, 1].map(|index| {
        worker(&model, index, |model, _, task| {
            if task == 0 {
                model.hog();
            }
        })
    });
    model.submit(0);
    model.submit(1);
    model.end();
    for worker in workers {
        worker.join().unwrap();
    }
    model.assert_is_over();
}

#[test]
fn a_searcher_that_finds_a_hog_leaves_the_rest_to_another() {
    check(2, || a_hog_and_what_follows(Without::Nothing));
}

#[test]
#[should_panic(expected = "nobody is left")]
fn without_the_next_searcher_the_rest_would_wait_for_the_hog() {
    check(2, || a_hog_and_what_follows(Without::NextSearcher));
}

/// The submitter has counted on a searcher that had looked already, and sees two tasks when it looks again.
#[test]
#[should_panic(expected = "nobody is left")]
fn without_a_search_after_the_last_look_the_rest_would_wait_for_the_hog() {
    check(2, || a_hog_and_what_follows(Without::SearchAgain));
}

/// A timer of a sleeping processor's is brought forward: it is roused whoever searches (`Driver::earliest_changed`).
fn a_processor_that_is_roused_for_a_timer(without: Without) {
    let model = Model::new(1, 2, without);
    let worker = worker(&model, 0, |_, _, _| ());
    if model.sleep.idle.remove(0) {
        model.wake(0);
    }
    model.submit(0);
    model.end();
    worker.join().unwrap();
    model.assert_is_over();
}

#[test]
fn a_searcher_is_never_counted_twice() {
    check(3, || {
        a_processor_that_is_roused_for_a_timer(Without::Nothing)
    });
}

/// With the flag read too late, the one that parks takes back what the waker has just counted.
#[test]
#[should_panic(expected = "a searcher too many")]
fn a_flag_that_is_read_late_would_leave_a_searcher_too_many() {
    check(3, || {
        a_processor_that_is_roused_for_a_timer(Without::EarlyFlag)
    });
}
