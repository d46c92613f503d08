//! Thousands of short runs with everything that can go wrong.

mod net;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use net::{add, swarm};

/// What the runs with each number of replicas must have come to, or they prove little.
const REQUIRED: &[&str] = &[
    "overloaded",
    "proposed_again",
    "turned_away",
    "chosen_fast",
    "chosen_classic",
    "chosen_by_word",
    "chosen_by_asking",
    "collisions",
    "settled_constrained",
    "closed_missing",
    "closed_drifted",
    "closed_first",
    "losers_placed",
    "filled",
    "led",
    "recovered",
    "classic_for_few",
    "classic_for_collisions",
    "to_fast",
    "duplicates",
    "resigned",
    "refusals",
    "retransmissions",
    "states_installed",
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn runs(n: usize) {
    let first = number("FASTPAXOS_FIRST_SEED", 1);
    let seeds = number("FASTPAXOS_SEEDS", 300);
    let mut totals: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + seeds {
        let run = catch_unwind(AssertUnwindSafe(|| swarm::run(seed, n, |_| {})));
        let Ok(world) = run else { panic!("seed {seed}, n = {n}") };
        world.counts().into_iter().for_each(|(name, count)| add(&mut totals, name, count));
        add(&mut totals, "answered", world.answered.len() as u64);
    }
    println!("n = {n}, {seeds} seeds: {totals:#?}");
    for name in REQUIRED {
        let count = totals.get(name).copied().unwrap_or(0);
        assert!(count > 0, "{name} never happened in {seeds} runs, n = {n}");
    }
}

#[test]
fn three() {
    runs(3);
}

#[test]
fn four() {
    runs(4);
}

#[test]
fn five() {
    runs(5);
}
