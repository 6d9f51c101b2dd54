//! Channels against a model: random sequences of what one can do with a channel, first in one thread, step by step, then
//! in tasks that are preempted. Each failure names its seed; `PREEMPTIVE_TEST_SEED` in the environment repeats it.

mod support;

use preemptive::runtime::Builder;
use preemptive::sync::channel::{
    Receiver, Recv, Send, SendError, Sender, TryRecvError, TrySendError, channel,
};
use preemptive::time::{Duration, timeout};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use support::load::{LONG, SHORT};

/// Marsaglia's xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        // Small seeds are to differ, too.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }
}

fn for_seeds(count: u64, mut test: impl FnMut(u64)) {
    let seeds = match std::env::var("PREEMPTIVE_TEST_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        /// Says which seed it was, should the test panic.
        struct Say(u64);
        impl Drop for Say {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("with PREEMPTIVE_TEST_SEED={}", self.0);
                }
            }
        }
        let _say = Say(seed);
        test(seed);
    }
}

/// What a waiting future has come to, in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wait {
    Waiting,
    /// A send that is done; a receive with its number and value.
    Sent,
    Got(u64, u32),
    Closed,
}

/// What a channel should do, written down in the simplest way.
#[derive(Default)]
struct Model {
    capacity: usize,
    ring: VecDeque<u32>,
    /// Values put back, by number.
    left: BTreeMap<u64, u32>,
    senders: VecDeque<(usize, u32)>,
    receivers: VecDeque<usize>,
    sends: BTreeMap<usize, Wait>,
    recvs: BTreeMap<usize, Wait>,
    handed: u64,
    closed: bool,
}

impl Model {
    /// Is it sent? `None`: it cannot be any more.
    fn send(&mut self, value: u32) -> Option<bool> {
        if self.closed {
            return None;
        }
        if let Some(receiver) = self.receivers.pop_front() {
            self.recvs.insert(receiver, Wait::Got(self.handed, value));
            self.handed += 1;
            return Some(true);
        }
        let has_room = self.ring.len() < self.capacity;
        if has_room {
            self.ring.push_back(value);
        }
        Some(has_room)
    }

    fn receive(&mut self) -> Option<u32> {
        if let Some((_, value)) = self.left.pop_first() {
            return Some(value);
        }
        let value = self.ring.pop_front();
        let sender = match value {
            None if self.capacity > 0 => None,
            _ => self.senders.pop_front(),
        };
        let Some((sender, waiting)) = sender else {
            return value;
        };
        self.sends.insert(sender, Wait::Sent);
        let Some(value) = value else {
            return Some(waiting);
        };
        self.ring.push_back(waiting);
        Some(value)
    }

