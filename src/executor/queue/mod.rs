//! Run queues: one ring and one slot per processor, one list for all.
//!
//! All are used inside critical sections: no operation allocates, and none drops a task.

mod global;
mod local;
mod slot;

pub(crate) use global::Global;
pub(crate) use local::Local;
pub(crate) use slot::Slot;

/// Slots of a ring. Room for a burst; beyond it half of the ring goes to the shared queue. (The models in
/// `tests/models` have a smaller one.)
const CAPACITY: usize = 256;
