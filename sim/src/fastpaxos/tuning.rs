//! What the swarm chooses for Fast Paxos beside what every protocol with a log has.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_fastpaxos::{ModeRules, Slots};

/// Quorums, rules and limits of Fast Paxos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastTuning {
    /// How many must promise, accept in a fast round, and accept in a classic one; the defaults if
    /// nothing is said.
    pub quorums: Option<(usize, usize, usize)>,
    /// Who should coordinate, the best first.
    pub ranking: Vec<ReplicaId>,
    /// In which order acceptors vote for what arrives.
    pub slots: Slots,
    /// When to leave fast rounds and to come back.
    pub mode: ModeRules,
    /// How long a slot may miss votes.
    pub settle_delay: Span,
    /// How long a command may wait for its expected arrival time.
    pub arrival_wait_max: Span,
    /// Most commands held and not executed.
    pub known_max: usize,
    /// Most bytes in them.
    pub known_bytes_max: usize,
}

impl FastTuning {
    /// The defaults for a slowest round trip of `rtt`, and no limits to speak of.
    pub fn calm(rtt: Span) -> Self {
        let election_timeout = rtt.times(6).max(Span::from_ms(500));
        Self {
            quorums: None,
            ranking: Vec::new(),
            slots: Slots::ByArrival,
            mode: ModeRules {
                collisions_percent: 25,
                window: 64,
                classic_min: election_timeout.times(4),
            },
            settle_delay: Span(rtt.0 + rtt.0 / 4).max(Span::from_ms(10)),
            arrival_wait_max: rtt.max(Span(1)),
            known_max: 1 << 18,
            known_bytes_max: 128 << 20,
        }
    }
}
