//! Numbers about a replica: owned snapshots, never a lock held on a running one.

use panchayat_core::StateHash;
use panchayat_storage::JournalStats;
use panchayat_transport::MeshStats;

/// What the replica's own thread knows.
#[derive(Clone, Debug)]
pub struct CoreMetrics {
    /// The state's fingerprint.
    pub state_hash: StateHash,
    /// Commands executed since this run began, replayed ones included.
    pub executed: u64,
    /// Proposals waiting for their result.
    pub in_flight: usize,
    /// Effects waiting for the disk.
    pub held: usize,
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
    /// Turns of the loop.
    pub turns: u64,
    /// Peers suspected to have failed, by seat.
    pub suspected: Vec<u8>,
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
}

impl CoreMetrics {
    /// A counter of the protocol; 0 if it has none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        let found = self.protocol.iter().find(|(counter, _)| *counter == name);
        found.map_or(0, |(_, value)| *value)
    }
}
