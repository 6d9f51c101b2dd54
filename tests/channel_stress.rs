//! Channels under load: short slices, hogs, cancelled receives, closes in between. No value is lost or comes twice, and
//! each sender's come in order.
//!
//! `PREEMPTIVE_TEST_MESSAGES` in the environment says how many messages the first test sends: by hand, ten million.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::sync::channel::{Receiver, Sender, TryRecvError, channel};
use preemptive::task::JoinHandle;
use preemptive::time::{Duration, timeout};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use support::load::{DropGuard, Drops, Hogs, SHORT, wait_for_idle_threads};

const SENDERS: usize = 4;
const RECEIVERS: usize = 4;

/// Longer than any part of this takes with hogs beside it.
const VERY_LONG: Duration = Duration::from_secs(500);

fn messages() -> usize {
    let wanted = std::env::var("PREEMPTIVE_TEST_MESSAGES").ok();
    wanted.map_or(40_000, |count| count.parse().expect("a number"))
}

fn short_slices(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(SHORT)
        .min_slice(Duration::from_micros(10))
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Waits for tasks, and passes their panics on.
fn join<T>(runtime: &Runtime, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    runtime.block_on(async {
        let mut values = Vec::new();
        for task in tasks {
            let value = timeout(VERY_LONG, task).await.expect("it ends");
            values.push(value.expect("it does not panic"));
        }
        values
    })
}

/// How a task waits.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Await,
    Block,
    /// Gives up and begins again.
    Cancel,
}

const WAYS: [Way; 3] = [Way::Await, Way::Block, Way::Cancel];

/// False: given up. Whether a receiver has taken the value before that, nobody knows.
async fn send(sender: &Sender<(usize, usize)>, value: (usize, usize), way: Way) -> bool {
    match way {
        Way::Await => sender.send(value).await.unwrap(),
        Way::Block => sender.blocking_send(value).unwrap(),
        Way::Cancel => {
            let sent = timeout(Duration::from_micros(20), sender.send(value)).await;
            return sent.is_ok_and(|sent| sent.is_ok());
        }
    }
    true
}

async fn receive<T>(receiver: &Receiver<T>, way: Way) -> Option<T> {
    match way {
        Way::Await => receiver.recv().await,
        Way::Block => receiver.blocking_recv(),
        Way::Cancel => loop {
            if let Ok(value) = timeout(Duration::from_micros(20), receiver.recv()).await {
                return value;
            }
        },
    }
}

/// Tasks of all kinds exchange numbers. Receivers of the first two kinds only get each sender's values in order: what one
/// of the third kind puts back, another can get after later values.
fn exchange(runtime: &Runtime, capacity: usize, messages: usize, kinds: usize) {
    let (sender, receiver) = channel(capacity);
    let each = messages / SENDERS;
    let senders = (0..SENDERS)
        .map(|from| {
            let sender = sender.clone();
            runtime.spawn(async move {
                let mut sent = Vec::new();
                for number in 0..each {
                    if send(&sender, (from, number), WAYS[from % 3]).await {
                        sent.push(number);
                    }
                }
                sent
            })
        })
        .collect();
    drop(sender);
    let receivers = (0..RECEIVERS)
        .map(|index| {
            let receiver = receiver.clone();
            runtime.spawn(async move {
                let mut got: Vec<Vec<usize>> = vec![Vec::new(); SENDERS];
                while let Some((from, number)) = receive(&receiver, WAYS[index % kinds]).await {
                    got[from].push(number);
                }
                got
            })
        })
        .collect();
    drop(receiver);
    let sent = join(runtime, senders);
    let got = join(runtime, receivers);
    for from in 0..SENDERS {
        for received in &got {
            let is_ordered = received[from].is_sorted_by(|a, b| a < b);
            assert!(
                is_ordered || kinds == 3,
                "values of sender {from} came out of order"
            );
        }
        let mut all: Vec<usize> = got.iter().flat_map(|got| got[from].clone()).collect();
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b), "a value came twice");
        let lost = sent[from]
            .iter()
            .find(|number| all.binary_search(number).is_err());
        assert_eq!(lost, None, "sender {from} has lost a value");
        assert!(WAYS[from % 3] == Way::Cancel || all.len() == each);
    }
}

#[test]
fn nothing_is_lost_or_doubled_or_overtaken_beside_hogs() {
    for workers in [1, 2] {
        let runtime = short_slices(workers);
        let hogs = Hogs::crowd(&runtime, 3);
        for capacity in [0, 1, 64] {
            exchange(&runtime, capacity, messages() / 12, 2);
            exchange(&runtime, capacity, messages() / 12, 3);
        }
        hogs.stop(&runtime);
    }
}

