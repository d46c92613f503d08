//! A snapshot while it is written.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::ids::{EpochNumber, NodeId};
use panchayat_core::snapshot::{
    JournalPosition, Owner, Section, SnapshotError, SnapshotInfo, SnapshotReader, SnapshotWriter,
};

use super::file::{SequentialFile, from_io};
use super::store::Inner;
use crate::error::StorageError;

/// A snapshot that is being written; made by [`SnapshotStore::write`](super::SnapshotStore::write).
/// What is written through [`io::Write`] goes to the section begun last, at first the state
/// machine's. Dropped unfinished, it leaves nothing behind.
pub struct SnapshotFile {
    /// Until it is finished.
    writer: Option<SnapshotWriter<SequentialFile>>,
    partial: PathBuf,
    promises_of: NodeId,
    inner: Arc<Inner>,
}

impl SnapshotFile {
    pub(super) fn create(
        inner: &Arc<Inner>,
        epoch: EpochNumber,
        number: Option<u64>,
    ) -> Result<Self, StorageError> {
        inner.check_good()?;
        if std::mem::replace(&mut inner.state.lock().writing, true) {
            return Err(StorageError::Busy { what: "a snapshot is being written" });
        }
        // Nobody else can take it now.
        let number = number.unwrap_or_else(|| inner.next_number());
        let partial = Inner::partial(&inner.path(number));
        // From here on dropping it cleans up.
        let (promises_of, inner) = (inner.config.node, Arc::clone(inner));
        let mut this = Self { writer: None, partial, promises_of, inner };
        let Self { partial, inner, .. } = &this;
        let file =
            inner.config.backend.create(partial).map_err(StorageError::io("create", partial))?;
        let poison = Arc::clone(inner) as _;
        let file = SequentialFile::new(file, partial.clone(), 0, &inner.config, poison);
        let writer = SnapshotWriter::new(file, inner.header(epoch, number));
        this.writer = Some(writer.map_err(|error| from_io(error, &this.partial))?);
        Ok(this)
    }

    /// Goes on to `section`; sections left out are empty.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`], [`StorageError::SnapshotsFailed`].
    ///
    /// # Panics
    /// If a later section was begun before.
    pub fn begin(&mut self, section: Section) -> Result<(), StorageError> {
        let begun = self.writer().begin(section);
        begun.map_err(|error| from_io(error, &self.partial))
    }

    /// Adds a record to the protocol's section, which it begins if need be.
    ///
    /// # Errors
    /// As for [`SnapshotFile::begin`].
    pub fn record(&mut self, record: &[u8]) -> Result<(), StorageError> {
        let put = self.writer().record(record);
        put.map_err(|error| from_io(error, &self.partial))
    }

    /// Makes the snapshot durable, and the newest. It covers the node's journal up to `journal`,
    /// which [`Journal::position`](crate::Journal::position) gives.
    ///
    /// # Errors
    /// [`StorageError::SnapshotBehind`] if it covers less than the newest does.
    /// [`StorageError::DiskFull`], [`StorageError::SnapshotsFailed`].
    pub fn finish(mut self, journal: JournalPosition) -> Result<SnapshotInfo, StorageError> {
        self.inner.check_good()?;
        self.inner.check_position(journal)?;
        let owner = Owner { node: self.inner.config.node, promises_of: self.promises_of, journal };
        let writer = self.writer.take().expect("it is finished once");
        let (file, info) = writer.finish(owner).map_err(|error| from_io(error, &self.partial))?;
        self.inner.commit(&file, &self.partial, info)?;
        // The name is gone: there is nothing left to clean up.
        self.partial.clear();
        Ok(info)
    }

    /// Gives up because of an error that writing it through [`io::Write`] gave, and says what it
    /// was.
    pub fn abandon(self, error: io::Error) -> StorageError {
        from_io(error, &self.partial)
    }

    /// Copies a section, verified.
    pub(super) fn copy_section<R: Read>(
        &mut self,
        from: &mut SnapshotReader<R>,
        section: Section,
    ) -> Result<(), CopyError> {
        match self.writer().copy_section(from, section) {
            Ok(_) => Ok(()),
            Err(SnapshotError::Io(error)) => match error.downcast::<StorageError>() {
                Ok(ours) => Err(CopyError::Write(ours)),
                Err(error) => Err(CopyError::Read(SnapshotError::Io(error))),
            },
            Err(error) => Err(CopyError::Read(error)),
        }
    }

    /// Says that the protocol section holds another node's promises.
    pub(super) fn set_promises_of(&mut self, node: NodeId) {
        self.promises_of = node;
    }

    fn writer(&mut self) -> &mut SnapshotWriter<SequentialFile> {
        self.writer.as_mut().expect("it is not finished")
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(SnapshotError),
    Write(StorageError),
}

impl Write for SnapshotFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.partial.as_os_str().is_empty() {
            self.inner.discard(&self.partial);
        }
        self.inner.state.lock().writing = false;
    }
}

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile").field("partial", &self.partial).finish_non_exhaustive()
    }
}
