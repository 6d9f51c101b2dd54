//! `block_on` of a current-thread runtime inside a task, within `block_in_place`: the task's thread is not its own to
//! lend, so it polls the future alone, and a plain thread of its own drives the runtime until that is done.
//!
//! A task that is polled by that very runtime needs no other: whoever polls the task drives already.

use super::super::block_on::{self, nested};
use super::super::context;
use super::super::entered::{self, Inside};
use super::super::runtime::Handle;
use super::super::shared::Shared;
use super::caller;
use crate::primitives::{Arc, Mutex};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

/// What the thread that drives waits for.
#[derive(Debug, Default)]
struct Done(Mutex<(bool, Option<Waker>)>);

impl Done {
    fn with<R>(&self, f: impl FnOnce(&mut (bool, Option<Waker>)) -> R) -> R {
        f(&mut self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    async fn wait(&self) {
        poll_fn(|context| {
            let waker = context.waker().clone();
            self.with(|(done, waits)| {
                if *done {
                    return Poll::Ready(());
                }
                *waits = Some(waker);
                Poll::Pending
            })
        })
        .await;
    }
}

/// Says so, however the poll ends.
struct Tell<'a>(&'a Done);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        let waker = self.0.with(|(done, waits)| {
            *done = true;
            waits.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

/// See the module's head.
#[track_caller]
pub(super) fn block_on<F: Future>(shared: &Arc<Shared>, future: F, may_block: bool) -> F::Output {
    if Inside::is_plain_task() {
        nested();
    }
    if entered::is_fiber_of(shared) {
        return block_on::block_on(future, may_block);
    }
    let done = Done::default();
    std::thread::scope(|scope| {
        let tell = Tell(&done);
        let handle = Handle {
            shared: Arc::clone(shared),
        };
        let spawned = std::thread::Builder::new()
            .name("preemptive-driver".to_owned())
            .spawn_scoped(scope, || {
                let shared = Arc::clone(&handle.shared);
                context::with(handle, || caller::block_on(&shared, done.wait(), true));
            });
        if let Err(error) = spawned {
            panic!(
                "cannot create a thread to drive a current-thread runtime meanwhile (raise RLIMIT_NPROC): {error}"
            );
        }
        let output = block_on::block_on(future, may_block);
        drop(tell);
        output
    })
}
