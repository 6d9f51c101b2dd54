//! The `Spawn` trait of `futures`, on our handles: what its `ThreadPool` can do.

use futures::executor::{ThreadPool, block_on};
use futures::future::{BoxFuture, FutureExt};
use futures::task::{Spawn, SpawnExt};
use preemptive::runtime::{Builder, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(50))
        .build()
        .unwrap()
}

/// What a library does that spawns through the trait.
fn squares(
    spawner: impl Spawn + Clone + Send + Sync + 'static,
    count: u64,
) -> BoxFuture<'static, u64> {
    async move {
        let mut tasks = Vec::new();
        for number in 0..count {
            let inner = spawner.clone();
            let nested = async move {
                inner
                    .spawn_with_handle(async move { number * number })
                    .unwrap()
                    .await
            };
            tasks.push(spawner.spawn_with_handle(nested).unwrap());
        }
        futures::future::join_all(tasks).await.into_iter().sum()
    }
    .boxed()
}

/// Tells hogs to stop when it is dropped, in a test that fails as well.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_library_gets_from_a_handle_what_it_gets_from_a_thread_pool() {
    let runtime = runtime();
    let stop = Stop(Arc::default());
    for _ in 0..4 {
        let stop = stop.0.clone();
        drop(runtime.spawn(async move { while !stop.load(Ordering::Relaxed) {} }));
    }
    let ours = block_on(squares(runtime.handle().clone(), 200));
    let theirs = block_on(squares(ThreadPool::new().unwrap(), 200));
    assert_eq!(ours, theirs);
}

#[test]
fn the_ways_of_a_thread_pool_are_there() {
    let runtime = runtime();
    let (sender, receiver) = mpsc::channel();
    // The inherent `spawn`, where a thread pool has `spawn_ok`.
    let one = sender.clone();
    drop(runtime.handle().spawn(async move { one.send(1).unwrap() }));
    // As a trait object, by reference, through the runtime.
    let (two, three, four) = (sender.clone(), sender.clone(), sender);
    let object: &dyn Spawn = runtime.handle();
    object.spawn(async move { two.send(2).unwrap() }).unwrap();
    SpawnExt::spawn(&runtime.handle(), async move { three.send(3).unwrap() }).unwrap();
    SpawnExt::spawn(&runtime, async move { four.send(4).unwrap() }).unwrap();
    let mut received: Vec<_> = (0..4)
        .map(|_| receiver.recv_timeout(LONG).unwrap())
        .collect();
    received.sort_unstable();
    assert_eq!(received, [1, 2, 3, 4]);
}

#[test]
fn a_hook_for_spawns_does_not_make_them_fail() {
    let told = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let hook = told.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_task_spawn(move |_| hook.store(true, Ordering::SeqCst))
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    SpawnExt::spawn(&handle, async move { sender.send(()).unwrap() }).unwrap();
    receiver.recv_timeout(LONG).unwrap();
    assert!(told.load(Ordering::SeqCst));
    drop(runtime);
    assert!(
        SpawnExt::spawn(&handle, async {})
            .unwrap_err()
            .is_shutdown()
    );
}

#[test]
fn a_handle_that_is_dropped_cancels_its_task() {
    struct Tells(mpsc::Sender<()>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    let runtime = runtime();
    let (sender, receiver) = mpsc::channel();
    let tells = Tells(sender);
    let waits = async move {
        let _tells = tells;
        std::future::pending::<()>().await;
    };
    drop(runtime.handle().spawn_with_handle(waits).unwrap());
    receiver.recv_timeout(LONG).unwrap();
}

#[test]
fn a_runtime_that_has_ended_refuses() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    assert!(handle.status().is_ok() && runtime.status().is_ok());
    drop(runtime);
    assert!(handle.status().unwrap_err().is_shutdown());
    let dropped = Arc::new(());
    let held = dropped.clone();
    let refused = SpawnExt::spawn(&handle, async move { drop(held) });
    assert!(refused.unwrap_err().is_shutdown());
    assert_eq!(Arc::strong_count(&dropped), 1);
}
