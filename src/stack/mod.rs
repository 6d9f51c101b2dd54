//! Stacks and the fibers on them: memory, thread identity, suspending, giving back.
//!
//! - `map`: the memory of a fiber, and trimming it;
//! - `fiber`: who may touch what of a fiber, and when;
//! - `identity`: the lenders, which are ordinary threads that wait;
//! - `queue`: lists of suspended fibers.

mod fiber;
mod identity;
mod map;
mod queue;

pub(crate) use fiber::{Fiber, current};
pub(crate) use identity::{Life, note_setxid, publish_ids, setxid_count};
pub(crate) use map::signal_size;
pub(crate) use queue::FiberQueue;
