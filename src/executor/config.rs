//! What a runtime was built with, the defaults, and what it must not be.

use super::hooks::Hooks;
use super::overflow::OnStackOverflow;
use super::slice::PARTS;
use super::timeline;
use super::tuning::ThreadName;
use crate::primitives::Arc;
use std::fmt;
use std::io;
use std::time::Duration;

/// The shortest time slice, in nanoseconds: below, signals take more time than tasks.
pub(crate) const MIN_SLICE: u64 = 50_000;
/// The longest: beyond, one may as well switch preemption off.
const MAX_SLICE: u64 = 10_000_000_000;
const DEFAULT_SLICE: u64 = 10_000_000;
/// The shortest minimum slice, and the usual one, in nanoseconds.
const LEAST_MIN_SLICE: u64 = 10_000;
pub(super) const DEFAULT_MIN_SLICE: u64 = 100_000;
const DEFAULT_STACK: usize = 2 * 1024 * 1024;
/// What glibc and a few calls need at the very least.
const MIN_STACK: usize = 64 * 1024;

/// Every so often the queue that all share goes first, or a busy ring would starve it. A prime, so that it does not fall
/// in step with what tasks do.
const GLOBAL_EVERY: u64 = 61;
/// After so many polls the timers are looked at: where polls are short that is on time, and takes no signal.
const TIMERS_EVERY: u64 = 16;

/// Something to run once per thread identity, or whenever one goes idle.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// What a runtime was built with.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) worker_threads: usize,
    /// The current-thread flavour: see `home`.
    pub(crate) home: bool,
    /// Of that flavour: no poll is preempted.
    pub(crate) home_only: bool,
    /// The clock stands still from the start.
    pub(super) start_paused: bool,
    pub(crate) max_threads: usize,
    /// Nanoseconds.
    pub(crate) slice: u64,
    /// Nanoseconds.
    pub(crate) min_slice: u64,
    /// So much is batch owed for every [`PARTS`] that tasks have had while it waited.
    pub(crate) batch_per_task: u64,
    pub(crate) signal: i32,
    /// Every poll is timed.
    pub(crate) poll_times: bool,
    pub(crate) async_preempt: bool,
    pub(crate) stack_size: usize,
    pub(crate) on_overflow: OnStackOverflow,
    pub(crate) max_blocking_threads: usize,
    pub(crate) thread_keep_alive: Duration,
    pub(super) thread_name: ThreadName,
    /// The runtime's.
    pub(super) name: Option<String>,
    /// In polls.
    pub(crate) global_every: u64,
    /// In polls.
    pub(crate) timers_every: u64,
    /// What was woken last goes first.
    pub(crate) uses_slot: bool,
    pub(crate) hooks: Hooks,
    pub(crate) on_thread_start: Option<Hook>,
    pub(crate) on_thread_stop: Option<Hook>,
    /// What workers do is recorded.
    pub(super) timeline: Option<timeline::Choice>,
    pub(super) mask: u64,
    pub(super) watches_polls: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("worker_threads", &self.worker_threads)
            .field("max_threads", &self.max_threads)
            .field("slice", &Duration::from_nanos(self.slice))
            .field("signal", &self.signal)
            .field("async_preempt", &self.async_preempt)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The defaults, of a multi-thread runtime; how many threads is the machine's business.
    pub(super) fn new() -> Config {
        Config {
            worker_threads: 1,
            home: false,
            home_only: false,
            start_paused: false,
            max_threads: 512,
            slice: DEFAULT_SLICE,
            min_slice: DEFAULT_MIN_SLICE,
            batch_per_task: PARTS / 4,
            signal: libc::SIGURG,
            poll_times: false,
            async_preempt: true,
            stack_size: DEFAULT_STACK,
            on_overflow: OnStackOverflow::Abort,
            max_blocking_threads: 512,
            thread_keep_alive: Duration::from_secs(10),
            thread_name: ThreadName::Default,
            name: None,
            global_every: GLOBAL_EVERY,
            timers_every: TIMERS_EVERY,
            uses_slot: true,
            hooks: Hooks::default(),
            on_thread_start: None,
            on_thread_stop: None,
            timeline: None,
            mask: 0,
            watches_polls: false,
        }
    }

    /// The signal mask of workers: the builder's thread's, less the preemption signal and glibc's own.
    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// Is anything done before or after polls?
    #[inline]
    pub(crate) fn watches_polls(&self) -> bool {
        self.watches_polls
    }

    /// With fewer spare fibers than this, the supplier is asked for more.
    pub(crate) fn low_fibers(&self) -> usize {
        if self.home {
            2
        } else {
            self.worker_threads + 2
        }
    }

    /// So many it makes.
    pub(crate) fn high_fibers(&self) -> usize {
        if self.home {
            3
        } else {
            2 * self.worker_threads + 4
        }
    }

    /// So many workers wait without a processor.
    pub(crate) fn spare_workers(&self) -> usize {
        if self.home { 0 } else { 2 }
    }

    /// Is anything out of range?
    pub(super) fn check(&self) -> io::Result<()> {
        let bad = |message| Err(bad(message));
        if !(MIN_SLICE..=MAX_SLICE).contains(&self.slice) {
            return bad(format!(
                "a time slice of {:?} is out of range: use 50 µs to 10 s",
                Duration::from_nanos(self.slice)
            ));
        }
        if !(LEAST_MIN_SLICE..=self.slice).contains(&self.min_slice) {
            return bad(format!(
                "a minimum slice of {:?} is out of range: use 10 µs up to the time slice, {:?}",
                Duration::from_nanos(self.min_slice),
                Duration::from_nanos(self.slice)
            ));
        }
        if self.stack_size < MIN_STACK {
            return bad(format!(
                "a stack of {} bytes is too small: use at least {MIN_STACK}",
                self.stack_size
            ));
        }
        if self.max_threads < self.worker_threads + self.spare_workers() {
            return bad(format!(
                "max_threads of {} leaves no room beside {} worker threads: use at least {}",
                self.max_threads,
                self.worker_threads,
                self.worker_threads + self.spare_workers()
            ));
        }
        if self.start_paused && !self.home {
            return bad(
            "only the clock of a current-thread runtime can be paused: use Builder::new_current_thread with start_paused"
                .to_owned(),
        );
        }
        if self.thread_name.is_bad() {
            return bad("a thread name cannot contain a NUL byte".to_owned());
        }
        Ok(())
    }
}

pub(crate) fn bad(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
