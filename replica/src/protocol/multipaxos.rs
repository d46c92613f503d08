//! Multi-Paxos behind the driver: who should lead, and who counts the votes.

use std::fmt;

use panchayat_consensus::{Quorums, ReplicaId, Span};
use panchayat_multipaxos::{Config, FlexibleQuorums, Learning, Lease, Placement};
use panchayat_topology::prospect::Led;
use panchayat_topology::{Matrix, latency, leader};

use super::leader::first;
use super::{Leader, ProtocolError};
use crate::limits::Limits;

/// What can be chosen of Multi-Paxos. All members must be started with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiPaxosChoice {
    /// Who should lead.
    pub leader: Leader,
    /// Who counts the votes: every replica by itself, unless for comparison.
    pub learning: Learning,
    /// How many replicas must promise to follow a new leader, and how many must accept a command;
    /// majorities if nothing is said. Together they must be more than there are members.
    pub quorums: Option<(usize, usize)>,
    /// Lets the leader answer [`ReadLevel::Lease`](crate::ReadLevel) reads without asking anyone,
    /// if every member's clock is as good as the lease states; refused if nothing is said.
    pub lease: Option<Lease>,
}

impl Default for MultiPaxosChoice {
    fn default() -> Self {
        Self { leader: Leader::Auto, learning: Learning::Origin, quorums: None, lease: None }
    }
}

impl MultiPaxosChoice {
    /// The member that leads while all is well.
    pub(super) fn preferred(&self, round_trips: &Matrix) -> Result<ReplicaId, ProtocolError> {
        Ok(match self.placement(round_trips)? {
            Placement::Pinned(replica) => replica,
            Placement::Ranked(ranking) => first(&ranking),
        })
    }

    /// From the origin to the leader, from there to acceptors, and back to whoever counts.
    pub(super) fn commit_us(
        &self,
        round_trips: &Matrix,
        origin: usize,
    ) -> Result<u64, ProtocolError> {
        let (leader, accept) =
            (self.preferred(round_trips)?, self.flexible(round_trips.len())?.q2());
        let formula = match self.learning {
            Learning::Origin => latency::multipaxos_origin_learns,
            Learning::Leader => latency::multipaxos_leader_tells,
        };
        let predicted = formula(round_trips, leader.index(), origin, accept);
        Ok(predicted.expect("the quorum fits the group, and both seats are of it"))
    }

    /// The configuration of one replica.
    pub(super) fn config(
        &self,
        seat: ReplicaId,
        round_trips: &Matrix,
        rtt_max: Span,
        limits: &Limits,
    ) -> Result<Config, ProtocolError> {
        let mut config = Config::new(seat, self.flexible(round_trips.len())?, rtt_max);
        config.placement = self.placement(round_trips)?;
        config.learning = self.learning;
        config.lease = self.lease;
        config.limits.retained_slots_max = limits.retained_max as u64;
        config.limits.retained_bytes_max = limits.retained_bytes_max;
        config.check()?;
        Ok(config)
    }

    fn flexible(&self, n: usize) -> Result<FlexibleQuorums, ProtocolError> {
        // A group of the size that every protocol needs.
        Quorums::for_replicas(n)?;
        Ok(match self.quorums {
            None => FlexibleQuorums::majorities(n)?,
            Some((promise, accept)) => FlexibleQuorums::new(n, promise, accept)?,
        })
    }

    /// What predictions need to know of it in a group of `n`.
    pub(super) fn prospect(&self, n: usize) -> Result<Led, ProtocolError> {
        let quorums = self.flexible(n)?;
        Ok(Led { promise: quorums.q1(), accept: quorums.q2(), learning: self.counted_by() })
    }

    fn counted_by(&self) -> leader::Learning {
        match self.learning {
            Learning::Origin => leader::Learning::OriginLearns,
            Learning::Leader => leader::Learning::LeaderTells,
        }
    }

