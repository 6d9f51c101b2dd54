//! A fiber: a stack and a thread identity that can be suspended and resumed by any worker.
//!
//! # Who may touch what
//!
//! A fiber is at any moment in one hand:
//!
//! | the fiber is | its owner is | who may write `saved`, `link`, `signal_stack` |
//! |---|---|---|
//! | running on a worker | the code that runs | that worker, on its system stack, in `mcall` |
//! | suspended, in a queue or the pool | the queue | whoever took it out |
//! | parked (`parked`) | nobody, until it is taken | whoever takes it |
//! | given back | its lender | the lender |
//!
//! # Invariants
//!
//! 1. `saved` is complete before the fiber is put where another thread can take it: only code on a system or
//!    park stack publishes a fiber (the park commit of Go).
//! 2. The thread pointer is loaded by at most one running thread; the lender meanwhile waits in the kernel and
//!    uses no thread-local storage.
//! 3. `gate.critical` is written only by code running as the fiber, and by the signal handler that interrupted
//!    just that code. Others read it after a barrier on every processor (`preempt::take`).
//! 4. The guard word is written as the head of `guard` says.
//! 5. A suspended fiber has `critical >= 1`.

use super::guard::Guard;
use super::map::{GuardPage, Map, RED_ZONE, Region};
use super::parked::Parked;
use super::segment;
use crate::arch::{self, Gate, Saved, UNSET};
use crate::primitives::RawLock;
use crate::primitives::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence,
};
use crate::sys::{Credentials, SignalStack};
use std::cell::{Cell, UnsafeCell};
use std::panic::Location;

/// The guard word of fibers that no thread lends itself to.
static NOBODYS: Guard = Guard {
    word: AtomicUsize::new(UNSET),
    limit: AtomicUsize::new(UNSET),
};

thread_local! {
    /// The fiber whose identity this is; null on plain threads and on workers' own identities.
    static CURRENT: Cell<*const Fiber> = const { Cell::new(std::ptr::null()) };
}

/// The fiber that this code runs as, or null.
#[inline]
pub(crate) fn current() -> *const Fiber {
    CURRENT.get()
}

/// Marks the calling thread's identity as this fiber's, or no fiber's.
pub(super) fn set_current(fiber: *const Fiber) {
    CURRENT.set(fiber);
}

