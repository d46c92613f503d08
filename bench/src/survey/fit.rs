//! Distances and weather from round trips.
//!
//! A topology states a quiet round trip for every pair, and weather for all of them: lognormal jitter
//! added to the round trip, and loss. The weather of a survey is the median over its pairs, and a
//! pair's quiet round trip is what is left of its own median. So a run under the profile `measured`
//! has every pair's own median again, though all have the same jitter.

use super::Told;

/// Two cities and what was measured between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// The two.
    pub between: [String; 2],
    /// At one end.
    pub told: Told,
}

/// Jitter and loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Median of the jitter added to the round trip, in microseconds.
    pub jitter_median_us: u64,
    /// Its sigma, for each direction.
    pub jitter_sigma: f64,
    /// Share of packets lost.
    pub loss: f64,
}

/// What the round trip's p99 has of median × e^(2.33 sigma): two independent halves rarely peak
/// together (`geo-topology.yaml`).
const BOTH_WAYS: f64 = 0.75;
/// The normal distribution's p99.
const P99: f64 = 2.33;
/// As the topology takes.
const SIGMA_MAX: f64 = 4.0;
/// The shortest round trip a topology takes.
const RTT_US_MIN: u64 = 2;

impl Weather {
    /// What `legs` have in common.
    pub fn of(legs: &[Leg]) -> Self {
        let told = || legs.iter().map(|leg| leg.told);
        let jitter_median_us = median(told().map(|told| (told.p50_us - floor(told)) as f64)) as u64;
        let sigma = |told: Told| {
            let (p50, p99) = (told.p50_us - floor(told), told.p99_us.saturating_sub(floor(told)));
            let wide = p99 as f64 / (BOTH_WAYS * p50.max(1) as f64);
            (wide.max(1.0).ln() / P99).min(SIGMA_MAX)
        };
        let sum = |of: fn(Told) -> u64| told().map(of).sum::<u64>() as f64;
        let (lost, sent) = (sum(|told| told.packets_lost), sum(|told| told.packets_sent));
        Self {
            jitter_median_us,
            jitter_sigma: if jitter_median_us == 0 { 0.0 } else { median(told().map(sigma)) },
            loss: if sent > 0.0 { (lost / sent).min(1.0) } else { 0.0 },
        }
    }

    /// The quiet round trip of a leg, in microseconds.
    pub fn quiet_us(&self, leg: &Leg) -> u64 {
        leg.told.p50_us.saturating_sub(self.jitter_median_us).max(RTT_US_MIN)
    }
}

/// The shortest, which is never above the median.
fn floor(told: Told) -> u64 {
    told.min_us.min(told.p50_us)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => 0.0,
        n if n % 2 == 1 => all[n / 2],
        n => (all[n / 2 - 1] + all[n / 2]) / 2.0,
    }
}