    fn placement(&self, round_trips: &Matrix) -> Result<Placement, ProtocolError> {
        let accept = self.flexible(round_trips.len())?.q2();
        let ranking = self.leader.ranking(round_trips, accept, self.counted_by())?;
        Ok(match self.leader {
            Leader::At(_) => Placement::Pinned(first(&ranking)),
            Leader::Auto | Leader::AutoFor(_) => Placement::Ranked(ranking),
        })
    }
}

impl fmt::Display for MultiPaxosChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leader {}", self.leader)?;
        match self.learning {
            Learning::Origin => Ok(()),
            Learning::Leader => f.write_str(", naive: origins wait for the leader's word"),
        }
    }
}

/// What its members must agree on, in words.
pub(super) fn terms(config: &Config) -> String {
    let quorums = config.quorums;
    let mut terms = format!("multipaxos, quorums of {} and {}", quorums.q1(), quorums.q2());
    // A member that restarts waits out a lease it may have granted: with another span, too
    // short a time.
    if let Some(Lease { span, clock_error_ppm }) = config.lease {
        terms += &format!(", lease of {span:?} at {clock_error_ppm} ppm");
    }
    terms
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use panchayat_consensus::ClusterId;
    use panchayat_topology::Topology;

    use super::*;
    use crate::cluster::Cluster;
    use crate::protocol::round_trips;

    fn cluster(set: &str) -> Cluster {
        let matrix = Topology::builtin().matrix(set).unwrap();
        let addrs = vec![SocketAddr::from(([127, 0, 0, 1], 1)); matrix.len()];
        Cluster::of_sites(ClusterId(1), &matrix, &addrs)
    }

    fn led(set: &str, leader: Leader, learning: Learning) -> String {
        let cluster = cluster(set);
        let choice = MultiPaxosChoice { leader, learning, ..MultiPaxosChoice::default() };
        let leader = choice.preferred(&round_trips(&cluster).unwrap()).unwrap();
        cluster.members[leader.index()].name.clone()
    }

    #[test]
    fn the_leader_is_the_best_for_the_clients_unless_it_is_named() {
        for (set, leader, expected) in [
            ("india3", Leader::Auto, "mumbai"),
            ("india5", Leader::Auto, "bangalore"),
            ("india5", Leader::AutoFor(vec![0, 1, 0, 0, 0]), "delhi"),
            ("india3", Leader::At("delhi".into()), "delhi"),
        ] {
            assert_eq!(led(set, leader.clone(), Learning::Origin), expected, "{set} {leader:?}");
        }
        assert_eq!(led("india3", Leader::Auto, Learning::Leader), "mumbai");
    }

    #[test]
    fn what_cannot_lead_or_decide_is_refused() {
        let india = round_trips(&cluster("india3")).unwrap();
        let refused = |choice: MultiPaxosChoice| choice.preferred(&india).unwrap_err().to_string();
        let of = |leader| MultiPaxosChoice { leader, ..MultiPaxosChoice::default() };
        let error = refused(of(Leader::At("paris".into())));
        assert!(error.contains("paris") && error.contains("mumbai"), "{error}");
        for clients in [vec![], vec![1; 4], vec![0; 3]] {
            let error = refused(of(Leader::AutoFor(clients)));
            assert!(error.contains("clients"), "{error}");
        }
        let quorums = Some((1, 2));
        let error = refused(MultiPaxosChoice { quorums, ..MultiPaxosChoice::default() });
        assert!(error.contains("q1 + q2 > n"), "{error}");
    }

    #[test]
    fn round_trips_measured_apart_in_each_direction_will_do() {
        let mut odd = cluster("india3");
        odd.round_trips[0][1] += std::time::Duration::from_micros(1);
        let choice = MultiPaxosChoice::default();
        let round_trips = round_trips(&odd).unwrap();
        assert_eq!(choice.preferred(&round_trips).unwrap(), ReplicaId(0));
        assert_eq!(round_trips.rtt_us(0, 1), 27_002);
    }
}
