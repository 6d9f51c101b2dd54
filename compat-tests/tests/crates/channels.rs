//! async-channel and flume.

use crate::crowd::{Crowd, LONG, busy};
use crate::together::together;
use futures::StreamExt;
use std::time::Duration;

const SENDERS: usize = 4;
const RECEIVERS: usize = 3;
const EACH: usize = 300;

/// Each receiver has what one sender sent in the order in which that was sent.
fn assert_in_order(received: &[Vec<(usize, usize)>]) {
    for list in received {
        for sender in 0..SENDERS {
            let mine = list.iter().filter(|value| value.0 == sender);
            assert!(mine.is_sorted_by(|one, next| one.1 < next.1));
        }
    }
}

/// All of it, whoever has received it.
fn assert_complete(received: &[Vec<(usize, usize)>]) {
    assert_eq!(received.len(), RECEIVERS);
    let mut all = received.concat();
    all.sort_unstable();
    let sent: Vec<_> = (0..SENDERS)
        .flat_map(|sender| (0..EACH).map(move |number| (sender, number)))
        .collect();
    assert!(all == sent);
}

#[test]
fn async_channel_has_many_senders_and_receivers() {
    Crowd::new().run(async {
        let (sender, receiver) = async_channel::bounded(3);
        let receives = preemptive::spawn(together(RECEIVERS, move |number| {
            let receiver = receiver.clone();
            async move {
                let mut got = Vec::new();
                if number == 0 {
                    // As a stream.
                    receiver.collect().await
                } else {
                    while let Ok(value) = receiver.recv().await {
                        got.push(value);
                        busy(Duration::from_micros(20));
                    }
                    got
                }
            }
        }));
        together(SENDERS, |number| {
            let sender = sender.clone();
            async move {
                for value in 0..EACH {
                    if number == 0 {
                        // The thread waits.
                        sender.send_blocking((number, value)).unwrap();
                    } else {
                        sender.send((number, value)).await.unwrap();
                    }
                }
            }
        })
        .await;
        assert!(sender.close());
        let received = receives.await.unwrap();
        assert_in_order(&received);
        assert_complete(&received);
        assert!(sender.send((0, 0)).await.is_err());
    });
}

/// How a receiver waits. All of one channel in the same way: with one that blocks and one that awaits on the same channel,
/// flume 0.11 loses a value or a wake-up now and then, on plain threads as well.
#[derive(Clone, Copy)]
enum Waits {
    Blocking,
    Awaiting,
    AsStream,
}

async fn receive_all(
    receiver: flume::Receiver<(usize, usize)>,
    waits: Waits,
) -> Vec<(usize, usize)> {
    match waits {
        Waits::Blocking => receiver.iter().collect(),
        Waits::AsStream => receiver.into_stream().collect().await,
        Waits::Awaiting => {
            let mut got = Vec::new();
            while let Ok(value) = receiver.recv_async().await {
                got.push(value);
            }
            got
        }
    }
}

#[test]
fn flume_has_senders_that_await_and_senders_that_block() {
    Crowd::new().run(async {
        for waits in [Waits::Blocking, Waits::Awaiting, Waits::AsStream] {
            for capacity in [0, 2] {
                let (sender, receiver) = flume::bounded(capacity);
                let receives = preemptive::spawn(together(RECEIVERS, move |_| {
                    receive_all(receiver.clone(), waits)
                }));
                together(SENDERS, |number| {
                    let sender = sender.clone();
                    async move {
                        for value in 0..EACH {
                            if value % 50 == 0 {
                                busy(Duration::from_micros(150));
                            }
                            if number % 2 == 0 {
                                sender.send_async((number, value)).await.unwrap();
                            } else {
                                sender.send_timeout((number, value), LONG).unwrap();
                            }
                        }
                    }
                })
                .await;
                drop(sender);
                let received = receives.await.unwrap();
                assert_in_order(&received);
                assert_complete(&received);
            }
        }
    });
}

#[test]
fn flumes_selector_waits_in_the_middle_of_a_poll() {
    Crowd::new().run(async {
        together(3, |_| async {
            let (one, from_one) = flume::bounded(1);
            let (other, from_other) = flume::unbounded();
            for sender in [one, other] {
                drop(preemptive::spawn(async move {
                    for number in 0..100_usize {
                        sender.send_async(number).await.unwrap();
                        busy(Duration::from_micros(20));
                    }
                }));
            }
            let mut next = [0, 0];
            let mut done = [false, false];
            while done != [true, true] {
                // Blocks this thread; the senders are tasks that go on meanwhile. A channel without senders is ready for
                // ever, and the first that is ready is chosen, so it is left out.
                let mut select = flume::Selector::new();
                if !done[0] {
                    select = select.recv(&from_one, |number| (0, number));
                }
                if !done[1] {
                    select = select.recv(&from_other, |number| (1, number));
                }
                match select.wait() {
                    (sender, Ok(number)) => {
                        assert_eq!(number, next[sender]);
                        next[sender] += 1;
                    }
                    (sender, Err(flume::RecvError::Disconnected)) => done[sender] = true,
                }
            }
            assert_eq!(next, [100, 100]);
        })
        .await;
    });
}
