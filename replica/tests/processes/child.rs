//! The process that runs one replica until it is killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use panchayat::backend::UnsyncedInMemory;
use panchayat::identity::Identity;
use panchayat::kv::KvStore;
use panchayat::topology::{Matrix, Topology};
use panchayat::{
    Builder, Cluster, ClusterId, FastPaxosChoice, Leader, Limits, MultiPaxosChoice, Node,
    ProtocolChoice, Replica, Stopped, Workload,
};

use crate::exchange::Exchange;
use crate::{orders, payments};

/// The first argument of such a process.
pub(crate) const ARGUMENT: &str = "--run-replica";

/// What the process prints when it serves.
pub(crate) const READY: &str = "ready";

/// Where it writes how many snapshots each of its states has taken, and how often it was taken over
/// from a peer.
pub(crate) const FIGURES: &str = "figures";

/// How long it may take to stop in order.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The cluster that all processes and clients of a test know.
pub(crate) fn cluster(addrs: &[SocketAddr]) -> Cluster {
    let sites = Topology::builtin().matrix("india3").expect("a built-in set").sites().to_vec();
    // Loopback: everything is near.
    let near = vec![vec![1_000; sites.len()]; sites.len()];
    let diagonal = |from: usize, to: usize| if from == to { 0 } else { near[from][to] };
    let rows = (0..sites.len())
        .map(|from| (0..sites.len()).map(|to| diagonal(from, to)).collect())
        .collect::<Vec<_>>();
    let matrix = Matrix::new(sites, &rows).expect("a square matrix");
    Cluster::of_sites(ClusterId(7), &matrix, addrs)
}

/// The fourth argument of a replica with small limits.
pub(crate) const SMALL: &str = "small";

/// Limits under which snapshots come often and a dead member is left behind soon.
fn limits(kind: &str) -> Limits {
    if kind != SMALL {
        return Limits::default();
    }
    Limits {
        command_bytes_max: 64 << 10,
        snapshot_journal_bytes: 64 << 10,
        journal_segment_bytes: 1 << 20,
        journal_bytes_max: 8 << 20,
        retained_max: 300,
        ..Limits::default()
    }
}

/// The protocols under which every scenario runs.
pub(crate) const PROTOCOLS: [&str; 2] = ["epaxos", "multipaxos"];

/// A protocol by its name.
pub(crate) fn protocol_of(name: &str) -> ProtocolChoice {
    match name {
        "epaxos" => ProtocolChoice::EPaxos,
        "multipaxos" => ProtocolChoice::MultiPaxos(MultiPaxosChoice::default()),
        other => panic!("no protocol {other}"),
    }
}

/// In the place of a protocol: several states, each under a protocol of its own.
pub(crate) const WORKLOADS: &str = "workloads";

/// The workload of alerts.
pub(crate) const ALERTS: &str = "alerts";

/// Payments on EPaxos, orders led from Mumbai, and alerts on Fast Paxos.
fn workloads(builder: Builder) -> Builder {
    let led = MultiPaxosChoice { leader: Leader::At("mumbai".into()), ..Default::default() };
    let orders = Workload::new(orders::NAME).protocol(ProtocolChoice::MultiPaxos(led));
    let fast = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
    let paid = Workload::new(payments::NAME).protocol(ProtocolChoice::EPaxos);
    builder
        .workload(paid, KvStore::default())
        .workload(orders, Exchange::default())
        .workload(Workload::new(ALERTS).protocol(fast), KvStore::default())
}

/// What runs in this process.
enum Running {
    One(Replica<KvStore>),
    Several(Node),
}

impl Running {
    /// Snapshots taken and states taken over, by workload. `None` once it has stopped by itself.
    async fn figures(&self) -> Option<Vec<(u64, u64)>> {
        let cores = match self {
            Self::One(replica) => vec![replica.metrics().await?.core],
            Self::Several(node) => {
                node.metrics().await?.workloads.into_iter().map(|(_, core)| core).collect()
            }
        };
        let figures = cores.iter().map(|core| &core.snapshots);
        Some(figures.map(|snapshots| (snapshots.taken, snapshots.states_taken_over)).collect())
    }

    fn stopped(&self) -> Option<Stopped> {
        match self {
            Self::One(replica) => replica.stopped(),
            Self::Several(node) => node.stopped(),
        }
    }

    async fn shutdown(self) -> Result<(), Stopped> {
        match self {
            Self::One(replica) => replica.shutdown().await,
            Self::Several(node) => node.shutdown().await,
        }
    }
}

/// The same led from `city`, if it is led at all.
pub(crate) fn led_from(name: &str, city: &str) -> ProtocolChoice {
    let mut protocol = protocol_of(name);
    if let ProtocolChoice::MultiPaxos(choice) = &mut protocol {
        choice.leader = Leader::At(city.to_owned());
    }
    protocol
}

/// Arguments: seat, directory, addresses, limits, protocol.
pub(crate) fn run(arguments: &[String]) {
    let [seat, dir, addrs, kind, protocol] = arguments else {
        panic!("seat, directory, addresses, limits, protocol")
    };
    let seat: usize = seat.parse().expect("a seat");
    let dir = PathBuf::from(dir);
    let addrs: Vec<SocketAddr> =
        addrs.split(',').map(|addr| addr.parse().expect("an address")).collect();
    let cluster = cluster(&addrs);
    let name = cluster.members[seat].name.clone();
    let identity = Identity::load(&dir.join("identity")).expect("an identity");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let builder = Replica::<KvStore>::builder(cluster, &name, identity, dir.join("journal"))
            .backend(Arc::new(UnsyncedInMemory::new()))
            .limits(limits(kind));
        let started = if protocol == WORKLOADS {
            workloads(builder).start_workloads().await.map(Running::Several)
        } else {
            let builder = builder.protocol(protocol_of(protocol));
            builder.start(KvStore::default()).await.map(Running::One)
        };
        let replica = started.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        println!("{READY}");
        let terminated = tokio::signal::unix::SignalKind::terminate();
        let mut terminated = tokio::signal::unix::signal(terminated).expect("a signal handler");
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        let figures = dir.join(FIGURES);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                _ = terminated.recv() => {
                    let stopping = tokio::time::timeout(STOP_PATIENCE, replica.shutdown()).await;
                    return stopping.expect("stopped in time").expect("in order");
                }
            }
            // A replica that stops by itself ends the process with an error.
            let Some(workloads) = replica.figures().await else {
                panic!("{name} stopped: {:?}", replica.stopped());
            };
            let texts = workloads.iter().map(|(taken, over)| format!("{taken} {over}"));
            let text = texts.collect::<Vec<_>>().join("\n");
            // Beside, so that nobody reads half of it.
            let beside = figures.with_extension("new");
            std::fs::write(&beside, text).expect("written");
            std::fs::rename(&beside, &figures).expect("renamed");
        }
    });
}
