//! How often a transaction is tried, and how long it pauses between.

use std::time::Duration;

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::RngCore;

/// Bounds of [`Transactions::run`](super::Transactions::run).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Most runs of the body, and most tries of one command whose outcome is unknown.
    pub attempts_max: u32,
    /// The longest first pause; the longest doubles each time.
    pub pause: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
}

impl Default for Retry {
    /// 16 attempts, pauses from 10 ms to 1 s.
    fn default() -> Self {
        Self {
            attempts_max: 16,
            pause: Duration::from_millis(10),
            pause_max: Duration::from_secs(1),
        }
    }
}

impl Retry {
    /// A pause after so many failures: anything between nothing and the longest.
    pub(super) fn drawn(&self, failures: u32, rng: &mut SplitMix64) -> Duration {
        let longest = self.pause.saturating_mul(1 << failures.min(20)).min(self.pause_max);
        longest.mul_f64((rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::rand_core::SeedableRng;

    #[test]
    fn pauses_grow_up_to_the_longest_and_are_spread() {
        let retry = Retry::default();
        let mut rng = SplitMix64::seed_from_u64(1);
        for (failures, longest_ms) in [(0, 10), (3, 80), (6, 640), (7, 1_000), (99, 1_000)] {
            let longest = Duration::from_millis(longest_ms);
            let drawn: Vec<_> = (0..100).map(|_| retry.drawn(failures, &mut rng)).collect();
            assert!(drawn.iter().all(|pause| *pause <= longest));
            assert!(drawn.iter().any(|pause| *pause > longest.mul_f64(0.8)));
            assert!(drawn.iter().any(|pause| *pause < longest.mul_f64(0.2)));
        }
    }
}
