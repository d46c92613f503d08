//! The snapshots of one group, of which the newest counts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use panchayat_consensus::ids::EpochNumber;
use panchayat_core::snapshot::{HeaderError, JournalPosition, SnapshotHeader, SnapshotInfo};
use parking_lot::Mutex;

use super::file::{Poison, SequentialFile};
use super::{SnapshotConfig, SnapshotFile, StoredSnapshot};
use crate::backend::{DirectoryLock, create_dirs, parent, sync_parent};
use crate::error::StorageError;
use crate::opening::{LOCK, lock};

pub(super) const SUFFIX: &str = ".snapshot";
pub(super) const SUFFIX_PARTIAL: &str = ".partial";
pub(super) const SUFFIX_INCOMING: &str = ".incoming";

/// The snapshots of one group at one node. Clones are the same store.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: SnapshotConfig,
    pub(super) dir: PathBuf,
    pub(super) state: Mutex<State>,
    _lock: Box<dyn DirectoryLock>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) latest: Option<SnapshotInfo>,
    pub(super) writing: bool,
    pub(super) receiving: bool,
    failed: Option<(&'static str, PathBuf, Arc<io::Error>)>,
}

impl SnapshotStore {
    /// Opens the store in `config.dir`, or starts one there. What interrupted writes have left is
    /// removed, and so are snapshots older than the newest.
    ///
    /// # Errors
    /// [`StorageError`]. If the newest snapshot is not ours, or its ends are damaged, nothing has
    /// been changed; the rest of it is checked when it is read.
    pub fn open(config: SnapshotConfig) -> Result<Self, StorageError> {
        let all = config.dir.join("snapshots");
        let dir = all.join(config.group.0.to_string());
        let backend = &*config.backend;
        create_dirs(backend, &dir).map_err(StorageError::io("create directory", &dir))?;
        let lock = lock(backend, &dir.join(LOCK))?;
        // A predecessor may have died between a change of names and its sync. What is found here
        // will be relied on, so it must not be gone after power loss.
        for dir in [&all, &dir] {
            sync_parent(backend, dir).map_err(StorageError::io("sync the parent of", dir))?;
        }
        backend.sync_dir(&dir).map_err(StorageError::io("sync directory", &dir))?;
        let state = Mutex::new(State::default());
        let inner = Inner { config, dir, state, _lock: lock };

        let (numbers, partial) = inner.files()?;
        if let Some(newest) = numbers.last() {
            inner.state.lock().latest = Some(*inner.stored(*newest)?.info());
        }
        for path in partial.into_iter().chain(numbers.iter().rev().skip(1).map(|n| inner.path(*n)))
        {
            inner.config.backend.remove(&path).map_err(StorageError::io("remove", &path))?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The newest snapshot; `None` if there was never one. Its ends are checked, the rest is when
    /// it is read.
    ///
    /// # Errors
    /// [`StorageError::Snapshot`] and [`StorageError::SnapshotOwner`]: an older one must not be
    /// used instead. [`StorageError::Io`].
    pub fn latest(&self) -> Result<Option<StoredSnapshot>, StorageError> {
        let latest = self.inner.state.lock().latest;
        latest.map(|info| self.inner.stored(info.header.number)).transpose()
    }

    /// Begins the next snapshot, taken in `epoch`. To be written on a thread that may wait.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while another is being written. [`StorageError`] of the disk.
    pub fn write(&self, epoch: EpochNumber) -> Result<SnapshotFile, StorageError> {
        SnapshotFile::create(&self.inner, epoch, None)
    }
}

impl Inner {
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}{SUFFIX}"))
    }

    pub(super) fn next_number(&self) -> u64 {
        self.state.lock().latest.map_or(1, |latest| latest.header.number.saturating_add(1))
    }

    pub(super) fn header(&self, epoch: EpochNumber, number: u64) -> SnapshotHeader {
        let SnapshotConfig { cluster, group, .. } = self.config;
        SnapshotHeader { cluster, group, epoch, number }
    }

