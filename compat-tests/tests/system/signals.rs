//! `tokio::signal`, beside the signal by which tasks are preempted (SIGURG), which is another.

use crate::beside;
use crate::crowd::busy;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Barrier;

/// Sends this process a signal, as an operator does.
async fn send(name: &str) {
    let pid = std::process::id().to_string();
    let status = Command::new("kill").args(["-s", name, &pid]).status().await;
    assert!(status.unwrap().success());
}

/// Lets some tasks listen, sends the signal, waits until all have heard of it, and again.
async fn all_hear(kind: SignalKind, name: &'static str) {
    const LISTENERS: usize = 4;
    const ROUNDS: usize = 10;
    // Everybody, and who sends.
    let round = Arc::new(Barrier::new(LISTENERS + 1));
    let listeners: Vec<_> = (0..LISTENERS)
        .map(|_| {
            let round = round.clone();
            // Listens from here on.
            let mut stream = signal(kind).unwrap();
            preemptive::spawn(async move {
                for _ in 0..ROUNDS {
                    round.wait().await;
                    busy(Duration::from_micros(150));
                    stream.recv().await.unwrap();
                    round.wait().await;
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        round.wait().await;
        send(name).await;
        round.wait().await;
    }
    for listener in listeners {
        listener.await.unwrap();
    }
}

#[test]
fn signals_at_the_process_reach_every_task_that_listens() {
    beside(async {
        futures::join!(
            all_hear(SignalKind::user_defined1(), "USR1"),
            all_hear(SignalKind::hangup(), "HUP"),
        );
    });
}

#[test]
fn a_child_that_ends_is_a_signal() {
    beside(async {
        let mut children = signal(SignalKind::child()).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // Others' children end as well.
        while child.try_wait().unwrap().is_none() {
            children.recv().await.unwrap();
        }
    });
}

#[test]
fn an_interrupt_is_a_future_that_can_be_chosen() {
    beside(async {
        // Registered when it is made, by its first poll at the latest.
        let mut interrupts = signal(SignalKind::interrupt()).unwrap();
        let waits = preemptive::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            let mut ticked = 0;
            loop {
                tokio::select! {
                    interrupt = interrupts.recv() => return (ticked, interrupt),
                    _ = ticks.tick() => ticked += 1,
                }
                busy(Duration::from_micros(150));
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        send("INT").await;
        let (ticked, interrupt) = waits.await.unwrap();
        assert!(ticked > 0 && interrupt.is_some());
    });
}
