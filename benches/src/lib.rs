//! What the measurements share: samples and their spread, and how figures are printed.

mod arguments;
mod bell;
mod json;
mod machine;
mod report;
mod rival;
mod samples;

pub use arguments::Arguments;
pub use bell::Bell;
pub use json::Json;
pub use machine::Machine;
pub use report::Report;
pub use rival::{AsyncExecutor, Preemptive, Rival, Tokio};
pub use samples::{Samples, Spread, interleave, time};
