//! For polls that are watched while they are preempted and moved.

use super::load::LONG;

/// Ends the process with a message when it has not been dropped in time: for tests whose failure is a hang.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Watchdog {
    /// Lets the process live for [`LONG`] from now on, or until the value is dropped.
    pub(crate) fn new(what: impl Into<String>) -> Watchdog {
        let what = what.into();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let waited = receiver.recv_timeout(LONG);
            if waited == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("hangs: {what}");
                std::process::abort();
            }
        });
        Watchdog(Some((sender, thread)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// The kernel thread that runs this code right now. Unlike everything else about a thread it changes within a
/// poll, which is how a poll can see that it has moved.
pub(crate) fn kernel_thread() -> libc::pid_t {
    // SAFETY: gettid only answers.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// Keeps the processor busy for a moment that does not depend on any clock.
pub(crate) fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| {
        std::hint::black_box(sum ^ round.rotate_left(7))
    })
}

/// A small generator of reproducible numbers (xorshift64*).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Other numbers each time. The seed is printed.
    pub(crate) fn of_now() -> Numbers {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let seed = now.expect("after 1970").as_nanos() as u64;
        println!("seed {seed}");
        Numbers::new(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next number, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
