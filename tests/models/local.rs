//! A processor's ring: nothing lost, nothing twice, whoever pushes, pops, spills and steals.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::executor::queue::{Global, Local};
use crate::item::{Header, Notified};
use loom::sync::Arc;
use loom::thread;

/// An owner's ring, the queue that it spills to, and all tasks that will ever be in them.
struct Model {
    ring: Local,
    global: Global,
    tasks: Vec<Header>,
}

impl Model {
    fn new(tasks: usize) -> Arc<Model> {
        Arc::new(Model {
            ring: Local::new(),
            global: Global::new(),
            tasks: (0..tasks).map(Header::new).collect(),
        })
    }

    /// The owner makes these runnable.
    fn push(&self, tasks: std::ops::Range<usize>) {
        for task in &self.tasks[tasks] {
            self.ring.push(task.notify(), &self.global);
        }
    }

    /// The owner takes one.
    fn pop(&self) -> Option<usize> {
        self.ring.pop().map(Notified::run)
    }

    /// Runs all that is left, when no thread but the caller's is; then every task has run once.
    fn assert_each_ran_once(&self) {
        while self.pop().is_some() {}
        while let Some(task) = self.global.pop_many(0, |_| {}) {
            task.run();
        }
        assert!(self.ring.is_empty() && self.global.is_empty());
        for task in &self.tasks {
            assert_eq!(task.runs(), 1, "runs of task {}", task.number);
        }
    }
}

/// A thief with a ring of its own. How many it got.
fn steal(model: &Model) -> usize {
    let own = Local::new();
    let Some(first) = model.ring.steal_into(&own) else {
        assert!(own.is_empty());
        return 0;
    };
    first.run();
    let mut got = 1;
    while let Some(task) = own.pop() {
        task.run();
        got += 1;
    }
    got
}

fn thief(model: &Arc<Model>) -> thread::JoinHandle<usize> {
    let model = Arc::clone(model);
    thread::spawn(move || steal(&model))
}

/// Also: the counters come round while the thief looks.
#[test]
fn an_owner_and_a_thief_never_get_the_same_task() {
    check(3, || {
        let model = Model::new(4);
        let thief = thief(&model);
        model.push(0..3);
        model.pop();
        model.push(3..4);
        model.pop();
        assert!(thief.join().unwrap() <= 2, "more than half");
        model.assert_each_ran_once();
    });
}

#[test]
fn two_thieves_never_get_the_same_task() {
    check(2, || {
        let model = Model::new(4);
        model.push(0..3);
        let thieves = [thief(&model), thief(&model)];
        model.push(3..4);
        model.pop();
        for thief in thieves {
            thief.join().unwrap();
        }
        model.assert_each_ran_once();
    });
}

#[test]
fn nothing_is_lost_when_a_full_ring_spills_while_somebody_steals() {
    check(3, || {
        let model = Model::new(6);
        model.push(0..4);
        let thief = thief(&model);
        model.push(4..6);
        thief.join().unwrap();
        model.assert_each_ran_once();
    });
}

#[test]
fn what_a_full_ring_spills_can_be_taken_by_others() {
    check(2, || {
        let model = Model::new(5);
        model.push(0..4);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let other = Local::new();
                let first = model
                    .global
                    .pop_many(1, |task| other.try_push(task).unwrap());
                first.map(Notified::run);
                while let Some(task) = other.pop() {
                    task.run();
                }
            })
        };
        model.push(4..5);
        steal(&model);
        other.join().unwrap();
        model.assert_each_ran_once();
    });
}

/// Oldest first, also around the end of the counters: two tasks were pushed before it and three behind.
#[test]
fn without_thieves_tasks_come_out_in_order() {
    check(1, || {
        let model = Model::new(7);
        model.push(0..2);
        assert_eq!(model.pop(), Some(0));
        model.push(2..5);
        assert_eq!(model.ring.len(), 4);
        // Full: half of it and the new one go to the shared queue, in order.
        model.push(5..6);
        assert_eq!((model.ring.len(), model.global.len()), (2, 3));
        assert_eq!(model.pop(), Some(3));
        model.push(6..7);
        assert_eq!(model.pop(), Some(4));
        assert_eq!(model.pop(), Some(6));
        assert_eq!(model.pop(), None);
        for number in [1, 2, 5] {
            let task = model.global.pop_many(0, |_| {});
            assert_eq!(task.map(Notified::run), Some(number));
        }
        for task in &model.tasks {
            assert_eq!(task.runs(), 1);
        }
    });
}

fn one_task_and_a_thief() {
    let model = Model::new(1);
    let thief = thief(&model);
    model.push(0..1);
    thief.join().unwrap();
    model.assert_each_ran_once();
}

#[test]
fn a_thief_gets_a_task_with_its_contents() {
    check(3, one_task_and_a_thief);
}

/// The order of the tail's store is what carries the slot to the thief.
#[test]
#[should_panic(expected = "runs of task")]
fn without_release_a_thief_would_take_an_empty_slot() {
    weakened(Weakness::Release, || check(3, one_task_and_a_thief));
}

/// As above, from the thief's side.
#[test]
#[should_panic(expected = "runs of task")]
fn without_acquire_a_thief_would_take_an_empty_slot() {
    weakened(Weakness::Acquire, || check(3, one_task_and_a_thief));
}

/// Invariant 1: with two that push, loom must find the task that one of them overwrites.
#[test]
#[should_panic(expected = "runs of task")]
fn two_owners_would_lose_a_task() {
    check(2, || {
        let model = Model::new(2);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.push(0..1))
        };
        model.push(1..2);
        other.join().unwrap();
        model.assert_each_ran_once();
    });
}
