//! EPaxos* behind the driver.

use panchayat_consensus::Quorums;
use panchayat_epaxos::{Config, EPaxos};

use super::{Hosted, Setting};
use crate::error::StartError;

impl Hosted for EPaxos {
    type Choice = ();

    fn config((): &(), setting: &Setting<'_>) -> Result<Config, StartError> {
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
