//! What a command costs where nothing is far away: a whole cluster in one process, over real QUIC
//! on loopback, without emulated delay.
//!
//! Everything a command needs is counted: replicas, journals, encryption, and the clients, which
//! share the process and its processors. Clients are in-process `propose` calls. Each run is a
//! cluster of its own; what is reported is the median of the runs, beside all of them.
//!
//! Two kinds of load. In a *closed loop* every client sends its next command when the last one was
//! answered: that finds the peak. In an *open loop* commands come at a fixed rate whether or not
//! the earlier ones were answered, and latency counts from the moment a command was due, so a
//! cluster that stalls cannot hide it (no coordinated omission).

mod clients;
mod figures;
mod rows;
mod run;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use panchayat::topology::{NotFound, TopologyError};
use panchayat::{Durability, LocalError, ProtocolChoice, Topology};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::geo::Check;
use crate::machine::Machine;
use crate::workload::WorkloadError;

pub use figures::{Figures, ThreadFigures};
pub use rows::Row;
pub use run::{run, run_in_turn};
pub use targets::{against_epaxos, compared, targets};

/// Most clients at each replica.
pub const CLIENTS_MAX: u32 = 100_000;

/// Highest rate of an open loop, in commands per second.
pub const RATE_MAX: f64 = 10_000_000.0;

/// How long a run lasts that shows whether latency is stable and memory flat.
const ENDURANCE: Duration = Duration::from_secs(300);
/// At which share of the peak.
const ENDURANCE_SHARE: f64 = 0.8;

/// Sites of loopback clusters; the first three or five of them.
const SITES: [&str; 5] = ["r1", "r2", "r3", "r4", "r5"];

/// What replicas expect of loopback, in milliseconds: their timeouts follow from it.
const ROUND_TRIP_MS: f64 = 1.0;

/// How commands come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Each of so many clients at every replica waits for its answer before it goes on.
    Closed {
        /// Clients at each replica.
        clients: u32,
    },
    /// So many commands a second, spread evenly over the replicas.
    Open {
        /// Commands per second, over all replicas.
        rate: f64,
    },
}

/// What to run. Make one with [`LoopbackConfig::default`] and change what you want.
#[derive(Clone, Debug)]
pub struct LoopbackConfig {
    /// Which protocol orders the commands.
    pub protocol: ProtocolChoice,
    /// How many replicas: 3 or 5.
    pub replicas: usize,
    /// How commands come.
    pub load: Load,
    /// Bytes each command carries.
    pub payload_bytes: usize,
    /// How many keys commands choose from.
    pub keys: u32,
    /// Share of commands that write one common key instead, in percent.
    pub conflict_percent: f64,
    /// What "durable" means.
    pub durability: Durability,
    /// How long there is load before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// How long each row of a report is.
    pub row: Duration,
    /// How many clusters are measured, one after the other.
    pub runs: usize,
    /// Draws keys and payloads.
    pub seed: u64,
    /// Where journals are kept while a run lasts; `None` for a temporary directory.
    pub data_dir: Option<PathBuf>,
}

impl Default for LoopbackConfig {
    fn default() -> Self {
        Self {
            protocol: ProtocolChoice::EPaxos,
            replicas: 3,
            load: Load::Closed { clients: 128 },
            payload_bytes: 100,
            keys: 1_000_000,
            conflict_percent: 2.0,
            durability: Durability::Memory,
            warm_up: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            row: Duration::from_secs(30),
            runs: 1,
            seed: 1,
            data_dir: None,
        }
    }
}

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conditions {
    /// The code's git commit.
    pub commit: String,
    /// The protocol.
    pub protocol: String,
    /// How many replicas, in one process, over QUIC on loopback.
    pub replicas: usize,
    /// How commands came: in-process `propose` calls.
    pub load: Load,
    /// Bytes each command carried.
    pub payload_bytes: usize,
    /// Keys commands chose from.
    pub keys: u32,
    /// Share of commands on one common key.
    pub conflict_percent: f64,
    /// What "durable" meant.
    pub durability: String,
    /// The measured time of each run.
    pub duration_s: f64,
    /// The load before it.
    pub warm_up_s: f64,
    /// The seed of keys and payloads.
    pub seed: u64,
    /// The machine, before the first run.
    pub machine: Machine,
}

