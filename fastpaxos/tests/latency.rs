//! Commit latency without jitter, loss or disk: every cell of the oracle tables, exactly.

mod net;

use net::geo::{ASIA_EUROPE5, INDIA3, INDIA4, INDIA5, cluster, ideal, one_way};
use net::{MS, Us, World};
use panchayat_consensus::{Path, ReplicaId, Span};
use panchayat_fastpaxos::{Config, FastQuorums, Mode, Reason, Slots, Timing};

fn world(cities: &[usize], slots: Slots, coordinator: usize) -> World {
    cluster(cities, ideal(cities), 1, |config| {
        config.slots = slots;
        config.timing = Timing::for_rtt(Span::from_ms(160));
        config.ranking = vec![ReplicaId(coordinator as u8)];
    })
}

/// (commit, execute) of one command proposed at each city in turn, nothing else going on.
fn measure(world: &mut World, path: Path) -> Vec<(Us, Us)> {
    for origin in 0..world.n() {
        if world.protocol(origin).is_none() {
            continue;
        }
        // Not a multiple of anything that heartbeats might be in step with.
        world.run_until(world.now + 1_001_237);
        world.propose(origin);
        world.run_until(world.now + 1_000 * MS);
    }
    let answered = world.answered.iter().map(|answered| {
        assert_eq!(answered.committed.1, path);
        (answered.committed.0 - answered.proposed, answered.executed - answered.proposed)
    });
    answered.collect()
}

/// The round trip to the furthest of the fast quorum, the origin included.
fn fast_form(cities: &[usize]) -> Vec<Us> {
    let quorum = FastQuorums::for_replicas(cities.len()).unwrap().fast();
    let form = |row: &Vec<Us>| {
        let mut trips: Vec<Us> = row.iter().map(|way| 2 * way).collect();
        trips.sort_unstable();
        trips[quorum - 1]
    };
    one_way(cities).iter().map(form).collect()
}

fn check_row(cities: &[usize], row: &[f64]) {
    let expected = fast_form(cities);
    if !row.is_empty() {
        let row: Vec<Us> = row.iter().map(|ms| (ms * 1_000.0) as Us).collect();
        assert_eq!(row, expected, "the table against the formula");
    }
    let both: Vec<(Us, Us)> = expected.iter().map(|time| (*time, *time)).collect();
    for slots in [Slots::NextFree, Slots::ByArrival] {
        for coordinator in 0..cities.len() {
            let mut world = world(cities, slots, coordinator);
            assert_eq!(measure(&mut world, Path::Fast), both, "{slots:?}, {coordinator}");
        }
    }
}

#[test]
fn india3() {
    check_row(INDIA3, &[27.0, 37.0, 37.0]);
}

#[test]
fn india5() {
    check_row(INDIA5, &[25.0, 37.0, 24.0, 25.0, 18.0]);
}

#[test]
fn the_other_sets_by_their_closed_form() {
    check_row(INDIA4, &[]);
    check_row(ASIA_EUROPE5, &[]);
}

/// With one of three down a fast round has no quorum: the coordinator is asked instead, and says
/// why that is.
#[test]
fn one_of_three_down() {
    let mut world = world(INDIA3, Slots::ByArrival, 0);
    world.crash(2);
    world.run_until(world.now + 3_000 * MS);
    let reason = Reason::TooFewReplicas { answering: 2, needed: 3 };
    for node in [0, 1] {
        let status = world.protocol(node).unwrap().status();
        assert_eq!(status.mode, Mode::Classic(reason));
        assert!(status.to_string().contains("2 replicas answer and a fast round needs 3"));
    }
    // Delhi's command goes to Mumbai, its own vote and Mumbai's are enough.
    assert_eq!(measure(&mut world, Path::Slow), [(27 * MS, 27 * MS); 2]);
    world.restart(2);
    world.run_until(world.now + 4_000 * MS);
    assert_eq!(world.protocol(0).unwrap().status().mode, Mode::Fast);
    world.answered.clear();
    let back = measure(&mut world, Path::Fast);
    assert_eq!(back, [27, 37, 37].map(|ms| (ms * MS, ms * MS)));
}

/// What a proposer sees in the moment in which a replica is lost and nobody has noticed.
#[test]
fn a_missing_vote_is_not_waited_for_for_ever() {
    let mut world = world(INDIA3, Slots::ByArrival, 0);
    world.crash(2);
    world.propose(1);
    world.run_until(world.now + 3_000 * MS);
    let answered = world.answered[0];
    let timing = Config::new(ReplicaId(0), FastQuorums::for_replicas(3).unwrap(), Span(160_000));
    let delay = timing.timing.settle_delay.0;
    let took = answered.committed.0 - answered.proposed;
    assert!(took <= 2 * delay + 100 * MS, "{took} µs");
}

/// Medians by city with one client in each at once, all of which have their next command as soon as
/// they have an answer. `jitter` as `Weather` has it.
fn closed_loop(cities: &[usize], jitter: (f64, f64)) -> Vec<Us> {
    let mut world = cluster(cities, net::Weather { jitter, ..ideal(cities) }, 1, |_| {});
    let end = world.now + 20_000 * MS;
    (0..cities.len()).for_each(|city| _ = world.propose(city));
    let mut seen = 0;
    while world.now < end {
        world.run_until(world.now + 50);
        while let Some(answered) = world.answered.get(seen) {
            seen += 1;
            world.propose(answered.node);
        }
    }
    let median = |city: usize| {
        let of = world.answered.iter().filter(|answered| answered.node == city);
        let mut times: Vec<Us> = of.map(|a| a.committed.0 - a.proposed).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    (0..cities.len()).map(median).collect()
}

/// Commands meet all the time, and acceptors agree on their order: also the one outside of the quorum
/// that a command was timed for. If it did not, Delhi's median would be that of its furthest city.
#[test]
fn a_client_in_every_city_is_served_as_one_alone() {
    for cities in [INDIA3, INDIA5] {
        let alone = fast_form(cities);
        assert_eq!(closed_loop(cities, (0.0, 0.0)), alone);
        for (found, alone) in closed_loop(cities, (100.0, 0.7)).into_iter().zip(alone) {
            assert!(found <= alone + alone / 20, "{found} µs, alone {alone} µs");
        }
    }
}
