//! Commit latency without jitter, loss or disk: every cell of the oracle tables, exactly.

mod net;

use net::scenarios::cluster;
use net::swarm::MS;
use net::{Us, Weather, World};
use panchayat_consensus::{Path, ReplicaId, Span};
use panchayat_multipaxos::{Config, Learning, Placement};

const MUMBAI: usize = 0;
const DELHI: usize = 1;
const BANGALORE: usize = 2;
const CHENNAI: usize = 3;
const HYDERABAD: usize = 4;
const SINGAPORE: usize = 5;
const FRANKFURT: usize = 6;

/// Round trips in µs; see geo-topology.yaml for who measured them.
const PAIRS: &[(usize, usize, Us)] = &[
    (MUMBAI, DELHI, 27_000),
    (MUMBAI, BANGALORE, 24_000),
    (DELHI, BANGALORE, 37_000),
    (MUMBAI, CHENNAI, 25_000),
    (MUMBAI, HYDERABAD, 18_000),
    (DELHI, CHENNAI, 42_500),
    (DELHI, HYDERABAD, 28_000),
    (BANGALORE, CHENNAI, 9_000),
    (BANGALORE, HYDERABAD, 10_000),
    (CHENNAI, HYDERABAD, 12_000),
    (MUMBAI, SINGAPORE, 62_000),
    (DELHI, SINGAPORE, 69_000),
    (BANGALORE, SINGAPORE, 39_500),
    (MUMBAI, FRANKFURT, 129_000),
    (DELHI, FRANKFURT, 147_000),
    (BANGALORE, FRANKFURT, 159_000),
    (SINGAPORE, FRANKFURT, 150_000),
];

const INDIA3: &[usize] = &[MUMBAI, DELHI, BANGALORE];
const INDIA5: &[usize] = &[MUMBAI, DELHI, BANGALORE, CHENNAI, HYDERABAD];
const ASIA_EUROPE5: &[usize] = &[MUMBAI, DELHI, BANGALORE, SINGAPORE, FRANKFURT];

fn one_way(cities: &[usize]) -> Vec<Vec<Us>> {
    let way = |a: usize, b: usize| {
        let pair = PAIRS.iter().find(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a));
        if a == b { 0 } else { pair.expect("a known pair").2 / 2 }
    };
    cities.iter().map(|a| cities.iter().map(|b| way(*a, *b)).collect()).collect()
}

fn nth_smallest(times: impl Iterator<Item = Us>, nth: usize) -> Us {
    let mut times: Vec<Us> = times.collect();
    times.sort_unstable();
    if nth == 0 { 0 } else { times[nth - 1] }
}

/// The command goes to the leader, the leader's Accept to each acceptor, the vote to the origin;
/// the leader's own vote is proved by any of these.
fn origin_learns(ways: &[Vec<Us>], leader: usize, origin: usize, q2: usize) -> Us {
    let n = ways.len();
    let others = (0..n).filter(|x| *x != leader);
    if leader == origin {
        return nth_smallest(others.map(|x| 2 * ways[leader][x]), q2 - 1);
    }
    let vote = |x: usize| ways[origin][leader] + ways[leader][x] + ways[x][origin];
    nth_smallest(others.map(vote), q2 - 1)
}

/// The leader counts, then tells.
fn leader_tells(ways: &[Vec<Us>], leader: usize, origin: usize, q2: usize) -> Us {
    origin_learns(ways, leader, leader, q2) + 2 * ways[origin][leader]
}

fn started(cities: &[usize], leader: usize, learning: Learning) -> World {
    let weather = Weather {
        one_way: one_way(cities),
        jitter: 0,
        loss: 0,
        duplicate: 0,
        spike: 0,
        sync: 0,
        die: 0,
        detector: 2_000 * MS,
    };
    let mut world = cluster(cities.len(), weather, |config| {
        let defaults = Config::new(config.replica, config.quorums, Span::from_ms(160));
        config.timing = defaults.timing;
        config.placement = Placement::Ranked(vec![ReplicaId(leader as u8)]);
        config.learning = learning;
    });
    world.start();
    world.run_until(3_000 * MS);
    assert_eq!(world.leader(), Some(leader), "the one that placement names leads");
    world
}

