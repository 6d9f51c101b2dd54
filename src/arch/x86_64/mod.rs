//! x86-64: the verbs of [`super`], register by register.
//!
//! The facts that the code below rests on:
//!
//! - The System V ABI lets a call destroy every vector register and the arithmetic flags, so [`mcall`] saves
//!   only what a callee must keep: RBX, RBP, R12-R15 and the *control* halves of MXCSR and of the x87 unit.
//! - FS base is the identity. Word 0 of the thread control block holds its own address, so reading it needs no
//!   privilege. Loading it is `wrfsbase` where the kernel allows it (bit 1 of AT_HWCAP2) and `arch_prctl`
//!   elsewhere.
//! - The 128 bytes below the stack pointer belong to leaf functions. Nothing here writes there: an injected call
//!   runs on a stack of its own.

mod async_preempt;
mod segment;

pub(crate) use async_preempt::{
    async_preempt, in_trampoline, install_on_preempt, swap_protection_keys,
};
pub(crate) use segment::{
    OWN_SIZE, call_on, is_clear, is_clear_by, own, slow_path, slow_path_symbol, stack_pointer,
};

use super::Saved;
use crate::primitives::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::arch::{asm, naked_asm};
use std::io;

/// 1 where `wrfsbase` and its like may be used. Set once, by [`check_support`].
static FSGSBASE: AtomicU8 = AtomicU8::new(0);

const ARCH_SET_GS: usize = 0x1001;
const ARCH_SET_FS: usize = 0x1002;
const ARCH_GET_GS: usize = 0x1004;
const ARCH_SHSTK_STATUS: usize = 0x5005;
const HWCAP2_FSGSBASE: libc::c_ulong = 1 << 1;
const SYS_ARCH_PRCTL: usize = libc::SYS_arch_prctl as usize;

/// Learns what this machine offers; an error names what is missing and the cure.
pub(crate) fn check_support() -> io::Result<()> {
    // SAFETY: getauxval only reads what the kernel passed to this process.
    let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    let usable = hwcap2 & HWCAP2_FSGSBASE != 0
        && std::env::var_os("PREEMPTIVE_FSGSBASE").is_none_or(|v| v != "off");
    FSGSBASE.store(u8::from(usable), Ordering::Relaxed);

    let mut shadow_stack = 0_u64;
    // SAFETY: the kernel writes one word, or refuses the request where it knows no shadow stacks.
    let answer = unsafe {
        syscall(
            SYS_ARCH_PRCTL,
            [
                ARCH_SHSTK_STATUS,
                &mut shadow_stack as *mut u64 as usize,
                0,
                0,
                0,
                0,
            ],
        )
    };
    if answer == 0 && shadow_stack & 1 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this process runs with CET shadow stacks, which fibers cannot switch: \
             start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
        ));
    }
    async_preempt::learn_state_size();
    Ok(())
}

/// A bare system call: the kernel's answer, negative error numbers and all.
///
/// # Safety
///
/// The arguments are what the system call asks for.
#[inline]
pub(crate) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the kernel keeps every register but RAX, RCX and R11; the rest is the caller's debt.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// The loaded identity.
#[inline]
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the ABI puts the thread control block's own address at its start.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}

/// Runs `f(argument)` under another identity and comes back to the one loaded now.
///
/// # Safety
///
/// - `pointer` is the thread pointer of a live thread, and nobody else runs under it now.
/// - The caller cannot be preempted by us meanwhile.
#[inline(never)]
pub(crate) unsafe fn with_thread_pointer(
    pointer: usize,
    f: extern "C" fn(*mut ()),
    argument: *mut (),
) {
    let own = thread_pointer();
    // SAFETY: the caller vouches for `pointer`; `own` is what was loaded. The call goes through a pointer the
    // compiler cannot see into, so no address of a thread-local is carried across it.
    unsafe {
        load_thread_pointer(pointer);
        std::hint::black_box(f)(argument);
        load_thread_pointer(own);
    }
}

/// Loads an identity.
///
/// # Safety
///
/// As for [`with_thread_pointer`]; and the caller uses no thread-local across it.
#[unsafe(naked)]
unsafe extern "sysv64" fn load_thread_pointer(pointer: usize) {
    naked_asm!(
        ".cfi_startproc",
        // In: rdi = pointer. Out: nothing.
        "test byte ptr [rip + {fsgsbase}], 1",
        "jz 2f",
        "wrfsbase rdi",
        "ret",
        "2:",
        "mov rsi, rdi",
        "mov edi, {set_fs}",
        "mov eax, {arch_prctl}",
        "syscall",
        "ret",
        ".cfi_endproc",
        fsgsbase = sym FSGSBASE,
        set_fs = const ARCH_SET_FS,
        arch_prctl = const SYS_ARCH_PRCTL,
    )
}

/// What a fresh stack computes with: exceptions masked, round to nearest, double extended precision.
#[repr(C)]
struct ControlWords {
    mxcsr: u32,
    x87: u32,
}

/// The psABI's initial control words.
static INITIAL: ControlWords = ControlWords {
    mxcsr: 0x1f80,
    x87: 0x037f,
};

/// The words that [`resume`] pops, lowest address first; [`mcall`] pushes them.
#[repr(C)]
struct CallFrame {
    control: ControlWords,
    r15: usize,
    r14: usize,
    r13: usize,
    r12: usize,
    rbx: usize,
    rbp: usize,
    return_address: usize,
}
const _: () = assert!(std::mem::offset_of!(CallFrame, return_address) == 7 * 8);
const _: () = assert!(std::mem::offset_of!(Saved, base) == 8);

