//! The side that records: what a worker does, into its own ring. All of it in critical sections, on system stacks, or in
//! the worker's handler outside of those, so one at a time (see [`ring`](super::ring)).
//!
//! A fiber remembers what it is in the middle of (`Fiber::doing`), and from one parting to the next where that began
//! (`hop`, `left`). Whoever owns the fiber writes these: the worker that runs it, until it publishes it.

use super::super::fiber_loop::shared_of;
use super::super::task::Notified;
use super::super::worker::Worker;
use super::Timeline;
use super::event::{self, Hop, Lost, What, Why, Work};
use super::ring::{Record, Ring};
use crate::preempt::{Critical, safepoint};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicU64, Ordering};
use crate::stack::{self, Fiber};
use crate::sys;
use std::cell::Cell;

/// Hops are numbered by each worker, in steps of so much: no two of a runtime have the same number.
const HOPS: u64 = 4096;

/// A worker's ring, and what it remembers. See the module's head.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) ring: Ring,
    timeline: Arc<Timeline>,
    /// The number of the next hop. The worker's own thread.
    hop: Cell<u64>,
    /// Why the poll is about to make room. The worker's own thread.
    why: Cell<Why>,
    /// When the monitor last took the processor, or was about to; 0: the worker has heard of it, or it did not. Written before
    /// the processor goes, so a worker that misses its processor sees it.
    pub(crate) taken: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(timeline: &Arc<Timeline>, worker: usize) -> Recorder {
        Recorder {
            ring: Ring::new(timeline.room),
            timeline: Arc::clone(timeline),
            hop: Cell::new(worker as u64 + HOPS),
            why: Cell::new(Why::ForTask),
            taken: AtomicU64::new(0),
        }
    }

    fn push(&self, group: &[Record]) {
        if self.ring.push(group) {
            self.timeline.wake();
        }
    }

    /// With a processor taken by the monitor, the worker says since when, before it says anything else.
    fn settle(&self, worker: &Worker) {
        if worker.processor().is_none() {
            match self.taken.swap(0, Ordering::SeqCst) {
                0 => {}
                time => self.push(&[event::left(time, Lost::Taken)]),
            }
        }
    }

    fn begins(&self, worker: &Worker, fiber: &Fiber, work: Work) {
        fiber.doing.store(work.what as u32, Ordering::Relaxed);
        self.push(&[event::begin(sys::now(), work, number(worker))]);
    }

    fn ends(&self, worker: &Worker) {
        let now = sys::now();
        self.settle(worker);
        self.push(&[event::end(now)]);
    }

    /// Why the next poll that leaves does so, if it is not said otherwise.
    pub(crate) fn because(&self, why: Why) {
        self.why.set(why);
    }

    /// A fiber is about to be put where others find it, for the reason last given.
    pub(crate) fn makes_room(&self, worker: &Worker, fiber: &Fiber) {
        self.leaves(worker, fiber, self.why.get());
    }

    /// A fiber is about to be put where others find it. If it is in the middle of something, that is to be continued.
    pub(crate) fn leaves(&self, worker: &Worker, fiber: &Fiber, why: Why) {
        if fiber.doing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = sys::now();
        let hop = self.hop.get();
        self.hop.set(hop + HOPS);
        fiber.hop.store(hop, Ordering::Relaxed);
        fiber.left.store(now, Ordering::Relaxed);
        self.settle(worker);
        self.push(&[event::go(now, why, hop)]);
    }

    /// The worker is about to enter a fiber. If that is in the middle of something, it goes on.
    pub(crate) fn comes(&self, worker: &Worker, fiber: &Fiber) {
        let Some(work) = work_of(fiber) else {
            return;
        };
        self.push(&event::come(
            sys::now(),
            work,
            number(worker),
            hop_of(fiber),
        ));
    }

    fn is_called(&self, name: &str) {
        let mut group = [event::called(sys::now()); 1 + event::PARTS];
        let mut length = 1;
        for part in event::name(name).into_iter().flatten() {
            group[length] = part;
            length += 1;
        }
        self.push(&group[..length]);
    }

    /// The worker has a processor.
    pub(crate) fn gets(&self, worker: &Worker) {
        if let Some(processor) = number(worker) {
            self.push(&[event::got(sys::now(), processor)]);
        }
    }

    /// The worker is about to give its processor to another, or has nothing left to do with it.
    pub(crate) fn gives(&self, why: Lost) {
        self.push(&[event::left(sys::now(), why)]);
    }
}

