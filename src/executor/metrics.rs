//! What a runtime counts.

use super::shared::Shared;
use crate::preempt::{REFUSALS, Refusal, signal};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;

/// Counters that are not a processor's or a worker's own. All of them count rare events.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) asynchronous: AtomicU64,
    pub(crate) synchronous: AtomicU64,
    pub(crate) hand_overs: AtomicU64,
    pub(crate) taken: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) signals: AtomicU64,
    pub(crate) migrations: AtomicU64,
    pub(crate) wakeups: AtomicU64,
}

impl Counters {
    /// Counts one.
    pub(crate) fn add(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a runtime has counted so far, and what it consists of right now.
///
/// Obtained from [`Handle::metrics`](crate::runtime::Handle::metrics). Every method reads the current value;
/// two of them called one after the other are not a consistent picture.
///
/// ```
/// use preemptive::runtime::Builder;
///
/// let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
/// assert_eq!(runtime.metrics().num_workers(), 2);
/// ```
#[derive(Clone)]
pub struct RuntimeMetrics {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for RuntimeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeMetrics")
            .field("alive_tasks", &self.num_alive_tasks())
            .field("polls", &self.polls())
            .field("asynchronous", &self.asynchronous_preemptions())
            .field("synchronous", &self.synchronous_preemptions())
            .field("migrations", &self.migrations())
            .field("refused_in_scheduler", &self.refused_in_scheduler())
            .field(
                "refused_in_critical_section",
                &self.refused_in_critical_section(),
            )
            .field("refused_in_handler", &self.refused_in_handler())
            .field("refused_in_system_call", &self.refused_in_system_call())
            .field("hand_overs", &self.hand_overs())
            .field("taken", &self.hand_overs_without_signal())
            .field("given_back", &self.given_back())
            .field("fibers", &self.fibers())
            .field("spare_fibers", &self.spare_fibers())
            .field("worker_threads", &self.worker_threads())
            .field("spare_workers", &self.spare_workers())
            .finish_non_exhaustive()
    }
}

impl RuntimeMetrics {
    /// How many processors there are: `worker_threads`.
    pub fn num_workers(&self) -> usize {
        self.shared.processors.len()
    }

    /// Tasks that have been spawned and are not finished.
    pub fn num_alive_tasks(&self) -> usize {
        self.shared.tasks.len()
    }

    /// Runnable tasks in the queue that all processors share.
    pub fn global_queue_depth(&self) -> usize {
        self.shared.global.len()
    }

    /// Runnable polls that were preempted and wait for a processor.
    pub fn preempted_depth(&self) -> usize {
        self.shared.batch.len()
    }

    /// Polls that were preempted at an arbitrary instruction, by a signal.
    pub fn asynchronous_preemptions(&self) -> u64 {
        self.shared.counters.asynchronous.load(Ordering::Relaxed)
    }

    /// Polls that gave way at the end of a critical section of the runtime.
    pub fn synchronous_preemptions(&self) -> u64 {
        self.shared.counters.synchronous.load(Ordering::Relaxed)
    }

    /// Both kinds of preemptions.
    pub fn preemptions(&self) -> u64 {
        self.asynchronous_preemptions() + self.synchronous_preemptions()
    }

    /// Preempted polls that were resumed by another worker than the one they were preempted on.
    pub fn migrations(&self) -> u64 {
        self.shared.counters.migrations.load(Ordering::Relaxed)
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.shared
            .all_workers()
            .map(|worker| worker.target.refused[why as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// Preemption signals that found a worker between two tasks, or in instructions that end in a check.
    pub fn refused_in_scheduler(&self) -> u64 {
        self.refused(Refusal::SystemStack) + self.refused(Refusal::Trampoline)
    }

    /// Preemption signals that found a critical section of the runtime; its end gave way.
    pub fn refused_in_critical_section(&self) -> u64 {
        self.refused(Refusal::Critical)
    }

    /// Preemption signals that found another signal handler running, or a signal mask that the task had changed.
    pub fn refused_in_handler(&self) -> u64 {
        self.refused(Refusal::Handler)
    }

    /// Preemption signals that found a blocking system call: the processor moved on instead.
    pub fn refused_in_system_call(&self) -> u64 {
        self.refused(Refusal::Syscall)
    }

    /// All refusals, whatever the reason.
    pub fn refused_preemptions(&self) -> u64 {
        const { assert!(REFUSALS == 5) };
        self.refused_in_scheduler()
            + self.refused_in_critical_section()
            + self.refused_in_handler()
            + self.refused_in_system_call()
    }

    /// Processors that moved to another worker because theirs was blocked in the kernel or out of reach.
    pub fn hand_overs(&self) -> u64 {
        self.shared.counters.hand_overs.load(Ordering::Relaxed)
    }

    /// Those among the hand-overs that the monitor made without a signal.
    pub fn hand_overs_without_signal(&self) -> u64 {
        self.shared.counters.taken.load(Ordering::Relaxed)
    }

    /// Polls that were given back to the thread whose identity they have.
    pub fn given_back(&self) -> u64 {
        self.shared.counters.given_back.load(Ordering::Relaxed)
    }

    /// Polls that have used up their time slice.
    pub fn slices_used_up(&self) -> u64 {
        self.shared
            .processors
            .iter()
            .map(|processor| processor.slices.load(Ordering::Relaxed))
            .sum()
    }

    /// Polls begun.
    pub fn polls(&self) -> u64 {
        self.shared.polls()
    }

    /// Preemption signals that the monitor sent, where a worker's own timer does not do it.
    pub fn signals_sent_by_monitor(&self) -> u64 {
        self.shared.counters.signals.load(Ordering::Relaxed)
    }

    /// Signals, in this whole process, that had the preemption signal's number and were somebody else's.
    pub fn foreign_signals(&self) -> u64 {
        signal::chained()
    }

    /// Fibers: stacks with a thread identity. Every poll in progress has one.
    pub fn fibers(&self) -> usize {
        self.shared.supply.fiber_count.load(Ordering::Relaxed)
    }

    /// Fibers that no poll uses.
    pub fn spare_fibers(&self) -> usize {
        self.shared.spare_fibers.len()
    }

    /// Worker threads, with and without a processor.
    pub fn worker_threads(&self) -> usize {
        self.shared.supply.worker_count()
    }

    /// Worker threads that wait for a processor.
    pub fn spare_workers(&self) -> usize {
        self.shared.spare_workers.len()
    }

    /// Threads of the pool behind `spawn_blocking`.
    pub fn num_blocking_threads(&self) -> usize {
        self.shared.blocking.threads()
    }

    /// Functions that wait for a thread of that pool.
    pub fn blocking_queue_depth(&self) -> usize {
        self.shared.blocking.queued()
    }
}
