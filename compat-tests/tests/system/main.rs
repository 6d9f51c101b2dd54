//! What Tokio makes of the system, in our tasks: files, processes, signals, time; and runtimes inside each other.

use compat_tests::bridge::Beside;
use crowd::Crowd;
use preemptive::runtime::Builder;

#[path = "../support/crowd.rs"]
mod crowd;
#[path = "../support/directory.rs"]
mod directory;
mod files;
mod macros;
mod nested_ours;
mod nested_tokio;
mod process;
#[path = "../support/quiet.rs"]
mod quiet;
mod signals;
mod time;
#[path = "../support/together.rs"]
mod together;

/// Runs a future as a task among hogs, with Tokio beside.
#[track_caller]
pub(crate) fn beside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let beside = Beside::new().expect("a runtime of Tokio's");
    Crowd::with(beside.attach(&mut Builder::new_multi_thread())).run(future)
}
