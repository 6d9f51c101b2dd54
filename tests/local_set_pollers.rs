//! Several futures that run one local set by turns, each with a waker of its own, and how they end.

mod support;

use preemptive::task::{LocalSet, spawn_local, yield_now};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use support::load::Mailbox;

/// A future that is polled by hand, when it has been woken.
struct Polled<'a> {
    future: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a> Polled<'a> {
    fn new(future: impl Future<Output = ()> + 'a) -> Polled<'a> {
        Polled {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// True: it was woken, and so polled. One that panics has ended.
    fn poll_if_woken(&mut self) -> bool {
        let Some(future) = self.future.as_mut() else {
            return false;
        };
        if !self.woken.0.swap(false, Ordering::SeqCst) {
            return false;
        }
        let waker = Waker::from(self.woken.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.future = None;
        }
        true
    }
}

/// Polls all that are woken until none is; how many have not ended.
fn poll_all(all: &mut [Polled<'_>]) -> usize {
    while all
        .iter_mut()
        .fold(false, |any, one| one.poll_if_woken() | any)
    {}
    all.iter().filter(|one| one.future.is_some()).count()
}

/// A future that waits for a task of the set, which waits for a letter.
fn waits(set: &LocalSet) -> (Arc<Mailbox<()>>, Polled<'_>) {
    let mailbox = Mailbox::new();
    let inside = mailbox.clone();
    let task = set.spawn_local(async move { inside.take().await });
    let future = set.run_until(async move { task.await.unwrap() });
    (mailbox, Polled::new(future))
}

#[test]
fn whoever_runs_a_set_last_may_end_first() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let set = LocalSet::new();
        let (letters, mut all): (Vec<_>, Vec<_>) = (0..3).map(|_| waits(&set)).unzip();
        assert_eq!(poll_all(&mut all), 3);
        for (ended, number) in order.into_iter().enumerate() {
            letters[number].put(());
            assert_eq!(poll_all(&mut all), 2 - ended, "in the order {order:?}");
        }
    }
}

#[test]
fn whoever_runs_a_set_last_may_be_dropped() {
    let set = LocalSet::new();
    let (letters, mut all): (Vec<_>, Vec<_>) = (0..3).map(|_| waits(&set)).unzip();
    assert_eq!(poll_all(&mut all), 3);
    all.pop();
    letters[0].put(());
    assert_eq!(poll_all(&mut all), 1);
    // Woken for a task of somebody else's, and dropped before it has polled.
    letters[2].put(());
    all.remove(0);
    letters[1].put(());
    assert_eq!(poll_all(&mut all), 0);
}

#[test]
fn a_panic_beside_others_leaves_the_set_to_them() {
    let set = LocalSet::new();
    let (letter, first) = waits(&set);
    let turns = Cell::new(0);
    let panics = set.run_until(async {
        while turns.get() == 0 {
            turns.set(1);
            yield_now().await;
        }
        panic!("on purpose")
    });
    let mut all = [first, Polled::new(panics)];
    assert_eq!(poll_all(&mut all), 1);
    letter.put(());
    assert_eq!(poll_all(&mut all), 0);
}

#[test]
fn a_set_is_run_from_within_by_its_own_tasks() {
    let set = Rc::new(LocalSet::new());
    let letter = Mailbox::new();
    let (inner, inside) = (set.clone(), letter.clone());
    let task = set.spawn_local(async move {
        inner
            .run_until(async {
                spawn_local(async move { inside.take().await })
                    .await
                    .unwrap()
            })
            .await;
    });
    let mut outer = [Polled::new(
        set.run_until(async move { task.await.unwrap() }),
    )];
    assert_eq!(poll_all(&mut outer), 1);
    letter.put(());
    assert_eq!(poll_all(&mut outer), 0);
}
