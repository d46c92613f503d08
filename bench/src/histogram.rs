//! Latencies, counted without losing the tail.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart, in microseconds; a longer one counts as this.
const MICROS_MAX: u64 = 600_000_000;

/// A count of latencies: three significant digits, from a microsecond to ten minutes.
#[derive(Clone, Debug)]
pub struct Latencies {
    micros: Histogram<u64>,
}

/// The quantiles that reports state, in milliseconds; zeros if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// On average.
    pub mean: f64,
    /// Half took at most this long.
    pub p50: f64,
    /// 90 of 100 took at most this long.
    pub p90: f64,
    /// 99 of 100 took at most this long.
    pub p99: f64,
    /// 999 of 1000 took at most this long.
    pub p999: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // Cannot fail: bounds and precision are constants within the documented range.
        let micros = Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("valid bounds");
        Self { micros }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.micros.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX));
    }

    /// Counts all that `other` counted.
    pub fn add(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        let _ = self.micros.add(&other.micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The latency that a share `quantile` (0 to 1) does not exceed, in milliseconds.
    pub fn ms_at(&self, quantile: f64) -> f64 {
        if self.micros.is_empty() {
            return 0.0;
        }
        self.micros.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The mean, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        self.micros.mean() / 1e3
    }

    /// The distribution as a line to draw: latencies in milliseconds with the share that took at
    /// most so long. Dense where most are, and up to the last.
    pub fn curve(&self) -> Vec<[f64; 2]> {
        if self.micros.is_empty() {
            return Vec::new();
        }
        let hundredths = (0..100).map(|share| f64::from(share) / 100.0);
        let shares = hundredths.chain([0.995, 0.999, 1.0]);
        shares.map(|share| [self.ms_at(share), share]).collect()
    }

    /// What a report states of it.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            mean: self.mean_ms(),
            p50: self.ms_at(0.5),
            p90: self.ms_at(0.9),
            p99: self.ms_at(0.99),
            p999: self.ms_at(0.999),
        }
    }
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_three_digits_and_the_tail() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantiles(), Quantiles::default());
        for micros in 1..=10_000 {
            latencies.record(Duration::from_micros(micros * 10));
        }
        let quantiles = latencies.quantiles();
        for (found, expected) in [
            (quantiles.p50, 50.0),
            (quantiles.p90, 90.0),
            (quantiles.p99, 99.0),
            (quantiles.p999, 99.9),
        ] {
            assert!((found - expected).abs() < expected * 0.001, "{found} for {expected}");
        }
        latencies.record(Duration::MAX);
        assert!((latencies.ms_at(1.0) - 600_000.0).abs() < 600.0);
        assert_eq!(latencies.count(), 10_001);
    }
}
