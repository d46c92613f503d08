//! How much of a transfer may be on its way at once: less as soon as it makes others wait.
//!
//! Priority decides what leaves this node first, but not what waits behind what in the buffers of
//! the path, where an ordinary bulk flow keeps as much as they hold. A transfer is a guest there. It
//! watches the round trip of its connection, and keeps what it has in flight small enough that this
//! stays close to the shortest one seen: the rule of LEDBAT (RFC 6817), with the slow start and the
//! proportional decrease of LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus). QUIC's own congestion
//! control goes on underneath. Votes that keep the path busy make it yield as well.
//!
//! Pure of clocks and streams: the caller says what was read at the other end, and the round trips.

use std::time::Duration;

/// Never less than this on its way, so that there is always progress.
pub(super) const WINDOW_BYTES_MIN: u64 = 128 << 10;

/// What the window grows by in a round trip, at most, once there has been a sign of waiting.
const STEP_BYTES: f64 = (64 << 10) as f64;

/// The part of the wanted delay at which the slow start ends.
const CALM: f64 = 0.75;

/// The largest part the window loses in a round trip.
const CUT_MAX: f64 = 0.5;

/// What one transfer may have in flight.
#[derive(Debug)]
pub(super) struct Window {
    bytes: f64,
    bytes_max: f64,
    /// What the transfer may add to the round trip.
    delay_max: Duration,
    slow_start: bool,
}

impl Window {
    pub(super) fn new(bytes_max: u64, delay_max: Duration) -> Self {
        let bytes_max = bytes_max.max(WINDOW_BYTES_MIN) as f64;
        Self { bytes: WINDOW_BYTES_MIN as f64, bytes_max, delay_max, slow_start: true }
    }

    /// What may be on its way now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// So much was read at the other end; the round trips are the present and the shortest.
    pub(super) fn taken(&mut self, bytes: u64, round_trip: Duration, shortest: Duration) {
        let delay = round_trip.saturating_sub(shortest).as_secs_f64();
        let load = delay / self.delay_max.as_secs_f64();
        self.slow_start &= load < CALM;
        // A whole window is taken in about a round trip: this is the part of it for these bytes.
        let part = (bytes as f64 / self.bytes).min(1.0);
        let change = if self.slow_start {
            self.bytes
        } else if load <= 1.0 {
            STEP_BYTES * (1.0 - load)
        } else {
            -self.bytes * (load - 1.0).min(CUT_MAX)
        };
        self.bytes = (self.bytes + part * change).clamp(WINDOW_BYTES_MIN as f64, self.bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 1e-3;

    /// A path of this bandwidth and propagation delay whose queue never overflows: where the window
    /// settles, and what it adds to the round trip there.
    fn settle(bytes_per_second: f64, shortest: f64, delay_max: f64, bytes_max: u64) -> (f64, f64) {
        let mut window = Window::new(bytes_max, Duration::from_secs_f64(delay_max));
        let (mut smoothed, mut delay) = (shortest, 0.0);
        for _ in 0..4000 {
            let now = window.bytes() as f64;
            let queued = (now - bytes_per_second * shortest).max(0.0);
            delay = queued / bytes_per_second;
            smoothed += ((shortest + delay) - smoothed) / 4.0;
            let times = [smoothed, shortest].map(Duration::from_secs_f64);
            window.taken(32 << 10, times[0], times[1]);
        }
        (window.bytes() as f64, delay)
    }

    #[test]
    fn it_fills_the_path_and_little_of_its_queue() {
        for (rate, shortest) in [(12.5e6, 25.0 * MS), (50e6, 25.0 * MS), (125e6, 10.0 * MS)] {
            let (bytes, delay) = settle(rate, shortest, 10.0 * MS, 8 << 20);
            assert!(bytes >= 0.9 * rate * shortest, "{bytes} at {rate}");
            assert!(delay <= 12.0 * MS, "{delay} at {rate}");
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        // A path too narrow for the least window, and one wider than the greatest.
        assert_eq!(settle(1e5, 10.0 * MS, 5.0 * MS, 1 << 20).0, WINDOW_BYTES_MIN as f64);
        assert_eq!(settle(1e12, 10.0 * MS, 5.0 * MS, 1 << 20).0, (1 << 20) as f64);
        assert_eq!(Window::new(0, Duration::from_millis(1)).bytes(), WINDOW_BYTES_MIN);
    }

    #[test]
    fn it_yields_when_others_make_the_path_wait_and_comes_back() {
        let ms = Duration::from_millis;
        let mut window = Window::new(8 << 20, ms(10));
        for _ in 0..200 {
            window.taken(64 << 10, ms(20), ms(20));
        }
        assert_eq!(window.bytes(), 8 << 20);
        for _ in 0..2000 {
            window.taken(64 << 10, ms(60), ms(20));
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
        for _ in 0..20_000 {
            window.taken(64 << 10, ms(21), ms(20));
        }
        assert_eq!(window.bytes(), 8 << 20);
    }
}
