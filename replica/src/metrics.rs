//! Numbers about a replica: owned snapshots, never a lock held on a running one.

use std::time::Duration;

use hdrhistogram::Histogram;
use panchayat_consensus::ReplicaId;
use panchayat_core::StateHash;
use panchayat_storage::JournalStats;
use panchayat_transport::MeshStats;

/// What the replica's own thread knows.
#[derive(Clone, Debug)]
pub struct CoreMetrics {
    /// The state's fingerprint.
    pub state_hash: StateHash,
    /// Commands executed since the group was born, as the state has them.
    pub executed: u64,
    /// Proposals waiting for their result.
    pub in_flight: usize,
    /// Effects waiting for the disk.
    pub held: usize,
    /// From being proposed here to being decided, in microseconds: commands since this run began.
    pub commit_us: Histogram<u64>,
    /// From being proposed here to being executed here, in microseconds: commands since this run
    /// began. What has no result yet is in neither.
    pub execute_us: Histogram<u64>,
    /// Proposals answered with [`Overloaded`](crate::ProposeError::Overloaded).
    pub overloaded: u64,
    /// What orders commands in the epoch this replica has come to.
    pub ordered_by: &'static str,
    /// Who leads or coordinates, as far as the replica knows; `None` for a protocol without one.
    pub leader: Option<ReplicaId>,
    /// How the protocol stands, for people: which rounds Fast Paxos runs, say, and why.
    pub status: Option<String>,
    /// The protocol's own counters, by name.
    pub protocol: Vec<(&'static str, u64)>,
    /// Protocol messages sent, one for each receiver.
    pub messages_sent: u64,
    /// Bytes of the frames they travelled in.
    pub bytes_sent: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames not taken by the transport: the peer was down or too slow.
    pub frames_refused: u64,
    /// Frames received that were not of this group, epoch or format.
    pub frames_bad: u64,
    /// Snapshots, and states from and to peers.
    pub snapshots: SnapshotMetrics,
    /// Requests that are remembered.
    pub sessions: usize,
    /// What those are reckoned at, in bytes.
    pub session_bytes: usize,
    /// Turns of the loop.
    pub turns: u64,
    /// Peers suspected to have failed, by seat.
    pub suspected: Vec<u8>,
}

/// What became of snapshots in this run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotMetrics {
    /// Snapshots that became durable.
    pub taken: u64,
    /// Times that one could not be written for now.
    pub delayed: u64,
    /// Length of the newest, in bytes.
    pub bytes: u64,
    /// How long writing the newest took.
    pub took: Duration,
    /// Bytes of records written since the last one was begun.
    pub journal_bytes_since: u64,
    /// Whether this replica has missed so much that it needs a peer's state, or has one that is
    /// not durable yet.
    pub behind: bool,
    /// States of peers taken over.
    pub states_taken_over: u64,
    /// Their bytes.
    pub state_bytes: u64,
    /// Attempts to get one that failed.
    pub states_failed: u64,
    /// States given to peers.
    pub states_given: u64,
}

/// Everything measured about one replica.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The protocol and the state.
    pub core: CoreMetrics,
    /// The mesh.
    pub mesh: MeshStats,
    /// The journal.
    pub journal: JournalStats,
    /// Bytes that the journal's files take.
    pub journal_file_bytes: u64,
}

impl CoreMetrics {
    /// A counter of the protocol; 0 if it has none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        let found = self.protocol.iter().find(|(counter, _)| *counter == name);
        found.map_or(0, |(_, value)| *value)
    }
}
