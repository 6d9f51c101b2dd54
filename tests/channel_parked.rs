//! Blocking sends and receives: inside tasks the poll is parked, elsewhere the thread waits.

mod support;

use preemptive::runtime::Builder;
use preemptive::sync::channel::{SendError, channel};
use preemptive::task::JoinHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::load::{
    Drops, Hogs, LONG, SHORT, block_on, runtime, wait_for_idle_threads, wait_until,
};

const SLICE: Duration = Duration::from_millis(10);

#[test]
fn two_blocking_tasks_share_one_worker() {
    for capacity in [0, 1, 7] {
        let runtime = runtime(1, SLICE);
        let metrics = runtime.metrics();
        let before = metrics.hand_overs();
        let (sender, receiver) = channel(capacity);
        let sends = runtime.spawn(async move {
            for value in 0..10_000 {
                sender.blocking_send(value).unwrap();
            }
        });
        let receives = runtime.spawn(async move {
            for wanted in 0..10_000 {
                assert_eq!(receiver.blocking_recv(), Some(wanted));
            }
            assert_eq!(receiver.blocking_recv(), None);
        });
        block_on(&runtime, sends).unwrap();
        block_on(&runtime, receives).unwrap();
        // Ten thousand waits, and the kernel had the worker in none of them.
        assert!(metrics.hand_overs() - before < 100);
    }
}

#[test]
fn parked_polls_hold_up_no_thread() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_threads(3)
        .build()
        .unwrap();
    let (sender, receiver) = channel(0);
    let parked = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (receiver, parked) = (receiver.clone(), parked.clone());
            runtime.spawn(async move {
                parked.fetch_add(1, Ordering::SeqCst);
                receiver.blocking_recv().unwrap()
            })
        })
        .collect();
    wait_until("all have begun", || parked.load(Ordering::SeqCst) == 50);
    let threads = runtime.metrics().worker_threads();
    assert!(threads <= 4, "{threads} workers");
    let mut got = Vec::new();
    block_on(&runtime, async {
        for value in 0..50 {
            sender.send(value).await.unwrap();
        }
        for task in tasks {
            got.push(task.await.unwrap());
        }
    });
    got.sort_unstable();
    assert_eq!(got, (0..50).collect::<Vec<_>>());
}

#[test]
fn plain_threads_block_and_wake_parked_polls() {
    let runtime = runtime(2, SLICE);
    let (there, here) = (channel(0), channel(3));
    let echo = runtime.spawn(async move {
        while let Some(value) = there.1.blocking_recv() {
            here.0.blocking_send(value).unwrap();
        }
    });
    let thread = std::thread::spawn(move || {
        for value in 0..2_000 {
            there.0.blocking_send(value).unwrap();
            assert_eq!(here.1.blocking_recv(), Some(value));
        }
    });
    thread.join().unwrap();
    block_on(&runtime, echo).unwrap();
}

#[test]
fn a_poll_that_was_parked_keeps_its_thread_locals_and_its_id() {
    thread_local!(static MARK: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    let runtime = runtime(2, SHORT);
    let hogs = Hogs::crowd(&runtime, 2);
    let (sender, receiver) = channel(0);
    let tasks: Vec<JoinHandle<()>> = (1..9)
        .map(|mark| {
            let receiver = receiver.clone();
            runtime.spawn(async move {
                MARK.set(mark);
                let id = preemptive::task::id();
                for _ in 0..50 {
                    receiver.blocking_recv().unwrap();
                    assert_eq!(MARK.get(), mark);
                    assert_eq!(preemptive::task::id(), id);
                }
                MARK.set(0);
            })
        })
        .collect();
    block_on(&runtime, async {
        for _ in 0..8 * 50 {
            sender.send(()).await.unwrap();
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    hogs.stop(&runtime);
}

#[test]
fn the_mask_that_a_task_has_set_stays_its_own() {
    let runtime = runtime(1, SLICE);
    let (sender, receiver) = channel(0);
    let task = runtime.spawn(async move {
        // SAFETY: the sets are initialised before they are used.
        let is_blocked = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR2);
            let mut old = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut old);
            let value: Option<u32> = receiver.blocking_recv();
            assert_eq!(value, Some(3));
            let mut now = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, &old, &mut now);
            libc::sigismember(&now, libc::SIGUSR2) == 1
        };
        assert!(is_blocked);
    });
    block_on(&runtime, async {
        sender.send(3).await.unwrap();
        task.await.unwrap();
    });
}

