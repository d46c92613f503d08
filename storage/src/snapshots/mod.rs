//! Snapshots in files, beside the journal.
//!
//! One [`SnapshotStore`] per group, in `snapshots/<group>/` of the data directory. What the bytes
//! mean is [`panchayat_core::snapshot`].
//!
//! # Promises
//!
//! - A snapshot is written beside (`*.partial`), synced, renamed, and its directory synced. Only
//!   when [`SnapshotFile::finish`] has returned is it durable, and may the journal be cut below
//!   its position ([`Journal::release`](crate::Journal::release)). Whenever the power fails there
//!   is the newest snapshot that was finished, or a newer one.
//! - A damaged newest snapshot is refused with file and offset. An older one is never taken in
//!   its place: the journal between the two may be gone.
//! - Snapshots have one owner: another cluster's, group's or node's is refused.
//! - One snapshot is written at a time, and none may cover less of the journal than the last.
//! - A full disk harms nothing: the unfinished file is removed, and it can be tried again. After
//!   any other error of a write, a rename or a sync **nothing is retried**: the store is poisoned
//!   ([`StorageError::SnapshotsFailed`]), and the replica should stop.
//!
//! # Beside a journal
//!
//! A snapshot of gigabytes must not starve the syncs of the journal on the same disk. So it is
//! written in pieces of at most 256 KiB, synced after every [`SnapshotConfig::sync_bytes`], and no
//! faster than [`SnapshotConfig::bytes_per_second_max`]. Without the syncs in between the kernel
//! collects the file in memory, and the one sync at the end makes the journal's wait behind it.
//!
//! Measured on a busy machine (load 6 on 2 cores), three runs each: the longest sync of a journal
//! beside 512 MiB written at full speed and synced once was 69–78 ms; with a sync every 1 or 8 MiB
//! it was 8–33 ms; without any snapshot 20–28 ms. The chosen 64 MiB/s and 1 MiB gave 10, 12 and
//! once 101 ms. The 99th percentiles (4–11 ms, with and without a snapshot) were the scheduler's
//! and tell nothing. The pace is chosen, not found: a snapshot takes 16 s per GiB and leaves most
//! of the disk to the journal. `tests/measure.rs` measures another disk.

mod backup;
mod config;
mod file;
mod incoming;
mod store;
mod stored;
mod writing;

pub use config::SnapshotConfig;
pub use file::FileReader;
pub use incoming::{Incoming, Received, TransferId};
pub use store::SnapshotStore;
pub use stored::StoredSnapshot;
pub use writing::SnapshotFile;

#[cfg(doc)]
use crate::StorageError;
