//! What the swarm chooses for protocols with a leader and a log.

use panchayat_consensus::Span;
use panchayat_multipaxos::{Confirmation, Learning, Lease, Placement};

/// Timeouts, limits and variants of a protocol with a leader and a log, beside those that every
/// protocol has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTuning {
    /// How many must promise and how many must accept; majorities if nothing is said.
    pub quorums: Option<(usize, usize)>,
    /// Who should lead.
    pub placement: Placement,
    /// Who counts the votes.
    pub learning: Learning,
    /// Who vouches for linearizable reads.
    pub confirmation: Confirmation,
    /// The clock assumption of lease reads.
    pub lease: Option<Lease>,
    /// How often a leader is heard of.
    pub heartbeat_interval: Span,
    /// How long it may be silent.
    pub election_timeout: Span,
    /// How long a read may wait.
    pub read_timeout: Span,
    /// How long a proposer waits for an outcome.
    pub outcome_timeout: Span,
    /// How long a replica that is behind waits before it asks.
    pub catch_up_delay: Span,
    /// Most numbers between an origin's oldest command in flight and its newest.
    pub span_max: u64,
    /// Most slots proposed and not chosen.
    pub window_slots_max: u64,
    /// Most bytes in those slots.
    pub window_bytes_max: usize,
    /// Most bytes of entries in one message or record.
    pub batch_bytes_max: usize,
}

impl LogTuning {
    /// Patient timeouts for a slowest round trip of `rtt`, majorities, and no limits to speak of.
    pub fn calm(rtt: Span) -> Self {
        let election_timeout = rtt.times(6).max(Span::from_ms(500));
        Self {
            quorums: None,
            placement: Placement::Ranked(Vec::new()),
            learning: Learning::Origin,
            confirmation: Confirmation::Leader,
            lease: None,
            heartbeat_interval: Span(election_timeout.0 / 8),
            election_timeout,
            read_timeout: election_timeout.times(4),
            outcome_timeout: election_timeout.times(20),
            catch_up_delay: rtt.max(Span::from_ms(20)),
            span_max: 1 << 20,
            window_slots_max: 1 << 16,
            window_bytes_max: 64 << 20,
            batch_bytes_max: 1 << 20,
        }
    }
}
