//! A whole cluster in one process, on loopback, with emulated distances.
//!
//! Real endpoints, certificates, journals and threads; only the distance is emulated, below QUIC.
//! For trying things out, for experiments, and for tests.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use panchayat_consensus::ClusterId;
use panchayat_core::{SessionConfig, StateMachine};
use panchayat_storage::Durability;
use panchayat_storage::backend::Backend;
use panchayat_topology::{NotFound, Topology};
use panchayat_transport::TransportError;
use panchayat_transport::identity::{Authority, Identity};
use panchayat_transport::wan::WanControl;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::error::{StartError, Stopped};
use crate::limits::Limits;
use crate::local_faults::Killed;
use crate::local_links::{LocalLinks, outages};
use crate::protocol::ProtocolChoice;
use crate::replica::Replica;

/// How often a draining cluster looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// In the data directory of a cluster whose replicas have all been started.
const STARTED: &str = "started";
/// How long each replica may take to stop, even if patience is over.
const SHUTDOWN_PATIENCE_MIN: Duration = Duration::from_secs(2);

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

/// A running cluster.
#[derive(Debug)]
pub struct LocalCluster<S: StateMachine> {
    pub(crate) config: LocalConfig,
    pub(crate) cluster: Cluster,
    authority: Authority,
    identities: Vec<Identity>,
    pub(crate) replicas: Vec<Replica<S>>,
    pub(crate) killed: Vec<Killed>,
    pub(crate) links: Option<LocalLinks>,
    outages: Vec<JoinHandle<()>>,
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
        let matrix = config.topology.matrix(&config.set)?;
        let links = match &config.profile {
            Some(profile) => Some(config.topology.links(&config.set, profile)?),
            None => None,
        };
        let (authority, id) = load_authority(&config)?;
        let mut sockets = Vec::new();
        for seat in 0..matrix.len() as u16 {
            let port = if config.base_port == 0 { 0 } else { config.base_port + seat };
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            sockets
                .push(UdpSocket::bind(addr).map_err(|source| LocalError::Bind { addr, source })?);
        }
        let addrs: Result<Vec<_>, _> = sockets.iter().map(UdpSocket::local_addr).collect();
        let addrs = addrs.map_err(|source| LocalError::Bind {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            source,
        })?;
        let cluster = Cluster::of_sites(id, &matrix, &addrs);
        let emulated = links.as_ref().map(|links| LocalLinks::new(links, &cluster, config.seed));
        let identities: Result<Vec<_>, _> =
            cluster.members.iter().map(|member| authority.issue_node(id, member.node)).collect();
        let mut starting = Self {
            killed: cluster.members.iter().map(|_| Killed::default()).collect(),
            config,
            cluster,
            authority,
            identities: identities?,
            replicas: Vec::new(),
            links: emulated,
            outages: Vec::new(),
        };
        let again = starting.has_run_before();
        for (seat, socket) in sockets.into_iter().enumerate() {
            let name = starting.cluster.members[seat].name.clone();
            match starting.start_one(seat, socket, machine(&name), again).await {
                Ok(replica) => starting.replicas.push(replica),
                Err(error) => {
                    // Nothing is left running, and no file locked.
                    starting.shutdown(Duration::ZERO).await;
                    return Err(error);
                }
            }
        }
        starting.note_that_it_runs()?;
        let mut cluster = starting;
        if let (Some(links), Some(emulated)) = (&links, &cluster.links) {
            cluster.outages = outages(links, &cluster.cluster, emulated, cluster.config.seed);
        }
        cluster.wait_for_links().await;
        Ok(cluster)
    }

    /// Starts the replica of one seat, `again` if it has run before.
    pub(crate) async fn start_one(
        &self,
        seat: usize,
        socket: UdpSocket,
        machine: S,
        again: bool,
    ) -> Result<Replica<S>, LocalError> {
        let name = &self.cluster.members[seat].name;
        let dir = self.config.data_dir.join(name);
        let identity = self.identities[seat].clone();
        let mut builder = Replica::<S>::builder(self.cluster.clone(), name, identity, dir)
            .protocol(self.config.protocol.clone())
            .durability(self.config.durability)
            .limits(self.config.limits)
            .sessions(self.config.sessions)
            .socket(socket);
        if let Some(backend) = &self.config.backend {
            builder = builder.backend(backend.clone());
        }
        if let Some(links) = &self.links {
            builder = builder.wan(links.wan().clone());
        }
        if again {
            builder = builder.has_run_before();
        }
        let failed = |source| LocalError::Start { name: name.clone(), source: Box::new(source) };
        builder.start(machine).await.map_err(failed)
    }

    /// Whether all replicas have been started here before. Each directory knows that of its own
    /// replica, but not if it is gone as a whole.
    fn has_run_before(&self) -> bool {
        self.keeps_notes() && self.config.data_dir.join(STARTED).exists()
    }

    fn note_that_it_runs(&self) -> Result<(), LocalError> {
        let path = self.config.data_dir.join(STARTED);
        if !self.keeps_notes() || path.exists() {
            return Ok(());
        }
        let noted = std::fs::File::create(&path).and_then(|file| {
            file.sync_all()?;
            std::fs::File::open(&self.config.data_dir)?.sync_all()
        });
        noted.map_err(|source| LocalError::Directory { path, source })
    }

    /// Whether there are files that outlive this process.
    fn keeps_notes(&self) -> bool {
        self.config.durability != Durability::Memory && self.config.backend.is_none()
    }

    /// The replicas, by seat. A killed one is still there, and refuses everything.
    pub fn replicas(&self) -> &[Replica<S>] {
        &self.replicas
    }

    /// The replica called `name`.
    pub fn replica(&self, name: &str) -> Option<&Replica<S>> {
        self.replicas.get(self.cluster.seat(name)?.index())
    }

    /// Members and addresses.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The emulated links, if there are any.
    pub fn wan(&self) -> Option<&WanControl> {
        self.links.as_ref().map(LocalLinks::wan)
    }

    /// A certificate with which a client may connect.
    ///
    /// # Errors
    /// [`TransportError`] for a name that cannot be in a certificate.
    pub fn client_identity(&self, name: &str) -> Result<Identity, TransportError> {
        self.authority.issue_client(self.cluster.id, name)
    }

    /// Stops the cluster in order: no replica takes proposals any more, what is in flight is
    /// finished by all of them together, then each stops. What is not finished within `patience`
    /// is left unfinished. Returns why replicas had stopped by themselves before.
    pub async fn shutdown(mut self, patience: Duration) -> Vec<Stopped> {
        let deadline = tokio::time::Instant::now() + patience;
        self.replicas.iter().for_each(Replica::close);
        let _ = tokio::time::timeout_at(deadline, self.drain()).await;
        for outage in self.outages.drain(..) {
            outage.abort();
        }
        // Nothing is left to finish, or it cannot be finished; but a mesh says goodbye.
        let patience = SHUTDOWN_PATIENCE_MIN
            .max(deadline.saturating_duration_since(tokio::time::Instant::now()));
        let stopping: Vec<_> = self
            .replicas
            .drain(..)
            .map(|replica| tokio::spawn(tokio::time::timeout(patience, replica.shutdown())))
            .collect();
        for ending in self.killed.iter_mut().filter_map(|killed| killed.ending.take()) {
            let _ = ending.await;
        }
        let mut stopped = Vec::new();
        for stop in stopping {
            if let Ok(Ok(Err(why))) = stop.await {
                stopped.push(why);
            }
        }
        stopped
    }

    /// Waits until no replica has a proposal without a result.
    async fn drain(&self) {
        for replica in &self.replicas {
            // A replica that has stopped has none.
            while replica.metrics().await.is_some_and(|metrics| metrics.core.in_flight > 0) {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        }
    }

    async fn wait_for_links(&self) {
        let up = |replica: &Replica<S>| {
            let mut peers = self.cluster.members.iter().filter(|m| m.name != replica.name());
            peers.all(|member| replica.mesh().is_up(member.node))
        };
        // A cut link must not keep a cluster from starting.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !self.replicas.iter().all(up) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The id of the cluster of a set.
pub(crate) fn cluster_id(set: &str) -> ClusterId {
    ClusterId(u128::from(xxhash_rust::xxh3::xxh3_64(set.as_bytes())) + 1)
}

/// The authority of the data directory: the one kept there, or a new one.
fn load_authority(config: &LocalConfig) -> Result<(Authority, ClusterId), LocalError> {
    let dir = config.data_dir.join("authority");
    let id = cluster_id(&config.set);
    if config.durability != Durability::Memory && dir.is_dir() {
        return Ok((Authority::load(&dir)?, id));
    }
    let authority = Authority::create()?;
    if config.durability != Durability::Memory {
        // Beside, then renamed: half an authority would lock everyone out.
        let beside = config.data_dir.join("authority.new");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LocalError::Directory { path, source }
        };
        std::fs::create_dir_all(&beside).map_err(failed(&beside))?;
        authority.save(&beside)?;
        std::fs::rename(&beside, &dir).map_err(failed(&dir))?;
    }
    Ok((authority, id))
}
