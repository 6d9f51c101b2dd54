//! The attendant: an ordinary thread that tells subscribers which polls are suspended and which go on. `stack::seat` has
//! the words by which it learns of them.
//!
//! There is one in the process, not one per runtime: what it has entered is on its own stack of spans, and only there can
//! it be taken off again (see `trace`), whichever runtime polls the task by then. It starts when the first poll of a task
//! with a span begins on a fiber, and ends with the last runtime that had one.
//!
//! It may wait for a lock of the subscriber's that a suspended poll holds. The scheduler never waits for it; polls of
//! traced tasks do, at their ends, as they would for the same lock.

use super::scope;
use crate::executor::latency::short_slices;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::primitives::{Mutex, MutexGuard};
use crate::stack::seat;
use crate::sys;
use std::thread::JoinHandle;

/// It has ended: moves with each. A futex word.
static ENDED: AtomicU32 = AtomicU32::new(0);
static STATE: Mutex<State> = Mutex::new(State {
    members: 0,
    thread: None,
});
/// How long the end of a runtime waits for the attendant's: a subscriber may be holding it up.
const PATIENCE: u64 = 1_000_000_000;
/// How often it looks whether the attendant is needed again.
const LOOK: u64 = 5_000_000;

struct State {
    /// Runtimes that need it.
    members: usize,
    /// Its thread, if there is one.
    thread: Option<JoinHandle<()>>,
}

fn state() -> MutexGuard<'static, State> {
    STATE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether a runtime needs the attendant.
#[derive(Debug)]
pub(crate) struct Member {
    has_joined: AtomicBool,
    /// There is no thread to be had.
    has_failed: AtomicBool,
}

impl Member {
    pub(crate) const fn new() -> Member {
        Member {
            has_joined: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// From here on the runtime needs the attendant. False: there is none. Preemptible.
    #[inline]
    pub(super) fn joins(&self) -> bool {
        self.has_joined.load(Ordering::Acquire) || self.join()
    }

    #[cold]
    fn join(&self) -> bool {
        if self.has_failed.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = state();
        if self.has_joined.load(Ordering::Acquire) {
            return true;
        }
        if state.thread.is_none() {
            let thread = std::thread::Builder::new()
                .name("preemptive-span".to_owned())
                .spawn(attend);
            match thread {
                Ok(thread) => state.thread = Some(thread),
                Err(error) => {
                    drop(state);
                    self.has_failed.store(true, Ordering::Relaxed);
                    eprintln!(
                        "preemptive: cannot create the thread that tells `tracing` of preemptions \
                         (raise RLIMIT_NPROC); spans of preempted tasks look busy: {error}"
                    );
                    return false;
                }
            }
        }
        state.members += 1;
        self.has_joined.store(true, Ordering::Release);
        true
    }

    /// The runtime's fibers have ended. The last one waits for the attendant's end.
    pub(crate) fn leave(&self) {
        if !self.has_joined.swap(false, Ordering::AcqRel) {
            return;
        }
        let ended = ENDED.load(Ordering::SeqCst);
        state().members -= 1;
        seat::rouse();
        let deadline = sys::now() + PATIENCE;
        // Another may join meanwhile, and does not say so.
        while ENDED.load(Ordering::SeqCst) == ended && state().members == 0 && sys::now() < deadline
        {
            sys::futex_wait(&ENDED, ended, Some(sys::now() + LOOK));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The attendant's thread.
fn attend() {
    // Polls wait for it at their ends. Where it is refused, they wait longer.
    let _ = short_slices();
    loop {
        seat::looks();
        let was_busy = seat::take_all(|seat| {
            let innermost = seat.begin().cast_const().cast();
            while scope::tell(innermost, seat.is_away()) {}
            seat.end();
        });
        if was_busy {
            continue;
        }
        let thread = {
            let mut state = state();
            match state.members {
                0 => state.thread.take(),
                _ => None,
            }
        };
        if thread.is_some() {
            break;
        }
        seat::sleep_until_roused();
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
    sys::futex_wake(&ENDED, u32::MAX >> 1);
}
