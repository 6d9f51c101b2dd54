//! The `blocking_` forms, which Tokio's own tasks may not use, and ours may: a thread that is blocked loses its processor
//! to another. Inside `Handle::block_on` of a Tokio runtime they panic, on any thread, ours included.

use crate::crowd::{Crowd, busy};
use crate::quiet::quiet;
use crate::together::together;
use preemptive::runtime::Builder;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, RwLock, Semaphore, broadcast, mpsc, oneshot};

/// More tasks than workers, so that nobody would be left to wake the blocked ones if they kept their processors.
const TASKS: usize = 6;

/// Blocks in every way there is, and returns how much was received.
fn block_in_all_ways(shared: &Shared, number: usize) -> usize {
    for _ in 0..5 {
        let mut sum = shared.mutex.blocking_lock();
        *sum += 1;
        busy(Duration::from_micros(120));
        drop(sum);
        *shared.mutex.clone().blocking_lock_owned() += 1;
        *shared.lock.blocking_write() += 1;
        assert!(*shared.lock.blocking_read() > 0);
        let permits = shared.semaphore.blocking_acquire_many(2).unwrap();
        busy(Duration::from_micros(120));
        drop(permits);
        let permit = shared.semaphore.clone().blocking_acquire_owned();
        drop(permit.unwrap());
    }
    let (question, answer) = oneshot::channel();
    shared.questions.blocking_send((number, question)).unwrap();
    let mut answers = answer.blocking_recv().unwrap();
    let mut got = 0;
    while let Some(value) = answers.blocking_recv() {
        assert_eq!(value, got);
        got += 1;
    }
    got
}

type Question = (usize, oneshot::Sender<mpsc::Receiver<usize>>);

/// What all of them wait for.
#[derive(Clone)]
struct Shared {
    mutex: Arc<Mutex<u64>>,
    lock: Arc<RwLock<u64>>,
    semaphore: Arc<Semaphore>,
    questions: mpsc::Sender<Question>,
}

/// Lets tasks block, beside one that answers asynchronously.
async fn all_are_served(through_pool: bool) {
    let (questions, mut asked) = mpsc::channel::<Question>(1);
    let shared = Shared {
        mutex: Arc::default(),
        lock: Arc::default(),
        semaphore: Arc::new(Semaphore::new(3)),
        questions,
    };
    let answers = preemptive::spawn(async move {
        let mut all = Vec::new();
        while let Some((number, question)) = asked.recv().await {
            let (sender, receiver) = mpsc::channel(1);
            question.send(receiver).unwrap();
            all.push(preemptive::spawn(async move {
                for value in 0..20 + number {
                    sender.send(value).await.unwrap();
                }
            }));
        }
        for one in all {
            one.await.unwrap();
        }
    });
    let got = together(TASKS, |number| {
        let shared = shared.clone();
        async move {
            if through_pool {
                let blocks = move || block_in_all_ways(&shared, number);
                preemptive::task::spawn_blocking(blocks).await.unwrap()
            } else {
                block_in_all_ways(&shared, number)
            }
        }
    })
    .await;
    assert_eq!(got, (20..20 + TASKS).collect::<Vec<_>>());
    assert_eq!(*shared.mutex.lock().await, TASKS as u64 * 10);
    assert_eq!(*shared.lock.read().await, TASKS as u64 * 5);
    drop(shared);
    answers.await.unwrap();
}

#[test]
fn tasks_may_block_on_what_other_tasks_do() {
    Crowd::new().run(all_are_served(false));
}

#[test]
fn so_may_closures_of_spawn_blocking() {
    Crowd::new().run(all_are_served(true));
}

#[test]
fn an_entered_handle_of_tokio_changes_nothing() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let handle: &'static Handle = Box::leak(Box::new(tokio.handle().clone()));
    let enter = move || std::mem::forget(handle.enter());
    Crowd::with(Builder::new_multi_thread().on_thread_start(enter)).run(async {
        all_are_served(false).await;
        all_are_served(true).await;
    });
}

#[test]
fn inside_tokios_block_on_they_panic_and_only_there() {
    quiet();
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let handle = tokio.handle().clone();
    Crowd::new().run(async move {
        let outcomes = together(TASKS, |number| {
            let handle = handle.clone();
            async move {
                let (sender, receiver) = oneshot::channel();
                sender.send(number).unwrap();
                if number % 2 == 0 {
                    busy(Duration::from_micros(300));
                    return receiver.blocking_recv() == Ok(number);
                }
                let blocks = || {
                    handle.block_on(async {
                        // Preempted here, so that other tasks look at their own threads meanwhile.
                        busy(Duration::from_micros(300));
                        receiver.blocking_recv()
                    })
                };
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(blocks));
                let message = caught.unwrap_err();
                let message = compat_tests::message(&*message).unwrap_or_default();
                assert!(
                    message.contains("Cannot block the current thread"),
                    "{message}"
                );
                // The thread is as it was.
                let (sender, receiver) = oneshot::channel();
                sender.send(number).unwrap();
                receiver.blocking_recv() == Ok(number)
            }
        })
        .await;
        assert_eq!(outcomes, [true; TASKS]);
    });
}

#[test]
fn streams_without_bounds_and_broadcasts_block_as_well() {
    Crowd::new().run(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (cast, _) = broadcast::channel(1_000);
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        // Before anything is sent.
        let subscribed: Vec<_> = (0..3).map(|_| Some(cast.subscribe())).collect();
        let subscribed = Arc::new(std::sync::Mutex::new(subscribed));
        let casts = preemptive::spawn(async move {
            for value in 0..1_000_u64 {
                sender.send(value).unwrap();
                cast.send(value).unwrap();
                if value % 100 == 0 {
                    preemptive::task::yield_now().await;
                }
            }
        });
        let sums = together(4, |number| {
            let (receiver, subscribed) = (receiver.clone(), subscribed.clone());
            async move {
                let mut sum = 0;
                if number == 3 {
                    let mut receiver = receiver.lock().unwrap();
                    let mut many = Vec::new();
                    while receiver.blocking_recv_many(&mut many, 64) > 0 {
                        sum += many.drain(..).sum::<u64>();
                    }
                } else {
                    let mut receiver = subscribed.lock().unwrap()[number].take().unwrap();
                    while let Ok(value) = receiver.blocking_recv() {
                        sum += value;
                    }
                }
                sum
            }
        })
        .await;
        assert_eq!(sums, [499_500; 4]);
        casts.await.unwrap();
    });
}
