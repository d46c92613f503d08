//! A whole cluster in one process, on loopback, with emulated distances.
//!
//! Real endpoints, certificates, journals and threads; only the distance is emulated, below QUIC.
//! For trying things out, for experiments, and for tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use panchayat_consensus::{ClusterId, ReplicaId};
use panchayat_core::{SessionConfig, StateMachine};
use panchayat_storage::Durability;
use panchayat_storage::backend::Backend;
use panchayat_topology::{NotFound, Topology};
use panchayat_transport::TransportError;
use panchayat_transport::identity::Identity;
use panchayat_transport::wan::WanControl;
use thiserror::Error;

use crate::builder::Builder;
use crate::cluster::Cluster;
use crate::error::{StartError, Stopped};
use crate::host::Node;
use crate::limits::Limits;
use crate::local_nodes::LocalNodes;
use crate::membership::Newcomer;
use crate::protocol::ProtocolChoice;
use crate::replica::Replica;
use crate::workload::Workload;

/// How to start a cluster in this process. Make one with [`LocalConfig::new`].
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Sites, distances, profiles.
    pub topology: Topology,
    /// The set of sites to start.
    pub set: String,
    /// The profile of their links; `None` for no emulation at all.
    pub profile: Option<String>,
    /// Which protocol orders the commands.
    pub protocol: ProtocolChoice,
    /// Where journals and certificates are kept; each replica has a directory of its own in it.
    pub data_dir: PathBuf,
    /// What "durable" means.
    pub durability: Durability,
    /// The journals' file system; real files if `None`.
    pub backend: Option<Arc<dyn Backend>>,
    /// The first replica's port, the others count up; 0 for any free ports.
    pub base_port: u16,
    /// Spreads jitter, loss and outages.
    pub seed: u64,
    /// Whether messages that fit a packet go as datagrams: see [`Builder::datagrams`].
    pub datagrams: bool,
    /// What each replica may hold at once.
    pub limits: Limits,
    /// How long requests are remembered, and how many.
    pub sessions: SessionConfig,
}

/// Why a cluster could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The topology has no such set or profile.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A certificate could not be made or read.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A port could not be opened.
    #[error("cannot open {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file or directory could not be made.
    #[error("cannot create {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A replica could not be started.
    #[error("replica {name}: {source}")]
    Start {
        /// Which.
        name: String,
        /// Why.
        source: Box<StartError>,
    },
    /// Only a killed replica can be restarted.
    #[error("replica {name} is running: it was not killed")]
    Running {
        /// Which.
        name: String,
    },
    /// The replica kept its promises in memory only, so it must not come back without them.
    #[error("replica {name} cannot be restarted: with durability memory it kept no journal")]
    NothingKept {
        /// Which.
        name: String,
    },
}

/// A running cluster whose replicas have a single state each.
#[derive(Debug)]
pub struct LocalCluster<S: StateMachine> {
    nodes: LocalNodes,
    replicas: Vec<Replica<S>>,
}

impl LocalConfig {
    /// The set `set` of `topology`, with its data below `data_dir`, synced, without emulation, on
    /// free ports, ordered by EPaxos.
    pub fn new(topology: Topology, set: &str, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            topology,
            set: set.to_owned(),
            profile: None,
            protocol: ProtocolChoice::EPaxos,
            data_dir: data_dir.into(),
            durability: Durability::Fsync,
            backend: None,
            base_port: 0,
            seed: 1,
            datagrams: false,
            limits: Limits::default(),
            sessions: SessionConfig::default(),
        }
    }
}

impl<S: StateMachine> LocalCluster<S> {
    /// Starts every replica of the set, each with the state that `machine` gives for its name, and
    /// waits until all links are up.
    ///
    /// # Errors
    /// [`LocalError`]; nothing is left running.
    pub async fn start(
        config: LocalConfig,
        mut machine: impl FnMut(&str) -> S,
    ) -> Result<Self, LocalError> {
        let add =
            |name: &str, builder: Builder| builder.workload(Workload::unnamed(), machine(name));
        let nodes = LocalNodes::start(config, add).await?;
        let replicas = nodes.nodes().iter().map(single).collect();
        Ok(Self { nodes, replicas })
    }

