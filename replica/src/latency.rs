//! How long commands take at this replica, as its own thread counts it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longer counts as this long.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// Figures are exact to so many digits.
const DIGITS: u8 = 2;

/// Commands proposed here and decided or executed, by how long that took, in microseconds from the
/// moment in which they were proposed.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    pub(crate) commit_us: Histogram<u64>,
    pub(crate) execute_us: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let upto = LATENCY_MAX.as_micros() as u64;
        let empty = Histogram::new_with_bounds(1, upto, DIGITS).expect("bounds that make sense");
        Self { commit_us: empty.clone(), execute_us: empty }
    }
}

impl Latencies {
    pub(crate) fn committed(&mut self, took: Duration) {
        record(&mut self.commit_us, took);
    }

    pub(crate) fn executed(&mut self, took: Duration) {
        record(&mut self.execute_us, took);
    }
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(took.as_micros() as u64);
}

/// How long ago `since` was at `now`.
pub(crate) fn span(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}
