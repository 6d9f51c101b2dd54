//! What the project's benchmarks need of the inside: single preemptions on demand, fibers by the number.

use super::builder::Builder;
use super::processor::Processor;
use super::runtime::Handle;
use super::supply;
use super::worker::Worker;
use crate::preempt::{Critical, safepoint};
use crate::primitives::atomic::Ordering;
use std::io;

/// Gives way as a poll does whose slice has ended, at a synchronous safe-point: over the system stack to the
/// preempted poll that has waited longest, or back here if none waits. No effect outside tasks.
pub fn give_way() {
    let critical = Critical::enter();
    let (Some(fiber), Some((_, processor))) = (critical.fiber(), here(&critical)) else {
        return;
    };
    processor.used_up.store(true, Ordering::Relaxed);
    // The end of the critical section sees it.
    fiber.poison();
}

/// Sends the calling task's worker its preemption signal, which arrives before this returns. `demand` is
/// whether the handler is to find a slice that has ended. No effect outside tasks.
pub fn signal_this_worker(demand: bool) {
    let critical = Critical::enter();
    let Some((worker, _)) = here(&critical) else {
        return;
    };
    if demand {
        worker.target.demanded.store(true, Ordering::Relaxed);
    }
    let signal = worker.shared().config.signal;
    drop(critical);
    worker.target.send(signal);
}

/// Makes so many spare fibers beyond what the runtime has, and waits until they are there.
pub fn make_fibers(runtime: &Handle, count: usize) -> io::Result<()> {
    supply::make_fibers(&runtime.shared, count)
}

/// How many records of a timeline each worker keeps room for, once `record_timeline` was called: so few that some are lost.
pub fn timeline_room(builder: &mut Builder, records: usize) {
    builder.timeline_room(records);
}

/// The worker and the processor that the calling task runs on. They live as long as the runtime does.
fn here(critical: &Critical) -> Option<(&'static Worker, &'static Processor)> {
    let target = safepoint::worker_of(critical.fiber()?)?;
    // SAFETY: a target is the first field of its worker, which is freed after this task has ended.
    let worker = unsafe { &*std::ptr::from_ref(target).cast::<Worker>() };
    Some((worker, worker.processor()?))
}
