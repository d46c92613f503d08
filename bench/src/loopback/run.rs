//! Starts clusters, drives them, and measures.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use panchayat::kv::KvStore;
use panchayat::{Durability, LocalCluster, LocalConfig, Metrics};

use super::clients::Clients;
use super::rows::{Row, Rows};
use super::targets::targets;
use super::{
    Conditions, Figures, Load, LoopbackConfig, LoopbackError, Progress, Report, SET, ThreadFigures,
};
use crate::histogram::{Latencies, ms};
use crate::load::{Failures, Window};
use crate::machine::{Machine, Usage};
use crate::traffic::{Traffic, ratio};
use crate::workload::{KeyChoice, Workload};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);
/// How long to wait for answers and for equal states once the load has stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const SETTLE_POLL: Duration = Duration::from_millis(20);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// Measures `config`, run by run, and tells `progress` how far it is, several times a second. When
/// `cancel` is ready first, the cluster is stopped in order and nothing is left behind. Needs a
/// tokio runtime, on which endpoints and clients run.
///
/// # Errors
/// [`LoopbackError`]. Replicas that end in different states are no error but a report that is not
/// `ok`.
pub async fn run(
    config: &LoopbackConfig,
    cancel: impl Future<Output = ()>,
    mut progress: impl FnMut(Progress),
) -> Result<Report, LoopbackError> {
    let configs = std::slice::from_ref(config);
    let mut reports = run_in_turn(configs, cancel, |_, now| progress(now)).await?;
    Ok(reports.pop().expect("a report for the configuration"))
}

/// Measures each of `configs`, one run of each in turn, so that whatever else the machine does
/// meets all of them alike. Otherwise like [`run`]; `progress` also hears which it is.
///
/// # Errors
/// As [`run`].
pub async fn run_in_turn(
    configs: &[LoopbackConfig],
    cancel: impl Future<Output = ()>,
    mut progress: impl FnMut(&LoopbackConfig, Progress),
) -> Result<Vec<Report>, LoopbackError> {
    let mut subjects = Vec::with_capacity(configs.len());
    for config in configs {
        config.check()?;
        let keys = KeyChoice::uniform(config.keys)?;
        let (conflict, payload) = (config.conflict_percent, config.payload_bytes);
        let workload = Workload::new(keys, conflict, payload, config.seed)?;
        subjects.push((config, workload, config.conditions(Machine::now()), Vec::new()));
    }
    let mut cancel = std::pin::pin!(cancel);
    let most = configs.iter().map(|config| config.runs).max().unwrap_or_default();
    for run in 1..=most {
        for (config, workload, _, runs) in &mut subjects {
            if run > config.runs {
                continue;
            }
            let (cluster, dir) = start(config).await?;
            let measured = measure(config, run, workload, &cluster, dir.path(), |elapsed| {
                let total = config.warm_up + config.duration;
                progress(config, Progress { run, runs: config.runs, elapsed, total });
            });
            let measured = tokio::select! {
                measured = measured => measured,
                () = &mut cancel => Err(LoopbackError::Cancelled),
            };
            cluster.shutdown(SHUTDOWN_PATIENCE).await;
            runs.push(measured?);
        }
    }
    let reports = subjects.into_iter().map(|(_, _, conditions, runs)| report(conditions, &runs));
    Ok(reports.collect())
}

fn report(conditions: Conditions, runs: &[Measured]) -> Report {
    let figures: Vec<_> = runs.iter().map(|run| run.figures).collect();
    let threads: Vec<_> = runs.iter().map(|run| run.threads.clone()).collect();
    let mut report = Report {
        conditions,
        median: Figures::median_of(&figures),
        threads: ThreadFigures::median_of(&threads),
        rows: runs.iter().flat_map(|run| run.rows.iter().copied()).collect(),
        runs: figures,
        checks: Vec::new(),
        ok: runs.iter().all(|run| run.same_state),
    };
    report.checks = targets(&report);
    report
}

