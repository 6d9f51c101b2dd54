//! Who goes first: what was just woken before what has run for long, and neither class starves.
//!
//! Time slices are 10 s here, so whatever happens sooner is not the end of a slice.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task::yield_now;
use preemptive::time::{Duration, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use support::load::{Mailbox, block_on, spin_until, wait_until};

/// Slices that do not end while a test lasts.
const ENDLESS: Duration = Duration::from_secs(10);

fn builder(workers: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).time_slice(ENDLESS);
    builder
}

fn runtime(workers: usize) -> Runtime {
    builder(workers).build().expect("a runtime")
}

/// Fills the runtime with polls that go on until `stop`; returns once all have begun.
fn fill(runtime: &Runtime, hogs: usize, stop: &Arc<AtomicBool>) {
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..hogs {
        let (begun, stop) = (begun.clone(), stop.clone());
        drop(runtime.spawn(async move {
            begun.fetch_add(1, Ordering::SeqCst);
            spin_until("the test ends", || stop.load(Ordering::SeqCst));
        }));
    }
    wait_until("every hog has begun", || {
        begun.load(Ordering::SeqCst) == hogs
    });
}

#[test]
fn a_wake_from_outside_preempts_a_long_poll() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let stop = Arc::new(AtomicBool::new(false));
        // More hogs than processors: their own spawning has preempted some already.
        fill(&runtime, workers + 2, &stop);
        let before = runtime.metrics().wakeup_preemptions();
        for round in 0..50_u64 {
            // Time for the hogs to go on: otherwise the next task finds a processor between two.
            thread::sleep(Duration::from_millis(1));
            let (ask, answer) = (Mailbox::new(), Mailbox::new());
            let task = runtime.spawn({
                let (ask, answer) = (ask.clone(), answer.clone());
                async move { answer.put(ask.take().await) }
            });
            ask.put(round);
            // Fifty slices would take 500 s.
            assert_eq!(block_on(&runtime, answer.take()), round);
            block_on(&runtime, task).unwrap();
        }
        assert!(runtime.metrics().wakeup_preemptions() > before);
        stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_due_timer_preempts_a_long_poll() {
    let runtime = runtime(1);
    let stop = Arc::new(AtomicBool::new(false));
    fill(&runtime, 3, &stop);
    block_on(&runtime, async {
        preemptive::spawn(async {
            for _ in 0..50 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    });
    stop.store(true, Ordering::SeqCst);
}

#[test]
fn an_old_poll_that_wakes_gives_way_without_a_signal() {
    let runtime = builder(1).async_preempt(false).build().unwrap();
    let (ask, answered) = (Mailbox::new(), Arc::new(AtomicU64::new(0)));
    drop(runtime.spawn({
        let (ask, answered) = (ask.clone(), answered.clone());
        async move {
            loop {
                let number: u64 = ask.take().await;
                answered.store(number, Ordering::SeqCst);
            }
        }
    }));
    let hog = runtime.spawn(async move {
        for number in 1..=100 {
            ask.put(number);
            // Each task that it spawns finds it a little older. Nothing else stops it.
            spin_until("the woken task has run", || {
                drop(preemptive::spawn(async {}));
                (0..50_000).for_each(|_| std::hint::spin_loop());
                answered.load(Ordering::SeqCst) == number
            });
        }
    });
    block_on(&runtime, hog).unwrap();
    assert!(runtime.metrics().synchronous_preemptions() > 0);
    assert_eq!(runtime.metrics().asynchronous_preemptions(), 0);
}

#[test]
fn a_task_behind_a_poll_that_goes_on_is_run_elsewhere() {
    // The last task that a poll wakes waits for that poll's end, but not for long.
    let runtime = runtime(2);
    for _ in 0..100 {
        let done = Arc::new(AtomicBool::new(false));
        let hog = runtime.spawn(async move {
            let is_done = done.clone();
            drop(preemptive::spawn(async move {
                done.store(true, Ordering::SeqCst)
            }));
            spin_until("the other task has run", || is_done.load(Ordering::SeqCst));
        });
        block_on(&runtime, hog).unwrap();
    }
}

#[test]
fn two_tasks_that_wake_each_other_starve_nobody() {
    let runtime = builder(1).async_preempt(false).build().unwrap();
    let (ping, pong) = (Mailbox::new(), Mailbox::new());
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicU64::new(0));
    let pair = [
        runtime.spawn({
            let (ping, pong, stop) = (ping.clone(), pong.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    ping.put(());
                    pong.take().await;
                }
                ping.put(());
            }
        }),
        runtime.spawn({
            let (ping, pong, stop, rounds) = (ping, pong, stop.clone(), rounds.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    ping.take().await;
                    rounds.fetch_add(1, Ordering::SeqCst);
                    pong.put(());
                }
                pong.put(());
            }
        }),
    ];
    wait_until("the pair is at it", || rounds.load(Ordering::SeqCst) > 100);
    // These are always runnable, and wait in the ring.
    let others: Vec<_> = (0..3)
        .map(|_| {
            runtime.spawn(async {
                for _ in 0..1_000 {
                    yield_now().await;
                }
            })
        })
        .collect();
    for other in others {
        block_on(&runtime, other).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for half in pair {
        block_on(&runtime, half).unwrap();
    }
}

