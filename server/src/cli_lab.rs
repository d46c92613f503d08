//! The command line of the laboratory.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use panchayat_bench::workload::{Kind, UnknownKind};

use crate::cli::seconds;

/// What `geo` can do besides one run.
#[derive(Debug, Subcommand)]
pub(crate) enum GeoAction {
    Experiment(Experiment),
    Measure(Measure),
}

/// Make a topology file of the round trips between running replicas
///
/// Replicas of `panchayat serve` measure each other all the time. This asks them at their admin ports
/// and writes a topology with the distances between their hosts and a profile `measured` with the
/// jitter and the loss between them. One is enough if it knows the admin ports of the others
/// (`admin.peers`); otherwise all but one.
#[derive(Debug, Args)]
#[command(after_help = MEASURE_HELP)]
pub(crate) struct Measure {
    /// Admin port of a replica
    #[arg(value_name = "HOST:PORT", required = true)]
    pub(crate) addrs: Vec<String>,

    /// Write the topology here; must not exist
    #[arg(long, value_name = "FILE", default_value = "measured.yaml")]
    pub(crate) out: PathBuf,

    /// What the set of these cities is to be called
    #[arg(long, value_name = "NAME", default_value = "measured")]
    pub(crate) set: String,

    /// Round trips that every pair must have
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) pings: u64,

    /// How long to wait for them
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Take labels, places on the map and other profiles from this topology [default: the built-in
    /// geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
}

const MEASURE_HELP: &str = "\
Admin ports are open on their own host only, unless configured otherwise: forward them, as with ssh -L.

Examples:
  panchayat geo measure 10.0.1.10:9001
  panchayat geo measure 127.0.0.1:9001 127.0.0.1:9002 --out mine.yaml --set mine
  panchayat plan --topology mine.yaml --set mine";

/// Run an experiment, and write its report as a page
///
/// An experiment is a YAML file, or one of those that come with the program: protocols, cities,
/// weather, workload, load, faults, and what is varied. It runs in virtual time, on real replicas
/// over QUIC with emulated distance, or on both, which are then compared.
///
/// Writes NAME.html, which opens without a network, NAME.json with all figures, and every plot as
/// SVG. In virtual time the same seed gives the same figures.
#[derive(Debug, Args)]
#[command(after_help = EXPERIMENT_HELP)]
pub(crate) struct Experiment {
    /// A file, or the name of a shipped experiment
    #[arg(value_name = "FILE|NAME", required_unless_present = "list")]
    pub(crate) what: Option<String>,

    /// List the shipped experiments
    #[arg(long)]
    pub(crate) list: bool,

    /// Print the experiment's file instead of running it, to begin one's own with
    #[arg(long, conflicts_with = "list")]
    pub(crate) show: bool,

    /// What runs it
    #[arg(long, value_enum, default_value_t = EngineName::Simulated)]
    pub(crate) engine: EngineName,

    /// Cut it down to see that it works: short, one repetition, at most three values
    #[arg(long)]
    pub(crate) quick: bool,

    /// Another seed than the file's
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Topology file [default: the built-in geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,

    /// Write the report here
    #[arg(long, value_name = "DIR", default_value = "geo-reports")]
    pub(crate) out: PathBuf,

    /// Print the JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Print Markdown instead of tables: what the README's results are made of
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
}

const EXPERIMENT_HELP: &str = "\
Exit codes:
  0  all replicas agreed, and what must hold in virtual time held
  1  they did not, or a run failed
  2  wrong usage, or a mistake in the file

Examples:
  panchayat geo experiment --list
  panchayat geo experiment conflict-sweep                  in virtual time: seconds
  panchayat geo experiment latency --engine both           and on real replicas, side by side
  panchayat geo experiment latency --show > mine.yaml      a file to change
  panchayat geo experiment mine.yaml --quick";

/// Predict latency in every city from the topology alone, and recommend a protocol for each workload
///
/// Nothing is run: closed forms, which the simulated engine meets to the microsecond where nothing
/// conflicts. Every protocol, every leader, every choice of replicas, with all cities up and with
/// one down.
#[derive(Debug, Args)]
#[command(after_help = PLAN_HELP)]
pub(crate) struct PlanArguments {
    /// Topology file [default: the built-in geo-topology.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,

    /// Set of cities: clients are in all of them, replicas in some
    #[arg(long, default_value = "india3")]
    pub(crate) set: String,

    /// Recommend for this workload only; repeatable [default: all]
    #[arg(long, value_name = "NAME", value_parser = kind)]
    pub(crate) workload: Vec<Kind>,

    /// Commands a second over all cities that recommendations assume
    #[arg(long, value_name = "PER_S", default_value_t = 1000.0, value_parser = rate)]
    pub(crate) rate: f64,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

const PLAN_HELP: &str = "\
Examples:
  panchayat plan --set india5
  panchayat plan --set india5 --workload upi --workload orderbook --rate 5000
  panchayat plan --topology mine.yaml --set sites --json";

fn kind(name: &str) -> Result<Kind, String> {
    name.parse().map_err(|error: UnknownKind| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("`{text}`: {error}"))?;
    match rate {
        rate if (0.0..=1e7).contains(&rate) => Ok(rate),
        _ => Err(format!("`{text}`: expected 0 to ten million commands a second")),
    }
}

/// What runs an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// Production code in virtual time
    Simulated,
    /// QUIC, threads and disks, with emulated distance
    Real,
    /// One after the other, and compared
    Both,
}
