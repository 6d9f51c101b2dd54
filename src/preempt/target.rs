//! What a preemption signal is aimed at: the part of a worker that the signal handler may look at.
//!
//! The handler runs under whatever identity was loaded, so it cannot ask thread-local storage which worker it
//! interrupted. The signal's value names a slot of a static table; where the kernel dropped the value
//! (RLIMIT_SIGPENDING), the kernel's thread id is looked up in the same table.

use super::take::ProcessorWord;
use crate::primitives::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use crate::stack::Fiber;
use crate::sys::{self, SignalStack, Timer};
use std::io;
use std::ptr::null_mut;

/// Why a preemption was refused at a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Refusal {
    /// The worker was on its system stack.
    SystemStack = 0,
    /// The interrupted instruction was one of ours that must not be interrupted again.
    Trampoline = 1,
    /// A critical section: its end gives way.
    Critical = 2,
    /// Another signal handler was running, or the task had changed the signal mask.
    Handler = 3,
    /// A blocking system call: the processor was given up instead.
    Syscall = 4,
}

/// How many reasons there are.
pub(crate) const REFUSALS: usize = 5;

/// `Target::armed`: some alarm is set, or none. A time long past, so nobody takes it for one that is to come.
pub(crate) const UNKNOWN: u64 = 0;

/// What the layer above decides. Everything here must be async-signal-safe, but for `suspend`.
pub(crate) trait Actions: Sync + std::fmt::Debug {
    /// The signal came: is there a reason to stop what runs? In the handler.
    fn judge(&self, target: &Target) -> Verdict;
    /// Ask again soon: the request could not be honoured just now. In the handler.
    fn retry(&self, target: &Target);
    /// The worker is blocked in the kernel: its processor may go. In the handler, outside critical sections.
    /// False: there is nobody to take it, so the call is to be interrupted.
    fn blocked(&self, target: &Target) -> bool;
    /// The worker has no processor any more, and its call does not notice signals: look again, less and less often,
    /// whether it has returned. In the handler.
    fn watch(&self, target: &Target);
    /// An id of the process was changed (rule R9). In a handler.
    fn ids_changed(&self, target: &Target);
    /// Leave the fiber, whose stack has overflowed and whose `critical` is 1, for good.
    fn abandon(&self, fiber: &'static Fiber) -> !;
    /// Give way: suspend the current fiber, whose `critical` is 1, and return when it is resumed.
    fn suspend(&self, fiber: &'static Fiber, how: How);
}

/// What a signal is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody wants the worker.
    GoOn,
    /// Somebody would take its processor, should it be blocked in the kernel.
    HandOver,
    /// What runs is to make room.
    GiveWay,
}

/// How a fiber came to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// At the end of a critical section.
    Synchronous,
    /// At an arbitrary instruction, by a signal.
    Asynchronous,
}

/// The handler's view of a worker.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Target {
    /// The fiber that runs; null while the worker is on its system stack. Written by the worker only.
    pub(crate) fiber: AtomicPtr<Fiber>,
    /// The processor the worker holds.
    pub(crate) processor: ProcessorWord,
    /// Counts visits to the system stack: evidence for `take`.
    pub(crate) switches: AtomicU32,
    /// Counts signals that arrived, so that who asked can tell "refused" from "not yet delivered".
    pub(crate) generation: AtomicU32,
    /// Somebody sent a signal whose value the kernel may have dropped.
    pub(crate) asked: AtomicBool,
    /// The guard word was poisoned by somebody who does not know the signal mask (the monitor, a wake): who gives way
    /// looks first.
    pub(crate) unchecked: AtomicBool,
    /// The worker is to give way at the next signal, whatever its timers say.
    pub(crate) demanded: AtomicBool,
    /// Refusals by [`Refusal`].
    pub(crate) refused: [AtomicU64; REFUSALS],
    /// How often in a row the handler asked again: it doubles the pause each time.
    pub(crate) retries: AtomicU32,
    /// Refusals in a row because of another handler or mask; the monitor takes the processor.
    pub(crate) stuck: AtomicU32,
    /// The kernel's thread id.
    pub(crate) thread: AtomicI32,
    /// The signal mask of the worker, set when it starts.
    pub(crate) mask: AtomicU64,
    /// The worker's own identity, which its system stack runs under.
    pub(crate) thread_pointer: AtomicUsize,
    /// The upper end of what the system stack has free.
    pub(crate) system_stack: AtomicUsize,
    /// The worker's own signal stack, for when it has no fiber.
    pub(crate) signal_stack: SignalStack,
    /// The POSIX timer aimed at this worker, as its number plus one; 0 where the kernel refused one.
    timer: AtomicI32,
    /// When the timer goes off; `u64::MAX` for never, or [`UNKNOWN`].
    pub(crate) armed: AtomicU64,
    /// What the layer above does.
    pub(crate) actions: &'static dyn Actions,
    /// The slot in the table.
    slot: AtomicUsize,
}

