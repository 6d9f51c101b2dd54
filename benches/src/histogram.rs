//! Latencies, counted by many threads at once and read at any time.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Each power of two of nanoseconds is divided into so many buckets: no percentile is more than 0.4 % off.
const PER_OCTAVE_BITS: u32 = 7;
const BUCKETS: usize = (64 - PER_OCTAVE_BITS as usize + 1) << PER_OCTAVE_BITS;

/// A histogram with buckets of nearly constant relative width.
///
/// Recording neither allocates nor locks: a task that does it is never in anybody's way, wherever it is interrupted,
/// and one that never runs again does not keep the figures to itself.
pub struct Histogram {
    buckets: Box<[AtomicU32]>,
    max: AtomicU64,
}

/// What is said about latencies. All of them are null where nothing was recorded.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub n: u64,
    pub p50_us: Option<f64>,
    pub p90_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub max_us: Option<f64>,
}

impl Histogram {
    /// Empty.
    #[expect(
        clippy::new_without_default,
        reason = "a default is expected to be cheap"
    )]
    pub fn new() -> Histogram {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            max: AtomicU64::new(0),
        }
    }

    /// One more.
    pub fn record(&self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.max.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    /// Where the latencies lie.
    pub fn percentiles(&self) -> Percentiles {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .collect();
        let n = counts.iter().sum();
        if n == 0 {
            return Percentiles::default();
        }
        let max = self.max.load(Ordering::Relaxed);
        // The smallest latency that so many of them do not exceed.
        let at = |fraction: f64| {
            let rank = ((n as f64 * fraction).ceil() as u64).max(1);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Some(microseconds(found.map_or(max, middle).min(max)))
        };
        Percentiles {
            n,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: Some(microseconds(max)),
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.percentiles().fmt(f)
    }
}

/// The bucket is the number's highest bits: where the first one is, and the few after it.
fn bucket(value: u64) -> usize {
    let length = u64::BITS - value.leading_zeros();
    // Below that, each number has a bucket of its own.
    let octave = length.saturating_sub(PER_OCTAVE_BITS + 1);
    ((octave as usize) << PER_OCTAVE_BITS) + (value >> octave) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let octave = (bucket >> PER_OCTAVE_BITS).saturating_sub(1);
    let lowest = ((bucket - (octave << PER_OCTAVE_BITS)) as u64) << octave;
    lowest + (1 << octave) / 2
}

/// With tenths of a microsecond: more would be noise.
fn microseconds(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_narrow_and_contains_its_numbers() {
        for shift in 0..63 {
            for value in [1_u64 << shift, (1 << shift) + (1 << shift) / 3] {
                let error = middle(bucket(value)).abs_diff(value) as f64 / value as f64;
                assert!(error < 0.004, "{value} is {} % off", error * 100.0);
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_are_ranks() {
        let histogram = Histogram::new();
        assert_eq!(histogram.percentiles().p50_us, None);
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let found = histogram.percentiles();
        let expected = [(found.p50_us, 500.0), (found.p99_us, 990.0)];
        for (found, expected) in expected {
            let found = found.expect("there are samples");
            assert!((found / expected - 1.0_f64).abs() < 0.005, "{found}");
        }
        assert_eq!(found.max_us, Some(1000.0));
    }
}
