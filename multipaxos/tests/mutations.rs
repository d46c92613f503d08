//! Each known mistake must be noticed by the same runs that find nothing wrong with the right code.

mod net;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

use net::{scenarios, swarm};
use panchayat_multipaxos::Mutation;

type Directed = fn(Mutation) -> net::World;

/// What it takes a directed run to notice: several rare things in the right order.
const DIRECTED: &[(Mutation, Directed)] = &[
    (Mutation::LeaseForgottenOnRestart, |mutation| {
        scenarios::grantor_restarts(|config| config.mutation = Some(mutation))
    }),
    (Mutation::PromiseForgottenOnRestart, |mutation| {
        scenarios::late_accept(|config| config.mutation = Some(mutation))
    }),
];

/// Within how many seeds each mistake must be noticed, with some to spare over what was measured.
const SEEDS_MAX: u64 = 3_000;

fn seeds_to_notice(mutation: Mutation) -> Option<(u64, String)> {
    (1..=SEEDS_MAX).find_map(|seed| {
        let run = catch_unwind(AssertUnwindSafe(|| {
            swarm::run(seed, |config| config.mutation = Some(mutation));
        }));
        let panic = run.err()?;
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
        Some((seed, text.unwrap_or_default()))
    })
}

#[test]
fn every_known_mistake_is_noticed() {
    set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    std::thread::scope(|scope| {
        let is_random = |mutation: &&Mutation| DIRECTED.iter().all(|(known, _)| known != *mutation);
        let random: Vec<Mutation> = Mutation::ALL.iter().filter(is_random).copied().collect();
        let halves = random.chunks(random.len().div_ceil(2));
        let workers: Vec<_> = halves
            .map(|half| {
                let half = half.to_vec();
                scope.spawn(move || {
                    let found = half.iter().map(|mutation| (*mutation, seeds_to_notice(*mutation)));
                    found.collect::<Vec<_>>()
                })
            })
            .collect();
        for (mutation, found) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            match found {
                Some((seed, text)) => {
                    let line = text.lines().next().unwrap_or_default();
                    println!("{:55} seed {seed:5}  {line}", mutation.name());
                }
                None => missed.push(mutation.name()),
            }
        }
    });
    for (mutation, run) in DIRECTED {
        match catch_unwind(AssertUnwindSafe(|| run(*mutation))) {
            Err(_) => println!("{:55} directed", mutation.name()),
            Ok(_) => missed.push(mutation.name()),
        }
    }
    let _ = std::panic::take_hook();
    assert!(
        missed.is_empty(),
        "not noticed in {SEEDS_MAX} seeds, or by the runs directed at them: {missed:?}"
    );
}