/// (commit, execute) of one command proposed at each city in turn, nothing else going on.
fn measure(cities: &[usize], leader: usize, learning: Learning) -> Vec<(Us, Us)> {
    let mut world = started(cities, leader, learning);
    for origin in 0..cities.len() {
        // Not a multiple of anything that heartbeats might be in step with.
        world.run_until(world.now + 1_001_237);
        world.propose(origin);
        world.run_until(world.now + 1_000 * MS);
    }
    assert_eq!(world.answered.len(), cities.len());
    let path = if learning == Learning::Origin { Path::Fast } else { Path::Slow };
    world
        .answered
        .iter()
        .map(|answered| {
            let (committed, by) = answered.committed.expect("commit is told before the result");
            let counted_itself = answered.node == leader || learning == Learning::Origin;
            assert!(by == path || counted_itself, "{by:?}");
            (committed - answered.proposed, answered.executed - answered.proposed)
        })
        .collect()
}

fn ms(value: f64) -> Us {
    (value * 1_000.0) as Us
}

/// Commit and execution at every city equal the row, and the row the closed form.
fn check_row(cities: &[usize], leader: usize, learning: Learning, row: &[f64]) {
    let q2 = cities.len() / 2 + 1;
    let ways = one_way(cities);
    let form = if learning == Learning::Origin { origin_learns } else { leader_tells };
    let expected: Vec<Us> = (0..cities.len()).map(|city| form(&ways, leader, city, q2)).collect();
    if !row.is_empty() {
        let row: Vec<Us> = row.iter().map(|value| ms(*value)).collect();
        assert_eq!(row, expected, "the table against the formula, leader {leader}");
    }
    let both: Vec<(Us, Us)> = expected.iter().map(|time| (*time, *time)).collect();
    assert_eq!(measure(cities, leader, learning), both, "leader {leader}, {learning:?}");
}

#[test]
fn india3_origin_learns() {
    check_row(INDIA3, MUMBAI, Learning::Origin, &[24.0, 27.0, 24.0]);
    check_row(INDIA3, DELHI, Learning::Origin, &[27.0, 27.0, 37.0]);
    check_row(INDIA3, BANGALORE, Learning::Origin, &[24.0, 37.0, 24.0]);
}

#[test]
fn india3_naive() {
    check_row(INDIA3, MUMBAI, Learning::Leader, &[24.0, 51.0, 48.0]);
    check_row(INDIA3, DELHI, Learning::Leader, &[54.0, 27.0, 64.0]);
    check_row(INDIA3, BANGALORE, Learning::Leader, &[48.0, 61.0, 24.0]);
}

#[test]
fn india5_origin_learns() {
    check_row(INDIA5, MUMBAI, Learning::Origin, &[24.0, 36.5, 26.0, 27.5, 26.0]);
    check_row(INDIA5, DELHI, Learning::Origin, &[36.5, 28.0, 37.5, 42.5, 36.5]);
    check_row(INDIA5, BANGALORE, Learning::Origin, &[26.0, 37.5, 10.0, 15.5, 15.5]);
    check_row(INDIA5, CHENNAI, Learning::Origin, &[27.5, 42.5, 15.5, 12.0, 15.5]);
    check_row(INDIA5, HYDERABAD, Learning::Origin, &[26.0, 36.5, 15.5, 15.5, 12.0]);
}

#[test]
fn the_other_cells_by_their_closed_form() {
    for leader in 0..5 {
        check_row(INDIA5, leader, Learning::Leader, &[]);
        check_row(ASIA_EUROPE5, leader, Learning::Origin, &[]);
        check_row(ASIA_EUROPE5, leader, Learning::Leader, &[]);
    }
}
