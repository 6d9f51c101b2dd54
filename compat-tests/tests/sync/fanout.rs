//! `watch` and `broadcast`: one value for many.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

#[test]
fn watchers_see_values_in_order_and_the_last_one_in_any_case() {
    const LAST: u64 = 2_000;
    Crowd::new().run(async {
        let (sender, receiver) = watch::channel((0_u64, 0_u64));
        let watchers: Vec<_> = (0..6)
            .map(|number| {
                let mut receiver = receiver.clone();
                preemptive::spawn(async move {
                    let mut seen = 0;
                    while receiver.changed().await.is_ok() {
                        let value = *receiver.borrow_and_update();
                        // Whole values only, however often who writes them is preempted.
                        assert_eq!(value.0, value.1);
                        assert!(value.0 > seen);
                        seen = value.0;
                        busy(Duration::from_micros(30 * number));
                    }
                    seen
                })
            })
            .collect();
        drop(receiver);
        for value in 1..=LAST {
            sender.send_modify(|both| {
                both.0 = value;
                if value % 50 == 0 {
                    busy(Duration::from_micros(150));
                }
                both.1 = value;
            });
            if value % 20 == 0 {
                preemptive::task::yield_now().await;
            }
        }
        drop(sender);
        for watcher in watchers {
            assert_eq!(watcher.await.unwrap(), LAST);
        }
    });
}

#[test]
fn who_waits_for_a_value_gets_it_and_is_not_told_of_others() {
    Crowd::new().run(async {
        let (sender, receiver) = watch::channel(0_usize);
        let sender = Arc::new(sender);
        let waiters: Vec<_> = (1..=8)
            .map(|number| {
                let mut receiver = receiver.clone();
                preemptive::spawn(async move {
                    let found = receiver.wait_for(|value| *value >= number * 10).await;
                    *found.unwrap()
                })
            })
            .collect();
        drop(receiver);
        together(4, |_| {
            let sender = sender.clone();
            async move {
                for _ in 0..20 {
                    // Not a change, so nobody is told; but it is the lock that all of them use.
                    assert!(!sender.send_if_modified(|_| {
                        busy(Duration::from_micros(20));
                        false
                    }));
                    assert!(sender.send_if_modified(|value| {
                        *value += 1;
                        true
                    }));
                }
            }
        })
        .await;
        for (number, waiter) in (1..=8).zip(waiters) {
            let found = waiter.await.unwrap();
            assert!((number * 10..=80).contains(&found));
        }
        assert_eq!(sender.send_replace(0), 80);
        // Nobody listens any more.
        sender.closed().await;
        assert!(sender.send(1).is_err());
    });
}

#[test]
fn every_receiver_of_a_broadcast_gets_everything() {
    const EACH: usize = 200;
    Crowd::new().run(async {
        let (sender, _) = broadcast::channel(4 * EACH);
        let receivers: Vec<_> = (0..5)
            .map(|_| {
                let mut receiver = sender.subscribe();
                preemptive::spawn(async move {
                    let mut next = [0; 4];
                    while let Ok((number, value)) = receiver.recv().await {
                        assert_eq!(next[number], value);
                        next[number] += 1;
                    }
                    next
                })
            })
            .collect();
        together(4, |number| {
            let sender = sender.clone();
            async move {
                for value in 0..EACH {
                    sender.send((number, value)).unwrap();
                    if value % 40 == 0 {
                        busy(Duration::from_micros(150));
                    }
                }
            }
        })
        .await;
        drop(sender);
        for receiver in receivers {
            assert_eq!(receiver.await.unwrap(), [EACH; 4]);
        }
    });
}

#[test]
fn a_receiver_that_is_too_slow_is_told_how_much_it_has_missed() {
    const SENT: u64 = 3_000;
    Crowd::new().run(async {
        let (sender, receiver) = broadcast::channel(8);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let mut receiver = receiver.resubscribe();
                preemptive::spawn(async move {
                    let (mut got, mut missed, mut next) = (0, 0, 0);
                    loop {
                        match receiver.recv().await {
                            Ok(value) => {
                                assert_eq!(value, next, "what was missed is counted exactly");
                                next += 1;
                                got += 1;
                                if got % 16 == 0 {
                                    busy(Duration::from_micros(100));
                                }
                            }
                            Err(RecvError::Lagged(count)) => {
                                next += count;
                                missed += count;
                            }
                            Err(RecvError::Closed) => return (got, missed),
                        }
                    }
                })
            })
            .collect();
        let mut never = receiver;
        for value in 0..SENT {
            sender.send(value).unwrap();
            if value % 8 == 0 {
                preemptive::task::yield_now().await;
            }
        }
        assert_eq!(never.try_recv(), Err(TryRecvError::Lagged(SENT - 8)));
        drop(sender);
        for receiver in receivers {
            let (got, missed) = receiver.await.unwrap();
            assert_eq!(got + missed, SENT);
            assert!(got >= 8, "the last ones are there in any case");
        }
        let mut rest = Vec::new();
        while let Ok(value) = never.recv().await {
            rest.push(value);
        }
        assert_eq!(rest, (SENT - 8..SENT).collect::<Vec<_>>());
    });
}
