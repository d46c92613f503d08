//! What a Multi-Paxos replica must know to start.

use panchayat_consensus::{ReplicaId, ReplicaSet, Span};
use thiserror::Error;

use crate::lease::Lease;
use crate::quorums::FlexibleQuorums;

/// The configuration of one replica in one epoch. All but `replica` and `seed` must be the same at
/// every member.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own seat.
    pub replica: ReplicaId,
    /// How many must promise and how many must accept.
    pub quorums: FlexibleQuorums,
    /// Who should lead.
    pub placement: Placement,
    /// Who counts the votes.
    pub learning: Learning,
    /// Who vouches for linearizable reads.
    pub confirmation: Confirmation,
    /// The clock assumption of lease reads; without one they are refused.
    pub lease: Option<Lease>,
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

/// Who should lead. It decides who stands first when there is no leader; whoever wins leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The best first, by predicted latency. Who is not named comes last, in order of seats. A
    /// leader that is not the first stays until it is lost.
    Ranked(Vec<ReplicaId>),
    /// This one. Another leads only while it cannot, and hands over when it can.
    Pinned(ReplicaId),
}

/// Who counts the votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Learning {
    /// Every replica by itself. What one should use.
    Origin,
    /// The leader, which then tells the others: as it is often built, for comparison only. It
    /// costs every command from another city the way to the leader and back once more.
    Leader,
}

/// Who vouches for linearizable reads. Neither trusts a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// The leader, once enough members were heard to follow it. What one should use.
    Leader,
    /// Any quorum. It works while there is no leader; but a slot that is still being decided, or
    /// that an election has yet to fill, holds up what is read.
    Quorum,
}

/// Timeouts. They decide speed and traffic, never safety.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often the leader is heard of when there is nothing else to say.
    pub heartbeat_interval: Span,
    /// How long a leader that the failure detector suspects may be silent before others stand.
    /// One that is not suspected, and so merely busy, has several times as long.
    pub election_timeout: Span,
    /// How much later each next replica in rank stands. More than a round trip.
    pub stagger: Span,
    /// How long something may stay undecided before it is sent again. A little more than two
    /// round trips of the slowest link.
    pub patience: Span,
    /// How long a replica that others are ahead of waits before it asks for what it misses.
    pub catch_up_delay: Span,
    /// How often replicas tell each other how far they are.
    pub status_interval: Span,
    /// After how long a read is refused.
    pub read_timeout: Span,
    /// After how long a proposer is told that the outcome is not known, or, of what no leader was
    /// given, that it was not applied.
    pub outcome_timeout: Span,
    /// How long a member that is sent a state may be silent and still find what comes after it.
    pub hold: Span,
}

/// Limits. At one of them a proposal is rejected as overloaded, or a message is dropped and will
/// be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most proposals of this replica's clients not executed at once.
    pub in_flight_max: usize,
    /// Most numbers between the oldest such proposal and the newest.
    pub span_max: u64,
    /// Most slots the leader has proposed and not seen chosen.
    pub window_slots_max: u64,
    /// Most bytes in those slots.
    pub window_bytes_max: usize,
    /// Most bytes of entries in one message or record, unless a single entry is larger.
    pub batch_bytes_max: usize,
    /// Most executed slots kept for members that are behind...
    pub retained_slots_max: u64,
    /// ...and most bytes in them.
    pub retained_bytes_max: usize,
    /// Most reads not answered at once.
    pub reads_max: usize,
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such seat.
    #[error("{replica} has no seat among {n}")]
    NoSeat {
        /// The replica named.
        replica: ReplicaId,
        /// The replicas there are.
        n: usize,
    },
    /// A replica is ranked twice.
    #[error("{0} is ranked twice")]
    RankedTwice(ReplicaId),
    /// A timeout or limit is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// The lease would run out between two heartbeats.
    #[error("a lease of {span:?} must last at least two heartbeats of {heartbeat:?}")]
    LeaseTooShort {
        /// How long the leader may use it, after allowing for its clock.
        span: Span,
        /// How often it is renewed.
        heartbeat: Span,
    },
    /// Clocks that wrong allow no lease.
    #[error("clock rates wrong by {0} parts per million: below 500 000 is needed")]
    ClockError(u32),
}

