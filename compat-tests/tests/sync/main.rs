//! All of `tokio::sync` in our tasks, preempted in the middle of every operation.

// For its allocator.
use compat_tests as _;

mod blocking;
mod channels;
#[path = "../support/crowd.rs"]
mod crowd;
mod events;
mod fanout;
mod locks;
mod once;
mod permits;
#[path = "../support/quiet.rs"]
mod quiet;
#[path = "../support/together.rs"]
mod together;
