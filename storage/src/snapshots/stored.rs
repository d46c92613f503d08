//! A complete snapshot in the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use panchayat_core::snapshot::{
    Damage, HEADER_BYTES, HeaderError, Part, Section, SnapshotError, SnapshotInfo, SnapshotReader,
    TRAILER_BYTES,
};

use super::file::{FileReader, read_exact_at};
use super::{SnapshotConfig, TransferId};
use crate::backend::BackendFile;
use crate::error::StorageError;

/// A complete snapshot. It is held open: it can be read, and sent to a peer, also after a newer
/// one has taken its place.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    path: PathBuf,
    file: Arc<dyn BackendFile>,
    info: SnapshotInfo,
}

impl StoredSnapshot {
    /// Opens a file and reads its ends.
    pub(super) fn open(config: &SnapshotConfig, path: PathBuf) -> Result<Self, StorageError> {
        let (file, info) = Self::read_ends(config, &path)?;
        Ok(Self { path, file: file.into(), info })
    }

    fn read_ends(
        config: &SnapshotConfig,
        path: &Path,
    ) -> Result<(Box<dyn BackendFile>, SnapshotInfo), StorageError> {
        let file = config.backend.open_to_read(path).map_err(StorageError::io("open", path))?;
        let refused = |source| StorageError::Snapshot { path: path.to_owned(), source };
        let read = StorageError::io("read", path);
        let bytes = file.length().map_err(&read)?;
        let ends = (HEADER_BYTES + TRAILER_BYTES) as u64;
        let mut header = [0; HEADER_BYTES];
        if bytes < ends {
            let Ok(()) = read_exact_at(&*file, 0, &mut header) else {
                return Err(refused(HeaderError::TooShort { found: bytes as usize }.into()));
            };
            let (part, damage) = (Part::Section(Section::Machine), Damage::Truncated);
            return Err(refused(SnapshotError::Damaged { part, offset: bytes, damage }));
        }
        let mut trailer = [0; TRAILER_BYTES];
        read_exact_at(&*file, 0, &mut header).map_err(&read)?;
        read_exact_at(&*file, bytes - TRAILER_BYTES as u64, &mut trailer).map_err(&read)?;
        let info = SnapshotInfo::read(&header, &trailer, bytes).map_err(refused)?;
        info.header.check(config.cluster, config.group).map_err(|error| refused(error.into()))?;
        Ok((file, info))
    }

    /// What it is.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// What a peer is told who is to get it.
    pub fn transfer(&self) -> TransferId {
        TransferId::of(&self.info)
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader from the beginning. Its errors do not name the file: see
    /// [`StoredSnapshot::refused`].
    ///
    /// # Errors
    /// [`StorageError::Snapshot`].
    pub fn reader(&self) -> Result<SnapshotReader<FileReader>, StorageError> {
        let reader = SnapshotReader::new(FileReader::new(Arc::clone(&self.file)));
        reader.map_err(|error| self.refused(error))
    }

    /// Names the file of an error that reading it gave.
    pub fn refused(&self, error: SnapshotError) -> StorageError {
        match error {
            SnapshotError::Io(source) => StorageError::io("read", &self.path)(source),
            source => StorageError::Snapshot { path: self.path.clone(), source },
        }
    }

    /// Reads all of it, checking every byte.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] with the offset of the damage.
    pub fn verify(&self) -> Result<(), StorageError> {
        self.reader()?.finish().map(|_| ()).map_err(|error| self.refused(error))
    }

    /// Reads its bytes as they are, to be sent to a peer, which verifies them. How many were read:
    /// 0 only at the end.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, StorageError> {
        self.file.read_at(offset, out).map_err(StorageError::io("read", &self.path))
    }

    pub(super) fn file_reader(&self) -> FileReader {
        FileReader::new(Arc::clone(&self.file))
    }
}
