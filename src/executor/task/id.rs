//! Names of tasks, and which task the current code belongs to.

use super::header::Header;
use crate::preempt::morestack::safepoint;
use crate::primitives::atomic::AtomicU64;
use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// The name of a task: a number that no other task of this process ever has.
///
/// Numbers are handed out in no promised order; they say nothing about the order in which tasks were spawned. Ids can be
/// compared so that they can be sorted, and be keys.
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
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
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

/// [`CURRENT`]: only a destructor of the task's runs here, and its runner may be somebody else.
const DROPS: usize = 1;

thread_local! {
    /// The task whose code runs here, or null; with [`DROPS`]. Every fiber has its own. The task outlives the scope.
    static CURRENT: Cell<*mut Header> = const { Cell::new(std::ptr::null_mut()) };
    /// While `CURRENT` has [`DROPS`]: the task whose runner this is none the less, or null.
    static AROUND: Cell<*mut Header> = const { Cell::new(std::ptr::null_mut()) };
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
///     let task = preemptive::spawn(async { format!("this is task {}", preemptive::task::id()) });
///     let id = task.id();
///     assert_eq!(task.await.unwrap(), format!("this is task {id}"));
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
/// use preemptive::task::try_id;
///
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     assert!(try_id().is_none());
///     let task = preemptive::spawn(async { try_id() });
///     let id = task.id();
///     assert_eq!(task.await.unwrap(), Some(id));
/// })
/// ```
pub fn try_id() -> Option<Id> {
    safepoint();
    let task = CURRENT.get().map_addr(|address| address & !DROPS);
    // SAFETY: null, or the task of a scope that lasts, which has a reference or is the last to use it; and headers
    // are only ever shared.
    unsafe { task.as_ref() }.map(|task| task.id)
}

/// The task whose runner the calling code belongs to: it is in the middle of a poll, or drops the future at its end. In
/// a handler, the code that was interrupted.
pub(super) fn polled() -> Option<NonNull<Header>> {
    let current = CURRENT.get();
    NonNull::new(match current.addr() & DROPS {
        0 => current,
        _ => AROUND.get(),
    })
}

/// While it lives, the code of this thread is that of a task's runner. They nest.
#[derive(Debug)]
pub(super) struct IdScope {
    outer: *mut Header,
}

impl IdScope {
    /// Makes `task` the current one until the value is dropped. The caller is its runner.
    #[inline]
    pub(super) fn enter(task: NonNull<Header>) -> IdScope {
        IdScope {
            outer: CURRENT.replace(task.as_ptr()),
        }
    }
}

impl Drop for IdScope {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// While it lives, the code of this thread belongs to a task of which something is dropped. They nest.
#[derive(Debug)]
pub(super) struct DropScope {
    outer: *mut Header,
    around: *mut Header,
}

impl DropScope {
    /// Makes `task` the current one until the value is dropped. The task outlives that.
    pub(super) fn enter(task: NonNull<Header>) -> DropScope {
        let runs = polled().map_or(std::ptr::null_mut(), NonNull::as_ptr);
        let around = AROUND.replace(runs);
        DropScope {
            outer: CURRENT.replace(task.as_ptr().map_addr(|address| address | DROPS)),
            around,
        }
    }
}

impl Drop for DropScope {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        AROUND.set(self.around);
    }
}