/// One receiver, whose receives are mostly given up with the value there already: what it gets is in order.
#[test]
fn values_handed_to_who_gives_up_come_in_order() {
    let runtime = short_slices(2);
    let hogs = Hogs::crowd(&runtime, 3);
    for capacity in [0, 1, 3] {
        let (sender, receiver) = channel(capacity);
        let sends = runtime.spawn(async move {
            for number in 0..3_000 {
                sender.send(number).await.unwrap();
            }
        });
        let receives = runtime.spawn(async move {
            let mut wanted = 0;
            loop {
                let mut recvs = [(); 3].map(|()| Some(Box::pin(receiver.recv())));
                for index in 0..3 {
                    let Some(last) = poll_once(&mut recvs[index]).await else {
                        continue;
                    };
                    // That there was something for this one means that those before have got theirs.
                    for before in recvs.iter_mut().take(index) {
                        let number = match poll_once(before).await {
                            Some(Some(number)) => number,
                            // It was closed while both waited.
                            Some(None) if last.is_none() => continue,
                            _ => panic!("a value has overtaken a waiting receiver"),
                        };
                        assert_eq!(number, wanted);
                        wanted += 1;
                        *before = Some(Box::pin(receiver.recv()));
                    }
                    let Some(number) = last else {
                        return wanted;
                    };
                    assert_eq!(number, wanted);
                    wanted += 1;
                    break;
                }
                preemptive::task::yield_now().await;
                // In an order of no meaning.
                for index in [1, 2, 0] {
                    recvs[index] = None;
                }
            }
        });
        let got = join(&runtime, vec![receives]);
        join(&runtime, vec![sends]);
        assert_eq!(got, [3_000]);
    }
    hogs.stop(&runtime);
}

/// Polls what is there once: `None` if it waits.
async fn poll_once<F: Future + Unpin>(future: &mut Option<F>) -> Option<F::Output> {
    poll_fn(|context| {
        let polled = future
            .as_mut()
            .map(|future| std::pin::Pin::new(future).poll(context));
        Poll::Ready(match polled {
            Some(Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

/// Both sides close in the middle of it: what was sent was received, or is dropped; what was not comes back.
#[test]
fn closes_race_with_everything() {
    for round in 0..60 {
        let runtime = short_slices(2);
        let drops = Drops::default();
        let (sender, receiver) = channel::<DropGuard>([0, 1, 4][round % 3]);
        let count = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for index in 0..4 {
            let (sender, drops, count) = (sender.clone(), drops.clone(), count.clone());
            tasks.push(runtime.spawn(async move {
                loop {
                    count.fetch_add(1, Ordering::SeqCst);
                    let sent = match index % 2 {
                        0 => sender.send(drops.guard()).await,
                        _ => sender.blocking_send(drops.guard()),
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            }));
        }
        for (index, way) in WAYS.into_iter().enumerate() {
            let receiver = receiver.clone();
            tasks.push(runtime.spawn(async move {
                for _ in 0..50 * (index + 1) {
                    if receive(&receiver, way).await.is_none() {
                        return;
                    }
                }
                if round % 2 == 0 {
                    receiver.close();
                }
            }));
        }
        drop((sender, receiver));
        join(&runtime, tasks);
        assert_eq!(drops.count(), count.load(Ordering::SeqCst), "round {round}");
    }
}

/// Runtimes end while polls park and are woken. Now and then their end has a deadline: then what is left goes on at the
/// lowest priority.
#[test]
fn runtimes_end_in_the_middle_of_it() {
    let ended = Drops::default();
    let mut begun = 0;
    for round in 0..100_u64 {
        let runtime = short_slices(2);
        let (sender, receiver) = channel([0, 1][round as usize % 2]);
        for index in 0..6 {
            begun += 1;
            let (sender, receiver, guard) = (sender.clone(), receiver.clone(), ended.guard());
            drop(runtime.spawn(async move {
                let _guard = guard;
                match index % 2 {
                    0 => while sender.blocking_send(index).is_ok() {},
                    _ => while receiver.blocking_recv().is_some() {},
                }
            }));
        }
        std::thread::sleep(Duration::from_micros(100 * (round % 7)));
        if round % 16 == 5 {
            runtime.shutdown_timeout(Duration::from_millis(round % 4));
            receiver.close();
            continue;
        }
        let dropper = std::thread::spawn(move || drop(runtime));
        std::thread::sleep(Duration::from_micros(200 * (round % 5)));
        // Those that had begun go on exchanging values until then, on workers or as ordinary threads.
        receiver.close();
        while receiver.try_recv() != Err(TryRecvError::Disconnected) {}
        dropper.join().unwrap();
    }
    wait_for_idle_threads("all have ended", || ended.count() == begun);
}

/// Plain threads and tasks, blocking on each other.
#[test]
fn threads_and_tasks_block_on_each_other() {
    let runtime = short_slices(2);
    let hogs = Hogs::crowd(&runtime, 3);
    let (there, here) = (channel(0), channel(1));
    let task = runtime.spawn(async move {
        while let Some(value) = there.1.blocking_recv() {
            here.0.blocking_send(value).unwrap();
        }
    });
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (there, here) = (there.0.clone(), here.1.clone());
            std::thread::spawn(move || {
                for value in 0..300_usize {
                    there.blocking_send(value).unwrap();
                    here.blocking_recv().unwrap();
                }
            })
        })
        .collect();
    drop(there.0);
    for thread in threads {
        thread.join().unwrap();
    }
    join(&runtime, vec![task]);
    hogs.stop(&runtime);
}
