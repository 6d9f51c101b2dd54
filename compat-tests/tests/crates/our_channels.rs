//! Receives as branches of `futures::select!`: those that are not chosen lose nothing.

use futures::{FutureExt, select};
use preemptive::runtime::Builder;
use preemptive::sync::channel::channel;
use std::pin::pin;
use std::time::Duration;

#[test]
fn receives_that_are_not_chosen_lose_nothing() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(50))
        .build()
        .unwrap();
    let (first, from_first) = channel(0);
    let (second, from_second) = channel(3);
    for sender in [first, second] {
        drop(runtime.spawn(async move {
            for number in 0..2_000_u32 {
                sender.send(number).await.unwrap();
            }
        }));
    }
    let receives = runtime.spawn(async move {
        let mut got = [0, 0];
        while got != [2_000; 2] {
            let (mut one, mut other) = (
                pin!(from_first.recv().fuse()),
                pin!(from_second.recv().fuse()),
            );
            let (index, received) = select! {
                received = one => (0, received),
                received = other => (1, received),
            };
            if let Some(number) = received {
                assert_eq!(number, got[index]);
                got[index] += 1;
            }
        }
    });
    runtime
        .block_on(async { preemptive::time::timeout(Duration::from_secs(60), receives).await })
        .expect("it ends")
        .unwrap();
}
