//! Everything that can happen in a small scope, on the production types.
//!
//! Without arguments the scopes are explored up to a number of states, in a minute or so. To go
//! further: `cargo test --release -p panchayat-sim --test small_scope -- --states 50000000`, which
//! also prints how far it came. The word is "no violation in so many states", or "exhausted".

#![forbid(unsafe_code)]

mod epaxos;
mod multipaxos;
mod network;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use panchayat_consensus::{InstanceId, ReplicaId};
use panchayat_epaxos::Config;
#[cfg(feature = "mutations")]
use stateright::HasDiscoveries;
use stateright::{Checker, Expectation, Model};

use crate::epaxos::{Action, Scope};

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
    leaders(states);
    println!("\ntest result: ok. all scopes hold; 0 failed");
}

/// Multi-Paxos: two commands, so two slots, and two leaders at three replicas.
fn leaders(states: usize) {
    use panchayat_multipaxos::Config;
    let as_it_is = |_: &mut Config| {};
    holds("multi-paxos: two leaders, two slots", &log(as_it_is, 0, Vec::new()), states);
    holds("multi-paxos: two leaders, two slots, a crash", &log(as_it_is, 1, Vec::new()), states);
    holds("multi-paxos: a vote is out when a second stands", &log(as_it_is, 1, voted()), states);
    holds("multi-paxos: and has a command of its own", &rivals(as_it_is), states);
    holds("multi-paxos: a command in two slots", &crossed(as_it_is), states);
    #[cfg(feature = "mutations")]
    {
        use panchayat_multipaxos::Mutation;
        let most = states.max(1_000_000);
        let ignore = |config: &mut Config| config.mutation = Some(Mutation::IgnoreAcceptedValues);
        breaks("the same, votes ignored", &rivals(ignore), "agreement", most);
        let twice = |config: &mut Config| config.mutation = Some(Mutation::NoDeduplication);
        breaks("the same, applied twice", &crossed(twice), "execution", most);
    }
}

fn log(
    configure: fn(&mut panchayat_multipaxos::Config),
    crashes: u8,
    start: Vec<multipaxos::Action>,
) -> multipaxos::Scope {
    multipaxos::Scope {
        proposers: vec![R[0], R[2]],
        candidates: vec![R[0], R[1]],
        stands: 2,
        crashes,
        start,
        configure,
    }
}

/// As `voted`, and r1, which may stand, has a command too. At three replicas whoever votes knows at
/// once that it is chosen, by its own vote and the leader's; so what a new leader must not ignore is
/// the vote of the old one alone, which a late `Accept` may still complete elsewhere.
fn rivals(configure: fn(&mut panchayat_multipaxos::Config)) -> multipaxos::Scope {
    multipaxos::Scope { proposers: vec![R[0], R[1]], ..log(configure, 0, voted()) }
}

/// r0 leads and has r1's command in slot 3, of which nobody has heard; r1 leads after it, and has the
/// same command in slot 2. A third leader may complete both.
fn crossed(configure: fn(&mut panchayat_multipaxos::Config)) -> multipaxos::Scope {
    use multipaxos::Action::{DeliverKind, Propose, Stand};
    let start = vec![
        Stand(R[0]),
        DeliverKind(R[0], R[2], "Prepare"),
        DeliverKind(R[2], R[0], "Promise"),
        Propose(R[0]),
        DeliverKind(R[0], R[1], "Accept"),
        DeliverKind(R[0], R[2], "Accept"),
        Propose(R[2]),
        DeliverKind(R[2], R[0], "Forward"),
        Propose(R[1]),
        DeliverKind(R[1], R[0], "Forward"),
        Stand(R[1]),
        DeliverKind(R[1], R[2], "Prepare"),
        DeliverKind(R[2], R[1], "Promise"),
        DeliverKind(R[1], R[0], "Prepare"),
    ];
    multipaxos::Scope { stands: 3, ..log(configure, 0, start) }
}

/// r0 leads by r2's promise and has voted for its command; nobody has heard of that vote yet.
fn voted() -> Vec<multipaxos::Action> {
    use multipaxos::Action::{DeliverKind, Propose, Stand};
    vec![
        Stand(R[0]),
        DeliverKind(R[0], R[2], "Prepare"),
        DeliverKind(R[2], R[0], "Promise"),
        Propose(R[0]),
    ]
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

fn holds<M: Small>(name: &str, scope: &M, states: usize) {
    let start = Instant::now();
    let checker = explore(scope, states);
    let always = scope.properties().into_iter();
    for property in always.filter(|property| property.expectation == Expectation::Always) {
        if let Some(path) = checker.discovery(property.name) {
            panic!("{name}: {} is violated:\n{:#?}", property.name, path.into_actions());
        }
    }
    let end = if checker.state_count() < states { "exhausted" } else { "bounded" };
    report(name, end, &*checker, start);
}

#[cfg(feature = "mutations")]
fn breaks<M: Small>(name: &str, scope: &M, property: &'static str, states: usize) {
    let start = Instant::now();
    let checker = scope.clone().checker().target_state_count(states);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{name}: {property} should have been violated"));
    println!("  {property} is violated after {} steps", path.into_actions().len());
    report(name, "found", &checker, start);
}

/// What several threads can explore.
trait Small:
    Clone
    + Send
    + Sync
    + 'static
    + Model<
        State: Clone + Debug + Hash + PartialEq + Send + Sync,
        Action: Clone + Debug + PartialEq + Send + Sync,
    >
{
}

impl Small for Scope {}
impl Small for multipaxos::Scope {}

fn explore<M: Small>(scope: &M, states: usize) -> Box<impl Checker<M> + use<M>> {
    let checker = scope.clone().checker().threads(2).target_state_count(states);
    Box::new(checker.spawn_bfs().join())
}

fn report<M: Model>(name: &str, end: &str, checker: &impl Checker<M>, start: Instant) {
    println!(
        "test {name} ... ok ({end}, {} states, {} distinct, depth {}, {:.1} s)",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64(),
    );
}
