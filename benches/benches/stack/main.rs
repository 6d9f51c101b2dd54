//! What stacks cost: checks, growth, trimming, and waiting in the middle of a poll.
//!
//! `cargo bench -p preemptive-benches --bench stack [-- --json] [PART…]`; `benches/README.md` says what each figure is.

mod channel;
mod check;
mod growth;

use preemptive_benches::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let report = Report::begin(arguments.iter().any(|argument| argument == "--json"));
    let parts: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| part.contains(wanted));
    if wants("check") {
        check::run(&report);
    }
    if wants("growth") {
        growth::run(&report);
    }
    channel::figures(&report, wants);
}
