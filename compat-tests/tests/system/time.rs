//! `tokio::time`, beside our own.

use crate::beside;
use crate::crowd::{LONG, busy};
use crate::together::together;
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn nobody_wakes_too_early_and_everybody_wakes() {
    beside(async {
        let slept = together(16, |number| async move {
            let mut turns = 0;
            for turn in 0..10 {
                let wanted = Duration::from_micros(300 * number as u64 + 100 * turn);
                let start = Instant::now();
                if turn % 2 == 0 {
                    sleep(wanted).await;
                } else {
                    sleep_until(start + wanted).await;
                }
                assert!(start.elapsed() >= wanted);
                busy(Duration::from_micros(120));
                turns += 1;
            }
            turns
        });
        let slept = slept.await;
        assert_eq!(slept, [10; 16]);
    });
}

#[test]
fn limits_end_what_waits_and_nothing_else() {
    beside(async {
        together(8, |number| async move {
            for _ in 0..5 {
                assert!(timeout(SHORT, pending::<()>()).await.is_err());
                // Limits of one runtime, what is limited of the other.
                let ours = preemptive::time::sleep(LONG);
                assert!(timeout(SHORT, ours).await.is_err());
                assert!(preemptive::time::timeout(SHORT, sleep(LONG)).await.is_err());
                let quick = timeout(LONG, async {
                    preemptive::time::sleep(Duration::from_micros(200)).await;
                    number
                });
                assert_eq!(quick.await, Ok(number));
                // A limit is looked at between polls: a poll that is ready beats it, however long it took.
                let busy_one = timeout(Duration::from_micros(1), async {
                    busy(Duration::from_millis(3));
                    number
                });
                assert_eq!(busy_one.await, Ok(number));
            }
        })
        .await;
    });
}

#[test]
fn intervals_tick_as_often_as_they_should() {
    beside(async {
        together(4, |number| async move {
            let start = Instant::now();
            let mut ticks = interval(SHORT);
            if number % 2 == 0 {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
            for tick in 0..20_u32 {
                let due = ticks.tick().await;
                assert!(start.elapsed() >= SHORT * tick);
                assert!(due <= Instant::now());
                busy(Duration::from_micros(120));
            }
        })
        .await;
    });
}

#[test]
fn timers_are_put_off_and_given_up() {
    beside(async {
        let mut alarm = Box::pin(sleep(LONG * 10));
        assert!(timeout(SHORT, &mut alarm).await.is_err());
        alarm.as_mut().reset(Instant::now() + SHORT);
        alarm.await;
        // In a task that is aborted while it waits.
        let waits: Vec<_> = (0..50)
            .map(|_| preemptive::spawn(sleep(LONG * 10)))
            .collect();
        sleep(SHORT).await;
        for task in &waits {
            task.abort();
        }
        for task in waits {
            assert!(task.await.unwrap_err().is_cancelled());
        }
    });
}
