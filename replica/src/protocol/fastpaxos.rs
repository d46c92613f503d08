//! Fast Paxos behind the driver: who should coordinate, and how many must agree.

use std::fmt;

use panchayat_consensus::{Quorums, ReplicaId, Span};
use panchayat_fastpaxos::{Config, FastQuorums};
use panchayat_topology::leader::Learning;
use panchayat_topology::{Matrix, latency};

use super::leader::first;
use super::{Leader, ProtocolError};
use crate::limits::Limits;

/// What can be chosen of Fast Paxos. All members must be started with the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FastPaxosChoice {
    /// Who should coordinate: settle collisions, and lead while fast rounds have no quorum. Another
    /// does while it cannot, and goes on until it is lost itself.
    pub coordinator: Leader,
    /// How many replicas must promise to follow a new coordinator, accept a command in a fast round,
    /// and accept one in a classic round; majorities and three quarters if nothing is said.
    pub quorums: Option<(usize, usize, usize)>,
}

impl FastPaxosChoice {
    /// The member that coordinates while all is well.
    pub(super) fn preferred(&self, round_trips: &Matrix) -> Result<ReplicaId, ProtocolError> {
        self.ranking(round_trips).map(|ranking| first(&ranking))
    }

    /// A round trip to the nearest fast quorum, without collisions.
    pub(super) fn commit_us(
        &self,
        round_trips: &Matrix,
        origin: usize,
    ) -> Result<u64, ProtocolError> {
        let quorums = self.sizes(round_trips.len())?;
        let predicted = latency::fast_paxos(round_trips, origin, quorums.fast());
        Ok(predicted.expect("the quorum fits the group, and the seat is one of it"))
    }

    /// The configuration of one replica.
    pub(super) fn config(
        &self,
        seat: ReplicaId,
        round_trips: &Matrix,
        rtt_max: Span,
        limits: &Limits,
    ) -> Result<Config, ProtocolError> {
        let mut config = Config::new(seat, self.sizes(round_trips.len())?, rtt_max);
        config.ranking = self.ranking(round_trips)?;
        config.limits.retained_slots_max = limits.retained_max as u64;
        config.limits.retained_bytes_max = limits.retained_bytes_max;
        config.check()?;
        Ok(config)
    }

    /// How many it takes to elect a coordinator and to accept in its rounds.
    pub(super) fn classic(&self, n: usize) -> Result<usize, ProtocolError> {
        let sizes = self.sizes(n)?;
        Ok(sizes.q1().max(sizes.classic()))
    }

    /// Its fast and its classic quorum in a group of `n`.
    pub(super) fn prospect(&self, n: usize) -> Result<(usize, usize), ProtocolError> {
        let sizes = self.sizes(n)?;
        Ok((sizes.fast(), sizes.classic()))
    }

    fn sizes(&self, n: usize) -> Result<FastQuorums, ProtocolError> {
        // A group of the size that every protocol needs.
        Quorums::for_replicas(n)?;
        Ok(match self.quorums {
            None => FastQuorums::for_replicas(n)?,
            Some((promise, fast, classic)) => FastQuorums::new(n, promise, fast, classic)?,
        })
    }

    /// By what a coordinator does in classic rounds: there it leads, and origins count votes.
    fn ranking(&self, round_trips: &Matrix) -> Result<Vec<ReplicaId>, ProtocolError> {
        let accept = self.sizes(round_trips.len())?.classic();
        self.coordinator.ranking(round_trips, accept, Learning::OriginLearns)
    }
}

impl fmt::Display for FastPaxosChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coordinator {}", self.coordinator)
    }
}

/// What its members must agree on, in words.
pub(super) fn terms(config: &Config) -> String {
    let quorums = config.quorums;
    format!("fastpaxos, quorums of {}, {} and {}", quorums.q1(), quorums.fast(), quorums.classic())
}

#[cfg(test)]
mod tests {
    use panchayat_topology::Topology;

    use super::*;

    #[test]
    fn every_city_waits_for_the_furthest_of_the_fast_quorum() {
        let rows = [("india3", vec![27, 37, 37]), ("india5", vec![25, 37, 24, 25, 18])];
        for (set, row) in rows {
            let matrix = Topology::builtin().matrix(set).unwrap();
            let choice = FastPaxosChoice::default();
            let cells = (0..matrix.len()).map(|city| choice.commit_us(&matrix, city).unwrap());
            assert_eq!(cells.map(|us| us / 1_000).collect::<Vec<_>>(), row, "{set}");
        }
    }

    #[test]
    fn what_cannot_coordinate_or_decide_is_refused() {
        let matrix = Topology::builtin().matrix("india3").unwrap();
        let of = |coordinator, quorums| FastPaxosChoice { coordinator, quorums };
        let refused = |choice: FastPaxosChoice| choice.preferred(&matrix).unwrap_err().to_string();
        assert!(refused(of(Leader::At("paris".into()), None)).contains("paris"));
        let small = refused(of(Leader::Auto, Some((2, 2, 2))));
        assert!(small.contains("q1 + 2 q2fast > 2 n"), "{small}");
        assert_eq!(of(Leader::At("delhi".into()), None).preferred(&matrix), Ok(ReplicaId(1)));
        assert_eq!(of(Leader::Auto, None).preferred(&matrix), Ok(ReplicaId(0)));
    }
}
