//! Code that runs inside of a task's span: how it enters, what the attendant may know of it, how it leaves.
//!
//! A [`Scope`] lies on the stack of the code that it is for. On a fiber it is in the list of the fiber's [`Seat`] from the
//! first moment to the last, and both ends of that wait until the attendant is not in the middle of telling.

use super::span::{TaskSpan, contain};
use crate::executor::shared::Shared;
use crate::executor::{actions, probe};
use crate::preempt::{Critical, signal};
use crate::stack::{self, Fiber, Hold, Seat};
use crate::sys;
use std::cell::Cell;
use std::ptr::{from_ref, null};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Scope {
    span: *const TaskSpan,
    /// The next outer one on this fiber, or null.
    outer: Cell<*const Scope>,
    /// What was told last is that it has exited. Whoever has the hold of the seat.
    is_away: Cell<bool>,
    /// How often the fiber had been preempted when it began.
    preempted: Cell<u32>,
}

impl Scope {
    fn new(span: &TaskSpan) -> Scope {
        Scope {
            span,
            outer: Cell::new(null()),
            is_away: Cell::new(false),
            preempted: Cell::new(0),
        }
    }

    pub(super) fn span(&self) -> &TaskSpan {
        // SAFETY: the scope is in use only while what it was made of is borrowed: see `run`.
        unsafe { &*self.span }
    }

    pub(super) fn outer(&self) -> *const Scope {
        self.outer.get()
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.get()
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.set(is_away);
    }
}

/// Runs `f` inside of the span; `is_over` says whether that was the last time.
pub(super) fn run<R>(
    span: &TaskSpan,
    is_over: impl FnOnce(&R) -> bool,
    f: impl FnOnce() -> R,
) -> R {
    span.enter();
    let scope = Scope::new(span);
    let mut inside = Inside {
        fiber: list(&scope),
        scope: &scope,
        is_over: false,
    };
    let result = f();
    inside.is_over = is_over(&result);
    drop(inside);
    result
}

/// However `f` ends.
struct Inside<'a> {
    scope: &'a Scope,
    fiber: Option<&'static Fiber>,
    is_over: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // In a forked child nobody tells what is still to be told, and a poll that has returned is to hear so at once (R10).
        if let Some(fiber) = self.fiber.filter(|_| !signal::is_forked()) {
            unlist(&fiber.seat, self.scope);
        }
        let span = self.scope.span();
        let leave = || {
            if self.is_over {
                span.record_preempted();
            }
            span.exit();
        };
        // A panic that unwinds already is the one that counts.
        match std::thread::panicking() {
            true => contain(leave),
            false => leave(),
        }
    }
}

/// Puts the scope into the list of the fiber that this code runs as. None: it is no fiber, or nobody would tell.
fn list(scope: &Scope) -> Option<&'static Fiber> {
    // SAFETY: null, or the fiber that this code runs as, which lives as long as that.
    let fiber: &'static Fiber = unsafe { stack::current().as_ref() }?;
    if signal::is_forked() {
        return None;
    }
    // SAFETY: a fiber holds a reference to its runtime while it runs.
    if !unsafe { &*fiber.owner.cast::<Shared>() }.trace.joins() {
        return None;
    }
    let seat = &fiber.seat;
    scope.span().set_seat(&**seat);
    scope.preempted.set(seat.preempted());
    hold(seat, |outer| {
        scope.outer.set(outer);
        Some(from_ref(scope))
    });
    Some(fiber)
}

/// Takes the scope, the innermost, out of the list, once everybody knows that the fiber is there.
fn unlist(seat: &Seat, scope: &Scope) {
    hold(seat, |innermost| {
        debug_assert!(std::ptr::eq(innermost, scope), "scopes do not nest");
        (!scope.is_away()).then(|| scope.outer())
    });
    scope.span().set_seat(null());
    scope.span().count(seat.preempted() - scope.preempted.get());
}

/// Has `change` say what is to be the innermost scope, given what it is. `None`: ask again once the attendant has told
/// what is still to be told.
fn hold(seat: &Seat, mut change: impl FnMut(*const Scope) -> Option<*const Scope>) {
    loop {
        let critical = Critical::enter();
        let value = match seat.try_hold() {
            Hold::Wait(value) => value,
            Hold::Mine(innermost) => match change(innermost.cast_const().cast()) {
                Some(innermost) => {
                    seat.set(innermost.cast_mut().cast());
                    return;
                }
                None => seat.owe(),
            },
        };
        drop(critical);
        wait_while(|deadline| seat.sleep(value, deadline));
    }
}

/// What the attendant needs, mostly, to get onto a core and tell.
const SOON: u64 = 50_000;
/// So often code that waits on the only thread of its runtime lets others have that, who may have what it waits for.
const OFTEN: u64 = 1_000_000;

/// Waits, in preemptible code, while `sleep` sleeps, until the deadline that it is given, and returns true.
fn wait_while(mut sleep: impl FnMut(u64) -> bool) {
    if !sleep(sys::now() + SOON) {
        return;
    }
    actions::before_blocking();
    while sleep(sys::now() + OFTEN) {
        probe::give_way();
    }
}

/// The span of a poll that was lost with its fiber's stack: takes its scopes out of the list, and says that it has
/// exited, if nobody has.
pub(super) fn abandon(seat: &Seat, span: &TaskSpan) {
    let mut is_told = true;
    hold(seat, |innermost| {
        // SAFETY: null, or a scope on the stack that was lost, which is never freed.
        is_told = unsafe { innermost.as_ref() }.is_none_or(Scope::is_away);
        Some(null())
    });
    if !is_told {
        span.exit();
    }
}

/// Tells of the scopes from `innermost` on whether their fiber is away. True: something was new. By the attendant, which
/// has the hold.
pub(super) fn tell(innermost: *const Scope, is_away: bool) -> bool {
    // SAFETY: null, or a scope in the list, which does not end while the attendant has the hold.
    let Some(scope) = (unsafe { innermost.as_ref() }) else {
        return false;
    };
    // Enter from the outermost to the innermost, exit the other way round.
    let before = !is_away && tell(scope.outer(), is_away);
    let is_new = scope.is_away() != is_away;
    if is_new {
        scope.set_away(is_away);
        // Each by itself: what one panics with is not to keep the other from being told.
        match is_away {
            true => {
                contain(|| scope.span().held_waker("waker.clone"));
                contain(|| scope.span().exit());
            }
            false => {
                contain(|| scope.span().enter_for_another_thread());
                contain(|| scope.span().held_waker("waker.drop"));
            }
        }
    }
    let after = is_away && tell(scope.outer(), is_away);
    before || is_new || after
}
