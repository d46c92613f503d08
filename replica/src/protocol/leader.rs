//! Who should lead, or coordinate: by prediction, or by name.

use std::fmt;

use panchayat_consensus::ReplicaId;
use panchayat_topology::Matrix;
use panchayat_topology::leader::{Learning, rank_leaders};

use super::ProtocolError;

/// Who should lead. Whoever leads, clients may ask any replica: it forwards what it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leader {
    /// The member with the smallest predicted mean commit latency, with as many clients at every
    /// member. A leader that is not the best stays until it is lost.
    #[default]
    Auto,
    /// The same with so many clients at each member, by seat.
    AutoFor(Vec<u32>),
    /// This member. Another leads only while it cannot, and hands over when it can.
    At(String),
}

impl Leader {
    /// Seats, the best first; only the one that is named, if one is.
    pub(super) fn ranking(
        &self,
        round_trips: &Matrix,
        accept_quorum: usize,
        learning: Learning,
    ) -> Result<Vec<ReplicaId>, ProtocolError> {
        let members = round_trips.len();
        let even = vec![1; members];
        let clients = match self {
            Self::At(name) => {
                let seat = round_trips.index_of(name);
                let named = seat.map(|seat| vec![ReplicaId(seat as u8)]);
                return named.ok_or_else(|| ProtocolError::UnknownLeader {
                    name: name.clone(),
                    known: round_trips.sites().join(", "),
                });
            }
            Self::Auto => &even,
            Self::AutoFor(clients) => clients,
        };
        let ranked = rank_leaders(round_trips, accept_quorum, learning, clients);
        let ranked = ranked.ok_or(ProtocolError::Clients { given: clients.len(), members })?;
        Ok(ranked.into_iter().map(|forecast| ReplicaId(forecast.leader as u8)).collect())
    }
}

/// The best of a ranking.
pub(super) fn first(ranking: &[ReplicaId]) -> ReplicaId {
    *ranking.first().expect("a group has members")
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(name) => f.write_str(name),
            Self::Auto | Self::AutoFor(_) => f.write_str("by prediction"),
        }
    }
}
