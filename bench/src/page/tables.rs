//! The tables of a page: conditions above, figures under the plots.

use std::fmt::Write as _;

use crate::experiment::{PointReport, Report};

use super::markup::escape;

/// What was run, as a list of terms.
pub(super) fn conditions(report: &Report) -> String {
    let conditions = &report.conditions;
    let mut rows: Vec<(&str, String)> = vec![
        ("commit", conditions.commit.clone()),
        ("cities", conditions.set.clone()),
        ("profile", conditions.profile.clone()),
        ("load", conditions.load.clone()),
        ("durability", conditions.durability.clone()),
        ("workload", workload(report)),
        ("payload", format!("{} bytes", conditions.payload_bytes)),
        (
            "measured",
            format!(
                "{} s after {} s, {} ×, seed {}",
                conditions.duration_s,
                conditions.warm_up_s,
                conditions.repetitions,
                conditions.seed
            ),
        ),
    ];
    if let Some(axis) = &conditions.axis {
        rows.push(("varied", format!("{axis}: {}", conditions.values.join(", "))));
    }
    if !conditions.faults.is_empty() {
        rows.push(("faults", conditions.faults.join("; ")));
    }
    if let Some(machine) = &conditions.simulated_machine {
        rows.push(("simulated machines", machine.clone()));
    }
    if let Some(machine) = &conditions.machine {
        rows.push((
            "machine",
            format!(
                "{} processors for all replicas and clients, load average {:.1} before",
                machine.cores, machine.load_average
            ),
        ));
    }
    let mut out = String::from("<section><h2>Conditions</h2><dl class=\"conditions\">");
    for (term, text) in rows {
        let _ = write!(out, "<div><dt>{term}</dt><dd>{}</dd></div>", escape(&text));
    }
    out + "</dl></section>\n"
}

fn workload(report: &Report) -> String {
    let conditions = &report.conditions;
    let skew = match conditions.zipf {
        Some(theta) => format!("Zipf {theta}"),
        None => "uniform".to_owned(),
    };
    let mut text = format!("{}, {} keys, {skew}", conditions.workload, conditions.keys);
    if conditions.workload == "mix" {
        let _ = write!(text, ", {} % on one common key", conditions.conflict_percent);
    }
    text
}

