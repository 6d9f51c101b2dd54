//! What the tests with hostile tasks share.

use super::load::{self, spin_until};
use preemptive::runtime::{Handle, Runtime, RuntimeMetrics};
use preemptive::task::JoinHandle;
use std::mem::zeroed;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A runtime with `workers` processors and slices of 50 µs.
pub(crate) fn runtime(workers: usize) -> Runtime {
    load::runtime(workers, load::SHORT)
}

/// The metrics of the runtime that the calling task runs on.
pub(crate) fn metrics() -> RuntimeMetrics {
    Handle::current().metrics()
}

/// Spins until the runtime has made `preemptions` and `migrations` more than when this was called.
///
/// Every turn calls `check`.
#[track_caller]
pub(crate) fn churn(preemptions: u64, migrations: u64, mut check: impl FnMut()) {
    let metrics = metrics();
    let wanted = (
        metrics.asynchronous_preemptions() + preemptions,
        metrics.migrations() + migrations,
    );
    spin_until("preemptions and migrations", || {
        check();
        metrics.asynchronous_preemptions() >= wanted.0 && metrics.migrations() >= wanted.1
    });
}

/// Repeats `step` until the runtime has preempted as often again.
pub(crate) fn under_preemption(preemptions: u64, step: impl FnMut()) {
    churn(preemptions, 0, step);
}

/// Joins tasks and passes their panics on.
pub(crate) fn join_all<T>(
    runtime: &Runtime,
    tasks: impl IntoIterator<Item = JoinHandle<T>>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    runtime.block_on(async {
        let mut values = Vec::new();
        for task in tasks {
            match task.await {
                Ok(value) => values.push(value),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => panic!("{error}"),
            }
        }
        values
    })
}

/// Every kernel thread of this process.
pub(crate) fn kernel_threads() -> Vec<libc::pid_t> {
    let entries = std::fs::read_dir("/proc/self/task").expect("procfs is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Sends a bare signal to one thread of this process.
pub(crate) fn tgkill(thread: libc::pid_t, signal: i32) {
    // SAFETY: the signals that tests send have handlers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

/// Installs a handler for `signal`.
pub(crate) fn install(signal: i32, handler: usize, flags: i32) {
    // SAFETY: all-zero is a valid action: default handler, empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is valid, and the tests' handlers are async-signal-safe.
    let answer = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Where the handler [`note_stack`] last ran.
pub(crate) static HANDLER_STACK: AtomicUsize = AtomicUsize::new(0);

pub(crate) extern "C" fn note_stack(_: i32) {
    let here = 0_u8;
    HANDLER_STACK.store(std::ptr::from_ref(&here) as usize, Ordering::SeqCst);
}
