//! The thin skin over the kernel: bare system calls that touch no thread-local storage.
//!
//! libc's wrappers write `errno`, which belongs to whatever identity is loaded. The scheduler and the signal
//! handler run under other people's identities, so they call the kernel directly: every function here returns
//! the kernel's answer, and none of them allocates, locks or touches `errno`.

use crate::arch::syscall;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

/// An error number as the kernel returns it (positive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// The same, with the kernel's text, under a sentence that names the cure.
    pub(crate) fn with(self, context: impl std::fmt::Display) -> io::Error {
        let cause = io::Error::from_raw_os_error(self.0);
        io::Error::new(cause.kind(), format!("{context}: {cause}"))
    }
}

fn check(answer: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&answer) {
        Err(Errno(-answer as i32))
    } else {
        Ok(answer as usize)
    }
}

fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the callers below are the only ones, and each passes what its system call asks for.
    check(unsafe { syscall(number as usize, arguments) })
}

/// Writes to standard error, once, whatever becomes of it.
pub(crate) fn write_stderr(bytes: &[u8]) {
    let _ = call(
        libc::SYS_write,
        [2, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
    );
}

/// Ends the process by SIGABRT.
pub(crate) fn abort() -> ! {
    // SAFETY: `abort` is async-signal-safe and does not return.
    unsafe { libc::abort() }
}

/// The kernel's id of the calling thread (not the loaded identity's).
pub(crate) fn gettid() -> i32 {
    call(libc::SYS_gettid, [0; 6]).unwrap_or(0) as i32
}

/// The process id, once it has been asked for; 0 before and in a forked child.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// The process id. Asked of the kernel once: it is needed at every signal that carries a value.
pub(crate) fn getpid() -> i32 {
    let known = PROCESS.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let process = call(libc::SYS_getpid, [0; 6]).unwrap_or(0) as i32;
    PROCESS.store(process, Ordering::Relaxed);
    process
}

/// A forked child is another process.
pub(crate) fn forget_pid() {
    PROCESS.store(0, Ordering::Relaxed);
}

/// Nanoseconds of CLOCK_MONOTONIC. The vDSO answers: no system call, no thread-local storage.
#[inline]
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writes; CLOCK_MONOTONIC always exists, so errno stays untouched.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How long a thread of this process has run on a core, in nanoseconds; 0 if there is no such thread.
pub(crate) fn running_time(thread: i32) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // The kernel's number for the scheduler's clock (2) of one thread (4).
    let clock = (!thread << 3) | 6;
    let read = call(
        libc::SYS_clock_gettime,
        [clock as usize, &raw mut time as usize, 0, 0, 0, 0],
    );
    match read {
        Ok(_) => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        Err(_) => 0,
    }
}

fn timespec(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    }
}

/// Sleeps while `*word == expected`, at most until `deadline` ([`now`]'s clock). Wakes spuriously, too.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) {
    let until = deadline.map(timespec);
    let _ = call(
        libc::SYS_futex,
        [
            word.as_ptr() as usize,
            // The BITSET form takes an absolute CLOCK_MONOTONIC deadline.
            (libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG) as usize,
            expected as usize,
            until.as_ref().map_or(0, |time| time as *const _ as usize),
            0,
            u32::MAX as usize,
        ],
    );
}

/// Wakes at most `count` sleepers of [`futex_wait`] on this word.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    futex_wake_at(word, count);
}

/// The same for a word that may be gone by now: the kernel looks at the address only. Who sleeps on another word that
/// has come to lie there wakes spuriously.
pub(crate) fn futex_wake_at(word: *const AtomicU32, count: u32) {
    let _ = call(
        libc::SYS_futex,
        [
            word as usize,
            (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize,
            count as usize,
            0,
            0,
            0,
        ],
    );
}

/// What `rt_sigaction` takes: the kernel's layout, not libc's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelSigaction {
    pub(crate) handler: usize,
    pub(crate) flags: u64,
    pub(crate) restorer: usize,
    pub(crate) mask: u64,
}

