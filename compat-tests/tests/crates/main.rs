//! Other people's crates in preempted tasks: channels, combinators, reactors, databases, pools, and what they keep per
//! thread.

// For its allocator.
use compat_tests as _;

mod channels;
#[path = "../support/crowd.rs"]
mod crowd;
mod dashmap;
#[path = "../support/directory.rs"]
mod directory;
mod epoch;
mod futures_rs;
mod futures_spawn;
mod our_channels;
mod per_thread;
mod rayon;
mod smol;
mod sqlite;
#[path = "../support/together.rs"]
mod together;
mod tracing_spans;
