//! What stacks cost: checks, growth, trimming.
//!
//! `cargo bench -p preemptive-benches --bench stack [-- --json]`; `benches/README.md` says what each figure is.

mod check;
mod growth;

use preemptive_benches::Report;

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let report = Report::begin(json);
    check::run(&report);
    growth::run(&report);
}
