//! `panchayat sim`: the production code in virtual time, with faults, seed by seed.

mod resume;
mod show;

use std::io::{IsTerminal as _, Write as _};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use panchayat_epaxos::EPaxos;
use panchayat_epochs::Epochs;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use panchayat_sim::{Missing, Options, Subject, Summary, Violation, run_range, run_seed};
use serde::Serialize;

use crate::cli::{self, SubjectName};
use crate::errors::{CliError, FAILED};
use resume::Done;

/// Seeds between two saves of a run that can be resumed.
const CHUNK: u64 = 500;
/// Lines of the trace shown for a violation.
const EXPLAINED_LINES: usize = 60;

/// What `--json` prints, and what a resumed run adds up.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    commit: &'a str,
    protocol: &'a str,
    load: &'a str,
    replicas: usize,
    seeds: &'a [Range<u64>],
    runs: u64,
    violations: &'a [resume::Found],
    coverage: &'a std::collections::BTreeMap<String, u64>,
    median: Medians,
    seconds: f64,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct Medians {
    commands: u64,
    faults: u64,
    crashes: u64,
}

pub(crate) fn run(arguments: &cli::Sim) -> Result<ExitCode, CliError> {
    match arguments.protocol {
        SubjectName::Epaxos => run_protocol::<EPaxos>(arguments),
        SubjectName::Multipaxos => run_protocol::<MultiPaxos>(arguments),
        SubjectName::Fastpaxos => run_protocol::<FastPaxos>(arguments),
        SubjectName::Epochs => run_protocol::<Epochs>(arguments),
    }
}

fn run_protocol<P: Subject>(arguments: &cli::Sim) -> Result<ExitCode, CliError> {
    // An assertion that fails in a run is a finding, with its seed; its backtrace is noise here.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.trace {
        return trace::<P>(arguments);
    }
    let mut done = match &arguments.resume {
        Some(path) => Done::load(path, arguments)?,
        None => Done::default(),
    };
    let before = done.seconds;
    let begun = Instant::now();
    let bar = progress_bar(arguments);
    bar.set_position(
        arguments.seeds.end.saturating_sub(arguments.seeds.start) - left(&done, arguments),
    );
    for chunk in done.missing(&arguments.seeds, CHUNK) {
        let options = options(arguments);
        let summary = run_range::<P>(chunk.clone(), arguments.jobs, &options, |report| {
            bar.inc(1);
            if let Some(violation) = &report.violation {
                bar.suspend(|| eprintln!("{}", told(arguments, violation)));
            }
        });
        done.add(chunk, &summary);
        done.seconds = before + begun.elapsed().as_secs_f64();
        if let Some(path) = &arguments.resume {
            done.save(path, arguments)?;
        }
    }
    bar.finish_and_clear();
    let missing = missing::<P>(arguments, &done);
    let ok = done.violations.is_empty() && missing.is_empty();
    let printed = if arguments.json {
        print_json(arguments, &done, ok)
    } else {
        show::print(arguments, &done, &missing)
    };
    printed.map_err(CliError::Print)?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn options(arguments: &cli::Sim) -> Options {
    Options { load: arguments.load.into(), ..Options::new(arguments.replicas) }
}

fn left(done: &Done, arguments: &cli::Sim) -> u64 {
    done.missing(&arguments.seeds, CHUNK).iter().map(|chunk| chunk.end - chunk.start).sum()
}

/// What so many seeds should have come to and did not: the swarm has a hole.
fn missing<P: Subject>(arguments: &cli::Sim, done: &Done) -> Vec<Missing> {
    P::required(arguments.replicas).missing(&done.coverage(), done.runs())
}

/// What was violated, and the line that shows it again.
fn told(arguments: &cli::Sim, violation: &Violation) -> String {
    format!("violation: {violation}\n  {}", arguments.shown_again(violation.seed))
}

fn progress_bar(arguments: &cli::Sim) -> ProgressBar {
    let bar = ProgressBar::new(arguments.seeds.end.saturating_sub(arguments.seeds.start));
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
    bar
}

/// One seed with everything that happened, or what of it led to the violation.
fn trace<P: Subject>(arguments: &cli::Sim) -> Result<ExitCode, CliError> {
    let options = Options { text: true, ..options(arguments) };
    let report = run_seed::<P>(arguments.seeds.start, &options);
    let mut out = std::io::stdout().lock();
    let mut print = || match &report.violation {
        Some(violation) => {
            for line in report.explanation(EXPLAINED_LINES) {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "\n{}", told(arguments, violation))
        }
        None => {
            for line in report.lines.iter().flatten() {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "\nno violation in {} ms of virtual time", report.virtual_us / 1_000)
        }
    };
    print().map_err(CliError::Print)?;
    Ok(if report.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn print_json(arguments: &cli::Sim, done: &Done, ok: bool) -> std::io::Result<()> {
    let outcome = Outcome {
        commit: panchayat_bench::COMMIT,
        protocol: arguments.protocol.name(),
        load: arguments.load.name(),
        replicas: arguments.replicas,
        seeds: &done.seeds,
        runs: done.runs(),
        violations: &done.violations,
        coverage: &done.coverage,
        median: Medians {
            commands: done.median(|strength| strength.commands),
            faults: done.median(|strength| strength.faults),
            crashes: done.median(|strength| strength.crashes),
        },
        seconds: done.seconds,
        ok,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &outcome)?;
    writeln!(out)
}

impl Done {
    fn add(&mut self, seeds: Range<u64>, summary: &Summary) {
        self.note(seeds);
        for (name, count) in &summary.coverage.0 {
            *self.coverage.entry(name.clone()).or_default() += count;
        }
        self.violations.extend(summary.violations.iter().map(resume::Found::of));
        self.strengths.extend(summary.strengths.iter().map(resume::Strength::of));
    }
}
