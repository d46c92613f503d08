//! A limit of bytes per second, as a token bucket that several transfers can share.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What may go at once after a pause, as the time it stands for: tokio's timer wakes by the
/// millisecond, and what it oversleeps must be made up for.
const BURST: Duration = Duration::from_millis(20);

/// What goes between two looks at the clock, as the time it stands for.
const PIECE: Duration = Duration::from_millis(50);

/// Pieces are not cut smaller than this, however slow.
const PIECE_BYTES_MIN: usize = 1024;

/// At most so many bytes per second, over all the sinks it was given to. Clones are the same
/// limit, and it can be changed while transfers run.
///
/// Without one, a transfer takes whatever the lanes and [`crate::Timing::transfer_delay_max`] leave
/// it.
#[derive(Clone, Debug)]
pub struct RateLimit {
    bucket: Arc<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    bytes_per_second: AtomicU64,
    /// When everything that was let through so far has had its time.
    paid_until: Mutex<Instant>,
}

impl RateLimit {
    /// A limit of `bytes_per_second`.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        let bytes_per_second = AtomicU64::new(bytes_per_second.get());
        let paid_until = Mutex::new(Instant::now());
        Self { bucket: Arc::new(Bucket { bytes_per_second, paid_until }) }
    }

    /// Changes the limit from now on.
    pub fn set(&self, bytes_per_second: NonZeroU64) {
        self.bucket.bytes_per_second.store(bytes_per_second.get(), Ordering::Relaxed);
    }

    /// The limit now.
    pub fn bytes_per_second(&self) -> u64 {
        self.bucket.bytes_per_second.load(Ordering::Relaxed)
    }

    /// How much should pass at a time.
    pub(super) fn piece_bytes(&self) -> usize {
        let bytes = self.bytes_per_second() as f64 * PIECE.as_secs_f64();
        (bytes as usize).max(PIECE_BYTES_MIN)
    }

    /// Waits until `bytes` may pass.
    pub(super) async fn pass(&self, bytes: usize) {
        let at = self.reserve(bytes, Instant::now());
        tokio::time::sleep_until(at.into()).await;
    }

    /// When `bytes` may pass, if asked `now`.
    fn reserve(&self, bytes: usize, now: Instant) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second() as f64);
        let mut paid_until = self.bucket.paid_until.lock();
        let at = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now));
        *paid_until = at + takes;
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes_per_second: u64) -> RateLimit {
        RateLimit::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn the_rate_is_kept_over_time_and_shared_by_clones() {
        let limit = limit(1000);
        let clone = limit.clone();
        let start = Instant::now();
        let mut now = start;
        for i in 0..100 {
            let which = if i % 2 == 0 { &limit } else { &clone };
            now = which.reserve(100, now);
        }
        // 99 pieces had to have their time before the last one could go.
        let took = now - start;
        assert!(took >= Duration::from_millis(9800) && took <= Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn a_pause_saves_up_no_more_than_the_burst() {
        let limit = limit(1000);
        let now = Instant::now() + Duration::from_secs(3600);
        assert_eq!(limit.reserve(20, now), now, "the burst");
        assert_eq!(limit.reserve(1000, now), now);
        assert_eq!(limit.reserve(1, now), now + Duration::from_secs(1));
    }

    #[test]
    fn a_change_counts_from_then_on() {
        let limit = limit(1000);
        let now = Instant::now() + Duration::from_secs(1);
        limit.set(NonZeroU64::new(10_000).unwrap());
        assert_eq!(limit.piece_bytes(), PIECE_BYTES_MIN);
        limit.reserve(200, now);
        limit.reserve(10_000, now);
        assert_eq!(limit.reserve(1, now), now + Duration::from_secs(1));
    }
}
