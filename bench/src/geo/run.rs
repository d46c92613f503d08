//! Starts the cluster, drives it, and measures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::kv::KvStore;
use panchayat::{
    Durability, LocalCluster, LocalConfig, Metrics, Replica, StateHash, SyncLatency, measure_sync,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::report::{Conditions, Disk, Distances, Emulator, PairCheck, Report, Traffic, ratio};
use super::{CLIENTS_MAX, GeoConfig, GeoError, Phase, Progress, check};
use crate::histogram::ms;
use crate::load::{Shared, Window, closed_loop};
use crate::workload::{KeyChoice, Workload};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait for answers and for equal states once the load has stopped.
const PATIENCE: Duration = Duration::from_secs(10);
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
    let distances = Distances::of(config)?;
    progress(Progress {
        phase: Phase::Starting,
        elapsed: Duration::ZERO,
        total: Duration::ZERO,
        answered: 0,
    });
    let dir = DataDir::of(config)?;
    let mut local = LocalConfig::new(config.topology.clone(), &config.set, dir.path());
    local.profile = Some(config.profile.clone());
    local.durability = config.durability;
    local.seed = config.seed;
    let cluster = LocalCluster::start(local, |_| KvStore::default()).await?;
    let measured = measure(config, &cluster, &workload, &distances, dir.path(), &mut progress);
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
    let keys = match config.zipf {
        Some(theta) => KeyChoice::zipf(config.keys, theta)?,
        None => KeyChoice::uniform(config.keys)?,
    };
    Ok(Workload::new(keys, config.conflict_percent, config.payload_bytes, config.seed)?)
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

async fn measure(
    config: &GeoConfig,
    cluster: &LocalCluster<KvStore>,
    workload: &Workload,
    distances: &Distances,
    dir: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<Report, GeoError> {
    let replicas = cluster.replicas();
    let samples: Vec<Shared> = replicas.iter().map(|_| Shared::default()).collect();
    let window = Window::after(config.warm_up, config.duration);
    let mut clients = JoinSet::new();
    for (seat, (replica, shared)) in replicas.iter().zip(&samples).enumerate() {
        for client in 0..u64::from(config.clients) {
            let stream = workload.stream((seat as u64) << 32 | client);
            clients.spawn(closed_loop(replica.clone(), stream, window, Arc::clone(shared)));
        }
    }
    let answered = || samples.iter().map(|shared| shared.lock().answered_in_window).sum();

    wait(window.begin, Phase::WarmUp, config.warm_up, &answered, progress).await;
    replicas.iter().for_each(|replica| replica.mesh().reset_pings());
    if let Some(wan) = cluster.wan() {
        wan.reset_lateness();
    }
    let before = Traffic::so_far(&metrics(replicas).await?);
    wait(window.end, Phase::Measuring, config.duration, &answered, progress).await;
    let under_load = metrics(replicas).await?;
    let lateness = cluster.wan().map(|wan| wan.lateness_snapshot()).unwrap_or_default();

    let unanswered = finish(&mut clients, &answered, progress).await;
    let settled = settle(replicas, &answered, progress).await?;
    let disk = match config.durability {
        Durability::Fsync => Some(disk(&under_load, sync_latency(dir).await?)),
        Durability::Os | Durability::Memory => None,
    };

    let traffic = Traffic::so_far(&under_load).since(before);
    let commands = answered() as f64;
    let sites = samples.iter().enumerate();
    let mut report = Report {
        conditions: Conditions::of(config),
        sites: sites.map(|(seat, shared)| distances.site(seat, &shared.lock())).collect(),
        messages_per_command: ratio(traffic.messages as f64, commands),
        bytes_per_command: ratio(traffic.bytes as f64, commands),
        udp_bytes_per_command: ratio(traffic.udp_bytes as f64, commands),
        throughput_per_s: commands / config.duration.as_secs_f64(),
        emulator: Emulator::new(pairs(distances, cluster, &under_load), lateness),
        disk,
        executed: settled.iter().map(|metrics| metrics.core.executed).collect(),
        state_hashes: settled.iter().map(|m| m.core.state_hash.to_string()).collect(),
        unanswered,
        checks: Vec::new(),
        ok: same_state(&settled),
    };
    report.checks = check::checks(&report, formula_applies(config)?);
    Ok(report)
}

/// Waits until `until`, telling progress meanwhile.
async fn wait(
    until: Instant,
    phase: Phase,
    total: Duration,
    answered: &impl Fn() -> u64,
    progress: &mut impl FnMut(Progress),
) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let elapsed = total.saturating_sub(left);
        progress(Progress { phase, elapsed, total, answered: answered() });
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(TICK)).await;
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

/// Waits until all replicas have executed the same, or patience ends.
async fn settle(
    replicas: &[Replica<KvStore>],
    answered: &impl Fn() -> u64,
    progress: &mut impl FnMut(Progress),
) -> Result<Vec<Metrics>, GeoError> {
    let began = Instant::now();
    loop {
        let now = metrics(replicas).await?;
        let idle = now.iter().all(|metrics| metrics.core.in_flight == 0);
        if (idle && same_state(&now)) || began.elapsed() >= PATIENCE {
            return Ok(now);
        }
        let (elapsed, total) = (began.elapsed(), PATIENCE);
        progress(Progress { phase: Phase::Settling, elapsed, total, answered: answered() });
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

fn same_state(metrics: &[Metrics]) -> bool {
    let states = metrics.iter().map(|metrics| (metrics.core.executed, metrics.core.state_hash));
    agree(&states.collect::<Vec<_>>())
}

/// Whether all executed as many commands and ended in the same state.
fn agree(states: &[(u64, StateHash)]) -> bool {
    states.windows(2).all(|two| two[0] == two[1])
}

async fn metrics(replicas: &[Replica<KvStore>]) -> Result<Vec<Metrics>, GeoError> {
    let mut all = Vec::with_capacity(replicas.len());
    for replica in replicas {
        let metrics = replica.metrics().await;
        all.push(metrics.ok_or_else(|| {
            GeoError::Stopped {
                name: replica.name().to_owned(),
                reason: replica
                    .stopped()
                    .map_or_else(|| "no reason given".to_owned(), |why| why.to_string()),
            }
        })?);
    }
    Ok(all)
}

async fn sync_latency(dir: &Path) -> Result<SyncLatency, GeoError> {
    let failed = |reason: String| GeoError::Disk { dir: dir.to_owned(), reason };
    let path = dir.to_owned();
    let measured = tokio::task::spawn_blocking(move || measure_sync(&path)).await;
    measured.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn disk(under_load: &[Metrics], alone: SyncLatency) -> Disk {
    let journals = under_load.iter().map(|metrics| metrics.journal.sync_p50());
    Disk {
        sync_p50_ms: ms(alone.p50),
        sync_p99_ms: ms(alone.p99),
        journal_sync_p50_ms: ms(journals.max().unwrap_or_default()),
    }
}

fn pairs(
    distances: &Distances,
    cluster: &LocalCluster<KvStore>,
    metrics: &[Metrics],
) -> Vec<PairCheck> {
    let members = &cluster.cluster().members;
    let ping = |from: usize, to: usize| {
        let peer = metrics[from].mesh.peers.get(&members[to].node);
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
    Ok(quiet && config.clients == 1 && config.conflict_percent == 0.0 && config.zipf.is_none())
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