/// A table with a head; `text_columns` of them hold text.
fn table(head: &[&str], text_columns: usize, rows: &[Vec<String>]) -> String {
    let class = |at: usize| if at < text_columns { " class=\"text\"" } else { "" };
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    for (at, cell) in head.iter().enumerate() {
        let _ = write!(out, "<th{}>{cell}</th>", class(at));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            // Cells that carry markup begin with it; everything else was escaped by its maker.
            let _ = write!(out, "<td{}>{cell}</td>", class(at));
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div>\n"
}

/// Everything under the plots.
pub(super) fn tables(report: &Report) -> String {
    let mut out = String::from("<section><h2>Figures</h2>");
    out.push_str("<h3>Latency by city</h3><p class=\"note\">Milliseconds. Commit: from the proposal to the \
        durable decision at the client's replica; execution: to the answer. “of bound” is the median commit \
        over one round trip to the nearest majority; “of fibre” over the same for light in straight fibre.</p>");
    out.push_str(&by_city(report));
    out.push_str("<h3>Every run</h3>");
    out.push_str(&by_run(report));
    if !report.compared.is_empty() {
        out.push_str(
            "<h3>Both engines side by side</h3><p class=\"note\">Commit latency, milliseconds. \
            The real engine adds processors, disks and the emulator's own lateness.</p>",
        );
        out.push_str(&compared(report));
    }
    if report.points.iter().any(|point| point.emulator.is_some()) {
        out.push_str("<h3>The emulator's self-check</h3><p class=\"note\">Round trips measured in the same runs, \
            of heartbeats on the real engine and of frames on the simulated one, against what was asked for without \
            jitter; and how late packets left, which in virtual time is never (milliseconds).</p>");
        out.push_str(&emulator(report));
    }
    out.push_str("<h3>Checks</h3>");
    out.push_str(&checks(report));
    out + "</section>\n"
}

fn place(point: &PointReport) -> Vec<String> {
    let mut cells =
        vec![escape(&point.series), point.at.as_deref().map(escape).unwrap_or_default()];
    cells[0] = format!("{} <small>{}</small>", cells[0], point.engine.name());
    if point.repetition > 0 {
        cells[0].push_str(&format!(" #{}", point.repetition + 1));
    }
    cells
}

fn ms(value: f64) -> String {
    format!("{value:.1}")
}

fn by_city(report: &Report) -> String {
    let head = [
        "series",
        "at",
        "city",
        "commands",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "of bound",
        "of fibre",
        "execution p50",
        "p90",
        "p99",
        "p99.9",
        "one round trip",
        "no result",
    ];
    let rows = report.points.iter().flat_map(|point| {
        point.sites.iter().map(move |site| {
            let (commit, execute) = (site.commit_ms, site.execute_ms);
            let failures = site.failures;
            let mut cells = place(point);
            cells.extend([
                escape(&site.site),
                site.commands.to_string(),
                ms(commit.p50),
                ms(commit.p90),
                ms(commit.p99),
                ms(commit.p999),
                format!("{:.2}", site.commit_over_bound),
                site.commit_over_fibre.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                ms(execute.p50),
                ms(execute.p90),
                ms(execute.p99),
                ms(execute.p999),
                format!("{:.1} %", site.fast_path_rate * 100.0),
                (failures.overloaded + failures.not_applied + failures.unknown).to_string(),
            ]);
            cells
        })
    });
    table(&head, 3, &rows.collect::<Vec<_>>())
}

fn by_run(report: &Report) -> String {
    let head = [
        "series",
        "at",
        "protocol",
        "commands/s",
        "commit mean",
        "execution mean",
        "p99",
        "one round trip",
        "messages / command",
        "bytes / command",
        "in components",
        "mean size",
        "largest",
    ];
    let rows = report.points.iter().map(|point| {
        let mut cells = place(point);
        cells.extend([
            escape(&match &point.leader {
                Some(city) => format!("{} ({city})", point.protocol),
                None => point.protocol.clone(),
            }),
            format!("{:.0}", point.throughput_per_s),
            ms(point.overall.commit_mean_of_cities_ms),
            ms(point.overall.execute_mean_of_cities_ms),
            ms(point.overall.execute_ms.p99),
            format!("{:.1} %", point.overall.fast_path_rate * 100.0),
            format!("{:.2}", point.messages_per_command),
            format!("{:.0}", point.bytes_per_command),
            format!("{:.1} %", point.components.share * 100.0),
            format!("{:.1}", point.components.mean),
            point.components.max.map_or_else(String::new, |max| max.to_string()),
        ]);
        cells
    });
    table(&head, 3, &rows.collect::<Vec<_>>())
}

fn compared(report: &Report) -> String {
    let head = [
        "series",
        "at",
        "city",
        "closed form",
        "simulated p50",
        "real p50",
        "real / simulated",
        "at p99",
    ];
    let rows = report.compared.iter().map(|row| {
        vec![
            escape(&row.series),
            row.at.as_deref().map(escape).unwrap_or_default(),
            escape(&row.site),
            ms(row.predicted_ms),
            format!("{:.2}", row.simulated_p50_ms),
            format!("{:.2}", row.real_p50_ms),
            format!("{:.3}", row.real_over_simulated_p50),
            format!("{:.3}", row.real_over_simulated_p99),
        ]
    });
    table(&head, 3, &rows.collect::<Vec<_>>())
}

fn emulator(report: &Report) -> String {
    let head = [
        "series", "at", "pair", "asked", "pings", "ping p50", "ping p99", "packets", "late p50",
        "late p99", "verdict",
    ];
    let rows = report.points.iter().flat_map(|point| {
        let emulator = point.emulator.iter();
        emulator.flat_map(move |emulator| {
            emulator.pairs.iter().map(move |pair| {
                let mut cells = place(point);
                let (class, word) =
                    if emulator.valid { ("pass", "valid") } else { ("fail", "late") };
                cells.extend([
                    escape(&pair.between.join("–")),
                    ms(pair.rtt_ms),
                    pair.pings.to_string(),
                    if pair.pings > 0 { format!("{:.2}", pair.ping_p50_ms) } else { String::new() },
                    if pair.pings > 0 { format!("{:.2}", pair.ping_p99_ms) } else { String::new() },
                    emulator.lateness.packets.to_string(),
                    format!("{:.3}", emulator.lateness.p50_ms),
                    format!("{:.3}", emulator.lateness.p99_ms),
                    format!("<span class=\"{class}\">{word}</span>"),
                ]);
                cells
            })
        })
    });
    table(&head, 3, &rows.collect::<Vec<_>>())
}

fn checks(report: &Report) -> String {
    let rows = report.points.iter().flat_map(|point| {
        point.checks.iter().map(move |check| {
            let mut cells = place(point);
            let (class, word) = if check.passed { ("pass", "PASS") } else { ("fail", "FAIL") };
            cells.extend([
                format!("<span class=\"{class}\">{word}</span>"),
                escape(&check.name),
                escape(&check.figures),
            ]);
            cells
        })
    });
    table(&["series", "at", "", "what must hold", "figures"], 5, &rows.collect::<Vec<_>>())
}
