//! The threads inside `block_on` of a current-thread runtime: one drives, the others wait for their own futures
//! or for their turn to drive. See the head of `home`.

use super::super::block_on::nested;
use super::super::entered::Inside;
use super::super::shared::Shared;
use super::hold::Hold;
use super::{Drive, Root, apart, drive};
use crate::fatal::fatal;
use crate::preempt::Critical;
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::stack;
use crate::sys;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

/// [`Caller::word`]: its future has been woken.
const WOKEN: u32 = 1;
/// [`Caller::word`]: nobody drives.
const LEAD: u32 = 2;

/// A thread inside `block_on`.
#[derive(Debug)]
pub(super) struct Caller {
    /// What it sleeps on while another drives: `WOKEN`, `LEAD`.
    word: AtomicU32,
    /// It is the one that drives.
    drives: AtomicBool,
    /// While another does, a paused clock is not to go on beside its future.
    hold: Hold,
    shared: Arc<Shared>,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.drives.load(Ordering::SeqCst) {
            self.hold.woken();
        }
        if self.word.fetch_or(WOKEN, Ordering::SeqCst) & WOKEN != 0 {
            return;
        }
        // The thread sets `drives`, then looks at the word; we do the reverse.
        if !self.drives.load(Ordering::SeqCst) {
            sys::futex_wake(&self.word, 1);
            return;
        }
        let critical = Critical::enter();
        self.shared.home.woken.store(true, Ordering::SeqCst);
        // The home fiber itself will look when its poll has ended.
        let is_home = critical.fiber().is_some_and(|fiber| {
            fiber.is_home() && fiber.owner == Arc::as_ptr(&self.shared).cast()
        });
        if !is_home {
            self.shared.submitted();
        }
    }
}

impl Caller {
    /// Nobody drives: this one is to.
    pub(super) fn tell_to_lead(&self) {
        self.word.fetch_or(LEAD, Ordering::SeqCst);
        sys::futex_wake(&self.word, 1);
    }

    /// Sleeps until the future has been woken or nobody drives. True: it is to take over.
    fn wait(self: &Arc<Self>) -> bool {
        let home = &self.shared.home;
        if !self.shared.shutdown.has_begun() {
            let mut waiting = home.waiting();
            if !waiting.iter().any(|other| Arc::ptr_eq(other, self)) {
                waiting.push(Arc::clone(self));
            }
            drop(waiting);
            // Whoever left before we were in the list has told nobody.
            if home.driven.load(Ordering::SeqCst) == 0 {
                return true;
            }
        }
        loop {
            let word = self.word.load(Ordering::SeqCst);
            if word & LEAD != 0 {
                self.word.fetch_and(!LEAD, Ordering::SeqCst);
                return true;
            }
            if word != 0 {
                return false;
            }
            sys::futex_wait(&self.word, 0, None);
        }
    }

    /// Tries to become the one that drives.
    fn lead(&self) -> bool {
        let shared = &self.shared;
        if shared.shutdown.has_begun() || !shared.home.lead() {
            return false;
        }
        if shared.shutdown.has_begun() {
            shared.home.cede();
            return false;
        }
        true
    }

    /// It needs nobody to tell it anything any more, or leads already.
    fn delist(self: &Arc<Self>) {
        self.shared
            .home
            .waiting()
            .retain(|other| !Arc::ptr_eq(other, self));
    }

    /// It is about to poll, so it cannot take over until it waits again: if it has been told to, another is.
    fn leave(self: &Arc<Self>) {
        self.delist();
        if self.shared.home.driven.load(Ordering::SeqCst) == 0 {
            self.shared.home.pass_on();
        }
    }
}

/// Polls `future` to its end on the calling thread, and runs the runtime's tasks meanwhile. The future may call
/// `block_in_place` if `may_block`.
#[track_caller]
pub(in crate::executor) fn block_on<F: Future>(
    shared: &Arc<Shared>,
    future: F,
    may_block: bool,
) -> F::Output {
    if !stack::current().is_null() {
        return apart::block_on(shared, future, may_block);
    }
    let Some(_inside) = Inside::block_on(may_block) else {
        nested();
    };
    let mut future = pin!(future);
    let caller = Arc::new(Caller {
        word: AtomicU32::new(WOKEN),
        drives: AtomicBool::new(false),
        hold: Hold::new(shared),
        shared: Arc::clone(shared),
    });
    let waker = Waker::from(Arc::clone(&caller));
    let mut output = None;
    let mut poll = || {
        caller.word.fetch_and(!WOKEN, Ordering::SeqCst);
        let mut context = Context::from_waker(&waker);
        let is_apart = !caller.drives.load(Ordering::SeqCst);
        let polled = caller.hold.during(is_apart, || {
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
        });
        match polled {
            Ok(Poll::Pending) => false,
            Ok(Poll::Ready(ready)) => {
                output = Some(Ok(ready));
                true
            }
            Err(payload) => {
                output = Some(Err(payload));
                true
            }
        }
    };
    loop {
        if caller.lead() {
            caller.delist();
            caller.drives.store(true, Ordering::SeqCst);
            let woken = caller.word.load(Ordering::SeqCst) & WOKEN != 0;
            shared.home.woken.store(woken, Ordering::SeqCst);
            let mut future = Drive {
                root: Root::Future(&mut poll),
                turn: None,
                done: false,
            };
            drive(shared, &mut future);
            let done = future.done;
            caller.drives.store(false, Ordering::SeqCst);
            shared.home.cede();
            if done {
                break;
            }
        }
        if caller.word.load(Ordering::SeqCst) & WOKEN != 0 {
            // However long the poll takes, nobody is to count on this thread meanwhile.
            caller.leave();
            if poll() {
                break;
            }
        }
        let _ = caller.wait();
    }
    caller.hold.end();
    match output {
        Some(Ok(output)) => output,
        Some(Err(payload)) => resume_unwind(payload),
        None => fatal!("`block_on` has ended without a result"),
    }
}