/// Reads, and with `new` replaces, the handler of `signal` (R12: never through libc).
///
/// # Safety
///
/// `new.handler`, where it is a function, must be able to run at any instruction of any thread.
pub(crate) unsafe fn rt_sigaction(
    signal: i32,
    new: Option<&KernelSigaction>,
) -> Result<KernelSigaction, Errno> {
    let mut old = KernelSigaction {
        handler: 0,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    call(
        libc::SYS_rt_sigaction,
        [
            signal as usize,
            new.map_or(0, |action| action as *const _ as usize),
            &mut old as *mut _ as usize,
            8,
            0,
            0,
        ],
    )?;
    Ok(old)
}

/// Replaces the calling kernel thread's signal mask where `new` is given; returns the old one.
pub(crate) fn sigmask(new: Option<u64>) -> u64 {
    let mut old = 0_u64;
    let _ = call(
        libc::SYS_rt_sigprocmask,
        [
            libc::SIG_SETMASK as usize,
            new.as_ref().map_or(0, |mask| mask as *const u64 as usize),
            &mut old as *mut u64 as usize,
            8,
            0,
            0,
        ],
    );
    old
}

/// A signal stack as the kernel describes it.
pub(crate) type SignalStack = libc::stack_t;

/// Installs `new` as the kernel thread's signal stack and returns what was there.
pub(crate) fn sigaltstack(new: &SignalStack) -> Result<SignalStack, Errno> {
    let mut old = SignalStack {
        ss_sp: std::ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    call(
        libc::SYS_sigaltstack,
        [
            new as *const _ as usize,
            &mut old as *mut _ as usize,
            0,
            0,
            0,
            0,
        ],
    )?;
    Ok(old)
}

/// Does the caller run on the kernel thread's signal stack?
pub(crate) fn is_on_signal_stack() -> bool {
    let mut now = SignalStack {
        ss_sp: std::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    let asked = call(
        libc::SYS_sigaltstack,
        [0, &mut now as *mut _ as usize, 0, 0, 0, 0],
    );
    asked.is_ok() && now.ss_flags & libc::SS_ONSTACK != 0
}

/// Sends `signal` to one thread of this process with `value` in its `si_value`.
pub(crate) fn tgsigqueue(thread: i32, signal: i32, value: usize) -> Result<(), Errno> {
    // The kernel's siginfo: number, error, code, padding, then for SI_QUEUE pid, uid, value.
    #[repr(C)]
    struct Info {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        pid: i32,
        uid: u32,
        value: usize,
        rest: [u64; 12],
    }
    const _: () = assert!(size_of::<Info>() == 128);
    let process = getpid();
    let info = Info {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: process,
        uid: 0,
        value,
        rest: [0; 12],
    };
    call(
        libc::SYS_rt_tgsigqueueinfo,
        [
            process as usize,
            thread as usize,
            signal as usize,
            &info as *const _ as usize,
            0,
            0,
        ],
    )
    .map(drop)
}

/// Sends the calling kernel thread a signal again, as the kernel described it to a handler.
///
/// # Safety
///
/// `info` is the second argument of a running signal handler.
pub(crate) unsafe fn raise_again(signal: i32, info: *mut libc::siginfo_t) {
    let _ = call(
        libc::SYS_rt_tgsigqueueinfo,
        [
            getpid() as usize,
            gettid() as usize,
            signal as usize,
            info as usize,
            0,
            0,
        ],
    );
}

/// Opens a file to be read with [`read`]. `path` ends with a zero.
pub(crate) fn open(path: &[u8]) -> Result<usize, Errno> {
    debug_assert_eq!(path.last(), Some(&0));
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let directory = libc::AT_FDCWD as usize;
    call(
        libc::SYS_openat,
        [directory, path.as_ptr() as usize, flags, 0, 0, 0],
    )
}

/// Reads what comes next from a file into `buffer`: how many bytes; 0 at its end, or where it cannot be read.
pub(crate) fn read(file: usize, buffer: &mut [u8]) -> usize {
    let address = buffer.as_mut_ptr() as usize;
    call(libc::SYS_read, [file, address, buffer.len(), 0, 0, 0]).unwrap_or(0)
}

/// Closes what [`open`] has opened.
pub(crate) fn close(file: usize) {
    let _ = call(libc::SYS_close, [file, 0, 0, 0, 0, 0]);
}

/// A POSIX timer of the kernel, aimed at one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer(i32);

impl Timer {
    /// A timer that sends `signal` with `value` to `thread`. It is not running yet.
    pub(crate) fn create(thread: i32, signal: i32, value: usize) -> Result<Timer, Errno> {
        // The kernel's sigevent: value, signal, notify, thread id, padding up to 64 bytes.
        #[repr(C)]
        struct Event {
            value: usize,
            signal: i32,
            notify: i32,
            thread: i32,
            rest: [u32; 11],
        }
        const _: () = assert!(size_of::<Event>() == 64);
        let event = Event {
            value,
            signal,
            notify: libc::SIGEV_THREAD_ID,
            thread,
            rest: [0; 11],
        };
        let mut id = 0_i32;
        call(
            libc::SYS_timer_create,
            [
                libc::CLOCK_MONOTONIC as usize,
                &event as *const _ as usize,
                &mut id as *mut i32 as usize,
                0,
                0,
                0,
            ],
        )?;
        Ok(Timer(id))
    }

    /// The kernel's number for it.
    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// The timer with this number.
    pub(crate) fn from_number(number: i32) -> Timer {
        Timer(number)
    }

    /// Fires once at `deadline` ([`now`]'s clock); 0 stops it. Any thread may call this.
    pub(crate) fn set(self, deadline: u64) {
        let value = libc::itimerspec {
            it_interval: timespec(0),
            it_value: timespec(deadline),
        };
        let _ = call(
            libc::SYS_timer_settime,
            [
                self.0 as usize,
                libc::TIMER_ABSTIME as usize,
                &value as *const _ as usize,
                0,
                0,
                0,
            ],
        );
    }

    /// Gives the timer back to the kernel.
    pub(crate) fn delete(self) {
        let _ = call(libc::SYS_timer_delete, [self.0 as usize, 0, 0, 0, 0, 0]);
    }
}

/// The page size, a constant of this kernel interface.
pub(crate) const PAGE: usize = 4096;

/// Reserves `size` bytes of zeroed memory that the kernel commits on touch.
pub(crate) fn map(size: usize) -> Result<*mut u8, Errno> {
    call(
        libc::SYS_mmap,
        [
            0,
            size,
            (libc::PROT_READ | libc::PROT_WRITE) as usize,
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK)
                as usize,
            usize::MAX,
            0,
        ],
    )
    .map(|address| address as *mut u8)
}

/// Returns memory obtained by [`map`].
///
/// # Safety
///
/// Nobody uses the range any more.
pub(crate) unsafe fn unmap(address: *mut u8, size: usize) {
    let _ = call(libc::SYS_munmap, [address as usize, size, 0, 0, 0, 0]);
}

/// `madvise` on a range of whole pages.
///
/// # Safety
///
/// The advice may discard what the range holds: nobody needs it.
pub(crate) unsafe fn madvise(address: *mut u8, size: usize, advice: i32) -> Result<(), Errno> {
    call(
        libc::SYS_madvise,
        [address as usize, size, advice as usize, 0, 0, 0],
    )
    .map(drop)
}

/// How many of the pages from `address` on are in memory.
pub(crate) fn resident_pages(address: usize, pages: usize) -> usize {
    const AT_ONCE: usize = 1024;
    let mut resident = 0;
    for first in (0..pages).step_by(AT_ONCE) {
        let count = AT_ONCE.min(pages - first);
        let mut states = [0_u8; AT_ONCE];
        let answer = call(
            libc::SYS_mincore,
            [
                address + first * PAGE,
                count * PAGE,
                states.as_mut_ptr() as usize,
                0,
                0,
                0,
            ],
        );
        if answer.is_ok() {
            resident += states[..count]
                .iter()
                .filter(|&&state| state & 1 != 0)
                .count();
        }
    }
    resident
}

/// Makes a range of whole pages inaccessible.
///
/// # Safety
///
/// Nobody uses the range.
pub(crate) unsafe fn protect_none(address: *mut u8, size: usize) -> Result<(), Errno> {
    call(
        libc::SYS_mprotect,
        [address as usize, size, libc::PROT_NONE as usize, 0, 0, 0],
    )
    .map(drop)
}

const MEMBARRIER_CMD_PRIVATE_EXPEDITED: usize = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

/// Announces that this process will call [`membarrier`].
pub(crate) fn membarrier_register() -> Result<(), Errno> {
    call(
        libc::SYS_membarrier,
        [MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0],
    )
    .map(drop)
}

/// A full memory barrier on every running thread of this process.
pub(crate) fn membarrier() -> Result<(), Errno> {
    call(
        libc::SYS_membarrier,
        [MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0],
    )
    .map(drop)
}

/// Puts a kernel thread (0: the calling one) under SCHED_IDLE: it runs when nobody else wants to.
pub(crate) fn sched_idle(thread: i32) {
    const SCHED_IDLE: usize = 5;
    let parameter = 0_i32;
    let _ = call(
        libc::SYS_sched_setscheduler,
        [
            thread as usize,
            SCHED_IDLE,
            &parameter as *const i32 as usize,
            0,
            0,
            0,
        ],
    );
}

/// Asks for wake-ups as precise as the hardware's, instead of the default 50 µs of slack.
pub(crate) fn no_timer_slack() {
    let _ = call(
        libc::SYS_prctl,
        [libc::PR_SET_TIMERSLACK as usize, 1, 0, 0, 0, 0],
    );
}

/// Is a seccomp filter active, which says what system calls there are?
pub(crate) fn is_filtered() -> bool {
    call(
        libc::SYS_prctl,
        [libc::PR_GET_SECCOMP as usize, 0, 0, 0, 0, 0],
    ) != Ok(0)
}

/// Sets the slice that the kernel gives the calling thread of an ordinary policy, in nanoseconds, and its nice value, if that is
/// 0. Threads and processes that it starts from here on inherit neither; all else stays. If the nice value is refused,
/// everything does.
pub(crate) fn set_kernel_slice(nanos: u64, nice: Option<i32>) -> Result<(), Errno> {
    // SAFETY: plain integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes);
    let to = &raw mut attributes as usize;
    call(libc::SYS_sched_getattr, [0, to, size, 0, 0, 0])?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Err(Errno(libc::EINVAL));
    }
    attributes.sched_runtime = nanos;
    attributes.sched_flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
    if let (0, Some(nice)) = (attributes.sched_nice, nice) {
        attributes.sched_nice = nice;
    }
    let from = &raw const attributes as usize;
    call(libc::SYS_sched_setattr, [0, from, 0, 0, 0, 0])?;
    Ok(())
}

/// Sleeps until `deadline` ([`now`]'s clock) or a spurious wake-up.
pub(crate) fn sleep(duration: Duration) {
    let word = AtomicU32::new(0);
    futex_wait(&word, 0, Some(now() + duration.as_nanos() as u64));
}

/// Who a kernel thread is: real, effective and saved ids, and the supplementary groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    user: [u32; 3],
    group: [u32; 3],
    groups: [u32; Credentials::GROUPS],
    /// How many of them there are; none where there are more than fit.
    count: Option<usize>,
}

