//! Which protocol orders the commands of a cluster, and what a protocol must tell to run here.
//!
//! Threads, journal, mesh and snapshots know of no protocol but the one that leads through all
//! [epochs](panchayat_epochs). What is left is here: how the configuration of an epoch's protocol
//! follows from its members and the limits, and what all members must agree on.

mod adaptive;
pub mod configured;
mod epaxos;
mod error;
mod fastpaxos;
mod leader;
mod multipaxos;
mod opening;
mod spoken;
mod wire;

use std::fmt;

use panchayat_consensus::ReplicaId;
use panchayat_topology::Matrix;

use crate::cluster::Cluster;

pub use adaptive::AdaptiveChoice;
pub use error::ProtocolError;
pub use fastpaxos::FastPaxosChoice;
pub use leader::Leader;
pub use multipaxos::MultiPaxosChoice;
pub(crate) use opening::{Hosting, choice_of, terms};
pub use spoken::NoProtocol;
pub(crate) use wire::text;

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
    /// Fast Paxos: any replica straight to all acceptors, and a coordinator that settles what
    /// collides. For single decisions from anywhere with almost no concurrency; with three members
    /// a command waits for all of them, and EPaxos is the better choice everywhere.
    FastPaxos(FastPaxosChoice),
    /// One of the others, chosen anew by what the members measure.
    Adaptive(AdaptiveChoice),
}

impl ProtocolChoice {
    /// One that is chosen anew by what the members measure, EPaxos at first.
    pub fn adaptive() -> Self {
        Self::Adaptive(AdaptiveChoice::default())
    }

    /// What orders commands now: of an adaptive one what it has come to, as far as it says.
    pub fn now(&self) -> &Self {
        match self {
            Self::Adaptive(choice) => choice.now(),
            plain => plain,
        }
    }

    /// Its name, as it is written on a command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EPaxos => "epaxos",
            Self::MultiPaxos(_) => "multipaxos",
            Self::FastPaxos(_) => "fastpaxos",
            Self::Adaptive(_) => "adaptive",
        }
    }

    /// The seat that leads, or coordinates, while all is well in a cluster with these round trips; `None` for a
    /// leaderless protocol.
    ///
    /// # Errors
    /// [`ProtocolError`], as starting a replica would.
    pub fn leader(&self, round_trips: &Matrix) -> Result<Option<ReplicaId>, ProtocolError> {
        match self {
            Self::EPaxos => Ok(None),
            Self::MultiPaxos(choice) => choice.preferred(round_trips).map(Some),
            Self::FastPaxos(choice) => choice.preferred(round_trips).map(Some),
            Self::Adaptive(choice) => choice.now().leader(round_trips),
        }
    }

    /// How long a command of a client at the seat `origin` takes at best from its proposal to the
    /// moment its replica knows that it is decided, in microseconds: the closed form, without
    /// disks, queues, conflicts, and with the leader that is there while all is well.
    ///
    /// # Errors
    /// [`ProtocolError`], as starting a replica would.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn commit_us(&self, round_trips: &Matrix, origin: usize) -> Result<u64, ProtocolError> {
        assert!(origin < round_trips.len(), "seat {origin} of {}", round_trips.len());
        match self {
            Self::EPaxos => epaxos::commit_us(round_trips, origin),
            Self::MultiPaxos(choice) => choice.commit_us(round_trips, origin),
            Self::FastPaxos(choice) => choice.commit_us(round_trips, origin),
            Self::Adaptive(choice) => choice.now().commit_us(round_trips, origin),
        }
    }

    /// How many records must be durable one after the other before a command is decided.
    pub fn records_per_commit(&self) -> u32 {
        match self {
            // The coordinator's, a peer's vote, the decision.
            Self::EPaxos => 3,
            // The leader's vote and another one.
            Self::MultiPaxos(_) => 2,
            // Everybody's vote, at the same time.
            Self::FastPaxos(_) => 1,
            Self::Adaptive(choice) => choice.now().records_per_commit(),
        }
    }
}

impl fmt::Display for ProtocolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EPaxos => f.write_str(self.name()),
            Self::MultiPaxos(choice) => write!(f, "{}, {choice}", self.name()),
            Self::FastPaxos(choice) => write!(f, "{}, {choice}", self.name()),
            Self::Adaptive(choice) => write!(f, "{}, {choice}", self.name()),
        }
    }
}

/// The expected round trips of `cluster` as a table. Members may have measured each direction for
/// itself: the longer one counts.
fn round_trips(cluster: &Cluster) -> Result<Matrix, ProtocolError> {
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
