//! The collision sweep: proposers in all cities at one rate. What collides, what that costs in each
//! city, how long classic rounds took over, and how often a command has to be proposed at most.

use panchayat_fastpaxos::{Config, Mode, Slots};

use super::geo::{cluster, ideal, newborn};
use super::rng::Rng;
use super::{Action, MS, Us, Weather, World};

/// No command may be proposed more often, at any rate: measured, with one to spare.
pub(crate) const TRIES_MAX: u64 = 4;
/// How often it is looked which rounds are run.
const LOOK: Us = 10 * MS;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) slots: Slots,
    /// Commands a second in each city, as Poisson arrivals.
    pub(crate) rate: u64,
    /// Whether collisions may lead to classic rounds.
    pub(crate) may_switch: bool,
    /// By how much wall clocks differ at most.
    pub(crate) skew: Us,
    /// Whether it begins at birth, before members know the delays between them.
    pub(crate) from_birth: bool,
    /// How long.
    pub(crate) span: Us,
}

/// What that came to.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Slots settled because their votes collided, in a hundred of those that fast rounds had to do
    /// with.
    pub(crate) collided_percent: f64,
    /// Slots chosen in fast rounds, in a hundred.
    pub(crate) fast_percent: f64,
    /// Median and 99th percentile per city, in ms, from the proposal to the decision.
    pub(crate) latency: Vec<(f64, f64)>,
    pub(crate) mean: f64,
    /// Times that collisions led to classic rounds.
    pub(crate) switches: u64,
    /// How much of the time the coordinator ran classic rounds.
    pub(crate) classic_percent: f64,
    /// How it stood at the end.
    pub(crate) mode: Mode,
    /// The most often that a command was proposed.
    pub(crate) tries_max: u64,
    /// Per command.
    pub(crate) messages: f64,
}

fn percentile(sorted: &[Us], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |us| *us as f64 / 1_000.0)
}

/// Jitter as `backbone` has it, and a disk.
fn weather(cities: &[usize]) -> Weather {
    Weather { jitter: (100.0, 0.7), sync: 200, ..ideal(cities) }
}

/// Runs a load in `cities` until all is answered.
pub(crate) fn run(cities: &[usize], load: Load) -> Point {
    let begin = if load.from_birth { newborn } else { cluster };
    let mut world: World = begin(cities, weather(cities), 7, &|config: &mut Config| {
        config.slots = load.slots;
        if !load.may_switch {
            config.mode.collisions_percent = 101;
        }
    });
    let mut rng = Rng(load.rate);
    for node in 0..cities.len() {
        world.nodes[node].wall = rng.below(load.skew + 1);
    }
    if !load.from_birth {
        world.run_until(4_000 * MS);
    }
    let begin = world.now;
    let end = begin + load.span;
    let before = world.counts();
    let messages = world.messages;
    for node in 0..cities.len() {
        let mut at = begin as f64;
        while at < end as f64 {
            at += -rng.unit().max(1e-12).ln() * 1e6 / load.rate as f64;
            world.at(at as Us, Action::Propose(node));
        }
    }
    let (mut looks, mut classic) = (0, 0);
    while world.now < end {
        world.run_until(world.now + LOOK);
        looks += 1;
        let coordinator = world.coordinator().and_then(|node| world.protocol(node));
        classic += u64::from(coordinator.is_none_or(|c| c.status().mode != Mode::Fast));
    }
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
    let (fast, slow) = (diff("chosen_fast") as f64, diff("chosen_classic") as f64);
    let settled = diff("collisions") as f64;
    Point {
        collided_percent: 100.0 * settled / (fast / n + settled).max(1.0),
        fast_percent: 100.0 * fast / (fast + slow).max(1.0),
        latency: (0..cities.len()).map(latency).collect(),
        mean: total as f64 / world.answered.len() as f64 / 1_000.0,
        switches: diff("classic_for_collisions"),
        classic_percent: 100.0 * classic as f64 / looks as f64,
        mode,
        tries_max: after["tries_max"],
        messages: (world.messages - messages) as f64 / world.answered.len() as f64,
    }
}
