//! Lenders: the threads whose identities fibers borrow.
//!
//! A lender is a pthread on a stack that we mapped ourselves. It sets up its identity, suspends itself as a
//! fiber, and waits in the kernel, on its *park stack*, until it is told something. Meanwhile workers run its
//! user half: its stack, its thread-local storage and all that hangs on them.
//!
//! ```text
//!            start                        END, at the top of its loop
//!   lender ────────▶ LENT ──┐                     ┌──────▶ returns: thread-local destructors run
//!                     ▲     │ GIVEN               │
//!                     │     └──────▶ continues the fiber itself, as an ordinary thread
//!                     └── lend again ◀────────────┘ the poll has ended
//! ```
//!
//! | word | set by | the lender |
//! |---|---|---|
//! | LENT | the lender | waits |
//! | GIVEN | the fiber's owner, through [`Fiber::give_back`] | takes the fiber's signal mask and signal stack and resumes it |
//! | CREDENTIALS | the supplier, through [`Fiber::sync_ids`] | takes over the ids published last, waits on |
//!
//! While it waits, the lender blocks every signal but glibc's own two (rule R9): 32 (cancel) and 33 (setxid).
//! Their handlers run on the park stack, so they cannot hit frames that a worker uses. It unregisters its
//! restartable-sequences area, so that code under this identity sees "no rseq" and takes its fallback.
//!
//! On the park stack the identity is loaded twice, here and by the worker: code here uses no thread-local
//! storage, `errno` included.

use super::fiber::{Fiber, set_current};
use super::map::Map;
use super::segment;
use crate::arch;
use crate::fatal::fatal;
use crate::primitives::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sys::{self, Credentials};
use std::io;

const LENT: u32 = 0;
const GIVEN: u32 = 1;
const CREDENTIALS: u32 = 2;

/// Signals that a lender never blocks: glibc's cancel (32) and setxid (33).
const GLIBC_SIGNALS: u64 = 1 << (32 - 1) | 1 << (33 - 1);

/// How often a thread of this process has changed its ids, at the request of another. See `preempt::setxid`.
static SETXID: AtomicUsize = AtomicUsize::new(0);

/// The calling thread has changed its ids. Async-signal-safe.
pub(crate) fn note_setxid() {
    SETXID.fetch_add(1, Ordering::SeqCst);
}

/// How often [`note_setxid`] was called.
pub(crate) fn setxid_count() -> usize {
    SETXID.load(Ordering::SeqCst)
}

