//! Starting a replica.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::{GroupId, NodeId, ReplicaId};
use panchayat_core::{SessionConfig, StateMachine};
use panchayat_storage::backend::Backend;
use panchayat_storage::{Durability, JournalConfig};
use panchayat_transport::identity::{Identity, Subject};
use panchayat_transport::wan::WanControl;
use panchayat_transport::{Listen, MeshConfig, PeerConfig, RateLimit};

use crate::cluster::{Cluster, Member};
use crate::driver::Clock;
use crate::error::StartError;
use crate::host::{self, Launch, Node, Plan, Site, launch};
use crate::limits::Limits;
use crate::membership::home_place;
use crate::protocol::ProtocolChoice;
use crate::replica::Replica;
use crate::workload::Workload;

/// Most workloads of one replica.
const WORKLOADS_MAX: usize = 64;

/// Collects what a replica needs. Made by [`Replica::builder`].
#[derive(Debug)]
pub struct Builder {
    planned: Vec<Planned>,
    cluster: Cluster,
    name: String,
    identity: Identity,
    data_dir: PathBuf,
    protocol: ProtocolChoice,
    durability: Durability,
    backend: Option<Arc<dyn Backend>>,
    socket: Option<UdpSocket>,
    wan: Option<WanControl>,
    datagrams: bool,
    limits: Limits,
    sessions: SessionConfig,
    has_run_before: bool,
    joins: Option<(NodeId, SocketAddr)>,
    via: Vec<Member>,
}

/// A workload that was described, and how to start it once everything else is known.
struct Planned {
    workload: Workload,
    launch: Described,
}

/// Checks a workload against its builder, and says how it is started.
type Described = Box<dyn FnOnce(&Builder, Workload) -> Result<Launch, StartError> + Send>;

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.workload.fmt(f)
    }
}

impl Builder {
    pub(crate) fn new(cluster: Cluster, name: &str, identity: Identity, data_dir: PathBuf) -> Self {
        Self {
            planned: Vec::new(),
            cluster,
            name: name.to_owned(),
            identity,
            data_dir,
            protocol: ProtocolChoice::EPaxos,
            durability: Durability::Fsync,
            backend: None,
            socket: None,
            wan: None,
            datagrams: false,
            limits: Limits::default(),
            sessions: SessionConfig::default(),
            has_run_before: false,
            joins: None,
            via: Vec::new(),
        }
    }

    /// Says that this replica has run before: without its journal it refuses to start. A replica
    /// that comes back without the promises it made can undo what others were told; with its disk
    /// lost it must join under a new node id.
    ///
    /// The data directory remembers it, too. This is for who knows better than an empty disk.
    pub fn has_run_before(mut self) -> Self {
        self.has_run_before = true;
        self
    }

    /// Says that this node was not among the members that the cluster began with, and joins it as `node`,
    /// reached at `addr`. The [`Cluster`] is still the one that all others were started with, and whom it
    /// asks for the state. It is a member from when a [`Change`](crate::Change) adds it, before or after it
    /// was started; until it has the state it neither votes nor serves.
    ///
    /// The same goes for every later start of that node, with the same data directory. A node that has lost
    /// that directory must not join again: replace it by one with a number of its own.
    pub fn joining(mut self, node: NodeId, addr: SocketAddr) -> Self {
        self.joins = Some((node, addr));
        self
    }

    /// Members to speak with besides those that this replica knows of: for one that joins when those that the
    /// cluster began with are gone or cannot be asked, and for one that was away while the others were
    /// replaced.
    pub fn via(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.via.extend(members);
        self
    }

    /// Which protocol orders the commands; EPaxos unless changed: the one that the cluster began with, at all
    /// members and at every start. Another one while it runs is a [`Change`](crate::Change).
    pub fn protocol(mut self, protocol: ProtocolChoice) -> Self {
        self.protocol = protocol;
        self
    }

    /// What "durable" means; [`Durability::Fsync`] unless changed. Anything less keeps the
    /// protocol's promises only while nothing fails.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The journal's file system; real files unless changed.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Uses a socket that is already bound, instead of binding the member's address.
    pub fn socket(mut self, socket: UdpSocket) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Emulates a WAN beneath QUIC.
    pub fn wan(mut self, wan: WanControl) -> Self {
        self.wan = Some(wan);
        self
    }

