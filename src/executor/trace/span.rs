//! A task's span: made when it is spawned, entered while it is polled, closed when it is over.

use super::scope;
use super::{Kind, Origin};
use crate::executor::task::Id;
use crate::fatal::fatal;
use crate::primitives::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::stack::Seat;
use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::null_mut;
use std::task::{Context, Poll};
use tracing::field::Empty;
use tracing::{Dispatch, Span, Subscriber, trace, trace_span};
use tracing_subscriber::Registry;

/// See the module's head.
pub(crate) struct TaskSpan {
    /// The span's number; 0: nobody is interested.
    id: u64,
    /// Shared, until `close`, which empties it; that is the runner's. Apart, so that tasks without a span stay small.
    open: UnsafeCell<Option<Box<Open>>>,
}

/// A span that is not closed.
struct Open {
    span: Span,
    /// How often the task was preempted. The runner's.
    preempted: AtomicU64,
    /// The seat of the fiber that polls it, for the case that this is lost; null: none.
    seat: AtomicPtr<Seat>,
}

// SAFETY: the span is shared (it is `Sync`) until `close`, whose caller promises to be the only one.
unsafe impl Sync for TaskSpan {}

impl TaskSpan {
    #[inline]
    pub(crate) const fn none() -> TaskSpan {
        TaskSpan {
            id: 0,
            open: UnsafeCell::new(None),
        }
    }

    #[inline]
    fn of(span: Span) -> TaskSpan {
        match span.id() {
            None => TaskSpan::none(),
            Some(id) => TaskSpan::opened(id.into_u64(), span),
        }
    }

    #[cold]
    fn opened(id: u64, span: Span) -> TaskSpan {
        TaskSpan {
            id,
            open: UnsafeCell::new(Some(Box::new(Open {
                span,
                preempted: AtomicU64::new(0),
                seat: AtomicPtr::new(null_mut()),
            }))),
        }
    }

    /// That of a task. It has no parent: a task outlives what has spawned it.
    #[inline]
    pub(crate) fn new(kind: Kind, id: Id, origin: &Origin<'_>) -> TaskSpan {
        TaskSpan::of(match kind {
            Kind::Task => root_span("task", id, origin),
            Kind::Local => root_span("local", id, origin),
        })
    }

    /// That of a closure of type `F` for the blocking pool.
    #[inline]
    pub(crate) fn blocking<F>(id: Id, origin: &Origin<'_>) -> TaskSpan {
        TaskSpan::of(trace_span!(
            target: "preemptive::task::blocking",
            "runtime.spawn",
            kind = %"blocking",
            task.name = %origin.name.unwrap_or_default(),
            task.id = id.get(),
            "fn" = %std::any::type_name::<F>(),
            // Recorded by runtimes that box what they are given.
            original_size.bytes = Empty,
            size.bytes = origin.size,
            loc.file = origin.location.file(),
            loc.line = origin.location.line(),
            loc.col = origin.location.column(),
            preempted = Empty,
        ))
    }

    /// What there is, until it is closed.
    fn open(&self) -> Option<&Open> {
        // SAFETY: shared until `close`, after which nobody asks.
        unsafe { &*self.open.get() }.as_deref()
    }

    pub(super) fn enter(&self) {
        self.with_subscriber(|id, dispatch| dispatch.enter(id));
    }

    /// Enters it on the attendant's thread, and leaves nothing behind on the registry's stack of spans there: see the module's
    /// head. A panic of the subscriber's is reported and swallowed.
    pub(super) fn enter_for_another_thread(&self) {
        self.with_subscriber(|id, dispatch| {
            contain(|| dispatch.enter(id));
            if let Some(registry) = dispatch.downcast_ref::<Registry>() {
                // The registry's own, below all layers: none of them hears of it.
                contain(|| registry.exit(id));
            }
        });
    }

    pub(super) fn exit(&self) {
        self.with_subscriber(|id, dispatch| dispatch.exit(id));
    }

    fn with_subscriber(&self, f: impl FnOnce(&tracing::Id, &Dispatch)) {
        if let Some(open) = self.open() {
            open.span.with_subscriber(|(id, dispatch)| f(id, dispatch));
        }
    }

    /// Runs `f`, a poll or what else a task does, inside of the span. `is_over` says whether it was the last.
    #[inline]
    pub(crate) fn run<R>(&self, is_over: impl FnOnce(&R) -> bool, f: impl FnOnce() -> R) -> R {
        if self.id == 0 {
            return f();
        }
        scope::run(self, is_over, f)
    }

    /// It is polled by a fiber with this seat from here on; null: by none.
    pub(super) fn set_seat(&self, seat: *const Seat) {
        if let Some(open) = self.open() {
            open.seat.store(seat.cast_mut(), Ordering::Relaxed);
        }
    }

