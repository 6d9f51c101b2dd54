//! Run queues: one ring and one slot per processor, one list for all.
//!
//! All are used inside critical sections: no operation allocates, and none drops a task.

mod global;
mod local;
mod slot;

pub(crate) use global::Global;
pub(crate) use local::Local;
pub(crate) use slot::Slot;
