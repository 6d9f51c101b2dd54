//! Run queues: one ring per processor, one list for all.
//!
//! Both are used inside critical sections: no operation allocates, and none drops a task.

mod global;
mod local;

pub(crate) use global::Global;
pub(crate) use local::Local;
