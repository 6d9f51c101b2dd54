//! Several runtimes in one process: beside each other, and one after the other.

mod support;

use preemptive::runtime::{Builder, Handle, Runtime};
use preemptive::task;
use preemptive::time::sleep;
use std::time::Duration;
use support::isolated;
use support::load::{Hogs, Mailbox, SHORT, block_on, runtime, spin_until, wait_until};

/// A line's number in `/proc/self/status`.
fn status(line: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = text.lines().find_map(|text| text.strip_prefix(line));
    let digits = value.unwrap().trim_start_matches(':').trim();
    digits.split(' ').next().unwrap().parse().unwrap()
}

/// Threads, descriptors, mappings and resident KiB of this process.
fn footprint() -> [usize; 4] {
    [
        status("Threads"),
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count(),
        status("VmRSS"),
    ]
}

#[test]
fn runtimes_made_one_after_the_other_leave_nothing_behind() {
    let name = "runtimes_made_one_after_the_other_leave_nothing_behind";
    isolated::run(name, || {
        let once = |number: usize| {
            let runtime = runtime(1 + number % 3, SHORT);
            let hogs = Hogs::start(&runtime, number % 4);
            let task = runtime.spawn(async {
                sleep(Duration::from_micros(100)).await;
                task::spawn_blocking(|| 3).await.unwrap()
            });
            assert_eq!(block_on(&runtime, task).unwrap(), 3);
            drop(hogs);
            drop(runtime);
        };
        // A thread that was joined may still be listed for a moment.
        let settled = || {
            wait_until("the threads have gone", || status("Threads") <= 2);
            footprint()
        };
        (0..100).for_each(once);
        let before = settled();
        (0..400).for_each(once);
        let after = settled();
        println!("threads, descriptors, mappings, KiB: {before:?}, then {after:?}");
        assert_eq!(before[..2], after[..2]);
        assert!(
            after[2] <= before[2] + 20,
            "mappings: {before:?}, then {after:?}"
        );
        assert!(
            after[3] <= before[3] + 4096,
            "resident: {before:?}, then {after:?}"
        );
    });
}

#[test]
fn two_runtimes_in_one_process_wake_each_others_tasks() {
    const ROUNDS: u32 = 500;
    let (one, two) = (runtime(1, SHORT), runtime(2, SHORT));
    let hogs = [Hogs::start(&one, 2), Hogs::start(&two, 2)];
    let (there, back) = (Mailbox::new(), Mailbox::new());
    let (from_one, to_one) = (there.clone(), back.clone());
    let echo = two.spawn(async move {
        for _ in 0..ROUNDS {
            to_one.put(from_one.take().await + 1);
        }
    });
    let asks = one.spawn(async move {
        for number in 0..ROUNDS {
            there.put(number);
            assert_eq!(back.take().await, number + 1);
        }
    });
    block_on(&two, asks).unwrap();
    block_on(&one, echo).unwrap();
    for runtime in [&one, &two] {
        wait_until("both preempt", || runtime.metrics().preemptions() > 0);
    }
    let [hogs_of_one, hogs_of_two] = hogs;
    hogs_of_one.stop(&one);
    drop(one);
    // The end of the one leaves the other as it was.
    let before = two.metrics().preemptions();
    let more_hogs = Hogs::start(&two, 2);
    let task = two.spawn(async { sleep(Duration::from_millis(1)).await });
    block_on(&two, task).unwrap();
    wait_until("the other preempts", || {
        two.metrics().preemptions() > before
    });
    more_hogs.stop(&two);
    hogs_of_two.stop(&two);
}

#[test]
fn runtimes_with_different_signals_live_beside_each_other() {
    let one = runtime(1, SHORT);
    let two = Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(SHORT)
        .preempt_signal(libc::SIGRTMIN() + 3)
        .build()
        .unwrap();
    for runtime in [&one, &two] {
        let hogs = Hogs::start(runtime, 3);
        wait_until("it preempts", || {
            runtime.metrics().asynchronous_preemptions() > 10
        });
        hogs.stop(runtime);
    }
}

#[test]
fn a_task_of_one_runtime_can_spawn_on_and_wait_for_another() {
    let (one, two) = (runtime(1, SHORT), Runtime::new().unwrap());
    let handle = two.handle().clone();
    let task = one.spawn(async move {
        let mut sum = 0;
        for number in 0..200 {
            sum += handle.spawn(async move { number }).await.unwrap();
        }
        sum
    });
    assert_eq!(block_on(&one, task).unwrap(), 199 * 100);
}

#[test]
fn the_current_runtime_is_the_tasks_own() {
    // A task that enters another runtime and is preempted there takes nobody with it.
    let (one, two) = (runtime(1, SHORT), runtime(1, SHORT));
    let hogs = Hogs::start(&one, 2);
    let (of_one, of_two) = (one.metrics(), two.handle().clone());
    let task = one.spawn(async move {
        let workers_before = Handle::current().metrics().preemptions();
        let _guard = of_two.enter();
        spin_until("it is preempted", || {
            of_one.preemptions() > workers_before + 20
        });
        let release = Mailbox::new();
        let until = release.clone();
        let here = preemptive::spawn(async move { until.take().await });
        assert_eq!(of_two.metrics().num_alive_tasks(), 1);
        release.put(());
        (here,)
    });
    let (inner,) = block_on(&one, task).unwrap();
    block_on(&one, inner).unwrap();
    let back = one.spawn(async { Handle::current().metrics().num_alive_tasks() });
    assert!(block_on(&one, back).unwrap() >= 3);
    hogs.stop(&one);
}
