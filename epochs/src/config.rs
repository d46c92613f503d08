//! What a replica must know to live through epochs.

use std::fmt::Debug;
use std::sync::Arc;

use panchayat_consensus::{NodeId, ReplicaId, Span};

use crate::adaptive::{Advice, Seen, Watch};
use crate::epoch::Epoch;
use crate::order::OrderConfig;

/// The configuration of one replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its place. Others may have it when this one is no member.
    pub place: ReplicaId,
    /// The process with its disk.
    pub node: NodeId,
    /// The first epoch, for those who were there; none for a node that joins.
    pub founding: Option<Epoch>,
    /// How the protocol of an epoch is configured.
    pub openings: Arc<dyn Openings>,
    /// Timeouts.
    pub timing: Timing,
    /// The known mistake this replica makes. For checks of the checkers.
    #[cfg(feature = "mutations")]
    pub mutation: Option<crate::mutation::Mutation>,
}

/// Configures the protocol of an epoch.
///
/// Quorums, leases, and whatever else members must agree on may follow from the epoch alone. And it may
/// not fail: a seal is proposed only when all is well, and once it is decided there is no way back. What it
/// cannot read it replaces by a default.
pub trait Openings: Debug + Send + Sync {
    /// The configuration of the replica with this seat.
    fn open(&self, epoch: &Epoch, seat: ReplicaId) -> OrderConfig;

    /// How closely the members of `epoch` watch what is asked of them, if they are to choose their protocol by
    /// themselves. Nothing if it is an operator's to choose.
    fn watch(&self, epoch: &Epoch) -> Option<Watch> {
        let _ = epoch;
        None
    }

    /// What should order commands after `epoch`, if something else than now, given what is known of each of
    /// its members, by seat. The members stay the same.
    fn advise(&self, epoch: &Epoch, seen: &[Seen]) -> Option<Advice> {
        let _ = (epoch, seen);
        None
    }
}

/// Timeouts. They decide speed and traffic, never safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a replica that others are epochs ahead of tries to get there by itself before it
    /// asks for a state. Some round trips.
    pub behind: Span,
    /// How often a replica repeats that it has come to an epoch, to those who may need to know.
    pub retell: Span,
    /// How long at least a sealed epoch is kept for those who have not come to its end.
    pub linger: Span,
}

impl Timing {
    /// Timeouts for a cluster whose slowest link has a round trip of `rtt_max`.
    pub fn for_rtt(rtt_max: Span) -> Self {
        let patience = Span(rtt_max.0 * 3).max(Span::from_ms(100));
        Self { behind: patience.times(4), retell: patience.times(2), linger: patience.times(40) }
    }
}
