//! The command line: what can be asked for, and what is refused before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::certs::Certs;
use crate::cli_backup::{Restore, Snapshot};
use crate::cli_client::{Get, Put, Txn};
use crate::cli_inspect::{Explain, Status};
use crate::cli_lab::{GeoAction, PlanArguments};
use crate::operate::{MemberCommand, WorkloadCommand};
use crate::user::User;

/// A leaderless, geo-replicated transaction layer.
#[derive(Debug, Parser)]
#[command(name = "panchayat", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// How the log on stderr is written
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or definitely not applied
  2  wrong usage
  3  outcome unknown: the command may or may not have been applied

Set RUST_LOG for a log on stderr: RUST_LOG=panchayat=info, or RUST_LOG=panchayat::command=debug for the
phases of every command, each with how long it took; --log json writes an object per line.";

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// An object per line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Geo(Box<Geo>),
    Plan(PlanArguments),
    Bench(Bench),
    Up(Up),
    Serve(Serve),
    Certs(Certs),
    User(User),
    Put(Put),
    Get(Get),
    Txn(Txn),
    Status(Status),
    Explain(Explain),
    Snapshot(Snapshot),
    Restore(Restore),
    Member(MemberCommand),
    Workload(WorkloadCommand),
    Sim(Sim),
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
#[command(after_help = GEO_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Geo {
    #[command(subcommand)]
    pub(crate) action: Option<GeoAction>,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) ordering: Ordering,

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

    /// One client in all instead, that visits the cities in turn: what a command takes by itself
    #[arg(long, conflicts_with = "clients")]
    pub(crate) solo: bool,

    /// How long to measure, after a warm-up of a second
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,

    /// Bytes each command carries
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) payload: usize,

    /// Kill a city's replica, for good or until it starts again from its journal; repeatable
    #[arg(long, value_name = "CITY@AT[..RESTART]", help_heading = FAULTS)]
    pub(crate) kill: Vec<String>,

    /// Cut the link between two cities, with `>` instead of `-` in one direction; repeatable
    #[arg(long, value_name = "CITY-CITY@FROM[..TO]", help_heading = FAULTS)]
    pub(crate) cut: Vec<String>,

    /// Add a delay to all links of a city, one way, in both directions; repeatable
    #[arg(long, value_name = "CITY@FROM[..TO]:DELAY", help_heading = FAULTS)]
    pub(crate) slow: Vec<String>,

    /// Let so many of the clients' commands, in percent, write one common key for a while; repeatable
    #[arg(long, value_name = "PERCENT@FROM[..TO]", help_heading = FAULTS)]
    pub(crate) rush: Vec<String>,

    /// Keep the journals here, on the disk to be measured [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Under this the help of `geo` lists what can go wrong on purpose.
const FAULTS: &str = "Faults, at times counted from the beginning of the measurement";

const GEO_HELP: &str = "\
Exit codes:
  0  the replicas agree, whatever the latencies
  1  they do not, or the run failed
  2  wrong usage

Examples:
  panchayat geo                                            three Indian cities, synced to disk
  panchayat geo --set asia-europe5 --profile stressed      five cities, a bad hour
  panchayat geo --profile ideal --clients 1 --conflict 0 --durability memory
                                                           against the closed form
  panchayat geo --protocol fastpaxos --set india5 --profile ideal --solo --conflict 0 --durability memory
                                                           each city by itself
  panchayat geo --kill delhi@4s..8s                        lose a city, and get it back
  panchayat geo --protocol multipaxos --kill mumbai@4s     lose the leader
  panchayat geo --protocol adaptive --duration 150 --rush 100@50s..100s
                                                           a hot key comes and goes
  panchayat geo --cut mumbai-delhi@4s..8s --slow bangalore@2s:200ms
  panchayat geo --cut 'mumbai>delhi@4s..8s'                mumbai is not heard in delhi
  panchayat geo experiment --list                          many runs that answer one question
  panchayat geo measure 10.0.1.10:9001                     a topology of one's own hosts";

