//! The preemption signal: installing it, and what its handler decides.
//!
//! # The handler
//!
//! It runs on the current signal stack, under whatever identity was loaded. It takes no lock that the interrupted
//! code can hold, allocates nothing, and touches no thread-local storage. Its questions, in this order:
//!
//! | found at the signal | does |
//! |---|---|
//! | not ours | calls the handler that was installed before |
//! | the worker on its system stack | asks again soon |
//! | an instruction of `async_preempt` | asks again soon |
//! | another handler running, or a changed signal mask | counts it; the monitor takes the processor if it lasts |
//! | `critical > 0` | leaves the guard word poisoned: the end of the section gives way |
//! | a blocking system call, interrupted | gives up the processor, not the fiber; injects where nobody could take it |
//! | anything else | injects `async_preempt` |
//!
//! Whether anybody wants the worker at all is asked of the executor only where something could be done about it.
//! "Asks again soon" re-arms the worker's timer, so that no request is lost between two rows.
//!
//! A signal stack on which user code runs (another handler) and the mask are looked at before `critical`: a
//! handler of the application can interrupt a critical section, and must not be suspended when it ends there.
//!
//! # Chaining
//!
//! A signal that is not ours goes to the handler that the application had installed before us, with the same
//! arguments. One installed after us replaces ours: then the monitor takes processors from outside, and
//! CAVEATS says so.

use super::overflow;
use super::target::{How, Refusal, Target, Verdict, by_thread, by_value, is_tagged};
use crate::arch::{self, SignalFrame};
use crate::fatal::fatal;
use crate::primitives::Mutex;
use crate::primitives::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::stack::{self, Fiber};
use crate::sys::{self, KernelSigaction};
use std::io;
use std::ptr::null_mut;

pub(super) const SA_RESTORER: u64 = 0x0400_0000;

/// Highest signal number of the kernel.
const SIGNALS: usize = 64;

/// What was installed before us, per signal; leaked boxes. Null where we installed nothing.
static PREVIOUS: [AtomicPtr<KernelSigaction>; SIGNALS + 1] =
    [const { AtomicPtr::new(null_mut()) }; SIGNALS + 1];

/// Set in the child of a `fork`: it never enters the scheduler (R10).
static FORKED: AtomicBool = AtomicBool::new(false);

/// Signals that were passed on because they were not ours.
static CHAINED: AtomicU64 = AtomicU64::new(0);

/// How many signals were not ours and went on to whoever had been there before.
pub(crate) fn chained() -> u64 {
    CHAINED.load(Ordering::Relaxed)
}

/// Is this process the child of a `fork` of one that had a runtime?
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Checks this machine and installs what is needed once per process: the handler of `signal`, the fork hook.
pub(crate) fn install(signal: i32) -> io::Result<()> {
    static INSTALL: Mutex<bool> = Mutex::new(false);
    let mut once = INSTALL
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if is_forked() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this is a forked child of a process with a runtime: call exec, or build the runtime after fork",
        ));
    }
    if !*once {
        arch::check_support()?;
        sys::membarrier_register().map_err(|error| {
            error.with(
                "the kernel has no membarrier(PRIVATE_EXPEDITED) (Linux 4.14 or later is needed)",
            )
        })?;
        arch::install_on_preempt(on_preempt);
        arch::install_handler(handle);
        // SAFETY: the hook only stores to a static.
        if unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) } != 0 {
            return Err(io::Error::other(
                "cannot register a fork hook: out of memory",
            ));
        }
        overflow::install()?;
        *once = true;
    }
    install_handler(signal)
}

extern "C" fn in_forked_child() {
    FORKED.store(true, Ordering::Relaxed);
    sys::forget_pid();
}

