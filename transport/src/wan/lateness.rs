//! How late the emulator released packets: its own error bar.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest lateness told apart, in microseconds; later counts as this.
const MICROS_MAX: u64 = 10_000_000;

/// How late packets left, against when they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// How many packets were released.
    pub packets: u64,
    /// Half of them were at most this late.
    pub p50: Duration,
    /// 99 % of them were at most this late. Above 0.5 ms, distrust the measurement.
    pub p99: Duration,
    /// 99.9 % of them were at most this late.
    pub p999: Duration,
    /// The latest one.
    pub max: Duration,
}

#[derive(Debug)]
pub(super) struct LatenessRecorder {
    micros: Histogram<u64>,
}

impl LatenessRecorder {
    pub(super) fn new() -> Self {
        // Cannot fail: bounds and precision are constants within the documented range.
        let micros = Histogram::new_with_bounds(1, MICROS_MAX, 2).expect("valid bounds");
        Self { micros }
    }

    pub(super) fn record(&mut self, late: Duration) {
        self.micros.saturating_record(u64::try_from(late.as_micros()).unwrap_or(MICROS_MAX));
    }

    pub(super) fn reset(&mut self) {
        self.micros.reset();
    }

    pub(super) fn snapshot(&self) -> Lateness {
        let quantile = |q| Duration::from_micros(self.micros.value_at_quantile(q));
        if self.micros.is_empty() {
            return Lateness::default();
        }
        Lateness {
            packets: self.micros.len(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: Duration::from_micros(self.micros.max()),
        }
    }
}