/// The processor that the worker holds.
fn number(worker: &Worker) -> Option<u32> {
    worker.processor().map(|processor| processor.index as u32)
}

/// What the fiber is in the middle of.
fn work_of(fiber: &Fiber) -> Option<Work> {
    let what = event::what(fiber.doing.load(Ordering::Relaxed) as u8)?;
    let (task, location) = match what {
        What::Poll => (
            fiber.task.load(Ordering::Relaxed),
            fiber.location.load(Ordering::Relaxed) as u64,
        ),
        _ => (0, 0),
    };
    Some(Work {
        what,
        task,
        location,
    })
}

fn hop_of(fiber: &Fiber) -> Hop {
    Hop {
        number: fiber.hop.load(Ordering::Relaxed),
        left: fiber.left.load(Ordering::Relaxed),
    }
}

/// The worker that runs this fiber, and its recorder.
#[inline]
fn here(fiber: &Fiber) -> Option<(&Worker, &Recorder)> {
    let target = safepoint::worker_of(fiber)?;
    // SAFETY: a target is the first field of its worker.
    let worker = unsafe { &*std::ptr::from_ref(target).cast::<Worker>() };
    Some((worker, worker.recorder.as_ref()?))
}

/// The fiber begins something: of polls, its task is known to it already.
#[inline]
pub(in super::super) fn begins(fiber: &Fiber, what: What) {
    if let Some((worker, recorder)) = here(fiber) {
        let (task, location) = (&fiber.task, &fiber.location);
        let work = Work {
            what,
            task: task.load(Ordering::Relaxed),
            location: location.load(Ordering::Relaxed) as u64,
        };
        recorder.begins(worker, fiber, work);
    }
}

/// The fiber begins to wake what so many timers wake, the first of which was due then, in real time.
pub(in super::super) fn begins_timers(fiber: &Fiber, due: u64, count: usize) {
    if let Some((worker, recorder)) = here(fiber) {
        // A clock that stands still says nothing of when that was.
        let late = match due > 1 {
            true => sys::now().saturating_sub(due) + 1,
            false => 0,
        };
        let work = Work {
            what: What::Timers,
            task: count as u64,
            location: late,
        };
        recorder.begins(worker, fiber, work);
    }
}

/// What the fiber has begun has ended: on whatever worker it is by now, or on its lender.
#[inline]
pub(in super::super) fn ends(fiber: &'static Fiber) {
    match safepoint::worker_of(fiber) {
        Some(_) => {
            if let Some((worker, recorder)) = here(fiber) {
                recorder.ends(worker);
                fiber.doing.store(0, Ordering::Relaxed);
            }
        }
        None => ends_alone(fiber),
    }
}

#[cold]
fn ends_alone(fiber: &'static Fiber) {
    let shared = shared_of(fiber);
    if let Some(timeline) = &shared.timeline
        && let Some(work) = work_of(fiber)
    {
        let thread = sys::gettid() as u64;
        timeline.lenders(&event::alone(sys::now(), work, hop_of(fiber), thread));
        fiber.doing.store(0, Ordering::Relaxed);
    }
}

/// The poll in progress is that of a task with this name, if it is that of the fiber's own task. Preemptible.
pub(in super::super) fn is_called(name: &str) {
    // SAFETY: null, or the fiber that this code runs as, which lives as long as it runs.
    let current: Option<&'static Fiber> = unsafe { stack::current().as_ref() };
    let Some(fiber) = current.filter(|fiber| shared_of(fiber).timeline.is_some()) else {
        return;
    };
    // A task of a local set is polled inside of another's poll.
    let task = Notified::polled_here().map(|(id, _)| id.get());
    if task != Some(fiber.task.load(Ordering::Relaxed)) {
        return;
    }
    let _critical = Critical::enter();
    if let Some((_, recorder)) = here(fiber) {
        recorder.is_called(name);
    }
}
