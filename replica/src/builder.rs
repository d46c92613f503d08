//! Starting a replica.

use std::io;
use std::net::UdpSocket;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam::channel::unbounded;
use panchayat_consensus::{EpochNumber, GroupId, NodeId, Protocol, ReplicaSet, Span};
use panchayat_core::detector::Detector;
use panchayat_core::frame::FrameHeader;
use panchayat_core::{SessionConfig, StateMachine};
use panchayat_epaxos::EPaxos;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use panchayat_storage::backend::Backend;
use panchayat_storage::{Durability, JournalConfig};
use panchayat_transport::identity::{Identity, Subject};
use panchayat_transport::wan::WanControl;
use panchayat_transport::{Listen, Mesh, MeshConfig, PeerConfig, RateLimit};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::cluster::Cluster;
use crate::door::Door;
use crate::driver::{Address, Clock, Driver, DurableMark, Outside};
use crate::error::{StartError, Stopped};
use crate::handler::Handler;
use crate::inbox::{Event, Inbox};
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::protocol::{Hosted, ProtocolChoice, Setting};
use crate::read;
use crate::records::Records;
use crate::replica::{Gate, Replica, Running};
use crate::snapshots::{
    CatchUp, Desk, Due, Fetcher, Places, SnapshotWriter, Started, Stream, start,
};

/// The only group there is so far.
pub(crate) const ADDRESS: Address = Address { group: GroupId(1), epoch: EpochNumber(1) };

/// Collects what a replica needs. Made by [`Replica::builder`].
#[derive(Debug)]
pub struct Builder {
    cluster: Cluster,
    name: String,
    identity: Identity,
    data_dir: PathBuf,
    protocol: ProtocolChoice,
    durability: Durability,
    backend: Option<Arc<dyn Backend>>,
    socket: Option<UdpSocket>,
    wan: Option<WanControl>,
    limits: Limits,
    sessions: SessionConfig,
    has_run_before: bool,
}

impl Builder {
    pub(crate) fn new(cluster: Cluster, name: &str, identity: Identity, data_dir: PathBuf) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            identity,
            data_dir,
            protocol: ProtocolChoice::EPaxos,
            durability: Durability::Fsync,
            backend: None,
            socket: None,
            wan: None,
            limits: Limits::default(),
            sessions: SessionConfig::default(),
            has_run_before: false,
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

    /// Which protocol orders the commands; EPaxos unless changed. It must be the same at all
    /// members, and the one that the data directory was written by.
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

