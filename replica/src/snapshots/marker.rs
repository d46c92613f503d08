//! The note in a data directory that its replica has run before.
//!
//! A replica that has lost its journal must not come back as itself: it would undo what it had
//! promised. But an empty directory looks like a first start. So before the first promise a small
//! file says whose directory this is, and from then on the journal must be there. It also says
//! under which terms the cluster began: with another protocol, or another set of members, other replicas would
//! read something else into what this one says. (If everything
//! is lost, the file with it, only the operator knows:
//! [`Builder::has_run_before`](crate::Builder::has_run_before).)

use std::io;
use std::path::{Path, PathBuf};

use panchayat_consensus::{ClusterId, GroupId, NodeId};
use panchayat_storage::backend::Backend;
use thiserror::Error;

const FILE: &str = "replica";
const RESTORED: &str = "restored";
const FILE_BYTES_MAX: u64 = 4096;
const FIRST_LINE: &str = "panchayat replica, format ";
const FORMAT: u32 = 3;

/// Why the note in a data directory is refused, or could not be left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The file system's word.
        source: io::Error,
    },
    /// The directory is another replica's.
    #[error(
        "{} says that this directory belongs to {found}, not to {expected}: start with the data \
         directory of this replica", path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// The directory's promises were made under other terms.
    #[error(
        "{} says that this directory's cluster began with `{found}`, not with `{expected}`: start it \
         as the first time, whatever has changed since. Members and protocol are changed while it \
         runs, not at a start", path.display()
    )]
    Terms {
        /// The file.
        path: PathBuf,
        /// The terms it was written under.
        found: String,
        /// The terms asked for.
        expected: String,
    },
    /// A newer program has written it.
    #[error(
        "{} is of format {found}, and this program reads up to {FORMAT}: start the newer program \
         that wrote it", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// An older program has written it, from before the first release.
    #[error(
        "{} is of format {found}, and this program reads {FORMAT}: begin a new cluster with a backup \
         made by the program that wrote it", path.display()
    )]
    OlderFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is damaged.
    #[error("{} is damaged: put back an intact copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Whose directory it is, and under which terms its replica has promised what it has.
#[derive(Debug)]
pub(super) struct Note<'a> {
    /// Each group has a note of its own: a workload may be added later.
    pub(super) group: GroupId,
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) terms: &'a str,
}

impl Note<'_> {
    fn file(&self) -> String {
        match self.group {
            GroupId(1) => FILE.to_owned(),
            GroupId(named) => format!("{FILE}-{named:08x}"),
        }
    }

    fn text(&self) -> String {
        format!("{FIRST_LINE}{FORMAT}\n{}\n{}\n", self.owner(), self.terms)
    }

    fn owner(&self) -> String {
        format!("node {} of cluster {}", self.node.0, self.cluster)
    }
}

/// Whether `dir` has this note.
pub(super) fn is_there(
    backend: &dyn Backend,
    dir: &Path,
    note: &Note<'_>,
) -> Result<bool, MarkerError> {
    let path = dir.join(note.file());
    let read = backend.open_to_read(&path).and_then(|file| file.read_all(FILE_BYTES_MAX));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(MarkerError::Io { action: "read", path, source }),
    };
    let damaged = || MarkerError::Damaged { path: path.clone() };
    let found = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
    if found == note.text() {
        return Ok(true);
    }
    let mut lines = found.strip_suffix('\n').ok_or_else(damaged)?.lines();
    let format = lines.next().and_then(|line| line.strip_prefix(FIRST_LINE));
    let format: u32 = format.and_then(|format| format.parse().ok()).ok_or_else(damaged)?;
    if format > FORMAT {
        return Err(MarkerError::NewerFormat { path, found: format });
    }
    let owner = lines.next().ok_or_else(damaged)?;
    if owner != note.owner() {
        let (found, expected) = (owner.to_owned(), note.owner());
        return Err(MarkerError::Other { path, found, expected });
    }
    if format < FORMAT {
        return Err(MarkerError::OlderFormat { path, found: format });
    }
    let found = lines.next().ok_or_else(damaged)?.to_owned();
    Err(MarkerError::Terms { path, found, expected: note.terms.to_owned() })
}

/// Leaves the note, durably.
pub(super) fn leave(backend: &dyn Backend, dir: &Path, note: &Note<'_>) -> Result<(), MarkerError> {
    put(backend, dir, &note.file(), &note.text())
}

