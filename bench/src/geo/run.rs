//! Starts the cluster, drives it, and measures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::kv::KvStore;
use panchayat::{
    Durability, LocalCluster, LocalConfig, Metrics, Replica, ReplicaId, StateHash, SyncLatency,
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::inject::{Clients, Injector};
use super::plan::Plan;
use super::report::{Conditions, Disk, Distances, Emulator, Overall, PairCheck, Report, Standing};
use super::{CLIENTS_MAX, GeoConfig, GeoError, Phase, Progress, check, timeline};
use crate::counters::Counters;
use crate::histogram::ms;
use crate::load::{LoadModel, Samples, Window};
use crate::trace::Trace;
use crate::traffic::{Traffic, ratio};
use crate::workload::{Kind, Shape, Workload};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait for answers and for equal states once the load has stopped.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same after faults: who was away has to catch up.
const FAULT_PATIENCE: Duration = Duration::from_secs(30);
const SETTLE_POLL: Duration = Duration::from_millis(20);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);
const DURATION_MIN: Duration = Duration::from_millis(100);
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// Runs the experiment and tells `progress` how far it is, several times a second. When `cancel`
/// is ready first, the cluster is stopped in order and nothing is left behind. Needs a tokio
/// runtime, on which replicas' endpoints and the clients run.
///
/// # Errors
/// [`GeoError`]. Replicas that end in different states are no error but a report that is not `ok`.
pub async fn run(
    config: &GeoConfig,
    cancel: impl Future<Output = ()>,
    mut progress: impl FnMut(Progress),
) -> Result<Report, GeoError> {
    let workload = check_config(config)?;
    let distances = Distances::of(&config.topology, &config.set, &config.protocol)?;
    let sites = distances.matrix.sites();
    let plan = Plan::new(&config.faults, sites, config.duration, config.durability)?;
    progress(Progress {
        phase: Phase::Starting,
        elapsed: Duration::ZERO,
        total: Duration::ZERO,
        answered: 0,
    });
    let dir = DataDir::of(config)?;
    let mut local = LocalConfig::new(config.topology.clone(), &config.set, dir.path());
    local.profile = Some(config.profile.clone());
    local.protocol = config.protocol.clone();
    local.durability = config.durability;
    local.seed = config.seed;
    local.datagrams = config.datagrams;
    let mut cluster = LocalCluster::start(local, |_| KvStore::default()).await?;
    let run = Run { config, workload: &workload, distances: &distances, plan: &plan };
    let measured = run.measure(&mut cluster, dir.path(), &mut progress);
    let report = tokio::select! {
        report = measured => report,
        () = cancel => Err(GeoError::Cancelled),
    };
    cluster.shutdown(SHUTDOWN_PATIENCE).await;
    report
}

fn check_config(config: &GeoConfig) -> Result<Workload, GeoError> {
    if !(1..=CLIENTS_MAX).contains(&config.clients) {
        return Err(GeoError::Clients(config.clients));
    }
    if !(DURATION_MIN..=DURATION_MAX).contains(&config.duration) {
        return Err(GeoError::Duration(config.duration));
    }
    config.topology.profile(&config.profile)?;
    let shape = Shape {
        keys: config.keys,
        zipf: config.zipf,
        payload_bytes: config.payload_bytes,
        conflict_percent: config.conflict_percent,
    };
    Ok(Workload::of(config.kind, &shape, config.seed)?)
}

/// The journals' directory; a temporary one is removed when this is dropped.
enum DataDir {
    Given(PathBuf),
    Temporary(TempDir),
}

