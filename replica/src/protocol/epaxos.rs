//! EPaxos* behind the driver.

use panchayat_consensus::{Quorums, ReplicaId, Span};
use panchayat_epaxos::Config;
use panchayat_topology::{Matrix, latency};

use super::ProtocolError;
use crate::limits::Limits;

/// A round trip to the nearest fast quorum.
pub(super) fn commit_us(round_trips: &Matrix, origin: usize) -> Result<u64, ProtocolError> {
    let quorums = Quorums::for_replicas(round_trips.len())?;
    let predicted = latency::epaxos_fast(round_trips, origin, quorums.fast());
    Ok(predicted.expect("the quorum fits the group, and the seat is one of it"))
}

/// The configuration of one of `members` replicas whose longest round trip is `rtt_max`.
pub(super) fn config(
    seat: ReplicaId,
    members: usize,
    rtt_max: Span,
    limits: &Limits,
) -> Result<Config, ProtocolError> {
    let mut config = Config::new(seat, Quorums::for_replicas(members)?, rtt_max);
    config.limits.retained_max = limits.retained_max;
    config.limits.retained_bytes_max = limits.retained_bytes_max;
    Ok(config)
}

/// What its members must agree on, in words.
pub(super) fn terms(config: &Config) -> String {
    let quorums = config.quorums;
    format!("epaxos, quorums of {} and {}", quorums.fast(), quorums.slow())
}