fn install_handler(signal: i32) -> io::Result<()> {
    let unusable = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGTRAP,
        32,
        33,
    ];
    if !(1..=SIGNALS as i32).contains(&signal) || unusable.contains(&signal) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "signal {signal} cannot be used for preemption: choose one that the program can spare, \
                 such as SIGURG ({})",
                libc::SIGURG
            ),
        ));
    }
    let slot = &PREVIOUS[signal as usize];
    if !slot.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    // SAFETY: reading changes nothing.
    let previous = unsafe { sys::rt_sigaction(signal, None) }
        .map_err(|error| error.with("cannot read the handler of the preemption signal"))?;
    slot.store(Box::leak(Box::new(previous)), Ordering::Release);
    let action = KernelSigaction {
        handler: arch::signal_entry as *const () as usize,
        flags: (libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART) as u64 | SA_RESTORER,
        restorer: arch::signal_return(),
        // No other handler runs on top of ours.
        mask: u64::MAX,
    };
    // SAFETY: `handle` is made to run at any instruction.
    unsafe { sys::rt_sigaction(signal, Some(&action)) }
        .map_err(|error| error.with("cannot install the preemption signal's handler"))?;
    Ok(())
}

/// The two words of `siginfo_t` that say who sent a signal and with what value.
struct Sender {
    code: i32,
    process: i32,
    value: usize,
}

impl Sender {
    /// # Safety
    ///
    /// `info` is the second argument of a running signal handler.
    unsafe fn of(info: *const libc::siginfo_t) -> Sender {
        // The kernel's layout on 64-bit: signal, errno, code, pad; then, for queued signals, pid, uid, value; for
        // timers, timer id, overrun, value.
        let words = info.cast::<i32>();
        // SAFETY: a siginfo is 128 bytes.
        let (code, process) = unsafe { (words.add(2).read(), words.add(4).read()) };
        // SAFETY: as above; the value is the fourth 64-bit word in both layouts.
        let value = unsafe { info.cast::<usize>().add(3).read() };
        Sender {
            code,
            process,
            value,
        }
    }

    /// Does it carry a value of ours?
    fn is_ours(&self) -> bool {
        match self.code {
            libc::SI_TIMER => is_tagged(self.value),
            libc::SI_QUEUE => is_tagged(self.value) && self.process == sys::getpid(),
            _ => false,
        }
    }

    /// The worker it is for, if it is ours and that worker is still there.
    fn target(&self) -> Option<&'static Target> {
        // A timer's signal goes to the timer's own thread. One that was sent may come to a thread that has
        // taken over the number of a worker that has ended.
        self.is_ours()
            .then(|| by_value(self.value))
            .flatten()
            .filter(|target| self.code == libc::SI_TIMER || target.is_this_thread())
    }

    /// Is this what is left of a signal whose information the kernel had no memory for?
    fn is_bare(&self) -> bool {
        self.code == libc::SI_USER && self.process == 0
    }
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if signal == overflow::SIGNAL {
        // SAFETY: these are a running handler's own arguments.
        unsafe { overflow::handle(info, context) };
        return;
    }
    if is_forked() {
        return;
    }
    // SAFETY: these are a running handler's own arguments.
    let sender = unsafe { Sender::of(info) };
    let ours = sender.is_ours();
    let target = if ours { sender.target() } else { by_thread() };
    if let Some(target) = target {
        // One that is not ours may have swallowed one that is: while one is pending the kernel drops the next,
        // a timer's included. Or it is ours, and the kernel had no memory for the value.
        let due = ours
            || target.asked.load(Ordering::SeqCst)
            || target.armed.load(Ordering::SeqCst) <= sys::now();
        if due {
            target.asked.store(false, Ordering::SeqCst);
            // The timer fires once: it is not running any more.
            target.armed.store(u64::MAX, Ordering::SeqCst);
            target.generation.store(
                target.generation.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::SeqCst,
            );
            // SAFETY: as above.
            let mut frame = unsafe { SignalFrame::new(context) };
            respond(target, &mut frame);
            if sender.is_bare() {
                return;
            }
        }
    }
    if !ours {
        pass_on(signal, info, context);
    }
}

