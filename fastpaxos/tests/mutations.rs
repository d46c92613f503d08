//! Each known mistake must be noticed by the same runs that find nothing wrong with the right code.

mod net;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Mutex;

use net::swarm;
use panchayat_fastpaxos::Mutation;

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

#[test]
fn every_known_mistake_is_noticed() {
    set_hook(Box::new(|_| {}));
    let open: Mutex<Vec<Mutation>> = Mutex::new(Mutation::ALL.iter().rev().copied().collect());
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
