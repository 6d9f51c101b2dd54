//! A processor's slot: who puts in, who takes out, and thieves while it is open.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::executor::queue::Slot;
use crate::item::{Header, Notified};
use loom::sync::Arc;
use loom::thread;

struct Model {
    slot: Slot,
    tasks: Vec<Header>,
}

impl Model {
    fn new(tasks: usize) -> Arc<Model> {
        Arc::new(Model {
            slot: Slot::new(),
            tasks: (0..tasks).map(Header::new).collect(),
        })
    }

    /// The owner puts a task in, and runs who was there before.
    fn put(&self, task: usize) {
        self.slot.put(self.tasks[task].notify()).map(Notified::run);
    }

    /// Runs what is left, when no thread but the caller's is; then every task has run once.
    fn assert_each_ran_once(&self) {
        self.slot.take().map(Notified::run);
        assert!(self.slot.is_empty());
        for task in &self.tasks {
            assert_eq!(task.runs(), 1, "runs of task {}", task.number);
        }
    }
}

fn thief(model: &Arc<Model>) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || {
        model.slot.steal().map(Notified::run);
    })
}

fn one_task_and_a_thief() {
    let model = Model::new(1);
    model.slot.open();
    let thief = thief(&model);
    model.put(0);
    thief.join().unwrap();
    model.assert_each_ran_once();
}

#[test]
fn a_task_in_an_open_slot_comes_out_once() {
    check(3, || {
        let model = Model::new(3);
        let thieves = [thief(&model), thief(&model)];
        model.put(0);
        model.slot.open();
        model.put(1);
        model.slot.take().map(Notified::run);
        model.put(2);
        for thief in thieves {
            thief.join().unwrap();
        }
        model.assert_each_ran_once();
    });
}

#[test]
fn a_thief_gets_the_task_of_a_slot_with_its_contents() {
    check(3, one_task_and_a_thief);
}

#[test]
fn a_slot_that_is_not_open_gives_nothing_to_thieves() {
    check(3, || {
        let model = Model::new(1);
        let thief = thief(&model);
        model.put(0);
        thief.join().unwrap();
        assert_eq!(model.tasks[0].runs(), 0);
        model.assert_each_ran_once();
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_a_thief_would_get_a_task_before_its_contents() {
    weakened(Weakness::Release, || check(3, one_task_and_a_thief));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_acquire_a_thief_would_get_a_task_before_its_contents() {
    weakened(Weakness::Acquire, || check(3, one_task_and_a_thief));
}
