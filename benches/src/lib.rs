//! What the measurements share: samples and their spread, and how figures are printed.

mod machine;
mod report;
mod samples;

pub use machine::Machine;
pub use report::Report;
pub use samples::{Samples, Spread, interleave, time};