/// The runs of one configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was run.
    pub conditions: Conditions,
    /// The median of every figure over the runs.
    pub median: Figures,
    /// The same by name of threads.
    pub threads: Vec<ThreadFigures>,
    /// Every run.
    pub runs: Vec<Figures>,
    /// Every run, stretch by stretch.
    pub rows: Vec<Row>,
    /// What must hold, and whether it did.
    pub checks: Vec<Check>,
    /// Whether in every run all replicas ended in the same state. The only thing that fails it:
    /// everything else depends on the machine.
    pub ok: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The run, from 1.
    pub run: usize,
    /// Of so many.
    pub runs: usize,
    /// How long it has been under load.
    pub elapsed: Duration,
    /// How long it will be.
    pub total: Duration,
}

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoopbackError {
    /// Neither 3 nor 5 replicas.
    #[error("{0} replicas: on loopback there can be 3 or 5")]
    Replicas(usize),
    /// No client, or more than make sense in one process.
    #[error("{0} clients at each replica: there can be 1 to {CLIENTS_MAX}")]
    Clients(u32),
    /// No rate, or more than a clock can pace.
    #[error("{0} commands per second: there can be 1 to {RATE_MAX}")]
    Rate(f64),
    /// No run, or more than anyone waits for.
    #[error("{0} runs: there can be 1 to 1000")]
    Runs(usize),
    /// Too short or too long a run, or row of one.
    #[error("a run or row of {0:?}: there can be 100 ms to a day")]
    Duration(Duration),
    /// The workload makes no sense.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The loopback topology was refused.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The loopback topology lacks its own set.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The cluster did not start.
    #[error(transparent)]
    Cluster(#[from] LocalError),
    /// A directory or a thread could not be made.
    #[error("cannot {what}: {source}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// The disk could not be measured.
    #[error("cannot measure the disk at {}: {reason}", dir.display())]
    Disk {
        /// Where.
        dir: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A replica stopped during the run.
    #[error("replica {name} stopped during the run: {reason}")]
    Stopped {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// The caller wanted no more of it.
    #[error("the run was cancelled")]
    Cancelled,
}

impl LoopbackConfig {
    /// What shows whether it lasts: the same, once, for five minutes in an open loop at four fifths
    /// of `peak` commands per second.
    pub fn endurance(&self, peak: f64) -> Self {
        let load = Load::Open { rate: (peak * ENDURANCE_SHARE).clamp(1.0, RATE_MAX) };
        Self { load, duration: ENDURANCE, runs: 1, ..self.clone() }
    }

    fn check(&self) -> Result<(), LoopbackError> {
        let day = Duration::from_secs(24 * 3600);
        match self.load {
            Load::Closed { clients } if !(1..=CLIENTS_MAX).contains(&clients) => {
                Err(LoopbackError::Clients(clients))
            }
            Load::Open { rate } if !(1.0..=RATE_MAX).contains(&rate) => {
                Err(LoopbackError::Rate(rate))
            }
            _ if ![3, 5].contains(&self.replicas) => Err(LoopbackError::Replicas(self.replicas)),
            _ if !(1..=1000).contains(&self.runs) => Err(LoopbackError::Runs(self.runs)),
            _ => {
                let spans = Duration::from_millis(100)..=day;
                let wrong = [self.duration, self.row].into_iter().find(|d| !spans.contains(d));
                wrong.map_or(Ok(()), |duration| Err(LoopbackError::Duration(duration)))
            }
        }
    }

    fn conditions(&self, machine: Machine) -> Conditions {
        Conditions {
            commit: crate::COMMIT.to_owned(),
            protocol: self.protocol.to_string(),
            replicas: self.replicas,
            load: self.load,
            payload_bytes: self.payload_bytes,
            keys: self.keys,
            conflict_percent: self.conflict_percent,
            durability: crate::durability_name(self.durability).to_owned(),
            duration_s: self.duration.as_secs_f64(),
            warm_up_s: self.warm_up.as_secs_f64(),
            seed: self.seed,
            machine,
        }
    }
}

/// What the replicas are called.
///
/// # Errors
/// [`LoopbackError::Replicas`], of which there are 3 or 5.
pub fn sites(replicas: usize) -> Result<impl Iterator<Item = &'static str>, LoopbackError> {
    if ![3, 5].contains(&replicas) {
        return Err(LoopbackError::Replicas(replicas));
    }
    Ok(SITES[..replicas].iter().copied())
}

/// The set of `replicas` sites that are all next to each other.
fn topology(replicas: usize) -> Result<Topology, TopologyError> {
    let sites = &SITES[..replicas];
    let mut text = "format: 1\nsites:\n".to_owned();
    for site in sites {
        text += &format!("  {site}: {{}}\n");
    }
    text += "pairs:\n";
    for (at, a) in sites.iter().enumerate() {
        for b in &sites[at + 1..] {
            text += &format!(
                "  - between: [{a}, {b}]\n    rtt_ms: {ROUND_TRIP_MS}\n    source: loopback\n"
            );
        }
    }
    text += &format!("sets:\n  {SET}: [{}]\n{PROFILES}", sites.join(", "));
    Topology::parse("loopback", &text)
}

/// A topology must have a profile; this one is not used.
const PROFILES: &str = "profiles:\n  none: { note: none, jitter_median_ms: 0, jitter_sigma: 0, loss: 0, \
                        burst_packets: 1, up_s: [0, 0], down_s: [0, 0], source: none }\n";

/// The only set of [`topology`].
const SET: &str = "loopback";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_topologies_are_taken() {
        for replicas in [3, 5] {
            let matrix = topology(replicas).unwrap().matrix(SET).unwrap();
            assert_eq!(matrix.sites(), &SITES[..replicas]);
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_bound() {
        let refused = |change: fn(&mut LoopbackConfig)| {
            let mut config = LoopbackConfig::default();
            config.check().unwrap();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert_eq!(
            refused(|config| config.replicas = 4),
            "4 replicas: on loopback there can be 3 or 5"
        );
        for error in [
            refused(|config| config.load = Load::Closed { clients: 0 }),
            refused(|config| config.load = Load::Open { rate: f64::NAN }),
            refused(|config| config.runs = 0),
            refused(|config| config.duration = Duration::ZERO),
            refused(|config| config.row = Duration::ZERO),
        ] {
            assert!(error.contains("there can be"), "{error}");
        }
    }
}
