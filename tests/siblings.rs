//! A task that blocks its thread waiting for a task that it has just spawned does not hang, whatever it waits with.

mod support;

use preemptive::runtime::Handle;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use support::load::{SHORT, plain_block_on, runtime};
use support::pressure::Watchdog;

/// One worker; a task blocks its thread until the sibling that it has just spawned has run.
fn assert_sibling_runs(what: &str, task: impl Fn() -> usize + Send + Sync + Clone + 'static) {
    for workers in [1, 2] {
        for slice in [SHORT, Duration::from_millis(10)] {
            let _watchdog = Watchdog::new(format!("{what}, {workers} workers, {slice:?}"));
            let runtime = runtime(workers, slice);
            for _ in 0..5 {
                let task = task.clone();
                let outcome = runtime.block_on(runtime.spawn(async move { task() }));
                assert_eq!(outcome.expect("no panic"), 7, "{what}");
            }
        }
    }
}

#[test]
fn a_task_may_wait_for_its_sibling_in_a_channel() {
    assert_sibling_runs("mpsc", || {
        let (sender, receiver) = mpsc::channel();
        drop(preemptive::spawn(async move {
            sender.send(7).expect("the receiver waits")
        }));
        receiver.recv().expect("the sibling sends")
    });
}

#[test]
fn a_task_may_spin_until_its_sibling_has_run() {
    assert_sibling_runs("atomic", || {
        let done = Arc::new(AtomicUsize::new(0));
        let sibling = done.clone();
        drop(preemptive::spawn(async move {
            sibling.store(7, Ordering::SeqCst)
        }));
        while done.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        done.load(Ordering::SeqCst)
    });
}

#[test]
fn a_task_may_block_on_its_sibling() {
    assert_sibling_runs("block_on", || {
        let sibling = preemptive::spawn(async { 7 });
        Handle::current().block_on(sibling).expect("no panic")
    });
}

#[test]
fn a_task_may_block_on_its_sibling_with_another_executor() {
    assert_sibling_runs("a stranger's block_on", || {
        let sibling = preemptive::spawn(async { 7 });
        plain_block_on(sibling).expect("no panic")
    });
}

#[test]
fn a_chain_of_tasks_may_wait_for_each_other() {
    fn link(depth: usize) -> usize {
        if depth == 0 {
            return 7;
        }
        let (sender, receiver) = mpsc::channel();
        drop(preemptive::spawn(async move {
            sender.send(link(depth - 1)).expect("the receiver waits")
        }));
        receiver.recv().expect("the sibling sends")
    }
    assert_sibling_runs("a chain", || link(6));
}
