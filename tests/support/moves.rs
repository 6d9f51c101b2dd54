//! Polls that see themselves move from one kernel thread to another.
//!
//! Each does everything in a single poll, and asks the kernel for its thread's id, which changes.
//! [`assert_moving`] checks against the runtime's counters that no poll but these ran meanwhile, so that what
//! happened to the tasks happened inside a poll.

use super::load::{LONG, SHORT, runtime};
use super::pressure::{Watchdog, kernel_thread};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Tasks at once. An odd number: two workers that take turns in step would otherwise share them out for good.
pub(crate) const TASKS: usize = 5;

/// So often each poll is to see itself on another kernel thread.
pub(crate) const MOVES: usize = 25;

/// Counts how often the calling poll has moved, and knows whether all polls of the test have moved enough.
#[derive(Debug)]
pub(crate) struct Moves {
    pub(crate) count: usize,
    last: libc::pid_t,
    reached: bool,
    missing: Arc<AtomicUsize>,
    begin: Instant,
}

impl Moves {
    /// Looks where the poll runs. False: everybody has moved often enough, or it takes too long.
    pub(crate) fn go_on(&mut self) -> bool {
        let now = kernel_thread();
        if now != self.last {
            self.count += 1;
            self.last = now;
        }
        if self.count >= MOVES && !self.reached {
            self.reached = true;
            self.missing.fetch_sub(1, Ordering::SeqCst);
        }
        self.missing.load(Ordering::SeqCst) > 0 && self.begin.elapsed() < LONG / 10
    }
}

/// Runs `body` as several tasks of one poll each, on two workers, until each has moved `MOVES` times.
///
/// On a machine without a free core the runtime may continue polls outside of the scheduler, where they stay on
/// one thread: then it all begins again with a fresh runtime, until the watchdog's time is up.
pub(crate) fn assert_moving(what: &str, body: impl Fn(usize, &mut Moves) + Send + Sync + 'static) {
    let _watchdog = Watchdog::new(what);
    let body = Arc::new(body);
    loop {
        let runtime = runtime(2, SHORT);
        let metrics = runtime.metrics();
        let missing = Arc::new(AtomicUsize::new(TASKS));
        let handles: Vec<_> = (0..TASKS)
            .map(|index| {
                let (body, missing) = (body.clone(), missing.clone());
                runtime.spawn(async move {
                    let mut moves = Moves {
                        count: 0,
                        last: kernel_thread(),
                        reached: false,
                        missing,
                        begin: Instant::now(),
                    };
                    body(index, &mut moves);
                    moves.count as u64
                })
            })
            .collect();
        let mut moves = 0;
        for handle in handles {
            moves += runtime
                .block_on(handle)
                .unwrap_or_else(|error| resume_unwind(error.into_panic()));
        }
        assert_eq!(metrics.polls(), TASKS as u64, "one poll each");
        if missing.load(Ordering::SeqCst) == 0 {
            assert!(moves >= (TASKS * MOVES) as u64);
            for counter in [metrics.migrations(), metrics.preemptions()] {
                assert!(counter >= MOVES as u64, "{moves} moves, {counter} counted");
            }
            return;
        }
    }
}
