//! Runs a range of seeds against EPaxos and prints seeds per second, coverage and violations; a
//! single seed with `--trace` prints its readable trace, or what of it led to the violation.
//!
//! ```text
//! cargo run --release -p panchayat-sim --example seeds -- --replicas 5 0..200
//! cargo run --release -p panchayat-sim --example seeds -- --replicas 5 --trace 17
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use panchayat_epaxos::EPaxos;
use panchayat_sim::{Options, missing_coverage, run_range, run_seed};

const EXPLAINED_LINES: usize = 60;

struct Arguments {
    replicas: usize,
    jobs: usize,
    trace: Option<Option<String>>,
    seeds: std::ops::Range<u64>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments { replicas: 5, jobs: 2, trace: None, seeds: 0..100 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--replicas" => parsed.replicas = words.next().ok_or("--replicas N")?.parse()?,
            "--jobs" => parsed.jobs = words.next().ok_or("--jobs N")?.parse()?,
            "--trace" => parsed.trace = Some(None),
            "--grep" => parsed.trace = Some(Some(words.next().ok_or("--grep TEXT")?)),
            range => match range.split_once("..") {
                Some((from, to)) => parsed.seeds = from.parse()?..to.parse()?,
                None => {
                    let seed: u64 = range.parse()?;
                    parsed.seeds = seed..seed + 1;
                }
            },
        }
    }
    Ok(parsed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    match &arguments.trace {
        Some(wanted) => {
            trace(&arguments, wanted.as_deref());
            Ok(())
        }
        None => range(&arguments),
    }
}

fn trace(arguments: &Arguments, wanted: Option<&str>) {
    let options = Options { replicas: arguments.replicas, text: true };
    let report = run_seed::<EPaxos>(arguments.seeds.start, &options);
    match (&report.violation, wanted) {
        (_, Some(wanted)) => {
            for line in report.lines.iter().flatten() {
                let text = line.to_string();
                if text.contains(wanted) || line.instance.is_some_and(|i| i.to_string() == wanted) {
                    println!("{text}");
                }
            }
        }
        (None, None) => report.lines.iter().flatten().for_each(|line| println!("{line}")),
        (Some(_), None) => {
            report.explanation(EXPLAINED_LINES).iter().for_each(|line| println!("{line}"));
        }
    }
    match &report.violation {
        Some(violation) => println!("\nVIOLATION {violation}"),
        None => println!("\nno violation; {} ms of virtual time", report.virtual_us / 1_000),
    }
}

fn range(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let options = Options::new(arguments.replicas);
    let begun = Instant::now();
    let (steps, virtual_us) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = run_range::<EPaxos>(
        arguments.seeds.clone(),
        arguments.jobs,
        &options,
        |report| {
            steps.fetch_add(report.steps, Ordering::Relaxed);
            virtual_us.fetch_add(report.virtual_us, Ordering::Relaxed);
            if let Some(violation) = &report.violation {
                println!("VIOLATION {violation}");
                println!(
                    "  cargo run --release -p panchayat-sim --example seeds -- --replicas {} --trace {}",
                    violation.replicas, violation.seed
                );
            }
        },
    );
    let seconds = begun.elapsed().as_secs_f64();
    print!("{}", summary.coverage);
    println!(
        "{} seeds of {} replicas in {seconds:.1} s: {:.1} seeds/s with {} jobs, {} events and {} ms \
         of virtual time a seed",
        summary.runs,
        arguments.replicas,
        summary.runs as f64 / seconds,
        arguments.jobs,
        steps.load(Ordering::Relaxed) / summary.runs.max(1),
        virtual_us.load(Ordering::Relaxed) / 1_000 / summary.runs.max(1),
    );
    println!(
        "median {} commands, {} faults, {} crashes; {} violations",
        summary.median(|s| s.commands),
        summary.median(|s| s.faults),
        summary.median(|s| s.crashes),
        summary.violations.len()
    );
    let missing = missing_coverage(&summary.coverage, arguments.replicas, summary.runs);
    missing.iter().for_each(|missing| println!("MISSING {missing}"));
    match (summary.violations.is_empty(), missing.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err("the run did not come to what it should have".into()),
        (false, _) => Err("violations".into()),
    }
}
