//! The replicas of a local cluster, each with its workloads: see [`LocalCluster`](crate::LocalCluster).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use panchayat_consensus::{ClusterId, NodeId};
use panchayat_storage::Durability;
use panchayat_transport::TransportError;
use panchayat_transport::identity::{Authority, Identity};
use panchayat_transport::wan::WanControl;
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::cluster::{Cluster, Member};
use crate::error::Stopped;
use crate::host::Node;
use crate::local::{LocalConfig, LocalError, cluster_id};
use crate::local_faults::Killed;
use crate::local_links::{LocalLinks, outages};
use crate::membership::Newcomer;

/// How often a draining cluster looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// In the data directory of a cluster whose replicas have all been started.
const STARTED: &str = "started";
/// How long each replica may take to stop, even if patience is over.
const SHUTDOWN_PATIENCE_MIN: Duration = Duration::from_secs(2);

/// A running cluster in this process, whose replicas have named workloads.
#[derive(Debug)]
pub struct LocalNodes {
    pub(crate) config: LocalConfig,
    pub(crate) cluster: Cluster,
    /// Who joined later.
    joined: Vec<Member>,
    authority: Authority,
    identities: Vec<Identity>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) killed: Vec<Killed>,
    pub(crate) links: Option<LocalLinks>,
    outages: Vec<JoinHandle<()>>,
}

impl LocalNodes {
    /// Starts every replica of the set, each with the workloads that `add` gives to the builder of
    /// the one called so, and waits until all links are up.
    ///
    /// ```
    /// use panchayat::kv::KvStore;
    /// use panchayat::{Builder, LocalConfig, LocalNodes, ProtocolChoice, Topology, Workload};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    /// let workloads = |_city: &str, builder: Builder| {
    ///     let orders = ProtocolChoice::MultiPaxos(Default::default());
    ///     builder
    ///         .workload(Workload::new("payments"), KvStore::default())
    ///         .workload(Workload::new("orderbook").protocol(orders), KvStore::default())
    /// };
    /// let cluster = LocalNodes::start(config, workloads).await.unwrap();
    /// let payments = cluster.nodes()[0].workload::<KvStore>("payments").unwrap();
    /// # drop(payments);
    /// # cluster.shutdown(std::time::Duration::from_secs(5)).await;
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`LocalError`]; nothing is left running.
    pub async fn start(
        config: LocalConfig,
        mut add: impl FnMut(&str, Builder) -> Builder,
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
            joined: Vec::new(),
            authority,
            identities: identities?,
            nodes: Vec::new(),
            links: emulated,
            outages: Vec::new(),
        };
        let again = starting.has_run_before();
        for (seat, socket) in sockets.into_iter().enumerate() {
            let name = starting.cluster.members[seat].name.clone();
            match starting.start_one(seat, socket, again, |builder| add(&name, builder)).await {
                Ok(node) => starting.nodes.push(node),
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
        again: bool,
        add: impl FnOnce(Builder) -> Builder,
    ) -> Result<Node, LocalError> {
        let Member { name, node, addr } = self.member(seat);
        let joins = seat >= self.cluster.members.len();
        let dir = match joins {
            false => self.config.data_dir.join(name),
            true => self.config.data_dir.join(format!("{name}-{node}")),
        };
        let identity = self.identities[seat].clone();
        let mut builder = Builder::new(self.cluster.clone(), name, identity, dir)
            .protocol(self.config.protocol.clone())
            .durability(self.config.durability)
            .limits(self.config.limits)
            .datagrams(self.config.datagrams)
            .sessions(self.config.sessions)
            .socket(socket);
        if joins {
            builder = builder.joining(*node, *addr).via(self.joined.iter().cloned());
        }
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
        add(builder).start_all().await.map_err(failed)
    }

    /// Starts a replica at `site` of the topology that joins the cluster, with the workloads that `add`
    /// gives to its builder. It is the last of [`nodes`](Self::nodes), and takes part when a
    /// [`Change`](crate::Change) has added the newcomer that this returns.
    ///
    /// # Errors
    /// [`LocalError`]; then nothing new runs.
    pub async fn join(
        &mut self,
        site: &str,
        add: impl FnOnce(&str, Builder) -> Builder,
    ) -> Result<Newcomer, LocalError> {
        let highest = self.members().map(|member| member.node).max().unwrap_or(NodeId(0));
        let node = NodeId(highest.0 + 1);
        // Whoever has the same name is about to be replaced.
        let others: Vec<Member> = self.members().filter(|m| m.name != site).cloned().collect();
        let sites: Vec<String> =
            others.iter().map(|member| member.name.clone()).chain([site.to_owned()]).collect();
        let nodes: Vec<NodeId> = others.iter().map(|member| member.node).chain([node]).collect();
        let matrix = self.config.topology.matrix_of(&sites)?;
        let identity = self.authority.issue_node(self.cluster.id, node)?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let failed = |source| LocalError::Bind { addr: any, source };
        let socket = UdpSocket::bind(any).map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        if let (Some(emulated), Some(profile)) = (&self.links, &self.config.profile) {
            let links = self.config.topology.links_of(&sites, profile)?;
            emulated.add(&links, &nodes, node);
        }
        self.joined.push(Member { name: site.to_owned(), node, addr });
        self.identities.push(identity);
        let at = self.nodes.len();
        match self.start_one(at, socket, false, |builder| add(site, builder)).await {
            Ok(started) => self.nodes.push(started),
            Err(error) => {
                self.joined.pop();
                self.identities.pop();
                return Err(error);
            }
        }
        self.killed.push(Killed::default());
        let newcomer = Newcomer::new(site, node, addr);
        Ok(others.iter().enumerate().fold(newcomer, |newcomer, (seat, other)| {
            let far = Duration::from_micros(matrix.rtt_us(seat, others.len()));
            newcomer.round_trip(other.node, far)
        }))
    }

    /// The one at a place of [`nodes`](Self::nodes).
    pub(crate) fn member(&self, at: usize) -> &Member {
        self.members().nth(at).expect("there is such a replica")
    }

    /// Everybody who was ever started.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.cluster.members.iter().chain(&self.joined)
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

    /// The replicas, by seat, and then those that joined. A killed one is still there, and refuses
    /// everything.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The replica called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(self.cluster.seat(name)?.index())
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
        self.nodes.iter().for_each(|node| node.host.close());
        let _ = tokio::time::timeout_at(deadline, self.drain()).await;
        for outage in self.outages.drain(..) {
            outage.abort();
        }
        // Nothing is left to finish, or it cannot be finished; but a mesh says goodbye.
        let patience = SHUTDOWN_PATIENCE_MIN
            .max(deadline.saturating_duration_since(tokio::time::Instant::now()));
        let stopping: Vec<_> = self
            .nodes
            .drain(..)
            .map(|node| tokio::spawn(tokio::time::timeout(patience, node.shutdown())))
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
        for node in &self.nodes {
            // A replica that has stopped has none.
            while node.host.in_flight().await.is_some_and(|in_flight| in_flight > 0) {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        }
    }

    async fn wait_for_links(&self) {
        let up = |node: &Node| {
            let mut peers = self.cluster.members.iter().filter(|m| m.name != node.name());
            peers.all(|member| node.mesh().is_up(member.node))
        };
        // A cut link must not keep a cluster from starting.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !self.nodes.iter().all(up) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
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
