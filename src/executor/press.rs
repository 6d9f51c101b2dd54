//! Pressing and calling: how a task that finds every processor busy gets one. See the head of `slice`.

use super::processor::Processor;
use super::shared::Shared;
use crate::primitives::atomic::Ordering;
use crate::sys;

impl Shared {
    /// A task waits for this processor: see the head of `slice`. Any thread; async-signal-safe. True: what runs may be
    /// stopped at once.
    #[cold]
    pub(crate) fn press(&self, processor: &Processor) -> bool {
        if processor.pressed.swap(true, Ordering::SeqCst) {
            return false;
        }
        let now = sys::now();
        let at = self.stop_for_task(processor, now);
        // Should it not be stopped by its own hand, the next look does it.
        processor.look.fetch_min(at, Ordering::SeqCst);
        if at > now {
            self.rearm(processor, false);
        }
        at <= now
    }

    /// As [`press`](Self::press), for a processor that may be somebody else's.
    pub(crate) fn press_from_afar(&self, processor: &Processor) {
        if self.press(processor) {
            self.rearm(processor, false);
        }
    }

    /// Tasks wait that any processor can take, and none is idle: calls one.
    #[cold]
    pub(crate) fn press_any(&self) {
        if self.pressing.load(Ordering::SeqCst) != 0 {
            return;
        }
        let Some(victim) = self.victim() else {
            return;
        };
        let claimed =
            self.pressing
                .compare_exchange(0, victim.index + 1, Ordering::SeqCst, Ordering::SeqCst);
        if claimed.is_ok() {
            victim.called.store(true, Ordering::SeqCst);
            self.press_from_afar(victim);
        }
    }

    /// Tasks wait in some processor's queue, and none is idle: calls one that runs a batch fiber, if any does.
    #[inline]
    pub(crate) fn press_batch(&self) {
        if self.batch_running.load(Ordering::SeqCst) > 0 {
            self.press_any();
        }
    }

    /// Passes a call on, if more waits.
    pub(crate) fn pass_on(&self) {
        if !self.global.is_empty() {
            self.submitted();
        } else if self.processors.iter().any(|other| !other.queue.is_empty()) && !self.wake_one() {
            self.press_batch();
        }
    }

    /// Whom to call: the batch fiber that has run longest, or else the poll known to have.
    fn victim(&self) -> Option<&Processor> {
        let busy = || {
            self.processors.iter().filter(|processor| {
                !self.sleep.idle.contains(processor.index)
                    && !self.orphans.contains(processor.index)
                    && !processor.retired.load(Ordering::Relaxed)
            })
        };
        let soon = sys::now() + self.config.min_slice;
        let batch = busy()
            .filter(|processor| !processor.runs_tasks.load(Ordering::Relaxed))
            .filter(|processor| processor.turn_end.load(Ordering::Relaxed) <= soon)
            .min_by_key(|processor| processor.since.load(Ordering::Relaxed));
        batch.or_else(|| {
            busy().min_by_key(|processor| {
                if processor.is_marked() {
                    processor.mark_time.load(Ordering::Relaxed)
                } else {
                    u64::MAX
                }
            })
        })
    }

    /// At the top of its loop, a processor that was called answers. It then looks at all queues.
    #[cold]
    pub(crate) fn answer(&self, processor: &Processor) {
        processor.called.store(false, Ordering::SeqCst);
        let _ = self.pressing.compare_exchange(
            processor.index + 1,
            0,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }
}
