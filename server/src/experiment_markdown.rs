//! A report of `panchayat geo experiment` as Markdown: what the README's results are made of.

use std::fmt::Write as _;

use panchayat_bench::experiment::{PointReport, Report};

/// Conditions, one table, and what was found.
pub(crate) fn draw(report: &Report) -> String {
    let c = &report.conditions;
    let engines: Vec<_> = c.engines.iter().map(|engine| engine.name()).collect();
    let mut text = format!(
        "**{}** (`panchayat geo experiment {} --engine {}`, commit `{}`; {}, `{}` links, {}, durability {}, \
         {} with {} B and {} % on one key, {} s)\n\n",
        report.title,
        report.name,
        if engines.len() > 1 { "both" } else { engines[0] },
        c.commit,
        c.set,
        c.profile,
        c.load,
        c.durability,
        c.workload,
        c.payload_bytes,
        c.conflict_percent,
        c.duration_s,
    );
    let numbers = report.points.iter().any(|point| point.x.is_some());
    text.push_str(&if numbers { swept(report) } else { by_city(report) });
    text.push('\n');
    for finding in &report.findings {
        let _ = writeln!(text, "- {finding}");
    }
    text
}

fn rule(columns: usize) -> String {
    format!("|{}\n", "---|".repeat(columns))
}

/// Median commit and 99th percentile of execution, by city.
fn by_city(report: &Report) -> String {
    let mut text = String::new();
    let mut head: Vec<&str> = Vec::new();
    for point in &report.points {
        let cities: Vec<&str> = point.sites.iter().map(|site| site.site.as_str()).collect();
        if cities != head {
            // Another set of cities begins another table.
            let names = cities.join(" | ");
            let columns = cities.len() + 3;
            let _ = write!(
                text,
                "{}| commit p50 / execution p99, ms | {names} | mean | messages |\n{}",
                if head.is_empty() { "" } else { "\n" },
                rule(columns)
            );
            head = cities;
        }
        let cells: Vec<String> = point
            .sites
            .iter()
            .map(|site| format!("{:.1} / {:.1}", site.commit_ms.p50, site.execute_ms.p99))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} |",
            name(point),
            cells.join(" | "),
            point.overall.execute_mean_of_cities_ms,
            point.messages_per_command,
        );
    }
    text
}

/// Mean and 99th percentile of execution over the axis.
fn swept(report: &Report) -> String {
    let values = &report.conditions.values;
    let label = report.conditions.axis_label.as_deref().unwrap_or_default();
    let mut text = format!(
        "| execution, mean / p99 in ms; {label} | {} |\n{}",
        values.join(" | "),
        rule(values.len() + 1)
    );
    let mut rows: Vec<String> = Vec::new();
    for point in &report.points {
        let row = format!("{}{}", point.series, engine(report, point));
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    for row in rows {
        let own = report
            .points
            .iter()
            .filter(|p| p.repetition == 0 && format!("{}{}", p.series, engine(report, p)) == row);
        let cells: Vec<String> = own
            .map(|point| {
                let overall = &point.overall;
                format!("{:.1} / {:.1}", overall.execute_mean_of_cities_ms, overall.execute_ms.p99)
            })
            .collect();
        let _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
    }
    text
}

fn name(point: &PointReport) -> String {
    let at = point.at.as_ref().map(|at| format!(", {at}")).unwrap_or_default();
    format!("{}{at}", point.series)
}

fn engine(report: &Report, point: &PointReport) -> String {
    match report.conditions.engines.len() {
        1 => String::new(),
        _ => format!(" ({})", point.engine.name()),
    }
}
