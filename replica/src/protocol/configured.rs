//! What a replica of production would configure its protocol with, for whoever runs a protocol
//! without a replica around it: in virtual time, or in a bench.
//!
//! Everything follows from the round trips, as when a cluster is started over them.

use std::net::SocketAddr;
use std::sync::Arc;

use panchayat_consensus::{ClusterId, ReplicaId, Span};
use panchayat_epochs::Timing;
use panchayat_topology::Matrix;

use super::{FastPaxosChoice, Hosting, MultiPaxosChoice, ProtocolChoice, ProtocolError};
use crate::cluster::Cluster;
use crate::limits::Limits;
use crate::membership::{ChangeError, founding};

/// EPaxos at `seat`.
///
/// # Errors
/// [`ProtocolError`], as starting a replica would.
pub fn epaxos(
    seat: ReplicaId,
    round_trips: &Matrix,
) -> Result<panchayat_epaxos::Config, ProtocolError> {
    super::epaxos::config(seat, round_trips.len(), longest(round_trips), &Limits::default())
}

/// Multi-Paxos at `seat`.
///
/// # Errors
/// [`ProtocolError`], as starting a replica would.
pub fn multipaxos(
    choice: &MultiPaxosChoice,
    seat: ReplicaId,
    round_trips: &Matrix,
) -> Result<panchayat_multipaxos::Config, ProtocolError> {
    choice.config(seat, round_trips, longest(round_trips), &Limits::default())
}

/// Fast Paxos at `seat`.
///
/// # Errors
/// [`ProtocolError`], as starting a replica would.
pub fn fastpaxos(
    choice: &FastPaxosChoice,
    seat: ReplicaId,
    round_trips: &Matrix,
) -> Result<panchayat_fastpaxos::Config, ProtocolError> {
    choice.config(seat, round_trips, longest(round_trips), &Limits::default())
}

/// A replica through all epochs, that began with `choice` among the sites of `round_trips`.
///
/// # Errors
/// [`ChangeError`], as starting a replica would.
pub fn epochs(
    choice: &ProtocolChoice,
    seat: ReplicaId,
    round_trips: &Matrix,
) -> Result<panchayat_epochs::Config, ChangeError> {
    // Nobody is dialled.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let addrs = vec![nowhere; round_trips.len()];
    let cluster = Cluster::of_sites(ClusterId(0), round_trips, &addrs);
    choice.check(&cluster, &Limits::default())?;
    choice.config(seat, &cluster, &Limits::default())?;
    Ok(panchayat_epochs::Config {
        place: seat,
        node: cluster.members[seat.index()].node,
        founding: Some(founding(&cluster, choice)?),
        timing: Timing::for_rtt(cluster.longest_round_trip()),
        openings: Arc::new(Hosting { began: cluster, limits: Limits::default() }),
    })
}

/// How long a peer may be silent before it is suspected.
pub fn suspicion_timeout(round_trips: &Matrix) -> Span {
    suspicion_after(longest(round_trips))
}

/// Several heartbeats and round trips.
pub(crate) fn suspicion_after(rtt_max: Span) -> Span {
    Span::from_ms(1_000).max(Span(rtt_max.0 * 3 + 500_000))
}

fn longest(round_trips: &Matrix) -> Span {
    let seats = 0..round_trips.len();
    let all = seats.clone().flat_map(|a| seats.clone().map(move |b| round_trips.rtt_us(a, b)));
    Span(all.max().unwrap_or_default())
}
