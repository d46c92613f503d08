//! The command line of `member` and `workload`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::{DATA_DIR, seconds};

/// See who the members are, and change that while the cluster runs
///
/// A change is an epoch of its own: what was under way goes on in it, and clients notice a pause of
/// some round trips. Asked for again, it is made once. With several workloads it is made for each.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct MemberCommand {
    #[command(subcommand)]
    pub(crate) action: MemberAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberAction {
    /// Who the members are, and who of them has the state
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Add a replica
    ///
    /// Prints how it is started; it may run before or after it is added. It takes over the state, and
    /// votes when it has it. A group of four needs three to agree: add two, or replace one.
    Add {
        /// What it is called: its city, if the topology has it
        name: String,
        #[command(flatten)]
        newcomer: NewcomerArguments,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a replica, dead or alive, for good
    Remove {
        /// Its name, or `node-4`
        member: String,
        #[command(flatten)]
        place: Place,
    },
    /// Put a new replica in the place of one that is dead, or whose disk is lost
    Replace {
        /// Its name, or `node-4`
        member: String,
        /// What the new one is called [default: the same]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        #[command(flatten)]
        newcomer: NewcomerArguments,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewcomerArguments {
    /// Where it will receive from the others
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: SocketAddr,

    /// Its number, as in its certificate [default: the first that is free]
    #[arg(long, value_name = "N")]
    pub(crate) node: Option<u64>,

    /// Wait until every member has the state
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Change what orders the commands of a workload, while it runs
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct WorkloadCommand {
    #[command(subcommand)]
    pub(crate) action: WorkloadAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkloadAction {
    /// Order its commands by another protocol, or another leader
    Set {
        /// Its name; nothing for a cluster without names
        name: Option<String>,

        /// `epaxos`, `multipaxos`, `fastpaxos`, or `adaptive`: one of them, chosen anew by what is measured
        #[arg(long)]
        protocol: String,

        /// Who leads, or coordinates: a member, or `auto`
        #[arg(long, value_name = "CITY")]
        leader: Option<String>,

        #[command(flatten)]
        place: Place,
    },
}

/// The cluster, and how to reach it.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Data directory of a cluster that `up` runs
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// Configuration of a replica that `serve` runs, here or elsewhere
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub(crate) config: Option<PathBuf>,

    /// Directory of the operator's certificate, for `admin` or `admin-NAME`
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,

    /// Members that joined later to ask as well, in case none is left that the cluster began with
    #[arg(long, value_name = "N@ADDRESS")]
    pub(crate) at: Vec<String>,

    /// How long to wait
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it is so
  1  it is not, and was not changed
  2  wrong usage
  3  outcome unknown: ask again, it is made once";
