//! Everything that can happen in a small scope, on the production `EPaxos` type.
//!
//! Without arguments the scopes are explored up to a number of states, in a minute or so. To go
//! further: `cargo test --release -p panchayat-sim --test small_scope -- --states 50000000`, which
//! also prints how far it came. The word is "no violation in so many states", or "exhausted".

#![forbid(unsafe_code)]

mod model;

use std::time::Instant;

use panchayat_consensus::{InstanceId, ReplicaId};
use panchayat_epaxos::Config;
use stateright::{Checker, Model};

use model::{Action, Scope};

/// As many states as the tests of every day can afford.
const STATES_DEFAULT: usize = 60_000;

const R: [ReplicaId; 5] = [ReplicaId(0), ReplicaId(1), ReplicaId(2), ReplicaId(3), ReplicaId(4)];

fn main() {
    let mut states = STATES_DEFAULT;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--states" {
            let number = words.next().and_then(|number| number.parse().ok());
            states = number.expect("--states NUMBER");
        }
    }
    let as_it_is = |_: &mut Config| {};
    holds("three replicas, two commands, one recovery", &three(as_it_is, 0), states);
    holds("three replicas, two commands, a crash, one recovery", &three(as_it_is, 1), states);
    holds("five replicas, after the coordinator's crash", &five(as_it_is), states);
    #[cfg(feature = "mutations")]
    {
        let skip = |config: &mut Config| {
            config.mutation = Some(panchayat_epaxos::Mutation::SkipValidate);
        };
        breaks("the same without Validate", &five(skip), "visibility", states.max(1_000_000));
    }
    println!("\ntest result: ok. all scopes hold; 0 failed");
}

/// Two conflicting commands at two of three replicas.
fn three(configure: fn(&mut Config), crashes: u8) -> Scope {
    Scope {
        replicas: 3,
        proposers: vec![R[0], R[1]],
        crashes,
        recoveries: 1,
        start: Vec::new(),
        configure,
    }
}

/// r0's command is pre-accepted unchanged at r2 only, then r0 is dead. r1's conflicting command is
/// pre-accepted at r3 and r4, which know nothing of r0's; it may commit fast at any time.
fn five(configure: fn(&mut Config)) -> Scope {
    Scope {
        replicas: 5,
        proposers: vec![R[0], R[1]],
        crashes: 1,
        recoveries: 1,
        start: vec![
            Action::Propose(R[0]),
            Action::Propose(R[1]),
            Action::DeliverKind(R[0], R[2], "PreAccept"),
            Action::Crash(R[0]),
            Action::DeliverKind(R[1], R[3], "PreAccept"),
            Action::DeliverKind(R[1], R[4], "PreAccept"),
            Action::Recover(R[2], InstanceId::new(R[0], 1)),
        ],
        configure,
    }
}

fn holds(name: &str, scope: &Scope, states: usize) {
    let start = Instant::now();
    let checker = explore(scope, states);
    for property in ["agreement", "visibility"] {
        if let Some(path) = checker.discovery(property) {
            panic!("{name}: {property} is violated:\n{:#?}", path.into_actions());
        }
    }
    report(name, &*checker, states, start);
}

#[cfg(feature = "mutations")]
fn breaks(name: &str, scope: &Scope, property: &'static str, states: usize) {
    let start = Instant::now();
    let checker = explore(scope, states);
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{name}: {property} should have been violated"));
    println!("  {property} is violated after {} steps", path.into_actions().len());
    report(name, &*checker, states, start);
}

fn explore(scope: &Scope, states: usize) -> Box<impl Checker<Scope> + use<>> {
    let checker = scope.clone().checker().threads(2).target_state_count(states);
    Box::new(checker.spawn_bfs().join())
}

fn report(name: &str, checker: &impl Checker<Scope>, states: usize, start: Instant) {
    let exhausted = checker.state_count() < states;
    println!(
        "test {name} ... ok ({}, {} states, {} distinct, depth {}, {:.1} s)",
        if exhausted { "exhausted" } else { "bounded" },
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64(),
    );
}
