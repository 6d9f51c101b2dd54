//! What the measurements share: samples and their spread, and how figures are printed.

mod arguments;
mod bell;
pub mod child;
mod contender;
pub mod flood;
mod histogram;
mod hog;
mod json;
mod machine;
mod memory;
mod report;
mod rival;
mod samples;
pub mod stage;
mod ticker;
mod work;

pub use arguments::Arguments;
pub use bell::Bell;
pub use contender::{Cast, Contender, cast};
pub use histogram::{Histogram, Percentiles};
pub use hog::{hog_for, hog_until};
pub use json::Json;
pub use machine::Machine;
pub use memory::Memory;
pub use report::Report;
pub use rival::{AsyncExecutor, Preemptive, Rival, Tokio};
pub use samples::{Samples, Spread, interleave, time};
pub use ticker::Ticker;
pub use work::{Kind, Work};
