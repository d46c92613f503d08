//! What can go wrong: at opening, at appending, and for good.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use panchayat_consensus::ids::{GroupId, NodeId};
use panchayat_core::journal::{Cause, HeaderError, Refusal};
use panchayat_core::snapshot::{JournalPosition, SnapshotError};
use rustix::io::Errno;
use thiserror::Error;

use crate::queue::FullReason;

/// Why a journal could not be opened, probed or cut; what became of a snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The file system's word.
        source: io::Error,
    },
    /// There is no space, or files may not grow so large.
    #[error("disk full: cannot {action} {}: {source}", path.display())]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The file system's word.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("{} is held by another process: is the replica already running?", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The journal is damaged, or not ours, or of a newer format.
    #[error("{}: {refusal}; {}", path.display(), advice(refusal))]
    Refused {
        /// The segment's file.
        path: PathBuf,
        /// What was found, and where.
        refusal: Refusal,
    },
    /// The directory has no journal, and should have one.
    #[error(
        "no journal in {}: a replica that has lost its disk must join under a new node id",
        dir.display()
    )]
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// The settings contradict each other.
    #[error("journal settings: {what}")]
    Config {
        /// How.
        what: &'static str,
    },
    /// Such a segment may not be removed.
    #[error("cannot remove segments below {number}: segment {current} is being written")]
    InUse {
        /// The number given.
        number: u64,
        /// The segment in use.
        current: u64,
    },
    /// There is no space for another segment.
    #[error("journal is full: {reason}")]
    JournalFull {
        /// Why.
        reason: FullReason,
    },
    /// The journal begins after the snapshot of a group ends: segments, or the newest snapshot,
    /// were lost.
    #[error(
        "records of group {} are missing: the journal begins at segment {first}, but its newest \
         snapshot covers nothing from segment {due} on: was a snapshot removed or replaced by an \
         older one? A replica that has lost records must join under a new node id", group.0
    )]
    MissingRecords {
        /// The group.
        group: GroupId,
        /// The oldest segment there is.
        first: u64,
        /// The first segment that the snapshot does not cover.
        due: u64,
    },
    /// The journal ends before the snapshot of a group was taken: its end was lost.
    #[error(
        "records of group {} are missing: its snapshot was taken at segment {}, record {} of it, \
         and the journal ends before: was the journal replaced by an older one? A replica that \
         has lost records must join under a new node id",
        group.0, position.segment, position.skip
    )]
    JournalBehind {
        /// The group.
        group: GroupId,
        /// Where the snapshot was taken.
        position: JournalPosition,
    },
    /// The journal has failed before.
    #[error(transparent)]
    Failed(#[from] JournalFailed),
    /// A snapshot is damaged, not ours, or of a newer format.
    #[error("snapshot {}: {source}{}", path.display(), snapshot_advice(source))]
    Snapshot {
        /// Its file.
        path: PathBuf,
        /// What was found, and where.
        source: SnapshotError,
    },
    /// A snapshot of another node lies in the store.
    #[error(
        "snapshot {} belongs to {found}, not to {expected}: start with the data directory of this \
         node; a peer's snapshot can only be received or imported", path.display()
    )]
    SnapshotOwner {
        /// Its file.
        path: PathBuf,
        /// The node found.
        found: NodeId,
        /// Ours.
        expected: NodeId,
    },
    /// A write, a rename or a sync of a snapshot has failed, now or before. It is not retried.
    #[error("snapshots failed for good: cannot {action} {}: {source}", path.display())]
    SnapshotsFailed {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The file system's word.
        source: Arc<io::Error>,
    },
    /// There is one at a time.
    #[error("{what}: one at a time")]
    Busy {
        /// What is going on.
        what: &'static str,
    },
    /// A snapshot would cover less of the journal than the newest does.
    #[error(
        "a snapshot up to segment {}, record {} of the journal comes too late: the newest covers \
         it up to segment {}, record {}",
        position.segment, position.skip, latest.segment, latest.skip
    )]
    SnapshotBehind {
        /// What it covers.
        position: JournalPosition,
        /// What the newest covers.
        latest: JournalPosition,
    },
    /// A snapshot is longer than the settings allow.
    #[error("a snapshot of {bytes} bytes exceeds the limit of {bytes_max} (snapshot_bytes_max)")]
    SnapshotTooLarge {
        /// Its length, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// These are not the bytes of the transfer that come next.
    #[error("bytes of a snapshot from offset {offset}, and those from {due} are due")]
    TransferOffset {
        /// Where the bytes belong.
        offset: u64,
        /// What should have come.
        due: u64,
    },
    /// A transfer was ended too early.
    #[error("{received} of {bytes} bytes of the snapshot have been received")]
    TransferIncomplete {
        /// Bytes received.
        received: u64,
        /// Bytes there are.
        bytes: u64,
    },
    /// There is nothing to export.
    #[error("no snapshot in {}", dir.display())]
    NoSnapshot {
        /// The store's directory.
        dir: PathBuf,
    },
    /// Only an empty store can take an import.
    #[error(
        "{} has a snapshot already: import a backup only into the data directory of a new node",
        dir.display()
    )]
    NotEmpty {
        /// The store's directory.
        dir: PathBuf,
    },
}