/// Measure a running cluster over the Redis protocol, or what a command costs by itself
///
/// Loads every city of a running cluster with one of the laboratory's workloads, in a closed or an
/// open loop, and prints commands per second and latencies by city. In an open loop latency counts from when a
/// command was due: what waits because the cluster is slow is not left out.
///
/// With --loopback: starts 3 or 5 replicas in this process, over real QUIC on loopback without emulated
/// delay, and loads them with clients that propose in process. Prints commands per second, latencies,
/// processor time per command with a breakdown by thread, syncs and traffic, and holds them
/// against the project's targets where the conditions are those of a target.
#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct Bench {
    /// Over QUIC on loopback, in this process, without a running cluster
    #[arg(long)]
    pub(crate) loopback: bool,

    /// Redis port of a city; repeatable [default: those of the running `up`]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "loopback")]
    pub(crate) redis: Vec<SocketAddr>,

    /// Which commands: mix, upi, tatkal, orderbook, inventory, config, popularity or ycsb-a to ycsb-f
    #[arg(long, value_name = "NAME", default_value = "mix", conflicts_with = "loopback")]
    pub(crate) workload: String,

    /// Skew of the keys, an exponent of Zipf's law [default: the workload's]
    #[arg(long, value_name = "THETA", conflicts_with = "loopback")]
    pub(crate) zipf: Option<f64>,

    /// Most connections to each city in an open loop
    #[arg(long, value_name = "N", default_value_t = 256, conflicts_with = "loopback", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    pub(crate) connections: usize,

    /// Authenticate as this user, with the password in the variable PANCHAYAT_PASSWORD
    #[arg(long, value_name = "NAME", conflicts_with = "loopback")]
    pub(crate) user: Option<String>,

    /// Run every configuration that a target compares, one after the other
    #[arg(long, requires = "loopback", conflicts_with_all = ["protocol", "replicas", "clients", "rate", "payload", "keys", "conflict", "durability"])]
    pub(crate) targets: bool,

    #[command(flatten)]
    pub(crate) ordering: Ordering,

    /// Run EPaxos under the same load too, a run of each in turn, and compare
    #[arg(long, requires = "loopback", conflicts_with = "targets")]
    pub(crate) against_epaxos: bool,

    /// Then, five minutes in an open loop at 80 % of the first rate measured: is latency stable,
    /// and memory flat?
    #[arg(long, requires = "loopback", conflicts_with = "rate")]
    pub(crate) endurance: bool,

    /// How many replicas: 3 or 5
    #[arg(long, requires = "loopback", value_name = "N", default_value_t = 3)]
    pub(crate) replicas: usize,

    /// Clients at each replica, in a closed loop [default: 16; with --loopback 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub(crate) clients: Option<u32>,

    /// Commands per second over all replicas, in an open loop; latency counts from when they
    /// were due
    #[arg(long, value_name = "PER_S", conflicts_with = "clients")]
    pub(crate) rate: Option<f64>,

    /// Bytes each command carries, where it carries any [default: the workload's; with --loopback 100]
    #[arg(long, value_name = "BYTES")]
    pub(crate) payload: Option<usize>,

    /// How many keys commands choose from [default: the workload's; with --loopback 1000000]
    #[arg(long, value_name = "N")]
    pub(crate) keys: Option<u32>,

    /// Share of commands that write one common key instead, of the workload mix [default: 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) conflict: Option<f64>,

    /// What "durable" means
    #[arg(long, requires = "loopback", value_enum, default_value_t = DurabilityName::Memory)]
    pub(crate) durability: DurabilityName,

    /// How long to measure in each run
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,

    /// How long the load lasts before that
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub(crate) warm_up: Duration,

    /// How long each row is that a longer run is shown by
    #[arg(long, requires = "loopback", value_name = "S", default_value = "30", value_parser = seconds)]
    pub(crate) row: Duration,

    /// How many runs, each of a new cluster; figures are their medians
    #[arg(long, requires = "loopback", value_name = "N", default_value_t = 1)]
    pub(crate) runs: usize,

    /// Draws keys and payloads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Data directory of the running `up`; with --loopback, keep the journals here while it runs, on the
    /// disk to be measured [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

