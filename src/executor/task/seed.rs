//! What a task begins with, beside its future.

use super::id::Id;
use crate::executor::trace::{Kind, Origin, TaskSpan};
use std::panic::Location;

/// See the module's head. Making one may run code of the user's: the subscriber that is told of the task.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(super) id: Id,
    pub(super) location: &'static Location<'static>,
    pub(super) span: TaskSpan,
}

impl Seed {
    /// That of a task which nobody is told of.
    #[inline]
    pub(crate) fn plain(id: Id, location: &'static Location<'static>) -> Seed {
        Seed {
            id,
            location,
            span: TaskSpan::none(),
        }
    }

    /// That of a new task.
    #[inline]
    pub(crate) fn new(kind: Kind, origin: &Origin<'_>) -> Seed {
        let id = Id::next();
        Seed {
            id,
            location: origin.location,
            span: TaskSpan::new(kind, id, origin),
        }
    }

    /// That of a closure of type `F` for the blocking pool.
    #[inline]
    pub(crate) fn blocking<F>(origin: &Origin<'_>) -> Seed {
        let id = Id::next();
        Seed {
            id,
            location: origin.location,
            span: TaskSpan::blocking::<F>(id, origin),
        }
    }
}
