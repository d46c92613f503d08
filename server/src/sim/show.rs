//! The result of a range of seeds, for people.

use std::io::Write as _;

use comfy_table::Table;

use panchayat_sim::Missing;

use super::resume::Done;
use crate::cli;

/// Counters side by side.
const COLUMNS: usize = 3;

pub(super) fn print(arguments: &cli::Sim, done: &Done, missing: &[Missing]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut table = Table::new();
    table.load_style(comfy_table::TableStyle::new());
    let cells: Vec<_> = done.coverage.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let rows = cells.len().div_ceil(COLUMNS);
    for row in 0..rows {
        let in_row = (0..COLUMNS).filter_map(|column| cells.get(column * rows + row));
        table.add_row(in_row.flat_map(|(name, count)| [(*name).to_owned(), count.to_string()]));
    }
    writeln!(out, "what happened, over all seeds:\n{table}\n")?;
    let runs = done.runs();
    writeln!(
        out,
        "{}, {} replicas, {} load, commit {}: {runs} seeds in {:.1} s, {:.1} seeds/s with {} jobs",
        arguments.protocol.name(),
        arguments.replicas,
        arguments.load.name(),
        panchayat_bench::COMMIT,
        done.seconds,
        runs as f64 / done.seconds.max(1e-9),
        arguments.jobs,
    )?;
    writeln!(
        out,
        "median seed: {} commands, {} faults, {} crashes",
        done.median(|strength| strength.commands),
        done.median(|strength| strength.faults),
        done.median(|strength| strength.crashes),
    )?;
    for found in &done.violations {
        writeln!(out, "VIOLATION {}\n  {}", found.text, arguments.shown_again(found.seed))?;
    }
    for missing in missing {
        writeln!(out, "MISSING {missing}")?;
    }
    if !missing.is_empty() {
        writeln!(
            out,
            "FAIL  {} of what so many seeds must have come to is missing",
            missing.len()
        )?;
    }
    match done.violations.len() {
        0 => writeln!(out, "PASS  no violation"),
        count => writeln!(out, "FAIL  {count} violations"),
    }
}
