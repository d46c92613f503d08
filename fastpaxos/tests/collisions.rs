//! The collision sweep: proposers in all cities at a rising rate. What collides, what that costs in
//! each city, where classic rounds take over, and how often a command has to be proposed at most.

mod net;

use std::fmt::Write;

use net::geo::{INDIA3, INDIA5, NAMES, cluster, ideal};
use net::rng::Rng;
use net::{Action, MS, Us, World};
use panchayat_fastpaxos::{Mode, Slots};

const SPAN: Us = 3_000 * MS;
/// A command is never proposed more often, at any rate: measured, with one to spare.
const TRIES_MAX: u64 = 4;

/// What a run at one rate came to.
struct Point {
    collided_percent: f64,
    /// Median and 99th percentile per city, in ms.
    latency: Vec<(f64, f64)>,
    mean: f64,
    fast_percent: f64,
    switches: u64,
    mode: Mode,
    tries_max: u64,
    messages: f64,
}

fn percentile(sorted: &[Us], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |us| *us as f64 / 1_000.0)
}

/// Poisson arrivals for `span`, `rate` commands a second in each city, as `backbone` has it; `may_switch` to
/// classic rounds or not.
fn run(cities: &[usize], slots: Slots, rate: u64, may_switch: bool, skew: Us, span: Us) -> Point {
    let weather = net::Weather { jitter: (100.0, 0.7), sync: 200, ..ideal(cities) };
    let mut world: World = cluster(cities, weather, 7, |config| {
        config.slots = slots;
        if !may_switch {
            config.mode.collisions_percent = 101;
        }
    });
    let mut rng = Rng(rate);
    for node in 0..cities.len() {
        world.nodes[node].wall = rng.below(skew + 1);
    }
    world.run_until(4_000 * MS);
    let begin = world.now;
    let before = world.counts();
    let messages = world.messages;
    for node in 0..cities.len() {
        let mut at = begin as f64;
        while at < (begin + span) as f64 {
            at += -rng.unit().max(1e-12).ln() * 1e6 / rate as f64;
            world.at(at as Us, Action::Propose(node));
        }
    }
    world.run_until(begin + span);
    let mode = world.protocol(0).expect("it runs").status().mode;
    assert!(world.run_until_done(world.now + 10_000 * MS, World::is_settled), "all is answered");
    let after = world.counts();
    let diff = |name: &str| after[name] - before[name];
    let latency = |node: usize| {
        let of = world.answered.iter().filter(|answered| answered.node == node);
        let mut times: Vec<Us> = of.map(|a| a.committed.0 - a.proposed).collect();
        times.sort_unstable();
        (percentile(&times, 0.5), percentile(&times, 0.99))
    };
    let total: Us = world.answered.iter().map(|a| a.committed.0 - a.proposed).sum();
    let n = cities.len() as f64;
    let (fast, classic) = (diff("chosen_fast") as f64, diff("chosen_classic") as f64);
    let settled = diff("collisions") as f64;
    Point {
        collided_percent: 100.0 * settled / (fast / n + settled).max(1.0),
        latency: (0..cities.len()).map(latency).collect(),
        mean: total as f64 / world.answered.len() as f64 / 1_000.0,
        fast_percent: 100.0 * fast / (fast + classic),
        switches: diff("classic_for_collisions"),
        mode,
        tries_max: after["tries_max"],
        messages: (world.messages - messages) as f64 / world.answered.len() as f64,
    }
}

fn line(what: &str, rate: u64, point: &Point) -> String {
    let mut line = format!(
        "{what:22} {rate:5}/s  collided {:5.1} %  fast {:5.1} %  mean {:6.2} ms  ",
        point.collided_percent, point.fast_percent, point.mean
    );
    for (p50, p99) in &point.latency {
        write!(line, "{p50:6.1}/{p99:6.1} ").expect("a string takes it");
    }
    let mode = if point.mode == Mode::Fast { "fast" } else { "classic" };
    write!(
        line,
        " switches {} ends {mode}, tries ≤ {}, {:.0} messages",
        point.switches, point.tries_max, point.messages
    )
    .expect("a string takes it");
    line
}

/// Waiting for the expected arrival must win over the next free slot, by a wide margin, in one and
/// the same load; no command may need more than a few tries at any rate.
fn sweep(rates: &[u64], span: Us) {
    for cities in [INDIA3, INDIA5] {
        let names: Vec<&str> = cities.iter().map(|city| NAMES[*city]).collect();
        println!("p50/p99 ms in {}; backbone jitter, 0.2 ms disk", names.join(", "));
        for rate in rates.iter().copied() {
            let point = |slots, may_switch, skew| run(cities, slots, rate, may_switch, skew, span);
            let next = point(Slots::NextFree, false, 0);
            let arrival = point(Slots::ByArrival, false, 0);
            let skewed = point(Slots::ByArrival, false, 50 * MS);
            let switching = point(Slots::NextFree, true, 0);
            let both = point(Slots::ByArrival, true, 0);
            println!("{}", line("next free", rate, &next));
            println!("{}", line("by arrival", rate, &arrival));
            println!("{}", line("by arrival, 50 ms skew", rate, &skewed));
            println!("{}", line("next free, switching", rate, &switching));
            println!("{}", line("by arrival, switching", rate, &both));
            for point in [&next, &arrival, &skewed, &switching, &both] {
                assert!(point.tries_max <= TRIES_MAX, "proposed {} times", point.tries_max);
            }
            if rate >= 5 {
                let (slow, quick) = (next.collided_percent, arrival.collided_percent);
                assert!(quick < slow / 2.0, "{quick} against {slow} % at {rate}/s");
            }
        }
    }
}

#[test]
fn arrival_times_win_and_tries_are_few() {
    sweep(&[20, 100], SPAN);
}

#[test]
#[ignore = "takes minutes: the whole table"]
fn whole_sweep() {
    sweep(&[1, 5, 20, 50, 100, 200, 500], 10_000 * MS);
}
