//! Whether the machine had time for us: lateness is also what other programs make of it.

use std::fs;

/// The part of their time, from 0 to 1, that this process's threads were ready to run and waited for a core.
pub(crate) fn share_of_waiting() -> f64 {
    let (mut ran, mut waited) = (0.0, 0.0);
    for thread in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        // Nanoseconds on a core, and in the kernel's run queue. A kernel without it knows nothing of waiting.
        let statistics = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let mut numbers = statistics.split_whitespace().flat_map(str::parse::<f64>);
        ran += numbers.next().unwrap_or(0.0);
        waited += numbers.next().unwrap_or(0.0);
    }
    if ran + waited > 0.0 {
        waited / (ran + waited)
    } else {
        0.0
    }
}
