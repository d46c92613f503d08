//! One workload, from its snapshot to its thread.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam::channel::unbounded;
use panchayat_consensus::{EpochNumber, ReplicaId, ReplicaSet, Span};
use panchayat_core::detector::Detector;
use panchayat_core::frame::FrameHeader;
use panchayat_core::{SessionConfig, StateMachine};
use panchayat_epochs::{Config, Epochs, Timing};
use panchayat_storage::Durability;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::start::{Lobby, Needs, NotStarted, Site};
use super::{Member, Order};
use crate::cluster::Cluster;
use crate::door::Door;
use crate::driver::{Address, Driver, DurableMark, Outside};
use crate::error::{StartError, Stopped};
use crate::handler::Handler;
use crate::inbox::{Event, Inbox};
use crate::limits::Limits;
use crate::membership::{Directory, Roster, founding};
use crate::outbox::Outbox;
use crate::protocol::configured::suspicion_after;
use crate::protocol::{Hosting, ProtocolChoice, terms};
use crate::read;
use crate::records::Records;
use crate::replica::{Gate, Port};
use crate::snapshots::{
    CatchUp, Desk, Due, Fetcher, Places, SnapshotWriter, Started, Stream, load,
};
use crate::workload::Workload;

/// A workload with everything that is decided about it before it starts.
pub(crate) struct Plan<S> {
    pub(crate) workload: Workload,
    pub(crate) protocol: ProtocolChoice,
    pub(crate) limits: Limits,
    pub(crate) sessions: SessionConfig,
    pub(crate) machine: S,
}

/// Starts a workload, whatever its types.
pub(crate) type Launch = Box<dyn FnOnce(&Site, Lobby) -> Result<Member, NotStarted> + Send>;

/// What frames and records of the driver say instead of an epoch: its messages and records each say
/// which one they are of.
const EPOCH: EpochNumber = EpochNumber(1);

/// How `plan` is started.
pub(crate) fn launch<S: StateMachine>(plan: Plan<S>) -> Launch {
    Box::new(|site, lobby| run(plan, site, lobby))
}

fn run<S: StateMachine>(plan: Plan<S>, site: &Site, lobby: Lobby) -> Result<Member, NotStarted> {
    let Site { cluster, clock, runtime, siblings, .. } = site;
    let Plan { workload, protocol, limits, sessions, machine } = plan;
    let config = config(&protocol, site, limits).map_err(NotStarted::own)?;
    let place = config.place;
    let terms = agreed(&protocol, cluster, &limits).map_err(NotStarted::own)?;
    let address = Address { group: workload.group(), epoch: EPOCH };
    let header = FrameHeader {
        group: address.group,
        epoch: address.epoch,
        terms: xxh3_64(terms.as_bytes()) as u32,
    };
    let places = Places {
        journal: site.journal.clone(),
        snapshot_bytes_per_second: limits.snapshot_bytes_per_second,
        address,
        terms,
        sessions,
        clock: *clock,
    };
    let loaded = load::<Epochs, S>(places, machine).map_err(NotStarted::own)?;
    let needs = Needs { position: loaded.position(), has_run: loaded.has_run() };
    lobby.needs.send(needs).map_err(|_| NotStarted::GivenUp)?;
    let (journal, records) = lobby.opened.recv().map_err(|_| NotStarted::GivenUp)?;
    let restored = loaded.restore(config, &journal, records.into_iter());
    let Started { group, store } = restored.map_err(NotStarted::own)?;

    let (inbox, events) = Inbox::new(limits);
    let (asks, readers) = read::channel::<S>(&limits);
    let durable = Arc::new(DurableMark::default());
    let (mark, bell) = (durable.clone(), inbox.clone());
    let on_durable = Box::new(move |word| {
        mark.set(word);
        bell.announce_durable();
    });
    let writer = journal.writer(address.group, on_durable);
    let gate = Gate::default();
    let rate = site.state_rate.clone();
    let states = Stream { inbox: inbox.clone(), address, rate };
    let handler = Handler::<S> { inbox: inbox.clone(), gate: gate.clone(), states };
    lobby.inlet.send(Arc::new(handler)).map_err(|_| NotStarted::GivenUp)?;
    let peers = lobby.peers.recv().map_err(|_| NotStarted::GivenUp)?;
    let mesh = peers.mesh().clone();

    let outbox = Outbox::new(mesh.clone(), header);
    let timeout = suspicion_after(cluster.longest_round_trip());
    let stop = Arc::<AtomicBool>::default();
    let (parts, to_write) = unbounded();
    let snapshots = SnapshotWriter {
        store: store.clone(),
        journal: journal.clone(),
        group: address.group,
        epoch: address.epoch,
        stop: stop.clone(),
    };
    let thread_name = thread_name(site, &workload);
    let bell = inbox.clone();
    let report = move |report| _ = bell.tell(Event::Snapshot(report));
    let refused = |error| NotStarted::own(StartError::Thread(error));
    let snapshots = snapshots.spawn(&thread_name, to_write, report).map_err(refused)?;
    let (sender, news) = unbounded();
    let users = Arc::new(());
    let joins = Arc::<AtomicBool>::default();
    let fetcher = Fetcher {
        mesh: mesh.clone(),
        store: store.clone(),
        address,
        sessions,
        inbox: inbox.clone(),
        news: sender,
        users: users.clone(),
        last: Arc::default(),
        joins: joins.clone(),
    };
    let catch_up = CatchUp::new(fetcher, news, runtime.clone());
    let kept = (site.journal.durability != Durability::Memory).then(|| journal.clone());
    let due = Due::new(kept, address.group, &limits);
    let roster = Roster::new(Mutex::new(Arc::new(cluster.clone())));
    let driver = Driver {
        group,
        clock: *clock,
        header,
        strangers: ReplicaSet::EMPTY,
        limits,
        roster: roster.clone(),
        joins,
        directory: Directory::new(cluster, site.node, &site.via),
        peers,
        detector: Detector::new(place, 0, timeout, clock.now().monotonic),
        events,
        inbox: inbox.clone(),
        door: Door::new(Span(limits.proposal_wait_max.as_micros() as u64)),
        mesh,
        durable,
        outside: Outside::new(Records::new(writer, address.epoch), outbox, readers),
        gate: gate.clone(),
        desk: Desk::new(parts, stop, due, catch_up),
    };
    let (bell, sibling) = (inbox.clone(), gate.clone());
    siblings.join(move |why| {
        sibling.close(Some(why.clone()));
        bell.tell(Event::Abandon);
    });
    let thread = spawn(driver, thread_name, site, &gate).map_err(refused)?;
    let orders = inbox.clone();
    let tell = move |order| {
        orders.tell(match order {
            Order::Shutdown => Event::Shutdown,
            Order::Abandon => Event::Abandon,
            Order::Measure(reply) => Event::Measure(reply),
        })
    };
    Ok(Member {
        workload: workload.name().to_owned(),
        gate: gate.clone(),
        tell: Box::new(tell),
        store: Mutex::new(Some(store)),
        store_users: users,
        snapshots,
        thread,
        port: Arc::new(Port::<S> { inbox, asks, gate, roster }),
    })
}

