//! What an EPaxos replica must know to start.

use panchayat_consensus::{Quorums, ReplicaId, Span};

/// The configuration of one replica in one epoch.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own seat.
    pub replica: ReplicaId,
    /// How many replicas there are and how many must agree.
    pub quorums: Quorums,
    /// Timeouts.
    pub timing: Timing,
    /// Limits.
    pub limits: Limits,
    /// Spreads the jitter of timeouts; any number, better a different one at each replica.
    pub seed: u64,
    /// The known mistake this replica makes. For checks of the checkers.
    #[cfg(feature = "mutations")]
    pub mutation: Option<crate::mutation::Mutation>,
}

/// Timeouts. They decide speed and traffic, never safety.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long an instance may stay undecided before its coordinator sends again and others ask
    /// for what they miss. A little more than two round trips of the slowest link.
    pub patience: Span,
    /// How long an undecided instance of a coordinator that seems alive is left to it.
    pub recovery_delay: Span,
    /// How much later each next replica in rank starts a recovery, so that they do not duel. More
    /// than a round trip.
    pub stagger: Span,
    /// How often replicas tell each other what they have seen.
    pub status_interval: Span,
    /// How long beyond n−f replies a coordinator waits for a fast quorum that is still possible.
    pub fast_quorum_wait: Span,
    /// How long what a member needs that takes over a state from here is kept, after the last word
    /// of its driver that the transfer goes on.
    pub hold: Span,
}

/// Limits. At one of them a proposal is rejected as overloaded, or a message is dropped and will
/// be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most own instances undecided or unexecuted at once.
    pub in_flight_max: usize,
    /// Most unexecuted commands on one key before new ones are rejected.
    pub unexecuted_per_key_max: usize,
    /// How far ahead of the executed prefix of a lane an instance may be known.
    pub lane_window_max: u64,
    /// Most recoveries this replica runs at once.
    pub recoveries_max: usize,
    /// Most instances asked for in one `stagger`.
    pub fetches_max: usize,
    /// Above so many instances kept, members that hold up their collection are counted as absent
    /// and will need a state. At four times as many, proposals are rejected.
    pub retained_max: usize,
    /// The same in bytes of payload.
    pub retained_bytes_max: usize,
    /// Payloads of so many bytes are large: they may take long to cross a link, so nobody is sent
    /// one twice who may only not have it yet.
    pub large_bytes: usize,
}

impl Config {
    /// The defaults for `replica` of a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn new(replica: ReplicaId, quorums: Quorums, rtt_max: Span) -> Self {
        assert!(replica.index() < quorums.n(), "{replica} has no seat among {}", quorums.n());
        Self {
            replica,
            quorums,
            timing: Timing::for_rtt(rtt_max),
            limits: Limits::default(),
            seed: u64::from(replica.0),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}

impl Timing {
    /// Timeouts for a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn for_rtt(rtt_max: Span) -> Self {
        let patience = Span(rtt_max.0 * 3).max(Span::from_ms(100));
        Self {
            patience,
            recovery_delay: patience.times(8),
            stagger: Span(rtt_max.0 * 2).max(Span::from_ms(50)),
            status_interval: patience,
            fast_quorum_wait: Span(0),
            hold: Span::from_ms(30_000),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 1 << 16,
            unexecuted_per_key_max: 1 << 15,
            lane_window_max: 1 << 17,
            recoveries_max: 64,
            fetches_max: 2048,
            retained_max: 1 << 18,
            retained_bytes_max: 256 << 20,
            large_bytes: 64 << 10,
        }
    }
}
