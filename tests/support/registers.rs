//! Probes: each fills a part of the processor's state with a pattern, spins, and says what is left of it.
//!
//! A probe spins in assembly, with the whole state that it looks at live. So nearly all signals find it there,
//! and whatever a preemption does not put back shows. That a probe notices a single wrong bit is a test of its own
//! (`FLIP` of [`general`], and comparing what the others return).

use std::arch::{asm, naked_asm};
use std::mem::MaybeUninit;

/// How many registers and red zone words [`general`] watches.
pub(crate) const GENERAL: usize = 15 + 13;

/// All general registers but RSP, and 128 bytes below RSP: filled with rotations of `seed`, compared after
/// `spins` rounds. 0 if all of them are intact, else the differing bits, those of all words together.
///
/// `FLIP` names one of the [`GENERAL`] words, in which one bit is flipped on purpose before the comparison.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn general<const FLIP: usize>(
    seed: u64,  /* rdi */
    spins: u64, /* rsi */
) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // The red zone: seed, count, copies. A leaf function never moves RSP.
        "mov [rsp - 8], rdi",
        "mov [rsp - 16], rsi",
        ".irp slot, 3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov rax, rdi",
        "rol rax, \\slot + 20",
        "mov [rsp - 8 * \\slot], rax",
        ".endr",
        "mov dword ptr [rsp - 128], 0x5a5a5a5a",
        "mov dword ptr [rsp - 124], 0x5a5a5a5a",
        ".irp name, rax,rbx,rcx,rdx,rsi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
        "mov \\name, rdi",
        ".endr",
        "rol rax, 1",
        "rol rbx, 2",
        "rol rcx, 3",
        "rol rdx, 4",
        "rol rsi, 5",
        "rol rbp, 6",
        "rol rdi, 7",
        "rol r8, 8",
        "rol r9, 9",
        "rol r10, 10",
        "rol r11, 11",
        "rol r12, 12",
        "rol r13, 13",
        "rol r14, 14",
        "rol r15, 15",
        "2:",
        "dec qword ptr [rsp - 16]",
        "jnz 2b",
        // On purpose, in the self-test.
        "xor rax, {f0}",
        "xor rbx, {f1}",
        "xor rcx, {f2}",
        "xor rdx, {f3}",
        "xor rsi, {f4}",
        "xor rbp, {f5}",
        "xor rdi, {f6}",
        "xor r8, {f7}",
        "xor r9, {f8}",
        "xor r10, {f9}",
        "xor r11, {f10}",
        "xor r12, {f11}",
        "xor r13, {f12}",
        "xor r14, {f13}",
        "xor r15, {f14}",
        ".irp slot, 3,4,5,6,7,8,9,10,11,12,13,14,15",
        ".if {flip} == 12 + \\slot",
        "xor byte ptr [rsp - 8 * \\slot], 1",
        ".endif",
        ".endr",
        // Compare; RAX collects.
        "ror rax, 1",
        "xor rax, [rsp - 8]",
        "ror rbx, 2",
        "ror rcx, 3",
        "ror rdx, 4",
        "ror rsi, 5",
        "ror rbp, 6",
        "ror rdi, 7",
        "ror r8, 8",
        "ror r9, 9",
        "ror r10, 10",
        "ror r11, 11",
        "ror r12, 12",
        "ror r13, 13",
        "ror r14, 14",
        "ror r15, 15",
        ".irp name, rbx,rcx,rdx,rsi,rbp,rdi,r8,r9,r10,r11,r12,r13,r14,r15",
        "xor \\name, [rsp - 8]",
        "or rax, \\name",
        ".endr",
        ".irp slot, 3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov rcx, [rsp - 8 * \\slot]",
        "ror rcx, \\slot + 20",
        "xor rcx, [rsp - 8]",
        "or rax, rcx",
        ".endr",
        "mov rcx, [rsp - 128]",
        "mov rdx, 0x5a5a5a5a5a5a5a5a",
        "xor rcx, rdx",
        "or rax, rcx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        f0 = const (FLIP == 0) as i32,
        f1 = const (FLIP == 1) as i32,
        f2 = const (FLIP == 2) as i32,
        f3 = const (FLIP == 3) as i32,
        f4 = const (FLIP == 4) as i32,
        f5 = const (FLIP == 5) as i32,
        f6 = const (FLIP == 6) as i32,
        f7 = const (FLIP == 7) as i32,
        f8 = const (FLIP == 8) as i32,
        f9 = const (FLIP == 9) as i32,
        f10 = const (FLIP == 10) as i32,
        f11 = const (FLIP == 11) as i32,
        f12 = const (FLIP == 12) as i32,
        f13 = const (FLIP == 13) as i32,
        f14 = const (FLIP == 14) as i32,
        flip = const FLIP,
    )
}

