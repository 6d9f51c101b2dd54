//! The current-thread flavour: a runtime without workers, which borrows the threads that call `block_on`.
//!
//! A thread T that drives such a runtime is both at once: a *worker* (the one and only, with the one processor)
//! and, with its own stack and thread-locals, a fiber, the *home fiber*. The worker's system stack is a
//! mapping apart, so the home fiber is suspended and resumed like any other. What is special:
//!
//! - The caller's future (the *root*) may be `!Send`: only the home fiber polls it.
//! - Tasks are polled by the home fiber as well, so they see the caller's thread-locals, unless it is *occupied*: a
//!   poll on it has used its slice up. Then a spare fiber runs the loop on T.
//! - There is no other worker. Nothing takes the processor from T: where others hand it over because T is blocked
//!   in a system call, this flavour interrupts the call, like any code whose slice has ended.
//! - The home fiber has no lender, so it is never given back.
//!
//! # Where the home fiber is
//!
//! ```text
//!            ┌─────────── a poll is preempted ──────────┐
//!            │                                          ▼
//!     runs, on T ◀──────────── resumed ─────────── in `batch` (occupied)
//!       │    ▲
//!       │    └── a fiber at the top of its loop, or one that is preempted, finds it ──┐
//!       └── at the top of its loop it finds a preempted poll to resume ──▶ in `slot` (free)
//! ```
//!
//! **Rule H1.** While the home fiber is not in the middle of a poll, it is the one that runs the loop. So a spare
//! fiber at the top of its loop leaves for the slot's at once, and whoever needs a spare fiber takes the slot's first.
//!
//! **Rule H2.** A woken root *waits* (bounds a slice, ends one) exactly while the home fiber is in the slot.
//! Running at its top, it will look; occupied, it is in `batch`, which counts by itself, and preempting it
//! would not help its root. The slot is written before the new fiber's slice begins, and the waker bounds the
//! slice after it has set `woken`, so one of the two sees the other.
//!
//! **Rule H3.** Between two calls of `block_on` the processor is parked (see `sleep`), with nobody asleep on
//! it: whoever wakes it has said so to the next that drives.
//!
//! What this cannot do: while a *task* occupies the home fiber, the root is not polled, for there is nowhere to poll
//! it. Other tasks and timers go on; but if that poll never ends, neither does `block_on`.
//!
//! # System calls
//!
//! A call that blocks T is interrupted at the end of the slice if anybody waits: most are made again when the
//! fiber is resumed, some (`poll`, `nanosleep`, whatever has a timeout) return EINTR, as after any handler. So a
//! poll that waits for a lock is suspended in the middle of the wait, and the preempted holder of the lock runs.
//! Without asynchronous preemption nothing interrupts a call.
//!
//! # Who drives
//!
//! One thread at a time: the others that are inside `block_on` poll their own futures only, and sleep. Who
//! leaves tells one of them to take over. When shutdown begins, whoever drives leaves, and only the thread that
//! shuts down drives again: it drops what tasks there are and sees preempted polls through.
//!
//! # Leaving
//!
//! The root is done, the home fiber at the top of its loop. Polls that are set aside in `batch` may hold locks that
//! this thread is about to want, so each is given back to its lender, which finishes it (rules R7 and R8).

mod apart;
mod caller;
mod hold;

pub(in crate::executor) use caller::block_on;

use super::context;
use super::entered;
use super::fiber_loop::{self, FiberLife};
use super::next;
use super::processor::Processor;
use super::runtime::Handle;
use super::shared::Shared;
use super::sleep::PARKED;
use super::timeline::Lost;
use super::worker::Worker;
use crate::fatal::fatal;
use crate::primitives::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use crate::primitives::{Arc, Mutex, MutexGuard};
use crate::stack::Fiber;
use crate::sys;
use caller::Caller;
use std::io;
use std::ptr::null_mut;

/// A woken root waits for the tasks that were runnable before it, at most so many.
const ROOT_EVERY: u64 = 61;
/// How long a shutdown without patience waits for whoever drives to leave, in nanoseconds.
const LEAVE: u64 = 100_000_000;

