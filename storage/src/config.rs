//! What a journal is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use panchayat_consensus::ids::{ClusterId, NodeId};
use panchayat_core::journal::{BATCH_HEADER_BYTES, PAYLOAD_BYTES_MAX, SECTOR, padded};

use crate::backend::{Backend, RealFiles};
use crate::error::StorageError;

/// Largest segment, in bytes; a segment is read as a whole when the journal is opened.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// What "durable" means to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Written and synced: survives power loss. The only one that keeps the protocol's promises.
    Fsync,
    /// Written to the operating system, synced when it likes: survives the death of the process,
    /// not of the machine. After power loss the journal ends at its first hole.
    Os,
    /// Kept nowhere: nothing touches the disk, and nothing is replayed.
    Memory,
}

/// How to open a journal. Make one with [`JournalConfig::new`] and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalConfig {
    /// The data directory. It is created if it does not exist, and locked while in use.
    pub dir: PathBuf,
    /// Data of another cluster is refused.
    pub cluster: ClusterId,
    /// Data of another node is refused.
    pub node: NodeId,
    /// What "durable" means. [`Durability::Fsync`] unless changed.
    pub durability: Durability,
    /// Refuse a directory without a journal, instead of starting an empty one. A node that has
    /// ever promised anything must set it: with its disk lost it must not come back as itself.
    pub must_exist: bool,
    /// Size of a segment, in bytes; rounded up to whole sectors. 64 MiB unless changed.
    pub segment_bytes: u64,
    /// Most bytes the segments may take on disk, the one prepared ahead included; at the limit the
    /// journal counts as full until [`Journal::truncate_below`](crate::Journal::truncate_below).
    /// 4 GiB unless changed.
    pub journal_bytes_max: u64,
    /// Most bytes appended but not yet durable, over all groups; `append` waits above it. Also
    /// the limit of one append. 8 MiB unless changed.
    pub queue_bytes_max: usize,
    /// After so long without an append, the last batch gets a witness: see
    /// [`panchayat_core::journal`]. 1 s unless changed.
    pub idle_marker_after: Duration,
    /// How long to wait before asking a full disk again for space. 1 s unless changed.
    pub full_retry_after: Duration,
    /// The file system. Real files unless changed.
    pub backend: Arc<dyn Backend>,
}

impl JournalConfig {
    /// The usual settings for the journal of `node` in `dir`.
    pub fn new(dir: impl Into<PathBuf>, cluster: ClusterId, node: NodeId) -> Self {
        Self {
            dir: dir.into(),
            cluster,
            node,
            durability: Durability::Fsync,
            must_exist: false,
            segment_bytes: 64 << 20,
            journal_bytes_max: 4 << 30,
            queue_bytes_max: 8 << 20,
            idle_marker_after: Duration::from_secs(1),
            full_retry_after: Duration::from_secs(1),
            backend: Arc::new(RealFiles),
        }
    }

    /// Checks what can be checked without the disk, and rounds.
    pub(crate) fn checked(mut self) -> Result<Self, StorageError> {
        let wrong = |what| Err(StorageError::Config { what });
        if self.segment_bytes > SEGMENT_BYTES_MAX {
            return wrong("segment_bytes is above 1 GiB");
        }
        self.segment_bytes = self.segment_bytes.next_multiple_of(SECTOR as u64);
        if self.queue_bytes_max < 1024 {
            return wrong("queue_bytes_max is below 1 KiB");
        }
        // An append within the limit must not hold a record that cannot be written.
        if self.queue_bytes_max > PAYLOAD_BYTES_MAX {
            return wrong("queue_bytes_max is above 256 MiB");
        }
        // Whatever is queued goes out as one batch, and a batch is never split over segments.
        let batch_bytes_max = padded(BATCH_HEADER_BYTES.saturating_add(self.queue_bytes_max));
        if (SECTOR + batch_bytes_max) as u64 > self.segment_bytes {
            return wrong("queue_bytes_max does not fit into one segment");
        }
        // One in use, one ahead, one to be snapshotted.
        if self.journal_bytes_max / 3 < self.segment_bytes {
            return wrong("journal_bytes_max is below three segments");
        }
        Ok(self)
    }
}
