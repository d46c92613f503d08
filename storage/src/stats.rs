//! What a journal has done, for metrics and experiments.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::queue::Queue;

/// Longest sync that is told apart, in nanoseconds: one minute.
const SYNC_NS_MAX: u64 = 60_000_000_000;

/// What a journal has done since it was opened. Replayed records are not counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalStats {
    /// Records made durable.
    pub records: u64,
    /// Bytes of these records, their headers included.
    pub bytes: u64,
    /// Batches written, markers included.
    pub batches: u64,
    /// Bytes written, padding included, preparing segments not.
    pub bytes_written: u64,
    /// Batches that were synced.
    pub syncs: u64,
    /// How often an append had to wait for space in the queue.
    pub waits: u64,
    /// Bytes appended and not yet durable, now.
    pub queue_bytes: usize,
    /// Segments in use, now.
    pub segments: usize,
    /// Whether the next segment is ready, now.
    pub next_segment_ready: bool,
    /// How long the syncs took.
    pub sync_ns: Histogram<u64>,
}

impl JournalStats {
    /// Half of the syncs were at most this long.
    pub fn sync_p50(&self) -> Duration {
        Duration::from_nanos(self.sync_ns.value_at_quantile(0.5))
    }

    /// 99 of 100 syncs were at most this long.
    pub fn sync_p99(&self) -> Duration {
        Duration::from_nanos(self.sync_ns.value_at_quantile(0.99))
    }
}

/// What is counted as it happens.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
    pub(crate) bytes_written: u64,
    pub(crate) waits: u64,
    sync_ns: Histogram<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            records: 0,
            bytes: 0,
            batches: 0,
            bytes_written: 0,
            waits: 0,
            sync_ns: sync_histogram(),
        }
    }
}

impl Counters {
    pub(crate) fn synced(&mut self, took: Duration) {
        record(&mut self.sync_ns, took);
    }

    pub(crate) fn stats(&self, queue: &Queue) -> JournalStats {
        JournalStats {
            records: self.records,
            bytes: self.bytes,
            batches: self.batches,
            bytes_written: self.bytes_written,
            syncs: self.sync_ns.len(),
            waits: self.waits,
            queue_bytes: queue.bytes(),
            segments: queue.segments.len(),
            next_segment_ready: queue.next.is_some(),
            sync_ns: self.sync_ns.clone(),
        }
    }
}

/// For latencies of syncs: three digits, from a microsecond to a minute.
pub(crate) fn sync_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, SYNC_NS_MAX, 3).expect("these bounds are valid")
}

/// Adds a latency; one beyond the bounds counts as the longest.
pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}
