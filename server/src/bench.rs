//! `panchayat bench`: runs the loopback measurement and shows what it found.

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use panchayat::{Durability, ProtocolChoice};
use panchayat_bench::geo::Check;
use panchayat_bench::loopback::{self, Load, LoopbackConfig, Progress, Report};
use serde::Serialize;

use crate::bench_text;
use crate::cli::Bench;
use crate::errors::{CliError, FAILED};
use crate::geo::durability;
use crate::ordering::choice;
use crate::redis_load;
use crate::signals::Stop;

/// Several configurations, and what must hold between them.
#[derive(Serialize)]
struct Compared {
    reports: Vec<Report>,
    checks: Vec<Check>,
}

/// Clients at each replica unless it is said.
const CLIENTS: u32 = 128;
/// Bytes a command carries, keys there are, and share of conflicts in percent: those of the targets.
const PAYLOAD_BYTES: usize = 100;
const KEYS: u32 = 1_000_000;
const CONFLICT_PERCENT: f64 = 2.0;

pub(crate) async fn run(arguments: Bench) -> Result<ExitCode, CliError> {
    if !arguments.loopback {
        return redis_load::run(arguments).await;
    }
    let mut stop = Stop::listen()?;
    let mut reports: Vec<Report> = Vec::new();
    let configs = configs(&arguments)?;
    let mut endured = configs.first().filter(|_| arguments.endurance).cloned();
    // Targets one after the other, each told as soon as it is known; rivals in turn.
    let together = if arguments.against_epaxos { configs.len() } else { 1 };
    let mut rounds: VecDeque<_> = configs.chunks(together).map(<[_]>::to_vec).collect();
    while let Some(configs) = rounds.pop_front() {
        let bar = bar();
        let measured = loopback::run_in_turn(&configs, stop.asked(), |config, progress| {
            show(&bar, config, progress);
        });
        let measured = measured.await;
        bar.finish_and_clear();
        for report in measured? {
            if !arguments.json {
                print(&bench_text::draw(&report))?;
            }
            reports.push(report);
        }
        if let (Some(config), Some(first)) = (endured.take(), reports.first()) {
            rounds.push_back(vec![config.endurance(first.median.commands_per_s)]);
        }
    }
    let checks = match arguments.against_epaxos {
        true => loopback::against_epaxos(&reports),
        false => loopback::compared(&reports),
    };
    let ok = reports.iter().all(|report| report.ok);
    if !arguments.json {
        print(&bench_text::checks(&checks))?;
    } else if arguments.targets || arguments.against_epaxos || arguments.endurance {
        print_json(&Compared { reports, checks })?;
    } else {
        reports.iter().try_for_each(print_json)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// What was asked for, or everything that a target compares.
fn configs(arguments: &Bench) -> Result<Vec<LoopbackConfig>, CliError> {
    let sites: Vec<_> = loopback::sites(arguments.replicas)?.map(str::to_owned).collect();
    let asked = LoopbackConfig {
        protocol: choice(&arguments.ordering, &sites)?,
        replicas: arguments.replicas,
        load: match arguments.rate {
            Some(rate) => Load::Open { rate },
            None => Load::Closed { clients: arguments.clients.unwrap_or(CLIENTS) },
        },
        payload_bytes: arguments.payload.unwrap_or(PAYLOAD_BYTES),
        keys: arguments.keys.unwrap_or(KEYS),
        conflict_percent: arguments.conflict.unwrap_or(CONFLICT_PERCENT),
        durability: durability(arguments.durability),
        warm_up: arguments.warm_up,
        duration: arguments.duration,
        row: arguments.row,
        runs: arguments.runs,
        seed: arguments.seed,
        data_dir: arguments.data_dir.clone(),
    };
    if arguments.against_epaxos {
        let protocol = ProtocolChoice::EPaxos;
        return Ok(vec![LoopbackConfig { protocol, ..asked.clone() }, asked]);
    }
    if !arguments.targets {
        return Ok(vec![asked]);
    }
    let synced = LoopbackConfig { durability: Durability::Fsync, ..asked.clone() };
    let conflicting = LoopbackConfig { conflict_percent: 100.0, ..asked.clone() };
    let five = LoopbackConfig { replicas: 5, ..asked.clone() };
    Ok(vec![asked, synced, conflicting, five])
}

fn print(text: &str) -> Result<(), CliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)
}

fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| CliError::Print(error.into()))?;
    print(&(text + "\n"))
}

/// On stderr; nothing at all where that is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // The template is constant; the default style is no loss if it were wrong.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos:>3}/{len} s") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, config: &LoopbackConfig, progress: Progress) {
    let Progress { run, runs, elapsed, total } = progress;
    let (n, conflict) = (config.replicas, config.conflict_percent);
    bar.set_message(format!(
        "{}, n={n}, {}, {conflict} % conflicts, run {run}/{runs}",
        config.protocol.name(),
        bench_text::durability(config.durability)
    ));
    bar.set_length(total.as_secs().max(1));
    bar.set_position(elapsed.as_secs());
}