// SAFETY: the signal stack's pointer is only ever handed to the kernel, by the worker itself.
unsafe impl Sync for Target {}
// SAFETY: as above.
unsafe impl Send for Target {}

/// Workers of one process, all runtimes together.
const SLOTS: usize = 8192;
static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// A worker of this process. Only code on the worker's own kernel thread follows the pointer, so a worker can
/// be freed once it has left.
#[derive(Debug)]
struct Slot {
    thread: AtomicI32,
    target: AtomicPtr<Target>,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            thread: AtomicI32::new(0),
            target: AtomicPtr::new(null_mut()),
        }
    }

    /// # Safety
    ///
    /// The caller runs on the kernel thread of the slot's worker, if it has one.
    unsafe fn target(&self) -> Option<&'static Target> {
        // SAFETY: the worker unregisters before it can be freed, on the thread that the caller runs on.
        unsafe { self.target.load(Ordering::SeqCst).as_ref() }
    }
}

/// One more than the highest slot ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Values of our signals carry this in their upper half: this very table's page, so that two copies of this
/// crate in one process do not take each other's signals.
fn tag() -> usize {
    (&raw const TABLE as usize >> 12) << 32
}

impl Target {
    pub(crate) fn new(signal_stack: SignalStack, actions: &'static dyn Actions) -> Target {
        Target {
            fiber: AtomicPtr::new(null_mut()),
            processor: ProcessorWord::new(),
            switches: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            demanded: AtomicBool::new(false),
            unchecked: AtomicBool::new(false),
            refused: Default::default(),
            retries: AtomicU32::new(0),
            stuck: AtomicU32::new(0),
            thread: AtomicI32::new(0),
            mask: AtomicU64::new(0),
            thread_pointer: AtomicUsize::new(0),
            system_stack: AtomicUsize::new(0),
            signal_stack,
            timer: AtomicI32::new(0),
            armed: AtomicU64::new(u64::MAX),
            actions,
            slot: AtomicUsize::new(usize::MAX),
        }
    }

