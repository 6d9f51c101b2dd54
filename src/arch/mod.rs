//! What the rest of the crate may ask of a processor. Registers have names only below this module.
//!
//! Every architecture gives the same items, in the same order:
//!
//! | item | is |
//! |---|---|
//! | [`check_support`] | refuses processors and kernels that the code below cannot run on |
//! | [`syscall`] | a bare system call |
//! | [`thread_pointer`] | the identity that is loaded (FS base, TPIDR_EL0) |
//! | [`Saved`] | where a suspended fiber goes on: a stack pointer and what else must travel |
//! | [`mcall`] | suspend here, run a function on another stack under another identity |
//! | [`resume`] | leave for a suspended fiber |
//! | [`call_on`] | call a function on another stack, and come back |
//! | [`stack_pointer`] | the stack pointer |
//! | [`own`] | a few words of thread-local storage, the guard word first |
//! | [`is_clear`], [`slow_path`] | the check of the stack pointer, and what it leads to |
//! | [`Gate`] | the two words of a fiber that assembly looks at |
//! | [`async_preempt`] | what an interrupted instruction "calls"; saves and restores everything |
//! | [`SignalFrame`] | the machine state that a signal interrupted |
//! | [`signal_return`] | how a signal handler ends |
//!
//! # How a suspended fiber looks
//!
//! ```text
//!  suspended by `mcall`                    suspended by `async_preempt`
//!  (a call: callee-saved only)             (a signal: everything)
//!
//!  fiber's stack                           fiber's stack        preempt stack of the same fiber
//!  high │ ...caller's frame  │             │ interrupted │      │ interrupted pc, flags, sp │
//!       ├────────────────────┤             │ frame       │◀─────┤ all general registers     │
//!       │ return address     │             ├─────────────┤  CFI ├───────────────────────────┤
//!       │ callee-saved       │             │ red zone    │      │ vector and x87 state      │
//!       │ registers          │             └─────────────┘      ├───────────────────────────┤
//!  sp ─▶│ FP control words   │              never written        │ `on_preempt`, an `mcall`  │
//!       └────────────────────┘                                  │ frame as on the left      │◀─ sp
//! ```
//!
//! The right-hand shape ends in the left-hand one, so the scheduler only ever resumes the left. The
//! interrupted stack is not touched at all: its red zone, too little room below its stack pointer, or a stack
//! pointer that is not on the fiber's stack are no reasons to refuse a preemption.

mod signal_frame;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(not(all(
    target_arch = "x86_64",
    target_os = "linux",
    target_pointer_width = "64"
)))]
compile_error!("preemptive supports x86-64 Linux; see the targets table in the README");

pub(crate) use signal_frame::{SignalFrame, Syscall};
pub(crate) use x86_64::{
    OWN_SIZE, async_preempt, call_on, check_support, in_trampoline, install_handler,
    install_on_preempt, is_clear, is_clear_by, mcall, own, resume, signal_entry, signal_return,
    slow_path, slow_path_symbol, stack_pointer, swap_protection_keys, syscall, thread_pointer,
    with_thread_pointer,
};

use crate::primitives::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

/// Where a suspended fiber goes on. Written by [`mcall`], read by [`resume`].
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The stack pointer, above it the frame drawn in the module's head.
    pub(crate) sp: usize,
    /// The address base that foreign code may use (GS on x86-64): wasm engines address through it.
    pub(crate) base: usize,
}

/// The two words of a fiber that [`async_preempt`] looks at; all else about a fiber is `stack`'s.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Gate {
    /// Where the guard word is: [`POISON`] in it (larger than any address) when somebody wants the fiber's worker.
    /// Issued and honoured by the layers above.
    pub(crate) guard: AtomicPtr<AtomicUsize>,
    /// How many critical sections the fiber is in. Only code running as the fiber writes it.
    pub(crate) critical: AtomicU32,
}

/// The guard word's value when preemption is wanted: recognisable in a dump, above any stack address.
pub(crate) const POISON: usize = 0xffff_ffff_fade_fade;

/// The guard word's value on a plain thread that has not looked for the bounds of its stack yet.
pub(crate) const UNSET: usize = POISON - 1;
