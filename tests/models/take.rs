//! A processor's word: its worker and the monitor, which takes the processor from a worker that is stuck.
//!
//! A `membarrier` on one side stands for a full fence on both: that is how the models write it.

use crate::preempt::take::ProcessorWord;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;

/// Stands in for a processor: even, because the lowest bit is the mark's.
const PROCESSOR: usize = 0x100;

struct Model {
    word: ProcessorWord,
    critical: AtomicU32,
    /// The processor's contents: loom reports two owners as a data race.
    contents: UnsafeCell<u32>,
}

/// A critical section of the worker that uses its processor, if it still has it.
fn section(model: &Model) {
    model.critical.store(1, Ordering::Relaxed);
    // The monitor's membarrier puts a full fence here.
    fence(Ordering::SeqCst);
    if model.word.held() == PROCESSOR {
        // SAFETY: what the model is about: the worker owns the processor here.
        model
            .contents
            .with_mut(|contents| unsafe { *contents += 1 });
    }
    model.critical.store(0, Ordering::Release);
}

/// The monitor: takes the processor if the worker is outside of critical sections.
fn take(model: &Model) -> bool {
    let Some(processor) = model.word.begin_take() else {
        return false;
    };
    fence(Ordering::SeqCst);
    if model.critical.load(Ordering::SeqCst) != 0 {
        model.word.cancel_take(processor);
        return false;
    }
    let taken = model.word.finish_take(processor);
    if taken {
        // SAFETY: what the model is about: the monitor owns the processor here.
        model
            .contents
            .with_mut(|contents| unsafe { *contents += 1 });
    }
    taken
}

fn model() -> Arc<Model> {
    let word = ProcessorWord::new();
    word.give(PROCESSOR);
    Arc::new(Model {
        word,
        critical: AtomicU32::new(0),
        contents: UnsafeCell::new(0),
    })
}

#[test]
fn a_processor_never_has_two_owners() {
    loom::model(|| {
        let shared = model();
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                section(&shared);
                section(&shared);
            })
        };
        let taken = take(&shared);
        worker.join().unwrap();
        assert_eq!(shared.word.peek() == 0, taken);
    });
}

#[test]
fn a_worker_that_lets_go_and_a_monitor_that_takes_do_not_both_get_it() {
    loom::model(|| {
        let shared = model();
        let worker = {
            let shared = Arc::clone(&shared);
            // The signal handler outside of critical sections, or the end of a section.
            thread::spawn(move || shared.word.release() == PROCESSOR)
        };
        let taken = take(&shared);
        let released = worker.join().unwrap();
        assert!(taken != released, "taken: {taken}, released: {released}");
    });
}

/// What the fences are for: with the worker's left out, loom must find the two owners.
#[test]
#[should_panic]
fn without_the_barrier_there_would_be_two() {
    loom::model(|| {
        let shared = model();
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.critical.store(1, Ordering::Relaxed);
                if shared.word.held() == PROCESSOR {
                    // SAFETY: not so: that is what this test shows.
                    shared
                        .contents
                        .with_mut(|contents| unsafe { *contents += 1 });
                }
                shared.critical.store(0, Ordering::Release);
            })
        };
        take(&shared);
        worker.join().unwrap();
    });
}
