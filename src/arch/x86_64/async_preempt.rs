//! The injected call: saves every register of whatever was interrupted, runs the scheduler, restores.
//!
//! # How it is entered
//!
//! The signal handler writes six words at the upper end of the fiber's *preempt stack* and makes the
//! interrupted thread continue here with RSP at the first of them ([`super::super::SignalFrame::inject`]):
//!
//! ```text
//!   high │ ss      │ rbp + 48 ┐
//!        │ rsp     │ rbp + 40 │
//!        │ rflags  │ rbp + 32 │ what `iretq` pops
//!        │ cs      │ rbp + 24 │
//!        │ rip     │ rbp + 16 ┘
//!        │ gate    │ rbp + 8    the fiber's `Gate`
//!        ├─────────┤            ◀── RSP on entry
//!        │ rbp     │ rbp + 0
//!        │ rax …   │ rbp - 8    14 general registers
//!        ├─────────┤
//!        │ XSAVE   │            64-aligned, as large as CPUID says
//!        ├─────────┤
//!        │ calls   │            `on_preempt` and below it the frame of `mcall`
//! ```
//!
//! # Why `iretq`
//!
//! Putting back the program counter, the flags and the stack pointer in one instruction leaves no register to
//! find and no arithmetic to do below the interrupted stack pointer. It is allowed in user mode, restores
//! AC and DF as they were, and touches nothing of the interrupted stack.
//!
//! # The last instructions
//!
//! The fiber's `critical` is lowered here, not in Rust: a second injection while any code still runs on the
//! preempt stack would overwrite these very words. From the store on, a signal finds its program counter in
//! this function ([`in_trampoline`]) and leaves; a request that came before the store has poisoned the guard
//! word, which is looked at once more after it.

use super::super::Gate;
use crate::primitives::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::arch::{asm, naked_asm};
use std::mem::offset_of;

/// The function that [`async_preempt`] calls; set once by [`install_on_preempt`].
static ON_PREEMPT: AtomicUsize = AtomicUsize::new(0);
/// Bytes that the state components in use can need, rounded up to 64.
static STATE_SIZE: AtomicUsize = AtomicUsize::new(512 + 64);
/// How the state is saved: one of the constants below.
static STATE_KIND: AtomicU8 = AtomicU8::new(FXSAVE);
/// Bit 0: `vzeroupper` exists. Bit 1: protection keys are on. Bit 2: AMX tiles are on.
static FEATURES: AtomicU8 = AtomicU8::new(0);
/// The PKRU value that code of ours runs with: the kernel's default, key 0 only.
static INITIAL_PKRU: AtomicU32 = AtomicU32::new(0x5555_5554);

const FXSAVE: u8 = 0;
const XSAVE: u8 = 1;
const XSAVEC: u8 = 2;
const HAS_AVX: u8 = 1;
const HAS_PKRU: u8 = 2;
const HAS_AMX: u8 = 4;

/// Asks the processor how large the register state is and how to save it.
pub(super) fn learn_state_size() {
    #[allow(
        unused_unsafe,
        reason = "`__cpuid` became safe in a later release than our oldest"
    )]
    // SAFETY: CPUID exists on every x86-64 processor.
    let leaf1 = unsafe { __cpuid(1) };
    let osxsave = leaf1.ecx & (1 << 27) != 0;
    if !osxsave {
        return;
    }
    #[allow(unused_unsafe, reason = "as above")]
    // SAFETY: as above; leaf 0xD exists wherever XSAVE does.
    let (area, extended, leaf7) = unsafe {
        (
            __cpuid_count(0xd, 0),
            __cpuid_count(0xd, 1),
            __cpuid_count(7, 0),
        )
    };
    let has_xsavec = extended.eax & (1 << 1) != 0;
    // SAFETY: OSXSAVE is set, so `xgetbv` may be used.
    let enabled = unsafe { read_xcr0() };
    let size = (area.ebx.max(if has_xsavec { extended.ebx } else { 0 }) as usize).max(512 + 64);
    STATE_SIZE.store(size.next_multiple_of(64), Ordering::Relaxed);
    STATE_KIND.store(if has_xsavec { XSAVEC } else { XSAVE }, Ordering::Relaxed);
    let mut features = 0;
    if enabled & (1 << 2) != 0 {
        features |= HAS_AVX;
    }
    if leaf7.ecx & (1 << 4) != 0 && enabled & (1 << 9) != 0 {
        features |= HAS_PKRU;
    }
    if enabled & (1 << 18) != 0 {
        features |= HAS_AMX;
    }
    FEATURES.store(features, Ordering::Relaxed);
}

/// XCR0: the state components that the kernel has enabled.
///
/// # Safety
///
/// CPUID reports OSXSAVE.
#[target_feature(enable = "xsave")]
unsafe fn read_xcr0() -> u64 {
    // SAFETY: the caller's debt.
    unsafe { _xgetbv(0) }
}