/// Notes, durably, that the snapshot with this checksum was put into `dir` from a backup, as the
/// state that a new cluster begins with.
pub(crate) fn leave_restored(
    backend: &dyn Backend,
    dir: &Path,
    checksum: u128,
) -> Result<(), MarkerError> {
    put(backend, dir, RESTORED, &restored_text(checksum))
}

/// Whether the snapshot with this checksum was put into `dir` from a backup.
pub(super) fn is_restored(
    backend: &dyn Backend,
    dir: &Path,
    checksum: u128,
) -> Result<bool, MarkerError> {
    let path = dir.join(RESTORED);
    match backend.open_to_read(&path).and_then(|file| file.read_all(FILE_BYTES_MAX)) {
        Ok(bytes) => Ok(bytes == restored_text(checksum).as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(MarkerError::Io { action: "read", path, source }),
    }
}

fn restored_text(checksum: u128) -> String {
    format!("panchayat restored state, format {FORMAT}\n{checksum:032x}\n")
}

/// Writes a small file beside, then gives it its name.
fn put(backend: &dyn Backend, dir: &Path, name: &str, text: &str) -> Result<(), MarkerError> {
    let (path, beside) = (dir.join(name), dir.join(format!("{name}.new")));
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| MarkerError::Io { action, path, source }
    };
    let file = backend.create(&beside).map_err(failed("create", &beside))?;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let offset = (text.len() - rest.len()) as u64;
        match file.write_at(offset, rest) {
            Ok(0) => return Err(failed("write", &beside)(io::ErrorKind::WriteZero.into())),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("write", &beside)(error)),
        }
    }
    file.sync_all().map_err(failed("sync", &beside))?;
    backend.rename(&beside, &path).map_err(failed("rename", &beside))?;
    backend.sync_dir(dir).map_err(failed("sync directory", dir))
}

#[cfg(test)]
mod tests {
    use panchayat_storage::backend::{MemoryDisk, PowerLoss};

    use super::*;

    const NOTE: Note<'_> =
        Note { group: GroupId(1), cluster: ClusterId(7), node: NodeId(1), terms: "as agreed" };

    #[test]
    fn a_note_survives_power_loss_and_is_of_one_node_only() {
        let (disk, dir) = (MemoryDisk::default(), Path::new("/data"));
        disk.create_dir(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        assert!(!is_there(&disk, dir, &NOTE).unwrap());
        leave(&disk, dir, &NOTE).unwrap();
        let disk = disk.restart(PowerLoss::AllUnsynced);
        assert!(is_there(&disk, dir, &NOTE).unwrap());
        for other in [Note { node: NodeId(2), ..NOTE }, Note { cluster: ClusterId(8), ..NOTE }] {
            let other = is_there(&disk, dir, &other).unwrap_err();
            assert!(matches!(other, MarkerError::Other { .. }), "{other}");
        }
        let added = Note { group: GroupId(0x8000_0007), ..NOTE };
        assert!(!is_there(&disk, dir, &added).unwrap(), "each group has a note of its own");
        let changed = is_there(&disk, dir, &Note { terms: "changed", ..NOTE }).unwrap_err();
        assert!(matches!(&changed, MarkerError::Terms { .. }), "{changed}");
        let text = changed.to_string();
        assert!(text.contains("`as agreed`, not with `changed`"), "{text}");
    }

    #[test]
    fn what_is_no_note_of_ours_is_refused() {
        let (disk, dir) = (MemoryDisk::default(), Path::new("/data"));
        disk.create_dir(dir).unwrap();
        let put = |bytes: &[u8]| {
            disk.create(&dir.join(FILE)).unwrap().write_at(0, bytes).unwrap();
            is_there(&disk, dir, &NOTE).unwrap_err()
        };
        let newer = put(b"panchayat replica, format 4\nsomething\n");
        assert!(matches!(newer, MarkerError::NewerFormat { found: 4, .. }), "{newer}");
        let owner = NOTE.owner();
        let older = put(format!("{FIRST_LINE}2\n{owner}\nas agreed\n").as_bytes());
        assert!(matches!(older, MarkerError::OlderFormat { found: 2, .. }), "{older}");
        for bytes in [&b"\xff\xfe"[..], b"", b"panchayat replica, format 1", b"panchayat\n"] {
            let damaged = disk.create(&dir.join(FILE)).map(|file| match bytes {
                [] => Ok(0),
                bytes => file.write_at(0, bytes),
            });
            damaged.unwrap().unwrap();
            let damaged = is_there(&disk, dir, &NOTE).unwrap_err();
            assert!(matches!(damaged, MarkerError::Damaged { .. }), "{damaged}");
        }
    }
}
