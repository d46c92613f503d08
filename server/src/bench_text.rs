//! The report of `bench`, for people.

use std::fmt::Write as _;

use comfy_table::Table;
use panchayat::Durability;
use panchayat_bench::geo::Check;
use panchayat_bench::loopback::{Conditions, Figures, Load, Report, Row};

use crate::table::table;

/// The whole report, as lines of text.
pub(crate) fn draw(report: &Report) -> String {
    let mut text = conditions(&report.conditions);
    let _ = writeln!(text, "\n{}", rates(report));
    let _ = writeln!(text, "\n{}", threads(report));
    if report.rows.len() > report.runs.len() {
        let _ = writeln!(text, "\n{}", rows(&report.rows));
    }
    text.push('\n');
    text.push_str(&traffic(&report.median));
    text.push('\n');
    text.push_str(&checks(&report.checks));
    text.push('\n');
    text
}

/// A line for each.
pub(crate) fn checks(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let word = if check.passed { "PASS" } else { "FAIL" };
        format!("{word}  {}: {}\n", check.name, check.figures)
    };
    checks.iter().map(line).collect()
}

/// How people call it.
pub(crate) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::Os => "os",
        Durability::Memory => "memory",
    }
}

fn conditions(c: &Conditions) -> String {
    let load = match c.load {
        Load::Closed { clients } => format!("closed loop of {clients} clients at each replica"),
        Load::Open { rate } => {
            format!("open loop of {rate} commands/s in all, latency from when each was due")
        }
    };
    format!(
        "{} n={} on loopback in one process, no emulated delay, durability {}\n\
         {load}, in-process; {} B, {} % conflicts, {} keys, seed {}\n\
         {} s measured after {} s; {} cores, load average {:.2} before; commit {}\n",
        c.protocol,
        c.replicas,
        c.durability,
        c.payload_bytes,
        c.conflict_percent,
        c.keys,
        c.seed,
        c.duration_s,
        c.warm_up_s,
        c.machine.cores,
        c.machine.load_average,
        c.commit,
    )
}

fn rates(report: &Report) -> Table {
    let header = [
        "run",
        "commands/s",
        "p50 ms",
        "p99",
        "p99.9",
        "fast path",
        "CPU µs/cmd",
        "CPU used",
        "syncs/s",
        "sync p50 ms",
        "RSS MiB",
    ];
    let mut table = table(&header, 1);
    let mut row = |name: String, f: &Figures| {
        table.add_row([
            name,
            format!("{:.0}", f.commands_per_s),
            format!("{:.2}", f.p50_ms),
            format!("{:.2}", f.p99_ms),
            format!("{:.2}", f.p999_ms),
            format!("{:.1} %", f.fast_path * 100.0),
            format!("{:.2}", f.cpu_us_per_command),
            format!("{:.0} %", f.cpu_share * 100.0),
            format!("{:.0}", f.syncs_per_s),
            format!("{:.3}", f.sync_p50_ms),
            format!("{:.0} → {:.0}", f.memory_begin_mib, f.memory_end_mib),
        ]);
    };
    if report.runs.len() > 1 {
        for (run, figures) in (1..).zip(&report.runs) {
            row(run.to_string(), figures);
        }
    }
    row("median".to_owned(), &report.median);
    table
}

fn rows(rows: &[Row]) -> Table {
    let header = [
        "run",
        "until s",
        "commands/s",
        "p50 ms",
        "p99",
        "overloaded",
        "failed",
        "CPU µs/cmd",
        "messages/cmd",
        "sent again",
        "asked for",
        "kept",
        "RSS MiB",
    ];
    let mut table = table(&header, 1);
    for row in rows {
        table.add_row([
            row.run.to_string(),
            format!("{:.0}", row.end_s),
            format!("{:.0}", row.commands_per_s),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            row.overloaded.to_string(),
            row.failed.to_string(),
            format!("{:.2}", row.cpu_us_per_command),
            format!("{:.1}", row.messages_per_command),
            row.retransmissions.to_string(),
            row.fetches.to_string(),
            row.kept.to_string(),
            format!("{:.0}", row.memory_mib),
        ]);
    }
    table
}

fn threads(report: &Report) -> Table {
    let header = ["threads", "", "CPU µs/cmd", "each busy", "waited for CPU µs/cmd", "sleeps/cmd"];
    let mut table = table(&header, 1);
    for thread in &report.threads {
        table.add_row([
            thread.name.clone(),
            format!("× {}", thread.threads),
            format!("{:.2}", thread.cpu_us_per_command),
            format!("{:.0} %", thread.busy * 100.0),
            format!("{:.2}", thread.waited_us_per_command),
            format!("{:.3}", thread.sleeps_per_command),
        ]);
    }
    table
}

fn traffic(f: &Figures) -> String {
    format!(
        "per command: {:.1} messages in {:.2} frames of {:.0} B in all; {:.0} B in {:.2} datagrams \
         by {:.2} system calls; {:.2} turns\n",
        f.messages_per_command,
        f.frames_per_command,
        f.bytes_per_command,
        f.udp_bytes_per_command,
        f.datagrams_per_command,
        f.send_calls_per_command,
        f.turns_per_command,
    ) + &if f.sync_alone_p50_ms > 0.0 {
        format!("one sync alone, before the load: p50 {:.3} ms\n", f.sync_alone_p50_ms)
    } else {
        String::new()
    }
}
