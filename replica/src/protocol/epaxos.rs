//! EPaxos* behind the driver.

use panchayat_consensus::Quorums;
use panchayat_epaxos::{Config, EPaxos};
use panchayat_topology::{Matrix, latency};

use super::{Hosted, ProtocolError, Setting};

/// A round trip to the nearest fast quorum.
pub(super) fn commit_us(round_trips: &Matrix, origin: usize) -> Result<u64, ProtocolError> {
    let quorums = Quorums::for_replicas(round_trips.len())?;
    let predicted = latency::epaxos_fast(round_trips, origin, quorums.fast());
    Ok(predicted.expect("the quorum fits the group, and the seat is one of it"))
}

impl Hosted for EPaxos {
    type Choice = ();

    fn config((): &(), setting: &Setting<'_>) -> Result<Config, ProtocolError> {
        let cluster = setting.cluster;
        let quorums = Quorums::for_replicas(cluster.members.len())?;
        let mut config = Config::new(setting.seat, quorums, cluster.longest_round_trip());
        config.limits.retained_max = setting.limits.retained_max;
        config.limits.retained_bytes_max = setting.limits.retained_bytes_max;
        Ok(config)
    }

    fn terms(config: &Config) -> String {
        let quorums = config.quorums;
        format!("epaxos, quorums of {} and {}", quorums.fast(), quorums.slow())
    }
}
