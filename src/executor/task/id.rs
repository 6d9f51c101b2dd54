//! Names of tasks, and which task the current code belongs to.

use super::header::Header;
use crate::primitives::atomic::AtomicU64;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// The name of a task: a number that no other task of this process ever has.
///
/// Numbers are handed out in no promised order; they say nothing about the order in which tasks were spawned.
///
/// # Examples
///
/// ```
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let handle = preemptive::spawn(async { preemptive::task::id() });
///     let id = handle.id();
///     assert_eq!(handle.await.unwrap(), id);
/// })
/// ```
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Id(NonZeroU64);

#[cfg(not(loom))]
static NEXT: AtomicU64 = AtomicU64::new(1);

#[cfg(loom)]
loom::lazy_static! {
    static ref NEXT: AtomicU64 = AtomicU64::new(1);
}

impl Id {
    /// A name that was never given before.
    pub(crate) fn next() -> Id {
        loop {
            // Relaxed: only the number itself matters. Zero is skipped should the counter ever come around.
            if let Some(number) = NonZeroU64::new(NEXT.fetch_add(1, Relaxed)) {
                return Id(number);
            }
        }
    }

    /// That of nothing in particular: it is never handed out.
    pub(super) const NONE: Id = Id(NonZeroU64::MAX);

    /// The number.
    #[inline]
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    /// The task whose code runs here, or zero. Every fiber has its own.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    /// The task that this code is the runner of, while it runs the future's own code; or null.
    static POLLED: Cell<*mut Header> = const { Cell::new(std::ptr::null_mut()) };
}

/// The [`Id`] of the task that calls this.
///
/// Destructors of a task's future and of its output count as the task's own code, wherever they run.
///
/// # Panics
///
/// Outside a task. The future given to `block_on` is not a task; [`try_id`] returns `None` there.
///
/// # Examples
///
/// ```
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     preemptive::spawn(async { println!("this is task {}", preemptive::task::id()) })
///         .await
///         .unwrap();
/// })
/// ```
#[track_caller]
pub fn id() -> Id {
    match try_id() {
        Some(id) => id,
        None => panic!(
            "task::id called outside a task: call it from a spawned task, or use task::try_id"
        ),
    }
}

/// The [`Id`] of the task that calls this, or `None` outside a task.
///
/// # Examples
///
/// ```
/// assert!(preemptive::task::try_id().is_none());
/// ```
pub fn try_id() -> Option<Id> {
    NonZeroU64::new(CURRENT.get()).map(Id)
}

/// While it lives, the code of this thread belongs to a task. They nest.
#[derive(Debug)]
pub(crate) struct IdScope {
    outer: u64,
    _not_send: PhantomData<*const ()>,
}

impl IdScope {
    /// Makes `id` the current task until the value is dropped.
    #[inline]
    pub(crate) fn enter(id: Id) -> IdScope {
        IdScope {
            outer: CURRENT.replace(id.get()),
            _not_send: PhantomData,
        }
    }
}

impl Drop for IdScope {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// While it lives, the code of this thread is in the middle of a poll, or of dropping the future at its end.
#[derive(Debug)]
pub(super) struct Polled {
    outer: *mut Header,
}

impl Polled {
    /// The runner, which has a reference and keeps it while the value lives, begins.
    #[inline]
    pub(super) fn enter(task: NonNull<Header>) -> Polled {
        Polled {
            outer: POLLED.replace(task.as_ptr()),
        }
    }
}

impl Drop for Polled {
    #[inline]
    fn drop(&mut self) {
        POLLED.set(self.outer);
    }
}

/// The task whose future this code belongs to, as long as that runs. In a handler it is the interrupted code's.
pub(super) fn polled() -> Option<NonNull<Header>> {
    NonNull::new(POLLED.get())
}
