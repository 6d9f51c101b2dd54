//! A runtime with two processors, as far as sleeping and waking go.
//!
//! The queues and `Sleep` are real. What stands here for the loops of `fiber_loop` and for `Shared` has their steps in
//! their order.

use crate::atomic::{Ordering, fence};
use crate::executor::queue::{Global, Local};
use crate::executor::sleep::{AWAKE, PARKED, SeenBy, Sleep, Sleeper};
use crate::item::{Header, Notified};
use loom::sync::atomic::AtomicU32;
use loom::sync::{Arc, Notify};
use loom::thread;
use std::sync::atomic as plain;

/// A step that a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    Nothing,
    /// Submit: the fence between a plain store and the look.
    Fence,
    /// Park: the last look at the queues.
    LastLook,
    /// Find: the last searcher wakes another.
    NextSearcher,
    /// Park: who leaves because of what it sees searches again.
    SearchAgain,
    /// Park: the flag is read before the processor is in `idle`.
    EarlyFlag,
}

/// Something to sleep on. It is no part of what is modelled, and its words are plain ones: loom runs one thread at a
/// time, and switches only where its own types are used.
struct Bed {
    is_taken: plain::AtomicBool,
    notify: Notify,
}

impl Bed {
    fn new() -> Bed {
        Bed {
            is_taken: plain::AtomicBool::new(false),
            notify: Notify::new(),
        }
    }
}

pub(crate) struct Processor {
    index: usize,
    ring: Local,
    sleeper: Sleeper,
    bed: Bed,
}

impl Processor {
    fn new(index: usize) -> Processor {
        Processor {
            index,
            ring: Local::new(),
            sleeper: Sleeper::new(),
            bed: Bed::new(),
        }
    }
}

pub(crate) struct Model {
    without: Without,
    pub(crate) sleep: Sleep,
    pub(crate) processors: [Processor; 2],
    global: Global,
    pub(crate) tasks: Vec<Header>,
    /// Tasks that have not run.
    left: AtomicU32,
    /// For a task that waits for the last one, and whether that one has run.
    hog: (Bed, plain::AtomicBool),
    /// Threads that neither sleep nor have ended, and those that sleep.
    up: plain::AtomicUsize,
    asleep: plain::AtomicUsize,
}

impl Model {
    /// The last of the tasks must run before any other ends that waits for it. There will be so many threads.
    pub(crate) fn new(tasks: usize, threads: usize, without: Without) -> Arc<Model> {
        Arc::new(Model {
            without,
            sleep: Sleep::new(2),
            processors: [Processor::new(0), Processor::new(1)],
            global: Global::new(),
            tasks: (0..tasks).map(Header::new).collect(),
            left: AtomicU32::new(tasks as u32),
            hog: (Bed::new(), plain::AtomicBool::new(false)),
            up: plain::AtomicUsize::new(threads),
            asleep: plain::AtomicUsize::new(0),
        })
    }

    /// The calling thread sleeps until somebody calls [`stand_up`](Model::stand_up).
    fn lie_down(&self, bed: &Bed) {
        bed.is_taken.store(true, plain::Ordering::Relaxed);
        self.asleep.fetch_add(1, plain::Ordering::Relaxed);
        self.end();
        while bed.is_taken.load(plain::Ordering::Relaxed) {
            bed.notify.wait();
        }
    }

    fn stand_up(&self, bed: &Bed) {
        if bed.is_taken.swap(false, plain::Ordering::Relaxed) {
            self.asleep.fetch_sub(1, plain::Ordering::Relaxed);
            self.up.fetch_add(1, plain::Ordering::Relaxed);
            bed.notify.notify();
        }
    }

    /// The calling thread does nothing more by itself.
    pub(crate) fn end(&self) {
        let others = self.up.fetch_sub(1, plain::Ordering::Relaxed) - 1;
        let asleep = self.asleep.load(plain::Ordering::Relaxed);
        assert!(others > 0 || asleep == 0, "nobody is left to wake the rest");
    }

