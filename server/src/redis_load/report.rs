//! What a load on a running cluster saw.

use std::fmt::Write as _;

use panchayat_bench::histogram::Quantiles;
use panchayat_bench::load::Failures;
use serde::Serialize;

use crate::table::table;

/// Everything `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) workload: String,
    pub(super) load: String,
    pub(super) keys: u32,
    pub(super) zipf: Option<f64>,
    pub(super) payload_bytes: usize,
    pub(super) conflict_percent: f64,
    pub(super) duration_s: f64,
    pub(super) warm_up_s: f64,
    pub(super) seed: u64,
    pub(super) version: &'static str,
    pub(super) cities: Vec<CityReport>,
    pub(super) commands_per_s: f64,
    /// Over the commands of all cities.
    pub(super) latency_ms: Quantiles,
    pub(super) max_ms: f64,
    /// Whether every city answered commands, and each without failures.
    pub(super) ok: bool,
}

/// One city's.
#[derive(Debug, Serialize)]
pub(super) struct CityReport {
    pub(super) city: String,
    pub(super) address: String,
    /// Begun in the window and answered.
    pub(super) commands: u64,
    pub(super) commands_per_s: f64,
    /// From when a command was sent, or in an open loop was due, to its reply.
    pub(super) latency_ms: Quantiles,
    pub(super) max_ms: f64,
    pub(super) failures: Failures,
    /// Transactions undone because a watched key had changed.
    pub(super) undone: u64,
    /// Transactions not begun because a condition did not hold.
    pub(super) declined: u64,
    pub(super) last_error: Option<String>,
}

/// For people.
pub(super) fn draw(report: &Report) -> String {
    let keys = match report.zipf {
        Some(theta) => format!("{} keys, Zipf {theta}", report.keys),
        None => format!("{} keys, uniform", report.keys),
    };
    let conflicts = match &report.workload[..] {
        "mix" => format!(", {} % on one key", report.conflict_percent),
        _ => String::new(),
    };
    let mut text = format!(
        "{} over the Redis protocol: {}\n{keys}, {} B{conflicts}; {} s measured after {} s, seed {}\n\n",
        report.workload,
        report.load,
        report.payload_bytes,
        report.duration_s,
        report.warm_up_s,
        report.seed,
    );
    let header = [
        "city",
        "commands/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max, ms",
        "failed",
        "undone",
        "declined",
    ];
    let mut figures = table(&header, 1);
    let row = |name: &str, per_s: f64, q: &Quantiles, max: f64, rest: [u64; 3]| {
        let name = [name.to_owned(), format!("{per_s:.0}")];
        let ms = [q.p50, q.p90, q.p99, q.p999, max].map(|ms| format!("{ms:.2}"));
        name.into_iter().chain(ms).chain(rest.map(|count| count.to_string())).collect::<Vec<_>>()
    };
    let failed = |city: &CityReport| {
        city.failures.overloaded + city.failures.not_applied + city.failures.unknown
    };
    for city in &report.cities {
        let rest = [failed(city), city.undone, city.declined];
        figures.add_row(row(&city.city, city.commands_per_s, &city.latency_ms, city.max_ms, rest));
    }
    let sum = |of: fn(&CityReport) -> u64| report.cities.iter().map(of).sum();
    let rest = [
        report.cities.iter().map(failed).sum(),
        sum(|city| city.undone),
        sum(|city| city.declined),
    ];
    figures.add_row(row("all", report.commands_per_s, &report.latency_ms, report.max_ms, rest));
    let _ = writeln!(text, "{figures}");
    for city in &report.cities {
        if let Some(why) = &city.last_error {
            let Failures { overloaded, not_applied, unknown } = city.failures;
            let _ = writeln!(
                text,
                "{}: {overloaded} refused as too many, {not_applied} not applied, {unknown} unknown; last: {why}",
                city.city
            );
        }
    }
    text
}