/// What a fiber does with its life; the executor implements it.
pub(crate) trait Life: Sync + std::fmt::Debug {
    /// On the lender itself, as an ordinary thread, before anything is lent.
    fn start(&self, fiber: &'static Fiber);
    /// On the park stack, each time the fiber has become available: no thread-local storage, rule R1.
    fn lent(&self, fiber: &'static Fiber);
    /// As the fiber, in a critical section: its loop. Returns on the lender, when it is to end.
    fn run(&self, fiber: &'static Fiber);
    /// In a handler, under the fiber's identity: what is to become of a poll that has overflowed its stack?
    fn fate(&self, fiber: &'static Fiber) -> Fate;
    /// On the lender, as an ordinary thread, before its thread-local destructors run.
    fn stop(&self, fiber: &'static Fiber);
}

/// What becomes of a poll that has overflowed its stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// The process ends, as it should.
    Aborts,
    /// The process ends, though the task alone was to, for this reason.
    Cannot(&'static str),
    /// The task ends, alone: what [`Fiber::lose`] wants.
    Fails(*mut ()),
}

impl Fiber {
    /// What is to become of the poll in progress, which has overflowed its stack. In a handler.
    pub(crate) fn fate(&'static self) -> Fate {
        match self.is_starting_or_ending() {
            true => Fate::Aborts,
            false => self.lender.life.fate(self),
        }
    }

    /// Makes a fiber and its lender. The fiber is announced through `life.lent`.
    ///
    /// Called by the supplier only: it allocates, and may wait for malloc's lock.
    pub(crate) fn spawn(
        stack_size: usize,
        owner: *const (),
        life: &'static dyn Life,
    ) -> io::Result<&'static Fiber> {
        let map = Map::new(stack_size)?;
        let fiber: &'static Fiber = Box::leak(Box::new(Fiber::new(map, owner, life)));
        match start_lender(fiber) {
            Ok(()) => Ok(fiber),
            Err(error) => {
                // SAFETY: it was leaked just above, and no thread was started with it.
                drop(unsafe { Box::from_raw(std::ptr::from_ref(fiber).cast_mut()) });
                Err(error)
            }
        }
    }

    /// Gives the fiber back: its lender continues it as an ordinary thread. Allocates nothing.
    ///
    /// `mask` is what the fiber was stopped under (rule R5); `idle` asks for SCHED_IDLE.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber, and does no longer.
    pub(crate) unsafe fn give_back(&self, mask: u64, idle: bool) {
        self.comes_back();
        self.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.lender.mask.store(mask, Ordering::Relaxed);
        self.lender.idle.store(idle, Ordering::Relaxed);
        if setxid_count() > 0 {
            // SAFETY: the lender reads it after the word, which only the fiber's owner sets.
            unsafe { (*self.lender.credentials.get()).read() };
            self.lender.takes_ids.store(true, Ordering::Relaxed);
        }
        self.lender.word.store(GIVEN, Ordering::Release);
        sys::futex_wake(&self.lender.word, 1);
    }

    /// The lender, an ordinary thread by now, goes on at the lowest priority.
    pub(crate) fn make_idle(&self) {
        sys::sched_idle(self.lender.thread.load(Ordering::Relaxed));
    }

    /// Tells the fiber to end its lender when it comes to the top of its loop.
    pub(crate) fn end_at_top(&self) {
        self.lender.ends.store(true, Ordering::Release);
    }

    /// Was [`end_at_top`](Self::end_at_top) called?
    pub(crate) fn is_to_end(&self) -> bool {
        self.lender.ends.load(Ordering::Acquire)
    }

    /// On the lender, as the fiber, in a critical section: lends the identity out (again).
    pub(crate) fn lend(&'static self) {
        let pointer = self.thread_pointer.load(Ordering::Relaxed);
        // SAFETY: this runs as the fiber, critical; the park stack is this lender's own; the identity stays.
        unsafe {
            self.suspend(
                self.map.park.high,
                pointer,
                wait_on_park_stack,
                std::ptr::from_ref(self).cast_mut().cast(),
            );
        }
    }

    /// Makes the lender take the ids over that were published last, if it waits (rule R9). One that does not is an
    /// ordinary thread, which glibc reaches.
    pub(crate) fn sync_ids(&self) {
        let lent_to_ids = self.lender.word.compare_exchange(
            LENT,
            CREDENTIALS,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if lent_to_ids.is_ok() {
            sys::futex_wake(&self.lender.word, 1);
        }
    }

    /// Waits until the lender has ended, destructors of its thread-locals included, and frees the fiber.
    /// False: it is still in the middle of a poll; the fiber is leaked, its lender detached.
    ///
    /// # Safety
    ///
    /// The fiber was told to end; nobody else joins it or uses it afterwards.
    pub(crate) unsafe fn join(&'static self) -> bool {
        let handle = self.lender.handle.load(Ordering::Acquire) as libc::pthread_t;
        if !self.has_stopped.load(Ordering::SeqCst) {
            // SAFETY: the handle is this lender's and has not been joined (the caller's debt); glibc frees what
            // it holds of a detached thread when that ends.
            unsafe { libc::pthread_detach(handle) };
            return false;
        }
        // SAFETY: as above.
        unsafe { libc::pthread_join(handle, std::ptr::null_mut()) };
        // SAFETY: it was leaked by `spawn`, and its only thread has ended.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(self).cast_mut()) });
        true
    }
}

/// The ids that were published last; leaked, for a process changes its ids a few times at most.
static IDS: AtomicPtr<Credentials> = AtomicPtr::new(std::ptr::null_mut());

/// Publishes the calling thread's ids for lenders to take over, if they are others than before. Allocates.
pub(crate) fn publish_ids() {
    let mut ids = Box::new(Credentials::new());
    ids.read();
    // SAFETY: null, or leaked below.
    let last = unsafe { IDS.load(Ordering::Acquire).as_ref() };
    if last != Some(&*ids) {
        IDS.store(Box::leak(ids), Ordering::Release);
    }
}

fn start_lender(fiber: &'static Fiber) -> io::Result<()> {
    let stack = fiber.map.stack;
    // SAFETY: all-zero is a valid value to initialise.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    let mut handle: libc::pthread_t = 0;
    // The lender must never see a signal of the application's: it inherits this mask.
    let mask = sys::sigmask(Some(!GLIBC_SIGNALS));
    // SAFETY: the attributes live through the calls, the stack as long as the fiber; `lender_main` gets the
    // fiber, which is never freed before its lender has ended.
    let answer = unsafe {
        libc::pthread_attr_init(&mut attributes);
        let mut answer = libc::pthread_attr_setstack(
            &mut attributes,
            stack.low as *mut libc::c_void,
            stack.size(),
        );
        if answer == 0 {
            answer = libc::pthread_create(
                &mut handle,
                &attributes,
                lender_main,
                std::ptr::from_ref(fiber).cast_mut().cast(),
            );
        }
        libc::pthread_attr_destroy(&mut attributes);
        answer
    };
    sys::sigmask(Some(mask));
    match answer {
        0 => {
            fiber
                .lender
                .handle
                .store(handle as usize, Ordering::Release);
            Ok(())
        }
        libc::EINVAL => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a fiber's stack of {} KiB is too small for this program's thread-locals: \
                 raise Builder::thread_stack_size",
                stack.size() / 1024
            ),
        )),
        error => Err(sys::Errno(error).with(
            "cannot create a fiber's thread (raise RLIMIT_NPROC, the cgroup's pids.max or \
             kernel.threads-max)",
        )),
    }
}

extern "C" fn lender_main(argument: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `start_lender` passes the fiber, which outlives its lender.
    let fiber: &'static Fiber = unsafe { &*argument.cast::<Fiber>() };
    sys::unregister_rseq(arch::thread_pointer());
    set_current(fiber);
    segment::begin(fiber.map.stack);
    fiber.use_own_guard();
    fiber
        .thread_pointer
        .store(arch::thread_pointer(), Ordering::Relaxed);
    fiber.lender.thread.store(sys::gettid(), Ordering::Relaxed);
    fiber.lender.life.start(fiber);
    // The fiber was made critical (Invariant 5) and stays so until its loop runs a task.
    fiber.lender.outside.store(false, Ordering::Relaxed);
    fiber.lend();
    fiber.lender.life.run(fiber);
    fiber.lender.outside.store(true, Ordering::Relaxed);
    fiber.lender.life.stop(fiber);
    std::ptr::null_mut()
}

/// The lender's wait. On the park stack; see the module's head for what it may not do.
unsafe extern "sysv64" fn wait_on_park_stack(argument: *mut ()) -> ! {
    // SAFETY: `lend` passes the fiber, which outlives its lender.
    let fiber: &'static Fiber = unsafe { &*argument.cast::<Fiber>() };
    let lender = &fiber.lender;
    // Before it is announced: from then on the fiber is somebody else's.
    lender.word.store(LENT, Ordering::Relaxed);
    sys::sigmask(Some(!GLIBC_SIGNALS));
    lender.life.lent(fiber);
    loop {
        match lender.word.load(Ordering::Acquire) {
            LENT => sys::futex_wait(&lender.word, LENT, None),
            GIVEN => break,
            CREDENTIALS => {
                // SAFETY: null, or leaked by `publish_ids`.
                if let Some(ids) = unsafe { IDS.load(Ordering::Acquire).as_ref() } {
                    ids.apply();
                }
                // The owner may have given the fiber back meanwhile: that word must not be lost.
                let _ = lender.word.compare_exchange(
                    CREDENTIALS,
                    LENT,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
            word => fatal!("a lender was told {word}"),
        }
    }
    if lender.takes_ids.swap(false, Ordering::Relaxed) {
        // SAFETY: written by whoever gave the fiber back, before the word.
        unsafe { (*lender.credentials.get()).apply() };
    }
    if lender.idle.load(Ordering::Relaxed) {
        sys::sched_idle(0);
    }
    // SAFETY: given back, the fiber is the lender's own.
    let _ = sys::sigaltstack(unsafe { &*fiber.signal_stack.get() });
    sys::sigmask(Some(lender.mask.load(Ordering::Relaxed)));
    // SAFETY: as above; nothing on the park stack is needed any more.
    unsafe { fiber.resume() }
}
