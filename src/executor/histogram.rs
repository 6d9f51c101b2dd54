//! How long polls take, on request: two clock readings per poll.
//!
//! The first bucket is what takes less than a microsecond, each of the others twice as long as the one before; the last
//! has no end.

use crate::primitives::atomic::{AtomicU64, Ordering};
use std::ops::Range;
use std::time::Duration;

/// Up to 2^23 µs, that is 8.4 s, and the rest.
pub(crate) const BUCKETS: usize = 25;

/// The polls that began on one processor.
#[derive(Debug)]
pub(crate) struct Histogram([AtomicU64; BUCKETS]);

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram([const { AtomicU64::new(0) }; BUCKETS])
    }

    /// Counts a poll. The processor that it ends on need not be the one that it began on.
    pub(crate) fn record(&self, nanoseconds: u64) {
        self.0[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// How many polls are in this bucket.
    pub(crate) fn count(&self, bucket: usize) -> u64 {
        self.0[bucket].load(Ordering::Relaxed)
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let microseconds = nanoseconds / 1_000;
    (u64::BITS - microseconds.leading_zeros()).min(BUCKETS as u32 - 1) as usize
}

/// The durations that a bucket counts.
pub(crate) fn range(bucket: usize) -> Range<Duration> {
    let edge = |bucket: usize| match bucket {
        0 => Duration::ZERO,
        BUCKETS => Duration::MAX,
        _ => Duration::from_micros(1 << (bucket - 1)),
    };
    edge(bucket)..edge(bucket + 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_bucket_that_says_so() {
        let edges = (0..40).flat_map(|shift| {
            let power = 1_u64 << shift;
            [power - 1, power, power + 1]
        });
        for nanoseconds in edges.chain([u64::MAX, 999, 1_000, 1_001, 2_000]) {
            let duration = Duration::from_nanos(nanoseconds);
            let range = range(bucket(nanoseconds));
            assert!(range.contains(&duration), "{duration:?} in {range:?}");
        }
    }

    #[test]
    fn buckets_leave_no_gap() {
        for bucket in 1..BUCKETS {
            assert_eq!(range(bucket - 1).end, range(bucket).start);
        }
        assert_eq!(range(0).start, Duration::ZERO);
        assert_eq!(range(BUCKETS - 1).end, Duration::MAX);
    }
}
