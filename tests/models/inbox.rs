//! A local set's inbox: whoever pushes a task while the set is polled, falls asleep or is closed, the task is run, or dropped
//! by the end; nobody sleeps on it.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::executor::local::inbox::Inbox;
use crate::item::Header;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// How a poll ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Right,
    /// The queue is not looked at again.
    WithoutLook,
    /// The waker is left behind after `is_awake` was cleared, and after the look.
    WakerLast,
}

struct Model {
    inbox: Inbox,
    tasks: Vec<Header>,
}

/// Whether the set has been asked for a poll. A plain word: loom switches threads elsewhere often enough.
struct Asked(AtomicBool);

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            inbox: Inbox::new(),
            tasks: (0..2).map(Header::new).collect(),
        })
    }

    fn pusher(model: &Arc<Model>, task: usize) -> thread::JoinHandle<()> {
        let model = Arc::clone(model);
        thread::spawn(move || model.inbox.push(model.tasks[task].notify()))
    }

    fn poll(&self, waker: &Waker, end: End) {
        self.inbox.begin_poll();
        while let Some(task) = self.inbox.pop() {
            task.run();
        }
        match end {
            End::Right => {
                self.inbox.register(waker);
                self.inbox.end_poll();
            }
            End::WithoutLook => {
                self.inbox.register(waker);
                self.inbox.fall_asleep();
            }
            End::WakerLast => {
                self.inbox.fall_asleep();
                self.inbox.look_again();
                self.inbox.register(waker);
            }
        }
    }
}

fn two_pushers(end: End) {
    let model = Model::new();
    let asked = Arc::new(Asked(AtomicBool::new(false)));
    let waker = Waker::from(asked.clone());
    let pushers = [Model::pusher(&model, 0), Model::pusher(&model, 1)];
    // Two polls while they push, the second if it is asked for.
    model.poll(&waker, end);
    if asked.0.swap(false, Ordering::SeqCst) {
        model.poll(&waker, end);
    }
    for pusher in pushers {
        pusher.join().unwrap();
    }
    while asked.0.swap(false, Ordering::SeqCst) {
        model.poll(&waker, end);
    }
    for task in &model.tasks {
        assert_eq!(task.runs(), 1, "runs of task {}", task.number);
    }
}

#[test]
fn every_task_is_run_whenever_it_is_pushed() {
    check(3, || two_pushers(End::Right));
}

#[test]
#[should_panic(expected = "runs of task")]
fn a_poll_must_look_again_after_it_has_fallen_asleep() {
    check(3, || two_pushers(End::WithoutLook));
}

#[test]
#[should_panic(expected = "runs of task")]
fn a_waker_must_be_there_before_the_set_falls_asleep() {
    check(3, || two_pushers(End::WakerLast));
}

#[test]
#[should_panic(expected = "runs of task")]
fn a_poll_that_falls_asleep_must_acquire_what_was_pushed() {
    weakened(Weakness::Acquire, || {
        check(3, || two_pushers(End::Right));
    });
}

#[test]
fn nothing_stays_in_an_inbox_that_is_closed() {
    check(3, || {
        let model = Model::new();
        let pushers = [Model::pusher(&model, 0), Model::pusher(&model, 1)];
        model.inbox.close();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(model.inbox.pop().is_none());
    });
}

#[test]
#[should_panic(expected = "a task is left")]
fn closing_needs_a_total_order() {
    weakened(Weakness::TotalOrder, || {
        check(3, || {
            let model = Model::new();
            let pusher = Model::pusher(&model, 0);
            model.inbox.close();
            pusher.join().unwrap();
            assert!(model.inbox.pop().is_none(), "a task is left");
        });
    });
}
