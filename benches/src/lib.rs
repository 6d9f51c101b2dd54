//! Shared helpers of the measurements.