impl DataDir {
    fn of(config: &GeoConfig) -> Result<Self, GeoError> {
        match &config.data_dir {
            Some(dir) => Ok(Self::Given(dir.clone())),
            None => {
                let dir = tempfile::Builder::new().prefix("panchayat-geo-").tempdir();
                Ok(Self::Temporary(dir.map_err(GeoError::Directory)?))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// What a run consists of.
struct Run<'a> {
    config: &'a GeoConfig,
    workload: &'a Workload,
    distances: &'a Distances,
    plan: &'a Plan,
}

impl Run<'_> {
    async fn measure(
        &self,
        cluster: &mut LocalCluster<KvStore>,
        dir: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Report, GeoError> {
        let config = self.config;
        let samples = || Samples {
            trace: (!self.plan.is_empty()).then(Trace::default),
            ..Samples::default()
        };
        let window = Window::after(config.warm_up, config.duration);
        let mut clients = Clients {
            workload: self.workload,
            load: config.load(),
            rest: 2 * self.distances.matrix.widest(),
            seed: config.seed,
            window,
            samples: cluster.replicas().iter().map(|_| Arc::new(Mutex::new(samples()))).collect(),
            running: JoinSet::new(),
        };
        for seat in 0..cluster.replicas().len() {
            clients.start(cluster, seat, 0);
        }
        let samples = clients.samples.clone();
        let answered = || samples.iter().map(|shared| shared.lock().answered_in_window).sum();

        let stage = Stage { phase: Phase::WarmUp, end: window.begin, total: config.warm_up };
        stage.wait(window.begin, &answered, progress).await;
        cluster.replicas().iter().for_each(|replica| replica.mesh().reset_pings());
        if let Some(wan) = cluster.wan() {
            wan.reset_lateness();
        }
        let at_begin = metrics(cluster).await?;
        let before = Traffic::so_far(living(&at_begin));
        let counted_before = Counters::so_far(living(&at_begin));
        let stage = Stage { phase: Phase::Measuring, end: window.end, total: config.duration };
        let mut injector = Injector::new(self.plan, cluster.replicas().len());
        let names = self.distances.matrix.sites();
        let mut standing = Vec::new();
        for event in &self.plan.events {
            stage.wait(window.begin + event.at, &answered, progress).await;
            standing.extend(stand(event.at, names, &metrics(cluster).await?));
            injector.happen(*event, cluster, &mut clients).await?;
        }
        stage.wait(window.end, &answered, progress).await;
        let under_load = metrics(cluster).await?;
        standing.extend(stand(config.duration, names, &under_load));
        let lateness = cluster.wan().map(|wan| wan.lateness_snapshot()).unwrap_or_default();
        injector.end_links(cluster, &window);

        let unanswered = finish(&mut clients.running, &answered, progress).await;
        let patience = if self.plan.is_empty() { PATIENCE } else { FAULT_PATIENCE };
        let (settled, settled_after) = settle(cluster, patience, &answered, progress).await?;
        let disk = match config.durability {
            Durability::Fsync => Some(disk(&under_load, sync_latency(dir).await?)),
            Durability::Os | Durability::Memory => None,
        };

        let sent = Traffic::so_far(living(&under_load)).plus(injector.gone());
        let traffic = sent.since(before);
        let counted = Counters::so_far(living(&settled)).plus(injector.gone_counters());
        let mut counters = counted.since(&counted_before);
        if config.datagrams {
            let came = traffic.datagram_frames_received;
            counters.insert("frames_in_datagrams".to_owned(), traffic.datagram_frames);
            counters.insert("frames_in_datagrams_received".to_owned(), came);
        }
        let commands = answered() as f64;
        let sites = samples.iter().enumerate();
        let cities: Vec<Samples> = samples.iter().map(|shared| shared.lock().clone()).collect();
        let traces: Vec<_> =
            samples.iter().filter_map(|shared| shared.lock().trace.take()).collect();
        let mut report = Report {
            conditions: Conditions::of(config, self.distances),
            counters,
            standing,
            sites: sites.map(|(seat, shared)| self.distances.site(seat, &shared.lock())).collect(),
            overall: Overall::of(&cities),
            messages_per_command: ratio(traffic.messages as f64, commands),
            bytes_per_command: ratio(traffic.bytes as f64, commands),
            udp_bytes_per_command: ratio(traffic.udp_bytes as f64, commands),
            throughput_per_s: commands / config.duration.as_secs_f64(),
            emulator: Emulator::new(pairs(self.distances, cluster, &under_load), lateness),
            disk,
            executed: settled.iter().map(|m| m.as_ref().map_or(0, |m| m.core.executed)).collect(),
            state_hashes: settled.iter().map(state_hash).collect(),
            settled_after_ms: ms(settled_after),
            unanswered,
            stretches: timeline::stretches(self.plan, names, &traces, config.duration),
            timeline: timeline::buckets(names, &traces, config.duration),
            faults: injector.report(names, &traces, &clients, config.duration),
            checks: Vec::new(),
            ok: same_state(&settled),
        };
        let quiet = formula_applies(config)?;
        let leader = leader(&at_begin).or(self.distances.leader);
        report.checks = check::checks(&report, config, leader, quiet);
        Ok(report)
    }
}

/// How those that live stand, if their protocol says so.
fn stand(at: Duration, names: &[String], metrics: &[Option<Metrics>]) -> Vec<Standing> {
    let sites = names.iter().zip(metrics);
    let standing = sites.filter_map(|(site, metrics)| {
        let status = metrics.as_ref()?.core.status.clone()?;
        Some(Standing { at_ms: ms(at), site: site.clone(), status })
    });
    standing.collect()
}

/// Who says that it leads itself, if one does. Not always whom the protocol prefers: Fast Paxos keeps
/// the coordinator it has.
fn leader(metrics: &[Option<Metrics>]) -> Option<ReplicaId> {
    let seats = (0u8..).map(ReplicaId).zip(metrics);
    let leads = |metrics: &Metrics, seat| metrics.core.leader == Some(seat);
    let mut leading = seats.filter(|(seat, m)| m.as_ref().is_some_and(|m| leads(m, *seat)));
    let (seat, _) = leading.next()?;
    leading.next().is_none().then_some(seat)
}

/// Empty for a replica that is dead.
fn state_hash(metrics: &Option<Metrics>) -> String {
    metrics.as_ref().map_or_else(String::new, |metrics| metrics.core.state_hash.to_string())
}

/// A part of the run whose length is known.
#[derive(Clone, Copy)]
struct Stage {
    phase: Phase,
    end: Instant,
    total: Duration,
}

impl Stage {
    /// Waits until `until`, telling progress meanwhile.
    async fn wait(
        &self,
        until: Instant,
        answered: &impl Fn() -> u64,
        progress: &mut impl FnMut(Progress),
    ) {
        loop {
            let now = Instant::now();
            let elapsed = self.total.saturating_sub(self.end.saturating_duration_since(now));
            let (phase, total) = (self.phase, self.total);
            progress(Progress { phase, elapsed, total, answered: answered() });
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(TICK)).await;
        }
    }
}

/// Waits for the clients' last answers; how many clients still had none when patience ended.
async fn finish(
    clients: &mut JoinSet<()>,
    answered: &impl Fn() -> u64,
    progress: &mut impl FnMut(Progress),
) -> u64 {
    let began = Instant::now();
    while !clients.is_empty() && began.elapsed() < PATIENCE {
        let total = PATIENCE;
        let elapsed = began.elapsed();
        progress(Progress { phase: Phase::Settling, elapsed, total, answered: answered() });
        // The set is not empty, so `None` cannot come back at once; a tick bounds the wait.
        let _ = tokio::time::timeout(TICK, clients.join_next()).await;
    }
    let unanswered = clients.len() as u64;
    clients.shutdown().await;
    unanswered
}

/// Waits until all living replicas have executed the same, or patience ends; how long it took.
async fn settle(
    cluster: &LocalCluster<KvStore>,
    patience: Duration,
    answered: &impl Fn() -> u64,
    progress: &mut impl FnMut(Progress),
) -> Result<(Vec<Option<Metrics>>, Duration), GeoError> {
    let began = Instant::now();
    loop {
        let now = metrics(cluster).await?;
        let idle = living(&now).all(|metrics| metrics.core.in_flight == 0);
        if (idle && same_state(&now)) || began.elapsed() >= patience {
            return Ok((now, began.elapsed()));
        }
        let (elapsed, total) = (began.elapsed(), patience);
        progress(Progress { phase: Phase::Settling, elapsed, total, answered: answered() });
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

/// Those of the replicas that are not dead.
fn living(metrics: &[Option<Metrics>]) -> impl Iterator<Item = &Metrics> + Clone {
    metrics.iter().flatten()
}

fn same_state(metrics: &[Option<Metrics>]) -> bool {
    let states = living(metrics).map(|metrics| (metrics.core.executed, metrics.core.state_hash));
    agree(&states.collect::<Vec<_>>())
}

/// Whether all executed as many commands and ended in the same state.
fn agree(states: &[(u64, StateHash)]) -> bool {
    states.windows(2).all(|two| two[0] == two[1])
}

/// By seat; `None` for a replica that was killed.
async fn metrics(cluster: &LocalCluster<KvStore>) -> Result<Vec<Option<Metrics>>, GeoError> {
    let mut all = Vec::with_capacity(cluster.replicas().len());
    for (seat, replica) in cluster.replicas().iter().enumerate() {
        let dead = cluster.is_killed(ReplicaId(seat as u8));
        all.push(if dead { None } else { Some(metrics_of(replica).await?) });
    }
    Ok(all)
}

/// Those of a replica that should be running.
pub(super) async fn metrics_of(replica: &Replica<KvStore>) -> Result<Metrics, GeoError> {
    let metrics = replica.metrics().await;
    metrics.ok_or_else(|| {
        let stopped = replica.stopped();
        GeoError::Stopped {
            name: replica.name().to_owned(),
            reason: stopped.map_or_else(|| "no reason given".to_owned(), |why| why.to_string()),
        }
    })
}

async fn sync_latency(dir: &Path) -> Result<SyncLatency, GeoError> {
    let failed = |reason| GeoError::Disk { dir: dir.to_owned(), reason };
    crate::sync_latency(dir).await.map_err(failed)
}

fn disk(under_load: &[Option<Metrics>], alone: SyncLatency) -> Disk {
    let journals = living(under_load).map(|metrics| metrics.journal.sync_p50());
    Disk {
        sync_p50_ms: ms(alone.p50),
        sync_p99_ms: ms(alone.p99),
        journal_sync_p50_ms: ms(journals.max().unwrap_or_default()),
    }
}

fn pairs(
    distances: &Distances,
    cluster: &LocalCluster<KvStore>,
    metrics: &[Option<Metrics>],
) -> Vec<PairCheck> {
    let members = &cluster.cluster().members;
    let ping = |from: usize, to: usize| {
        let own = metrics[from].as_ref();
        let peer = own.and_then(|own| own.mesh.peers.get(&members[to].node));
        peer.map(|peer| peer.ping).unwrap_or_default()
    };
    let seats = 0..members.len();
    let pairs = seats.clone().flat_map(|a| (a + 1..seats.end).map(move |b| (a, b)));
    pairs
        .map(|(a, b)| {
            let (there, back) = (ping(a, b), ping(b, a));
            PairCheck {
                between: [members[a].name.clone(), members[b].name.clone()],
                rtt_ms: distances.matrix.rtt_us(a, b) as f64 / 1e3,
                ping_p50_ms: ms(there.p50.max(back.p50)),
                ping_p99_ms: ms(there.p99.max(back.p99)),
                pings: there.count + back.count,
            }
        })
        .collect()
}

/// Whether the closed form predicts the medians: quiet links, no conflict, nobody else to wait
/// for.
fn formula_applies(config: &GeoConfig) -> Result<bool, GeoError> {
    let profile = config.topology.profile(&config.profile)?;
    let quiet = profile.jitter_median_us == 0 && profile.loss == 0.0 && profile.flap.is_none();
    let undisturbed = config.faults.is_empty();
    Ok(quiet
        && undisturbed
        && matches!(config.load(), LoadModel::Closed(1) | LoadModel::Solo)
        && config.kind == Kind::Mix
        && config.conflict_percent == 0.0
        && config.zipf.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_with_another_state_or_count_fails_the_run() {
        let same = (7, StateHash(0xabc));
        assert!(agree(&[same, same, same]));
        for other in [(7, StateHash(0xabd)), (6, StateHash(0xabc))] {
            for at in 0..3 {
                let mut states = [same; 3];
                states[at] = other;
                assert!(!agree(&states), "{states:?}");
            }
        }
    }

    #[test]
    fn the_closed_form_is_held_against_quiet_runs_only() {
        let quiet = || GeoConfig {
            profile: "ideal".to_owned(),
            clients: 1,
            conflict_percent: 0.0,
            ..GeoConfig::new(panchayat::Topology::builtin())
        };
        assert!(formula_applies(&quiet()).unwrap());
        for config in [
            GeoConfig { clients: 2, ..quiet() },
            GeoConfig { conflict_percent: 2.0, ..quiet() },
            GeoConfig { profile: "backbone".to_owned(), ..quiet() },
            GeoConfig { zipf: Some(0.9), ..quiet() },
        ] {
            assert!(!formula_applies(&config).unwrap(), "{config:?}");
        }
    }
}
