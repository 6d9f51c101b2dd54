//! The guard word: requests from anywhere, while the owner honours some and moves from segment to segment.

use crate::arch::POISON;
use crate::atomic::{AtomicUsize, Ordering};
use crate::check;
use crate::stack::guard::Guard;
use loom::sync::Arc;
use loom::thread;

/// The limits of two segments.
const BASE: usize = 0x1000;
const SEGMENT: usize = 0x8000;

struct Model {
    guard: Guard,
    /// What the requests are about: how many there were.
    asked: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            guard: crate::stack::guard_at(BASE),
            asked: AtomicUsize::new(0),
        })
    }

    /// Somebody else, or a handler: first the reason, then the request.
    fn request(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.guard.poison();
    }

    /// The owner at a safe-point. Returns up to which request it has given way.
    fn check(&self, given_way: usize, restore: fn(&Guard)) -> usize {
        if !self.guard.is_poisoned() {
            return given_way;
        }
        restore(&self.guard);
        self.asked.load(Ordering::Relaxed)
    }
}

fn requester(model: &Arc<Model>) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || model.request())
}

/// The owner grows, checks, shrinks and checks, while `requests` come. `moves` is how it changes segments.
fn every_request_is_honoured(requests: usize, moves: fn(&Guard, usize), restore: fn(&Guard)) {
    let model = Model::new();
    let requesters: Vec<_> = (0..requests).map(|_| requester(&model)).collect();
    let mut given_way = 0;
    moves(&model.guard, SEGMENT);
    given_way = model.check(given_way, restore);
    moves(&model.guard, BASE);
    given_way = model.check(given_way, restore);
    for requester in requesters {
        requester.join().unwrap();
    }
    // The next check, whenever it comes.
    given_way = model.check(given_way, restore);
    assert_eq!(given_way, requests, "a request was lost");
    assert!(!model.guard.is_poisoned());
    assert_eq!(crate::stack::word(&model.guard), BASE, "the check is wrong");
}

fn set_limit(guard: &Guard, limit: usize) {
    guard.set_limit(limit);
}

#[test]
fn no_request_is_lost_while_the_owner_moves() {
    check(3, || {
        every_request_is_honoured(1, set_limit, Guard::restore)
    });
}

#[test]
fn nor_is_one_of_two() {
    check(2, || {
        every_request_is_honoured(2, set_limit, Guard::restore)
    });
}

#[test]
#[should_panic(expected = "a request was lost")]
fn moving_by_a_load_and_a_store_loses_one() {
    check(3, || {
        let moves = crate::stack::set_limit_in_two_steps;
        every_request_is_honoured(1, moves, Guard::restore);
    });
}

#[test]
#[should_panic(expected = "a request was lost")]
fn honouring_by_a_store_loses_one_of_two() {
    check(3, || {
        every_request_is_honoured(2, set_limit, crate::stack::restore_by_a_store)
    });
}

#[test]
#[should_panic(expected = "the check is wrong")]
fn honouring_by_the_limit_from_before_a_move_breaks_the_check() {
    check(3, || {
        let moves = crate::stack::set_limit_without_remembering;
        every_request_is_honoured(1, moves, Guard::restore);
    });
}

#[test]
fn a_request_stays_until_it_is_honoured() {
    check(3, || {
        let model = Model::new();
        let requester = requester(&model);
        let before = model.guard.is_poisoned();
        model.guard.set_limit(SEGMENT);
        model.guard.set_limit(BASE);
        assert!(!before || model.guard.is_poisoned());
        requester.join().unwrap();
        assert_eq!(crate::stack::word(&model.guard), POISON);
    });
}
