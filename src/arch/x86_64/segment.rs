//! The check of the stack pointer, and calling a function on another stack.
//!
//! The check stands at the head of every checked function and loop, so it is made of three instructions that need one
//! register for a moment: load where the guard word is relative to the thread pointer (a constant: the linker makes
//! it one), compare, branch. The word is in thread-local storage of our own making, since inline assembly cannot name
//! a thread-local of Rust's; the "initial exec" access links into shared libraries as well.

use std::arch::{asm, global_asm, naked_asm};

/// The name of this version of this crate's thread-local storage.
macro_rules! own_symbol {
    () => {
        concat!(
            "preemptive_own_",
            env!("CARGO_PKG_VERSION_MAJOR"),
            "_",
            env!("CARGO_PKG_VERSION_MINOR"),
            "_",
            env!("CARGO_PKG_VERSION_PATCH")
        )
    };
}

/// The name of what a failed check calls: the layer above defines it.
macro_rules! slow_path_symbol {
    () => {
        concat!(
            "preemptive_slow_path_",
            env!("CARGO_PKG_VERSION_MAJOR"),
            "_",
            env!("CARGO_PKG_VERSION_MINOR"),
            "_",
            env!("CARGO_PKG_VERSION_PATCH")
        )
    };
}
pub(crate) use slow_path_symbol;

/// Bytes of [`own`], of which the first words are initialised.
pub(crate) const OWN_SIZE: usize = 64;

global_asm!(
    ".pushsection .tdata.preemptive_own, \"awT\", @progbits",
    ".balign 64",
    concat!(".globl ", own_symbol!()),
    // One for each library that this crate is linked into: see `slow_path`.
    concat!(".hidden ", own_symbol!()),
    concat!(".type ", own_symbol!(), ", @object"),
    concat!(".size ", own_symbol!(), ", 64"),
    concat!(own_symbol!(), ":"),
    ".quad {unset}",
    ".quad {unset}",
    ".zero 48",
    ".popsection",
    unset = const super::super::UNSET,
);

/// Storage of the loaded identity: two words that begin as [`UNSET`](super::super::UNSET), and zeros. The first one is
/// the guard word.
#[inline(always)]
pub(crate) fn own() -> *mut u8 {
    let own: *mut u8;
    // SAFETY: word 0 of the thread control block is its own address; the rest is arithmetic.
    unsafe {
        asm!(
            "mov {own}, fs:0",
            concat!("add {own}, qword ptr [rip + ", own_symbol!(), "@gottpoff]"),
            own = out(reg) own,
            options(nostack, readonly),
        );
    }
    own
}

/// Is the stack pointer above the guard word?
#[inline(always)]
pub(crate) fn is_clear() -> bool {
    // SAFETY: reads a word of the caller's thread-local storage.
    unsafe {
        asm!(
            concat!("mov {own}, qword ptr [rip + ", own_symbol!(), "@gottpoff]"),
            "cmp rsp, fs:[{own}]",
            "jbe {low}",
            own = out(reg) _,
            low = label { return false },
            options(nostack, readonly),
        );
    }
    true
}

/// The same for the stack pointer less what `ZONE` is more than `USUAL`.
#[inline(always)]
pub(crate) fn is_clear_by<const ZONE: usize, const USUAL: usize>() -> bool {
    // SAFETY: as above.
    unsafe {
        asm!(
            "lea {sp}, [rsp - {extra}]",
            concat!("mov {own}, qword ptr [rip + ", own_symbol!(), "@gottpoff]"),
            "cmp {sp}, fs:[{own}]",
            "jbe {low}",
            sp = out(reg) _,
            own = out(reg) _,
            extra = const ZONE.saturating_sub(USUAL),
            low = label { return false },
            options(nostack, readonly),
        );
    }
    true
}

/// Calls what a failed check leads to, with the bytes that the caller wants beyond the red zone. True: it has less.
///
/// A call by name: a call of a Rust function in another crate goes through a pointer, which the compiler would load
/// ahead of the check. The name is hidden wherever it is used, which hides it in what is linked: a library would export it
/// otherwise, and the checks of the next library in the process would lead to the slow path of the first, which knows
/// other guard words.
#[inline(always)]
pub(crate) fn slow_path(extra: usize) -> bool {
    let is_short: u8;
    // SAFETY: the function has the C ABI, takes a number and returns a bool; it does not unwind.
    unsafe {
        asm!(
            concat!(".hidden ", slow_path_symbol!()),
            concat!("call ", slow_path_symbol!()),
            in("rdi") extra,
            lateout("al") is_short,
            clobber_abi("sysv64"),
        );
    }
    is_short != 0
}

/// The stack pointer, more or less: that of whoever this is inlined into.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Calls `f(argument)` with the stack pointer at `onto`, and returns when it returns, or unwinds when it unwinds.
///
/// RBP keeps the old stack pointer, and the CFI says so: unwinders, debuggers and profilers walk from one stack to
/// the other. gdb takes a caller whose frame lies below its callee's for a corrupt stack, unless the caller's symbol
/// is `__morestack`, which is what split stacks have called this since GCC 4.6; hence the label.
///
/// # Safety
///
/// - `onto` is 16-aligned, and below it lies writable memory that nobody uses, enough for all that `f` does.
/// - `argument` is what `f` expects.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64-unwind" fn call_on(
    onto: usize,                                  /* rdi */
    f: unsafe extern "sysv64-unwind" fn(*mut ()), /* rsi */
    argument: *mut (),                            /* rdx */
) {
    naked_asm!(
        ".cfi_startproc",
        // In: rdi = onto, rsi = f, rdx = argument. Out: nothing.
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        // Unless there is one: optimised as a whole, a program with two versions of this crate is one assembly file.
        ".ifndef __morestack",
        ".type __morestack, @function",
        "__morestack:",
        ".endif",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
