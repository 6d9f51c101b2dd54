//! `Notify` and `Barrier`.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use futures::poll;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Barrier, Notify};

/// A channel as one writes it by hand: a queue under an ordinary lock, and a bell.
#[derive(Default)]
struct Queue {
    items: Mutex<VecDeque<usize>>,
    bell: Notify,
}

impl Queue {
    fn push(&self, item: usize) {
        self.items.lock().unwrap().push_back(item);
        self.bell.notify_one();
    }

    async fn pop(&self) -> usize {
        loop {
            let mut notified = pin!(self.bell.notified());
            // In line before the look, so that nothing is missed between the look and the wait.
            notified.as_mut().enable();
            if let Some(item) = self.items.lock().unwrap().pop_front() {
                return item;
            }
            notified.await;
        }
    }
}

#[test]
fn a_queue_by_hand_loses_nothing() {
    const ITEMS: usize = 4 * 300;
    Crowd::new().run(async {
        let queue = Arc::new(Queue::default());
        let got = Arc::new(Mutex::new(Vec::new()));
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let (queue, got) = (queue.clone(), got.clone());
                preemptive::spawn(async move {
                    loop {
                        match queue.pop().await {
                            usize::MAX => return,
                            item => got.lock().unwrap().push(item),
                        }
                    }
                })
            })
            .collect();
        together(4, |number| {
            let queue = queue.clone();
            async move {
                for item in 0..300 {
                    queue.push(number * 300 + item);
                    if item % 50 == 0 {
                        busy(Duration::from_micros(150));
                    }
                }
            }
        })
        .await;
        for _ in &takers {
            queue.push(usize::MAX);
        }
        for taker in takers {
            taker.await.unwrap();
        }
        let mut got = got.lock().unwrap().clone();
        got.sort_unstable();
        assert_eq!(got, (0..ITEMS).collect::<Vec<_>>());
    });
}

#[test]
fn waiters_are_notified_in_order_from_the_back_or_all_at_once() {
    Crowd::new().run(async {
        let notify = Arc::new(Notify::new());
        // A notification nobody waits for is kept; one only.
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        let mut waiting: Vec<_> = (0..6).map(|_| Box::pin(notify.notified())).collect();
        for notified in &mut waiting {
            assert!(poll!(notified).is_pending());
        }
        let tells = notify.clone();
        preemptive::spawn(async move {
            tells.notify_one();
            tells.notify_last();
        })
        .await
        .unwrap();
        let mut told = Vec::new();
        for (number, notified) in waiting.iter_mut().enumerate() {
            if poll!(notified).is_ready() {
                told.push(number);
            }
        }
        assert_eq!(told, [0, 5]);
        // Nobody polls this one: it counts from where it was made.
        let unpolled = notify.notified();
        let tells = notify.clone();
        preemptive::spawn(async move { tells.notify_waiters() })
            .await
            .unwrap();
        unpolled.await;
        for notified in &mut waiting[1..5] {
            assert!(poll!(notified).is_ready());
        }
        assert!(poll!(pin!(notify.notified())).is_pending());
    });
}

#[test]
fn a_notification_that_is_given_up_is_passed_on() {
    Crowd::new().run(async {
        let notify = Arc::new(Notify::new());
        let mut given_up = Box::pin(notify.clone().notified_owned());
        assert!(poll!(&mut given_up).is_pending());
        let next = notify.clone();
        let mut next = Box::pin(next.notified_owned());
        assert!(poll!(&mut next).is_pending());
        let waits = preemptive::spawn(next);
        notify.notify_one();
        drop(given_up);
        waits.await.unwrap();
    });
}

#[test]
fn a_barrier_opens_when_all_are_there_and_one_of_them_leads() {
    const ROUNDS: usize = 30;
    Crowd::new().run(async {
        let barrier = Arc::new(Barrier::new(6));
        let arrived = Arc::new(AtomicUsize::new(0));
        let led = together(6, |number| {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            async move {
                let mut led = 0;
                for round in 1..=ROUNDS {
                    busy(Duration::from_micros(40 * number as u64));
                    arrived.fetch_add(1, Ordering::SeqCst);
                    led += usize::from(barrier.wait().await.is_leader());
                    let now = arrived.load(Ordering::SeqCst);
                    // All of this round; of the next, the others at most.
                    assert!((6 * round..6 * (round + 1)).contains(&now), "{now}");
                }
                led
            }
        })
        .await;
        assert_eq!(led.iter().sum::<usize>(), ROUNDS);
    });
}
