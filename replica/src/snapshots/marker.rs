//! The note in a data directory that its replica has run before.
//!
//! A replica that has lost its journal must not come back as itself: it would undo what it had
//! promised. But an empty directory looks like a first start. So before the first promise a small
//! file says whose directory this is, and from then on the journal must be there. It also says
//! under which terms the cluster began: with another protocol, or another set of members, other replicas would
//! read something else into what this one says. (If everything
//! is lost, the file with it, only the operator knows:
//! [`Builder::has_run_before`](crate::Builder::has_run_before).)
//!
//! **Upgrading.** The note's format stands for the whole directory: it is one higher in a release that
//! may write anything into journal or snapshots that the release before cannot read. The newer program
//! reads the older note, and raises it at its first start there, durably, before it has written
//! anything else. From then on the older program refuses the directory by the note, which it reads
//! before all else and changes nothing; until then it may be started again.

use std::io;
use std::path::{Path, PathBuf};

use panchayat_consensus::{ClusterId, GroupId, NodeId};
use panchayat_storage::backend::Backend;
use thiserror::Error;

const FILE: &str = "replica";
const RESTORED: &str = "restored";
const FILE_BYTES_MAX: u64 = 4096;
const FIRST_LINE: &str = "panchayat replica, format ";
/// The format this program leaves.
const FORMAT: u32 = 4;
/// The oldest that it takes over: the previous release's.
const FORMAT_OLDEST: u32 = 3;
/// The format of the other note, about a backup: it says nothing about the directory.
const RESTORED_FORMAT: u32 = 3;

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
        "{} is of format {found}, and this program reads {FORMAT_OLDEST} and later: begin a new \
         cluster with a backup made by the program that wrote it", path.display()
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

    fn text(&self, format: u32) -> String {
        format!("{FIRST_LINE}{format}\n{}\n{}\n", self.owner(), self.terms)
    }

    fn owner(&self) -> String {
        format!("node {} of cluster {}", self.node.0, self.cluster)
    }
}

/// What a directory says of the past of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// It has not run there.
    None,
    /// It has, under a program that left the note in this format.
    Noted { format: u32 },
}

impl Past {
    /// Whether the replica has run there.
    pub(super) fn has_run(self) -> bool {
        self != Self::None
    }
}

/// What `dir` says, if it has this note.
pub(super) fn read(
    backend: &dyn Backend,
    dir: &Path,
    note: &Note<'_>,
) -> Result<Past, MarkerError> {
    let path = dir.join(note.file());
    let read = backend.open_to_read(&path).and_then(|file| file.read_all(FILE_BYTES_MAX));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::None),
        Err(source) => return Err(MarkerError::Io { action: "read", path, source }),
    };
    let damaged = || MarkerError::Damaged { path: path.clone() };
    let found = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
    let mut lines = found.strip_suffix('\n').ok_or_else(damaged)?.lines();
    let format = lines.next().and_then(|line| line.strip_prefix(FIRST_LINE));
    let format: u32 = format.and_then(|format| format.parse().ok()).ok_or_else(damaged)?;
    // Before the rest, which a newer program may write differently.
    if format > FORMAT {
        return Err(MarkerError::NewerFormat { path, found: format });
    }
    let owner = lines.next().ok_or_else(damaged)?;
    if owner != note.owner() {
        let (found, expected) = (owner.to_owned(), note.owner());
        return Err(MarkerError::Other { path, found, expected });
    }
    if format < FORMAT_OLDEST {
        return Err(MarkerError::OlderFormat { path, found: format });
    }
    let terms = lines.next().ok_or_else(damaged)?;
    if terms != note.terms {
        let (found, expected) = (terms.to_owned(), note.terms.to_owned());
        return Err(MarkerError::Terms { path, found, expected });
    }
    if found != note.text(format) {
        return Err(damaged());
    }
    Ok(Past::Noted { format })
}

