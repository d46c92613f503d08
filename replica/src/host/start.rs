//! Brings the workloads of a replica up together.
//!
//! Each has a thread while it starts, since each has types of its own; this one holds what they
//! share, and hands it over at the *lobby*: every workload reads its snapshot and says from where on
//! it needs the journal; the journal is opened and read once, each record going to the workload it
//! is of; then the mesh opens, and the workloads' own threads begin. If one fails, all are given up.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam::channel::{Receiver, Sender, bounded};
use panchayat_consensus::{GroupId, NodeId, ReplicaId};
use panchayat_core::journal::Record;
use panchayat_storage::{Journal, JournalConfig, JournalPosition, Replay};
use panchayat_transport::{Mesh, MeshConfig, RateLimit};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::mux::{Inlet, Mux};
use super::{Host, Launch, Member};
use crate::cluster::{self, Cluster};
use crate::driver::Clock;
use crate::error::{StartError, Stopped};
use crate::membership::Peers;

/// Records of the journal that wait for a workload at a start.
const RECORDS_MAX: usize = 1_024;

/// What every workload may know of the replica it is of.
pub(crate) struct Site {
    pub(crate) name: String,
    /// Who the group began with.
    pub(crate) cluster: Cluster,
    pub(crate) node: NodeId,
    pub(crate) place: ReplicaId,
    /// Whether it was not there then.
    pub(crate) joins: bool,
    /// Members it may ask besides, if it joins.
    pub(crate) via: Vec<cluster::Member>,
    pub(crate) journal: JournalConfig,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    /// Of all states that peers take over.
    pub(crate) state_rate: RateLimit,
    pub(crate) siblings: Siblings,
}

/// Stops all workloads when one has stopped by itself.
#[derive(Clone, Default)]
pub(crate) struct Siblings(Arc<Mutex<Vec<StopOne>>>);

/// Stops one workload because another one has stopped.
type StopOne = Box<dyn Fn(&Stopped) + Send>;

impl Siblings {
    pub(crate) fn join(&self, stop: impl Fn(&Stopped) + Send + 'static) {
        self.0.lock().push(Box::new(stop));
    }

    pub(crate) fn stop(&self, why: &Stopped) {
        self.0.lock().iter().for_each(|stop| stop(why));
    }
}

/// What a workload says first.
pub(crate) struct Needs {
    pub(crate) position: JournalPosition,
    /// Whether there must be a journal.
    pub(crate) has_run: bool,
}

/// What it is given then: the journal, and its records, each with its number.
pub(crate) type Opened = (Arc<Journal>, Receiver<(usize, Record)>);

/// Where a workload that starts meets the others. When a channel is closed, one of them has failed.
pub(crate) struct Lobby {
    pub(crate) needs: Sender<Needs>,
    pub(crate) opened: Receiver<Opened>,
    pub(crate) inlet: Sender<Arc<dyn Inlet>>,
    pub(crate) peers: Receiver<Arc<Peers>>,
}

/// The other side of a lobby.
struct Desk {
    group: GroupId,
    needs: Receiver<Needs>,
    opened: Sender<Opened>,
    inlet: Receiver<Arc<dyn Inlet>>,
    peers: Sender<Arc<Peers>>,
}

/// Why a workload, or what it shares with others, did not start.
pub(crate) enum NotStarted {
    /// For this reason.
    Own(Box<StartError>),
    /// Because another one did not, which says why.
    GivenUp,
}

impl NotStarted {
    pub(crate) fn own(error: impl Into<StartError>) -> Self {
        Self::Own(Box::new(error.into()))
    }
}