    /// It was preempted so many times more.
    pub(super) fn count(&self, preempted: u32) {
        if let Some(open) = self.open() {
            // Only the runner writes it.
            let before = open.preempted.load(Ordering::Relaxed);
            let count = before + u64::from(preempted);
            open.preempted.store(count, Ordering::Relaxed);
        }
    }

    /// Records how often it was preempted, if it was. Once: formatting layers append.
    pub(super) fn record_preempted(&self) {
        if let Some(open) = self.open() {
            match open.preempted.load(Ordering::Relaxed) {
                0 => {}
                count => drop(open.span.record("preempted", count)),
            }
        }
    }

    /// The task is over: nothing is told of it any more. Its number stays, for wakers that are still there.
    ///
    /// # Safety
    ///
    /// - The caller is the only one to use the span, here and later: the task's runner, or whoever frees it; or the
    ///   runner was lost (`is_lost`), and will never go on.
    #[inline]
    pub(crate) unsafe fn close(&self, is_lost: bool) {
        if self.id != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.close_enabled(is_lost) }
        }
    }

    /// # Safety
    ///
    /// As for [`close`](Self::close).
    #[cold]
    unsafe fn close_enabled(&self, is_lost: bool) {
        contain(|| {
            if is_lost && let Some(open) = self.open() {
                // SAFETY: null, or that of a fiber that is never freed, because it is lost.
                if let Some(seat) = unsafe { open.seat.load(Ordering::Relaxed).as_ref() } {
                    scope::abandon(seat, self);
                }
            }
            // SAFETY: the caller's promise; nothing refers to it any more.
            drop(unsafe { &mut *self.open.get() }.take());
        });
    }

    /// While a poll is away, who is to go on with it counts as somebody who has a waker, from whichever thread it is told:
    /// the console would warn of a task that waits and that nobody can wake.
    pub(super) fn held_waker(&self, op: &'static str) {
        self.with_subscriber(|_, dispatch| {
            tracing::dispatcher::with_default(dispatch, || {
                // It has no parent: on this thread no span is around it.
                trace!(target: "runtime::waker", parent: None, op = op, task.id = self.id);
            });
        });
    }

    /// A waker of the task's was used.
    #[inline]
    pub(crate) fn waker_op(&self, op: &'static str) {
        if self.id != 0 {
            tell_waker_op(self.id, op);
        }
    }
}

impl Drop for TaskSpan {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { self.close(false) };
    }
}

impl fmt::Debug for TaskSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskSpan").field(&self.id).finish()
    }
}

#[inline]
fn root_span(kind: &'static str, id: Id, origin: &Origin<'_>) -> Span {
    trace_span!(
        target: "preemptive::task",
        parent: None,
        "runtime.spawn",
        kind = %kind,
        task.name = %origin.name.unwrap_or_default(),
        task.id = id.get(),
        // Recorded by runtimes that box what they are given.
        original_size.bytes = Empty,
        size.bytes = origin.size,
        loc.file = origin.location.file(),
        loc.line = origin.location.line(),
        loc.col = origin.location.column(),
        preempted = Empty,
    )
}

#[inline(never)]
fn tell_waker_op(id: u64, op: &'static str) {
    // The event is user code. Wakers are too, so no caller may be in a critical section; this finds one that is.
    if cfg!(debug_assertions) && !crate::testing::may_allocate() {
        fatal!("rule R1: {op} of a traced task in a critical section");
    }
    contain(|| waker_event(id, op));
}

fn waker_event(id: u64, op: &'static str) {
    trace!(target: "runtime::waker", op = op, task.id = id);
}

/// Runs code of the subscriber's whose panic is nobody's. The panic hook has reported it.
pub(super) fn contain(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        // Its destructor may panic as well.
        std::mem::forget(payload);
    }
}

/// The future given to `block_on`, with a span.
#[derive(Debug)]
struct Root<F> {
    // First: what it drops is dropped before the span is closed.
    future: F,
    span: TaskSpan,
}

impl<F: Future> Future for Root<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future stays where it is, and nothing else of `self` is pinned.
        let (future, span) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &this.span)
        };
        span.run(Poll::is_ready, || future.poll(context))
    }
}

/// The future given to `block_on`, with a span if anybody is interested.
#[inline]
pub(crate) fn root<F: Future>(
    future: F,
    location: &'static Location<'static>,
) -> impl Future<Output = F::Output> {
    let origin = Origin::of::<F>(location);
    let span = TaskSpan::of(root_span("block_on", Id::next(), &origin));
    Root { future, span }
}