    /// Sends what fits a packet to other members as QUIC datagrams, which nobody sends again, and not in
    /// streams: a lost packet then holds up nothing that follows, and costs what was in it the
    /// protocol's own patience. Off unless asked for; members need not agree on it. See
    /// [`MeshConfig::datagrams`].
    pub fn datagrams(mut self, datagrams: bool) -> Self {
        self.datagrams = datagrams;
        self
    }

    /// What the replica may hold at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For how long requests are remembered, and how many. Retention and the longest output kept
    /// must be the same at all members, always.
    pub fn sessions(mut self, sessions: SessionConfig) -> Self {
        self.sessions = sessions;
        self
    }

    /// Adds a workload, with `machine` as its state before the first command. All workloads of a
    /// replica share its mesh and its journal; each has a group, a thread, a protocol and limits of
    /// its own. All members must have the same ones. Start them with
    /// [`start_workloads`](Self::start_workloads).
    pub fn workload<S: StateMachine>(mut self, workload: Workload, machine: S) -> Self {
        let launch = |builder: &Self, workload: Workload| {
            workload.check()?;
            let protocol = workload.protocol.clone().unwrap_or_else(|| builder.protocol.clone());
            let limits = builder.limits_of(&workload)?;
            let sessions = workload.sessions.unwrap_or(builder.sessions);
            sessions.check()?;
            Ok(launch(Plan { workload, protocol, limits, sessions, machine }))
        };
        self.planned.push(Planned { workload, launch: Box::new(launch) });
        self
    }

