//! A report of `panchayat geo experiment` for people at a terminal.

use std::fmt::Write as _;

use comfy_table::Table;
use panchayat_bench::experiment::{Report, names, shipped};

use crate::table::table;

/// The experiments that come with the program.
pub(crate) fn list() -> String {
    let mut rows = table(&["name", "runs", "what it is to find out"], 1);
    for name in names() {
        if let Some(Ok(experiment)) = shipped(name) {
            let values = experiment.sweep.as_ref().map_or(1, |sweep| sweep.values.len());
            let runs = values * experiment.contenders.len() * experiment.lanes.len();
            rows.add_row([name.to_owned(), runs.to_string(), experiment.question]);
        }
    }
    if let Some(column) = rows.column_mut(2) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    format!("{rows}\n")
}

/// The whole report, as lines of text.
pub(crate) fn draw(report: &Report) -> String {
    let mut text = format!("{}\n{}\n\n{}\n", report.title, report.question, conditions(report));
    let _ = writeln!(text, "\n{}", runs(report));
    if report.points.len() <= 12 {
        let _ = writeln!(text, "\n{}", cities(report));
    }
    if !report.compared.is_empty() {
        let _ = writeln!(text, "\n{}", compared(report));
    }
    text.push('\n');
    for finding in &report.findings {
        let _ = writeln!(text, "- {finding}");
    }
    let checks = || report.points.iter().flat_map(|point| &point.checks);
    let failed: Vec<_> = report
        .points
        .iter()
        .flat_map(|point| point.checks.iter().map(move |check| (point, check)))
        .filter(|(_, check)| !check.passed)
        .collect();
    let _ = writeln!(
        text,
        "\n{} of {} checks passed",
        checks().count() - failed.len(),
        checks().count()
    );
    for (point, check) in failed {
        let at = point.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        let engine = point.engine.name();
        let _ = writeln!(
            text,
            "FAIL  {engine}, {}{at}: {}: {}",
            point.series, check.name, check.figures
        );
    }
    text
}

fn conditions(report: &Report) -> String {
    let c = &report.conditions;
    let engines: Vec<_> = c.engines.iter().map(|engine| engine.name()).collect();
    let varied = match &c.axis {
        Some(axis) => format!("; varied: {axis} over {}", c.values.join(", ")),
        None => String::new(),
    };
    format!(
        "{} on {}, {} links, durability {}, engine {}\n{}, {} B payload, {} % conflicts, {} keys{}\n\
         {}; {} s after {} s, {} ×, seed {}, commit {}{varied}",
        c.workload,
        c.set,
        c.profile,
        c.durability,
        engines.join(" and "),
        c.workload,
        c.payload_bytes,
        c.conflict_percent,
        c.keys,
        c.zipf.map_or_else(String::new, |theta| format!(", Zipf {theta}")),
        c.load,
        c.duration_s,
        c.warm_up_s,
        c.repetitions,
        c.seed,
        c.commit,
    )
}

fn ms(value: f64) -> String {
    format!("{value:.1}")
}

/// A line for each run, all cities together.
fn runs(report: &Report) -> Table {
    let mut rows = table(
        &[
            "engine",
            "series",
            "at",
            "commands/s",
            "commit mean",
            "p99 ms",
            "execute mean",
            "p99 ms",
            "p99.9",
            "1 round",
            "msgs",
            "bytes",
        ],
        3,
    );
    for point in &report.points {
        let (commit, execute) = (point.overall.commit_ms, point.overall.execute_ms);
        rows.add_row([
            point.engine.name().to_owned(),
            point.series.clone(),
            point.at.clone().unwrap_or_default(),
            format!("{:.0}", point.throughput_per_s),
            ms(point.overall.commit_mean_of_cities_ms),
            ms(commit.p99),
            ms(point.overall.execute_mean_of_cities_ms),
            ms(execute.p99),
            ms(execute.p999),
            format!("{:.1} %", point.overall.fast_path_rate * 100.0),
            format!("{:.2}", point.messages_per_command),
            format!("{:.0}", point.bytes_per_command),
        ]);
    }
    rows
}

fn cities(report: &Report) -> Table {
    let mut rows = table(
        &[
            "engine",
            "series",
            "at",
            "city",
            "bound ms",
            "commit p50",
            "p99",
            "of bound",
            "of fibre",
            "execute p50",
            "p99",
            "p99.9",
        ],
        4,
    );
    for point in &report.points {
        for site in &point.sites {
            rows.add_row([
                point.engine.name().to_owned(),
                point.series.clone(),
                point.at.clone().unwrap_or_default(),
                site.site.clone(),
                ms(site.bound_ms),
                ms(site.commit_ms.p50),
                ms(site.commit_ms.p99),
                format!("{:.2}", site.commit_over_bound),
                site.commit_over_fibre.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                ms(site.execute_ms.p50),
                ms(site.execute_ms.p99),
                ms(site.execute_ms.p999),
            ]);
        }
    }
    rows
}

fn compared(report: &Report) -> Table {
    let mut rows = table(
        &["series", "at", "city", "simulated p50", "real p50", "real/simulated", "at p99"],
        3,
    );
    for row in &report.compared {
        rows.add_row([
            row.series.clone(),
            row.at.clone().unwrap_or_default(),
            row.site.clone(),
            format!("{:.2}", row.simulated_p50_ms),
            format!("{:.2}", row.real_p50_ms),
            format!("{:.3}", row.real_over_simulated_p50),
            format!("{:.3}", row.real_over_simulated_p99),
        ]);
    }
    rows
}
