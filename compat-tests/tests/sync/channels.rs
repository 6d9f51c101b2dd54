//! `mpsc` and `oneshot`.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{Notify, mpsc, oneshot};

#[test]
fn channels_carry_everything_in_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 500;
    Crowd::new().run(async {
        let (sender, mut receiver) = mpsc::channel(4);
        for sender_number in 0..SENDERS {
            let sender = sender.clone();
            drop(preemptive::spawn(async move {
                for number in 0..EACH {
                    sender.send((sender_number, number)).await.unwrap();
                }
            }));
        }
        drop(sender);
        let mut next = [0; SENDERS];
        while let Some((sender, number)) = receiver.recv().await {
            assert_eq!(next[sender], number);
            next[sender] += 1;
        }
        assert_eq!(next, [EACH; SENDERS]);
    });
}

#[test]
fn reserved_places_are_kept() {
    Crowd::new().run(async {
        let (sender, mut receiver) = mpsc::channel(6);
        let receives = preemptive::spawn(async move {
            let mut got = Vec::new();
            let mut many = Vec::new();
            while receiver.recv_many(&mut many, 4).await > 0 {
                assert!(many.len() <= 4);
                got.append(&mut many);
                busy(Duration::from_micros(120));
            }
            got
        });
        together(4, |number| {
            let sender = sender.clone();
            async move {
                for turn in 0..60 {
                    let value = number * 1000 + turn * 3;
                    match turn % 3 {
                        0 => {
                            let permits = sender.reserve_many(3).await.unwrap();
                            busy(Duration::from_micros(120));
                            for (offset, permit) in permits.enumerate() {
                                permit.send(value + offset);
                            }
                        }
                        1 => {
                            let permit = sender.reserve().await.unwrap();
                            busy(Duration::from_micros(120));
                            permit.send(value);
                            // One that is not used is given back.
                            drop(sender.reserve().await.unwrap());
                        }
                        _ => {
                            let permit = sender.clone().reserve_owned().await.unwrap();
                            let again = permit.send(value);
                            assert!(again.same_channel(&sender));
                        }
                    }
                }
            }
        })
        .await;
        drop(sender);
        let mut got = receives.await.unwrap();
        for number in 0..4 {
            let mine: Vec<_> = got
                .extract_if(.., |value| *value / 1000 == number)
                .map(|value| value % 1000)
                .collect();
            let sent: Vec<_> = (0..60)
                .flat_map(|turn| (turn * 3)..=(turn * 3 + if turn % 3 == 0 { 2 } else { 0 }))
                .collect();
            assert_eq!(mine, sent);
        }
    });
}

#[test]
fn a_full_channel_holds_senders_up_until_there_is_room_or_no_receiver() {
    Crowd::new().run(async {
        let (sender, mut receiver) = mpsc::channel(2);
        sender.try_send(0).unwrap();
        sender.try_send(1).unwrap();
        assert!(matches!(sender.try_send(2), Err(TrySendError::Full(2))));
        let waiting: Vec<_> = (10..18)
            .map(|value| {
                let sender = sender.clone();
                preemptive::spawn(async move { sender.send(value).await.map_err(|error| error.0) })
            })
            .collect();
        assert_eq!(
            (receiver.recv().await, receiver.recv().await),
            (Some(0), Some(1))
        );
        let mut got = vec![receiver.recv().await.unwrap()];
        receiver.close();
        // What has a place is still delivered, what waits for one comes back.
        while let Some(value) = receiver.recv().await {
            got.push(value);
        }
        let mut returned = Vec::new();
        for (value, task) in (10..18).zip(waiting) {
            match task.await.unwrap() {
                Ok(()) => assert!(got.contains(&value)),
                Err(back) => returned.push(back),
            }
        }
        assert_eq!(got.len() + returned.len(), 8);
        got.extend(returned);
        got.sort_unstable();
        assert_eq!(got, (10..18).collect::<Vec<_>>());
        assert!(sender.is_closed());
        sender.closed().await;
    });
}

