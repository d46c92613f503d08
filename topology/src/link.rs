//! Parameters of one directed link, as the emulator and the simulator need them.

use crate::matrix::Matrix;
use crate::model::{Flap, Profile};

/// One direction between two sites of a set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Index of the sending site in the set.
    pub from: usize,
    /// Index of the receiving site in the set.
    pub to: usize,
    /// Propagation one way, half the round trip, in microseconds.
    pub one_way_us: u64,
    /// Median of this direction's own lognormal jitter, half of what the profile states for the
    /// round trip, in microseconds; 0 for none.
    pub jitter_median_us: u64,
    /// Sigma of this direction's jitter, as stated.
    pub jitter_sigma: f64,
    /// Fraction of packets lost, 0 to 1.
    pub loss: f64,
    /// Mean length of a run of lost packets, at least 1.
    pub burst_packets: f64,
    /// Outages; the same schedule must be drawn for both directions of a pair.
    pub flap: Option<Flap>,
    /// Bits per second.
    pub bandwidth_bits_per_s: u64,
}

impl Link {
    /// The loss of this link as a chain to step once per packet.
    pub fn loss_chain(&self) -> LossChain {
        LossChain::new(self.loss, self.burst_packets)
    }

    /// How long `bytes` occupy the link, in microseconds, rounded up.
    pub fn transmit_us(&self, bytes: u64) -> u64 {
        let us = (u128::from(bytes) * 8 * 1_000_000)
            .div_ceil(u128::from(self.bandwidth_bits_per_s.max(1)));
        u64::try_from(us).unwrap_or(u64::MAX)
    }
}

/// Two-state loss (Gilbert 1960): a good state that delivers and a bad one that loses. Step it
/// once per packet, then look at the state.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LossChain {
    /// Probability that a packet after a delivered one is lost.
    pub enter: f64,
    /// Probability that a packet after a lost one is delivered.
    pub leave: f64,
}

impl LossChain {
    /// The chain that loses a fraction `loss` of packets in runs of `burst_packets` on average.
    ///
    /// Runs last 1/leave packets and a share enter/(enter+leave) is lost, hence leave = 1/b and
    /// enter = p/((1−p)·b). Independent loss has runs of 1/(1−p) by chance alone, and shorter
    /// ones would mean that losses avoid each other; so b is at least that, and a burst length of
    /// 1 is exactly independent loss: enter = p, leave = 1−p.
    pub fn new(loss: f64, burst_packets: f64) -> Self {
        if loss >= 1.0 {
            return Self { enter: 1.0, leave: 0.0 };
        }
        let burst = burst_packets.max(1.0 / (1.0 - loss));
        Self { enter: (loss / ((1.0 - loss) * burst)).min(1.0), leave: 1.0 / burst }
    }
}

/// Every directed link of a set under a profile: by sender, then by receiver.
pub(crate) fn links(matrix: &Matrix, profile: &Profile) -> Vec<Link> {
    let n = matrix.len();
    let directions =
        (0..n).flat_map(|from| (0..n).filter(move |&to| to != from).map(move |to| (from, to)));
    directions
        .map(|(from, to)| Link {
            from,
            to,
            one_way_us: matrix.one_way_us(from, to),
            jitter_median_us: profile.jitter_median_us / 2,
            jitter_sigma: profile.jitter_sigma,
            loss: profile.loss,
            burst_packets: profile.burst_packets,
            flap: profile.flap,
            bandwidth_bits_per_s: profile.bandwidth_bits_per_s,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::LossChain;

    #[test]
    fn a_chain_loses_what_it_should_in_runs_as_long_as_it_should() {
        for (loss, burst) in [(0.0001, 1.0), (0.02, 4.0), (0.05, 20.0), (0.6, 1.0), (0.9, 50.0)] {
            let LossChain { enter, leave } = LossChain::new(loss, burst);
            assert!((0.0..=1.0).contains(&enter) && (0.0..=1.0).contains(&leave));
            assert!((enter / (enter + leave) - loss).abs() < 1e-12, "{loss} {burst}");
            assert!((1.0 / leave - burst.max(1.0 / (1.0 - loss))).abs() < 1e-9, "{loss} {burst}");
        }
        let independent = LossChain::new(0.25, 1.0);
        assert!((independent.enter - 0.25).abs() < 1e-12);
        assert!((independent.leave - 0.75).abs() < 1e-12);
        assert_eq!(LossChain::new(1.0, 1.0), LossChain { enter: 1.0, leave: 0.0 });
        assert_eq!(LossChain::new(0.0, 5.0).enter, 0.0);
    }
}
