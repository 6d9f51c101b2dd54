//! Stacks that grow: running deep recursion on as much memory as there is.
//!
//! Every poll runs on a stack of the runtime's, 2 MiB unless
//! [`Builder::thread_stack_size`](crate::runtime::Builder::thread_stack_size) says otherwise. Code that may need more goes
//! on, on a *segment* of its own, by [`grow`]; functions under [`#[preemptive::checked]`](macro@crate::checked) do so by
//! themselves. Panics unwind across segments, backtraces show the frames on both sides, and tasks are preempted there
//! as anywhere. All of it works on plain threads as well.
//!
//! Nothing is copied: what points into a stack stays valid. Rust lets nobody move a live stack, as Go does; segments
//! are what [GCC's split stacks](https://gcc.gnu.org/wiki/SplitStacks) and the crate
//! [`stacker`](https://docs.rs/stacker) have shown to work.
//!
//! ```
//! use preemptive::stack;
//!
//! struct List(Option<Box<List>>);
//!
//! fn length(list: &List) -> u64 {
//!     stack::grow(64 << 10, 1 << 20, || list.0.as_ref().map_or(0, |rest| 1 + length(rest)))
//! }
//!
//! # preemptive::runtime::Runtime::new().unwrap().block_on(async {
//! let list = (0..1_000).fold(List(None), |rest, _| List(Some(Box::new(rest))));
//! assert_eq!(preemptive::spawn(async move { length(&list) }).await.unwrap(), 1_000);
//! # });
//! ```

// Inside, this is the layer of stacks and the fibers on them: memory, thread identity, suspending, giving back.
//
// - `map`: the memory of a fiber, and trimming it;
// - `fiber`: who may touch what of a fiber, and when;
// - `identity`: the lenders, which are ordinary threads that wait;
// - `parked`: polls that wait, and who may go on with them;
// - `queue`: lists of suspended fibers;
// - `seat`: whether a fiber is suspended, told to a thread that may take its time;
// - `guard`: the word that says how far a stack goes, and whether its fiber is wanted elsewhere;
// - `segment`, `pool`: stacks that go on elsewhere.

mod fiber;
mod guard;
mod identity;
mod map;
mod parked;
mod pool;
mod queue;
#[cfg(feature = "tracing")]
pub(crate) mod seat;
mod segment;

pub(crate) use fiber::{Fiber, current};
pub(crate) use guard::RED_ZONE;
pub(crate) use identity::{Fate, Life, note_setxid, publish_ids, setxid_count};
pub(crate) use map::{GuardPage, RED_ZONE as ABI_RED_ZONE, signal_size};
pub(crate) use parked::{ASLEEP, Notice, Taken, Trim, Waits};
pub(crate) use pool::trim as trim_pool;
pub(crate) use queue::FiberQueue;
#[cfg(feature = "tracing")]
pub(crate) use seat::{Hold, Seat};
pub(crate) use segment::{SEGMENT, mapped, on_new_segment, own};

/// What calling on a new segment takes of it.
const OVERHEAD: usize = 1024;

/// Runs `f` here if at least `red_zone` bytes of stack are left, and otherwise on a new segment with at least
/// `segment` bytes. Returns what `f` returns.
///
/// A segment is reserved address space, 1 MiB or more, of which pages are committed when they are touched. When `f` has
/// returned, one is kept for the next call and a few in a pool, others are unmapped: a call at the boundary in a
/// loop costs some tens of nanoseconds, not a system call. Where no memory can be reserved, `f` runs here.
///
/// On a stack that the runtime knows nothing of, such as one that a generator crate has made, `f` always gets a new
/// segment. But on a signal stack (`SA_ONSTACK`) it always runs where it is: for the kernel a signal stack that the stack
/// pointer has left is free, and the next signal's frame would overwrite the handler's.
///
/// # Panics
///
/// When `f` does: it unwinds through here, its payload intact.
///
/// # Examples
///
/// ```
/// use preemptive::stack;
///
/// fn depth(of: u64) -> u64 {
///     stack::grow(64 * 1024, 1024 * 1024, || match of {
///         0 => 0,
///         _ => 1 + depth(of - 1),
///     })
/// }
/// assert_eq!(depth(100_000), 100_000);
/// ```
pub fn grow<R>(red_zone: usize, segment: usize, f: impl FnOnce() -> R) -> R {
    let fits = match remaining() {
        Some(bytes) => bytes >= red_zone,
        None => crate::sys::is_on_signal_stack(),
    };
    if fits {
        return f();
    }
    on_new_segment(segment.saturating_add(OVERHEAD), f)
}

/// How many bytes of stack the caller has left on its current segment.
///
/// `None` on a stack that the runtime knows nothing of: in a signal handler, or in a generator that brought its own.
///
/// # Examples
///
/// ```
/// use preemptive::stack;
///
/// let before = stack::remaining().unwrap();
/// let inside = stack::grow(usize::MAX, 4 << 20, || stack::remaining().unwrap());
/// assert!(inside >= 4 << 20);
/// assert!(stack::remaining().unwrap().abs_diff(before) < 4096);
/// ```
pub fn remaining() -> Option<usize> {
    own(|stack| stack.remaining())
}