#[test]
fn weak_senders_keep_no_channel_open() {
    Crowd::new().run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let (unbounded, mut from_unbounded) = mpsc::unbounded_channel();
        let (weak, weak_unbounded) = (sender.downgrade(), unbounded.downgrade());
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (weak, weak_unbounded) = (weak.clone(), weak_unbounded.clone());
                preemptive::spawn(async move {
                    let mut sent = (0, 0);
                    while let (Some(sender), Some(unbounded)) =
                        (weak.upgrade(), weak_unbounded.upgrade())
                    {
                        sent.0 += usize::from(sender.send(number).await.is_ok());
                        sent.1 += usize::from(unbounded.send(number).is_ok());
                        drop((sender, unbounded));
                        preemptive::task::yield_now().await;
                    }
                    sent
                })
            })
            .collect();
        let mut got = (0, 0);
        while got.0 < 200 {
            got.0 += usize::from(receiver.recv().await.is_some());
        }
        drop((sender, unbounded));
        while receiver.recv().await.is_some() {
            got.0 += 1;
        }
        while from_unbounded.recv().await.is_some() {
            got.1 += 1;
        }
        let mut sent = (0, 0);
        for task in tasks {
            let (bounded, unbounded) = task.await.unwrap();
            sent = (sent.0 + bounded, sent.1 + unbounded);
        }
        assert_eq!(sent, got);
        assert_eq!((weak.strong_count(), weak_unbounded.strong_count()), (0, 0));
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn unbounded_channels_take_from_many_without_waiting() {
    Crowd::new().run(async {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let sends = together(6, |number| {
            let sender = sender.clone();
            async move {
                for value in 0..2_000_u32 {
                    sender.send((number, value)).unwrap();
                }
            }
        });
        let receives = async {
            let mut next = [0; 6];
            let mut many = Vec::new();
            while next != [2_000; 6] {
                receiver.recv_many(&mut many, 100).await;
                for (number, value) in many.drain(..) {
                    assert_eq!(next[number], value);
                    next[number] += 1;
                }
            }
        };
        // Both in one task: neither blocks the other for ever.
        futures::join!(sends, receives);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn notifications_and_answers_arrive() {
    Crowd::new().run(async {
        let (questions, mut asked) = mpsc::unbounded_channel::<(u32, oneshot::Sender<u32>)>();
        let done = Arc::new(Notify::new());
        let all_done = done.clone();
        drop(preemptive::spawn(async move {
            while let Some((number, answer)) = asked.recv().await {
                answer.send(number * 2).unwrap();
            }
            all_done.notify_one();
        }));
        for number in 0..500 {
            let (answer, answered) = oneshot::channel();
            questions.send((number, answer)).unwrap();
            assert_eq!(answered.await.unwrap(), number * 2);
        }
        drop(questions);
        done.notified().await;
    });
}

#[test]
fn an_answer_arrives_or_both_sides_know_that_it_does_not() {
    Crowd::new().run(async {
        let lost = Arc::new(AtomicUsize::new(0));
        let arrived = together(12, |number| {
            let lost = lost.clone();
            async move {
                let mut arrived = 0;
                for turn in 0..30_usize {
                    let (mut sender, mut receiver) = oneshot::channel();
                    let lost = lost.clone();
                    let answers = preemptive::spawn(async move {
                        if turn % 3 == 0 {
                            // Hears of the end.
                            sender.closed().await;
                            assert!(sender.is_closed());
                        }
                        busy(Duration::from_micros(60));
                        if sender.send(turn).is_err() {
                            lost.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                    if (turn + number) % 2 == 0 && turn % 3 != 0 {
                        assert_eq!(receiver.await, Ok(turn));
                        arrived += 1;
                    } else {
                        busy(Duration::from_micros(60));
                        receiver.close();
                        // What was sent before is still there.
                        arrived += usize::from(receiver.try_recv().is_ok());
                    }
                    answers.await.unwrap();
                }
                arrived
            }
        })
        .await;
        let arrived: usize = arrived.into_iter().sum();
        assert_eq!(arrived + lost.load(Ordering::SeqCst), 12 * 30);
        // Ten of thirty answers wait until nobody wants them.
        assert!(lost.load(Ordering::SeqCst) >= 12 * 10);
    });
}