/// Suspends the caller into `save` and goes on with `f(argument)` on the stack `onto`, under the identity
/// `pointer`. Returns when somebody [`resume`]s `save`.
///
/// # Safety
///
/// - `save` is valid for writes, and for reads until it is resumed.
/// - `onto` is the upper end, 16-aligned, of writable memory that nobody uses above what `f` finds there.
/// - `pointer` is the identity that goes with `onto`, and nobody else runs under it.
/// - The caller's fiber is in a critical section and stays so until it has been resumed.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn mcall(
    save: *mut Saved,                           /* rdi */
    onto: usize,                                /* rsi */
    pointer: usize,                             /* rdx */
    f: unsafe extern "sysv64" fn(*mut ()) -> !, /* rcx */
    argument: *mut (),                          /* r8 */
) {
    naked_asm!(
        ".cfi_startproc",
        // In:  rdi = save, rsi = onto, rdx = pointer, rcx = f, r8 = argument.
        // Out: nothing, when resumed.
        //
        // Not saved: caller-saved registers, vector registers and arithmetic flags, all of which a call may
        // destroy; the x87 stack, which the ABI wants empty at a call.
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "test byte ptr [rip + {fsgsbase}], 1",
        "jz 2f",
        "rdgsbase rax",
        "mov [rdi + 8], rax",
        // Stack and identity change hands here. A signal between the two finds the fiber critical.
        "mov rsp, rsi",
        // From here on there is no caller to unwind to.
        ".cfi_remember_state",
        ".cfi_def_cfa rsp, 8",
        ".cfi_undefined rip",
        "wrfsbase rdx",
        "3:",
        // A task that rounds towards zero must not make the scheduler, or its neighbour, do so.
        "ldmxcsr [rip + {initial}]",
        "fldcw [rip + {initial} + 4]",
        "mov rdi, r8",
        "xor ebp, ebp",
        "call rcx",
        "ud2",
        ".cfi_restore_state",
        // The same without FSGSBASE. A system call destroys rax, rcx and r11.
        "2:",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov r13, rdx",
        "mov r14, rcx",
        "mov edi, {get_gs}",
        "lea rsi, [rbx + 8]",
        "mov eax, {arch_prctl}",
        "syscall",
        "mov rsp, r12",
        ".cfi_def_cfa rsp, 8",
        ".cfi_undefined rip",
        "mov edi, {set_fs}",
        "mov rsi, r13",
        "mov eax, {arch_prctl}",
        "syscall",
        "mov rcx, r14",
        "jmp 3b",
        ".cfi_endproc",
        fsgsbase = sym FSGSBASE,
        initial = sym INITIAL,
        get_gs = const ARCH_GET_GS,
        set_fs = const ARCH_SET_FS,
        arch_prctl = const SYS_ARCH_PRCTL,
    )
}

/// Leaves the current stack for good and goes on where `load` was suspended, under the identity `pointer`.
///
/// # Safety
///
/// - `load` was written by [`mcall`] and has not been resumed since.
/// - `pointer` is the identity that goes with it, and nobody else runs under it, but for a lender that
///   waits in the kernel.
/// - Nothing on the current stack is needed any more.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn resume(
    load: *const Saved, /* rdi */
    pointer: usize,     /* rsi */
) -> ! {
    naked_asm!(
        ".cfi_startproc",
        // In: rdi = load, rsi = pointer. Does not return to its caller.
        "test byte ptr [rip + {fsgsbase}], 1",
        "jz 2f",
        "mov rax, [rdi + 8]",
        ".cfi_remember_state",
        "mov rsp, [rdi]",
        ".cfi_def_cfa rsp, 64",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "wrgsbase rax",
        "wrfsbase rsi",
        "3:",
        // Mirror image of `mcall`; keep in step with `CallFrame`.
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_restore_state",
        "2:",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov rsi, [rbx + 8]",
        "mov edi, {set_gs}",
        "mov eax, {arch_prctl}",
        "syscall",
        "mov rsp, [rbx]",
        ".cfi_def_cfa rsp, 64",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "mov rsi, r12",
        "mov edi, {set_fs}",
        "mov eax, {arch_prctl}",
        "syscall",
        "jmp 3b",
        ".cfi_endproc",
        fsgsbase = sym FSGSBASE,
        set_gs = const ARCH_SET_GS,
        set_fs = const ARCH_SET_FS,
        arch_prctl = const SYS_ARCH_PRCTL,
    )
}

/// Sets the `handler` that [`signal_entry`] goes on with.
pub(crate) fn install_handler(
    handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
) {
    HANDLER.store(handler as usize, Ordering::Relaxed);
}

/// What [`signal_entry`] goes on with; set once by [`install_handler`].
static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Where the kernel begins a signal handler. It clears DF, but leaves the interrupted code's AC, with which
/// `memcpy` faults. The other flags stay: the kernel takes NT and ID back from here, not from the frame.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn signal_entry() {
    naked_asm!(
        ".cfi_startproc",
        // In: rdi, rsi, rdx = the handler's arguments, passed on.
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "and dword ptr [rsp], {no_ac}",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "jmp qword ptr [rip + {handler}]",
        ".cfi_endproc",
        handler = sym HANDLER,
        no_ac = const !(1 << 18),
    )
}

/// The address at which a signal handler returns to the kernel (`sa_restorer`).
pub(crate) fn signal_return() -> usize {
    // Past the leading `nop`, see below.
    rt_sigreturn as *const () as usize + 1
}

/// The kernel jumps here when a handler returns.
#[unsafe(naked)]
unsafe extern "sysv64" fn rt_sigreturn() {
    naked_asm!(
        // Unwinders look up the address before the one they return to; that one must not belong to
        // somebody else's function. The bytes after it are what gdb and libgcc know a signal frame by.
        "nop",
        "mov rax, {number}",
        "syscall",
        number = const libc::SYS_rt_sigreturn,
    )
}
