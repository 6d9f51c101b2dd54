//! A channel's hand-off: who sends, who receives, who gives up, who closes. Every value comes once, with its contents, and
//! in order.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::executor::channel::{Receiver, Sender, channel};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

/// A value with contents that loom watches. It counts its drops.
struct Value {
    number: usize,
    contents: Arc<UnsafeCell<usize>>,
    drops: Arc<AtomicUsize>,
}

// SAFETY: loom runs all threads of a model on one, and reports who touches a cell out of turn.
unsafe impl Send for Value {}

impl Value {
    fn read(&self) -> usize {
        // SAFETY: what the model is about: whoever has the value has its contents.
        self.contents
            .with(|contents| unsafe { assert_eq!(*contents, self.number) });
        self.number
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // Loom's own complaint comes first.
        if !std::thread::panicking() {
            // SAFETY: as above.
            self.contents.with_mut(|contents| unsafe { *contents = 0 });
        }
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Values(Arc<AtomicUsize>);

impl Values {
    fn new() -> Values {
        Values(Arc::new(AtomicUsize::new(0)))
    }

    fn make(&self, number: usize) -> Value {
        let contents = Arc::new(UnsafeCell::new(0));
        // SAFETY: nobody else has it.
        contents.with_mut(|contents| unsafe { *contents = number });
        Value {
            number,
            contents,
            drops: self.0.clone(),
        }
    }

    fn drops(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let sleeper = std::sync::Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(sleeper.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleeper.0.wait(),
        }
    }
}

/// Polls once, and gives up.
fn give_up<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn send_all(sender: &Sender<Value>, values: &Values, blocking: bool, count: usize) {
    for number in 1..=count {
        let value = values.make(number);
        let sent = match blocking {
            true => sender.blocking_send(value),
            false => block_on(sender.send(value)),
        };
        assert!(sent.is_ok());
    }
}

fn receive_all(receiver: &Receiver<Value>, blocking: bool, first: usize, count: usize) {
    for number in first..=count {
        let value = match blocking {
            true => receiver.blocking_recv(),
            false => block_on(receiver.recv()),
        };
        assert_eq!(value.map(|value| value.read()), Some(number));
    }
}

fn exchange(capacity: usize, blocking: bool, count: usize) {
    let values = Values::new();
    let (sender, receiver) = channel(capacity);
    let sending = {
        let values = values.clone();
        thread::spawn(move || send_all(&sender, &values, blocking, count))
    };
    receive_all(&receiver, blocking, 1, count);
    sending.join().unwrap();
    assert_eq!(values.drops(), count);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn values_pass_without_room() {
    check(2, || exchange(0, false, 2));
    check(2, || exchange(0, true, 2));
}

#[test]
fn values_pass_with_room() {
    check(2, || exchange(1, false, 3));
    check(2, || exchange(1, true, 3));
}

/// A receive that is given up, with a value or without, and those that follow.
fn a_receive_that_is_given_up(capacity: usize, forgets: bool) {
    let values = Values::new();
    let (sender, receiver) = channel(capacity);
    let sending = {
        let values = values.clone();
        thread::spawn(move || send_all(&sender, &values, false, 2))
    };
    let mut first = 1;
    if forgets {
        let mut recv = Box::pin(receiver.recv());
        if let Poll::Ready(value) = recv.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            assert_eq!(value.map(|value| value.read()), Some(1));
            first = 2;
        }
        // Its destructor does not run.
        std::mem::forget(recv);
    } else if let Some(value) = give_up(receiver.recv()) {
        assert_eq!(value.map(|value| value.read()), Some(1));
        first = 2;
    }
    receive_all(&receiver, false, first, 2);
    sending.join().unwrap();
    assert_eq!(values.drops(), 2);
}

#[test]
fn what_was_handed_to_who_gives_up_comes_next() {
    for capacity in [0, 1] {
        check(2, move || a_receive_that_is_given_up(capacity, false));
    }
}

#[test]
#[should_panic(expected = "left: Some(2)")]
fn without_putting_it_back_a_value_would_be_lost() {
    check(2, || a_receive_that_is_given_up(1, true));
}

#[test]
fn a_value_that_is_put_back_goes_to_another_that_waits() {
    check(2, || {
        let values = Values::new();
        let (sender, receiver) = channel::<Value>(1);
        let other = {
            let receiver = receiver.clone();
            thread::spawn(move || block_on(receiver.recv()).map(|value| value.read()))
        };
        let got = {
            let mut recv = pin!(receiver.recv());
            let polled = recv.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(sender.try_send(values.make(1)).is_ok());
            matches!(polled, Poll::Ready(_))
        };
        assert!(!got, "there was nothing yet");
        assert_eq!(other.join().unwrap(), Some(1));
    });
}

#[test]
fn a_send_that_is_given_up_is_sent_or_is_not() {
    check(2, || {
        let values = Values::new();
        let (sender, receiver) = channel(0);
        let sending = {
            let values = values.clone();
            thread::spawn(move || give_up(sender.send(values.make(1))).is_some())
        };
        let got = block_on(receiver.recv()).map(|value| value.read());
        let is_sent = sending.join().unwrap();
        assert!(got.is_none() || got == Some(1));
        assert!(!is_sent || got == Some(1));
        assert_eq!(values.drops(), 1);
    });
}

#[test]
fn a_close_leaves_nobody_waiting_and_no_value_behind() {
    for capacity in [0, 1] {
        check(2, move || {
            let values = Values::new();
            let (sender, receiver) = channel(capacity);
            let sending = {
                let values = values.clone();
                thread::spawn(move || {
                    let sent = block_on(sender.send(values.make(1))).is_ok();
                    (sent, sender.blocking_send(values.make(2)).is_ok())
                })
            };
            let first = give_up(receiver.recv()).flatten();
            assert!(first.is_none_or(|value| value.read() == 1));
            drop(receiver);
            let _ = sending.join().unwrap();
            assert_eq!(values.drops(), 2);
        });
    }
}

#[test]
fn the_last_sender_tells_who_waits() {
    check(2, || {
        let values = Values::new();
        let (sender, receiver) = channel(1);
        let threads = [1, 2].map(|number| {
            let (values, sender) = (values.clone(), sender.clone());
            // One of them may find no room: then its value comes back, and is dropped.
            thread::spawn(move || drop(sender.try_send(values.make(number))))
        });
        drop(sender);
        while let Some(value) = block_on(receiver.recv()) {
            value.read();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(values.drops(), 2);
    });
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_release_a_value_would_come_before_its_contents() {
    weakened(Weakness::Release, || check(3, || exchange(0, false, 1)));
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_acquire_a_value_would_come_before_its_contents() {
    weakened(Weakness::Acquire, || check(3, || exchange(0, false, 1)));
}
