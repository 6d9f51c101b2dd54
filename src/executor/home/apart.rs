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
use super::hold::Hold;
use crate::primitives::{Arc, Mutex, OnceLock};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

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

/// Holds the runtime's clock from a wake-up on.
#[derive(Debug)]
struct Holding {
    hold: Hold,
    /// Of the thread that polls; always the same.
    waker: OnceLock<Waker>,
}

impl Wake for Holding {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.hold.woken();
        self.waker.get().into_iter().for_each(Waker::wake_by_ref);
    }
}

/// However the future ends.
struct End(Arc<Holding>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.hold.end();
    }
}

/// The future, beside which a paused clock of this runtime does not go on while it can run.
async fn holding<F: Future>(shared: &Arc<Shared>, future: F) -> F::Output {
    let end = End(Arc::new(Holding {
        hold: Hold::new(shared),
        waker: OnceLock::new(),
    }));
    let waker = Waker::from(Arc::clone(&end.0));
    let mut future = pin!(future);
    poll_fn(|context| {
        end.0.waker.get_or_init(|| context.waker().clone());
        let mut context = Context::from_waker(&waker);
        end.0
            .hold
            .during(true, || future.as_mut().poll(&mut context))
    })
    .await
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
        let output = block_on::block_on(holding(shared, future), may_block);
        drop(tell);
        output
    })
}