async fn start(
    config: &LoopbackConfig,
) -> Result<(LocalCluster<KvStore>, tempfile::TempDir), LoopbackError> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("panchayat-bench-");
    let dir = match &config.data_dir {
        Some(dir) => std::fs::create_dir_all(dir).and_then(|()| builder.tempdir_in(dir)),
        None => builder.tempdir(),
    };
    let failed = |source| LoopbackError::Io { what: "create a directory for journals", source };
    let dir = dir.map_err(failed)?;
    let mut local = LocalConfig::new(super::topology(config.replicas)?, SET, dir.path());
    local.protocol = config.protocol.clone();
    local.durability = config.durability;
    local.seed = config.seed;
    Ok((LocalCluster::start(local, |_| KvStore::default()).await?, dir))
}

struct Measured {
    figures: Figures,
    threads: Vec<ThreadFigures>,
    rows: Vec<Row>,
    same_state: bool,
}

/// Everything that grows, at one moment.
pub(super) struct Moment {
    pub(super) usage: Usage,
    pub(super) metrics: Vec<Metrics>,
    pub(super) at: Instant,
}

impl Moment {
    async fn now(cluster: &LocalCluster<KvStore>) -> Result<Self, LoopbackError> {
        let (at, usage) = (Instant::now(), Usage::so_far());
        Ok(Self { at, usage, metrics: metrics(cluster).await? })
    }

    /// A counter of the protocol, over all replicas.
    pub(super) fn counter(&self, name: &str) -> u64 {
        let all = self.metrics.iter().flat_map(|metrics| &metrics.core.protocol);
        all.filter(|(of, _)| *of == name).map(|(_, count)| count).sum()
    }
}

async fn measure(
    config: &LoopbackConfig,
    run: usize,
    workload: &Workload,
    cluster: &LocalCluster<KvStore>,
    dir: &std::path::Path,
    mut progress: impl FnMut(Duration),
) -> Result<Measured, LoopbackError> {
    let failed = |reason| LoopbackError::Disk { dir: dir.to_owned(), reason };
    let alone = match config.durability {
        Durability::Fsync => ms(crate::sync_latency(dir).await.map_err(failed)?.p50),
        Durability::Os | Durability::Memory => 0.0,
    };
    let began = Instant::now();
    let window = Window::after(config.warm_up, config.duration);
    let mut clients = match config.load {
        Load::Closed { clients } => Clients::closed(cluster.replicas(), workload, clients, window),
        Load::Open { rate } => Clients::open(cluster.replicas(), workload, rate, window)?,
    };
    let mut wait = async |until: Instant| {
        while Instant::now() < until {
            progress(began.elapsed());
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(TICK)).await;
        }
    };
    wait(window.begin).await;
    let begin = Moment::now(cluster).await?;
    let mut rows = Rows::begin(run, &clients);
    let mut last: Option<Moment> = None;
    let mut until = window.begin + config.row;
    let end = loop {
        wait(until.min(window.end)).await;
        let now = Moment::now(cluster).await?;
        rows.end(last.as_ref().unwrap_or(&begin), &now, &clients);
        if until >= window.end {
            break now;
        }
        last = Some(now);
        until += config.row;
    };
    let unanswered = clients.finish(PATIENCE).await;
    let same_state = settle(cluster).await?;

    let mut thirds: [Latencies; 3] = Default::default();
    let (mut answered, mut fast, mut failures) = (0, 0, Failures::default());
    for tally in &clients.tallies {
        let tally = tally.lock();
        for (sum, one) in thirds.iter_mut().zip(&tally.latencies) {
            sum.add(one);
        }
        answered += tally.answered;
        fast += tally.fast;
        failures = failures.plus(tally.failures);
    }
    let mut latencies = Latencies::default();
    thirds.iter().for_each(|third| latencies.add(third));

    let commands = answered as f64;
    let seconds = (end.at - begin.at).as_secs_f64();
    let spent = end.usage.since(&begin.usage);
    let threads: Vec<_> = spent
        .iter()
        .map(|(name, spent)| ThreadFigures::new(name, *spent, commands, seconds))
        .collect();
    let sum = |figure: fn(&ThreadFigures) -> f64| threads.iter().map(figure).sum::<f64>();
    let cpu_us_per_command = sum(|thread| thread.cpu_us_per_command);
    let traffic = Traffic::so_far(&end.metrics).since(Traffic::so_far(&begin.metrics));
    let grown = |count: fn(&Metrics) -> u64| {
        let of = |moment: &Moment| moment.metrics.iter().map(count).sum::<u64>();
        of(&end).saturating_sub(of(&begin)) as f64
    };
    let grown_counter = |name| end.counter(name).saturating_sub(begin.counter(name)) as f64;
    let per_command = |count: u64| ratio(count as f64, commands);
    let mib = |moment: &Moment| moment.usage.resident_bytes as f64 / f64::from(1 << 20);
    let cores = Machine::now().cores as f64;
    let figures = Figures {
        commands_per_s: ratio(commands, config.duration.as_secs_f64()),
        p50_ms: latencies.ms_at(0.5),
        p99_ms: latencies.ms_at(0.99),
        p999_ms: latencies.ms_at(0.999),
        p99_first_third_ms: thirds[0].ms_at(0.99),
        p99_last_third_ms: thirds[2].ms_at(0.99),
        elections: grown_counter("elections_won"),
        fast_path: ratio(fast as f64, latencies.count() as f64),
        overloaded: failures.overloaded as f64,
        failed: (failures.not_applied + failures.unknown + unanswered) as f64,
        cpu_us_per_command,
        cpu_share: ratio(cpu_us_per_command * commands / 1e6, seconds * cores),
        sleeps_per_command: sum(|thread| thread.sleeps_per_command),
        syncs_per_s: ratio(grown(|metrics| metrics.journal.syncs), seconds),
        sync_p50_ms: sync_p50_ms(&begin.metrics, &end.metrics),
        sync_alone_p50_ms: alone,
        messages_per_command: per_command(traffic.messages),
        frames_per_command: ratio(grown(|metrics| metrics.core.frames_sent), commands),
        bytes_per_command: per_command(traffic.bytes),
        udp_bytes_per_command: per_command(traffic.udp_bytes),
        datagrams_per_command: per_command(traffic.datagrams),
        send_calls_per_command: per_command(traffic.send_calls),
        turns_per_command: ratio(grown(|metrics| metrics.core.turns), commands),
        memory_begin_mib: mib(&begin),
        memory_end_mib: mib(&end),
    };
    Ok(Measured { figures, threads, rows: rows.rows, same_state })
}

