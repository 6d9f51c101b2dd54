//! The supplier: an ordinary thread that makes fibers and workers ahead of need, and nothing else does.
//!
//! It allocates and may wait for malloc's lock while a preempted poll holds it. That delays nobody: whoever needs a
//! fiber and finds none resumes a preempted one instead, and a processor without a worker gives one back to
//! its lender (rule R7). It is apart from the monitor for just that reason: the monitor must never wait.

use super::fiber_loop::FiberLife;
use super::home;
use super::shared::Shared;
use super::worker::Worker;
use crate::preempt::Critical;
use crate::primitives::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crate::primitives::{Arc, Mutex};
use crate::stack::{self, Fiber, Trim, publish_ids, setxid_count};
use crate::sys;
use std::io;
use std::thread;

/// So many workers more than `max_threads` there can be, each for a processor that has none.
pub(super) const BEYOND: usize = 1024;

/// How much of a spare fiber's stack stays committed: what a usual poll needs.
pub(super) const KEPT_STACK: usize = 64 * 1024;
/// How often spare fibers' stacks are trimmed, in nanoseconds, while they are used.
pub(super) const TRIM_EVERY: u64 = 1_000_000_000;

/// How often lenders are told the process's ids while those change, in nanoseconds; and how long they must have
/// stayed the same.
const IDS_EVERY: u64 = 5_000_000;
const IDS_SETTLE: u64 = 100_000_000;

/// Whether the process's ids change at present; see `preempt::setxid`.
#[derive(Debug, Default)]
struct Ids {
    count: usize,
    until: u64,
}

impl Ids {
    fn are_unsettled(&mut self) -> bool {
        let count = setxid_count();
        if count == 0 {
            return false;
        }
        let now = sys::now();
        if count != self.count {
            *self = Ids {
                count,
                until: now + IDS_SETTLE,
            };
        }
        now < self.until
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Supply {
    /// 1: somebody asked.
    asked: AtomicU32,
    /// Every fiber there is, for the end of the runtime.
    fibers: Mutex<Vec<&'static Fiber>>,
    /// The workers' threads.
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// Workers ever made.
    workers: AtomicUsize,
    /// Fibers that were made and have not announced themselves.
    starting: AtomicUsize,
    /// Workers that were made and have not come to their system stacks.
    starting_workers: AtomicUsize,
    /// Fibers that there are.
    pub(crate) fiber_count: AtomicUsize,
    /// A shortage has been reported.
    reported: AtomicBool,
    /// So has the need of more threads than there should be.
    warned: AtomicBool,
    /// The supplier sleeps for so long only as it takes until what is parked can be trimmed. It says that it does not,
    /// and looks at the fibers then; who parks does the reverse.
    comes_again: AtomicBool,
    /// The supplier is to end.
    ends: AtomicBool,
}

impl Supply {
    pub(crate) fn new() -> Supply {
        Supply {
            asked: AtomicU32::new(0),
            fibers: Mutex::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
            workers: AtomicUsize::new(0),
            starting: AtomicUsize::new(0),
            starting_workers: AtomicUsize::new(0),
            fiber_count: AtomicUsize::new(0),
            reported: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            comes_again: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        }
    }

    /// Something is running out. Async-signal-safe.
    pub(crate) fn ask(&self) {
        if self.asked.swap(1, Ordering::SeqCst) == 0 {
            sys::futex_wake(&self.asked, 1);
        }
    }

    /// A poll has parked. On a system stack.
    pub(crate) fn has_parked(&self) {
        if !self.comes_again.load(Ordering::SeqCst) {
            self.ask();
        }
    }

    /// Is there a parked poll whose stack was not trimmed?
    fn has_untrimmed(&self) -> bool {
        lock(&self.fibers)
            .iter()
            .any(|fiber| fiber.parked.is_untrimmed())
    }

    /// A new fiber has announced itself. On its park stack.
    pub(crate) fn fiber_started(&self) {
        self.starting.fetch_sub(1, Ordering::SeqCst);
    }

    /// A new worker is about to become spare. On its system stack.
    pub(crate) fn worker_started(&self) {
        self.starting_workers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Workers ever made.
    pub(crate) fn worker_count(&self) -> usize {
        self.workers.load(Ordering::SeqCst)
    }

    /// The supplier's thread is to end.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.asked.store(1, Ordering::SeqCst);
        sys::futex_wake(&self.asked, 1);
    }

    /// Every fiber there is; none is made any more.
    pub(crate) fn take_fibers(&self) -> Vec<&'static Fiber> {
        std::mem::take(&mut *lock(&self.fibers))
    }

    /// Runs `f` with a fiber, by its number. None: there is no such fiber, or not any more.
    pub(crate) fn with_fiber<R>(&self, number: usize, f: impl FnOnce(&Fiber) -> R) -> Option<R> {
        // Locked meanwhile: fibers are freed by whoever has taken all of them out.
        lock(&self.fibers).get(number).map(|fiber| f(fiber))
    }

    /// Leaves what polls are parked to their lenders.
    pub(crate) fn give_back_parked(&self, shared: &Shared) {
        // Not held while the caller is critical, nor by anybody who waits for a processor.
        let fibers = lock(&self.fibers).clone();
        shared.give_back_parked(fibers.iter());
    }

    /// The workers' threads.
    pub(crate) fn take_threads(&self) -> Vec<thread::JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.threads))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> crate::primitives::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Makes one fiber; it announces itself.
