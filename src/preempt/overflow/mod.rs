//! Stack overflows: the handler of SIGSEGV, and what it makes of a fault.
//!
//! | found at the fault | does |
//! |---|---|
//! | the guard page below a task's stack, in a runtime that is to go on | leaves the fiber for good, see below |
//! | another guard page of what runs, or in another runtime | reports whose stack it is, and aborts (`report`) |
//! | anything else: a real fault, or a signal that somebody sent | what would have happened without us |
//!
//! Which guard page belongs to what runs is asked of the fiber whose identity is loaded. A thread that is no fiber has
//! none of ours: the overflow of an ordinary thread, or of a worker's system stack, goes to the handler that was there
//! before, which mostly is std's and knows about its threads.
//!
//! The handler runs on the signal stack, and until it has found an overflow it does nothing that the interrupted code
//! could notice: no lock, no allocation, no `errno`. The one thread-local that it reads is `stack::current`'s, which
//! is a plain load wherever the runtime itself works.
//!
//! # Leaving a fiber for good
//!
//! With `Builder::on_stack_overflow(FailTask)` the task alone ends. The handler makes the interrupted code go on in
//! `async_preempt`, as if it had been preempted: that runs on the preempt stack, and needs no room on the stack that is
//! full. From there the worker leaves for its system stack, publishes the fiber nowhere, and takes another. The task is
//! completed later, by a fiber that takes it out of the queue as it takes any other: its joiner's waker is user code,
//! which has no place on a system stack (rule R1).
//!
//! Rule R8 says that a fiber which no worker will resume is given back, never frozen, because it may hold a lock, and
//! freezing one inside malloc hangs the process. There is no other choice here: a thread cannot go on with a stack that
//! has no room, it cannot be unwound from an arbitrary instruction, and whatever borrows from that stack may not see it
//! go. So this is opt-in, aborting is the default, and the documentation says what stays locked. The whole fiber stays: its
//! memory, and the lender, which waits for ever; and so does the task with all that its future owns.
//!
//! Where the worker cannot be freed of the fiber (a critical section, a handler, a thread's own stack) the process ends after
//! all, and the report says why.
//!
//! # Chaining
//!
//! What is not ours reaches the handler that was installed before us with the arguments that the kernel gave, under the
//! mask and with the flags that it was installed with, but for two. It runs on the signal stack, asked for or not:
//! there is no other way to handle an overflow. And a handler that was to be called once (SA_RESETHAND) is called once,
//! but overflows are reported even after that.
//!
//! The default action is taken by making it the action again and returning, so that the instruction faults once more:
//! then a core file shows the fault, not this handler. A signal that somebody sent would not come again by itself, so it
//! is sent again. To ignore a fault is impossible; the kernel takes the default action as well.
//!
//! A handler installed *after* us replaces ours, and then nothing is reported. CAVEATS says so.

mod frames;
mod report;

pub(crate) use report::is_dying;

use super::safepoint::worker_of;
use super::signal::{SA_RESTORER, call, is_forked};
use crate::arch::{self, SignalFrame};
use crate::primitives::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::stack::{self, Fate, Fiber, GuardPage};
use crate::sys::{self, KernelSigaction, PAGE};
use std::io;
use std::ptr::null_mut;

/// What a fault on a guard page raises. (SIGBUS is for mapped files that have become shorter.)
pub(super) const SIGNAL: i32 = libc::SIGSEGV;

/// What was installed before us; a leaked box, null before [`install`].
static PREVIOUS: AtomicPtr<KernelSigaction> = AtomicPtr::new(null_mut());

/// The handler before us was to be called once, and has been.
static IS_RESET: AtomicBool = AtomicBool::new(false);

const DEFAULT: KernelSigaction = KernelSigaction {
    handler: libc::SIG_DFL,
    flags: 0,
    restorer: 0,
    mask: 0,
};

/// Installs the handler. Once per process, by `signal::install`.
pub(super) fn install() -> io::Result<()> {
    let failed = |error: sys::Errno| error.with("cannot install a handler for stack overflows");
    // SAFETY: reading changes nothing.
    let previous = unsafe { sys::rt_sigaction(SIGNAL, None) }.map_err(failed)?;
    PREVIOUS.store(Box::leak(Box::new(previous)), Ordering::Release);
    let kept = (libc::SA_NODEFER | libc::SA_RESTART) as u64;
    let action = KernelSigaction {
        handler: arch::signal_entry as *const () as usize,
        flags: (previous.flags & kept) | (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER,
        restorer: arch::signal_return(),
        mask: previous.mask,
    };
    // SAFETY: `handle` is made to run at any instruction.
    unsafe { sys::rt_sigaction(SIGNAL, Some(&action)) }.map_err(failed)?;
    Ok(())
}

/// The part of `siginfo_t` that says what happened.
struct Fault {
    /// Positive: the processor found it. Otherwise somebody sent the signal.
    code: i32,
    /// What could not be accessed.
    address: usize,
}

/// Where what runs has run out of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In one of the fiber's guard pages.
    Fiber(GuardPage),
    /// On the stack of a thread that drives a current-thread runtime.
    Thread,
}