/// The median of the syncs between two moments, over all journals.
fn sync_p50_ms(begin: &[Metrics], end: &[Metrics]) -> f64 {
    let Some(first) = end.first() else { return 0.0 };
    let mut between = Histogram::new_from(&first.journal.sync_ns);
    for (begin, end) in begin.iter().zip(end) {
        // Cannot fail: all journals' histograms have the same bounds, and they only grow.
        let _ = between.add(&end.journal.sync_ns);
        let _ = between.subtract(&begin.journal.sync_ns);
    }
    between.value_at_quantile(0.5) as f64 / 1e6
}

/// Whether all replicas come to have executed the same, before patience ends.
async fn settle(cluster: &LocalCluster<KvStore>) -> Result<bool, LoopbackError> {
    let began = Instant::now();
    loop {
        let now = metrics(cluster).await?;
        let idle = now.iter().all(|metrics| metrics.core.in_flight == 0);
        let state = |metrics: &Metrics| (metrics.core.executed, metrics.core.state_hash);
        let same = now.windows(2).all(|two| state(&two[0]) == state(&two[1]));
        if idle && same {
            return Ok(true);
        }
        if began.elapsed() >= PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

async fn metrics(cluster: &LocalCluster<KvStore>) -> Result<Vec<Metrics>, LoopbackError> {
    let mut all = Vec::with_capacity(cluster.replicas().len());
    for replica in cluster.replicas() {
        let metrics = replica.metrics().await;
        all.push(metrics.ok_or_else(|| {
            let stopped = replica.stopped();
            LoopbackError::Stopped {
                name: replica.name().to_owned(),
                reason: stopped.map_or_else(|| "no reason given".to_owned(), |why| why.to_string()),
            }
        })?);
    }
    Ok(all)
}