/// What the runtime keeps for this flavour; unused in others. See the module's head.
#[derive(Debug)]
pub(crate) struct Home {
    /// 1: a thread drives. A futex word.
    driven: AtomicU32,
    /// The home fiber; made with the runtime.
    fiber: AtomicPtr<Fiber>,
    /// The home fiber while it is suspended at the top of its loop. Touched by the driving thread only.
    slot: AtomicPtr<Fiber>,
    /// The root of whoever drives has been woken.
    woken: AtomicBool,
    /// Who else is inside `block_on`.
    waiting: Mutex<Vec<Arc<Caller>>>,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home {
            driven: AtomicU32::new(0),
            fiber: AtomicPtr::new(null_mut()),
            slot: AtomicPtr::new(null_mut()),
            woken: AtomicBool::new(false),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Puts the suspended home fiber, at the top of its loop, where it is found.
    pub(crate) fn put(&self, fiber: &'static Fiber) {
        self.slot
            .store(std::ptr::from_ref(fiber).cast_mut(), Ordering::SeqCst);
    }

    fn take(&self) -> Option<&'static Fiber> {
        // SAFETY: null, or the home fiber, which lives as long as the runtime.
        unsafe { self.slot.swap(null_mut(), Ordering::SeqCst).as_ref() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Caller>>> {
        self.waiting
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tries to become the one that drives.
    fn lead(&self) -> bool {
        self.driven
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Somebody else may drive.
    fn cede(&self) {
        self.driven.store(0, Ordering::SeqCst);
        sys::futex_wake(&self.driven, u32::MAX >> 1);
        self.pass_on();
    }

    /// Tells one of those who wait that nobody drives.
    fn pass_on(&self) {
        let next = self.waiting().pop();
        if let Some(next) = next {
            next.tell_to_lead();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let fiber = *self.fiber.get_mut();
        if !fiber.is_null() {
            // SAFETY: made by `make`; nobody drives a runtime that is being freed.
            drop(unsafe { Box::from_raw(fiber) });
        }
    }
}

impl Shared {
    /// Rule H2.
    #[inline]
    pub(crate) fn root_waits(&self) -> bool {
        self.config.home
            && self.home.woken.load(Ordering::SeqCst)
            && !self.home.slot.load(Ordering::SeqCst).is_null()
    }

    /// For a home fiber that is about to park: has its root been woken?
    #[inline]
    pub(crate) fn is_root_woken(&self) -> bool {
        self.config.home && self.home.woken.load(Ordering::SeqCst)
    }

    /// The home fiber, if it is free.
    #[inline]
    pub(crate) fn take_home(&self) -> Option<&'static Fiber> {
        if self.config.home {
            self.home.take()
        } else {
            None
        }
    }

    /// Does a processor without a worker mean that nobody is inside `block_on`?
    pub(crate) fn is_undriven(&self) -> bool {
        self.config.home && self.home.driven.load(Ordering::SeqCst) == 0
    }
}

/// Makes what a runtime of this flavour has instead of workers.
pub(crate) fn make(shared: &Arc<Shared>) -> io::Result<()> {
    let fiber = Fiber::new_home(Arc::as_ptr(shared).cast(), &FiberLife)?;
    let worker = Worker::new(shared, 0)?;
    shared
        .home
        .fiber
        .store(Box::into_raw(Box::new(fiber)), Ordering::SeqCst);
    shared.workers[0].store(Box::into_raw(Box::new(worker)), Ordering::SeqCst);
    Ok(())
}

/// Rule H3: the processor's owner leaves it.
pub(crate) fn park(shared: &Shared, processor: &Processor) {
    processor.rests(sys::now());
    shared.nothing_runs(processor);
    processor.worker.store(null_mut(), Ordering::SeqCst);
    shared.sleep.park(processor.index, &processor.sleeper);
}

/// Rule H3: somebody drives again.
fn unpark(shared: &Shared, processor: &Processor, worker: &Worker) {
    let _ = shared.sleep.unpark(processor.index, &processor.sleeper);
    while !processor.sleeper.is_awake() {
        // Somebody has taken it out of the set and is about to say so.
        sys::futex_wait(&processor.sleeper.parked, PARKED, None);
    }
    shared.monitor.busy_again();
    processor.used_up.store(false, Ordering::Relaxed);
    // Timers that became due meanwhile go off at once.
    processor.due.store(false, Ordering::SeqCst);
    processor
        .worker
        .store(std::ptr::from_ref(worker).cast_mut(), Ordering::SeqCst);
    worker
        .target
        .processor
        .give(std::ptr::from_ref(processor) as usize);
    processor.works(sys::now());
    if let Some(recorder) = &worker.recorder {
        recorder.gets(worker);
    }
    shared.switched(processor, None);
}

/// What the home fiber does its loop for.
pub(super) struct Drive<'a> {
    root: Root<'a>,
    /// When, in polls, it is the woken root's turn.
    turn: Option<u64>,
    done: bool,
}

enum Root<'a> {
    /// Polls a future; true: it is done.
    Future(&'a mut dyn FnMut() -> bool),
    /// Ends the runtime.
    Shutdown { deadline: Option<u64> },
}

/// What a fiber does at the top of its loop.
pub(super) enum AtTop {
    /// As in other flavours: take a task.
    Go,
    /// The home fiber is free (H1), or in `batch` while nobody else may go on.
    Leave(&'static Fiber),
    /// It is the root's turn.
    Poll,
    /// The home fiber's loop ends.
    End,
}

impl Drive<'_> {
    /// Polls the root. Preemptible.
    pub(super) fn poll(&mut self) {
        if let Root::Future(poll) = &mut self.root {
            self.done = poll();
        }
    }
}

/// Decides, in a critical section, what the fiber at the top of its loop does; `drive` is the home fiber's.
pub(super) fn at_top(
    shared: &Shared,
    processor: &Processor,
    drive: Option<&mut Drive<'_>>,
) -> AtTop {
    let begun = shared.shutdown.has_begun();
    let Some(drive) = drive else {
        if let Some(home) = shared.home.take() {
            return AtTop::Leave(home);
        }
        // Tasks are dropped at home only; it is in `batch`.
        if begun {
            let Some(fiber) = shared.batch.pop() else {
                fatal!("a current-thread runtime has lost its home fiber");
            };
            return AtTop::Leave(fiber);
        }
        return AtTop::Go;
    };
    if let Root::Shutdown { deadline } = drive.root {
        if deadline.is_some_and(|deadline| sys::now() >= deadline) {
            shared.shutdown.abandon();
        }
        if shared.shutdown.is_abandoned() {
            shared.give_back_all(true);
        }
        return AtTop::Go;
    }
    if drive.done || begun {
        return AtTop::End;
    }
    if !shared.home.woken.load(Ordering::SeqCst) {
        return AtTop::Go;
    }
    let tick = processor.tick.load(Ordering::Relaxed);
    let in_slot = usize::from(!processor.slot.is_empty());
    let ahead = processor.queue.len() + in_slot + shared.global.len();
    let turn = *drive
        .turn
        .get_or_insert_with(|| tick + (ahead as u64).min(ROOT_EVERY));
    // A root that is always woken never lets the loop get to where it looks at them. Where no signal tells of timers each
    // poll may be long.
    next::look_at_timers(shared, processor, shared.config.home_only);
    let others_turn = processor.due.load(Ordering::Relaxed)
        || (processor.batch_turn.load(Ordering::Relaxed) && !shared.batch.is_empty());
    if others_turn || (tick < turn && ahead > 0) {
        return AtTop::Go;
    }
    drive.turn = None;
    shared.home.woken.store(false, Ordering::SeqCst);
    AtTop::Poll
}

/// Makes the calling thread the home fiber and its worker until the loop ends. The caller leads.
fn drive(shared: &Shared, drive: &mut Drive<'_>) {
    let processor = &shared.processors[0];
    // SAFETY: null only where `make` has failed; it is freed with the runtime, which outlives this call.
    let home = unsafe { shared.home.fiber.load(Ordering::SeqCst).as_ref() };
    let (Some(home), Some(worker)) = (home, shared.worker(0)) else {
        fatal!("a current-thread runtime has no home fiber");
    };
    if processor.retired.load(Ordering::SeqCst) {
        return;
    }
    let target = &worker.target;
    let mask = sys::sigmask(None);
    // The preemption signal must arrive whatever the caller has blocked.
    let own = mask & !(1 << (shared.config.signal - 1));
    target.mask.store(own, Ordering::SeqCst);
    if own != mask {
        sys::sigmask(Some(own));
    }
    let Ok(signal_stack) = sys::sigaltstack(&home.own_signal_stack()) else {
        fatal!("`block_on` of a current-thread runtime was called inside a signal handler");
    };
    worker.adopt(home);
    unpark(shared, processor, worker);

    fiber_loop::run(home, Some(drive));

    // Critical still, and no poll of ours will be resumed by this thread.
    shared.give_back_all(shared.shutdown.is_abandoned());
    if target.processor.release() != 0
        && let Some(recorder) = &worker.recorder
    {
        recorder.gives(Lost::Leaves);
    }
    if !processor.retired.load(Ordering::SeqCst) {
        park(shared, processor);
    }
    worker.release(home);
    if sys::sigaltstack(&signal_stack).is_err() {
        fatal!("cannot restore a thread's signal stack");
    }
    // Whatever the polls on this thread have left of it.
    sys::sigmask(Some(mask));
}

/// Drops the tasks and sees preempted polls through, on the calling thread, with shutdown begun. False: it could
/// not be done until `deadline`, or soon after.
pub(super) fn shut_down(shared: &Arc<Shared>, deadline: Option<u64>) -> bool {
    if entered::is_polling() {
        // This thread is in the middle of something, perhaps of driving this very runtime.
        let apart = Arc::clone(shared);
        return std::thread::Builder::new()
            .name("preemptive-shutdown".to_owned())
            .spawn(move || shut_down(&apart, deadline))
            .is_ok_and(|thread| thread.join().unwrap_or(false));
    }
    let home = &shared.home;
    let handle = Handle {
        shared: Arc::clone(shared),
    };
    let until = deadline.map(|deadline| deadline.max(sys::now() + LEAVE));
    while !home.lead() {
        if until.is_some_and(|until| sys::now() >= until) {
            shared.shutdown.abandon();
            // Whoever drives is in the middle of a poll. The tasks that nobody polls are not to wait for that, nor are
            // their joiners; and that one is dropped when the poll ends.
            context::with(handle, || shared.drain());
            return false;
        }
        sys::futex_wait(&home.driven, 1, until);
    }
    let mut end = Drive {
        root: Root::Shutdown { deadline },
        turn: None,
        done: false,
    };
    context::with(handle, || drive(shared, &mut end));
    home.cede();
    true
}