fn make_fiber(shared: &Arc<Shared>) -> io::Result<()> {
    // One reference for the fiber, given back when its lender stops.
    let owner = Arc::into_raw(Arc::clone(shared));
    shared.supply.starting.fetch_add(1, Ordering::SeqCst);
    match Fiber::spawn(shared.config.stack_size, owner.cast(), &FiberLife) {
        Ok(fiber) => {
            lock(&shared.supply.fibers).push(fiber);
            shared.supply.fiber_count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        Err(error) => {
            shared.supply.starting.fetch_sub(1, Ordering::SeqCst);
            // SAFETY: counted just above, and no fiber took it over.
            drop(unsafe { Arc::from_raw(owner) });
            Err(error)
        }
    }
}

/// Makes fibers and waits until they have announced themselves, each from its own thread.
pub(crate) fn make_fibers(shared: &Arc<Shared>, count: usize) -> io::Result<()> {
    for _ in 0..count {
        make_fiber(shared)?;
    }
    while shared.supply.starting.load(Ordering::SeqCst) > 0 {
        let before = shared.supplied.load(Ordering::SeqCst);
        if shared.supply.starting.load(Ordering::SeqCst) > 0 {
            shared.wait_for_fiber(before, sys::now() + 1_000_000);
        }
    }
    Ok(())
}

/// Makes one worker, which starts as a spare one.
fn make_worker(shared: &Arc<Shared>) -> io::Result<()> {
    let index = shared.supply.worker_count();
    if index >= shared.workers.len() {
        return Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            format!(
                "{index} worker threads exist already, {BEYOND} more than Builder::max_threads: raise it"
            ),
        ));
    }
    let slot = &shared.workers[index];
    let mut worker = slot.load(Ordering::SeqCst);
    if worker.is_null() {
        // In its place before its thread starts: from then on anybody may find it there.
        worker = Box::into_raw(Box::new(Worker::new(shared, index)?));
        slot.store(worker, Ordering::SeqCst);
    }
    shared
        .supply
        .starting_workers
        .fetch_add(1, Ordering::SeqCst);
    // Before its thread starts: at shutdown a worker that ends at once, and was not counted yet, would stand for another
    // that still runs, and that one would be joined.
    shared.supply.workers.store(index + 1, Ordering::SeqCst);
    let arc = Arc::clone(shared);
    // SAFETY: it lives until `Shared` frees it, after its thread has ended.
    let borrowed: &'static Worker = unsafe { &*worker };
    let spawned = thread::Builder::new()
        .name(shared.config.thread_name.of_worker())
        .spawn(move || {
            borrowed.run(Arc::clone(&arc));
            arc.shutdown.worker_ended();
        });
    match spawned {
        Ok(thread) => {
            lock(&shared.supply.threads).push(thread);
            Ok(())
        }
        // The worker stays in its place, for the next attempt.
        Err(error) => {
            shared.supply.workers.store(index, Ordering::SeqCst);
            shared
                .supply
                .starting_workers
                .fetch_sub(1, Ordering::SeqCst);
            Err(io::Error::new(
                error.kind(),
                format!(
                    "cannot create a worker thread (raise RLIMIT_NPROC, the cgroup's pids.max or \
                     kernel.threads-max): {error}"
                ),
            ))
        }
    }
}

/// Fills up what is short of. An error names what could not be made.
fn fill(shared: &Arc<Shared>) -> io::Result<()> {
    while shared.spare_fibers.len() + shared.supply.starting.load(Ordering::SeqCst)
        < shared.config.high_fibers()
        && !shared.shutdown.is_ending()
    {
        make_fiber(shared)?;
    }
    while shared.spare_workers.len() + shared.supply.starting_workers.load(Ordering::SeqCst)
        < shared.config.spare_workers()
        && !shared.shutdown.is_ending()
    {
        if shared.supply.worker_count() >= shared.config.max_threads {
            // None ahead of need any more, but a processor is not left without.
            if shared.orphans.is_empty() || !shared.spare_workers.is_empty() {
                break;
            }
            if !shared.supply.warned.swap(true, Ordering::Relaxed) {
                eprintln!(
                    "preemptive: {} worker threads are blocked, as many as Builder::max_threads allows; \
                     making more all the same, since tasks wait",
                    shared.config.max_threads
                );
            }
        }
        make_worker(shared)?;
    }
    Ok(())
}