    fn futex_wait(&self, processor: &Processor) {
        // Sees the latest value: the kernel has a lock that orders its look with the call that wakes.
        let looked = processor.sleeper.parked.compare_exchange(
            AWAKE,
            AWAKE,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if looked == Err(PARKED) {
            self.lie_down(&processor.bed);
        }
    }

    /// In the middle of a poll: waits until the last task has run.
    pub(crate) fn hog(&self) {
        if !self.hog.1.load(plain::Ordering::Relaxed) {
            self.lie_down(&self.hog.0);
        }
    }

    /// `Shared::schedule` from a foreign thread.
    pub(crate) fn submit(&self, task: usize) -> bool {
        self.global.push(self.tasks[task].notify());
        self.wake_one()
    }

    /// `Shared::schedule` from a task.
    pub(crate) fn submit_to(&self, processor: &Processor, task: usize) -> bool {
        processor.ring.push(self.tasks[task].notify(), &self.global);
        if self.without != Without::Fence {
            fence(Ordering::SeqCst);
        }
        self.wake_one()
    }

    /// `Shared::wake_one`.
    fn wake_one(&self) -> bool {
        match self.sleep.submitted() {
            SeenBy::Searcher => true,
            SeenBy::Idle(index) => {
                self.wake(index);
                true
            }
            SeenBy::Nobody => false,
        }
    }

    /// `Shared::wake`.
    pub(crate) fn wake(&self, index: usize) {
        self.sleep.rouse(&self.processors[index].sleeper);
        self.stand_up(&self.processors[index].bed);
    }

    fn is_over(&self) -> bool {
        // In the place of `shutdown.has_begun`, which is sequentially consistent.
        fence(Ordering::SeqCst);
        self.left.load(Ordering::SeqCst) == 0
    }

    fn anything_runnable(&self) -> bool {
        !self.global.is_empty()
            || self.processors.iter().any(|other| !other.ring.is_empty())
            || self.is_over()
    }

    /// `next::next`; `None` at the end.
    fn next(&self, processor: &Processor) -> Option<Notified> {
        loop {
            if self.is_over() {
                let _ = self.sleep.end_search(&processor.sleeper);
                return None;
            }
            let found = processor
                .ring
                .pop()
                .or_else(|| self.take_global(processor))
                .or_else(|| self.steal(processor));
            if found.is_some() {
                if self.sleep.end_search(&processor.sleeper)
                    && self.without != Without::NextSearcher
                {
                    self.wake_one();
                }
                return found;
            }
            self.park(processor);
        }
    }

    /// `Shared::take_global`.
    fn take_global(&self, processor: &Processor) -> Option<Notified> {
        let share = self.global.len() / self.processors.len();
        self.global
            .pop_many(share, |task| processor.ring.try_push(task).unwrap())
    }

    /// `next::steal`.
    fn steal(&self, processor: &Processor) -> Option<Notified> {
        if !self.sleep.search(&processor.sleeper, false) {
            return None;
        }
        let victim = &self.processors[1 - processor.index];
        victim.ring.steal_into(&processor.ring)
    }

    /// `rest::park`.
    fn park(&self, processor: &Processor) {
        let Processor { index, sleeper, .. } = processor;
        if self.without == Without::EarlyFlag {
            sleeper.parked.store(PARKED, Ordering::SeqCst);
            self.sleep.idle.insert(*index);
            let _ = self.sleep.end_search(sleeper);
        } else {
            self.sleep.park(*index, sleeper);
        }
        loop {
            if self.without != Without::LastLook && self.anything_runnable() {
                let is_out = match self.without {
                    Without::SearchAgain => self.sleep.unpark(*index, sleeper),
                    _ => self.sleep.cancel_park(*index, sleeper),
                };
                if !is_out {
                    while !sleeper.is_awake() {
                        self.futex_wait(processor);
                    }
                }
                // What was seen may be another's, which has not taken it yet.
                thread::yield_now();
                return;
            }
            if sleeper.is_awake() {
                return;
            }
            self.futex_wait(processor);
            if sleeper.is_awake() {
                return;
            }
        }
    }

    /// Runs a task, which polls `during`.
    pub(crate) fn run(&self, task: Notified, during: impl FnOnce(usize)) {
        let number = task.run();
        during(number);
        if number + 1 == self.tasks.len() {
            self.hog.1.store(true, plain::Ordering::Relaxed);
            self.stand_up(&self.hog.0);
        }
        fence(Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // `shutdown::run`.
            fence(Ordering::SeqCst);
            while let Some(index) = self.sleep.idle.take_any() {
                self.wake(index);
            }
        }
    }

    /// A processor's life.
    pub(crate) fn work(&self, index: usize, during: impl Fn(&Processor, usize)) {
        let processor = &self.processors[index];
        while let Some(task) = self.next(processor) {
            self.run(task, |number| during(processor, number));
        }
        self.end();
    }

    /// At the end: everything has run, and nobody is counted that does not search.
    pub(crate) fn assert_is_over(&self) {
        for task in &self.tasks {
            assert_eq!(task.runs(), 1, "runs of task {}", task.number);
        }
        assert!(!self.sleep.is_searching(), "a searcher too many");
        assert!(self.sleep.idle.is_empty());
    }
}
