//! What the signal handler asks of the executor, and what a fiber that gives way does.
//!
//! All but `suspend` run in the handler: they take no lock that interrupted code can hold, allocate nothing, and
//! touch a processor's atomics only.

use super::overflow;
use super::processor::Processor;
use super::timeline::Lost;
use super::worker::{Worker, preempted};
use crate::fatal::fatal;
use crate::preempt::{Actions, Critical, How, Target, Verdict, safepoint};
use crate::primitives::atomic::Ordering;
use crate::stack::Fiber;
use crate::sys;

/// What the layer below asks.
#[derive(Debug)]
pub(super) struct WorkerActions;

/// The worker whose target this is.
fn worker_of(target: &Target) -> &Worker {
    // SAFETY: targets exist only as the first field of a worker.
    unsafe { &*std::ptr::from_ref(target).cast::<Worker>() }
}

/// So often a blocked call is looked at while others wait, some 1.5 s at the default minimum slice: as long as one
/// may wait for a lock, round after round of slices. A worker that comes back unseen takes a core from the others.
const WATCHES: u32 = 64;
/// The first pause before asking again, in nanoseconds: soon enough to be no loss.
const RETRY: u64 = 50_000;
/// It doubles so many times, up to 12.8 ms: where a signal's round trip takes longer than the pause (under a
/// tracer), the code between two signals must get anywhere at all.
const RETRY_DOUBLINGS: u32 = 8;

impl Actions for WorkerActions {
    fn judge(&self, target: &Target) -> Verdict {
        let worker = worker_of(target);
        let shared = worker.shared();
        // SAFETY: 0, or the address of one of this runtime's processors.
        let Some(processor) = (unsafe { (target.processor.peek() as *const Processor).as_ref() })
        else {
            // It has come back from a blocking call. It queues up, unless there is room for it.
            return match shared.is_contended() {
                true => Verdict::GiveWay,
                false => Verdict::GoOn,
            };
        };
        // Whatever the timer was set to, it is not running now, or harmlessly.
        target.armed.store(u64::MAX, Ordering::SeqCst);
        let now = sys::now();
        if shared.timers.shard(processor.index).next() <= now {
            processor.due.store(true, Ordering::SeqCst);
        }
        if shared.shutdown.is_abandoned() {
            return Verdict::GiveWay;
        }
        if target.demanded.load(Ordering::Relaxed) {
            target.demanded.store(false, Ordering::Relaxed);
            processor.used_up.store(true, Ordering::Relaxed);
            return Verdict::GiveWay;
        }
        let verdict = shared.judge(processor, now);
        if verdict != Verdict::GiveWay {
            shared.relook(processor, now);
        }
        verdict
    }

    fn retry(&self, target: &Target) {
        if target.processor.peek() != 0 {
            let retries = target.retries.load(Ordering::Relaxed);
            target
                .retries
                .store(retries.saturating_add(1), Ordering::Relaxed);
            target.arm(sys::now() + (RETRY << retries.min(RETRY_DOUBLINGS)));
        }
    }

    fn blocked(&self, target: &Target) -> bool {
        let worker = worker_of(target);
        if worker.shared().config.home {
            return false;
        }
        let held = target.processor.release();
        // R6: the next signal would only interrupt the call again.
        target.arm(u64::MAX);
        target.retries.store(0, Ordering::Relaxed);
        // SAFETY: as in `judge`.
        if let Some(processor) = unsafe { (held as *const Processor).as_ref() } {
            record_hand_over(worker);
            worker.shared().hand_over(processor);
        }
        true
    }

    fn watch(&self, target: &Target) {
        let times = target.retries.load(Ordering::Relaxed);
        let shared = worker_of(target).shared();
        if times >= WATCHES || (times >= RETRY_DOUBLINGS && !shared.is_contended()) {
            // From here on the monitor looks, without signals (rule R6).
            return;
        }
        target.retries.store(times + 1, Ordering::Relaxed);
        let first = shared.config.min_slice;
        target.arm(sys::now() + (first << (times + 1).min(RETRY_DOUBLINGS)));
    }

    fn ids_changed(&self, target: &Target) {
        worker_of(target).shared().supply.ask();
    }

    fn abandon(&self, fiber: &'static Fiber) -> ! {
        if let Some(target) = safepoint::worker_of(fiber) {
            worker_of(target).mcall(fiber, overflow::abandoned);
        }
        fatal!("a fiber whose stack had overflowed was resumed");
    }

    fn suspend(&self, fiber: &'static Fiber, how: How) {
        let Some(target) = safepoint::worker_of(fiber) else {
            return;
        };
        let worker = worker_of(target);
        let counters = &worker.shared().counters;
        counters.add(match how {
            How::Synchronous => &counters.synchronous,
            How::Asynchronous => &counters.asynchronous,
        });
        worker.mcall(fiber, preempted);
    }
}

/// Gives the current worker's processor away before the calling fiber waits in the kernel. No effect on a plain
/// thread, or where there is none to give.
pub(crate) fn before_blocking() {
    let critical = Critical::enter();
    let Some(target) = critical.fiber().and_then(safepoint::worker_of) else {
        return;
    };
    let worker = worker_of(target);
    if worker.shared().config.home {
        // There is nobody to give it to; the call is interrupted when the slice ends.
        return;
    }
    let held = target.processor.release();
    target.arm(u64::MAX);
    // SAFETY: 0, or the address of one of this runtime's processors.
    if let Some(processor) = unsafe { (held as *const Processor).as_ref() } {
        record_hand_over(worker);
        worker.shared().hand_over(processor);
    }
}

/// For the timeline, before anybody else has the processor. On the worker's thread.
fn record_hand_over(worker: &Worker) {
    if let Some(recorder) = &worker.recorder {
        recorder.gives(Lost::HandedOver);
    }
}