    /// The replicas, by seat, and then those that joined. A killed one is still there, and refuses
    /// everything.
    pub fn replicas(&self) -> &[Replica<S>] {
        &self.replicas
    }

    /// The replica called `name`.
    pub fn replica(&self, name: &str) -> Option<&Replica<S>> {
        self.replicas.get(self.cluster().seat(name)?.index())
    }

    /// Members and addresses.
    pub fn cluster(&self) -> &Cluster {
        self.nodes.cluster()
    }

    /// The emulated links, if there are any.
    pub fn wan(&self) -> Option<&WanControl> {
        self.nodes.wan()
    }

    /// A certificate with which a client may connect.
    ///
    /// # Errors
    /// [`TransportError`] for a name that cannot be in a certificate.
    pub fn client_identity(&self, name: &str) -> Result<Identity, TransportError> {
        self.nodes.client_identity(name)
    }

    /// As [`LocalNodes::kill`].
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn kill(&mut self, seat: ReplicaId) {
        self.nodes.kill(seat);
    }

    /// As [`LocalNodes::restart`], with `machine` as the state before the first command.
    ///
    /// # Errors
    /// [`LocalError`]; the replica stays killed.
    ///
    /// # Panics
    /// If there is no such seat.
    pub async fn restart(&mut self, seat: ReplicaId, machine: S) -> Result<(), LocalError> {
        let add = |_: &str, builder: Builder| builder.workload(Workload::unnamed(), machine);
        let node = self.nodes.restart_with(seat, add).await?;
        self.replicas[seat.index()] = single(node);
        Ok(())
    }

    /// As [`LocalNodes::join`], with `machine` as a state before the first command.
    ///
    /// # Errors
    /// [`LocalError`]; then nothing new runs.
    pub async fn join(&mut self, site: &str, machine: S) -> Result<Newcomer, LocalError> {
        let add = |_: &str, builder: Builder| builder.workload(Workload::unnamed(), machine);
        let newcomer = self.nodes.join(site, add).await?;
        self.replicas.extend(self.nodes.nodes().last().map(single));
        Ok(newcomer)
    }

    /// Whether the replica was killed and not restarted.
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn is_killed(&self, seat: ReplicaId) -> bool {
        self.nodes.is_killed(seat)
    }

    /// As [`LocalNodes::cut`].
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn cut(&self, from: ReplicaId, to: ReplicaId) {
        self.nodes.cut(from, to);
    }

    /// As [`LocalNodes::heal`].
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn heal(&self, from: ReplicaId, to: ReplicaId) {
        self.nodes.heal(from, to);
    }

    /// As [`LocalNodes::slow`].
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn slow(&self, from: ReplicaId, to: ReplicaId, by: Duration) {
        self.nodes.slow(from, to, by);
    }

    /// As [`LocalNodes::unslow`].
    ///
    /// # Panics
    /// If there is no such seat.
    pub fn unslow(&self, from: ReplicaId, to: ReplicaId, by: Duration) {
        self.nodes.unslow(from, to, by);
    }

    /// As [`LocalNodes::shutdown`].
    pub async fn shutdown(self, patience: Duration) -> Vec<Stopped> {
        drop(self.replicas);
        self.nodes.shutdown(patience).await
    }
}

/// The only workload of a replica that was started with one.
fn single<S: StateMachine>(node: &Node) -> Replica<S> {
    Replica::of(node.host.clone(), 0).expect("the workload has the type it was started with")
}

/// The id of the cluster of a set.
pub(crate) fn cluster_id(set: &str) -> ClusterId {
    ClusterId(u128::from(xxhash_rust::xxh3::xxh3_64(set.as_bytes())) + 1)
}
