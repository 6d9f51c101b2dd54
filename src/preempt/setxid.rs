//! setuid and its like, while identities are lent (rule R9).
//!
//! glibc keeps user and group ids the same in all threads by sending signal 33 to each of them; the handler
//! calls the kernel and acknowledges *for the loaded identity*. On a worker that is the fiber's, not the
//! worker's, and the caller would wait for ever. So that handler is wrapped: it runs with the worker's own
//! identity loaded.
//!
//! glibc never signals the calling identity, so the lender of a task that calls setuid keeps its old ids. The
//! supplier, a thread that glibc always reaches, then publishes the process's ids and has every waiting lender
//! take them over, until no thread has changed its ids for a while (glibc may have reached a worker before the
//! supplier); and whoever gives a fiber back hands its own ids over with it.

use super::target::by_thread;
use crate::arch;
use crate::primitives::Mutex;
use crate::primitives::atomic::{AtomicUsize, Ordering};
use crate::stack;
use crate::sys::{self, KernelSigaction};

const SIGSETXID: i32 = 33;

/// glibc's handler.
static ORIGINAL: AtomicUsize = AtomicUsize::new(0);

/// Wraps glibc's handler, once. glibc installs it with the first thread it creates, so: after that.
pub(crate) fn wrap() {
    static WRAP: Mutex<()> = Mutex::new(());
    let _once = WRAP.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if ORIGINAL.load(Ordering::Acquire) != 0 {
        return;
    }
    // SAFETY: reading changes nothing.
    let Ok(original) = (unsafe { sys::rt_sigaction(SIGSETXID, None) }) else {
        return;
    };
    if original.handler == libc::SIG_DFL || original.handler == libc::SIG_IGN {
        return;
    }
    ORIGINAL.store(original.handler, Ordering::Release);
    let wrapped = KernelSigaction {
        handler: handle as *const () as usize,
        // No handler of the application's runs while the worker's identity is loaded.
        mask: u64::MAX,
        ..original
    };
    // SAFETY: `handle` is async-signal-safe, as glibc's own is, and has its signature.
    let _ = unsafe { sys::rt_sigaction(SIGSETXID, Some(&wrapped)) };
}

/// The three arguments of a handler, to carry through a plain function pointer.
struct Arguments {
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let mut arguments = Arguments {
        signal,
        info,
        context,
    };
    let pointer: *mut () = (&raw mut arguments).cast();
    let Some(target) = by_thread() else {
        // A plain thread, or a waiting lender: the loaded identity is its own.
        call_original(pointer);
        stack::note_setxid();
        return;
    };
    // SAFETY: the worker's own identity is loaded by nobody but this kernel thread; a signal handler is not
    // preempted (the mask says that one is running).
    unsafe {
        arch::with_thread_pointer(
            target.thread_pointer.load(Ordering::Relaxed),
            call_original,
            pointer,
        );
    }
    // The caller's own lender was not signalled, if the caller is a task: one of the workers' handlers sees to it.
    stack::note_setxid();
    target.actions.ids_changed(target);
}

extern "C" fn call_original(arguments: *mut ()) {
    // SAFETY: `handle` passes its own, which outlive the call.
    let arguments = unsafe { &*arguments.cast::<Arguments>() };
    let address = ORIGINAL.load(Ordering::Acquire);
    // SAFETY: glibc installed this address with SA_SIGINFO.
    let original: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(address) };
    original(arguments.signal, arguments.info, arguments.context);
}
