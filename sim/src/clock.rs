//! The clocks of one simulated replica: they start anywhere, drift, and the wall clock jumps.
//!
//! Clocks may cost speed, never safety; so every run lies about them a little.

use panchayat_consensus::{Now, Time, WallTime};

/// Virtual time 0 on an honest wall clock, in microseconds since the Unix epoch.
const WALL_START_US: i64 = 1_790_000_000_000_000;

/// What one replica's clocks show at a virtual time.
#[derive(Clone, Debug)]
pub struct Clock {
    started_us: u64,
    base_us: u64,
    drift_ppm: i64,
    skew_us: i64,
}

impl Clock {
    /// Clocks of a process started at virtual time `started_us`, whose monotonic clock showed
    /// `base_us` then. It gains `drift_ppm` microseconds a second; its wall clock is ahead by
    /// `skew_us`.
    pub fn new(started_us: u64, base_us: u64, drift_ppm: i64, skew_us: i64) -> Self {
        assert!(drift_ppm.abs() < 500_000, "a clock that drifts by half is no clock");
        Self { started_us, base_us, drift_ppm, skew_us }
    }

    /// Both clocks at virtual time `at_us`.
    pub fn now(&self, at_us: u64) -> Now {
        let passed = at_us.saturating_sub(self.started_us);
        let monotonic = self.base_us + (passed as u128 * self.rate() / 1_000_000) as u64;
        let wall = WALL_START_US
            + at_us as i64
            + self.skew_us
            + (at_us as i128 * i128::from(self.drift_ppm) / 1_000_000) as i64;
        Now { monotonic: Time(monotonic), wall: WallTime(wall.max(0) as u64) }
    }

    /// The first virtual time at which the monotonic clock shows at least `time`.
    pub fn when(&self, time: Time) -> u64 {
        let shown = u128::from(time.0.saturating_sub(self.base_us));
        let passed = (shown * 1_000_000).div_ceil(self.rate());
        self.started_us.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Moves the wall clock by `by_us`.
    pub fn jump(&mut self, by_us: i64) {
        self.skew_us += by_us;
    }

    /// How far ahead the wall clock is, apart from its drift.
    pub fn skew_us(&self) -> i64 {
        self.skew_us
    }

    fn rate(&self) -> u128 {
        (1_000_000 + self.drift_ppm) as u128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_never_early_and_at_most_two_microseconds_late() {
        for drift in [-30_000, -7, 0, 11, 40_000] {
            let clock = Clock::new(1_000, 77, drift, 0);
            for time in (77..200_000).step_by(997).map(Time) {
                let at = clock.when(time);
                assert!(clock.now(at).monotonic >= time);
                assert!(at == 1_000 || clock.now(at - 1).monotonic < time);
            }
        }
    }

    #[test]
    fn a_jump_moves_only_the_wall_clock() {
        let mut clock = Clock::new(0, 0, 0, 0);
        let before = clock.now(10);
        clock.jump(-3);
        let after = clock.now(10);
        assert_eq!(before.monotonic, after.monotonic);
        assert_eq!(before.wall.0 - 3, after.wall.0);
    }
}