/// Through all epochs.
fn config(protocol: &ProtocolChoice, site: &Site, limits: Limits) -> Result<Config, StartError> {
    let Site { cluster, node, place, joins, .. } = site;
    let founding = match joins {
        true => None,
        false => Some(founding(cluster, protocol)?),
    };
    Ok(Config {
        place: *place,
        node: *node,
        founding,
        openings: Arc::new(Hosting { began: cluster.clone(), limits }),
        timing: Timing::for_rtt(cluster.longest_round_trip()),
    })
}

/// What all members must agree on, in words: what the group began with, and who sat where. Everything
/// later they agree on while they run.
fn agreed(
    protocol: &ProtocolChoice,
    cluster: &Cluster,
    limits: &Limits,
) -> Result<String, StartError> {
    let config = protocol.config(ReplicaId(0), cluster, limits)?;
    let nodes: Vec<_> = cluster.members.iter().map(|member| member.node.0.to_string()).collect();
    let adaptive = match protocol {
        ProtocolChoice::Adaptive(_) => "adaptive, at first ",
        _ => "",
    };
    Ok(format!("{adaptive}{} among nodes {}", terms(&config), nodes.join(", ")))
}

fn thread_name(site: &Site, workload: &Workload) -> String {
    match workload.name() {
        "" => site.name.clone(),
        name => format!("{}-{name}", site.name),
    }
}

fn spawn<S: StateMachine>(
    driver: Driver<S>,
    name: String,
    site: &Site,
    gate: &Gate,
) -> io::Result<std::thread::JoinHandle<Result<(), Stopped>>> {
    let (gate, siblings, runtime) = (gate.clone(), site.siblings.clone(), site.runtime.clone());
    let mesh = driver.mesh.clone();
    std::thread::Builder::new().name(format!("replica-{name}")).spawn(move || {
        be_punctual();
        let run = std::panic::AssertUnwindSafe(|| driver.run());
        let result = std::panic::catch_unwind(run).unwrap_or(Err(Stopped::Panicked));
        if let Err(stopped) = &result {
            tracing::error!(replica = name, %stopped, "the replica has stopped voting");
            // Its heartbeats must not make it look alive, nor the other workloads without it.
            runtime.spawn(async move { mesh.shutdown().await });
            siblings.stop(stopped);
        }
        gate.close(result.clone().err());
        result
    })
}

/// A vote may be due at a moment (Fast Paxos): the kernel's default slack adds 50 µs to each.
fn be_punctual() {
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "no fine timers for the replica's thread");
    }
}
