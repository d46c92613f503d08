//! `panchayat certs`: a certificate authority for development, its certificates, and what stands in them.

mod issue;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::errors::CliError;

/// Where an authority is unless somebody says so.
const DIR: &str = "certs";

/// Make and show certificates: a certificate authority for development
///
/// Members know each other by certificates of one authority. Whoever has its key can become a
/// member: keep it away from the machines that serve.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Certs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(Init),
    #[command(subcommand)]
    Issue(Issue),
    Show(Show),
}

/// Make a new authority, and the id of a new cluster
///
/// Writes ca.pem, ca.key and cluster.id; refuses to overwrite any.
#[derive(Debug, Args)]
struct Init {
    /// Where to
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Issue a certificate
#[derive(Debug, Subcommand)]
enum Issue {
    /// For a member of the cluster: `identity` of its configuration
    Node {
        /// Its city, as in the topology
        city: String,
        /// The set of cities
        #[arg(long, default_value = "india3")]
        set: String,
        /// Another topology than the built-in one
        #[arg(long, value_name = "FILE")]
        topology: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// For the command line and programs with the Rust library; it may do everything
    Client {
        /// Letters, digits, `-`, `_` and `.`
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// For the port of Redis clients: `tls` of a configuration
    RedisServer {
        /// The names and addresses it is reached under
        #[arg(required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// For a Redis client, where `client_ca` asks for one; it opens nothing else
    RedisClient {
        /// Letters, digits, `-`, `_` and `.`
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Where the authority is
    #[arg(long, value_name = "DIR", default_value = DIR)]
    authority: PathBuf,

    /// Where to write the certificate and its key [default: below the authority]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Show what stands in certificates
///
/// Subject, names, what it is for, when it ends, and its fingerprint. Nothing is verified.
#[derive(Debug, Args)]
struct Show {
    /// PEM files, or directories with files that end in .pem
    #[arg(value_name = "PATH", default_value = DIR)]
    paths: Vec<PathBuf>,

    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Exit codes:
  0  done
  1  a file cannot be read or written, or is there already; `show`: a certificate has expired
  2  wrong usage

Examples:
  panchayat certs init
  panchayat certs issue node mumbai                     certs/mumbai, for `identity`
  panchayat certs issue redis-server localhost 10.0.1.10
                                                        certs/redis-server, for `clients.tls`
  panchayat certs issue redis-client shop               certs/redis-client-shop, for a client
  panchayat certs show certs/mumbai --json";

pub(crate) fn run(arguments: Certs) -> Result<ExitCode, CliError> {
    match arguments.action {
        Action::Init(init) => issue::init(&init),
        Action::Issue(issue) => issue::issue(issue),
        Action::Show(show) => show::show(&show),
    }
}