/// Starts all workloads. Takes long; it must not run on the runtime.
pub(crate) fn start(
    site: &Site,
    mesh: MeshConfig,
    launches: Vec<(GroupId, Launch)>,
) -> Result<Host, StartError> {
    let frames_lost = Arc::<AtomicU64>::default();
    std::thread::scope(|scope| {
        let mut desks = Vec::new();
        let mut starting = Vec::new();
        for (group, launch) in launches {
            let (desk, lobby) = meet(group);
            desks.push(desk);
            let run = move || {
                let run = AssertUnwindSafe(|| launch(site, lobby));
                let panicked = || io::Error::other("a workload's start panicked");
                std::panic::catch_unwind(run)
                    .unwrap_or_else(|_| Err(NotStarted::own(StartError::Thread(panicked()))))
            };
            let name = format!("start-{}", site.name);
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, run);
            starting.push(thread.map_err(StartError::Thread)?);
        }
        let shared = bring_up(site, mesh, desks, &frames_lost);
        let mut members: Vec<Member> = Vec::new();
        let mut failed = None;
        for thread in starting {
            match thread.join() {
                Ok(Ok(member)) => members.push(member),
                Ok(Err(NotStarted::Own(error))) => _ = failed.get_or_insert(error),
                Ok(Err(NotStarted::GivenUp)) | Err(_) => {}
            }
        }
        let (journal, mesh) = match (shared, failed) {
            // What workloads say of a journal that could not be read whole is of no interest.
            (Err(NotStarted::Own(error)), _) | (_, Some(error)) => return Err(*error),
            (Err(NotStarted::GivenUp), None) => {
                return Err(StartError::Thread(io::Error::other("a workload did not start")));
            }
            (Ok(shared), None) => shared,
        };
        let journal = Mutex::new(Some(journal));
        Ok(Host { name: site.name.clone(), mesh, journal, members, frames_lost })
    })
}

fn meet(group: GroupId) -> (Desk, Lobby) {
    let (needs, all_needs) = bounded(1);
    let (to_opened, opened) = bounded(1);
    let (inlet, inlets) = bounded(1);
    let (to_peers, peers) = bounded(1);
    let desk = Desk { group, needs: all_needs, opened: to_opened, inlet: inlets, peers: to_peers };
    (desk, Lobby { needs, opened, inlet, peers })
}

/// Opens journal and mesh in step with the workloads. If it returns early, the desks are closed,
/// and every workload gives up.
fn bring_up(
    site: &Site,
    mesh: MeshConfig,
    desks: Vec<Desk>,
    frames_lost: &Arc<AtomicU64>,
) -> Result<(Arc<Journal>, Mesh), NotStarted> {
    let mut config = site.journal.clone();
    let mut positions = Vec::new();
    for desk in &desks {
        let needs = desk.needs.recv().map_err(|_| NotStarted::GivenUp)?;
        config.must_exist |= needs.has_run;
        positions.push((desk.group, needs.position));
    }
    let (journal, replay) = Journal::open(config).map_err(NotStarted::own)?;
    let replay = replay.after(positions).map_err(NotStarted::own)?;
    let journal = Arc::new(journal);
    hand_out(&journal, replay, &desks).map_err(NotStarted::own)?;
    let mut inlets = Vec::new();
    for desk in &desks {
        inlets.push((desk.group, desk.inlet.recv().map_err(|_| NotStarted::GivenUp)?));
    }
    let mux = Mux::new(inlets, frames_lost.clone());
    let present = mesh.peers.iter().map(|peer| (peer.node, peer.addr)).collect();
    let mesh = Mesh::start(mesh, Arc::new(mux)).map_err(NotStarted::own)?;
    let peers = Arc::new(Peers::new(mesh.clone(), present, desks.len()));
    for desk in desks {
        // A workload that has gone has said why.
        let _ = desk.peers.send(peers.clone());
    }
    Ok((journal, mesh))
}

/// Gives every record to the workload it is of.
fn hand_out(journal: &Arc<Journal>, replay: Replay, desks: &[Desk]) -> Result<(), StartError> {
    let mut records = BTreeMap::new();
    for desk in desks {
        let (sender, receiver) = bounded(RECORDS_MAX);
        records.insert(desk.group, sender);
        let _ = desk.opened.send((journal.clone(), receiver));
    }
    for (index, record) in replay.enumerate() {
        let record = record?;
        let Some(sender) = records.get(&record.group) else {
            return Err(StartError::StrayRecords { group: record.group.0 });
        };
        // One that has gone has said why; the others' records are still read.
        let _ = sender.send((index, record));
    }
    Ok(())
}