/// Makes what a new runtime starts with, and waits until all of it is there: from then on nothing that starts
/// up, and allocates, is needed to go on. On an error, what was made is to be shut down by the caller.
pub(crate) fn stock(shared: &Arc<Shared>) -> io::Result<()> {
    make_fibers(shared, shared.config.high_fibers())?;
    if shared.config.home {
        return home::make(shared);
    }
    let workers = shared.config.worker_threads + shared.config.spare_workers();
    for _ in 0..workers {
        make_worker(shared)?;
    }
    while shared.spare_workers.len() < workers {
        sys::sleep(std::time::Duration::from_micros(20));
    }
    Ok(())
}

/// The supplier's thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let supply = &shared.supply;
    let mut trimmed = sys::now();
    let mut polls_trimmed = 0;
    let mut pooled = 0;
    let mut pause = 1_000_000;
    let mut ids = Ids::default();
    loop {
        // An idle runtime sleeps without a timeout: nothing has been used since the last trim.
        let polls = shared.polls();
        let until = match ids.are_unsettled() {
            true => Some(sys::now() + IDS_EVERY),
            false => {
                supply.comes_again.store(false, Ordering::SeqCst);
                let comes = polls != polls_trimmed || pooled > 0 || supply.has_untrimmed();
                supply.comes_again.store(comes, Ordering::SeqCst);
                comes.then(|| sys::now() + TRIM_EVERY)
            }
        };
        while supply.asked.load(Ordering::SeqCst) == 0 {
            sys::futex_wait(&supply.asked, 0, until);
            if until.is_some_and(|until| sys::now() >= until) {
                break;
            }
        }
        // In this order: whoever ends the supplier says so first, and then asks. Looked at the other way round, its request
        // could be wiped out between the two, and the supplier would sleep for ever.
        supply.asked.store(0, Ordering::SeqCst);
        if supply.ends.load(Ordering::SeqCst) {
            return;
        }
        if ids.are_unsettled() {
            // glibc reaches this thread always, so its ids are the process's, sooner or later.
            publish_ids();
            lock(&supply.fibers)
                .iter()
                .for_each(|fiber| fiber.sync_ids());
        }
        match fill(shared) {
            Ok(()) => pause = 1_000_000,
            Err(error) => {
                if !supply.reported.swap(true, Ordering::Relaxed) {
                    eprintln!("preemptive: {error}; going on with what there is");
                }
                // Whoever runs short asks again.
                sys::sleep(std::time::Duration::from_nanos(pause));
                pause = (pause * 2).min(1_000_000_000);
            }
        }
        if sys::now() - trimmed >= TRIM_EVERY {
            pooled = trim(shared);
            trimmed = sys::now();
            trim_parked(shared);
            polls_trimmed = polls;
        }
    }
}

/// Gives back what spare fibers' stacks hold beyond the usual, and segments that have not been used for a while.
/// Returns how many of those are left.
fn trim(shared: &Shared) -> usize {
    let pooled = stack::trim_pool();
    for _ in 0..shared.spare_fibers.len() {
        let _critical = Critical::enter();
        let Some(fiber) = shared.spare_fibers.pop() else {
            break;
        };
        // SAFETY: out of the queue the fiber is ours, and suspended.
        unsafe {
            fiber.trim(KEPT_STACK);
            shared.spare_fibers.push_back(fiber);
        }
    }
    pooled
}

/// Gives back what parked polls' stacks hold below what is live (rule R4), of those that have been parked since the last
/// time.
///
/// A value that is handed to a parked poll meanwhile lies above the saved stack pointer. Whoever wakes the poll meanwhile
/// leaves it to us: see `stack::parked`.
fn trim_parked(shared: &Shared) {
    for fiber in lock(&shared.supply.fibers).iter() {
        let _critical = Critical::enter();
        match fiber.parked.begin_trim() {
            Trim::Nothing | Trim::Again => {}
            // SAFETY: until `end_trim` the fiber stays suspended; if that fails it is ours.
            Trim::Now(trimming) => unsafe {
                let sp = (*fiber.saved.get()).sp;
                fiber.map.trim(sp, 0);
                if !fiber.parked.end_trim(trimming) {
                    shared.woken_late(fiber);
                } else if shared.shutdown.has_begun() {
                    // Shutdown may have looked while it was ours.
                    shared.shutdown.moved();
                }
            },
        }
    }
}