impl Credentials {
    /// More supplementary groups than this are left as they are.
    const GROUPS: usize = 128;

    /// Nobody's.
    pub(crate) const fn new() -> Credentials {
        Credentials {
            user: [0; 3],
            group: [0; 3],
            groups: [0; Credentials::GROUPS],
            count: None,
        }
    }

    /// Reads the calling kernel thread's.
    pub(crate) fn read(&mut self) {
        let all = [
            (libc::SYS_getresuid, &mut self.user),
            (libc::SYS_getresgid, &mut self.group),
        ];
        for (number, [real, effective, saved]) in all {
            let ids = [real, effective, saved].map(|id| id as *mut u32 as usize);
            let _ = call(number, [ids[0], ids[1], ids[2], 0, 0, 0]);
        }
        let groups = self.groups.as_mut_ptr() as usize;
        self.count = call(
            libc::SYS_getgroups,
            [Credentials::GROUPS, groups, 0, 0, 0, 0],
        )
        .ok();
    }

    /// Takes them over for the calling kernel thread: groups first, while it may. What is refused stays.
    pub(crate) fn apply(&self) {
        if let Some(count) = self.count {
            let groups = self.groups.as_ptr() as usize;
            let _ = call(libc::SYS_setgroups, [count, groups, 0, 0, 0, 0]);
        }
        for (number, ids) in [
            (libc::SYS_setresgid, self.group),
            (libc::SYS_setresuid, self.user),
        ] {
            let [real, effective, saved] = ids.map(|id| id as usize);
            let _ = call(number, [real, effective, saved, 0, 0, 0]);
        }
    }
}