/// The flags that user code may set: CF, PF, AF, ZF, SF, DF, OF, NT, AC, ID.
pub(crate) const USER_FLAGS: u64 = 0x24_4cd5;

/// Loads `flags`, spins without touching them, and answers what they are then.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn flags(flags: u64 /* rdi */, spins: u64 /* rsi */) -> u64 {
    naked_asm!(
        "mov rcx, rsi",
        "push rdi",
        "popfq",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        "pushfq",
        "pop rax",
        // What a caller may rely on.
        "push 0x202",
        "popfq",
        "and rax, {mask}",
        "ret",
        mask = const USER_FLAGS,
    )
}

/// `sum = a + b`, numbers of many words: the carry lives in the flags from one word to the next. Answers the last.
pub(crate) fn long_addition(a: &[u64], b: &[u64], sum: &mut [u64]) -> bool {
    assert!(a.len() == b.len() && a.len() == sum.len() && !a.is_empty());
    let carry: u8;
    // SAFETY: reads and writes as many words as all three have.
    unsafe {
        asm!(
            "clc",
            "2:",
            "mov {word}, [{a} + 8 * {i}]",
            "adc {word}, [{b} + 8 * {i}]",
            "mov [{sum} + 8 * {i}], {word}",
            "lea {i}, [{i} + 1]",
            // Keeps the carry.
            "dec {count}",
            "jnz 2b",
            "setc {carry}",
            word = out(reg) _,
            a = in(reg) a.as_ptr(),
            b = in(reg) b.as_ptr(),
            sum = in(reg) sum.as_mut_ptr(),
            i = inout(reg) 0_usize => _,
            count = inout(reg) a.len() => _,
            carry = out(reg_byte) carry,
            options(nostack),
        );
    }
    carry != 0
}

/// A full x87 stack: eight 80-bit numbers, each in 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct X87 {
    /// The numbers; the upper six bytes of each are 0.
    pub(crate) values: [[u8; 16]; 8],
    /// Precision and rounding.
    pub(crate) control: u16,
    /// Top of stack, condition bits, exceptions.
    pub(crate) status: u16,
}

/// Loads the eight numbers of `input` under its control word, spins, stores all into `output`.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn x87(
    input: &X87,      /* rdi */
    output: &mut X87, /* rsi */
    spins: u64,       /* rdx */
) {
    naked_asm!(
        "fnstcw [rsp - 8]",
        "fninit",
        "fldcw [rdi + 128]",
        ".irp slot, 7,6,5,4,3,2,1,0",
        "fld tbyte ptr [rdi + 16 * \\slot]",
        ".endr",
        "2:",
        "dec rdx",
        "jnz 2b",
        "fnstcw [rsi + 128]",
        "fnstsw [rsi + 130]",
        ".irp slot, 0,1,2,3,4,5,6,7",
        "fstp tbyte ptr [rsi + 16 * \\slot]",
        ".endr",
        "fninit",
        "fldcw [rsp - 8]",
        "ret",
    )
}

/// The x87 control and tag words, and MXCSR, as they are: `0x037f`, `0xffff` (all empty) and `0x1f80` in a fresh
/// thread, but for MXCSR's lowest six bits, which remember what was computed.
pub(crate) fn floating_point_state() -> (u16, u16, u32) {
    let mut environment = [0_u32; 7];
    let mut mxcsr = 0_u32;
    // SAFETY: stores 28 and 4 bytes; the environment is loaded again, since storing it masks exceptions.
    unsafe {
        asm!(
            "fnstenv [{environment}]",
            "fldenv [{environment}]",
            "stmxcsr [{mxcsr}]",
            environment = in(reg) &mut environment,
            mxcsr = in(reg) &mut mxcsr,
            options(nostack),
        );
    }
    (environment[0] as u16, environment[2] as u16, mxcsr)
}