/// Loads the protection keys that code of ours runs with; returns those that were loaded.
///
/// A suspension by a signal saves them with all the rest; at a synchronous safe-point nobody else does.
pub(crate) fn swap_protection_keys(new: Option<u32>) -> u32 {
    let initial = INITIAL_PKRU.load(Ordering::Relaxed);
    if FEATURES.load(Ordering::Relaxed) & HAS_PKRU == 0 {
        return initial;
    }
    let new = new.unwrap_or(initial);
    let old: u32;
    // SAFETY: the feature is there, so both instructions are allowed in user mode; they want ECX (and EDX) zero.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") old, out("edx") _, options(nostack, preserves_flags));
        if old != new {
            asm!("wrpkru", in("ecx") 0, in("eax") new, in("edx") 0, options(nostack, preserves_flags));
        }
    }
    old
}

/// Sets what [`async_preempt`] runs once the machine state is safe. It runs on the preempt stack, in a
/// critical section, under the fiber's identity.
pub(crate) fn install_on_preempt(f: extern "sysv64" fn()) {
    ON_PREEMPT.store(f as usize, Ordering::Relaxed);
}

/// Is this address an instruction of [`async_preempt`]?
pub(crate) fn in_trampoline(pc: usize) -> bool {
    unsafe extern "C" {
        #[link_name = concat!(
            "preemptive_async_preempt_end_",
            env!("CARGO_PKG_VERSION_MAJOR"), "_",
            env!("CARGO_PKG_VERSION_MINOR"), "_",
            env!("CARGO_PKG_VERSION_PATCH")
        )]
        static END: u8;
    }
    let start = async_preempt as *const () as usize;
    // Only the address of the label counts.
    (start..&raw const END as usize).contains(&pc)
}

