//! A replica that lives for years: millions of commands while f members are dead, what that costs
//! the others, and how the dead come back. See `long_life/mod.rs` for what is real and what is not.
//!
//! ```text
//! cargo run --release -p panchayat-sim --example long_life
//! cargo run --release -p panchayat-sim --example long_life -- --replicas 5 --commands 1000000
//! cargo run --release -p panchayat-sim --example long_life -- --state-mib 1024
//! ```
//! `--json` prints one object per row, then one for the whole.

use std::error::Error;

#[path = "long_life/mod.rs"]
mod life;

use life::{Plan, Report};

/// How soon a member that returns must be current, in virtual time.
const CURRENT_US_MAX: u64 = 30_000_000;

fn arguments() -> Result<(Plan, bool), Box<dyn Error>> {
    let (mut json, mut replicas, mut state_mib) = (false, 3, 0);
    let mut changes: Vec<(String, u64)> = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, Box<dyn Error>> {
            Ok(words.next().ok_or_else(|| format!("{word} N"))?.parse()?)
        };
        match word.as_str() {
            "--json" => json = true,
            "--replicas" => replicas = number()? as usize,
            "--state-mib" => state_mib = number()?,
            _ => changes.push((word.clone(), number()?)),
        }
    }
    if ![3, 5].contains(&replicas) {
        return Err("--replicas 3 or 5".into());
    }
    let mut plan = match state_mib {
        0 => Plan::years(replicas),
        mib => Plan::large_state(replicas, mib),
    };
    for (word, number) in changes {
        match word.as_str() {
            "--commands" => plan.dead_for = number,
            "--before" => plan.before = number,
            "--after" => plan.after = number,
            "--per-second" => plan.per_second = number.max(1),
            "--seed" => plan.seed = number,
            "--keys" => plan.keys = number,
            "--conflicts" => plan.conflict_percent = number,
            "--sessions" => plan.session_percent = number,
            "--retries" => plan.retry_percent = number,
            "--retention-s" => plan.retention.0 = number * 1_000_000,
            "--retained-max" => plan.retained_max = number as usize,
            "--snapshot-mib" => plan.snapshot_journal_bytes = (number as usize) << 20,
            "--transfer-mb" => plan.transfer_bytes_per_s = number * 1_000_000,
            "--rows" => plan.row_every = number.max(1),
            other => return Err(format!("what is {other}?").into()),
        }
    }
    Ok((plan, json))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (plan, json) = arguments()?;
    if !json {
        println!("{plan:?}\n\n{}", life::head());
    }
    let report = life::run(&plan, &mut |row| {
        println!("{}", if json { row.json() } else { row.text() });
    });
    println!("{}", if json { report.json() } else { format!("\n{}", report.text()) });
    check(&plan, &report)
}

/// What must hold of every run.
fn check(plan: &Plan, report: &Report) -> Result<(), Box<dyn Error>> {
    let mut failed = Vec::new();
    if let Err(what) = report.check(plan) {
        failed.push(what);
    }
    match report.current_us() {
        Some(us) if us <= CURRENT_US_MAX || plan.state_mib > 0 => {}
        Some(us) => failed.push(format!("current only after {} ms", us / 1_000)),
        None => failed.push("a member never became current".into()),
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}
