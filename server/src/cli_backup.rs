//! The command line of `snapshot` and `restore`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::DATA_DIR;

/// Back up a stopped cluster: its whole state as one file
///
/// Starts the cluster of the data directory in this process, without clients, waits until its
/// replicas agree on everything that was done before, takes a snapshot, copies it, verified, and
/// stops.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_EXIT_CODES)]
pub(crate) struct Snapshot {
    /// The new file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,

    /// Data directory of the cluster, as given to `up`
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// Topology file, if `up` was given one [default: the built-in geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
}

/// Begin a new cluster with a backup
///
/// All members of the new cluster begin with the state in the file. It gets certificates of its
/// own, so that nothing of the old cluster can take part. A backup cannot be put under one member
/// of a cluster that goes on: a member that has lost its disk must join under a new node id.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_EXIT_CODES)]
pub(crate) struct Restore {
    /// A file written by `panchayat snapshot`
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    /// Data directory of the new cluster; it must be empty, or not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,

    /// Set of cities: that of the cluster which was backed up
    #[arg(long, default_value = "india3")]
    pub(crate) set: String,

    /// Topology file [default: the built-in geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
}

const BACKUP_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: there is no new file, no new directory
  2  wrong usage";
