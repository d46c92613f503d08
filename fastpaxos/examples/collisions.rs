//! Proposers in all cities at a rising rate, in virtual time: what collides, what that costs in each
//! city, where classic rounds take over. Plain next free slot and slots by expected arrival, side by
//! side under the same load.
//!
//! ```text
//! cargo run --release -p panchayat-fastpaxos --example collisions
//! cargo run --release -p panchayat-fastpaxos --example collisions -- --seconds 2 --json 20 100
//! ```
//! The production state machine runs over the network of its tests: the cities' distances, jitter as
//! `backbone` has it, a disk of up to 0.2 ms, Poisson arrivals. Rates are commands a second in each
//! city. `--json` prints one object per line.

use std::error::Error;

#[path = "../tests/net/mod.rs"]
mod net;

use net::geo::{INDIA3, INDIA5, NAMES};
use net::sweep::{Load, Point, run};
use net::{MS, Us};
use panchayat_fastpaxos::{Mode, Slots};

const RATES: &[u64] = &[1, 5, 20, 50, 100, 200, 500, 1_000];
const SKEW: Us = 50 * MS;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut json, mut seconds, mut rates) = (false, 10, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => json = true,
            "--seconds" => seconds = words.next().ok_or("--seconds N")?.parse()?,
            rate => rates.push(rate.parse::<u64>()?),
        }
    }
    if rates.is_empty() {
        rates = RATES.to_vec();
    }
    if rates.contains(&0) || seconds == 0 {
        return Err("rates and seconds are at least 1".into());
    }
    for cities in [INDIA3, INDIA5] {
        let names: Vec<&str> = cities.iter().map(|city| NAMES[*city]).collect();
        if !json {
            println!("\n{} cities, {seconds} s each; ms to the decision, p50/p99\n", names.len());
            println!(
                "| per s and city | slots | collided | fast | classic time | switches | {} | mean \
                 | tries | messages |",
                names.join(" | ")
            );
            println!("|{}", "---|".repeat(9 + names.len()));
        }
        for rate in rates.iter().copied() {
            for (name, slots, may_switch, skew) in [
                ("next free", Slots::NextFree, false, 0),
                ("by arrival", Slots::ByArrival, false, 0),
                ("by arrival, 50 ms skew", Slots::ByArrival, false, SKEW),
                ("next free, may switch", Slots::NextFree, true, 0),
                ("by arrival, may switch", Slots::ByArrival, true, 0),
            ] {
                let span = seconds * 1_000 * MS;
                let load = Load { slots, rate, may_switch, skew, from_birth: false, span };
                let point = run(cities, load);
                println!(
                    "{}",
                    if json { object(name, &names, load, &point) } else { row(name, rate, &point) }
                );
            }
        }
    }
    Ok(())
}

fn row(name: &str, rate: u64, point: &Point) -> String {
    let latency = point.latency.iter().map(|(p50, p99)| format!("{p50:.1}/{p99:.1}"));
    let latency: Vec<String> = latency.collect();
    format!(
        "| {rate} | {name} | {:.1} % | {:.1} % | {:.0} % | {} | {} | {:.1} | {} | {:.1} |",
        point.collided_percent,
        point.fast_percent,
        point.classic_percent,
        point.switches,
        latency.join(" | "),
        point.mean,
        point.tries_max,
        point.messages
    )
}

fn object(name: &str, names: &[&str], load: Load, point: &Point) -> String {
    let cities = names.iter().zip(&point.latency);
    let cities: Vec<String> = cities
        .map(|(city, (p50, p99))| format!(r#""{city}":{{"p50_ms":{p50:.3},"p99_ms":{p99:.3}}}"#))
        .collect();
    format!(
        r#"{{"n":{},"rate_per_s_and_city":{},"slots":"{name}","collided_percent":{:.2},"fast_percent":{:.2},"classic_time_percent":{:.1},"switches":{},"ends_fast":{},"mean_ms":{:.3},"tries_max":{},"messages_per_command":{:.2},"latency":{{{}}}}}"#,
        names.len(),
        load.rate,
        point.collided_percent,
        point.fast_percent,
        point.classic_percent,
        point.switches,
        point.mode == Mode::Fast,
        point.mean,
        point.tries_max,
        point.messages,
        cities.join(",")
    )
}