    /// Starts the replica with `machine` as the state before the first command: reads its newest
    /// snapshot and its journal, opens its port, and takes part. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start<S: StateMachine>(self, machine: S) -> Result<Replica<S>, StartError> {
        match self.protocol.clone() {
            ProtocolChoice::EPaxos => self.start_as::<EPaxos, S>((), machine).await,
            ProtocolChoice::MultiPaxos(choice) => {
                self.start_as::<MultiPaxos, S>(choice, machine).await
            }
            ProtocolChoice::FastPaxos(choice) => {
                self.start_as::<FastPaxos, S>(choice, machine).await
            }
        }
    }

    async fn start_as<P: Hosted, S: StateMachine>(
        self,
        choice: P::Choice,
        machine: S,
    ) -> Result<Replica<S>, StartError> {
        let seat = self.cluster.seat(&self.name);
        let seat = seat.ok_or_else(|| self.cluster.unknown_member(&self.name))?;
        let node = self.cluster.members[seat.index()].node;
        self.check_identity()?;
        self.limits.check()?;
        self.sessions.check()?;

        let clock = Clock::new();
        let rtt_max = self.cluster.longest_round_trip();
        let setting = Setting { seat, cluster: &self.cluster, limits: self.limits };
        let config = P::config(&choice, &setting)?;
        let agreed = terms::<P>(&config, &self.cluster);
        let header = FrameHeader {
            group: ADDRESS.group,
            epoch: ADDRESS.epoch,
            terms: xxh3_64(agreed.as_bytes()) as u32,
        };
        let places = Places {
            journal: self.journal_config(node),
            snapshot_bytes_per_second: self.limits.snapshot_bytes_per_second,
            address: ADDRESS,
            terms: agreed,
            sessions: self.sessions,
            clock,
        };
        let opened = tokio::task::spawn_blocking(move || start::<P, S>(places, config, machine));
        let opened = opened.await.map_err(|panic| StartError::Thread(io::Error::other(panic)))?;
        let Started { group, journal, store } = opened?;
        let journal = Arc::new(journal);

        let (inbox, events) = Inbox::new(self.limits);
        let (asks, readers) = read::channel::<S>(&self.limits);
        let durable = Arc::new(DurableMark::default());
        let (mark, bell) = (durable.clone(), inbox.clone());
        let writer = journal.writer(
            ADDRESS.group,
            Box::new(move |word| {
                mark.set(word);
                bell.announce_durable();
            }),
        );
        let gate = Gate::default();
        let per_second = NonZeroU64::new(self.limits.state_bytes_per_second);
        let rate = RateLimit::new(per_second.unwrap_or(NonZeroU64::MIN));
        let states = Stream { inbox: inbox.clone(), address: ADDRESS, rate };
        let handler = Handler::<S> { inbox: inbox.clone(), gate: gate.clone(), states };
        let mesh = Mesh::start(self.mesh_config(seat.index()), Arc::new(handler))?;

        let members: Vec<_> = self.cluster.members.iter().map(|member| member.node).collect();
        let outbox = Outbox::new(mesh.clone(), members.clone(), header);
        let timeout = suspicion_timeout(rtt_max);

        let stop = Arc::<AtomicBool>::default();
        let (parts, to_write) = unbounded();
        let snapshots = SnapshotWriter {
            store: store.clone(),
            journal: journal.clone(),
            group: ADDRESS.group,
            epoch: ADDRESS.epoch,
            stop: stop.clone(),
        };
        let bell = inbox.clone();
        let report = move |report| _ = bell.tell(Event::Snapshot(report));
        let snapshots =
            snapshots.spawn(&self.name, to_write, report).map_err(StartError::Thread)?;
        let (sender, news) = unbounded();
        let users = Arc::new(());
        let fetcher = Fetcher {
            mesh: mesh.clone(),
            store: store.clone(),
            address: ADDRESS,
            sessions: self.sessions,
            inbox: inbox.clone(),
            news: sender,
            users: users.clone(),
            last: Arc::default(),
        };
        let runtime = tokio::runtime::Handle::current();
        let catch_up = CatchUp::new(fetcher, news, runtime, members.clone());
        let kept = (self.durability != Durability::Memory).then(|| journal.clone());
        let due = Due::new(kept, &self.limits);
        let driver = Driver {
            group,
            clock,
            header,
            strangers: ReplicaSet::EMPTY,
            detector: Detector::new(seat, members.len(), timeout, clock.now().monotonic),
            members,
            events,
            inbox: inbox.clone(),
            door: Door::new(Span(self.limits.proposal_wait_max.as_micros() as u64)),
            mesh: mesh.clone(),
            durable,
            outside: Outside::new(Records::new(writer, ADDRESS.epoch), outbox, readers),
            gate: gate.clone(),
            desk: Desk::new(parts, stop, due, catch_up),
        };
        let thread = spawn(driver, &self.name, &gate).map_err(StartError::Thread)?;
        Ok(Replica::new(Running {
            name: self.name,
            inbox,
            asks,
            gate,
            mesh,
            journal: Mutex::new(Some(journal)),
            store: Mutex::new(Some(store)),
            store_users: users,
            snapshots,
            thread,
        }))
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

    fn check_identity(&self) -> Result<(), StartError> {
        let member = self.cluster.members.iter().find(|member| member.name == self.name);
        let expected = member.map(|member| member.node);
        let found = self.identity.name();
        let right = matches!(&found.subject, Subject::Node(node) if Some(*node) == expected);
        if right && found.cluster == self.cluster.id {
            return Ok(());
        }
        Err(StartError::WrongIdentity {
            name: self.name.clone(),
            expected: format!("{:?} of cluster {}", expected, self.cluster.id),
            found: found.to_string(),
        })
    }

    fn mesh_config(&self, seat: usize) -> MeshConfig {
        let own = &self.cluster.members[seat];
        let listen = match self.socket.as_ref().map(UdpSocket::try_clone) {
            Some(Ok(socket)) => Listen::Socket(socket),
            _ => Listen::Addr(own.addr),
        };
        let runtime = tokio::runtime::Handle::current();
        let mut config = MeshConfig::new(runtime, self.identity.clone(), listen);
        let others = self.cluster.members.iter().enumerate().filter(|(at, _)| *at != seat);
        config.peers = others
            .map(|(at, member)| PeerConfig {
                node: member.node,
                addr: member.addr,
                rtt: Some(self.cluster.round_trips[seat][at]),
            })
            .collect();
        config.wan = self.wan.clone();
        for bytes_max in [&mut config.limits.frame_bytes_max, &mut config.limits.request_bytes_max]
        {
            *bytes_max = (*bytes_max).max(self.limits.frame_bytes_max());
        }
        config
    }
}

/// What all members must agree on, in words: the protocol, and who sits where.
fn terms<P: Hosted>(config: &P::Config, cluster: &Cluster) -> String {
    let nodes: Vec<_> = cluster.members.iter().map(|member| member.node.0.to_string()).collect();
    format!("{} among nodes {}", P::terms(config), nodes.join(", "))
}

/// Silence for this long is suspected: several heartbeats and round trips.
fn suspicion_timeout(rtt_max: Span) -> Span {
    Span::from_ms(1_000).max(Span(rtt_max.0 * 3 + 500_000))
}

fn spawn<P, S>(
    driver: Driver<P, S>,
    name: &str,
    gate: &Gate,
) -> std::io::Result<std::thread::JoinHandle<Result<(), Stopped>>>
where
    P: Protocol + Send + 'static,
    P::Message: Send,
    P::Record: Send,
    S: StateMachine,
{
    let gate = gate.clone();
    let name = name.to_owned();
    let mesh = driver.mesh.clone();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name(format!("replica-{name}")).spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| driver.run());
        let result = std::panic::catch_unwind(run).unwrap_or(Err(Stopped::Panicked));
        if let Err(stopped) = &result {
            tracing::error!(replica = name, %stopped, "the replica has stopped voting");
            // Its heartbeats must not make it look alive.
            runtime.spawn(async move { mesh.shutdown().await });
        }
        gate.close(result.clone().err());
        result
    })
}