/// A stack plus a thread identity. See the module's head.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Fiber {
    /// What assembly looks at: where the guard word is, and the critical count.
    pub(crate) gate: Gate,
    /// Held by other threads while they use the guard word of a home fiber: the thread that it is in may end.
    guard_lock: RawLock,
    /// Where the fiber goes on (Invariant 1).
    pub(crate) saved: UnsafeCell<Saved>,
    /// The identity: FS base.
    pub(crate) thread_pointer: AtomicUsize,
    /// The worker that runs the fiber (a `preempt::Target`), null when nobody or the lender does.
    pub(crate) worker: AtomicPtr<()>,
    /// The signal stack that was installed when the fiber last left a worker.
    pub(crate) signal_stack: UnsafeCell<SignalStack>,
    /// The processor that it was last on, by its number: whose pool of segments it uses.
    pub(crate) processor: AtomicU32,
    /// The most bytes of its own stack that were in memory whenever somebody looked.
    pub(crate) high_water: AtomicUsize,
    /// The queue's link.
    pub(crate) link: UnsafeCell<*mut Fiber>,
    /// What the executor keeps with a fiber: its runtime. Set before the lender starts.
    pub(crate) owner: *const (),
    /// A signal handler of ours runs right now under this identity (rule R1's checker asks).
    pub(crate) in_handler: AtomicBool,
    /// Whose poll it is in the middle of, as the executor numbers them; 0: nobody's. For reports.
    pub(crate) task: AtomicU64,
    /// Where that task was spawned; means something only while there is one. For reports.
    pub(crate) location: AtomicPtr<Location<'static>>,
    /// What it is called; null: nothing. For reports.
    pub(crate) name: AtomicPtr<Box<str>>,
    /// What it is in the middle of, as the executor numbers that; 0: nothing. With a timeline only, and so are the next two.
    pub(crate) doing: AtomicU32,
    /// When it last left a worker in the middle of that, in nanoseconds, and the number of that parting.
    pub(crate) left: AtomicU64,
    pub(crate) hop: AtomicU64,
    /// How often the fiber was preempted since it was last at the top of its loop.
    pub(crate) preemptions: AtomicU32,
    /// What is left of its slice or turn, in nanoseconds, where it made room for a task or a timer; 0: it begins a new slice.
    pub(crate) slice_left: AtomicU64,
    /// It was preempted for the first time in this poll, and has not used up its first turn.
    pub(crate) is_young: AtomicBool,
    /// It wakes tasks between two polls: its loop is about to take them.
    pub(crate) is_between_polls: AtomicBool,
    /// Once its stack has overflowed: the task that was lost with it. The fiber is never resumed.
    lost: AtomicPtr<()>,
    /// It has announced itself for the first time.
    pub(crate) is_announced: AtomicBool,
    /// It has been given back to end: its lender has nothing to do but that.
    pub(crate) is_leaving: AtomicBool,
    /// Its lender is past the last use of anything of the runtime's.
    pub(crate) has_stopped: AtomicBool,
    /// Whose it is while its poll waits for a wake: see `parked`.
    pub(crate) parked: Parked,
    /// The worker that it was last preempted on.
    pub(crate) last_worker: AtomicPtr<()>,
    /// Whether it is suspended, for those who are told of it.
    #[cfg(feature = "tracing")]
    pub(crate) seat: crate::primitives::Arc<super::seat::Seat>,
    /// The kernel thread that lends its identity: see `identity`.
    pub(super) lender: Lender,
    /// The four stacks.
    pub(crate) map: Map,
}

/// The lender's side of a fiber.
#[derive(Debug)]
pub(super) struct Lender {
    /// What the lender is told: see `identity`.
    pub(super) word: AtomicU32,
    /// The kernel's id of the lender.
    pub(super) thread: AtomicI32,
    /// The signal mask the fiber continues under when it is given back.
    pub(super) mask: AtomicU64,
    /// Continue under SCHED_IDLE when given back.
    pub(super) idle: AtomicBool,
    /// The lender is to end when the fiber comes to the top of its loop.
    pub(super) ends: AtomicBool,
    /// The lender runs its first or last steps, outside of the fiber's loop.
    pub(super) outside: AtomicBool,
    /// glibc's handle, for joining.
    pub(super) handle: AtomicUsize,
    /// What the lender runs.
    pub(super) life: &'static dyn super::identity::Life,
    /// Take the ids below over before going on.
    pub(super) takes_ids: AtomicBool,
    /// The ids that the lender is to take over.
    pub(super) credentials: UnsafeCell<Credentials>,
}

// SAFETY: the atomics synchronise themselves; the cells are written only by the fiber's one owner (the table in
// the module's head), and queues hand ownership over with Acquire and Release.
unsafe impl Sync for Fiber {}
// SAFETY: as above; nothing in a fiber belongs to the thread that made it.
unsafe impl Send for Fiber {}

