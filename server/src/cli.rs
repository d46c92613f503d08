//! The command line: what can be asked for, and what is refused before anything starts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A leaderless, geo-replicated transaction layer.
#[derive(Debug, Parser)]
#[command(name = "panchayat", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or definitely not applied
  2  wrong usage
  3  outcome unknown: the command may or may not have been applied

Set RUST_LOG (for example RUST_LOG=panchayat=info) for a log on stderr.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Geo(Geo),
}

/// Measure a cluster whose cities are as far apart as the topology says
///
/// Starts every city of the set in this process: a replica each, with its own QUIC endpoint,
/// certificate and journal. The distance is emulated below QUIC. Clients in every city send
/// commands in a closed loop; at the end the states of all replicas must be equal.
///
/// Prints latencies by city, commit and execution apart, against the direct-path bound (one
/// round trip to the nearest fast quorum) and against light in fibre, and how far the emulation
/// itself was off in the same run.
#[derive(Debug, Args)]
#[command(after_help = GEO_HELP)]
pub(crate) struct Geo {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Consensus protocol
    #[arg(long, value_enum, default_value_t = ProtocolName::Epaxos)]
    pub(crate) protocol: ProtocolName,

    /// Share of commands that write one common key
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = percent)]
    pub(crate) conflict: f64,

    /// Skew of the other commands' keys, an exponent of Zipf's law [default: uniform]
    #[arg(long, value_name = "THETA")]
    pub(crate) zipf: Option<f64>,

    /// How many keys the other commands choose from
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) keys: u32,

    /// Clients in each city
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) clients: u32,

    /// How long to measure, after a warm-up of a second
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,

    /// Bytes each command carries
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) payload: usize,

    /// Keep the journals here, on the disk to be measured [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

const GEO_HELP: &str = "\
Exit codes:
  0  the replicas agree, whatever the latencies
  1  they do not, or the run failed
  2  wrong usage

Examples:
  panchayat geo                                            three Indian cities, synced to disk
  panchayat geo --set asia-europe5 --profile stressed      five cities, a bad hour
  panchayat geo --profile ideal --clients 1 --conflict 0 --durability memory
                                                           against the closed form";

/// Where a cluster is, what the weather is, and what its promises rest on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Topology file [default: the built-in geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,

    /// Set of cities that hold the replicas
    #[arg(long, default_value = "india3")]
    pub(crate) set: String,

    /// Weather on the links
    #[arg(long, default_value = "backbone")]
    pub(crate) profile: String,

    /// What "durable" means
    #[arg(long, value_enum, default_value_t = DurabilityName::Fsync)]
    pub(crate) durability: DurabilityName,

    /// Draws jitter, loss, outages and keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolName {
    /// Leaderless: every city coordinates its own clients' commands
    Epaxos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityName {
    /// Synced: survives power loss
    Fsync,
    /// Written: survives the process, not the machine
    Os,
    /// Kept nowhere
    Memory,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("a percentage lies between 0 and 100".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds, from 0.1 to a day (86400)".to_owned())
}
