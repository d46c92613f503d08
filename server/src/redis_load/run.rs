//! Clients in every city, for a while.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use panchayat_bench::histogram::Latencies;
use panchayat_bench::load::{Arrivals, LoadModel, Samples, Shared, Window, closed_loop, open_loop};
use panchayat_bench::workload::{Kind, Workload};
use tokio::task::JoinSet;

use super::report::{CityReport, Report, draw};
use super::target::City;
use crate::cli::{Bench, DATA_DIR, ProtocolName};
use crate::description::Description;
use crate::errors::{CliError, FAILED};
use crate::signals::Stop;

/// How long the last answers may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(250);
/// Where the password of `--user` is taken from: a command line is for all to see.
const PASSWORD: &str = "PANCHAYAT_PASSWORD";

/// A city, and what its clients saw.
struct Loaded {
    name: String,
    address: String,
    city: City,
    samples: Shared,
}

pub(crate) async fn run(arguments: Bench) -> Result<ExitCode, CliError> {
    let ordering = &arguments.ordering;
    if ordering.protocol != ProtocolName::Epaxos || ordering.leader.is_some() || ordering.naive {
        return Err(CliError::OnlyLoopback("--protocol, --leader or --naive"));
    }
    let mut stop = Stop::listen()?;
    let (workload, kind, shape) = workload(&arguments)?;
    let model = match arguments.rate {
        Some(rate) => LoadModel::Open(rate),
        None => LoadModel::Closed(arguments.clients.unwrap_or(CLIENTS)),
    };
    let cities = cities(&arguments, model)?;
    for loaded in &cities {
        let failed = |source| CliError::Redis { address: loaded.address.clone(), source };
        loaded.city.greet().await.map_err(failed)?;
    }
    let window = Window::after(arguments.warm_up, arguments.duration);
    let mut clients = begin(&cities, &workload, model, window, arguments.seed);
    tokio::select! {
        () = progress(&cities, window) => {}
        () = stop.asked() => return Ok(ExitCode::from(FAILED)),
    }
    let all = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(PATIENCE, all).await;

    let seconds = arguments.duration.as_secs_f64();
    let mut total = Latencies::default();
    let reports: Vec<_> = cities.iter().map(|loaded| report(loaded, seconds, &mut total)).collect();
    let failed = |city: &CityReport| city.failures != Default::default();
    let report = Report {
        workload: kind.name().to_owned(),
        load: model.to_string(),
        keys: shape.keys,
        zipf: shape.zipf,
        payload_bytes: shape.payload_bytes,
        conflict_percent: shape.conflict_percent,
        duration_s: seconds,
        warm_up_s: arguments.warm_up.as_secs_f64(),
        seed: arguments.seed,
        version: env!("CARGO_PKG_VERSION"),
        commands_per_s: reports.iter().map(|city| city.commands_per_s).sum(),
        latency_ms: total.quantiles(),
        max_ms: total.ms_at(1.0),
        ok: reports.iter().all(|city| city.commands > 0 && !failed(city)),
        cities: reports,
    };
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&report).map_err(CliError::Json)? + "\n",
        false => draw(&report),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Clients of each city unless it is said.
const CLIENTS: u32 = 16;

fn workload(
    arguments: &Bench,
) -> Result<(Workload, Kind, panchayat_bench::workload::Shape), CliError> {
    let kind = arguments.workload.parse::<Kind>().map_err(CliError::Workload)?;
    let mut shape = kind.shape();
    shape.keys = arguments.keys.unwrap_or(shape.keys);
    shape.zipf = arguments.zipf.or(shape.zipf);
    shape.payload_bytes = arguments.payload.unwrap_or(shape.payload_bytes);
    shape.conflict_percent = arguments.conflict.unwrap_or(shape.conflict_percent);
    let workload = Workload::of(kind, &shape, arguments.seed);
    Ok((workload.map_err(CliError::WorkloadShape)?, kind, shape))
}

