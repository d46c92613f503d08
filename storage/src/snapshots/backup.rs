//! Snapshots to and from other places: backups.
//!
//! An export is the newest snapshot, byte for byte. An import takes over its state: machine,
//! sessions and the protocol's records as they are, marked as the promises of the node that
//! exported them. They are for the replica to find out what the state covers; they are not its
//! promises.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use panchayat_core::snapshot::{
    JournalPosition, Section, SnapshotError, SnapshotInfo, SnapshotVerifier,
};

use super::file::{Poison, SequentialFile, from_io};
use super::store::Inner;
use super::writing::CopyError;
use super::{SnapshotFile, SnapshotStore, StoredSnapshot};
use crate::backend::parent;
use crate::error::StorageError;

/// What is copied at once.
const PIECE: usize = 256 << 10;

/// The medium of a backup may fail without harm to the replica.
struct Elsewhere;

impl Poison for Elsewhere {
    fn poison(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError {
        StorageError::Io { action, path: path.to_owned(), source }
    }
}

impl SnapshotStore {
    /// Copies the newest snapshot to the new file `to`, verified on the way, durably.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`]; [`StorageError::Io`] if `to` exists;
    /// [`StorageError::DiskFull`]; [`StorageError::Snapshot`] if the snapshot is damaged. `to` is
    /// there afterwards only if all went well, or if it was there before.
    pub fn export(&self, to: &Path) -> Result<SnapshotInfo, StorageError> {
        let Some(stored) = self.latest()? else {
            return Err(StorageError::NoSnapshot { dir: self.inner.dir.clone() });
        };
        let backend = &self.inner.config.backend;
        if backend.open_to_read(to).is_ok() {
            return Err(StorageError::io("export to", to)(io::ErrorKind::AlreadyExists.into()));
        }
        let partial = Inner::partial(to);
        let file = backend.create(&partial).map_err(StorageError::io("create", &partial))?;
        let config = &self.inner.config;
        let mut file = SequentialFile::new(file, partial.clone(), 0, config, Arc::new(Elsewhere));
        let copied = copy(&stored, &mut file).and_then(|()| {
            file.sync_all()?;
            backend.rename(&partial, to).map_err(StorageError::io("rename", &partial))?;
            backend.sync_dir(parent(to)).map_err(StorageError::io("sync directory", parent(to)))
        });
        if copied.is_err() {
            self.inner.discard(&partial);
        }
        copied.map(|()| *stored.info())
    }

    /// Puts the exported snapshot `from` into this store, which must be empty, verified on the way.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`]; [`StorageError::Snapshot`] if it is damaged or belongs to
    /// another cluster or group; [`StorageError`] of the disk.
    pub fn import(&self, from: &Path) -> Result<SnapshotInfo, StorageError> {
        let exported = StoredSnapshot::open(&self.inner.config, from.to_owned())?;
        let (bytes, bytes_max) = (exported.info().bytes, self.inner.config.snapshot_bytes_max);
        if bytes > bytes_max {
            return Err(StorageError::SnapshotTooLarge { bytes, bytes_max });
        }
        let header = exported.info().header;
        let mut file = SnapshotFile::create(&self.inner, header.epoch, Some(header.number))?;
        // Asked now, when nobody else can begin to write.
        if self.inner.state.lock().latest.is_some() {
            return Err(StorageError::NotEmpty { dir: self.inner.dir.clone() });
        }
        let refused = |error| exported.refused(error);
        let mut reader = exported.reader()?;
        for section in [Section::Machine, Section::Sessions] {
            file.copy_section(&mut reader, section).map_err(|error| match error {
                CopyError::Read(error) => refused(error),
                CopyError::Write(error) => error,
            })?;
        }
        while let Some(record) = reader.next_record().map_err(refused)? {
            file.record(&record)?;
        }
        reader.finish().map_err(refused)?;
        file.set_promises_of(exported.info().owner.promises_of);
        file.finish(JournalPosition::START)
    }
}

fn copy(stored: &StoredSnapshot, to: &mut SequentialFile) -> Result<(), StorageError> {
    let (mut verifier, mut from) = (SnapshotVerifier::new(), stored.file_reader());
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Err(stored.refused(SnapshotError::Io(error))),
        };
        verifier.push(&piece[..read]).map_err(|error| stored.refused(error))?;
        let intact = verifier.take_verified();
        to.write_all(&intact).map_err(|error| from_io(error, stored.path()))?;
    }
    // A file that ends too early is not found by pushing what there is.
    if verifier.end() == Some(stored.info()) { Ok(()) } else { stored.verify() }
}