    /// Starts the replica with `machine` as the state before the first command: reads its newest
    /// snapshot and its journal, opens its port, and takes part. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start<S: StateMachine>(self, machine: S) -> Result<Replica<S>, StartError> {
        if let Some(Planned { workload, .. }) = self.planned.first() {
            let name = workload.name().to_owned();
            let why = "start it with `start_workloads`: `start` is for a single state";
            return Err(StartError::Workload { name, why });
        }
        let node = self.workload(Workload::unnamed(), machine).start_all().await?;
        Ok(Replica::of(node.host, 0).expect("the workload has the type that was just given"))
    }

    /// Starts the replica with the workloads that were [added](Self::workload).
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start_workloads(self) -> Result<Node, StartError> {
        if let Some(unnamed) = self.planned.iter().find(|planned| planned.workload.name() == "") {
            let name = unnamed.workload.name().to_owned();
            return Err(StartError::Workload { name, why: "a workload needs a name" });
        }
        self.start_all().await
    }

    pub(crate) async fn start_all(mut self) -> Result<Node, StartError> {
        let (place, own) = self.own()?;
        self.check_identity(&own)?;
        self.limits.check()?;
        let launches = self.launches()?;
        let per_second = NonZeroU64::new(self.limits.state_bytes_per_second);
        let journal = self.journal_config(own.node);
        let mesh = self.mesh_config(&own);
        let site = Site {
            journal,
            clock: Clock::new(),
            runtime: tokio::runtime::Handle::current(),
            state_rate: RateLimit::new(per_second.unwrap_or(NonZeroU64::MIN)),
            siblings: host::Siblings::default(),
            name: self.name,
            cluster: self.cluster,
            node: own.node,
            place,
            joins: self.joins.is_some(),
            via: self.via,
        };
        let started = tokio::task::spawn_blocking(move || host::start(&site, mesh, launches));
        let started = started.await;
        let host = started.map_err(|panic| StartError::Thread(std::io::Error::other(panic)))??;
        Ok(Node { host: Arc::new(host) })
    }

    /// How each workload is started; refuses those that cannot be told apart.
    fn launches(&mut self) -> Result<Vec<(GroupId, Launch)>, StartError> {
        let planned = std::mem::take(&mut self.planned);
        let several = planned.len() > 1;
        let mut launches: Vec<(GroupId, Launch)> = Vec::new();
        for Planned { workload, launch } in planned {
            let (name, group) = (workload.name().to_owned(), workload.group());
            if launches.iter().any(|(other, _)| *other == group) {
                let why = "another one has the same name, or by chance the same number: rename it";
                return Err(StartError::Workload { name, why });
            }
            if several && name.is_empty() {
                return Err(StartError::Workload { name, why: "one of several needs a name" });
            }
            launches.push((group, launch(self, workload)?));
        }
        if launches.is_empty() || launches.len() > WORKLOADS_MAX {
            let why = "a replica has at least one workload, and at most 64";
            return Err(StartError::Workload { name: String::new(), why });
        }
        Ok(launches)
    }

    /// The journal's files are shared, and frames are as long as the builder says.
    fn limits_of(&self, workload: &Workload) -> Result<Limits, StartError> {
        let Some(limits) = workload.limits else { return Ok(self.limits) };
        limits.check()?;
        if limits.command_bytes_max > self.limits.command_bytes_max {
            let name = workload.name().to_owned();
            let why = "its command_bytes_max is above the replica's";
            return Err(StartError::Workload { name, why });
        }
        Ok(Limits {
            journal_segment_bytes: self.limits.journal_segment_bytes,
            journal_bytes_max: self.limits.journal_bytes_max,
            ..limits
        })
    }

    fn journal_config(&self, node: NodeId) -> JournalConfig {
        let mut config = JournalConfig::new(&self.data_dir, self.cluster.id, node);
        config.durability = self.durability;
        config.must_exist = self.has_run_before;
        config.segment_bytes = self.limits.journal_segment_bytes;
        config.journal_bytes_max = self.limits.journal_bytes_max;
        config.queue_bytes_max = self.limits.queue_bytes_max();
        if let Some(backend) = self.backend.clone() {
            config.backend = backend;
        }
        config
    }

    /// This replica, and its place.
    fn own(&self) -> Result<(ReplicaId, Member), StartError> {
        if let Some((node, addr)) = self.joins {
            let name = self.name.clone();
            if self.cluster.seat_of(node).is_some() {
                return Err(StartError::NotNew { node });
            }
            return Ok((home_place(node), Member { name, node, addr }));
        }
        let seat = self.cluster.seat(&self.name);
        let seat = seat.ok_or_else(|| self.cluster.unknown_member(&self.name))?;
        Ok((seat, self.cluster.members[seat.index()].clone()))
    }

    fn check_identity(&self, own: &Member) -> Result<(), StartError> {
        let expected = own.node;
        let found = self.identity.name();
        let right = matches!(&found.subject, Subject::Node(node) if *node == expected);
        if right && found.cluster == self.cluster.id {
            return Ok(());
        }
        Err(StartError::WrongIdentity {
            name: self.name.clone(),
            expected: format!("{} of cluster {}", expected, self.cluster.id),
            found: found.to_string(),
        })
    }

    fn mesh_config(&self, own: &Member) -> MeshConfig {
        let listen = match self.socket.as_ref().map(UdpSocket::try_clone) {
            Some(Ok(socket)) => Listen::Socket(socket),
            _ => Listen::Addr(own.addr),
        };
        let runtime = tokio::runtime::Handle::current();
        let mut config = MeshConfig::new(runtime, self.identity.clone(), listen);
        let seat = self.cluster.seat_of(own.node);
        let rtt = |at: usize| {
            let row = self.cluster.round_trips.get(seat?.index())?;
            row.get(at).copied()
        };
        let known = self.cluster.members.iter().enumerate();
        let known = known.map(|(at, member)| PeerConfig {
            node: member.node,
            addr: member.addr,
            rtt: rtt(at),
        });
        let via = self.via.iter().map(|member| PeerConfig {
            node: member.node,
            addr: member.addr,
            rtt: None,
        });
        config.peers = Vec::new();
        for peer in known.chain(via).filter(|peer| peer.node != own.node) {
            config.peers.retain(|other| other.node != peer.node);
            config.peers.push(peer);
        }
        config.wan = self.wan.clone();
        config.datagrams = self.datagrams;
        for bytes_max in [&mut config.limits.frame_bytes_max, &mut config.limits.request_bytes_max]
        {
            *bytes_max = (*bytes_max).max(self.limits.frame_bytes_max());
        }
        config
    }
}