impl Fiber {
    pub(super) fn new(
        map: Map,
        owner: *const (),
        life: &'static dyn super::identity::Life,
    ) -> Fiber {
        let signal_stack = SignalStack {
            ss_sp: map.signal.low as *mut libc::c_void,
            ss_flags: 0,
            ss_size: map.signal.size(),
        };
        Fiber {
            gate: Gate {
                guard: AtomicPtr::new(NOBODYS.word().cast_mut()),
                // Invariant 5: a fiber starts its life suspended.
                critical: AtomicU32::new(1),
            },
            guard_lock: RawLock::new(),
            saved: UnsafeCell::new(Saved::default()),
            thread_pointer: AtomicUsize::new(0),
            worker: AtomicPtr::new(std::ptr::null_mut()),
            signal_stack: UnsafeCell::new(signal_stack),
            processor: AtomicU32::new(0),
            high_water: AtomicUsize::new(0),
            link: UnsafeCell::new(std::ptr::null_mut()),
            owner,
            in_handler: AtomicBool::new(false),
            task: AtomicU64::new(0),
            location: AtomicPtr::new(std::ptr::null_mut()),
            name: AtomicPtr::new(std::ptr::null_mut()),
            doing: AtomicU32::new(0),
            left: AtomicU64::new(0),
            hop: AtomicU64::new(0),
            preemptions: AtomicU32::new(0),
            slice_left: AtomicU64::new(0),
            is_young: AtomicBool::new(false),
            is_between_polls: AtomicBool::new(false),
            lost: AtomicPtr::new(std::ptr::null_mut()),
            is_announced: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
            parked: Parked::new(),
            last_worker: AtomicPtr::new(std::ptr::null_mut()),
            #[cfg(feature = "tracing")]
            seat: crate::primitives::Arc::new(super::seat::Seat::new()),
            lender: Lender {
                takes_ids: AtomicBool::new(false),
                word: AtomicU32::new(0),
                thread: AtomicI32::new(0),
                mask: AtomicU64::new(0),
                idle: AtomicBool::new(false),
                ends: AtomicBool::new(false),
                outside: AtomicBool::new(true),
                handle: AtomicUsize::new(0),
                life,
                credentials: UnsafeCell::new(Credentials::new()),
            },
            map,
        }
    }

    /// The home fiber of a runtime that borrows the threads which call it: see `executor::home`. It has no
    /// stack or identity of its own; a thread [lends it](Self::adopt) both for a while.
    pub(crate) fn new_home(
        owner: *const (),
        life: &'static dyn super::identity::Life,
    ) -> std::io::Result<Fiber> {
        let fiber = Fiber::new(Map::for_home()?, owner, life);
        fiber.lender.outside.store(false, Ordering::Relaxed);
        Ok(fiber)
    }

    /// Is it a home fiber? It has no lender, and is never given back.
    #[inline]
    pub(crate) fn is_home(&self) -> bool {
        self.map.is_home()
    }

    /// The calling thread is this home fiber from here on, critical, with its own stack and identity.
    pub(crate) fn adopt(&'static self) {
        self.thread_pointer
            .store(arch::thread_pointer(), Ordering::Relaxed);
        self.use_own_guard();
        set_current(self);
    }

    /// Undoes [`adopt`](Self::adopt), on the same thread.
    pub(crate) fn release(&'static self) {
        set_current(std::ptr::null());
        self.guard_lock.lock();
        self.gate
            .guard
            .store(NOBODYS.word().cast_mut(), Ordering::Relaxed);
        self.guard_lock.unlock();
        // What was asked of the fiber is not asked of the thread. Now that nobody can ask any more: the thread's own
        // checks do not honour requests.
        segment::own(|stack| stack.guard().restore());
    }

    /// The guard word is the one of the calling identity from here on.
    pub(super) fn use_own_guard(&self) {
        let word = segment::own(|stack| stack.guard().word()).cast_mut();
        self.guard_lock.lock();
        self.gate.guard.store(word, Ordering::Relaxed);
        self.guard_lock.unlock();
    }

    /// The upper end of a home fiber's system stack.
    pub(crate) fn system_stack(&self) -> usize {
        self.map.park.high
    }

    /// The signal stack that came with the fiber.
    pub(crate) fn own_signal_stack(&self) -> SignalStack {
        SignalStack {
            ss_sp: self.map.signal.low as *mut libc::c_void,
            ss_flags: 0,
            ss_size: self.map.signal.size(),
        }
    }

    /// No preemption from here on. Only the fiber itself calls this.
    #[inline]
    pub(crate) fn enter_critical(&self) {
        let count = self.gate.critical.load(Ordering::Relaxed);
        self.gate.critical.store(count + 1, Ordering::Relaxed);
        // The handler runs on this very thread: the compiler's order is all the order needed. Other threads
        // look only after a `membarrier`.
        compiler_fence(Ordering::SeqCst);
    }

