//! What else there is in tokio-util: tokens, trackers, queues of delays, blocking readers.

use super::crowd::busy;
use super::{Net, is_ours, noise};
use futures::{SinkExt, StreamExt};
use preemptive::task::{JoinSet, spawn_blocking};
use std::future::{pending, poll_fn};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::{CancellationToken, PollSemaphore, PollSender, ReusableBoxFuture};
use tokio_util::task::TaskTracker;
use tokio_util::time::{DelayQueue, FutureExt};

#[test]
fn a_token_cancels_a_tree_of_tasks_and_a_tracker_sees_the_end() {
    const TASKS: usize = 100;
    Net::new().run(async {
        let (root, tracker) = (CancellationToken::new(), TaskTracker::new());
        let ended = Arc::new(AtomicUsize::new(0));
        for number in 0..TASKS {
            let (child, ended) = (root.child_token(), ended.clone());
            let task = tracker.track_future(async move {
                if number % 2 == 0 {
                    assert!(child.run_until_cancelled(pending::<()>()).await.is_none());
                } else {
                    child.cancelled().await;
                }
                busy(Duration::from_micros(200));
                ended.fetch_add(1, Ordering::SeqCst);
            });
            drop(preemptive::spawn(task));
        }
        // The first is cancelled alone: others do not notice.
        let alone = root.child_token();
        alone.cancel();
        assert!(alone.is_cancelled() && !root.is_cancelled());
        tracker.close();
        assert_eq!(tracker.len(), TASKS);
        drop(root.drop_guard());
        tracker.wait().await;
        assert_eq!(ended.load(Ordering::SeqCst), TASKS);

        // Its own `spawn` is Tokio's.
        let tracker = TaskTracker::new();
        let task = tracker.spawn(async { is_ours() });
        tracker.close();
        tracker.wait().await;
        assert!(!task.await.unwrap());
    });
}

#[test]
fn delays_expire_in_order_and_not_early() {
    Net::new().run(async {
        let mut queue = DelayQueue::new();
        let start = Instant::now();
        let keys: Vec<_> = (0..40_u64)
            .rev()
            .map(|number| queue.insert_at(number, start + Duration::from_millis(number * 2)))
            .collect();
        // The last one first, and another one not at all.
        queue.reset(&keys[0], Duration::ZERO);
        assert_eq!(queue.remove(&keys[1]).into_inner(), 38);
        let mut expired = Vec::new();
        while let Some(entry) = queue.next().await {
            let number = entry.into_inner();
            if number != 39 {
                assert!(start.elapsed() >= Duration::from_millis(number * 2));
            }
            busy(Duration::from_micros(300));
            expired.push(number);
        }
        assert_eq!(expired.len(), 39);
        assert!(expired.contains(&39));
        expired.retain(|number| *number != 39);
        assert!(expired.is_sorted(), "{expired:?}");
        let limited = pending::<()>().timeout(Duration::from_millis(2));
        assert!(limited.await.is_err());
    });
}

/// Reads and writes with `std::io`, as a compressor would.
fn reverse(mut reader: impl Read, mut writer: impl Write) {
    let mut piece = [0; 512];
    loop {
        let count = reader.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        busy(Duration::from_micros(50));
        piece[..count].iter_mut().for_each(|byte| *byte = !*byte);
        writer.write_all(&piece[..count]).unwrap();
    }
    writer.flush().unwrap();
}

/// On a thread for what blocks, and in a task: that blocks as well, and others go on.
#[test]
fn blocking_readers_wait_for_pipes() {
    Net::new().run(async {
        for in_task in [false, true] {
            let said = noise(5, 40_000);
            let (mut near, far) = duplex(1_000);
            let (reader, writer) = tokio::io::split(far);
            let (reader, writer) = (SyncIoBridge::new(reader), SyncIoBridge::new(writer));
            let task = if in_task {
                preemptive::spawn(async { reverse(reader, writer) })
            } else {
                spawn_blocking(|| reverse(reader, writer))
            };
            for piece in said.chunks(2_000) {
                let mut heard = vec![0; piece.len()];
                let (mut reads, mut writes) = tokio::io::split(&mut near);
                let (read, written) =
                    tokio::join!(reads.read_exact(&mut heard), writes.write_all(piece));
                read.unwrap();
                written.unwrap();
                assert!(
                    heard
                        .iter()
                        .zip(piece)
                        .all(|(heard, said)| *heard == !*said)
                );
            }
            near.shutdown().await.unwrap();
            task.await.unwrap();
        }
    });
}

#[test]
fn polled_senders_and_semaphores_wait_for_room() {
    const SENDERS: u32 = 8;
    const EACH: u32 = 100;
    Net::new().run(async {
        let (sender, mut receiver) = mpsc::channel(2);
        let semaphore = Arc::new(Semaphore::new(2));
        let mut senders = JoinSet::new();
        for number in 0..SENDERS {
            let mut sink = PollSender::new(sender.clone());
            let mut permits = PollSemaphore::new(semaphore.clone());
            senders.spawn(async move {
                for turn in 0..EACH {
                    let permit = poll_fn(|context| permits.poll_acquire(context)).await;
                    busy(Duration::from_micros(20));
                    sink.send((number, turn)).await.unwrap();
                    drop(permit.unwrap());
                }
                sink.close();
            });
        }
        drop(sender);
        let mut next = [0; SENDERS as usize];
        // One box, again and again.
        let mut turn = ReusableBoxFuture::new(async { 0 });
        while let Some((sender, number)) = receiver.recv().await {
            turn.set(async move {
                preemptive::task::yield_now().await;
                number
            });
            assert_eq!(turn.get_pin().await, next[sender as usize]);
            next[sender as usize] += 1;
        }
        assert_eq!(next, [EACH; SENDERS as usize]);
        assert_eq!(senders.join_all().await.len(), SENDERS as usize);
        assert_eq!(semaphore.available_permits(), 2);
    });
}
