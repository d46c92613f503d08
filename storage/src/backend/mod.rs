//! What the journal asks of a file system, and three that answer.
//!
//! [`RealFiles`] is the disk. [`UnsyncedInMemory`] keeps what was not synced in the memory of the
//! process, so that `kill -9` loses it as a power cut would: the page cache survives a killed
//! process, and without this such a test would prove nothing. [`MemoryDisk`] is a whole disk in
//! memory that fails, fills up, and loses power on command.
//!
//! What is promised is only what POSIX promises: written bytes are durable after a sync of their
//! file, names after a sync of their directory, and before that in any combination.

mod memory;
mod memory_file;
mod real;
mod unsynced;

use std::fmt;
use std::io;
use std::path::Path;

pub use memory::{FaultyCall, MemoryDisk, PowerLoss};
pub use real::RealFiles;
pub use unsynced::UnsyncedInMemory;

/// A file system as the journal uses it. Calls come from several threads.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Creates the directory `dir`, whose parent exists; whether it was missing. Its name is
    /// durable after a sync of the parent.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the parent is missing; any error of the file system.
    fn create_dir(&self, dir: &Path) -> io::Result<bool>;

    /// Takes the exclusive lock `path` until the value is dropped or the process ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>>;

    /// The names in `dir`, in no particular order.
    ///
    /// # Errors
    /// Any error of the file system.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file; what was there under this name is gone.
    ///
    /// # Errors
    /// Any error of the file system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Any error of the file system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a file for reading. Nothing needs to be allowed but that.
    ///
    /// # Errors
    /// Any error of the file system.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        self.open(path)
    }

    /// Gives a file another name in the same directory, atomically.
    ///
    /// # Errors
    /// Any error of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Any error of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// Any error of the file system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait BackendFile: fmt::Debug + Send + Sync {
    /// All bytes of the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`] if there are more than `bytes_max`; any error of the file
    /// system.
    fn read_all(&self, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Length of the file, in bytes.
    ///
    /// # Errors
    /// Any error of the file system.
    fn length(&self) -> io::Result<u64>;

    /// Reads from `offset` on, and says how many bytes: 0 only at the end of the file or if `out`
    /// is empty.
    ///
    /// # Errors
    /// Any error of the file system.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, and says how many bytes were taken: possibly fewer than given.
    ///
    /// # Errors
    /// Any error of the file system.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// Any error of the file system.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes written bytes durable, and the length if reading them back needs it.
    ///
    /// # Errors
    /// Any error of the file system. What was written may then be lost even if a later sync
    /// succeeds: never retry.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and every attribute durable.
    ///
    /// # Errors
    /// As for [`BackendFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// Holds a data directory for one process, until dropped.
pub trait DirectoryLock: fmt::Debug + Send + Sync {}

/// Creates `dir` and what is missing above it, durably.
///
/// # Errors
/// Any error of the file system.
pub(crate) fn create_dirs(backend: &dyn Backend, dir: &Path) -> io::Result<()> {
    let missing = match backend.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent(dir) != dir => {
            create_dirs(backend, parent(dir))?;
            backend.create_dir(dir)?
        }
        other => other?,
    };
    if missing { backend.sync_dir(parent(dir)) } else { Ok(()) }
}

/// Makes the name of a directory durable that somebody else has created: the operator, or a
/// process that died before its sync. A parent which we may not even open is not ours to sync.
///
/// # Errors
/// Any other error of the file system.
pub(crate) fn sync_parent(backend: &dyn Backend, dir: &Path) -> io::Result<()> {
    match backend.sync_dir(parent(dir)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// The directory that holds the name of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Writes all of `bytes`, however many calls it takes.
///
/// # Errors
/// Any error of the file; [`io::ErrorKind::WriteZero`] if it takes nothing.
pub(crate) fn write_all_at(
    file: &dyn BackendFile,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                offset += taken as u64;
                bytes = &bytes[taken..];
            }
            // A signal came before anything was written: nothing has failed.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