    /// Undoes one [`enter_critical`](Self::enter_critical). True: it was the outermost and somebody wants the
    /// fiber's worker, so the caller must give way.
    #[inline]
    #[must_use]
    pub(crate) fn leave_critical(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        let count = self.gate.critical.load(Ordering::Relaxed);
        if count == 0 {
            crate::fatal::fatal!("a critical section was left that nobody had entered");
        }
        // Release: the monitor, which reads 0 and takes the processor, sees what was done with it.
        self.gate.critical.store(count - 1, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        count == 1 && self.is_wanted()
    }

    /// Bytes of its own stack that are in memory. Anybody.
    pub(crate) fn committed(&self) -> usize {
        let bytes = self.map.committed();
        self.high_water.fetch_max(bytes, Ordering::Relaxed);
        bytes
    }

    /// Gives back what a fiber at the top of its loop holds beyond `keep` bytes of stack.
    ///
    /// # Safety
    ///
    /// The caller owns the suspended fiber.
    pub(crate) unsafe fn trim(&self, keep: usize) {
        self.committed();
        // SAFETY: the fiber is the caller's; its guard word is the first field of its identity's stack, which lives as
        // long as the lender.
        unsafe {
            self.map.trim((*self.saved.get()).sp, keep);
            let stack = self.gate.guard.load(Ordering::Relaxed);
            if !self.is_home() {
                (*stack.cast::<segment::Stack>()).unmap_spare();
            }
        }
    }

    /// The same for the fiber that calls, in a critical section: what lies below its own frames.
    pub(crate) fn trim_own(&self, keep: usize) {
        self.committed();
        // SAFETY: this code runs as the fiber, and nobody else uses its stack; what this call and those that it makes
        // need is less than what is kept.
        unsafe { self.map.trim(arch::stack_pointer(), keep) };
        segment::own(segment::Stack::unmap_spare);
    }

    /// Is it in a critical section? Only the fiber itself asks.
    #[inline]
    pub(crate) fn is_critical(&self) -> bool {
        self.gate.critical.load(Ordering::Relaxed) > 0
    }

    /// The guard word, for the kernel thread that runs the fiber.
    #[inline]
    fn guard(&self) -> &Guard {
        // SAFETY: the word of the static, or of a guard in the thread-local storage of the identity, which is there while
        // it runs; the word is the guard's first field.
        unsafe { &*self.gate.guard.load(Ordering::Relaxed).cast::<Guard>() }
    }

    /// Runs `f` with the guard word, for other threads. A lender's storage lives as long as its fiber; the home
    /// fiber's is some thread's.
    fn with_guard<R>(&self, f: impl FnOnce(&Guard) -> R) -> R {
        if !self.is_home() {
            return f(self.guard());
        }
        self.guard_lock.lock();
        let result = f(self.guard());
        self.guard_lock.unlock();
        result
    }

    /// Is somebody waiting for this fiber to give way? On the kernel thread that runs it.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.guard().is_poisoned()
    }

    /// The same, on other threads.
    pub(crate) fn is_wanted_from_afar(&self) -> bool {
        self.with_guard(Guard::is_poisoned)
    }

    /// Asks the fiber to give way at its next synchronous safe-point. On the kernel thread that runs it, the signal
    /// handler included.
    pub(crate) fn poison(&self) {
        self.guard().poison();
    }

    /// The same, on other threads.
    pub(crate) fn poison_from_afar(&self) {
        self.with_guard(|guard| {
            if !std::ptr::eq(guard, &raw const NOBODYS) {
                guard.poison();
            }
        });
    }

    /// The request has been honoured, or is void. Only the fiber itself, and only where [`is_wanted`] has said so:
    /// one that comes in between is the same request.
    ///
    /// [`is_wanted`]: Self::is_wanted
    #[inline]
    pub(crate) fn unpoison(&self) {
        segment::own(|stack| stack.guard().restore());
    }

