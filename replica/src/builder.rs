//! Starting a replica.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::wire::{Decode, from_bytes};
use panchayat_consensus::{EpochNumber, GroupId, Protocol, Quorums, Span};
use panchayat_core::detector::Detector;
use panchayat_core::journal::Entry;
use panchayat_core::{Base, Group, SessionConfig, StateMachine};
use panchayat_epaxos::{Config, EPaxos, Record};
use panchayat_storage::backend::Backend;
use panchayat_storage::{Durability, Journal, JournalConfig, Replay};
use panchayat_transport::identity::{Identity, Subject};
use panchayat_transport::wan::WanControl;
use panchayat_transport::{Listen, Mesh, MeshConfig, PeerConfig};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::driver::{Address, Clock, Driver, DurableMark, Outside};
use crate::error::{StartError, Stopped};
use crate::handler::Handler;
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::records::Records;
use crate::replica::{Gate, Replica, Running};

/// The only group there is so far.
const ADDRESS: Address = Address { group: GroupId(1), epoch: EpochNumber(1) };

/// Half of what one frame and one append may take by default.
const COMMAND_BYTES_CEILING: usize = 4 << 20;

/// What a replica may hold at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most proposals of this replica without a result; above, they are `Overloaded`.
    pub proposals_max: usize,
    /// Most bytes of received frames that wait for the replica's thread; above, peers wait.
    pub inbox_bytes_max: u32,
    /// Most bytes of commands without a result; above, proposals are `Overloaded`.
    pub proposal_bytes_max: u32,
    /// Longest encoding of a command, in bytes.
    pub command_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            proposals_max: 1 << 14,
            inbox_bytes_max: 64 << 20,
            proposal_bytes_max: 64 << 20,
            command_bytes_max: 1 << 20,
        }
    }
}

/// Collects what a replica needs. Made by [`Replica::builder`].
#[derive(Debug)]
pub struct Builder {
    cluster: Cluster,
    name: String,
    identity: Identity,
    data_dir: PathBuf,
    durability: Durability,
    backend: Option<Arc<dyn Backend>>,
    socket: Option<UdpSocket>,
    wan: Option<WanControl>,
    limits: Limits,
    has_run_before: bool,
}

impl Builder {
    pub(crate) fn new(cluster: Cluster, name: &str, identity: Identity, data_dir: PathBuf) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            identity,
            data_dir,
            durability: Durability::Fsync,
            backend: None,
            socket: None,
            wan: None,
            limits: Limits::default(),
            has_run_before: false,
        }
    }

    /// Says that this replica has run before: without its journal it refuses to start. Set it on
    /// every start but the first. A replica that comes back without the promises it made can undo
    /// what others were told; with its disk lost it must join under a new node id.
    pub fn has_run_before(mut self) -> Self {
        self.has_run_before = true;
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

    /// Starts the replica with `machine` as the state before the first command: reads its
    /// journal, opens its port, and takes part. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start<S: StateMachine>(self, machine: S) -> Result<Replica<S>, StartError> {
        let seat = self.cluster.seat(&self.name).ok_or_else(|| StartError::UnknownMember {
            name: self.name.clone(),
            known: names(&self.cluster),
        })?;
        let quorums = Quorums::for_replicas(self.cluster.members.len())?;
        let node = self.cluster.members[seat.index()].node;
        self.check_identity()?;
        self.check_limits()?;

        let mut journal_config = JournalConfig::new(&self.data_dir, self.cluster.id, node);
        journal_config.durability = self.durability;
        journal_config.must_exist = self.has_run_before;
        if let Some(backend) = self.backend.clone() {
            journal_config.backend = backend;
        }
        let opened = tokio::task::spawn_blocking(move || {
            let (journal, replay) = Journal::open(journal_config)?;
            let records = read_records::<Entry<Record>>(replay, ADDRESS)?;
            Ok::<_, StartError>((journal, records))
        });
        let (journal, records) =
            opened.await.map_err(|panic| StartError::Thread(std::io::Error::other(panic)))??;

        let (inbox, events) = Inbox::new(self.limits);
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
        let handler = Handler::<S> { inbox: inbox.clone(), gate: gate.clone() };
        let mesh = Mesh::start(self.mesh_config(seat.index()), Arc::new(handler))?;

        let clock = Clock::new();
        let rtt_max = self.cluster.longest_round_trip();
        let config = Config::new(seat, quorums, rtt_max);
        let members: Vec<_> = self.cluster.members.iter().map(|member| member.node).collect();
        let outbox = Outbox::new(mesh.clone(), members.clone(), ADDRESS.group, ADDRESS.epoch);
        let now = clock.now();
        let timeout = suspicion_timeout(rtt_max);
        let base = Base::birth(machine, SessionConfig::default());
        let driver = Driver {
            group: Group::<EPaxos, S>::restore(config, base, records, now)?,
            clock,
            address: ADDRESS,
            detector: Detector::new(seat, members.len(), timeout, now.monotonic),
            members,
            events,
            inbox: inbox.clone(),
            mesh: mesh.clone(),
            durable,
            outside: Outside::new(Records::new(writer, ADDRESS.epoch), outbox),
            gate: gate.clone(),
        };
        let thread = spawn(driver, &self.name, &gate).map_err(StartError::Thread)?;
        Ok(Replica::new(Running {
            name: self.name,
            inbox,
            gate,
            mesh,
            journal: Mutex::new(Some(journal)),
            thread,
        }))
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

    /// A command travels in frames and rests in records; it must fit into either.
    fn check_limits(&self) -> Result<(), StartError> {
        let limits = &self.limits;
        let room = COMMAND_BYTES_CEILING;
        if limits.command_bytes_max > room {
            return Err(StartError::Limits("command_bytes_max is above 4 MiB"));
        }
        if limits.proposals_max == 0
            || limits.proposal_bytes_max == 0
            || limits.inbox_bytes_max == 0
        {
            return Err(StartError::Limits("a limit of 0 lets nothing through"));
        }
        Ok(())
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
        config
    }
}

/// Silence for this long is suspected: several heartbeats and round trips.
fn suspicion_timeout(rtt_max: Span) -> Span {
    Span::from_ms(1_000).max(Span(rtt_max.0 * 3 + 500_000))
}

fn names(cluster: &Cluster) -> String {
    let names: Vec<_> = cluster.members.iter().map(|member| member.name.as_str()).collect();
    names.join(", ")
}

fn read_records<R: Decode>(replay: Replay, address: Address) -> Result<Vec<R>, StartError> {
    if let Some(first) = replay.first_segment().filter(|first| *first > 1) {
        return Err(StartError::MissingRecords { first });
    }
    let mut records = Vec::new();
    for (index, record) in replay.enumerate() {
        let record = record?;
        if (record.group, record.epoch) == (address.group, address.epoch) {
            let decoded = from_bytes(record.payload);
            records.push(decoded.map_err(|source| StartError::Record { index, source })?);
        }
    }
    Ok(records)
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
