//! Writing a file from front to back, at a bounded pace; and reading one.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SnapshotConfig;
use crate::backend::{BackendFile, write_all_at};
use crate::error::{StorageError, is_full};

/// Longest single write, in bytes.
const PIECE: usize = 256 << 10;

/// What is told of an error after which nothing may be retried.
pub(super) trait Poison: Send + Sync {
    fn poison(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError;
}

/// A file that is written from front to back. Its errors are [`StorageError`]s inside of
/// [`io::Error`]s.
pub(super) struct SequentialFile {
    file: Box<dyn BackendFile>,
    path: PathBuf,
    offset: u64,
    unsynced: u64,
    sync_bytes: u64,
    pace: Pace,
    poison: Arc<dyn Poison>,
}

impl SequentialFile {
    /// Goes on at `offset` of `file`.
    pub(super) fn new(
        file: Box<dyn BackendFile>,
        path: PathBuf,
        offset: u64,
        config: &SnapshotConfig,
        poison: Arc<dyn Poison>,
    ) -> Self {
        let pace = Pace::new(config.bytes_per_second_max);
        Self { file, path, offset, unsynced: 0, sync_bytes: config.sync_bytes, pace, poison }
    }

    /// Makes everything durable, attributes and all.
    pub(super) fn sync_all(&self) -> Result<(), StorageError> {
        self.file.sync_all().map_err(|error| self.error("sync", error))
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.pace.wait(piece.len());
        write_all_at(&*self.file, self.offset, piece)
            .map_err(|error| self.error("write", error))?;
        self.offset += piece.len() as u64;
        self.unsynced += piece.len() as u64;
        if self.unsynced >= self.sync_bytes {
            self.file.sync_data().map_err(|error| self.error("sync", error))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Nothing was promised of this file yet: if it does not fit, nothing is lost.
    fn error(&self, action: &'static str, source: io::Error) -> StorageError {
        if is_full(&source) {
            return StorageError::DiskFull { action, path: self.path.clone(), source };
        }
        self.poison.poison(action, &self.path, source)
    }
}

impl Write for SequentialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.put(piece).map_err(into_io)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Wraps an error so that it passes through [`io::Write`].
pub(super) fn into_io(error: StorageError) -> io::Error {
    let kind = match &error {
        StorageError::DiskFull { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Gets back what came through [`io::Write`]; another's error is one of writing `path`.
pub(super) fn from_io(error: io::Error, path: &Path) -> StorageError {
    match error.downcast::<StorageError>() {
        Ok(ours) => ours,
        Err(error) => StorageError::io("write", path)(error),
    }
}

/// Holds a writer to so many bytes per second. Time in which nothing was written is not made up
/// for.
#[derive(Debug)]
struct Pace {
    bytes_per_second: Option<u64>,
    next: Instant,
}

impl Pace {
    fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    /// Waits until `bytes` more may be written.
    fn wait(&mut self, bytes: usize) {
        let Some(per_second) = self.bytes_per_second else { return };
        let now = Instant::now();
        std::thread::sleep(self.next.saturating_duration_since(now));
        let takes = Duration::from_secs_f64(bytes as f64 / per_second.max(1) as f64);
        self.next = self.next.max(now) + takes;
    }
}

/// Reads a file from front to back.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<dyn BackendFile>,
    offset: u64,
}

impl FileReader {
    pub(super) fn new(file: Arc<dyn BackendFile>) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, out)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads all of `out` at `offset`.
pub(super) fn read_exact_at(
    file: &dyn BackendFile,
    mut offset: u64,
    mut out: &mut [u8],
) -> io::Result<()> {
    while !out.is_empty() {
        match file.read_at(offset, out) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                offset += read as u64;
                out = &mut out[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_not_made_up_for() {
        let started = Instant::now();
        let mut pace = Pace::new(Some(1 << 20));
        for _ in 0..4 {
            pace.wait(50 << 10);
        }
        // The first is free, and the last is not waited for.
        assert!(started.elapsed() >= Duration::from_millis(140));
        std::thread::sleep(Duration::from_millis(200));
        pace.wait(100 << 10);
        let again = Instant::now();
        pace.wait(100 << 10);
        assert!(again.elapsed() >= Duration::from_millis(90));
        Pace::new(None).wait(usize::MAX);
    }
}