/// Takes the kernel's restartable-sequences registration off the calling thread, where glibc made one.
pub(crate) fn unregister_rseq(thread_pointer: usize) {
    const RSEQ_FLAG_UNREGISTER: usize = 1;
    const RSEQ_SIGNATURE: usize = 0x5305_3053;
    // SAFETY: the name is a C string; a symbol that does not exist is null.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    if offset.is_null() {
        return;
    }
    // SAFETY: glibc 2.35 and later export it as a `ptrdiff_t`.
    let offset = unsafe { *offset.cast::<isize>() };
    let area = thread_pointer.wrapping_add_signed(offset);
    // The length must be the registered one: 32 up to glibc 2.39, later what the kernel's features need.
    // SAFETY: getauxval only reads what the kernel passed to this process.
    let feature_size = unsafe { libc::getauxval(AT_RSEQ_FEATURE_SIZE) } as usize;
    for length in [32, feature_size.next_multiple_of(32)] {
        let done = call(
            libc::SYS_rseq,
            [area, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIGNATURE, 0, 0],
        );
        if done.is_ok() {
            return;
        }
    }
}

const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;

/// What the kernel says a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// On a core, or waiting for one.
    Running,
    /// In a system call, waiting (S or D).
    Blocked,
    /// The kernel would not say.
    Unknown,
}

/// Reads `/proc/self/task/TID/stat`. Allocates nothing.
pub(crate) fn thread_state(thread: i32) -> ThreadState {
    let mut path = crate::fatal::Message::<64>::new();
    let _ = std::fmt::write(&mut path, format_args!("/proc/self/task/{thread}/stat\0"));
    let Ok(file) = open(path.bytes()) else {
        return ThreadState::Unknown;
    };
    let mut text = [0_u8; 128];
    let length = read(file, &mut text);
    close(file);
    let text = &text[..length];
    // The name, in parentheses, may itself hold any; the state is the word after the last one.
    let state = text
        .iter()
        .rposition(|&byte| byte == b')')
        .and_then(|end| text.get(end + 2));
    match state {
        Some(b'R') => ThreadState::Running,
        Some(b'S' | b'D') => ThreadState::Blocked,
        _ => ThreadState::Unknown,
    }
}
