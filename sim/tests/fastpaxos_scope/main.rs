//! Everything that can happen in a small scope, on the production `FastPaxos` type: two proposers and
//! one slot, with three replicas and with four.
//!
//! Without arguments the scopes are explored up to a number of states, in a minute or so. To go
//! further: `cargo test --release -p panchayat-sim --test fastpaxos_scope -- --states 50000000`, which
//! also prints how far it came. The word is "no violation in so many states", or "exhausted".

#![forbid(unsafe_code)]

mod model;

use std::time::Instant;

use panchayat_consensus::ReplicaId;
use panchayat_fastpaxos::Config;
use stateright::{Checker, Model};

use model::Scope;

/// As many states as the tests of every day can afford.
const STATES_DEFAULT: usize = 60_000;
/// With so many, four replicas come to classic rounds as well.
const STATES_DEEP: usize = 3_000_000;

const R: [ReplicaId; 4] = [ReplicaId(0), ReplicaId(1), ReplicaId(2), ReplicaId(3)];

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
    for n in [3, 4] {
        holds(&format!("{n} replicas, collisions"), &collisions(n, as_it_is), states);
        holds(&format!("{n} replicas, a take-over"), &take_over(n, as_it_is), states);
    }
    holds("4 replicas, chosen by three and closed", &chosen_by_three(as_it_is), states);
    holds("3 replicas, chosen and taken over", &chosen_and_taken_over(as_it_is), states);
    #[cfg(feature = "mutations")]
    breaks_with_mistakes(states.max(1_000_000));
    println!("\ntest result: ok. all scopes hold; 0 failed");
}

/// Two commands meet; the coordinator settles what collides, and what is missing.
fn collisions(replicas: usize, configure: fn(&mut Config)) -> Scope {
    let proposers = vec![R[1], R[2]];
    let (crash, successors, impatient) = (false, Vec::new(), true);
    let (opening, hears) = (Vec::new(), None);
    Scope { replicas, proposers, crash, successors, impatient, opening, hears, configure }
}

/// All have voted: one for its own command, three for the other one, which is chosen therefore. That
/// only the second proposer finds out, while the coordinator settles without waiting.
fn chosen_by_three(configure: fn(&mut Config)) -> Scope {
    let opening = vec![(R[2], R[0]), (R[2], R[3])];
    Scope { opening, hears: Some(R[2]), ..collisions(4, configure) }
}

/// All have voted for the only command there is. Its proposer may find out, and another takes over.
fn chosen_and_taken_over(configure: fn(&mut Config)) -> Scope {
    let (proposers, opening) = (vec![R[2]], vec![(R[2], R[0]), (R[2], R[1])]);
    Scope { proposers, opening, hears: Some(R[2]), ..take_over(3, configure) }
}

/// Every replica has seen both commands, in different orders.
#[cfg(feature = "mutations")]
fn seen_by_all(configure: fn(&mut Config)) -> Scope {
    let opening = vec![(R[1], R[0]), (R[2], R[0]), (R[1], R[2]), (R[2], R[1])];
    Scope { opening, ..collisions(3, configure) }
}

/// The same, and another takes over from a coordinator that died, or only seems to have.
fn take_over(replicas: usize, configure: fn(&mut Config)) -> Scope {
    Scope { crash: true, successors: vec![R[1]], ..collisions(replicas, configure) }
}

fn holds(name: &str, scope: &Scope, states: usize) {
    let start = Instant::now();
    let checker = explore(scope, states);
    if let Some(path) = checker.discovery("agreement") {
        panic!("{name}: agreement is violated:\n{:#?}", path.into_actions());
    }
    report(name, &*checker, states, start);
    // Classic rounds take more steps, and with four replicas there are more ways to each.
    let near = scope.replicas == 3 || !scope.opening.is_empty();
    let kinds = if near || states >= STATES_DEEP {
        &["chosen in a fast round", "chosen in a classic round"][..]
    } else {
        &[]
    };
    let missed = kinds.iter().filter(|kind| checker.discovery(kind).is_none());
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "{name}: nothing was {missed:?}");
}

#[cfg(feature = "mutations")]
fn breaks_with_mistakes(states: usize) {
    use panchayat_fastpaxos::Mutation;

    let small: fn(&mut Config) = |config| config.mutation = Some(Mutation::FastQuorumTooSmall);
    let ignore: fn(&mut Config) = |config| config.mutation = Some(Mutation::IgnoreFastVotes);
    let fixed: fn(&mut Config) = |config| config.mutation = Some(Mutation::FixedThreshold);
    let twice: fn(&mut Config) = |config| config.mutation = Some(Mutation::VoteTwice);
    for (name, scope) in [
        ("a classic quorum decides a fast round", collisions(3, small)),
        ("recovery ignores fast votes", chosen_and_taken_over(ignore)),
        ("fixed collision threshold", chosen_by_three(fixed)),
        ("acceptor votes twice in a fast round", seen_by_all(twice)),
    ] {
        let start = Instant::now();
        let checker = explore(&scope, states);
        let path = checker.discovery("agreement");
        let path = path.unwrap_or_else(|| panic!("{name}: agreement should have been violated"));
        println!(
            "test {name} ... ok (agreement is violated after {} steps, {} states, {:.1} s)",
            path.into_actions().len(),
            checker.state_count(),
            start.elapsed().as_secs_f64()
        );
    }
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