/// The ports to load: those named, or those of a running `up`.
fn cities(arguments: &Bench, model: LoadModel) -> Result<Vec<Loaded>, CliError> {
    let named: Vec<_> = match &arguments.redis[..] {
        [] => {
            let dir = arguments.data_dir.clone().unwrap_or_else(|| DATA_DIR.into());
            let replicas = Description::read(&dir)?.replicas.into_iter();
            replicas.filter_map(|replica| Some((replica.site, replica.redis?))).collect()
        }
        addrs => addrs.iter().map(|addr| (addr.to_string(), *addr)).collect(),
    };
    if named.is_empty() {
        return Err(CliError::NoPorts);
    }
    let user = arguments.user.as_ref().map(|name| {
        let password = std::env::var(PASSWORD).unwrap_or_default();
        (name.clone(), password)
    });
    let connections = match model {
        LoadModel::Closed(clients) => clients as usize,
        LoadModel::Open(_) | LoadModel::Solo => arguments.connections,
    };
    let cities = named.into_iter().map(|(name, addr)| Loaded {
        name,
        address: addr.to_string(),
        city: City::new(addr, user.clone(), connections),
        samples: Shared::default(),
    });
    Ok(cities.collect())
}

fn begin(
    cities: &[Loaded],
    workload: &Workload,
    model: LoadModel,
    window: Window,
    seed: u64,
) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for (seat, loaded) in cities.iter().enumerate() {
        let (city, samples) = (loaded.city.clone(), loaded.samples.clone());
        match model {
            LoadModel::Closed(clients) => {
                for client in 0..clients {
                    let stream = workload.stream((seat as u64) << 32 | u64::from(client));
                    let (city, samples) = (city.clone(), samples.clone());
                    running.spawn(closed_loop(city, stream, window, samples));
                }
            }
            LoadModel::Open(_) | LoadModel::Solo => {
                let LoadModel::Open(rate) = model else { continue };
                let stream = workload.stream(seat as u64);
                let arrivals = Arrivals::new(rate / cities.len() as f64, seed ^ seat as u64);
                running.spawn(open_loop(city, stream, arrivals, window, samples));
            }
        }
    }
    running
}

fn report(loaded: &Loaded, seconds: f64, total: &mut Latencies) -> CityReport {
    let samples: Samples = loaded.samples.lock().clone();
    total.add(&samples.execute);
    let told = loaded.city.told();
    CityReport {
        city: loaded.name.clone(),
        address: loaded.address.clone(),
        commands: samples.commands(),
        commands_per_s: samples.answered_in_window as f64 / seconds,
        latency_ms: samples.execute.quantiles(),
        max_ms: samples.execute.ms_at(1.0),
        failures: samples.failures,
        undone: told.undone.load(Ordering::Relaxed),
        declined: told.declined.load(Ordering::Relaxed),
        last_error: told.last_error.lock().clone(),
    }
}

/// Shows how it goes, on stderr, until the window ends; nothing where that is no terminal.
async fn progress(cities: &[Loaded], window: Window) {
    let began = Instant::now();
    let total = window.end.saturating_duration_since(began);
    let bar = ProgressBar::new(total.as_millis() as u64);
    // The template is constant; the default style is no loss if it were wrong.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %") {
        bar.set_style(style);
    }
    while Instant::now() < window.end {
        tokio::time::sleep(TICK.min(window.end.saturating_duration_since(Instant::now()))).await;
        let (mut answered, mut latencies) = (0, Latencies::default());
        for loaded in cities {
            let samples = loaded.samples.lock();
            answered += samples.answered_in_window;
            latencies.add(&samples.execute);
        }
        let seconds = Instant::now().saturating_duration_since(window.begin).as_secs_f64();
        bar.set_message(match seconds > 0.0 {
            true => format!(
                "{:.0} commands/s, p50 {:.1} ms, p99 {:.1} ms",
                answered as f64 / seconds,
                latencies.ms_at(0.5),
                latencies.ms_at(0.99)
            ),
            false => "warming up".to_owned(),
        });
        bar.set_position(began.elapsed().as_millis() as u64);
    }
    bar.finish_and_clear();
}
