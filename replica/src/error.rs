//! Why a replica did not start, and what became of a proposal that has no result.

use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::NotApplied;
use panchayat_core::Doubt;
use panchayat_core::sessions::SessionConfigError;
use panchayat_storage::{AppendError, JournalFailed, StorageError};
use panchayat_transport::TransportError;
use thiserror::Error;

use crate::protocol::ProtocolError;
pub use crate::snapshots::{MarkerError, SnapshotUnreadable};

/// Why a replica could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The protocol cannot be run as it was chosen.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The journal could not be opened or read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The mesh could not be started.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The newest snapshot cannot be read back.
    #[error(transparent)]
    Snapshot(#[from] SnapshotUnreadable),
    /// The note of whose directory this is cannot be read or written, or names another.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// Journal and snapshot do not belong together.
    #[error(transparent)]
    Marks(#[from] panchayat_core::MarkError),
    /// Journal and snapshot do not belong together.
    #[error(
        "snapshot {} was not taken along with this journal, which has no mark where it should: \
         was one of them replaced? A replica that has lost records must join under a new node id",
        file.display()
    )]
    NoMark {
        /// The snapshot's file.
        file: PathBuf,
    },
    /// The newest snapshot holds the promises of another node.
    #[error(
        "snapshot {} was imported from another node: only a whole new cluster can begin with a \
         state from a backup", file.display()
    )]
    Imported {
        /// The snapshot's file.
        file: PathBuf,
    },
    /// How long requests are remembered makes no sense.
    #[error("sessions: {0}")]
    Sessions(#[from] SessionConfigError),
    /// A workload cannot be started as it is described.
    #[error("workload `{name}`: {why}")]
    Workload {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The journal holds promises of a workload that was not described.
    #[error(
        "the journal holds records of group {group:08x}, but no workload with a name of that group \
         was described: a replica starts with all the workloads it has had"
    )]
    StrayRecords {
        /// The group.
        group: u32,
    },
    /// The limits contradict each other.
    #[error("limits: {0}")]
    Limits(&'static str),
    /// The group cannot begin with these members.
    #[error(transparent)]
    Founding(#[from] crate::membership::ChangeError),
    /// A node that joins is one of those that the cluster began with.
    #[error(
        "{node} is one of those that the cluster began with: it does not join. If its disk was lost, \
         it is replaced by a node with a number of its own"
    )]
    NotNew {
        /// The node.
        node: panchayat_consensus::NodeId,
    },
    /// No member of the cluster has this name.
    #[error("no member is called {name}; the members are {known}")]
    UnknownMember {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The identity is another member's, or another cluster's.
    #[error("the certificate is for {found}, but {name} is {expected}")]
    WrongIdentity {
        /// The member to start.
        name: String,
        /// Whose certificate it should be.
        expected: String,
        /// Whose it is.
        found: String,
    },
    /// A record of the journal cannot be read: it is of a newer version.
    #[error("journal record {index} cannot be decoded: {source}")]
    Record {
        /// Its number in the journal, from 0.
        index: usize,
        /// What the decoder found.
        source: panchayat_consensus::wire::DecodeError,
    },
    /// The operating system refused a thread.
    #[error("cannot start the replica's thread: {0}")]
    Thread(std::io::Error),
}

/// Why a proposal has no output. The variants separate *definitely not applied* from *unknown*.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Not applied, and never will be: too much is in flight here. Try again later.
    #[error("overloaded; the command was not applied")]
    Overloaded,
    /// Not applied, and never will be, for the reason given.
    #[error("not applied: {0}")]
    NotApplied(&'static str),
    /// Not applied, and never will be: the command's encoding exceeds
    /// [`Limits::command_bytes_max`](crate::Limits::command_bytes_max).
    #[error("a command of {bytes} bytes exceeds the limit of {bytes_max}; it was not applied")]
    TooLarge {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The replica is stopping or has stopped; the command was not proposed.
    #[error("the replica has stopped; the command was not applied")]
    Shutdown,
    /// The replica stopped before the command was executed here. It may still be applied, or have
    /// been.
    #[error("the replica stopped before the command was executed; it may or may not be applied")]
    Unknown,
    /// Nobody here knows whether the command was or will be applied, and why not.
    #[error("it is unknown whether the command was or will be applied: {}", doubt_text(*.0))]
    InDoubt(Doubt),
    /// Applied, by an earlier attempt at the same request, and not again. What it answered is not
    /// kept any more, or was too long to be kept.
    #[error("an earlier attempt was applied; its output is not kept")]
    OutputNotKept,
}

impl ProposeError {
    pub(crate) const DISK_FULL: Self = Self::NotApplied("the disk is full");
    pub(crate) const NOT_DECODED: Self =
        Self::NotApplied("the state machine cannot decode its command");
    pub(crate) const UNREACHABLE: Self =
        Self::NotApplied("no leader was known for too long; nobody was given the command");
    pub(crate) const SEALED: Self = Self::NotApplied("the epoch was sealed first");
    pub(crate) const NO_MEMBER: Self =
        Self::NotApplied("this replica is no member of the group any more");
    pub(crate) const BEHIND: Self =
        Self::NotApplied("this replica has missed too much and takes over a peer's state");

    /// Whether this attempt is certain to have no effect, and to have had none. Of a request that
    /// was tried before this says nothing about the earlier attempts.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::Unknown | Self::InDoubt(_) | Self::OutputNotKept)
    }
}

impl From<NotApplied> for ProposeError {
    fn from(reason: NotApplied) -> Self {
        match reason {
            NotApplied::Overloaded => Self::Overloaded,
            NotApplied::Unreachable => Self::UNREACHABLE,
            _ => Self::SEALED,
        }
    }
}

fn doubt_text(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::TooOld => "it was first tried so long ago that its answer may be forgotten",
        Doubt::IssuedAhead => "it claims to be issued in the future: a clock is wrong",
        Doubt::Unreachable => "no leader or no quorum has said for too long what became of it",
        Doubt::StateReplaced => "the replica took over a peer's state meanwhile",
        _ => "for a reason that this version does not know",
    }
}

/// Why a running replica stopped by itself. It does not vote any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The journal failed: what is promised can no longer be kept.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
    /// The journal does not take records any more.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A snapshot could not be written or synced: what the disk keeps is no longer certain.
    #[error(transparent)]
    Snapshots(Arc<StorageError>),
    /// The replica's thread panicked: a broken invariant.
    #[error("the replica's thread panicked")]
    Panicked,
}
