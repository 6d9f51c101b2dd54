//! What an expansion of `checked` calls, with `crate = "crate::mock"`: functions that write down who called them.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::cell::RefCell;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Check {
    /// A function was entered, with this red zone.
    Enter(usize),
    /// A loop or a function that stays where it is went on.
    Safepoint,
}

use Check::{Enter, Safepoint};

thread_local! {
    static CHECKS: RefCell<Vec<Check>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn safepoint() {
    CHECKS.with_borrow_mut(|checks| checks.push(Safepoint));
}

pub(crate) mod __private {
    pub(crate) fn enter<const RED_ZONE: usize, R>(f: impl FnOnce() -> R) -> R {
        super::CHECKS.with_borrow_mut(|checks| checks.push(super::Enter(RED_ZONE)));
        f()
    }
}

/// Calls `f` and returns its result with the checks that ran meanwhile on this thread.
pub(crate) fn checks<R>(f: impl FnOnce() -> R) -> (R, Vec<Check>) {
    CHECKS.take();
    let result = f();
    (result, CHECKS.take())
}

/// How many functions were entered, and how many safepoints passed, in `f`.
pub(crate) fn count(f: impl FnOnce()) -> (usize, usize) {
    let ((), checks) = checks(f);
    let entered = checks.iter().filter(|check| **check != Safepoint).count();
    (entered, checks.len() - entered)
}
