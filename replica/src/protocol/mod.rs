//! Which protocol orders the commands of a cluster, and what a protocol must tell to run here.
//!
//! Threads, journal, mesh and snapshots know nothing of protocols but the [`Protocol`] trait. What
//! is left is here: how a protocol's configuration follows from the cluster and the limits, and
//! what all members must agree on. A further protocol is one file, one variant of
//! [`ProtocolChoice`], and one line in the builder.

mod epaxos;
mod multipaxos;

use std::fmt;

use panchayat_consensus::{Protocol, ReplicaId};
use panchayat_topology::Matrix;

use crate::cluster::Cluster;
use crate::error::StartError;
use crate::limits::Limits;

pub use multipaxos::{Leader, MultiPaxosChoice};

/// Which protocol orders a cluster's commands. All members must be started with the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolChoice {
    /// EPaxos*: leaderless, every replica coordinates the commands of its own clients. For clients
    /// in several places and few conflicts between commands in flight.
    #[default]
    EPaxos,
    /// Multi-Paxos: one leader orders everything, and every replica learns by itself what was
    /// chosen. For hot keys, or most clients near one place.
    MultiPaxos(MultiPaxosChoice),
}

impl ProtocolChoice {
    /// Its name, as it is written on a command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EPaxos => "epaxos",
            Self::MultiPaxos(_) => "multipaxos",
        }
    }

    /// The member of `cluster` that leads while all is well; `None` for a leaderless protocol.
    ///
    /// # Errors
    /// [`StartError`], as starting a replica would.
    pub fn leader(&self, cluster: &Cluster) -> Result<Option<ReplicaId>, StartError> {
        match self {
            Self::EPaxos => Ok(None),
            Self::MultiPaxos(choice) => choice.preferred(cluster),
        }
    }
}

impl fmt::Display for ProtocolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EPaxos => f.write_str(self.name()),
            Self::MultiPaxos(choice) => write!(f, "{}, {choice}", self.name()),
        }
    }
}

/// What a protocol's configuration follows from.
pub(crate) struct Setting<'a> {
    pub(crate) seat: ReplicaId,
    pub(crate) cluster: &'a Cluster,
    pub(crate) limits: Limits,
}

/// A protocol that runs here.
pub(crate) trait Hosted:
    Protocol<Config: Send, Message: Send, Record: Send> + Send + 'static
{
    /// What can be chosen of it.
    type Choice;

    /// The configuration of one replica.
    fn config(choice: &Self::Choice, setting: &Setting<'_>) -> Result<Self::Config, StartError>;

    /// What all members must agree on besides who they are, in words: the protocol, and those of
    /// its parameters that its safety rests on. A data directory is kept under it.
    fn terms(config: &Self::Config) -> String;
}

/// The expected round trips of `cluster` as a table. Members may have measured each direction for
/// itself: the longer one counts.
fn matrix(cluster: &Cluster) -> Result<Matrix, StartError> {
    let names: Vec<_> = cluster.members.iter().map(|member| member.name.clone()).collect();
    let us = |from: usize, to: usize| {
        let row = cluster.round_trips.get(from);
        row.and_then(|row| row.get(to)).map_or(0, |rtt| rtt.as_micros() as u64)
    };
    let cell = |from: usize, to: usize| match from == to {
        true => 0,
        // Whole microseconds one way.
        false => us(from, to).max(us(to, from)).next_multiple_of(2),
    };
    let seats = 0..names.len();
    let rows: Vec<Vec<u64>> =
        seats.clone().map(|from| seats.clone().map(|to| cell(from, to)).collect()).collect();
    Ok(Matrix::new(names, &rows)?)
}
