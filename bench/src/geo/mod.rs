//! The main experiment: a whole cluster in one process, its cities as far apart as the topology
//! says, under load from clients in every city.
//!
//! Everything is real (endpoints, mutual TLS, journals, threads) except the distance, which is
//! emulated below QUIC. [`run`] starts it, drives it, waits until all replicas have executed the
//! same, compares their states, and hands back a [`Report`] that carries its own error bars.
//!
//! [`Fault`]s can be made to happen in the measured window; the report then has a timeline.

mod check;
mod fault;
mod inject;
pub(crate) mod plan;
pub(crate) mod report;
mod run;
pub(crate) mod timeline;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use panchayat::topology::NotFound;
use panchayat::{Durability, LocalError, ProtocolChoice, Topology};
use thiserror::Error;

use crate::load::LoadModel;
use crate::workload::{Kind, WorkloadError};

pub use check::{Check, LATENESS_P99_MS_MAX};
pub use fault::{FAULTS_MAX, FAULTY_DURATION_MAX, Fault, FaultError, SLOW_MAX};
pub use report::{
    Conditions, Disk, Emulator, Lateness, Overall, PairCheck, Report, SiteReport, Standing,
};
pub use run::run;
pub use timeline::{Bucket, FaultReport, Recovery, Silence, Stretch};

/// What to run. Make one with [`GeoConfig::new`] and change what you want.
#[derive(Clone, Debug)]
pub struct GeoConfig {
    /// Sites, distances, profiles.
    pub topology: Topology,
    /// The set of sites that hold replicas.
    pub set: String,
    /// The weather on the links.
    pub profile: String,
    /// The protocol.
    pub protocol: ProtocolChoice,
    /// Share of commands that write one common key, in percent.
    pub conflict_percent: f64,
    /// How many keys the other commands choose from.
    pub keys: u32,
    /// The skew of that choice; `None` for uniform.
    pub zipf: Option<f64>,
    /// What kind of commands.
    pub kind: Kind,
    /// Clients in each city, in a closed loop.
    pub clients: u32,
    /// How commands come instead, if not in a closed loop.
    pub paced: Option<LoadModel>,
    /// How long clients run before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// Bytes each command carries.
    pub payload_bytes: usize,
    /// What "durable" means.
    pub durability: Durability,
    /// Whether messages that fit a packet go as datagrams, not in streams.
    pub datagrams: bool,
    /// Draws keys, jitter, loss and outages.
    pub seed: u64,
    /// Where journals are kept; `None` for a temporary directory that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// What goes wrong on purpose while it is measured.
    pub faults: Vec<Fault>,
}

impl GeoConfig {
    /// The defaults over `topology`: three Indian cities on a good day, synced to disk.
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            set: "india3".to_owned(),
            profile: "backbone".to_owned(),
            protocol: ProtocolChoice::EPaxos,
            conflict_percent: 2.0,
            keys: 1_000_000,
            zipf: None,
            kind: Kind::Mix,
            clients: 16,
            paced: None,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            payload_bytes: 100,
            durability: Durability::Fsync,
            datagrams: false,
            seed: 1,
            data_dir: None,
            faults: Vec::new(),
        }
    }
}

impl GeoConfig {
    /// How commands come.
    pub fn load(&self) -> LoadModel {
        self.paced.unwrap_or(LoadModel::Closed(self.clients))
    }
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Starting replicas and waiting for their links.
    Starting,
    /// Under load, not measured yet.
    WarmUp,
    /// Measured.
    Measuring,
    /// Load has stopped; waiting until all replicas have executed everything.
    Settling,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// For how long.
    pub elapsed: Duration,
    /// How long this phase takes, or takes at most.
    pub total: Duration,
    /// Commands answered in the measured window so far.
    pub answered: u64,
}

/// Why a run has no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GeoError {
    /// The topology has no such set or profile.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The workload makes no sense.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// No client, or more than make sense in one process.
    #[error("{0} clients in each city: there can be 1 to {max}", max = CLIENTS_MAX)]
    Clients(u32),
    /// Too short or too long a run.
    #[error("a run of {0:?}: there can be 100 ms to a day")]
    Duration(Duration),
    /// The protocol does not fit the set.
    #[error(transparent)]
    Protocol(#[from] panchayat::ProtocolError),
    /// The faults make no sense.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The cluster did not start, or a replica did not start again.
    #[error(transparent)]
    Cluster(#[from] LocalError),
    /// A directory for the journals could not be made.
    #[error("cannot create a temporary directory for the journals: {0}")]
    Directory(std::io::Error),
    /// The disk could not be measured.
    #[error("cannot measure the disk at {}: {reason}", dir.display())]
    Disk {
        /// Where.
        dir: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The caller wanted no more of it.
    #[error("the run was cancelled")]
    Cancelled,
    /// A replica stopped during the run.
    #[error("replica {name} stopped during the run: {reason}")]
    Stopped {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Most clients in each city.
pub const CLIENTS_MAX: u32 = 100_000;

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::WarmUp => "warming up",
            Self::Measuring => "measuring",
            Self::Settling => "settling",
        })
    }
}
