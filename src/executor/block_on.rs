//! `block_on`: a future polled by the calling thread itself, which sleeps in between.
//!
//! On a plain thread the kernel does the preempting. Inside a task the caller is a fiber: it gives its
//! processor up before it sleeps, so that whoever it waits for can run even with a single processor.

use super::actions;
use super::entered::Inside;
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicU32, Ordering};
use crate::stack;
use crate::sys;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

/// What the caller sleeps on: 0 nothing, 1 woken.
#[derive(Debug, Default)]
struct Parker(AtomicU32);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.swap(1, Ordering::Release) == 0 {
            sys::futex_wake(&self.0, 1);
        }
    }
}

/// A thread that polls one future cannot wait for another.
#[cold]
#[track_caller]
pub(super) fn nested() -> ! {
    panic!(
        "Cannot start a runtime from within a runtime: this thread is inside another `block_on`, or polls a task of a \
         current-thread runtime, and would block what that drives; use `.await`, `block_in_place` around it, or a \
         thread of `spawn_blocking`"
    )
}

/// Polls `future` to its end. It may call `block_in_place` if `may_block`.
#[track_caller]
pub(crate) fn block_on<F: Future>(future: F, may_block: bool) -> F::Output {
    let Some(_inside) = Inside::block_on(may_block) else {
        nested();
    };
    let mut future = pin!(future);
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let mut gave_way = false;
        while parker.0.swap(0, Ordering::Acquire) == 0 {
            if !gave_way && !stack::current().is_null() {
                actions::before_blocking();
                gave_way = true;
            }
            sys::futex_wait(&parker.0, 0, None);
        }
    }
}