#[test]
fn current_thread_runtimes_and_the_blocking_pool_wait_in_the_kernel() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, receiver) = channel(0);
    let pool = runtime.spawn_blocking(move || {
        for value in 0..100 {
            sender.blocking_send(value).unwrap();
        }
    });
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.clone();
            runtime.spawn(async move { std::iter::from_fn(|| receiver.blocking_recv()).count() })
        })
        .collect();
    drop(receiver);
    block_on(&runtime, async {
        pool.await.unwrap();
        let mut count = 0;
        for task in tasks {
            count += task.await.unwrap();
        }
        assert_eq!(count, 100);
    });
}

#[test]
fn two_tasks_of_a_current_thread_runtime_block_on_each_other() {
    let runtime = support::current_thread::runtime();
    let (sender, receiver) = channel(0);
    let sends = runtime.spawn(async move {
        for value in 0..100 {
            sender.blocking_send(value).unwrap();
        }
    });
    let receives = runtime.spawn(async move {
        for wanted in 0..100 {
            assert_eq!(receiver.blocking_recv(), Some(wanted));
        }
    });
    block_on(&runtime, async {
        sends.await.unwrap();
        receives.await.unwrap();
    });
}

#[test]
fn the_drop_of_a_runtime_waits_for_parked_polls() {
    let drops = Drops::default();
    let runtime = runtime(2, SLICE);
    let (sender, receiver) = channel(0);
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..5 {
        let (receiver, begun, guard) = (receiver.clone(), begun.clone(), drops.guard());
        drop(runtime.spawn(async move {
            begun.fetch_add(1, Ordering::SeqCst);
            let _guard = guard;
            assert_eq!(receiver.blocking_recv(), Some(1));
        }));
    }
    wait_until("all have begun", || begun.load(Ordering::SeqCst) == 5);
    let dropper = std::thread::spawn(move || drop(runtime));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!dropper.is_finished());
    assert_eq!(drops.count(), 0);
    (0..5).for_each(|_| sender.blocking_send(1).unwrap());
    dropper.join().unwrap();
    assert_eq!(drops.count(), 5);
}

#[test]
fn a_shutdown_with_a_deadline_leaves_parked_polls_to_their_lenders() {
    for time in [0, 20] {
        let drops = Drops::default();
        let runtime = runtime(2, SLICE);
        let (sender, receiver) = channel(0);
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (receiver, begun, guard) = (receiver.clone(), begun.clone(), drops.guard());
            drop(runtime.spawn(async move {
                let _guard = guard;
                begun.fetch_add(1, Ordering::SeqCst);
                // After the runtime has gone, it waits as an ordinary thread, more than once.
                assert_eq!(receiver.blocking_recv(), Some(1));
                while receiver.blocking_recv().is_some() {}
            }));
        }
        wait_until("all have begun", || begun.load(Ordering::SeqCst) == 3);
        runtime.shutdown_timeout(Duration::from_millis(time));
        assert_eq!(drops.count(), 0);
        (0..6).for_each(|_| sender.blocking_send(1).unwrap());
        drop(sender);
        wait_for_idle_threads("they have ended", || drops.count() == 3);
    }
}

