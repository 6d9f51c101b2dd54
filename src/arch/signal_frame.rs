//! The machine state that a signal interrupted, as questions and one verb.

use super::Gate;
use crate::sys::SignalStack;

/// The `ucontext_t` that the kernel left on the signal stack.
#[derive(Debug)]
pub(crate) struct SignalFrame<'a>(&'a mut libc::ucontext_t);

/// What the interrupted program counter says about system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Syscall {
    /// A blocking call was interrupted, and is made again when the handler returns: signals do not show.
    Restarts,
    /// A blocking call was interrupted, and has returned EINTR.
    Returned,
    /// No call, or one that had returned before the signal came.
    None,
}

const EFLAGS_CLEAN: i64 = 0x202;
const INTERRUPTED: i64 = -(libc::EINTR as i64);
const SYSCALL: [u8; 2] = [0x0f, 0x05];

impl<'a> SignalFrame<'a> {
    /// # Safety
    ///
    /// `context` is the third argument of a running signal handler (SA_SIGINFO).
    pub(crate) unsafe fn new(context: *mut libc::c_void) -> SignalFrame<'a> {
        // SAFETY: the caller's debt; the kernel gives every handler a context of its own.
        SignalFrame(unsafe { &mut *context.cast::<libc::ucontext_t>() })
    }

    fn register(&self, index: libc::c_int) -> i64 {
        self.0.uc_mcontext.gregs[index as usize]
    }

    /// The interrupted program counter.
    pub(crate) fn pc(&self) -> usize {
        self.register(libc::REG_RIP) as usize
    }

    /// The interrupted stack pointer.
    pub(crate) fn sp(&self) -> usize {
        self.register(libc::REG_RSP) as usize
    }

    /// The signal mask that the interrupted code ran with.
    pub(crate) fn mask(&self) -> u64 {
        // SAFETY: glibc's set is larger than the kernel's, whose 64 bits come first.
        unsafe { (&raw const self.0.uc_sigmask).cast::<u64>().read() }
    }

    /// The lowest address of the signal stack that is installed: where the handler itself may run out of stack.
    pub(crate) fn signal_stack_low(&self) -> usize {
        self.0.uc_stack.ss_sp as usize
    }

    /// Did the interrupted code run on a signal stack, that is, in another handler?
    pub(crate) fn on_signal_stack(&self) -> bool {
        let SignalStack {
            ss_sp,
            ss_flags,
            ss_size,
        } = self.0.uc_stack;
        let sp = self.sp();
        ss_flags & libc::SS_DISABLE == 0
            && sp > ss_sp as usize
            && sp <= (ss_sp as usize).saturating_add(ss_size)
    }

    /// Looks whether the signal interrupted a system call.
    ///
    /// The processor leaves the address after a `syscall` instruction in RCX, and the kernel keeps it there.
    /// Memory is read only where that fits, so in practice only behind real system calls; code that computes
    /// the same value by chance is still told apart by the instruction's bytes.
    pub(crate) fn syscall(&self) -> Syscall {
        let pc = self.pc();
        let after = self.register(libc::REG_RCX) as usize;
        // Restart pending: the kernel has moved the program counter back onto the instruction.
        let restart = after == pc.wrapping_add(2);
        let returned = after == pc && self.register(libc::REG_RAX) == INTERRUPTED;
        if !restart && !returned {
            return Syscall::None;
        }
        let instruction = if restart { pc } else { pc.wrapping_sub(2) };
        // The two bytes before a program counter at a page's start need not be mapped. (Those *at* it are:
        // 0x0f opens no instruction of one byte.)
        if returned && pc % crate::sys::PAGE < 2 {
            return Syscall::None;
        }
        let bytes = instruction as *const u8;
        // SAFETY: the first byte shares a page with the program counter, or is at it; the second is read
        // only where the first says that the instruction has one.
        let found = unsafe { bytes.read() == SYSCALL[0] && bytes.add(1).read() == SYSCALL[1] };
        match (found, restart) {
            (true, true) => Syscall::Restarts,
            (true, false) => Syscall::Returned,
            (false, _) => Syscall::None,
        }
    }

    /// Makes the interrupted code continue in [`super::async_preempt`] when the handler returns.
    ///
    /// # Safety
    ///
    /// - `area` is the upper end of the fiber's preempt stack, which nobody uses now.
    /// - `gate` is the same fiber's, and lives until the interrupted code continues.
    /// - The fiber's `critical` is 1 and stays so until `async_preempt` lowers it.
    pub(crate) unsafe fn inject(&mut self, area: usize, gate: *const Gate) {
        let selectors = self.register(libc::REG_CSGSFS) as u64;
        let words = [
            gate as u64,
            self.register(libc::REG_RIP) as u64,
            selectors & 0xffff,
            self.register(libc::REG_EFL) as u64,
            self.register(libc::REG_RSP) as u64,
            // Kernels before 4.7 leave the stack selector's place zero; user code has only one.
            match selectors >> 48 {
                0 => 0x2b,
                selector => selector,
            },
        ];
        let base = (area & !63) - 64;
        // SAFETY: the caller says that the area is ours, and 64 bytes are less than it holds.
        unsafe { (base as *mut [u64; 6]).write(words) };
        let registers = &mut self.0.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = super::async_preempt as *const () as i64;
        registers[libc::REG_RSP as usize] = base as i64;
        // AC, DF and TF clear: the scheduler's code expects that. The interrupted code's own flags were saved
        // above.
        registers[libc::REG_EFL as usize] = EFLAGS_CLEAN;
    }
}
