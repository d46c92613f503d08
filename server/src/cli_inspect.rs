//! The command line for operators of running clusters: `status` and `explain`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::DATA_DIR;

/// How every replica of a running cluster stands
///
/// Asks the admin port of each: whether it serves, how many members it reaches and how many more it can lose, how far
/// it is behind, who leads, what was decided how fast lately, and what makes it slow.
#[derive(Debug, Args)]
#[command(after_help = STATUS_HELP)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) of: Inspected,
}

const STATUS_HELP: &str = "\
Exit codes:
  0  every replica answers and serves
  1  some do not
  2  wrong usage

Examples:
  panchayat status                                   the cluster of `panchayat up` in this directory
  panchayat status --config panchayat.yaml           the cluster of `panchayat serve`
  panchayat status --admin 127.0.0.1:8001 --json     one replica, for a program";

/// What a key or a command waits for, since when, and who holds it up
///
/// Every replica that answers tells its own view: of a key, the commands on it that are not executed; of an
/// instance, that and what it waits for, link by link. Instances are called CITY/SLOT, and slot/SLOT where one log
/// orders everything; `status`, the live page and errors name them.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(crate) struct Explain {
    /// A key, or an instance as CITY/SLOT or slot/SLOT
    #[arg(value_name = "KEY|INSTANCE")]
    pub(crate) subject: String,

    /// It is a key, whatever it looks like
    #[arg(long)]
    pub(crate) key: bool,

    /// Only this city's view
    #[arg(long, value_name = "CITY")]
    pub(crate) site: Option<String>,

    #[command(flatten)]
    pub(crate) of: Inspected,
}

const EXPLAIN_HELP: &str = "\
Exit codes:
  0  explained, or nothing waits
  1  no replica answers
  2  wrong usage

Examples:
  panchayat explain seat:12A
  panchayat explain mumbai/812 --site delhi
  panchayat explain slot/4711 --config panchayat.yaml --json";

/// Which cluster, and how to show it.
#[derive(Debug, Args)]
pub(crate) struct Inspected {
    /// Configuration of one of its replicas: `admin.listen` and `admin.peers` say where to ask
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub(crate) config: Option<PathBuf>,

    /// Admin port of a replica; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Vec<SocketAddr>,

    /// Otherwise: data directory of a running `up`
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}