    fn put_back(&mut self, number: u64, value: u32) {
        match self.receivers.pop_front() {
            Some(receiver) => {
                self.recvs.insert(receiver, Wait::Got(number, value));
            }
            None => {
                self.left.insert(number, value);
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for (sender, _) in self.senders.drain(..) {
            self.sends.insert(sender, Wait::Closed);
        }
        for receiver in self.receivers.drain(..) {
            self.recvs.insert(receiver, Wait::Closed);
        }
    }
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

type Sending<'a> = Pin<Box<Send<'a, u32>>>;
type Receiving<'a> = Pin<Box<Recv<'a, u32>>>;

/// A channel beside its model.
struct Pair<'a> {
    sender: &'a Sender<u32>,
    receiver: &'a Receiver<u32>,
    model: Model,
    sends: Vec<(usize, u32, Sending<'a>)>,
    recvs: Vec<(usize, Receiving<'a>)>,
    next: u32,
}

impl Pair<'_> {
    fn step(&mut self, random: &mut Random) {
        self.next += 1;
        let (id, value) = (self.next as usize, self.next);
        match random.below(100) {
            0..20 => {
                let wanted = match self.model.send(value) {
                    None => Err(TrySendError::Closed(value)),
                    Some(true) => Ok(()),
                    Some(false) => Err(TrySendError::Full(value)),
                };
                assert_eq!(self.sender.try_send(value), wanted);
            }
            20..40 => {
                let wanted = self.model.receive().ok_or(match self.model.closed {
                    true => TryRecvError::Disconnected,
                    false => TryRecvError::Empty,
                });
                assert_eq!(self.receiver.try_recv(), wanted);
            }
            40..52 => {
                let mut send = Box::pin(self.sender.send(value));
                let wanted = match self.model.send(value) {
                    None => Poll::Ready(Err(SendError(value))),
                    Some(true) => Poll::Ready(Ok(())),
                    Some(false) => Poll::Pending,
                };
                assert_eq!(poll(&mut send), wanted);
                if wanted.is_pending() {
                    self.model.senders.push_back((id, value));
                    self.model.sends.insert(id, Wait::Waiting);
                    self.sends.push((id, value, send));
                }
            }
            52..68 => {
                let mut recv = Box::pin(self.receiver.recv());
                let wanted = match self.model.receive() {
                    None if !self.model.closed => Poll::Pending,
                    received => Poll::Ready(received),
                };
                assert_eq!(poll(&mut recv), wanted);
                if wanted.is_pending() {
                    self.model.receivers.push_back(id);
                    self.model.recvs.insert(id, Wait::Waiting);
                    self.recvs.push((id, recv));
                }
            }
            68..74 if !self.sends.is_empty() => {
                let at = random.below(self.sends.len());
                let (id, value, send) = &mut self.sends[at];
                let wanted = match self.model.sends[id] {
                    Wait::Waiting => Poll::Pending,
                    Wait::Sent => Poll::Ready(Ok(())),
                    _ => Poll::Ready(Err(SendError(*value))),
                };
                assert_eq!(poll(send), wanted);
                if wanted.is_ready() {
                    drop(self.sends.remove(at));
                }
            }
            74..80 if !self.recvs.is_empty() => {
                let at = random.below(self.recvs.len());
                let (id, recv) = &mut self.recvs[at];
                let wanted = match self.model.recvs[id] {
                    Wait::Waiting => Poll::Pending,
                    Wait::Got(_, value) => Poll::Ready(Some(value)),
                    _ => Poll::Ready(None),
                };
                assert_eq!(poll(recv), wanted);
                if wanted.is_ready() {
                    drop(self.recvs.remove(at));
                }
            }
            80..86 if !self.sends.is_empty() => {
                let (id, ..) = self.sends.remove(random.below(self.sends.len()));
                self.model.senders.retain(|(sender, _)| *sender != id);
            }
            86..99 if !self.recvs.is_empty() => {
                let (id, recv) = self.recvs.remove(random.below(self.recvs.len()));
                drop(recv);
                self.model.receivers.retain(|receiver| *receiver != id);
                if let Wait::Got(number, value) = self.model.recvs[&id] {
                    self.model.put_back(number, value);
                }
            }
            99 if random.below(10) == 0 => {
                self.receiver.close();
                self.model.close();
            }
            _ => {}
        }
        let len = self.model.ring.len() + self.model.left.len();
        assert_eq!((self.receiver.len(), self.sender.len()), (len, len));
        assert_eq!(self.sender.is_closed(), self.model.closed);
    }
}

#[test]
fn a_channel_does_what_its_model_does() {
    for_seeds(3_000, |seed| {
        let mut random = Random::new(seed);
        let capacity = random.below(4);
        let (sender, receiver) = channel(capacity);
        let mut pair = Pair {
            sender: &sender,
            receiver: &receiver,
            model: Model {
                capacity,
                ..Model::default()
            },
            sends: Vec::new(),
            recvs: Vec::new(),
            next: 0,
        };
        for _ in 0..200 {
            pair.step(&mut random);
        }
    });
}

/// Runs for a while without awaiting: long enough to be preempted.
fn spin(random: &mut Random) {
    for _ in 0..random.below(20_000) {
        std::hint::spin_loop();
    }
}

/// Sends numbers; those that it knows to be sent, and those that it does not.
async fn send_some(
    sender: Sender<(usize, usize)>,
    from: usize,
    mut random: Random,
) -> (Vec<(usize, usize)>, Vec<(usize, usize)>) {
    let (mut sent, mut given_up) = (Vec::new(), Vec::new());
    for number in 0..30 + random.below(30) {
        let value = (from, number);
        let is_sent = match random.below(6) {
            0 => sender.blocking_send(value).is_ok(),
            1 => sender.try_send(value).is_ok(),
            2 => {
                let pause = Duration::from_micros(random.below(60) as u64);
                let ended = timeout(pause, sender.send(value)).await;
                if ended.is_err() {
                    given_up.push(value);
                }
                ended.is_ok_and(|sent| sent.is_ok())
            }
            3 => {
                spin(&mut random);
                sender.send(value).await.is_ok()
            }
            _ => sender.send(value).await.is_ok(),
        };
        if is_sent {
            sent.push(value);
        }
    }
    (sent, given_up)
}

/// Receives until the channel is closed and empty, or as many as it wants.
async fn receive_some(
    receiver: Receiver<(usize, usize)>,
    most: usize,
    mut random: Random,
) -> Vec<(usize, usize)> {
    let mut got = Vec::new();
    while got.len() < most {
        let received = match random.below(6) {
            0 => receiver.blocking_recv(),
            1 => match receiver.try_recv() {
                Ok(value) => Some(value),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => continue,
            },
            2 | 3 => {
                let pause = Duration::from_micros(random.below(60) as u64);
                match timeout(pause, receiver.recv()).await {
                    Ok(received) => received,
                    Err(_) => continue,
                }
            }
            4 => {
                spin(&mut random);
                receiver.recv().await
            }
            _ => receiver.recv().await,
        };
        match received {
            Some(value) => got.push(value),
            None => break,
        }
    }
    got
}

fn in_tasks(workers: usize, seeds: u64) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(SHORT)
        .min_slice(Duration::from_micros(10))
        .enable_all()
        .build()
        .unwrap();
    for_seeds(seeds, |seed| {
        let mut random = Random::new(seed);
        let (sender, receiver) = channel(random.below(4));
        let senders: Vec<_> = (0..1 + random.below(3))
            .map(|from| {
                let random = Random::new(seed * 16 + from as u64);
                runtime.spawn(send_some(sender.clone(), from, random))
            })
            .collect();
        drop(sender);
        // All but the last may leave early; if that leaves none, the channel is closed, and the rest is not sent.
        let closes = random.below(4) == 0;
        let receivers: Vec<_> = (0..1 + random.below(3))
            .map(|index| {
                let most = match index == 0 && !closes {
                    true => usize::MAX,
                    false => random.below(60),
                };
                let random = Random::new(seed * 16 + 8 + index as u64);
                runtime.spawn(receive_some(receiver.clone(), most, random))
            })
            .collect();
        drop(receiver);
        runtime.block_on(async {
            let (mut sent, mut given_up, mut got) =
                (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for sender in senders {
                let (known, unknown) = timeout(LONG, sender).await.expect("it ends").unwrap();
                sent.extend(known);
                given_up.extend(unknown);
            }
            for receiver in receivers {
                for value in timeout(LONG, receiver).await.expect("it ends").unwrap() {
                    assert!(got.insert(value), "{value:?} came twice");
                }
            }
            assert!(closes || sent.is_subset(&got), "a value is lost");
            for value in &got {
                assert!(
                    sent.contains(value) || given_up.contains(value),
                    "{value:?} was not sent"
                );
            }
        });
    });
}

#[test]
fn tasks_of_one_worker_do_what_a_channel_may() {
    in_tasks(1, 150);
}

#[test]
fn tasks_of_two_workers_do_what_a_channel_may() {
    in_tasks(2, 150);
}