#[test]
fn a_sender_that_goes_with_the_runtime_ends_the_wait() {
    let runtime = runtime(2, SLICE);
    let (sender, receiver) = channel::<u32>(0);
    let (begun, has_begun) = channel(0);
    drop(runtime.spawn(async move {
        let _sender = sender;
        std::future::pending::<()>().await;
    }));
    let parked = runtime.spawn(async move {
        begun.blocking_send(()).unwrap();
        receiver.blocking_recv()
    });
    assert_eq!(has_begun.blocking_recv(), Some(()));
    // Its tasks are dropped, the sender among them.
    drop(runtime);
    let runtime = self::runtime(1, SLICE);
    assert_eq!(block_on(&runtime, parked).unwrap(), None);
}

#[test]
fn an_abort_takes_effect_after_the_wait() {
    let runtime = runtime(1, SLICE);
    let drops = Drops::default();
    let (sender, receiver) = channel(0);
    let (begun, has_begun) = channel(0);
    let guard = drops.guard();
    let task = runtime.spawn(async move {
        let _guard = guard;
        begun.blocking_send(()).unwrap();
        assert_eq!(receiver.blocking_recv(), Some(4));
        preemptive::task::yield_now().await;
        unreachable!("it was aborted");
    });
    assert_eq!(has_begun.blocking_recv(), Some(()));
    task.abort();
    assert_eq!(drops.count(), 0);
    block_on(&runtime, async {
        sender.send(4).await.unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    assert_eq!(drops.count(), 1);
}

#[test]
fn closing_gives_values_back_to_parked_senders() {
    let runtime = runtime(1, SLICE);
    let (sender, receiver) = channel(0);
    let begun = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|value| {
            let (sender, begun) = (sender.clone(), begun.clone());
            runtime.spawn(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                sender.blocking_send(value)
            })
        })
        .collect();
    wait_until("all have begun", || begun.load(Ordering::SeqCst) == 20);
    receiver.close();
    block_on(&runtime, async {
        for (value, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Err(SendError(value)));
        }
    });
}

/// Bytes of the calling thread's stack, from `low` to `high`, that are in memory.
fn resident(low: usize, high: usize) -> usize {
    let pages = (high - low) / 4096;
    let mut states = vec![0_u8; pages];
    // SAFETY: the vector has room for a byte per page.
    let answer = unsafe { libc::mincore(low as *mut _, pages * 4096, states.as_mut_ptr()) };
    assert_eq!(answer, 0);
    states.iter().filter(|state| **state & 1 == 1).count() * 4096
}

#[test]
fn the_stack_of_a_poll_that_stays_parked_is_trimmed() {
    const DEEP: usize = 512 * 1024;
    #[inline(never)]
    fn touch() -> usize {
        let deep = [1_u8; DEEP];
        std::hint::black_box(&deep).as_ptr() as usize
    }
    let runtime = runtime(1, SLICE);
    let (sender, receiver) = channel(0);
    let (stack, of) = channel(1);
    let task = runtime.spawn(async move {
        let kept = [7_u8; 4096];
        let kept = std::hint::black_box(&kept);
        stack.try_send(touch() & !4095).unwrap();
        assert_eq!(receiver.blocking_recv(), Some(9));
        assert_eq!(kept, &[7; 4096]);
        touch();
    });
    let low = of.blocking_recv().unwrap();
    assert!(resident(low, low + DEEP / 2) > 0);
    wait_until("the stack is trimmed", || {
        resident(low, low + DEEP / 2) == 0
    });
    block_on(&runtime, async {
        sender.send(9).await.unwrap();
        task.await.unwrap();
    });
}

#[test]
fn polls_without_a_task_around_them_may_wait_as_well() {
    // The future of `block_on` belongs to no task; on a plain thread it waits there.
    let runtime = runtime(1, SLICE);
    let (sender, receiver) = channel(0);
    let task = runtime.spawn(async move { sender.blocking_send(5).unwrap() });
    let got = runtime.block_on(async {
        preemptive::time::timeout(LONG, async { receiver.blocking_recv() }).await
    });
    assert_eq!(got.unwrap(), Some(5));
    block_on(&runtime, task).unwrap();
}