/// What the interrupted instruction seems to have called. See the module's head.
///
/// # Safety
///
/// Never called: a signal handler makes a thread continue here, with the six words in place, the fiber's
/// `critical` at 1 and AC, DF and TF clear.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn async_preempt() {
    naked_asm!(
        ".cfi_startproc",
        // This frame interrupted its caller: unwinders must not look one byte before its address.
        ".cfi_signal_frame",
        // CFA = the interrupted rsp = *(rsp + 32). (0x0f: def_cfa_expression, 0x77: breg7, 0x06: deref;
        // 0x10: expression for a register, 0x10: rip.)
        ".cfi_escape 0x0f, 0x03, 0x77, 0x20, 0x06",
        ".cfi_escape 0x10, 0x10, 0x02, 0x77, 0x08",
        "push rbp",
        ".cfi_escape 0x0f, 0x03, 0x77, 0x28, 0x06",
        ".cfi_escape 0x10, 0x10, 0x02, 0x77, 0x10",
        ".cfi_escape 0x10, 0x06, 0x02, 0x77, 0x00",
        "mov rbp, rsp",
        // The same, now relative to rbp (0x76: breg6), which nothing below changes.
        ".cfi_escape 0x0f, 0x03, 0x76, 0x28, 0x06",
        ".cfi_escape 0x10, 0x10, 0x02, 0x76, 0x10",
        ".cfi_escape 0x10, 0x06, 0x02, 0x76, 0x00",
        // NT, under which `iretq` faults: the kernel's return from the handler leaves it (and ID) as it was.
        "push 2",
        "popfq",
        "push rax",
        ".cfi_escape 0x10, 0x00, 0x02, 0x76, 0x78",
        "push rbx",
        ".cfi_escape 0x10, 0x03, 0x02, 0x76, 0x70",
        "push rcx",
        ".cfi_escape 0x10, 0x02, 0x02, 0x76, 0x68",
        "push rdx",
        ".cfi_escape 0x10, 0x01, 0x02, 0x76, 0x60",
        "push rsi",
        ".cfi_escape 0x10, 0x04, 0x02, 0x76, 0x58",
        "push rdi",
        ".cfi_escape 0x10, 0x05, 0x02, 0x76, 0x50",
        "push r8",
        ".cfi_escape 0x10, 0x08, 0x02, 0x76, 0x48",
        "push r9",
        ".cfi_escape 0x10, 0x09, 0x02, 0x76, 0x40",
        // From here on the offsets need two bytes (signed LEB128).
        "push r10",
        ".cfi_escape 0x10, 0x0a, 0x03, 0x76, 0xb8, 0x7f",
        "push r11",
        ".cfi_escape 0x10, 0x0b, 0x03, 0x76, 0xb0, 0x7f",
        "push r12",
        ".cfi_escape 0x10, 0x0c, 0x03, 0x76, 0xa8, 0x7f",
        "push r13",
        ".cfi_escape 0x10, 0x0d, 0x03, 0x76, 0xa0, 0x7f",
        "push r14",
        ".cfi_escape 0x10, 0x0e, 0x03, 0x76, 0x98, 0x7f",
        "push r15",
        ".cfi_escape 0x10, 0x0f, 0x03, 0x76, 0x90, 0x7f",
        // x87, SSE, AVX, AVX-512, AMX, PKRU: whatever is in use. The header must be zero where the
        // processor does not write it, or restoring faults.
        "sub rsp, [rip + {state_size}]",
        "and rsp, -64",
        "xor eax, eax",
        "mov [rsp + 512], rax",
        "mov [rsp + 520], rax",
        "mov [rsp + 528], rax",
        "mov [rsp + 536], rax",
        "mov [rsp + 544], rax",
        "mov [rsp + 552], rax",
        "mov [rsp + 560], rax",
        "mov [rsp + 568], rax",
        "mov eax, -1",
        "mov edx, -1",
        "cmp byte ptr [rip + {state_kind}], {xsave}",
        "jb 20f",
        "je 21f",
        "xsavec64 [rsp]",
        "jmp 22f",
        "20:",
        "fxsave64 [rsp]",
        "jmp 22f",
        "21:",
        "xsave64 [rsp]",
        "22:",
        // The initial state, before any other code runs: a neighbour must not inherit a full x87 stack, a
        // rounding mode, live upper halves or a protection key. AC and DF the handler has cleared.
        "fninit",
        "mov dword ptr [rbp - 120], 0x1f80",
        "ldmxcsr [rbp - 120]",
        "test byte ptr [rip + {features}], {has_avx}",
        "jz 23f",
        "vzeroupper",
        "23:",
        "test byte ptr [rip + {features}], {has_amx}",
        "jz 24f",
        // Tiles in use (bit 18 of the saved header): released, they were saved above.
        "test byte ptr [rsp + 514], 4",
        "jz 24f",
        "tilerelease",
        "24:",
        "test byte ptr [rip + {features}], {has_pkru}",
        "jz 25f",
        "xor ecx, ecx",
        "rdpkru",
        "cmp eax, [rip + {pkru}]",
        "je 25f",
        "mov eax, [rip + {pkru}]",
        "xor edx, edx",
        "wrpkru",
        "25:",
        "call qword ptr [rip + {on_preempt}]",
        // Leave the critical section; then look once more whether somebody asked before that.
        "mov rax, [rbp + 8]",
        "mov dword ptr [rax + {critical}], 0",
        "mov rdx, [rax + {guard}]",
        "mov rcx, {poison}",
        "cmp [rdx], rcx",
        "jne 26f",
        "mov dword ptr [rax + {critical}], 1",
        "jmp 25b",
        "26:",
        "mov eax, -1",
        "mov edx, -1",
        "cmp byte ptr [rip + {state_kind}], {xsave}",
        "jb 27f",
        "xrstor64 [rsp]",
        "jmp 28f",
        "27:",
        "fxrstor64 [rsp]",
        "28:",
        // Mirror image of the pushes.
        "lea rsp, [rbp - 112]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "pop rbp",
        // All registers have their old values; where they were saved lies below the stack pointer now.
        ".cfi_same_value rax",
        ".cfi_same_value rbx",
        ".cfi_same_value rcx",
        ".cfi_same_value rdx",
        ".cfi_same_value rsi",
        ".cfi_same_value rdi",
        ".cfi_same_value rbp",
        ".cfi_same_value r8",
        ".cfi_same_value r9",
        ".cfi_same_value r10",
        ".cfi_same_value r11",
        ".cfi_same_value r12",
        ".cfi_same_value r13",
        ".cfi_same_value r14",
        ".cfi_same_value r15",
        ".cfi_escape 0x0f, 0x03, 0x77, 0x20, 0x06",
        ".cfi_escape 0x10, 0x10, 0x02, 0x77, 0x08",
        // The gate's word, then what the processor pops.
        "lea rsp, [rsp + 8]",
        ".cfi_escape 0x0f, 0x03, 0x77, 0x18, 0x06",
        ".cfi_escape 0x10, 0x10, 0x02, 0x77, 0x00",
        "iretq",
        ".cfi_endproc",
        concat!(
            ".globl preemptive_async_preempt_end_",
            env!("CARGO_PKG_VERSION_MAJOR"), "_",
            env!("CARGO_PKG_VERSION_MINOR"), "_",
            env!("CARGO_PKG_VERSION_PATCH")
        ),
        concat!(
            "preemptive_async_preempt_end_",
            env!("CARGO_PKG_VERSION_MAJOR"), "_",
            env!("CARGO_PKG_VERSION_MINOR"), "_",
            env!("CARGO_PKG_VERSION_PATCH"), ":"
        ),
        state_size = sym STATE_SIZE,
        state_kind = sym STATE_KIND,
        features = sym FEATURES,
        pkru = sym INITIAL_PKRU,
        on_preempt = sym ON_PREEMPT,
        xsave = const XSAVE,
        has_avx = const HAS_AVX,
        has_pkru = const HAS_PKRU,
        has_amx = const HAS_AMX,
        critical = const offset_of!(Gate, critical),
        guard = const offset_of!(Gate, guard),
        poison = const super::super::POISON,
    )
}
