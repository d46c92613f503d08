//! EPaxos* behind the driver.

use panchayat_consensus::{Quorums, ReplicaId, Span};
use panchayat_epaxos::{Config, EPaxos};
use panchayat_topology::{Matrix, latency};

use super::{Hosted, ProtocolError, Setting};
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

impl Hosted for EPaxos {
    type Choice = ();

    fn config((): &(), setting: &Setting<'_>) -> Result<Config, ProtocolError> {
        let cluster = setting.cluster;
        let (members, rtt_max) = (cluster.members.len(), cluster.longest_round_trip());
        config(setting.seat, members, rtt_max, &setting.limits)
    }

    fn terms(config: &Config) -> String {
        let quorums = config.quorums;
        format!("epaxos, quorums of {} and {}", quorums.fast(), quorums.slow())
    }
}
