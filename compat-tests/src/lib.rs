//! Helpers for running the same bodies on Tokio and on `preemptive`.
