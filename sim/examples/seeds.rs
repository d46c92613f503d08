//! Runs a range of seeds against a protocol and prints seeds per second, coverage and violations; a
//! single seed with `--trace` prints its readable trace, or what of it led to the violation.
//!
//! ```text
//! cargo run --release -p panchayat-sim --example seeds -- --replicas 5 0..200
//! cargo run --release -p panchayat-sim --example seeds -- --replicas 5 --trace 17
//! cargo run --release -p panchayat-sim --example seeds -- --protocol multipaxos 0..200
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use panchayat_epaxos::EPaxos;
use panchayat_epochs::Epochs;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use panchayat_sim::{Options, Subject, run_range, run_seed};

const EXPLAINED_LINES: usize = 60;

struct Arguments {
    protocol: String,
    replicas: usize,
    jobs: usize,
    trace: Option<Option<String>>,
    load: panchayat_sim::Load,
    seeds: std::ops::Range<u64>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let protocol = "epaxos".to_owned();
    let mut parsed = Arguments {
        protocol,
        replicas: 5,
        jobs: 2,
        trace: None,
        load: panchayat_sim::Load::Drawn,
        seeds: 0..100,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--protocol" => parsed.protocol = words.next().ok_or("--protocol NAME")?,
            "--replicas" => parsed.replicas = words.next().ok_or("--replicas N")?.parse()?,
            "--jobs" => parsed.jobs = words.next().ok_or("--jobs N")?.parse()?,
            "--ledger" => parsed.load = panchayat_sim::Load::Ledger,
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
    match arguments.protocol.as_str() {
        "epaxos" => run::<EPaxos>(&arguments),
        "multipaxos" => run::<MultiPaxos>(&arguments),
        "fastpaxos" => run::<FastPaxos>(&arguments),
        "epochs" => run::<Epochs>(&arguments),
        other => Err(format!("no protocol is called {other}").into()),
    }
}

fn run<P: Subject>(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match &arguments.trace {
        Some(wanted) => {
            trace::<P>(arguments, wanted.as_deref());
            Ok(())
        }
        None => range::<P>(arguments),
    }
}

fn trace<P: Subject>(arguments: &Arguments, wanted: Option<&str>) {
    let options = Options { text: true, load: arguments.load, ..Options::new(arguments.replicas) };
    let report = run_seed::<P>(arguments.seeds.start, &options);
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

fn range<P: Subject>(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let options = Options { load: arguments.load, ..Options::new(arguments.replicas) };
    let begun = Instant::now();
    let (steps, virtual_us) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = run_range::<P>(arguments.seeds.clone(), arguments.jobs, &options, |report| {
        steps.fetch_add(report.steps, Ordering::Relaxed);
        virtual_us.fetch_add(report.virtual_us, Ordering::Relaxed);
        if let Some(violation) = &report.violation {
            println!("VIOLATION {violation}");
            println!(
                "  cargo run --release -p panchayat-sim --example seeds -- --protocol {} \
                     --replicas {} --trace {}",
                arguments.protocol, violation.replicas, violation.seed
            );
        }
    });
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
    let missing = P::required(arguments.replicas).missing(&summary.coverage, summary.runs);
    missing.iter().for_each(|missing| println!("MISSING {missing}"));
    match (summary.violations.is_empty(), missing.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err("the run did not come to what it should have".into()),
        (false, _) => Err("violations".into()),
    }
}