/// Marks, for rule R1's checker, that a handler of ours runs.
struct InHandler(&'static Fiber, bool);

impl InHandler {
    fn new(fiber: &'static Fiber) -> Self {
        InHandler(fiber, fiber.in_handler.swap(true, Ordering::Relaxed))
    }
}

impl Drop for InHandler {
    fn drop(&mut self) {
        self.0.in_handler.store(self.1, Ordering::Relaxed);
    }
}

/// The table in the module's head, from its second row on.
fn respond(target: &'static Target, frame: &mut SignalFrame<'_>) {
    let actions = target.actions;
    let Some(fiber) = target.fiber() else {
        target.refuse(Refusal::SystemStack);
        actions.retry(target);
        return;
    };
    let _in_handler = InHandler::new(fiber);
    if arch::in_trampoline(frame.pc()) {
        target.refuse(Refusal::Trampoline);
        actions.retry(target);
        return;
    }
    let holds = target.processor.peek() != 0;
    let verdict = actions.judge(target);
    let call = frame.syscall();
    let is_blocked = call != arch::Syscall::None;
    if verdict == Verdict::GoOn || (verdict == Verdict::HandOver && !is_blocked) {
        if holds {
            target.retries.store(0, Ordering::Relaxed);
        } else if call != arch::Syscall::Returned {
            actions.watch(target);
        }
        return;
    }
    if frame.mask() != target.mask.load(Ordering::Relaxed) || frame.on_signal_stack() {
        target.refuse(Refusal::Handler);
        target.stuck.fetch_add(1, Ordering::Relaxed);
        actions.retry(target);
        return;
    }
    if !is_blocked {
        target.retries.store(0, Ordering::Relaxed);
    }
    if fiber.gate.critical.load(Ordering::Relaxed) > 0 {
        target.refuse(Refusal::Critical);
        if verdict == Verdict::GiveWay {
            fiber.poison();
        }
        return;
    }
    target.stuck.store(0, Ordering::Relaxed);
    if is_blocked {
        let moved_on = !holds || actions.blocked(target);
        if moved_on {
            target.refuse(Refusal::Syscall);
            if call == arch::Syscall::Restarts {
                actions.watch(target);
            }
            return;
        }
        if verdict == Verdict::HandOver {
            return;
        }
        // Suspended like any other code, it makes the call again when it is resumed, or learns that it was
        // interrupted.
    }
    let Some(area) = fiber.preempt_area(frame.sp()) else {
        target.refuse(Refusal::Trampoline);
        actions.retry(target);
        return;
    };
    // `async_preempt` lowers it again.
    fiber.gate.critical.store(1, Ordering::Relaxed);
    // SAFETY: the area is free memory of the preempt stack: `critical` was 0, so no scheduler code runs there.
    unsafe { frame.inject(area, &fiber.gate) };
}

/// What `async_preempt` calls, on the preempt stack, with `critical` at 1.
extern "sysv64" fn on_preempt() {
    // SAFETY: only a fiber's code is ever preempted, and a fiber lives as long as it runs.
    let Some(fiber) = (unsafe { stack::current().as_ref() }) else {
        fatal!("a preemption was injected into a thread that is no fiber")
    };
    if !fiber.lost_task().is_null() {
        super::safepoint::abandon(fiber);
    }
    super::safepoint::suspend(fiber, How::Asynchronous);
}

/// Calls the handler that was there before ours, as the kernel would have.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    CHAINED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: null or leaked.
    let Some(previous) = (unsafe { PREVIOUS[signal as usize].load(Ordering::Acquire).as_ref() })
    else {
        return;
    };
    match previous.handler {
        libc::SIG_IGN => {}
        libc::SIG_DFL => default_action(signal),
        // SAFETY: these are a running handler's own arguments.
        _ => unsafe { call(previous, signal, info, context) },
    }
}

/// Calls a handler of the application's.
///
/// # Safety
///
/// `handler` is a function, and the rest are the arguments of a running handler.
pub(super) unsafe fn call(
    action: &KernelSigaction,
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if action.flags & libc::SA_SIGINFO as u64 != 0 {
        // SAFETY: the application installed this address as a handler with three arguments.
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(action.handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: the application installed this address as a handler with one argument.
        let handler: extern "C" fn(i32) = unsafe { std::mem::transmute(action.handler) };
        handler(signal);
    }
}

/// What the kernel would have done with a signal nobody handles: SIGURG and a few others are ignored.
fn default_action(signal: i32) {
    let ignored = [libc::SIGURG, libc::SIGCHLD, libc::SIGWINCH, libc::SIGCONT];
    if !ignored.contains(&signal) {
        fatal!(
            "signal {signal}, which nobody but the preemption handler handles, came from outside"
        );
    }
}
