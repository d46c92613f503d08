//! Backups: a state leaves a cluster as one file, and a new cluster begins with it.
//!
//! A backup holds machine and sessions. What its replica promised and voted for is of no use to
//! anybody else, and must not be taken up again even by that replica: time has gone on. So a
//! backup is never put under a member of a cluster that goes on. It is the state with which **all
//! members of a new cluster** begin, whose certificates come from a new authority: what is left of
//! the old cluster cannot talk to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use panchayat_consensus::NodeId;
use panchayat_core::StateMachine;
use panchayat_epaxos::EPaxos;
use panchayat_storage::{SnapshotConfig, SnapshotStore, StorageError};
use thiserror::Error;

use crate::error::{MarkerError, SnapshotUnreadable};
use crate::local::{LocalCluster, LocalConfig, cluster_id};
use crate::snapshots::{check, leave_restored};
use crate::workload::group_of;

/// A backup that was made, or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Of all its content.
    pub checksum: u128,
}

/// Why there is no backup, or why it was not restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The replica has stopped, or too many ask for snapshots at once.
    #[error("the replica has stopped, or is asked for too many snapshots at once")]
    Stopped,
    /// The snapshot could not be copied, or is damaged, or another cluster's.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not a state of this state machine.
    #[error(transparent)]
    Unreadable(#[from] SnapshotUnreadable),
    /// A note could not be left.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The topology has no such set.
    #[error(transparent)]
    NotFound(#[from] panchayat_topology::NotFound),
    /// Only a new cluster can begin with a backup.
    #[error(
        "{} is not empty: a backup can only be restored as the beginning of a new cluster, in a \
         directory of its own", dir.display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The file system's word.
        source: io::Error,
    },
}

impl<S: StateMachine> LocalCluster<S> {
    /// Prepares the data directory of `config`, which must not exist or be empty, for a new cluster
    /// that begins with the backup `from`. Start it with [`LocalCluster::start`]; the states that
    /// are given to that are not used. It takes as long as copying the backup once for every
    /// member.
    ///
    /// # Errors
    /// [`BackupError`]; the directory is then as it was.
    pub fn restore_backup(config: &LocalConfig, from: &Path) -> Result<Backup, BackupError> {
        let dir = &config.data_dir;
        let failed = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| BackupError::Io { action, path, source }
        };
        match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
            Ok(false) => {}
            Ok(true) => return Err(BackupError::NotEmpty { dir: dir.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("list", dir)(error)),
        }
        let matrix = config.topology.matrix(&config.set)?;
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".restoring");
        let beside = dir.with_file_name(name);
        if beside.exists() {
            // Of a restore that was interrupted; nobody has ever started from it.
            fs::remove_dir_all(&beside).map_err(failed("remove", &beside))?;
        }
        let mut backup = None;
        for (site, node) in matrix.sites().iter().zip(1..) {
            let restored = restore_site::<S>(config, &beside.join(site), NodeId(node), from);
            match restored {
                Ok(restored) => backup = Some(restored),
                Err(error) => {
                    // What cannot be removed now is, by the next attempt.
                    let _ = fs::remove_dir_all(&beside);
                    return Err(error);
                }
            }
        }
        let sync = |path: &Path| fs::File::open(path).and_then(|dir| dir.sync_all());
        sync(&beside).map_err(failed("sync directory", &beside))?;
        fs::rename(&beside, dir).map_err(failed("rename", &beside))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent).map_err(failed("sync directory", parent))?;
        }
        Ok(backup.expect("a set has sites"))
    }
}

fn restore_site<S: StateMachine>(
    config: &LocalConfig,
    dir: &Path,
    node: NodeId,
    from: &Path,
) -> Result<Backup, BackupError> {
    let mut places = SnapshotConfig::new(dir, cluster_id(&config.set), node, group_of(""));
    places.bytes_per_second_max = None;
    let backend = places.backend.clone();
    let store = SnapshotStore::open(places)?;
    let info = store.import(from)?;
    if node == NodeId(1)
        && let Some(stored) = store.latest()?
    {
        check::<EPaxos, S>(&stored, config.sessions)?;
    }
    leave_restored(&*backend, dir, info.checksum)?;
    Ok(Backup { bytes: info.bytes, checksum: info.checksum })
}