    /// Rule R1: is the fiber outside critical sections, and no handler of ours running on top of it?
    pub(crate) fn may_allocate(&self) -> bool {
        self.is_starting_or_ending()
            || (self.gate.critical.load(Ordering::Relaxed) == 0
                && !self.in_handler.load(Ordering::Relaxed))
    }

    /// Which guard page of this fiber's an address lies in: what a fault there means. In a handler.
    pub(crate) fn guard_hit(&self, address: usize) -> Option<GuardPage> {
        let on_segment =
            || segment::own(|stack| stack.is_guard(address)).then_some(GuardPage::Segment);
        self.map.guard_at(address).or_else(on_segment)
    }

    /// How many bytes its own stack holds; 0 where that is the stack of a thread that we have not made.
    pub(crate) fn stack_limit(&self) -> usize {
        self.map.stack.size()
    }

    /// The fiber's stack has overflowed in the middle of `task`'s poll. In the handler that found it.
    pub(crate) fn lose(&self, task: *mut ()) {
        self.lost.store(task, Ordering::SeqCst);
    }

    /// The task that was lost with this fiber; null: it was not.
    #[inline]
    pub(crate) fn lost_task(&self) -> *mut () {
        self.lost.load(Ordering::SeqCst)
    }

    /// Is this the lender, outside the fiber's loop: an ordinary thread?
    pub(crate) fn is_starting_or_ending(&self) -> bool {
        self.lender.outside.load(Ordering::Relaxed)
    }

    /// Where a poll that was interrupted at the stack pointer `sp` is saved: the upper end of free memory on the
    /// preempt stack. None: there is too little.
    ///
    /// A handler of the application's can interrupt the last instructions of `async_preempt`, and run on the
    /// preempt stack itself; what lies above its stack pointer is still needed then.
    pub(crate) fn preempt_area(&self, sp: usize) -> Option<usize> {
        let Region { low, high } = self.map.preempt;
        if !(low..=high).contains(&sp) {
            return Some(high);
        }
        let area = sp - RED_ZONE;
        (area.saturating_sub(low) >= (high - low) / 2).then_some(area)
    }

    /// It was suspended in the middle of a poll; its owner says so before others can find it. See `seat`.
    #[inline]
    pub(crate) fn goes_away(&self, is_preempted: bool) {
        #[cfg(feature = "tracing")]
        self.seat.leave(is_preempted);
        let _ = is_preempted;
    }

    /// It goes on; its owner says so before it does. See `seat`.
    #[inline]
    pub(crate) fn comes_back(&self) {
        #[cfg(feature = "tracing")]
        self.seat.come_back();
    }

    /// Suspends this fiber and runs `f(argument)` on the stack `onto`, under the identity `pointer`. Returns
    /// when the fiber is resumed.
    ///
    /// # Safety
    ///
    /// - The caller runs as this fiber, in a critical section.
    /// - `onto` and `pointer` are as [`arch::mcall`] wants them.
    /// - `f` publishes the fiber at most once and touches nothing of it afterwards.
    pub(crate) unsafe fn suspend(
        &self,
        onto: usize,
        pointer: usize,
        f: unsafe extern "sysv64" fn(*mut ()) -> !,
        argument: *mut (),
    ) {
        // SAFETY: `saved` is ours to write while we run (Invariant 1); the rest is the caller's debt.
        unsafe { arch::mcall(self.saved.get(), onto, pointer, f, argument) }
    }

    /// Leaves the current stack for this fiber.
    ///
    /// # Safety
    ///
    /// - The caller owns the suspended fiber and is on a system or park stack.
    /// - Nothing on the current stack is needed any more.
    pub(crate) unsafe fn resume(&self) -> ! {
        let pointer = self.thread_pointer.load(Ordering::Relaxed);
        // SAFETY: the owner may resume, once (Invariants 1 and 2).
        unsafe { arch::resume(self.saved.get(), pointer) }
    }
}