/// The journal has stopped for good. What was reported durable stays; what was not is unknown.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum JournalFailed {
    /// A write or a sync failed. It is not retried: the kernel may have dropped the bytes.
    #[error("journal failed for good: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The file system's word.
        source: Arc<io::Error>,
    },
    /// A write into reserved space found no space, or the journal was closed while full with
    /// records still waiting.
    #[error("journal failed for good: disk full at {}", path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
    },
    /// A thread of the journal, or a callback on it, has panicked.
    #[error("journal failed for good: its thread panicked")]
    Panicked,
}

/// Why an append was not taken: nothing of it was.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The journal has failed for good.
    #[error(transparent)]
    Failed(#[from] JournalFailed),
    /// No space. Appends succeed again once there is space.
    #[error("journal is full: {0}")]
    DiskFull(FullReason),
    /// The records together are longer than the queue may become.
    #[error("an append of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// What they take, headers included, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// What to do about a snapshot that is refused. The header's errors say so themselves.
fn snapshot_advice(error: &SnapshotError) -> &'static str {
    match error {
        SnapshotError::Damaged { .. } => {
            "; an older snapshot must not take its place, because the journal between them may be \
             gone: put back an intact copy, or let this replica join under a new node id"
        }
        _ => "",
    }
}

/// What to do about a journal that is refused.
fn advice(refusal: &Refusal) -> &'static str {
    match refusal.cause {
        Cause::Header(HeaderError::OtherCluster { .. } | HeaderError::OtherNode { .. }) => {
            "start with the data directory of this node"
        }
        Cause::Header(HeaderError::NewerFormat { .. }) => "start the newer program that wrote it",
        Cause::Header(HeaderError::OtherNumber { .. }) => "give the file its name back",
        Cause::SegmentMissing { .. } => "put the missing file back",
        _ => "with damaged records this replica must join under a new node id",
    }
}

/// Whether an error says that there is no room: on the device, in the quota, below the file-size limit, or for
/// one more open file. Room may come back.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::FBIG, Errno::DQUOT, Errno::MFILE, Errno::NFILE];
    full.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl StorageError {
    /// Whether nothing may be tried again: the replica must stop.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::SnapshotsFailed { .. })
    }

    /// Whether there was no space: nothing was harmed, and it may be tried again later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::JournalFull { .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            if is_full(&source) {
                Self::DiskFull { action, path, source }
            } else {
                Self::Io { action, path, source }
            }
        }
    }
}

impl JournalFailed {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            if is_full(&source) {
                Self::DiskFull { path }
            } else {
                Self::Io { action, path, source: Arc::new(source) }
            }
        }
    }
}

impl From<StorageError> for JournalFailed {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io { action, path, source } => {
                Self::Io { action, path, source: Arc::new(source) }
            }
            StorageError::DiskFull { path, .. } => Self::DiskFull { path },
            StorageError::Failed(failed) => failed,
            other => Self::Io {
                action: "use",
                path: PathBuf::new(),
                source: Arc::new(io::Error::other(other)),
            },
        }
    }
}