    /// The numbers of the complete snapshots, ascending, and the files of incomplete ones.
    fn files(&self) -> Result<(Vec<u64>, Vec<PathBuf>), StorageError> {
        let (mut numbers, mut partial) = (Vec::new(), Vec::new());
        for name in self.names()? {
            if name.ends_with(SUFFIX_PARTIAL) {
                partial.push(self.dir.join(name));
            } else if let Some(Ok(number)) = name.strip_suffix(SUFFIX).map(str::parse::<u64>)
                && self.path(number).file_name().is_some_and(|ours| ours == name.as_str())
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok((numbers, partial))
    }

    pub(super) fn names(&self) -> Result<Vec<String>, StorageError> {
        self.config.backend.list(&self.dir).map_err(StorageError::io("list", &self.dir))
    }

    fn stored(&self, number: u64) -> Result<StoredSnapshot, StorageError> {
        let path = self.path(number);
        let stored = StoredSnapshot::open(&self.config, path.clone())?;
        let info = stored.info();
        if info.header.number != number {
            let found = info.header.number;
            let source = HeaderError::OtherNumber { found, expected: number }.into();
            return Err(StorageError::Snapshot { path, source });
        }
        let (found, expected) = (info.owner.node, self.config.node);
        if found != expected {
            return Err(StorageError::SnapshotOwner { path, found, expected });
        }
        Ok(stored)
    }

    /// Makes a snapshot that is complete in `file` the newest, durably.
    pub(super) fn commit(
        &self,
        file: &SequentialFile,
        partial: &Path,
        info: SnapshotInfo,
    ) -> Result<(), StorageError> {
        let (path, backend) = (self.path(info.header.number), &self.config.backend);
        file.sync_all()?;
        backend.rename(partial, &path).map_err(|error| self.poison("rename", partial, error))?;
        let synced = backend.sync_dir(&self.dir);
        synced.map_err(|error| self.poison("sync directory", &self.dir, error))?;
        let before = self.state.lock().latest.replace(info);
        // Who finds both takes the newer one: this needs no sync, and may fail.
        if let Some(before) = before {
            let old = self.path(before.header.number);
            if let Err(error) = backend.remove(&old) {
                tracing::warn!(file = %old.display(), %error, "cannot remove an old snapshot");
            }
        }
        Ok(())
    }

    /// Refuses a snapshot that covers less of the journal than the newest does.
    pub(super) fn check_position(&self, position: JournalPosition) -> Result<(), StorageError> {
        match self.state.lock().latest.map(|latest| latest.owner.journal) {
            Some(latest) if position < latest => {
                Err(StorageError::SnapshotBehind { position, latest })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_good(&self) -> Result<(), StorageError> {
        match self.state.lock().failed.clone() {
            Some((action, path, source)) => {
                Err(StorageError::SnapshotsFailed { action, path, source })
            }
            None => Ok(()),
        }
    }

    /// Removes what is of no use any more. What cannot be removed goes at the next opening.
    pub(super) fn discard(&self, path: &Path) {
        if let Err(error) = self.config.backend.remove(path) {
            tracing::warn!(file = %path.display(), %error, "cannot remove an unfinished snapshot");
        }
    }

    /// Where a file is written beside `path`.
    pub(super) fn partial(path: &Path) -> PathBuf {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(SUFFIX_PARTIAL);
        parent(path).join(name)
    }
}

impl Poison for Inner {
    fn poison(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError {
        let (path, source) = (path.to_owned(), Arc::new(source));
        tracing::error!(action, file = %path.display(), %source, "snapshots have failed for good");
        let failed = (action, path.clone(), Arc::clone(&source));
        self.state.lock().failed.get_or_insert(failed);
        StorageError::SnapshotsFailed { action, path, source }
    }
}
