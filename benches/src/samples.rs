//! Samples of one quantity, and what is said about them: never a mean alone.

use std::time::Instant;

/// Samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// Where samples lie.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub n: usize,
    pub min: f64,
    pub p5: f64,
    pub median: f64,
    pub p95: f64,
    pub max: f64,
}

impl Samples {
    /// None yet.
    pub const fn new() -> Samples {
        Samples(Vec::new())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Where they lie.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn spread(&self) -> Spread {
        assert!(!self.0.is_empty(), "a figure needs samples");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |fraction: f64| sorted[((sorted.len() - 1) as f64 * fraction).round() as usize];
        Spread {
            n: sorted.len(),
            min: at(0.0),
            p5: at(0.05),
            median: at(0.5),
            p95: at(0.95),
            max: at(1.0),
        }
    }

    /// Sample by sample, this over that.
    pub fn ratio(&self, other: &Samples) -> Samples {
        self.map_with(other, |this, that| this / that)
    }

    /// Sample by sample, a function of this and that.
    pub fn map_with(&self, other: &Samples, f: impl Fn(f64, f64) -> f64) -> Samples {
        Samples(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(a, b)| f(*a, *b))
                .collect(),
        )
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Samples(samples.into_iter().collect())
    }
}

/// Nanoseconds per call, over `calls` calls.
pub fn time(calls: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        f();
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// Takes `n` samples of each of several quantities in turn, A B A B, so that what disturbs the machine for a
/// while disturbs all of them.
pub fn interleave<const K: usize>(
    n: usize,
    mut quantities: [&mut dyn FnMut() -> f64; K],
) -> [Samples; K] {
    let mut samples = [const { Samples::new() }; K];
    for _ in 0..n {
        for (quantity, samples) in quantities.iter_mut().zip(&mut samples) {
            samples.push(quantity());
        }
    }
    samples
}
