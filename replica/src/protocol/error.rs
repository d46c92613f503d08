//! Why a protocol cannot order the commands of a cluster.

use panchayat_consensus::QuorumError;
use panchayat_topology::MatrixError;
use thiserror::Error;

/// Why a protocol cannot be run as it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The group has too few or too many members.
    #[error(transparent)]
    Quorums(#[from] QuorumError),
    /// The two quorums of Multi-Paxos do not fit the group, or need not meet.
    #[error(transparent)]
    PhaseQuorums(#[from] panchayat_multipaxos::QuorumError),
    /// The configuration of Multi-Paxos contradicts itself.
    #[error("multipaxos: {0}")]
    MultiPaxos(#[from] panchayat_multipaxos::ConfigError),
    /// The three quorums of Fast Paxos do not fit the group, or need not meet.
    #[error(transparent)]
    FastQuorums(#[from] panchayat_fastpaxos::QuorumError),
    /// The configuration of Fast Paxos contradicts itself.
    #[error("fastpaxos: {0}")]
    FastPaxos(#[from] panchayat_fastpaxos::ConfigError),
    /// The expected round trips are none that a leader could be chosen by.
    #[error(transparent)]
    RoundTrips(#[from] MatrixError),
    /// No member has the name of the one that should lead.
    #[error("no member is called {name}, which should lead; the members are {known}")]
    UnknownLeader {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Where the clients are is not said for every member, or there are none.
    #[error(
        "numbers of clients for {given} members of {members}: to choose a leader there must be \
         one for each, and not all 0"
    )]
    Clients {
        /// How many numbers were given.
        given: usize,
        /// How many members there are.
        members: usize,
    },
}