    /// Takes a slot for the calling worker, and a timer unless `timer` is false.
    pub(crate) fn register(&'static self, signal: i32, timer: bool) -> io::Result<()> {
        self.thread.store(sys::gettid(), Ordering::SeqCst);
        let new = std::ptr::from_ref(self).cast_mut();
        let slot = (0..SLOTS)
            .find(|&slot| {
                TABLE[slot]
                    .target
                    .compare_exchange(null_mut(), new, Ordering::SeqCst, Ordering::Relaxed)
                    .is_ok()
            })
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    format!("this process has {SLOTS} workers already: use fewer runtimes"),
                )
            })?;
        self.slot.store(slot, Ordering::SeqCst);
        self.armed.store(u64::MAX, Ordering::SeqCst);
        self.stuck.store(0, Ordering::Relaxed);
        TABLE[slot]
            .thread
            .store(self.thread.load(Ordering::SeqCst), Ordering::SeqCst);
        USED.fetch_max(slot + 1, Ordering::SeqCst);
        if timer
            && let Ok(timer) =
                Timer::create(self.thread.load(Ordering::SeqCst), signal, tag() | slot)
        {
            self.timer.store(timer.number() + 1, Ordering::SeqCst);
            // Whoever armed before there was a timer has set nothing.
            self.armed.store(u64::MAX, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Undoes [`register`](Self::register), on the same thread. No signal of ours reaches it afterwards.
    pub(crate) fn unregister(&self) {
        if let Some(timer) = self.timer() {
            self.timer.store(0, Ordering::SeqCst);
            timer.delete();
        }
        let slot = self.slot.load(Ordering::SeqCst);
        if let Some(entry) = TABLE.get(slot) {
            entry.thread.store(0, Ordering::SeqCst);
            entry.target.store(null_mut(), Ordering::SeqCst);
        }
    }

    fn timer(&self) -> Option<Timer> {
        match self.timer.load(Ordering::SeqCst) {
            0 => None,
            number => Some(Timer::from_number(number - 1)),
        }
    }

    /// Has this worker no timer of its own, so that the monitor must send its signals?
    pub(crate) fn lacks_timer(&self) -> bool {
        self.timer.load(Ordering::Relaxed) == 0
    }

    /// Makes the timer go off at `deadline`; `u64::MAX` stops it. Any thread, the handler included.
    pub(crate) fn arm(&self, deadline: u64) {
        self.armed.store(deadline, Ordering::SeqCst);
        if let Some(timer) = self.timer() {
            // 0 would stop it, 1 ns after boot is as good as now.
            timer.set(if deadline == u64::MAX {
                0
            } else {
                deadline.max(1)
            });
            // A handler or another thread may have come between the two: which of them the kernel has is unknown,
            // and the next to arm must not rely on it.
            if self.armed.load(Ordering::SeqCst) != deadline {
                self.armed.store(UNKNOWN, Ordering::SeqCst);
            }
        }
    }

    /// Sends the worker a preemption signal.
    pub(crate) fn send(&self, signal: i32) {
        self.asked.store(true, Ordering::SeqCst);
        let _ = sys::tgsigqueue(
            self.thread.load(Ordering::SeqCst),
            signal,
            tag() | self.slot.load(Ordering::SeqCst),
        );
    }

    /// Is the calling kernel thread this worker's?
    pub(super) fn is_this_thread(&self) -> bool {
        self.thread.load(Ordering::SeqCst) == sys::gettid()
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The fiber that runs on this worker.
    pub(crate) fn fiber(&self) -> Option<&'static Fiber> {
        // SAFETY: null, or a fiber: none is freed before the workers of its runtime have ended.
        unsafe { self.fiber.load(Ordering::Relaxed).as_ref() }
    }
}

/// Is this a signal's value of ours?
pub(super) fn is_tagged(value: usize) -> bool {
    value & !0xffff_ffff == tag()
}

/// The worker that a signal's value names. In a handler: such signals are aimed at that worker's thread.
pub(super) fn by_value(value: usize) -> Option<&'static Target> {
    if !is_tagged(value) {
        return None;
    }
    let entry = TABLE.get(value & 0xffff_ffff)?;
    // SAFETY: timers aim the value at the thread of the worker it names, and so do senders; where that worker
    // has ended its entry is empty, or another's of the same runtime or one that is still there.
    unsafe { entry.target() }
}

/// The worker whose kernel thread is calling, whatever identity is loaded.
pub(super) fn by_thread() -> Option<&'static Target> {
    let thread = sys::gettid();
    TABLE[..USED.load(Ordering::SeqCst)]
        .iter()
        .find(|entry| entry.thread.load(Ordering::SeqCst) == thread)
        // SAFETY: it is this very thread's slot.
        .and_then(|entry| unsafe { entry.target() })
}