#[test]
fn preempted_polls_go_on_while_tasks_flood_every_processor() {
    for share in [0.05, 0.5] {
        let runtime = builder(2)
            .time_slice(Duration::from_millis(1))
            .batch_share(share)
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flood: Vec<_> = (0..8)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        yield_now().await;
                    }
                })
            })
            .collect();
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    (0..20_000_000_u64).fold(0, |sum, number| sum ^ std::hint::black_box(number))
                })
            })
            .collect();
        for hog in hogs {
            block_on(&runtime, hog).unwrap();
        }
        assert!(runtime.metrics().preemptions() > 0);
        stop.store(true, Ordering::SeqCst);
        for task in flood {
            block_on(&runtime, task).unwrap();
        }
    }
}

#[test]
fn tasks_go_on_while_hogs_fill_every_processor() {
    let runtime = builder(2)
        .time_slice(Duration::from_millis(1))
        .batch_share(0.9)
        .build()
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    fill(&runtime, 16, &stop);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            runtime.spawn(async {
                for _ in 0..1_000 {
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        block_on(&runtime, task).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
}

#[test]
fn a_flood_of_wakes_is_no_flood_of_signals() {
    let runtime = runtime(2);
    let metrics = runtime.metrics();
    let stop = Arc::new(AtomicBool::new(false));
    let mailboxes: Vec<_> = (0..64).map(|_| Mailbox::<u64>::new()).collect();
    let received = Arc::new(AtomicU64::new(0));
    for mailbox in &mailboxes {
        let (mailbox, received) = (mailbox.clone(), received.clone());
        drop(runtime.spawn(async move {
            loop {
                mailbox.take().await;
                received.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let start = std::time::Instant::now();
    let flooders: Vec<_> = (0..2)
        .map(|_| {
            let (stop, mailboxes) = (stop.clone(), mailboxes.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    mailboxes.iter().for_each(|mailbox| mailbox.put(1));
                }
            })
        })
        .collect();
    wait_until("a hundred thousand wakes have arrived", || {
        received.load(Ordering::Relaxed) > 100_000
    });
    stop.store(true, Ordering::Relaxed);
    flooders
        .into_iter()
        .for_each(|flooder| flooder.join().unwrap());
    let milliseconds = start.elapsed().as_millis() as u64 + 1;
    // Per processor: a burst of 16, and one every 2 ms.
    let most = 2 * (16 + 1 + milliseconds / 2 + 1);
    let useless = metrics.useless_signals();
    assert!(useless <= most, "{useless} in {milliseconds} ms");
    // A poll that the kernel holds up looks long, and is preempted; but never sooner than after a minimum slice.
    let preemptions = metrics.asynchronous_preemptions();
    assert!(
        preemptions <= 2 * (10 * milliseconds + 1),
        "{preemptions} in {milliseconds} ms"
    );
}

#[test]
fn many_polls_of_middling_length_do_not_take_a_fiber_each() {
    // Each is longer than a minimum slice, and there are others waiting all the time.
    let runtime = builder(2)
        .time_slice(Duration::from_millis(10))
        .build()
        .unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..2_000 {
        let done = done.clone();
        drop(runtime.spawn(async move {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_micros(150) {
                std::hint::spin_loop();
            }
            done.fetch_add(1, Ordering::SeqCst);
        }));
    }
    wait_until("all are done", || done.load(Ordering::SeqCst) == 2_000);
    let fibers = runtime.metrics().fibers();
    assert!(fibers < 500, "{fibers} fibers for 2,000 short polls");
}

#[test]
fn metrics_tell_where_work_was_done() {
    let runtime = builder(2)
        .enable_metrics_poll_time_histogram()
        .build()
        .unwrap();
    let metrics = runtime.metrics();
    wait_until("both processors are idle", || {
        (0..2).all(|worker| metrics.worker_park_count(worker) > 0)
    });
    let stop = Arc::new(AtomicBool::new(false));
    fill(&runtime, 2, &stop);
    let busy = |worker| metrics.worker_total_busy_duration(worker);
    let before = [busy(0), busy(1)];
    wait_until("time passes where hogs run", || {
        (0..2).all(|worker| busy(worker) > before[worker] + Duration::from_millis(1))
    });
    assert!(metrics.wakes() > 0);
    stop.store(true, Ordering::SeqCst);
    let polls = |from: Duration| -> u64 {
        (0..metrics.poll_time_histogram_num_buckets())
            .filter(|bucket| metrics.poll_time_histogram_bucket_range(*bucket).start >= from)
            .flat_map(|bucket| (0..2).map(move |worker| (worker, bucket)))
            .map(|(worker, bucket)| metrics.poll_time_histogram_bucket_count(worker, bucket))
            .sum()
    };
    wait_until("both polls are counted as long", || {
        polls(Duration::from_micros(512)) >= 2
    });
    assert_eq!(
        polls(Duration::ZERO),
        (0..2)
            .map(|worker| metrics.worker_poll_count(worker))
            .sum::<u64>()
    );
}

/// Changes the calling thread's signal mask: by a set, or by all signals. Returns what it was.
fn mask(how: i32, set: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: the sets are initialised before they are read.
    unsafe {
        let mut old = std::mem::zeroed();
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        let new = set.unwrap_or(all);
        assert_eq!(libc::pthread_sigmask(how, &new, &mut old), 0);
        old
    }
}

fn spin(length: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_wakes_with_its_own_signal_mask_keeps_it() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(50))
        .build()
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // So that there are workers with the usual mask to go to.
    fill(&runtime, 3, &stop);
    let others_ran = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let others_ran = others_ran.clone();
            runtime.spawn(async move {
                let mut kept = true;
                for _ in 0..300 {
                    // Long enough to be preempted, then long enough to be old.
                    spin(Duration::from_micros(300));
                    let before = mask(libc::SIG_BLOCK, None);
                    spin(Duration::from_micros(100));
                    let others_ran = others_ran.clone();
                    // A wake like this one is where an old poll gives way; this one must not.
                    drop(preemptive::spawn(async move {
                        others_ran.fetch_add(1, Ordering::Relaxed);
                    }));
                    let inside = mask(libc::SIG_SETMASK, Some(before));
                    // SAFETY: the set was initialised.
                    kept &= unsafe { libc::sigismember(&inside, libc::SIGUSR1) } == 1;
                }
                kept
            })
        })
        .collect();
    let kept: Vec<_> = (tasks.into_iter())
        .map(|task| block_on(&runtime, task).unwrap())
        .collect();
    if kept != [true, true] {
        stop.store(true, Ordering::SeqCst);
        panic!("one has run under another's signal mask");
    }
    wait_until("the tasks that it spawned have run", || {
        others_ran.load(Ordering::Relaxed) == 600
    });
    stop.store(true, Ordering::SeqCst);
}
