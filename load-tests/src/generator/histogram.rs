//! Latencies, kept in buckets at most 1/64 wide.

use std::time::Duration;

/// Bits of a value that are kept exactly.
const EXACT_BITS: u32 = 6;
/// Buckets of each power of two.
const STEPS: usize = 1 << EXACT_BITS;

/// How often each latency was seen, to within 1.6 %.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(us);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency that this share of all (0 to 1) did not exceed, in milliseconds; zero when
    /// nothing was counted.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top_of(bucket).min(self.max_us) as f64 / 1_000.0;
            }
        }
        0.0
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1_000.0
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }
}

fn bucket_of(us: u64) -> usize {
    let exponent = us.max(1).ilog2().saturating_sub(EXACT_BITS);
    // Below 2^6 the value itself; above, its top seven bits, 64 steps for each power of two.
    exponent as usize * STEPS + (us >> exponent) as usize
}

fn top_of(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let exponent = bucket / STEPS - 1;
    let step = (bucket - exponent * STEPS) as u64;
    ((step + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_value_within_two_percent() {
        let mut last = 0;
        for us in (0..2_000_u64).chain((11..40).map(|bits| (1 << bits) + 12_345)) {
            let bucket = bucket_of(us);
            assert!(bucket >= last, "{us}");
            last = bucket;
            let top = top_of(bucket);
            assert!(top >= us && top - us <= us / 64 + 1, "{us} in {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), 0.0);
        for us in 1..=1_000 {
            histogram.record(Duration::from_micros(us));
        }
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(twice.count(), 2_000);
        for histogram in [histogram, twice] {
            assert!((histogram.quantile_ms(0.5) - 0.5).abs() < 0.01);
            assert!((histogram.quantile_ms(0.99) - 0.99).abs() < 0.02);
            assert_eq!(histogram.quantile_ms(1.0), 1.0);
            assert_eq!(histogram.max_ms(), 1.0);
        }
    }
}