/// The handler.
///
/// # Safety
///
/// The arguments are those of a running handler of [`SIGNAL`].
pub(super) unsafe fn handle(info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // The kernel's layout on 64-bit: signal, errno, code, padding, address.
    // SAFETY: a siginfo is 128 bytes.
    let fault = unsafe {
        Fault {
            code: info.cast::<i32>().add(2).read(),
            address: info.cast::<usize>().add(2).read(),
        }
    };
    // SAFETY: the caller's debt.
    let mut frame = unsafe { SignalFrame::new(context) };
    // SAFETY: null, or the fiber that the interrupted code runs as.
    let fiber = unsafe { stack::current().as_ref() };
    if fault.code > 0
        && let Some(fiber) = fiber
        && let Some(place) = place_of(fiber, fault.address, &frame)
    {
        match fails_alone(fiber, place, &frame) {
            Ok(task) => fail(fiber, task, &mut frame),
            Err(why) => report::die(fiber, place, &mut frame, why),
        }
        return;
    }
    // SAFETY: as above.
    unsafe { pass_on(&fault, info, context) };
}

/// Can the task end alone? Then what [`Fiber::lose`] wants; otherwise why not, where it was to.
fn fails_alone(
    fiber: &'static Fiber,
    place: Place,
    frame: &SignalFrame<'_>,
) -> Result<*mut (), Option<&'static str>> {
    let task = match fiber.fate() {
        Fate::Aborts => return Err(None),
        Fate::Cannot(why) => return Err(Some(why)),
        Fate::Fails(task) => task,
    };
    if !matches!(place, Place::Fiber(GuardPage::Stack | GuardPage::Segment)) {
        return Err(Some("it was not the task's own stack"));
    }
    if is_forked() {
        return Err(Some("this is a forked child, which has no scheduler"));
    }
    if fiber.gate.critical.load(Ordering::Relaxed) > 0 {
        return Err(Some("it was inside the runtime, which it had called"));
    }
    let Some(target) = worker_of(fiber) else {
        return Err(Some("it had been given back to the thread of its identity"));
    };
    if frame.on_signal_stack() {
        return Err(Some("it was inside a signal handler"));
    }
    if frame.mask() != target.mask.load(Ordering::Relaxed) {
        return Err(Some("it had changed the signal mask"));
    }
    Ok(task)
}

/// Makes the interrupted code leave its fiber for good, when the handler returns: as a preemption does, but for the
/// end. Nothing of this uses the stack that is full.
fn fail(fiber: &'static Fiber, task: *mut (), frame: &mut SignalFrame<'_>) {
    report::say_failed(fiber);
    fiber.lose(task);
    fiber.gate.critical.store(1, Ordering::Relaxed);
    // Wherever the stack pointer was, the whole preempt stack is free: no code that runs there goes on.
    let area = fiber.map.preempt.high;
    // SAFETY: `critical` was 0, so no scheduler code runs there; and the fiber is never freed.
    unsafe { frame.inject(area, &fiber.gate) };
}

/// Where the stack has ended, if it is that.
fn place_of(fiber: &Fiber, address: usize, frame: &SignalFrame<'_>) -> Option<Place> {
    if let Some(guard) = fiber.guard_hit(address) {
        return Some(Place::Fiber(guard));
    }
    // Of a home fiber's own stack nothing is known. But where the very words at the stack pointer cannot be accessed
    // it is not the access that is wrong.
    let top = frame.sp().saturating_sub(stack::ABI_RED_ZONE)..frame.sp().saturating_add(PAGE);
    (fiber.is_home() && top.contains(&address)).then_some(Place::Thread)
}

/// Does what would have happened without us: see the module's head.
///
/// # Safety
///
/// As for [`handle`].
unsafe fn pass_on(fault: &Fault, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let was_sent = fault.code <= 0;
    // SAFETY: null or leaked.
    let previous = unsafe { PREVIOUS.load(Ordering::Acquire).as_ref() }.unwrap_or(&DEFAULT);
    let handler = match IS_RESET.load(Ordering::Relaxed) {
        true => libc::SIG_DFL,
        false => previous.handler,
    };
    match handler {
        libc::SIG_IGN if was_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action is no function.
            let _ = unsafe { sys::rt_sigaction(SIGNAL, Some(&DEFAULT)) };
            if was_sent {
                // SAFETY: the caller's debt.
                unsafe { sys::raise_again(SIGNAL, info) };
            }
        }
        _ => {
            if previous.flags & libc::SA_RESETHAND as u64 != 0 {
                IS_RESET.store(true, Ordering::Relaxed);
            }
            // SAFETY: it is a function, and the arguments are a running handler's.
            unsafe { call(previous, SIGNAL, info, context) };
        }
    }
}
