//! With the feature `tracing`: a span per task, and events of its wakers, as tokio-console wants them.
//!
//! The names, fields, levels and targets are those by which `console-subscriber` knows Tokio's tasks: a span
//! `runtime.spawn`, and events on the target `runtime::waker` whose `task.id` is the span's. Without the feature all of
//! this is empty (`off`); with it, and without anybody interested, a spawn costs a load, and a wake a comparison.
//!
//! # Where code of the subscriber's runs
//!
//! Spans and events are user code: they run preemptibly, on fibers and plain threads, like polls (rule R1). What happens
//! to a span in a critical section, where its poll is suspended and resumed, is told later by an ordinary thread, the
//! *attendant*: see `stack::seat`, which has the words, and `attendant`.
//!
//! # Who enters and exits
//!
//! | what | who | how |
//! |---|---|---|
//! | a poll begins, ends | the poll itself, under its identity | `enter`, `exit` |
//! | it is suspended (preempted, or parked in the middle) | the attendant, a moment later | `exit` |
//! | it goes on | the attendant | `enter` |
//!
//! An absence that is over before the attendant has come is not told. The poll's own identity keeps its own stack of
//! current spans, which is right after a preemption as it was before, for it belongs to that poll alone (rule R3). Scopes
//! nest (a task polls a local set): the inner ones exit first and enter last.
//!
//! # Whose stack of spans has what
//!
//! Subscribers keep a stack of entered spans per thread, and some (the console, formatting layers) count per span how
//! often it is entered, and do not take it well if that falls below zero. An `exit` that does not find the span on its
//! thread's stack only counts. So:
//!
//! ```text
//!                                    poll's stack   attendant's stack   entered
//!   a poll begins                         1                0               1
//!   away for the first time: exit         1                0 (nothing)     0
//!   back: enter                           1                1               1
//!   away again: exit                      1                0               0
//!   back: enter                           1                1               1
//!   the poll ends: exit                   0                1               0
//!   the next poll begins                  1                1               1
//! ```
//!
//! From the first absence of a task on, there is one entry more on the stacks than it is entered times, and no sequence
//! avoids that: who undoes the first `exit` puts the span on a stack, and whoever takes it off there counts. Between the
//! task's polls, and when it is over, the entry is on the attendant's stack, where it would stay: the number of a closed span.
//!
//! So the attendant takes it off at once by asking the subscriber for its `Registry` (tracing-subscriber's, which
//! keeps the stack that `Span::current` and nearly all layers use) and having that alone exit: no layer hears of it, and none
//! counts. The attendant's stack is empty whenever it is not in the middle of telling. Layers that keep such stacks of their own
//! (the console's) keep one entry per task that was ever suspended in a poll. Before tracing-subscriber 0.3.22 entries
//! counted as references, which this does not know how to give back; hence the version that Cargo.toml asks for.
//!
//! Since the attendant owes the poll its `enter`, a poll that ends sooner than the attendant has told that it is back
//! waits for it, preemptibly.
//!
//! # Panics of a subscriber
//!
//! In a poll they are the task's, as on Tokio: it ends with a `JoinError`. In a spawn they are the caller's. The
//! attendant's, and those of a waker's event, are reported by the panic hook, and swallowed.

#[cfg(feature = "tracing")]
mod attendant;
#[cfg(feature = "tracing")]
mod scope;
#[cfg(feature = "tracing")]
mod span;

#[cfg(not(feature = "tracing"))]
mod off;

#[cfg(feature = "tracing")]
pub(crate) use {attendant::Member, span::TaskSpan, span::root};

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Member, TaskSpan, root};

use std::marker::PhantomData;
use std::panic::Location;

/// What kind of task a span is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `spawn`.
    Task,
    /// `spawn_local`.
    Local,
}

/// What is said of a task where it is spawned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) location: &'static Location<'static>,
    #[cfg(feature = "tracing")]
    name: Option<&'a str>,
    /// Of the future, or the closure, as the user gave it.
    #[cfg(feature = "tracing")]
    size: usize,
    _name: PhantomData<&'a str>,
}

impl<'a> Origin<'a> {
    /// Of a task that runs an `F`.
    #[inline]
    pub(crate) fn of<F>(location: &'static Location<'static>) -> Origin<'a> {
        let size = size_of::<F>();
        #[cfg(not(feature = "tracing"))]
        let _ = size;
        Origin {
            location,
            #[cfg(feature = "tracing")]
            name: None,
            #[cfg(feature = "tracing")]
            size,
            _name: PhantomData,
        }
    }

    /// The same with a name.
    #[inline]
    pub(crate) fn named(self, name: Option<&'a str>) -> Origin<'a> {
        #[cfg(feature = "tracing")]
        return Origin { name, ..self };
        #[cfg(not(feature = "tracing"))]
        {
            let _ = name;
            self
        }
    }
}
