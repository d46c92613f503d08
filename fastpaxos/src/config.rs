//! What a Fast Paxos replica must know to start.

use panchayat_consensus::{ReplicaId, ReplicaSet, Span};
use thiserror::Error;

use crate::quorums::FastQuorums;

/// The configuration of one replica in one epoch. All but `replica` and `seed` must be the same at
/// every member.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own seat.
    pub replica: ReplicaId,
    /// How many must promise, and how many must accept in either kind of round.
    pub quorums: FastQuorums,
    /// Who should coordinate, the best first. Who is not named comes last, in order of seats.
    pub ranking: Vec<ReplicaId>,
    /// In which order acceptors vote for what arrives.
    pub slots: Slots,
    /// When to leave fast rounds and to come back.
    pub mode: ModeRules,
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

/// In which order acceptors give slots to commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slots {
    /// The next free slot to whatever arrives, when it arrives: as in the paper.
    NextFree,
    /// In the order of the times at which commands should have reached a fast quorum, by wall
    /// clocks and delays measured with them. A command that arrives before its time waits for it,
    /// which costs nothing: its origin waits for the furthest of the quorum in any case.
    ByArrival,
}

/// When the coordinator leaves fast rounds and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModeRules {
    /// Fast rounds end when, among the last [`window`](Self::window) slots, at least this many in
    /// a hundred had to be settled. Above 100: never.
    pub collisions_percent: u32,
    /// How many slots are looked at.
    pub window: u32,
    /// How long classic rounds last at least. Twice as long each time that fast rounds fail right
    /// away again, up to 16 times.
    pub classic_min: Span,
}

/// Timeouts. They decide speed and traffic, never safety.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often the coordinator is heard of when there is nothing else to say.
    pub heartbeat_interval: Span,
    /// How long a coordinator that the failure detector suspects may be silent before others
    /// stand. One that is not suspected, and so merely busy, has several times as long.
    pub election_timeout: Span,
    /// How much later each next replica in rank stands. More than a round trip.
    pub stagger: Span,
    /// How long a slot may miss votes before the coordinator settles it without them. A little
    /// more than a round trip of the slowest link.
    pub settle_delay: Span,
    /// How long something may stay undecided before it is sent again. More than two round trips.
    pub patience: Span,
    /// How long a command may wait for its expected arrival time.
    pub arrival_wait_max: Span,
    /// How long a replica that others are ahead of waits before it asks for what it misses.
    pub catch_up_delay: Span,
    /// How often replicas tell each other how far they are.
    pub status_interval: Span,
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
    /// Most slots beyond the executed ones that are voted in.
    pub window_slots_max: u64,
    /// Most commands of all members held here and not executed...
    pub known_max: usize,
    /// ...and most bytes in them.
    pub known_bytes_max: usize,
    /// Most bytes of entries in one message or record, unless a single entry is larger.
    pub batch_bytes_max: usize,
    /// Most executed slots kept for members that are behind...
    pub retained_slots_max: u64,
    /// ...and most bytes in them.
    pub retained_bytes_max: usize,
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
}

impl Config {
    /// The defaults for `replica` of a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn new(replica: ReplicaId, quorums: FastQuorums, rtt_max: Span) -> Self {
        let timing = Timing::for_rtt(rtt_max);
        Self {
            replica,
            quorums,
            ranking: Vec::new(),
            slots: Slots::ByArrival,
            mode: ModeRules {
                collisions_percent: 25,
                window: 64,
                classic_min: timing.election_timeout.times(4),
            },
            timing,
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
        let mut seen = ReplicaSet::EMPTY;
        for replica in self.ranking.iter().chain([&self.replica]) {
            if replica.index() >= n {
                return Err(ConfigError::NoSeat { replica: *replica, n });
            }
        }
        if let Some(twice) = self.ranking.iter().find(|replica| !seen.insert(**replica)) {
            return Err(ConfigError::RankedTwice(*twice));
        }
        let Timing {
            heartbeat_interval,
            election_timeout,
            stagger,
            settle_delay,
            patience,
            arrival_wait_max,
            catch_up_delay,
            status_interval,
            hold,
        } = self.timing;
        let positive = [
            ("heartbeat_interval", heartbeat_interval.0),
            ("election_timeout", election_timeout.0),
            ("stagger", stagger.0),
            ("settle_delay", settle_delay.0),
            ("patience", patience.0),
            ("arrival_wait_max", arrival_wait_max.0),
            ("catch_up_delay", catch_up_delay.0),
            ("status_interval", status_interval.0),
            ("hold", hold.0),
            ("mode.window", u64::from(self.mode.window)),
            ("mode.classic_min", self.mode.classic_min.0),
            ("in_flight_max", self.limits.in_flight_max as u64),
            ("span_max", self.limits.span_max),
            ("window_slots_max", self.limits.window_slots_max),
            ("known_max", self.limits.known_max as u64),
            ("known_bytes_max", self.limits.known_bytes_max as u64),
            ("batch_bytes_max", self.limits.batch_bytes_max as u64),
        ];
        match positive.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
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
            settle_delay: Span(rtt_max.0 + rtt_max.0 / 4).max(Span::from_ms(10)),
            patience,
            arrival_wait_max: rtt_max,
            catch_up_delay: rtt_max.max(Span::from_ms(20)),
            status_interval: patience,
            hold: election_timeout.times(16),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 1 << 14,
            span_max: 1 << 20,
            window_slots_max: 1 << 16,
            known_max: 1 << 18,
            known_bytes_max: 128 << 20,
            batch_bytes_max: 1 << 20,
            retained_slots_max: 1 << 17,
            retained_bytes_max: 64 << 20,
        }
    }
}
