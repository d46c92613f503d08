//! A report of `panchayat geo` for people.

use std::fmt::Write as _;

use comfy_table::Table;
use panchayat_bench::geo::{Check, Report, SiteReport};
use panchayat_bench::histogram::Quantiles;

use crate::geo_chart;
use crate::table::table;

/// The whole report, as lines of text.
pub(crate) fn draw(report: &Report) -> String {
    let mut text = conditions(report);
    for table in [latencies(report), bounds(report), links(report)] {
        let _ = writeln!(text, "\n{table}");
    }
    text.push_str(&geo_chart::draw(report));
    text.push('\n');
    text.push_str(&totals(report));
    text.push('\n');
    for check in &report.checks {
        text.push_str(&line(check));
    }
    if !report.emulator.valid {
        text.push_str(
            "\nThe emulator was late: this machine was too busy, so do not trust these latencies.\n",
        );
    }
    text
}

fn conditions(report: &Report) -> String {
    let c = &report.conditions;
    let keys = match c.zipf {
        Some(theta) => format!("{} keys, Zipf {theta}", c.keys),
        None => format!("{} keys, uniform", c.keys),
    };
    let led = match &c.leader {
        Some(leader) => format!(" led from {leader}"),
        None => String::new(),
    };
    format!(
        "{} on {}{led}, {} links, durability {}\n\
         {}; {} B, {} % conflicts, {keys}\n\
         {} s measured after {} s, seed {}, commit {}\n",
        c.protocol,
        c.set,
        c.profile,
        c.durability,
        c.load,
        c.payload_bytes,
        c.conflict_percent,
        c.duration_s,
        c.warm_up_s,
        c.seed,
        c.commit,
    )
}

fn latencies(report: &Report) -> Table {
    let header = ["ms", "", "p50", "p90", "p99", "p99.9", "commands", "fast path"];
    let mut table = table(&header, 2);
    for site in &report.sites {
        let row = |name: &str, kind: &str, q: &Quantiles, rest: [String; 2]| {
            let quantiles = [q.p50, q.p90, q.p99, q.p999].map(|ms| format!("{ms:.2}"));
            let names = [name.to_owned(), kind.to_owned()];
            names.into_iter().chain(quantiles).chain(rest).collect::<Vec<_>>()
        };
        let counts = [site.commands.to_string(), format!("{:.1} %", site.fast_path_rate * 100.0)];
        table.add_row(row(&site.site, "commit", &site.commit_ms, counts));
        table.add_row(row("", "execute", &site.execute_ms, Default::default()));
    }
    table
}

fn bounds(report: &Report) -> Table {
    let mut table = table(
        &["commit p50", "ms", "predicted ms", "bound ms", "ratio", "light in fibre ms", "ratio"],
        1,
    );
    for site in &report.sites {
        let fibre = |value: fn(&SiteReport) -> Option<f64>| {
            value(site).map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
        };
        table.add_row([
            site.site.clone(),
            format!("{:.2}", site.commit_ms.p50),
            format!("{:.2}", site.predicted_ms),
            format!("{:.2}", site.bound_ms),
            format!("{:.3}", site.commit_over_bound),
            fibre(|site| site.fibre_ms),
            fibre(|site| site.commit_over_fibre),
        ]);
    }
    table
}

fn links(report: &Report) -> Table {
    let mut table = table(&["emulated link", "round trip ms", "ping p50", "ping p99", "pings"], 1);
    for pair in &report.emulator.pairs {
        table.add_row([
            pair.between.join("–"),
            format!("{:.2}", pair.rtt_ms),
            format!("{:.2}", pair.ping_p50_ms),
            format!("{:.2}", pair.ping_p99_ms),
            pair.pings.to_string(),
        ]);
    }
    table
}

fn totals(report: &Report) -> String {
    let mut text = format!(
        "{:.0} commands/s in all; per command {:.1} messages, {:.0} B in frames, {:.0} B on the \
         wire\n",
        report.throughput_per_s,
        report.messages_per_command,
        report.bytes_per_command,
        report.udp_bytes_per_command,
    );
    if report.conditions.leader.is_some() {
        let counted = report.counters.iter().map(|(name, count)| format!("{name} {count}"));
        let _ = writeln!(text, "counted: {}", counted.collect::<Vec<_>>().join(", "));
    }
    for standing in &report.standing {
        let (at_s, site) = (standing.at_ms / 1e3, &standing.site);
        let _ = writeln!(text, "{at_s:.1} s {site}: {}", standing.status);
    }
    if let Some(disk) = report.disk {
        let _ = writeln!(
            text,
            "disk: one sync p50 {:.3} ms, p99 {:.3} ms; the journals' under load p50 {:.3} ms",
            disk.sync_p50_ms, disk.sync_p99_ms, disk.journal_sync_p50_ms,
        );
    }
    text
}

fn line(check: &Check) -> String {
    let word = if check.passed { "PASS" } else { "FAIL" };
    format!("{word}  {}: {}\n", check.name, check.figures)
}
