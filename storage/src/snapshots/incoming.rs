//! A snapshot that comes from a peer, piece by piece, over as many connections as it takes.
//!
//! Only whole verified chunks reach the file. So what is found after a restart is verified once
//! more from the front, and the transfer goes on where that ends.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use panchayat_consensus::ids::EpochNumber;
use panchayat_core::snapshot::{
    Damage, HeaderError, JournalPosition, Part, Section, SnapshotError, SnapshotInfo,
    SnapshotVerifier,
};

use super::file::{FileReader, SequentialFile, from_io};
use super::store::{Inner, SUFFIX_INCOMING};
use super::writing::CopyError;
use super::{SnapshotFile, SnapshotStore, StoredSnapshot};
use crate::error::StorageError;

/// What is read of a file at once when a transfer is resumed.
const PIECE: usize = 1 << 20;

/// Which snapshot is transferred: pieces of two files must not be joined. The receiver is told it
/// by the sender ([`StoredSnapshot::transfer`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId {
    /// The epoch in which the snapshot was taken.
    pub epoch: EpochNumber,
    /// Its number at the sender.
    pub number: u64,
    /// Its length, in bytes.
    pub bytes: u64,
    /// The checksum of all of it.
    pub checksum: u128,
}

impl TransferId {
    /// That of a snapshot.
    pub fn of(info: &SnapshotInfo) -> Self {
        let (epoch, number) = (info.header.epoch, info.header.number);
        Self { epoch, number, bytes: info.bytes, checksum: info.checksum }
    }

    fn file_name(&self) -> String {
        let Self { epoch, number, bytes, checksum } = self;
        format!("{number:012}-{}-{bytes}-{checksum:032x}{SUFFIX_INCOMING}", epoch.0)
    }
}

impl SnapshotStore {
    /// Begins to receive a snapshot, or goes on with it. What was received of another one is
    /// removed. Reads what is there already, so call it on a thread that may wait.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while one is being received. [`StorageError::SnapshotTooLarge`].
    /// [`StorageError`] of the disk.
    pub fn receive(&self, id: TransferId) -> Result<Incoming, StorageError> {
        self.inner.check_good()?;
        let bytes_max = self.inner.config.snapshot_bytes_max;
        if id.bytes > bytes_max {
            return Err(StorageError::SnapshotTooLarge { bytes: id.bytes, bytes_max });
        }
        let receiving = Receiving::begin(&self.inner)?;
        let ours = id.file_name();
        let mut found = false;
        for name in self.inner.names()? {
            if name == ours {
                found = true;
            } else if name.ends_with(SUFFIX_INCOMING) {
                self.inner.discard(&self.inner.dir.join(name));
            }
        }
        let (path, backend) = (self.inner.dir.join(ours), &self.inner.config.backend);
        let mut verifier = SnapshotVerifier::new();
        let file = if found {
            let file = backend.open(&path).map_err(StorageError::io("open", &path))?;
            verifier = resume(FileReader::new(file.into()), &path, id, receiving.inner())?;
            let file = backend.open(&path).map_err(StorageError::io("open", &path))?;
            let cut = file.set_len(verifier.verified());
            cut.map_err(StorageError::io("truncate", &path))?;
            file
        } else {
            backend.create(&path).map_err(StorageError::io("create", &path))?
        };
        let (config, poison) = (&self.inner.config, Arc::clone(&self.inner) as _);
        let offset = verifier.verified();
        let file = SequentialFile::new(file, path.clone(), offset, config, poison);
        Ok(Incoming { id, path, file, verifier, receiving })
    }

