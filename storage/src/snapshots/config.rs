//! What a store of snapshots is opened with.

use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::ids::{ClusterId, GroupId, NodeId};

use crate::backend::{Backend, RealFiles};
use crate::config::JournalConfig;

/// How to open a store of snapshots. Make one with [`SnapshotConfig::new`] or
/// [`SnapshotConfig::beside`] and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotConfig {
    /// The data directory: the same as the journal's. The store uses `snapshots/<group>/` in it.
    pub dir: PathBuf,
    /// Snapshots of another cluster are refused.
    pub cluster: ClusterId,
    /// Snapshots of another node are refused.
    pub node: NodeId,
    /// Snapshots of another group are refused.
    pub group: GroupId,
    /// How fast a snapshot is written, in bytes per second; `None` for as fast as the disk takes
    /// it. 64 MiB/s unless changed.
    pub bytes_per_second_max: Option<u64>,
    /// After so many bytes what was written is synced, so that the last sync finds little to do.
    /// 1 MiB unless changed.
    pub sync_bytes: u64,
    /// Longest snapshot that is received or imported, in bytes. 64 GiB unless changed.
    pub snapshot_bytes_max: u64,
    /// The file system. Real files unless changed.
    pub backend: Arc<dyn Backend>,
}

impl SnapshotConfig {
    /// The usual settings for the snapshots of `group` at `node`, in the data directory `dir`.
    pub fn new(dir: impl Into<PathBuf>, cluster: ClusterId, node: NodeId, group: GroupId) -> Self {
        Self {
            dir: dir.into(),
            cluster,
            node,
            group,
            bytes_per_second_max: Some(64 << 20),
            sync_bytes: 1 << 20,
            snapshot_bytes_max: 64 << 30,
            backend: Arc::new(RealFiles),
        }
    }

    /// The usual settings for the snapshots of `group` beside a journal.
    pub fn beside(journal: &JournalConfig, group: GroupId) -> Self {
        let mut config = Self::new(&journal.dir, journal.cluster, journal.node, group);
        config.backend = Arc::clone(&journal.backend);
        config
    }
}
