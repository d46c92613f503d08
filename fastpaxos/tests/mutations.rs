//! Each known mistake must be noticed by the same runs that find nothing wrong with the right code.

mod net;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Mutex;

use net::swarm;
use panchayat_consensus::{
    Ballot, EffectsOf, Input, Now, Protocol, ReplicaId, Span, Time, WallTime,
};
use panchayat_fastpaxos::{Config, Entry, FastPaxos, FastQuorums, Message, Mutation};

/// Within how many seeds, each with 3, 4 or 5 replicas in turn, a mistake must be noticed.
const SEEDS_MAX: u64 = 3_000;

fn seeds_to_notice(mutation: Mutation) -> Option<(u64, String)> {
    (1..=SEEDS_MAX).find_map(|seed| {
        let n = 3 + (seed % 3) as usize;
        let run = catch_unwind(AssertUnwindSafe(|| {
            swarm::run(seed, n, |config| config.mutation = Some(mutation));
        }));
        let panic = run.err()?;
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
        Some((seed, text.unwrap_or_default()))
    })
}

/// A member promises a ballot, restarts, and is asked by the coordinator of a lower one: what it
/// takes to notice is too rare for chance.
fn votes_below_its_promise(mutation: Option<Mutation>) -> bool {
    let quorums = FastQuorums::for_replicas(3).unwrap();
    let mut config = Config::new(ReplicaId(1), quorums, Span::from_ms(20));
    config.mutation = mutation;
    let now = Now { monotonic: Time(5), wall: WallTime(5) };
    let mut effects = EffectsOf::<FastPaxos>::default();
    let mut replica = FastPaxos::restore(config.clone(), [], now, &mut effects);
    let low = Ballot::INITIAL.next_for(ReplicaId(0));
    let high = low.next_for(ReplicaId(2));
    let from = |seat, message| Input::Receive { from: ReplicaId(seat), message };
    replica.step(now, from(2, Message::Prepare { ballot: high, from: 1 }), &mut effects);
    let records: Vec<_> = effects.take_records().collect();
    let mut effects = EffectsOf::<FastPaxos>::default();
    let mut replica = FastPaxos::restore(config, records, now, &mut effects);
    let entries = vec![Entry::Nop];
    replica.step(now, from(0, Message::Accept { ballot: low, first: 1, entries }), &mut effects);
    replica.vote(1).is_some()
}

#[test]
fn every_known_mistake_is_noticed() {
    set_hook(Box::new(|_| {}));
    let directed = Mutation::PromiseForgottenOnRestart;
    assert!(!votes_below_its_promise(None) && votes_below_its_promise(Some(directed)));
    println!("{:50} directed", directed.name());
    let random = Mutation::ALL.iter().rev().copied().filter(|mutation| *mutation != directed);
    let open: Mutex<Vec<Mutation>> = Mutex::new(random.collect());
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutation) = open.lock().map(|mut open| open.pop()).unwrap() {
                    match seeds_to_notice(mutation) {
                        Some((seed, text)) => {
                            let line = text.lines().next().unwrap_or_default();
                            println!("{:50} seed {seed:5}  {line}", mutation.name());
                        }
                        None => missed.lock().unwrap().push(mutation.name()),
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not noticed in {SEEDS_MAX} seeds: {missed:?}");
}