/// Leaves the note as this program writes it, durably: from then on no older program reads the
/// directory.
pub(super) fn leave(
    backend: &dyn Backend,
    dir: &Path,
    note: &Note<'_>,
    past: Past,
) -> Result<(), MarkerError> {
    match past {
        // It may have got its name just before its program died, and the name may not be durable.
        Past::Noted { format: FORMAT } => backend.sync_dir(dir).map_err(|source| MarkerError::Io {
            action: "sync directory",
            path: dir.into(),
            source,
        }),
        Past::None | Past::Noted { .. } => put(backend, dir, &note.file(), &note.text(FORMAT)),
    }
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
    format!("panchayat restored state, format {RESTORED_FORMAT}\n{checksum:032x}\n")
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
    const NOW: Past = Past::Noted { format: FORMAT };
    const BEFORE: Past = Past::Noted { format: FORMAT_OLDEST };

    fn disk() -> (MemoryDisk, &'static Path) {
        let (disk, dir) = (MemoryDisk::default(), Path::new("/data"));
        disk.create_dir(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        (disk, dir)
    }

    #[test]
    fn a_note_survives_power_loss_and_is_of_one_node_only() {
        let (disk, dir) = disk();
        assert_eq!(read(&disk, dir, &NOTE).unwrap(), Past::None);
        leave(&disk, dir, &NOTE, Past::None).unwrap();
        let disk = disk.restart(PowerLoss::AllUnsynced);
        assert_eq!(read(&disk, dir, &NOTE).unwrap(), NOW);
        for other in [Note { node: NodeId(2), ..NOTE }, Note { cluster: ClusterId(8), ..NOTE }] {
            let other = read(&disk, dir, &other).unwrap_err();
            assert!(matches!(other, MarkerError::Other { .. }), "{other}");
        }
        let added = Note { group: GroupId(0x8000_0007), ..NOTE };
        assert!(!read(&disk, dir, &added).unwrap().has_run(), "each group has a note of its own");
        let changed = read(&disk, dir, &Note { terms: "changed", ..NOTE }).unwrap_err();
        assert!(matches!(&changed, MarkerError::Terms { .. }), "{changed}");
        let text = changed.to_string();
        assert!(text.contains("`as agreed`, not with `changed`"), "{text}");
    }

    #[test]
    fn what_is_no_note_of_ours_is_refused() {
        let (disk, dir) = disk();
        let put = |bytes: &[u8]| {
            let file = disk.create(&dir.join(FILE)).unwrap();
            if !bytes.is_empty() {
                file.write_at(0, bytes).unwrap();
            }
            read(&disk, dir, &NOTE).unwrap_err()
        };
        // What else is in a newer one is not known.
        let newer = put(b"panchayat replica, format 5\nsomething\n");
        assert!(matches!(newer, MarkerError::NewerFormat { found: 5, .. }), "{newer}");
        assert!(newer.to_string().contains("start the newer program"), "{newer}");
        let older = put(NOTE.text(2).as_bytes());
        assert!(matches!(older, MarkerError::OlderFormat { found: 2, .. }), "{older}");
        let more = NOTE.text(FORMAT) + "more\n";
        let spelled = NOTE.text(FORMAT).replace("format ", "format +");
        for bytes in [
            &b"\xff\xfe"[..],
            b"",
            b"panchayat replica, format 1",
            b"panchayat\n",
            more.as_bytes(),
            spelled.as_bytes(),
        ] {
            let damaged = put(bytes);
            assert!(matches!(damaged, MarkerError::Damaged { .. }), "{damaged}");
        }
    }

    #[test]
    fn an_older_note_is_raised_and_power_loss_leaves_one_or_the_other() {
        let before = || {
            let (disk, dir) = disk();
            put(&disk, dir, FILE, &NOTE.text(FORMAT_OLDEST)).unwrap();
            (disk, dir)
        };
        let (disk, dir) = before();
        assert_eq!(read(&disk, dir, &NOTE).unwrap(), BEFORE);
        let calls = disk.calls();
        leave(&disk, dir, &NOTE, BEFORE).unwrap();
        let calls = disk.calls() - calls;
        assert_eq!(read(&disk.restart(PowerLoss::AllUnsynced), dir, &NOTE).unwrap(), NOW);
        let (mut old, mut new) = (0, 0);
        for call in 0..calls {
            for loss in [PowerLoss::Nothing, PowerLoss::AllUnsynced, PowerLoss::Shuffled(call)] {
                let (disk, dir) = before();
                disk.fail_power_at(call);
                leave(&disk, dir, &NOTE, BEFORE).unwrap_err();
                let disk = disk.restart(loss);
                let past = read(&disk, dir, &NOTE).unwrap();
                match past {
                    BEFORE => old += 1,
                    NOW => new += 1,
                    other => panic!("{other:?} after {call} calls and {loss:?}"),
                }
                leave(&disk, dir, &NOTE, past).unwrap();
                let disk = disk.restart(PowerLoss::AllUnsynced);
                assert_eq!(read(&disk, dir, &NOTE).unwrap(), NOW, "{call} {loss:?}");
            }
        }
        assert!(old > 0 && new > 0, "{old} {new}");
    }

    #[test]
    fn a_restored_state_is_known_to_the_next_release() {
        let (disk, dir) = disk();
        let left = format!("panchayat restored state, format 3\n{:032x}\n", 0xab);
        put(&disk, dir, RESTORED, &left).unwrap();
        assert!(is_restored(&disk, dir, 0xab).unwrap());
        assert!(!is_restored(&disk, dir, 0xac).unwrap());
        leave_restored(&disk, dir, 0xab).unwrap();
        let file = disk.open_to_read(&dir.join(RESTORED)).unwrap();
        assert_eq!(file.read_all(FILE_BYTES_MAX).unwrap(), left.as_bytes());
    }
}
