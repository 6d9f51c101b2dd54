//! Channels: order, hand-off, cancellation, closing.

mod support;

use preemptive::sync::channel::{Recv, SendError, Sender, TryRecvError, TrySendError, channel};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use support::load::{Drops, plain_block_on};

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A future that waits.
fn waiting<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll(future.as_mut()).is_pending(), "there is something");
    future
}

fn ready<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    match poll(future.as_mut()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn values_come_out_in_order_whatever_the_room() {
    for capacity in [1, 2, 3, 64] {
        let (sender, receiver) = channel(capacity);
        let mut next = 0;
        let mut wanted = 0;
        for round in 0..200 {
            for _ in 0..(round % (capacity + 1)) {
                match sender.try_send(next) {
                    Ok(()) => next += 1,
                    Err(error) => assert_eq!(error, TrySendError::Full(next)),
                }
            }
            assert_eq!(receiver.len(), next - wanted);
            assert_eq!(sender.capacity(), capacity - receiver.len());
            for _ in 0..(round % 3) {
                match receiver.try_recv() {
                    Ok(value) => {
                        assert_eq!(value, wanted);
                        wanted += 1;
                    }
                    Err(error) => assert_eq!((error, next), (TryRecvError::Empty, wanted)),
                }
            }
        }
        assert!(wanted > 50);
    }
}

#[test]
fn a_sender_hands_its_value_to_who_waits_and_wakes_it_once() {
    for capacity in [0, 1, 8] {
        let (sender, receiver) = channel(capacity);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut recv = pin!(receiver.recv());
        assert!(
            recv.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        sender.try_send(1).unwrap();
        assert_eq!(receiver.len(), 0, "it took no room");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(ready(recv), Some(1));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let (sender, receiver) = channel(0);
    let counts = [(); 2].map(|()| Arc::new(Count::default()));
    let mut recv = pin!(receiver.recv());
    for count in &counts {
        let waker = Waker::from(count.clone());
        assert!(
            recv.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    sender.try_send(()).unwrap();
    assert_eq!(counts.map(|count| count.0.load(Ordering::SeqCst)), [0, 1]);
}

#[test]
fn a_receiver_lets_the_next_sender_in() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let mut sends = [2, 3].map(|value| waiting(sender.send(value)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(ready(sends[0].as_mut()), Ok(()));
    assert!(poll(sends[1].as_mut()).is_pending());
    assert_eq!(receiver.len(), 1, "the second value has taken its place");
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(ready(sends[1].as_mut()), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_rendezvous_needs_both() {
    let (sender, receiver) = channel(0);
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let mut send = waiting(sender.send(2));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(ready(send.as_mut()), Ok(()));
}

/// Receivers that wait, and get 1, 2, 3…
fn handed<'a>(
    sender: &Sender<u32>,
    receiver: &'a preemptive::sync::channel::Receiver<u32>,
    count: u32,
) -> Vec<Pin<Box<Recv<'a, u32>>>> {
    let recvs = (0..count).map(|_| waiting(receiver.recv())).collect();
    (1..=count).for_each(|value| sender.try_send(value).unwrap());
    recvs
}

#[test]
fn cancelled_receivers_put_their_values_back_in_order() {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for capacity in [0, 1, 2] {
        for order in ORDERS {
            let (sender, receiver) = channel(capacity);
            let mut recvs: Vec<_> = handed(&sender, &receiver, 3)
                .into_iter()
                .map(Some)
                .collect();
            // And what comes after them: a full channel, and one sender more.
            (4..4 + capacity as u32).for_each(|value| sender.try_send(value).unwrap());
            let mut last = waiting(sender.send(99));
            for index in order {
                recvs[index] = None;
            }
            let mut got = Vec::new();
            while let Ok(value) = receiver.try_recv() {
                got.push(value);
            }
            let mut wanted: Vec<_> = (1..4 + capacity as u32).collect();
            wanted.push(99);
            assert_eq!(
                got, wanted,
                "capacity {capacity}, cancelled in the order {order:?}"
            );
            assert_eq!(ready(last.as_mut()), Ok(()));
        }
    }
}

#[test]
fn a_value_that_is_put_back_goes_to_who_waits() {
    let (sender, receiver) = channel(4);
    let mut recvs = handed(&sender, &receiver, 1);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut other = Box::pin(receiver.recv());
    assert!(
        other
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    recvs.clear();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    // Cancelled again, it is still ahead of what was sent later.
    sender.try_send(2).unwrap();
    drop(other);
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
}

#[test]
fn a_cancelled_send_takes_its_value_with_it() {
    let drops = Drops::default();
    let (sender, receiver) = channel(0);
    drop(waiting(sender.send(drops.guard())));
    assert_eq!(drops.count(), 1);
    drop(sender.send(drops.guard()));
    assert_eq!(drops.count(), 2);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn cancelled_waiters_leave_the_others_in_their_order() {
    for gone in 0..4 {
        let (sender, receiver) = channel(0);
        let mut sends: Vec<_> = (0..4)
            .map(|value| Some(waiting(sender.send(value))))
            .collect();
        sends[gone] = None;
        let got: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        let wanted: Vec<_> = (0..4).filter(|value| *value != gone).collect();
        assert_eq!(got, wanted);
    }
}

#[test]
fn without_senders_receivers_drain_and_end() {
    for capacity in [0, 2] {
        let (sender, receiver) = channel(capacity);
        (0..capacity).for_each(|value| sender.try_send(value).unwrap());
        let clone = sender.clone();
        drop(sender);
        assert!(!receiver.is_closed());
        drop(clone);
        assert!(receiver.is_closed());
        for value in 0..capacity {
            assert_eq!(plain_block_on(receiver.recv()), Some(value));
        }
        assert_eq!(plain_block_on(receiver.recv()), None);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(receiver.blocking_recv(), None);
    }
}

#[test]
fn who_waits_hears_of_a_close() {
    let (sender, receiver) = channel::<u32>(0);
    // More than are told at a time.
    let mut recvs: Vec<_> = (0..100).map(|_| waiting(receiver.recv())).collect();
    drop(sender);
    for recv in &mut recvs {
        assert_eq!(ready(recv.as_mut()), None);
    }
    let (sender, receiver) = channel(0);
    let mut sends: Vec<_> = (0..100).map(|value| waiting(sender.send(value))).collect();
    receiver.close();
    for (value, send) in sends.iter_mut().enumerate() {
        assert_eq!(ready(send.as_mut()), Err(SendError(value)));
    }
    assert_eq!(sender.try_send(1), Err(TrySendError::Closed(1)));
    assert_eq!(sender.blocking_send(2), Err(SendError(2)));
}

#[test]
fn a_panicking_waker_keeps_nobody_else_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("expected: a waker");
        }
    }
    support::load::quiet();
    let (sender, receiver) = channel::<u32>(0);
    let count = Arc::new(Count::default());
    let mut recvs: Vec<_> = (0..50).map(|_| Box::pin(receiver.recv())).collect();
    for (index, recv) in recvs.iter_mut().enumerate() {
        let waker = match index {
            1 => Waker::from(Arc::new(Panics)),
            _ => Waker::from(count.clone()),
        };
        assert!(
            recv.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(sender)));
    assert!(closed.is_err());
    assert_eq!(count.0.load(Ordering::SeqCst), 49);
}

#[test]
fn every_value_is_dropped_once() {
    for capacity in [0, 1, 5] {
        let drops = Drops::default();
        let mut made = 0;
        let mut guard = || {
            made += 1;
            drops.guard()
        };
        let (sender, receiver) = channel(capacity);
        let recvs: Vec<_> = (0..3).map(|_| waiting(receiver.recv())).collect();
        (0..3 + capacity).for_each(|_| sender.try_send(guard()).unwrap());
        let sends = [waiting(sender.send(guard())), waiting(sender.send(guard()))];
        assert_eq!(drops.count(), 0);
        drop(recvs);
        drop(receiver.try_recv().unwrap());
        assert_eq!(drops.count(), 1);
        // The last receiver takes what is in the channel with it, the senders' values are theirs.
        drop(receiver);
        assert_eq!(drops.count(), 3 + capacity);
        drop(sends);
        drop(sender);
        assert_eq!(drops.count(), made);
    }
}

#[test]
fn values_of_no_size_and_large_ones_pass() {
    let (sender, receiver) = channel(3);
    (0..3).for_each(|_| sender.try_send(()).unwrap());
    assert!(sender.try_send(()).is_err());
    assert_eq!(std::iter::from_fn(|| receiver.try_recv().ok()).count(), 3);
    let (sender, receiver) = channel(1);
    sender.try_send([7_u64; 2000]).unwrap();
    assert_eq!(receiver.try_recv().unwrap(), [7; 2000]);
}

#[test]
fn handles_and_futures_can_be_sent_and_shared() {
    fn is_send<T: Send + Sync>(_: &T) {}
    let (sender, receiver) = channel::<std::cell::Cell<u32>>(1);
    is_send(&sender);
    is_send(&receiver);
    is_send(&sender.send(std::cell::Cell::new(1)));
    is_send(&receiver.recv());
}
