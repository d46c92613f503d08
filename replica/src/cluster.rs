//! Who takes part: the members of a cluster, their addresses and the round trips between them.

use std::net::SocketAddr;
use std::time::Duration;

use panchayat_consensus::{ClusterId, NodeId, ReplicaId, Span};
use panchayat_topology::Matrix;

use crate::error::StartError;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, usually its city.
    pub name: String,
    /// Its identity, as its certificate says.
    pub node: NodeId,
    /// Where it receives.
    pub addr: SocketAddr,
}

/// The members of a cluster. Every member is started with the same, in the same order.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Nodes of another cluster are refused.
    pub id: ClusterId,
    /// The members; a member's index is its seat.
    pub members: Vec<Member>,
    /// Expected round trips between members, by seat. Timeouts follow from them.
    pub round_trips: Vec<Vec<Duration>>,
}

impl Cluster {
    /// A cluster whose members are the sites of `matrix`, at `addrs` in the same order, with node
    /// ids from 1.
    pub fn of_sites(id: ClusterId, matrix: &Matrix, addrs: &[SocketAddr]) -> Self {
        let sites = matrix.sites();
        assert_eq!(sites.len(), addrs.len(), "one address per site");
        let members = sites.iter().zip(addrs).zip(1..).map(|((name, addr), node)| Member {
            name: name.clone(),
            node: NodeId(node),
            addr: *addr,
        });
        let seats = 0..sites.len();
        let row = |from: usize| {
            seats.clone().map(|to| Duration::from_micros(matrix.rtt_us(from, to))).collect()
        };
        Self { id, members: members.collect(), round_trips: seats.clone().map(row).collect() }
    }

    /// The seat of the member called `name`.
    pub fn seat(&self, name: &str) -> Option<ReplicaId> {
        let at = self.members.iter().position(|member| member.name == name)?;
        Some(ReplicaId(at as u8))
    }

    /// The seat of `node`.
    pub fn seat_of(&self, node: NodeId) -> Option<ReplicaId> {
        let at = self.members.iter().position(|member| member.node == node)?;
        Some(ReplicaId(at as u8))
    }

    /// Says that `name` is no member, and who is.
    pub(crate) fn unknown_member(&self, name: &str) -> StartError {
        let known: Vec<_> = self.members.iter().map(|member| member.name.as_str()).collect();
        StartError::UnknownMember { name: name.to_owned(), known: known.join(", ") }
    }

    /// The longest expected round trip.
    pub fn longest_round_trip(&self) -> Span {
        let longest = self.round_trips.iter().flatten().max().copied().unwrap_or_default();
        Span(longest.as_micros() as u64)
    }
}
