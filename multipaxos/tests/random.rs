//! Thousands of short runs with everything that can go wrong.

mod net;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use net::swarm;

/// What the runs together must have come to, or they prove little.
const REQUIRED: &[&str] = &[
    "overloaded",
    "forwarded_again",
    "busy",
    "filled",
    "recovered",
    "chosen_by_votes",
    "chosen_by_word",
    "chosen_by_asking",
    "duplicates",
    "resigned",
    "transferred",
    "held_by_lease",
    "refusals",
    "retransmissions",
    "lease_reads",
    "index_reads",
    "quorum_reads",
    "reads_refused",
    "states_installed",
    "given_up",
    "never_given",
];

fn seeds() -> u64 {
    std::env::var("MULTIPAXOS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_200)
}

fn first_seed() -> u64 {
    std::env::var("MULTIPAXOS_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn nothing_that_must_hold_is_broken() {
    let first = first_seed();
    let upto = first + seeds();
    let threads = 2;
    let totals = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
                    for seed in (first..upto).filter(|seed| seed % threads == worker) {
                        let run = catch_unwind(AssertUnwindSafe(|| swarm::run(seed, |_| {})));
                        let Ok(world) = run else { panic!("seed {seed}") };
                        for name in REQUIRED {
                            *totals.entry(name).or_default() += world.count(name);
                        }
                        *totals.entry("answered").or_default() += world.answered.len() as u64;
                    }
                    totals
                })
            })
            .collect();
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for worker in workers {
            let part = worker.join().expect("a seed failed");
            part.into_iter().for_each(|(name, count)| *totals.entry(name).or_default() += count);
        }
        totals
    });
    println!("{totals:#?}");
    for name in REQUIRED {
        assert!(totals[name] > 0, "{name} never happened in {} runs", seeds());
    }
}
