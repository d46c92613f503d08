//! The data directory: names of segments, creating one ahead of need, removing old ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use panchayat_consensus::ids::{ClusterId, NodeId};
use panchayat_core::journal::{SECTOR, SegmentHeader};
use parking_lot::Mutex;

use crate::backend::{Backend, BackendFile, create_dirs, sync_parent, write_all_at};
use crate::config::JournalConfig;
use crate::error::StorageError;

const SUFFIX: &str = ".journal";
const SUFFIX_UNFINISHED: &str = ".journal.tmp";
/// Zeros are written and synced in pieces: a large piece would delay the syncs of the batches.
const PIECE: usize = 1 << 20;

/// Where the segments are.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    backend: Arc<dyn Backend>,
    dir: PathBuf,
    cluster: ClusterId,
    node: NodeId,
    segment_bytes: u64,
    /// Whether a sync of the directory has failed; held while names change.
    lost: Arc<Mutex<bool>>,
}

/// A segment that is open for writing.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn BackendFile>,
    /// Where the next batch goes.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Segment {
    /// Whether a batch of `bytes` bytes fits behind what is there.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bytes - self.offset
    }
}

impl Directory {
    pub(crate) fn new(config: &JournalConfig) -> Self {
        Self {
            backend: Arc::clone(&config.backend),
            dir: config.dir.clone(),
            cluster: config.cluster,
            node: config.node,
            segment_bytes: config.segment_bytes,
            lost: Arc::default(),
        }
    }

    /// Creates the directory, durably, if it is not there.
    pub(crate) fn create_dir(&self) -> Result<(), StorageError> {
        let failed = StorageError::io("create directory", &self.dir);
        create_dirs(&*self.backend, &self.dir).map_err(failed)
    }

    /// Sees to it that the directory of a new journal is found again after power loss, also if it
    /// was there before: whoever created it may not have synced its name.
    pub(crate) fn sync_name(&self) -> Result<(), StorageError> {
        let failed = StorageError::io("sync the parent of", &self.dir);
        sync_parent(&*self.backend, &self.dir).map_err(failed)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of segment `number`.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}{SUFFIX}"))
    }

    /// The numbers of all segments, ascending. Unfinished ones are removed.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, StorageError> {
        let names = self.backend.list(&self.dir).map_err(StorageError::io("list", &self.dir))?;
        let mut numbers = Vec::new();
        for name in names {
            if name.ends_with(SUFFIX_UNFINISHED) {
                let path = self.dir.join(name);
                self.backend.remove(&path).map_err(StorageError::io("remove", &path))?;
            } else if let Some(Ok(number)) = name.strip_suffix(SUFFIX).map(str::parse::<u64>)
                && self.path(number).file_name().is_some_and(|ours| ours == name.as_str())
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn open(&self, number: u64) -> Result<Box<dyn BackendFile>, StorageError> {
        let path = self.path(number);
        self.backend.open(&path).map_err(StorageError::io("open", &path))
    }

    /// Creates segment `number`, zeros and all. When this returns, the segment with its header
    /// and its name survive power loss. `None` if `stopped` said so in between.
    pub(crate) fn create(
        &self,
        number: u64,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Segment>, StorageError> {
        let unfinished = self.path(number).with_extension(&SUFFIX_UNFINISHED[1..]);
        match self.fill(number, &unfinished, stopped) {
            Ok(Some(segment)) => {
                let rename = || self.backend.rename(&unfinished, &segment.path);
                self.change("rename", &unfinished, rename)?;
                Ok(Some(segment))
            }
            Ok(None) => {
                let _ = self.backend.remove(&unfinished);
                Ok(None)
            }
            Err(error) => {
                // Gives the space back. If even that fails, the next opening does it.
                let _ = self.backend.remove(&unfinished);
                Err(error)
            }
        }
    }

    /// Removes segments in the order given, each removal durable before the next: a crash never
    /// leaves a hole in the numbers.
    pub(crate) fn remove(&self, numbers: impl Iterator<Item = u64>) -> Result<(), StorageError> {
        for number in numbers {
            let path = self.path(number);
            self.change("remove", &path, || self.backend.remove(&path))?;
        }
        Ok(())
    }

    /// Changes a name, durably, and nobody else meanwhile: a sync that fails may have lost any
    /// name that was not synced before, and tells only the one who called it. After it no change
    /// succeeds. Nor does its error count as a full disk, which would be tried again.
    fn change(
        &self,
        action: &'static str,
        path: &Path,
        change: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<(), StorageError> {
        let failed = |source| {
            let path = self.dir.clone();
            StorageError::Io { action: "sync directory", path, source }
        };
        let mut lost = self.lost.lock();
        if *lost {
            return Err(failed(std::io::Error::other("a sync of it has failed before")));
        }
        change().map_err(StorageError::io(action, path))?;
        self.backend.sync_dir(&self.dir).map_err(|source| {
            *lost = true;
            failed(source)
        })
    }

    fn fill(
        &self,
        number: u64,
        path: &Path,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Segment>, StorageError> {
        let header =
            SegmentHeader { cluster: self.cluster, node: self.node, number, salt: salt(path)? };
        let file = self.backend.create(path).map_err(StorageError::io("create", path))?;
        let written = StorageError::io("write zeros to", path);
        let zeros = vec![0; PIECE.min(self.segment_bytes as usize)];
        let mut at = 0;
        while at < self.segment_bytes {
            if stopped() {
                return Ok(None);
            }
            let length = (self.segment_bytes - at).min(zeros.len() as u64);
            write_all_at(&*file, at, &zeros[..length as usize]).map_err(&written)?;
            at += length;
            if at < self.segment_bytes {
                file.sync_data().map_err(StorageError::io("sync", path))?;
            }
        }
        write_all_at(&*file, 0, &header.encode()).map_err(&written)?;
        file.sync_all().map_err(StorageError::io("sync", path))?;
        let (path, offset, bytes) = (self.path(number), SECTOR as u64, self.segment_bytes);
        Ok(Some(Segment { header, path, file, offset, bytes }))
    }
}

/// Unpredictable: nobody outside can make bytes that would pass for a batch of this segment.
fn salt(path: &Path) -> Result<u64, StorageError> {
    let mut salt = [0; 8];
    let got = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(8) => Ok(u64::from_le_bytes(salt)),
        Ok(_) => Err(StorageError::io("draw a salt for", path)(std::io::ErrorKind::Other.into())),
        Err(errno) => Err(StorageError::io("draw a salt for", path)(errno.into())),
    }
}