const BENCH_HELP: &str = "\
Exit codes:
  0  every city answered, and no command failed; with --loopback: the replicas agree, whatever the figures
  1  some did not, some did, or the run failed
  2  wrong usage

Examples:
  panchayat bench                                          the running `up`, sixteen clients in each city
  panchayat bench --workload upi --rate 300                payments, so many a second over all cities
  panchayat bench --redis 10.0.1.10:6379 --redis 10.0.2.10:6379 --conflict 10 --json
  panchayat bench --loopback --runs 5                      three replicas, in memory
  panchayat bench --loopback --runs 5 --durability fsync   every promise synced
  panchayat bench --loopback --conflict 100                every command on one key
  panchayat bench --loopback --protocol multipaxos --against-epaxos --runs 5
                                                           what a leader costs
  panchayat bench --loopback --rate 40000 --duration 300   does it last?
  panchayat bench --loopback --runs 5 --endurance          the peak, then five minutes at 80 %
  panchayat bench --loopback --targets --runs 5            all targets, five minutes";

/// Run the production code in virtual time with faults, seed by seed
///
/// Every seed chooses a cluster, a load and faults: lost, late and repeated messages, partitions,
/// crashes at any moment, torn writes, slow disks, wrong clocks. After every step invariants are
/// checked; at the end everything heals, must come to rest, and must have lost nothing.
///
/// The strongest word is "no violation in so many seeds".
#[derive(Debug, Args)]
#[command(after_help = SIM_HELP)]
pub(crate) struct Sim {
    /// Consensus protocol, or `epochs` for all of them, with members that come and go
    #[arg(long, value_enum, default_value_t = SubjectName::Epaxos)]
    pub(crate) protocol: SubjectName,

    /// How many replicas, or with how many it begins
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(3..=9))]
    pub(crate) replicas: usize,

    /// What clients ask for
    #[arg(long, value_enum, default_value_t = LoadName::Drawn)]
    pub(crate) load: LoadName,

    /// Which seeds: a range, its end excluded, or one
    #[arg(long, value_name = "A..B", default_value = "0..100", value_parser = seeds)]
    pub(crate) seeds: std::ops::Range<u64>,

    /// How many at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub(crate) jobs: usize,

    /// Keep what was run in this file, and run only what is not in it yet
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Print everything that happens in one seed, or what of it led to its violation
    #[arg(long, conflicts_with_all = ["resume", "json"])]
    pub(crate) trace: bool,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

impl Sim {
    /// The line that shows a seed again.
    pub(crate) fn shown_again(&self, seed: u64) -> String {
        let (protocol, replicas) = (self.protocol.name(), self.replicas);
        let load = match self.load {
            LoadName::Drawn => String::new(),
            load => format!(" --load {}", load.name()),
        };
        format!(
            "panchayat sim --protocol {protocol} --replicas {replicas}{load} --seeds {seed} --trace"
        )
    }
}

const SIM_HELP: &str = "\
Exit codes:
  0  no violation
  1  a violation, told with the line that shows it again; or something that so many seeds must
     have come to never happened, so that their silence proves little
  2  wrong usage

Examples:
  panchayat sim --replicas 5 --seeds 0..1000
  panchayat sim --replicas 3 --seeds 0..20000 --resume runs-3.json
  panchayat sim --protocol multipaxos --replicas 5 --seeds 0..1000
  panchayat sim --protocol fastpaxos --replicas 4 --seeds 0..1000
  panchayat sim --replicas 3 --load ledger --seeds 0..10000
  panchayat sim --replicas 5 --seeds 17 --trace";

