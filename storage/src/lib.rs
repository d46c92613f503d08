//! The file backend of the journal and of snapshots: segments on disk, group commit, recovery at
//! start; whole snapshots that let the journal be cut.
//!
//! One [`Journal`] per process, one thread behind it. Groups append through their
//! [`JournalWriter`]s; whatever was appended while the last batch was being synced becomes the
//! next batch: one write and one sync for all groups. Batching comes from load, never from a
//! timer. What the bytes mean, and how a torn tail is told from corruption, is
//! [`panchayat_core::journal`].
//!
//! # Promises
//!
//! - A record reported durable ([`OnDurable`]) is replayed by every later [`Journal::open`], or
//!   the journal is refused with the file and the offset of the damage. It is never skipped.
//! - Records are replayed in the order of their appends, and without holes: if a record is
//!   replayed, so is every one appended before it, by any group.
//! - After an error of a write or a sync **nothing is ever retried**: the journal is poisoned,
//!   each writer's callback hears of it once, and every later append fails.
//! - A full disk is met when space is reserved, which is ahead of need: new appends are refused
//!   with [`AppendError::DiskFull`]; what was accepted stays, and appends are accepted again when
//!   there is space.
//! - The journal is cut only below what each group has released ([`Journal::release`]); whether
//!   snapshots and journal still meet is checked at the next start ([`Replay::after`]).
//! - Memory is bounded: [`JournalConfig::queue_bytes_max`]. At the limit `append` waits.
//!
//! A replica that reports state must wait for the callback; nothing here sends anything.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod backend;
mod committer;
mod config;
mod directory;
mod error;
mod housekeeper;
mod journal;
mod opening;
mod probe;
mod queue;
mod replay;
pub mod snapshots;
mod stats;
mod writer;

pub use config::{Durability, JournalConfig};
pub use error::{AppendError, JournalFailed, StorageError};
pub use journal::Journal;
pub use panchayat_consensus::RecordSeq;
pub use panchayat_core::journal::{Cut, Damage, Record};
pub use panchayat_core::snapshot::JournalPosition;
pub use probe::{SyncLatency, measure_sync};
pub use queue::{FullReason, Health, SegmentInfo};
pub use replay::Replay;
pub use snapshots::{
    FileReader, Incoming, Received, SnapshotConfig, SnapshotFile, SnapshotStore, StoredSnapshot,
    TransferId,
};
pub use stats::JournalStats;
pub use writer::{JournalWriter, OnDurable};
