//! The attendant: an ordinary thread that tells subscribers which polls are suspended and which go on. `stack::seat` has
//! the words by which it learns of them.
//!
//! There is one in the process, not one per runtime: what it has entered is on its own stack of spans, and only there can
//! it be taken off (see `trace`), whichever runtime polls the task by then. It starts when the first poll of a task with a
//! span begins on a fiber, and ends with the last runtime that had one.
//!
//! It may wait for a lock of the subscriber's that a suspended poll holds. The scheduler never waits for it; polls of
//! traced tasks do, at their ends, as they would for the same lock.

use super::scope;
use super::span::TaskSpan;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::primitives::{Mutex, MutexGuard};
use crate::stack::seat;
use crate::sys;
use std::thread::JoinHandle;

/// Which attendant it is, or was: they are numbered from 1 on.
pub(super) type Generation = u32;

/// The one that there is, or was last.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// It has ended: moves with each. A futex word.
static ENDED: AtomicU32 = AtomicU32::new(0);
static STATE: Mutex<State> = Mutex::new(State {
    members: 0,
    thread: None,
    requests: Vec::new(),
});
/// How long the end of a runtime waits for the attendant's: a subscriber may be holding it up.
const PATIENCE: u64 = 1_000_000_000;

struct State {
    /// Runtimes that need it.
    members: usize,
    /// Its thread, if there is one.
    thread: Option<JoinHandle<()>>,
    /// What it is asked to do.
    requests: Vec<Request>,
}

fn state() -> MutexGuard<'static, State> {
    STATE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// See [`Generation`].
pub(super) fn generation() -> Generation {
    GENERATION.load(Ordering::Relaxed)
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
            let generation = generation() + 1;
            let thread = std::thread::Builder::new()
                .name("preemptive-trace".to_owned())
                .spawn(move || attend(generation));
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
            GENERATION.store(generation, Ordering::Relaxed);
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
        let is_last = {
            let mut state = state();
            state.members -= 1;
            state.members == 0
        };
        if !is_last {
            return;
        }
        seat::rouse();
        let deadline = sys::now() + PATIENCE;
        while ENDED.load(Ordering::SeqCst) == ended && sys::now() < deadline {
            sys::futex_wait(&ENDED, ended, Some(deadline));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A span that the attendant is to exit, and where it says that it has.
struct Request {
    span: *const TaskSpan,
    done: *const AtomicU32,
}

// SAFETY: both are shared, and last until `done` is set: see `exit_there`.
unsafe impl Send for Request {}

/// Takes a span off the attendant's stack, and waits for that. Preemptible.
pub(super) fn exit_there(span: &TaskSpan) {
    let done = AtomicU32::new(0);
    {
        let mut state = state();
        if state.thread.is_none() {
            return;
        }
        state.requests.push(Request { span, done: &done });
    }
    seat::rouse();
    scope::wait_while(|deadline| {
        if done.load(Ordering::Acquire) != 0 {
            return false;
        }
        sys::futex_wait(&done, 0, Some(deadline));
        true
    });
}

/// The attendant's thread.
fn attend(generation: Generation) {
    loop {
        seat::looks();
        let mut is_busy = seat::take_all(|seat| {
            let innermost = seat.begin().cast_const().cast();
            while scope::tell(innermost, seat.is_away(), generation) {}
            seat.end();
        });
        let requests = std::mem::take(&mut state().requests);
        for request in requests {
            is_busy = true;
            // SAFETY: whoever asks waits until `done` is set, and touches neither meanwhile but to read.
            scope::exit_here(unsafe { &*request.span });
            // SAFETY: as above; the last use.
            unsafe { &*request.done }.store(1, Ordering::Release);
            sys::futex_wake_at(request.done, 1);
        }
        if is_busy {
            continue;
        }
        let thread = {
            let mut state = state();
            match state.members == 0 && state.requests.is_empty() {
                true => state.thread.take(),
                false => None,
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