/// `A..B`, or one seed.
fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let range = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => {
            let seed = number(text)?;
            seed..seed.checked_add(1).ok_or("this seed has no successor")?
        }
    };
    if range.is_empty() { Err("a range needs its smaller end first".into()) } else { Ok(range) }
}

/// Start a cluster on this machine and keep it up until Ctrl-C
///
/// Every city of the set is a replica in this process, as far from the others as the topology
/// says, with a port for Redis clients; `put`, `get` and `txn` are about the same data. Started again
/// on the same data directory, the cluster goes on with its data.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) ordering: Ordering,

    /// Port of the first city, the others count up; 0 for any free ports. Redis clients use it over
    /// TCP, replicas over UDP
    #[arg(long, value_name = "PORT", default_value_t = 7001)]
    pub(crate) base_port: u16,

    /// Port of the first city's admin page, the others count up; 0 for any free ports [default: 1000
    /// above those of the clients]
    #[arg(long, value_name = "PORT")]
    pub(crate) admin_port: Option<u16>,

    /// Keep journals, certificates and the description for clients here
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
}

/// Run one replica of a cluster, with a port for Redis clients
///
/// The configuration names the members, this one's certificate, its data directory, and which keys
/// belong to which workload. SIGTERM and Ctrl-C stop it in order: what is under way is answered, and
/// everything is synced. SIGHUP has it read its certificates again.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXIT_CODES)]
pub(crate) struct Serve {
    /// The configuration of this replica
    #[arg(long, value_name = "FILE", default_value = "panchayat.yaml")]
    pub(crate) config: PathBuf,
}

const SERVE_EXIT_CODES: &str = "\
Exit codes:
  0  stopped in order
  1  did not start, or stopped, for a reason that may pass: an address in use, a full disk, no
     majority for what was under way
  2  the configuration or a certificate cannot be used
  4  the data directory is refused: damaged, of another replica or cluster, or written by a newer
     program; starting again is no help";

/// Where `up` keeps everything, and where clients look for it.
pub(crate) const DATA_DIR: &str = "panchayat-data";

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

/// Who orders the commands.
#[derive(Debug, Args)]
pub(crate) struct Ordering {
    /// Consensus protocol
    #[arg(long, value_enum, default_value_t = ProtocolName::Epaxos)]
    pub(crate) protocol: ProtocolName,

    /// Who leads, or coordinates, for a protocol with a leader: a city, or `auto` for the one with the smallest
    /// predicted mean latency [default: auto]
    #[arg(long, value_name = "CITY")]
    pub(crate) leader: Option<String>,

    /// Let other cities wait for the leader's word instead of counting votes themselves: Multi-Paxos
    /// as it is often built, for comparison only
    #[arg(long)]
    pub(crate) naive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolName {
    /// Leaderless: every city coordinates its own clients' commands
    Epaxos,
    /// One leader orders everything; origins learn by themselves
    Multipaxos,
    /// Any city straight to all acceptors; a coordinator settles collisions
    Fastpaxos,
    /// One of them, chosen anew by what is measured; EPaxos at first
    Adaptive,
}

/// What the simulator can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectName {
    /// EPaxos*
    Epaxos,
    /// Multi-Paxos
    Multipaxos,
    /// Fast Paxos
    Fastpaxos,
    /// All three, one after the other, while members join, leave and are replaced
    Epochs,
}

impl SubjectName {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epaxos => "epaxos",
            Self::Multipaxos => "multipaxos",
            Self::Fastpaxos => "fastpaxos",
            Self::Epochs => "epochs",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadName {
    /// Whatever each seed draws
    Drawn,
    /// Money moved between accounts in every seed, and requests retried at other replicas
    Ledger,
}

impl LoadName {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn",
            Self::Ledger => "ledger",
        }
    }
}

impl From<LoadName> for panchayat_sim::Load {
    fn from(name: LoadName) -> Self {
        match name {
            LoadName::Drawn => Self::Drawn,
            LoadName::Ledger => Self::Ledger,
        }
    }
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

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds, from 0.1 to a day (86400)".to_owned())
}