    /// Removes what was received and not installed.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while a snapshot is being received. [`StorageError::Io`].
    pub fn abandon_incoming(&self) -> Result<(), StorageError> {
        let _receiving = Receiving::begin(&self.inner)?;
        for name in self.inner.names()? {
            if name.ends_with(SUFFIX_INCOMING) {
                let path = self.inner.dir.join(name);
                let removed = self.inner.config.backend.remove(&path);
                removed.map_err(StorageError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// A snapshot that is being received. Dropped, it can be resumed.
pub struct Incoming {
    id: TransferId,
    path: PathBuf,
    file: SequentialFile,
    verifier: SnapshotVerifier,
    receiving: Receiving,
}

impl Incoming {
    /// Which snapshot it is.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// How many bytes are there, all verified but for the last chunk if it is not whole: what
    /// comes next has this offset.
    pub fn received(&self) -> u64 {
        self.verifier.pushed()
    }

    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        self.verifier.end().is_some()
    }

    /// Takes the bytes from `offset` on, verifies and writes them. It may wait: for the disk, and
    /// to keep the pace of [`SnapshotConfig::bytes_per_second_max`].
    ///
    /// [`SnapshotConfig::bytes_per_second_max`]: super::SnapshotConfig::bytes_per_second_max
    ///
    /// # Errors
    /// [`StorageError::TransferOffset`] if these are not the bytes that come next.
    /// [`StorageError::Snapshot`] if they are damaged or of another snapshot; what was verified
    /// before stays: ask [`Incoming::received`]. After [`StorageError::DiskFull`] receive it anew
    /// to go on. [`StorageError::SnapshotsFailed`].
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let due = self.verifier.pushed();
        if offset != due {
            return Err(StorageError::TransferOffset { offset, due });
        }
        let pushed = self.verifier.push(bytes);
        // Also what came before the damage.
        let checked = check(&self.verifier, self.id, self.receiving.inner());
        if checked.is_ok() {
            let intact = self.verifier.take_verified();
            self.file.write_all(&intact).map_err(|error| from_io(error, &self.path))?;
        }
        checked.and(pushed).map_err(|error| refused(&self.path, error))
    }

    /// Ends the transfer.
    ///
    /// # Errors
    /// [`StorageError::TransferIncomplete`].
    pub fn finish(self) -> Result<Received, StorageError> {
        let (received, bytes) = (self.verifier.pushed(), self.id.bytes);
        let Some(info) = self.verifier.end().copied() else {
            return Err(StorageError::TransferIncomplete { received, bytes });
        };
        let stored = StoredSnapshot::open(&self.receiving.inner().config, self.path)?;
        if *stored.info() != info {
            return Err(refused(stored.path(), other_snapshot()));
        }
        Ok(Received { stored, receiving: self.receiving })
    }

    /// Removes what was received.
    pub fn abandon(self) {
        self.receiving.inner().discard(&self.path);
    }
}

/// A whole snapshot of a peer, verified. Dropped, it stays until another one is received.
#[derive(Debug)]
pub struct Received {
    stored: StoredSnapshot,
    receiving: Receiving,
}

impl Received {
    /// The peer's snapshot, to be read.
    pub fn snapshot(&self) -> &StoredSnapshot {
        &self.stored
    }

    /// Makes it this node's newest snapshot, durably: machine and sessions as received, verified
    /// once more on the way, and `records` as the protocol's section. It covers this node's
    /// journal up to `journal`.
    ///
    /// # Errors
    /// As for [`SnapshotFile::finish`]; [`StorageError::Snapshot`] if the file was damaged since;
    /// [`StorageError::Busy`] while another snapshot is being written. What was received stays,
    /// and can be received again without a transfer.
    pub fn install<B: AsRef<[u8]>>(
        self,
        records: impl IntoIterator<Item = B>,
        journal: JournalPosition,
    ) -> Result<SnapshotInfo, StorageError> {
        let inner = self.receiving.inner();
        let epoch = self.stored.info().header.epoch;
        let mut file = SnapshotFile::create(inner, epoch, None)?;
        let mut reader = self.stored.reader()?;
        for section in [Section::Machine, Section::Sessions] {
            file.copy_section(&mut reader, section).map_err(|error| match error {
                CopyError::Read(error) => self.stored.refused(error),
                CopyError::Write(error) => error,
            })?;
        }
        let (_, info) = reader.finish().map_err(|error| self.stored.refused(error))?;
        if info != *self.stored.info() {
            return Err(refused(self.stored.path(), other_snapshot()));
        }
        for record in records {
            file.record(record.as_ref())?;
        }
        let info = file.finish(journal)?;
        inner.discard(self.stored.path());
        Ok(info)
    }

    /// Removes it.
    pub fn abandon(self) {
        self.receiving.inner().discard(self.stored.path());
    }
}

/// The right to receive, of which there is one.
#[derive(Debug)]
struct Receiving(Arc<Inner>);

impl Receiving {
    fn begin(inner: &Arc<Inner>) -> Result<Self, StorageError> {
        if std::mem::replace(&mut inner.state.lock().receiving, true) {
            return Err(StorageError::Busy { what: "a snapshot is being received" });
        }
        Ok(Self(Arc::clone(inner)))
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.state.lock().receiving = false;
    }
}

/// Verifies what is there, up to the first damage.
fn resume(
    mut file: FileReader,
    path: &Path,
    id: TransferId,
    inner: &Inner,
) -> Result<SnapshotVerifier, StorageError> {
    let mut verifier = SnapshotVerifier::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).map_err(StorageError::io("read", path))?;
        let pushed = verifier.push(&piece[..read]);
        if check(&verifier, id, inner).is_err() {
            return Ok(SnapshotVerifier::new());
        }
        drop(verifier.take_verified());
        if read == 0 || pushed.is_err() {
            verifier.forget_unverified();
            return Ok(verifier);
        }
    }
}

/// Whether what is verified so far is the snapshot that was announced, and one of ours.
fn check(verifier: &SnapshotVerifier, id: TransferId, inner: &Inner) -> Result<(), SnapshotError> {
    let Some(header) = verifier.header() else { return Ok(()) };
    header.check(inner.config.cluster, inner.config.group)?;
    header.check_epoch(id.epoch)?;
    if header.number != id.number {
        return Err(HeaderError::OtherNumber { found: header.number, expected: id.number }.into());
    }
    let is_other = verifier.end().is_some_and(|info| TransferId::of(info) != id);
    if is_other || verifier.verified() > id.bytes { Err(other_snapshot()) } else { Ok(()) }
}

fn other_snapshot() -> SnapshotError {
    SnapshotError::Damaged { part: Part::Trailer, offset: 0, damage: Damage::OtherSnapshot }
}

fn refused(path: &Path, source: SnapshotError) -> StorageError {
    StorageError::Snapshot { path: path.to_owned(), source }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("id", &self.id)
            .field("received", &self.received())
            .finish_non_exhaustive()
    }
}
