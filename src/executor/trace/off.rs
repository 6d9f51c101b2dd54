//! Without the feature `tracing`: nothing.

use super::{Kind, Origin};
use crate::executor::task::Id;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;

/// What a task would have.
#[derive(Debug)]
pub(crate) struct TaskSpan;

impl TaskSpan {
    #[inline]
    pub(crate) const fn none() -> TaskSpan {
        TaskSpan
    }

    #[inline]
    pub(crate) fn new(_kind: Kind, _id: Id, _origin: &Origin<'_>) -> TaskSpan {
        TaskSpan
    }

    #[inline]
    pub(crate) fn blocking<F>(_id: Id, _origin: &Origin<'_>) -> TaskSpan {
        let _ = PhantomData::<F>;
        TaskSpan
    }

    #[inline]
    pub(crate) fn run<R>(&self, _is_over: impl FnOnce(&R) -> bool, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// # Safety
    ///
    /// None: it does nothing.
    #[inline]
    pub(crate) unsafe fn close(&self, _is_lost: bool) {}

    #[inline]
    pub(crate) fn waker_op(&self, _op: &'static str) {}
}

/// What a runtime would have.
#[derive(Debug)]
pub(crate) struct Member;

impl Member {
    pub(crate) const fn new() -> Member {
        Member
    }

    pub(crate) fn leave(&self) {}
}

/// The future itself.
#[inline]
pub(crate) fn root<F: Future>(future: F, _location: &'static Location<'static>) -> F {
    future
}