impl Config {
    /// The defaults for `replica` of a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn new(replica: ReplicaId, quorums: FlexibleQuorums, rtt_max: Span) -> Self {
        Self {
            replica,
            quorums,
            placement: Placement::Ranked(Vec::new()),
            learning: Learning::Origin,
            confirmation: Confirmation::Leader,
            lease: None,
            timing: Timing::for_rtt(rtt_max),
            limits: Limits::default(),
            seed: u64::from(replica.0),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }

    /// Whether a replica can start with this. That the quorums meet is in their type.
    ///
    /// # Errors
    /// [`ConfigError`] names the rule broken.
    pub fn check(&self) -> Result<(), ConfigError> {
        let n = self.quorums.n();
        let ranked: &[ReplicaId] = match &self.placement {
            Placement::Ranked(replicas) => replicas,
            Placement::Pinned(replica) => std::slice::from_ref(replica),
        };
        let mut seen = ReplicaSet::EMPTY;
        for replica in ranked {
            if !seen.insert(*replica) {
                return Err(ConfigError::RankedTwice(*replica));
            }
        }
        for replica in ranked.iter().chain([&self.replica]) {
            if replica.index() >= n {
                return Err(ConfigError::NoSeat { replica: *replica, n });
            }
        }
        let Timing {
            heartbeat_interval,
            election_timeout,
            stagger,
            patience,
            catch_up_delay,
            status_interval,
            read_timeout,
            outcome_timeout,
            hold,
        } = self.timing;
        let spans = [
            ("heartbeat_interval", heartbeat_interval),
            ("election_timeout", election_timeout),
            ("stagger", stagger),
            ("patience", patience),
            ("catch_up_delay", catch_up_delay),
            ("status_interval", status_interval),
            ("read_timeout", read_timeout),
            ("outcome_timeout", outcome_timeout),
            ("hold", hold),
        ];
        if let Some((name, _)) = spans.into_iter().find(|(_, span)| span.0 == 0) {
            return Err(ConfigError::Zero(name));
        }
        let limits = [
            ("in_flight_max", self.limits.in_flight_max as u64),
            ("span_max", self.limits.span_max),
            ("window_slots_max", self.limits.window_slots_max),
            ("window_bytes_max", self.limits.window_bytes_max as u64),
            ("batch_bytes_max", self.limits.batch_bytes_max as u64),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            return Err(ConfigError::Zero(name));
        }
        self.lease.map_or(Ok(()), |lease| lease.check(heartbeat_interval))
    }
}

impl Timing {
    /// Timeouts for a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn for_rtt(rtt_max: Span) -> Self {
        let patience = Span(rtt_max.0 * 3).max(Span::from_ms(100));
        let election_timeout = Span(rtt_max.0 * 6).max(Span::from_ms(500));
        Self {
            heartbeat_interval: Span(election_timeout.0 / 8),
            election_timeout,
            stagger: Span(rtt_max.0 * 2).max(Span::from_ms(50)),
            patience,
            catch_up_delay: rtt_max.max(Span::from_ms(20)),
            status_interval: patience,
            read_timeout: election_timeout.times(4),
            outcome_timeout: election_timeout.times(20),
            hold: election_timeout.times(16),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 1 << 16,
            span_max: 1 << 20,
            window_slots_max: 1 << 16,
            window_bytes_max: 64 << 20,
            batch_bytes_max: 1 << 20,
            retained_slots_max: 1 << 17,
            retained_bytes_max: 64 << 20,
            reads_max: 1 << 16,
        }
    }
}