/// Loads MXCSR, spins, answers what it is then in the lower half, and in the upper the bits of 1/3 in single
/// precision, computed before the value is put back.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn mxcsr(value: u32 /* edi */, spins: u64 /* rsi */) -> u64 {
    naked_asm!(
        "stmxcsr [rsp - 8]",
        "mov [rsp - 16], edi",
        "ldmxcsr [rsp - 16]",
        "2:",
        "dec rsi",
        "jnz 2b",
        "stmxcsr [rsp - 24]",
        "mov eax, 1",
        "cvtsi2ss xmm0, eax",
        "mov eax, 3",
        "cvtsi2ss xmm1, eax",
        "divss xmm0, xmm1",
        "movd ecx, xmm0",
        "ldmxcsr [rsp - 8]",
        "mov eax, [rsp - 24]",
        "shl rcx, 32",
        "or rax, rcx",
        "ret",
    )
}

/// What the vector probes load and store.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vectors {
    /// ZMM0-31; the narrower probes use the lower part of the first sixteen.
    pub(crate) vectors: [[u8; 64]; 32],
    /// k0-k7.
    pub(crate) masks: [u64; 8],
}

impl Vectors {
    /// Nothing.
    pub(crate) fn zeroed() -> Vectors {
        // SAFETY: integers only.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }
}

/// Loads `input`, spins, stores into `output`.
pub(crate) type VectorProbe = extern "sysv64" fn(&Vectors, &mut Vectors, u64);

/// XMM0-15.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn xmm(input: &Vectors, output: &mut Vectors, spins: u64) {
    naked_asm!(
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movups xmm\\i, [rdi + 64 * \\i]",
        ".endr",
        "2:",
        "dec rdx",
        "jnz 2b",
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movups [rsi + 64 * \\i], xmm\\i",
        ".endr",
        "ret",
    )
}

/// YMM0-15. AVX only.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn ymm(input: &Vectors, output: &mut Vectors, spins: u64) {
    naked_asm!(
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "vmovups ymm\\i, [rdi + 64 * \\i]",
        ".endr",
        "2:",
        "dec rdx",
        "jnz 2b",
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "vmovups [rsi + 64 * \\i], ymm\\i",
        ".endr",
        "vzeroupper",
        "ret",
    )
}

/// ZMM0-31 and k0-k7. AVX-512 F and BW only.
#[unsafe(naked)]
pub(crate) extern "sysv64" fn zmm(input: &Vectors, output: &mut Vectors, spins: u64) {
    naked_asm!(
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmovups zmm\\i, [rdi + 64 * \\i]",
        ".endr",
        ".irp i, 0,1,2,3,4,5,6,7",
        "kmovq k\\i, [rdi + 2048 + 8 * \\i]",
        ".endr",
        "2:",
        "dec rdx",
        "jnz 2b",
        ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmovups [rsi + 64 * \\i], zmm\\i",
        "vpxord zmm\\i, zmm\\i, zmm\\i",
        ".endr",
        ".irp i, 0,1,2,3,4,5,6,7",
        "kmovq [rsi + 2048 + 8 * \\i], k\\i",
        ".endr",
        "vzeroupper",
        "ret",
    )
}

/// Sets the GS base to `words`, whose first word holds its own address, spins reading it, puts the old base back.
/// Answers how many reads found something else. Without FSGSBASE it does nothing.
pub(crate) fn gs_base(words: &[u64; 2], spins: u64) -> u64 {
    const FSGSBASE: libc::c_ulong = 1 << 1;
    // SAFETY: reads what the kernel passed.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE == 0 {
        return 0;
    }
    assert_eq!(words[0], words.as_ptr() as u64);
    let mut wrong = 0_u64;
    // SAFETY: FSGSBASE is there; Rust and libc do not use GS, and the old base comes back.
    unsafe {
        asm!(
            "rdgsbase {old}",
            "wrgsbase {base}",
            "2:",
            "cmp gs:[0], {base}",
            "je 3f",
            "inc {wrong}",
            "3:",
            "dec {spins}",
            "jnz 2b",
            "rdgsbase {read}",
            "cmp {read}, {base}",
            "je 4f",
            "inc {wrong}",
            "4:",
            "wrgsbase {old}",
            old = out(reg) _,
            read = out(reg) _,
            base = in(reg) words.as_ptr(),
            wrong = inout(reg) wrong,
            spins = inout(reg) spins => _,
            options(nostack),
        );
    }
    wrong
}
