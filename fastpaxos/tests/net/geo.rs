//! Cities, their distances, and clusters in them.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_fastpaxos::{Config, FastQuorums};

use super::{MS, Us, Weather, World};

pub(crate) const NAMES: &[&str] =
    &["mumbai", "delhi", "bangalore", "chennai", "hyderabad", "singapore", "frankfurt"];
pub(crate) const INDIA3: &[usize] = &[0, 1, 2];
pub(crate) const INDIA4: &[usize] = &[0, 1, 2, 3];
pub(crate) const INDIA5: &[usize] = &[0, 1, 2, 3, 4];
pub(crate) const ASIA_EUROPE5: &[usize] = &[0, 1, 2, 5, 6];

/// Round trips in µs; see geo-topology.yaml for who measured them.
const PAIRS: &[(usize, usize, Us)] = &[
    (0, 1, 27_000),
    (0, 2, 24_000),
    (1, 2, 37_000),
    (0, 3, 25_000),
    (0, 4, 18_000),
    (1, 3, 42_500),
    (1, 4, 28_000),
    (2, 3, 9_000),
    (2, 4, 10_000),
    (3, 4, 12_000),
    (0, 5, 62_000),
    (1, 5, 69_000),
    (2, 5, 39_500),
    (0, 6, 129_000),
    (1, 6, 147_000),
    (2, 6, 159_000),
    (5, 6, 150_000),
];

pub(crate) fn one_way(cities: &[usize]) -> Vec<Vec<Us>> {
    let way = |a: usize, b: usize| {
        let pair = PAIRS.iter().find(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a));
        if a == b { 0 } else { pair.expect("a known pair").2 / 2 }
    };
    cities.iter().map(|a| cities.iter().map(|b| way(*a, *b)).collect()).collect()
}

/// No jitter, no loss, no disk.
pub(crate) fn ideal(cities: &[usize]) -> Weather {
    Weather {
        one_way: one_way(cities),
        jitter: (0.0, 0.0),
        loss: 0,
        duplicate: 0,
        spike: 0,
        sync: 0,
        die: 0,
        detector: 500 * MS,
    }
}

/// A cluster with its coordinator, after its members have learned the delays between them.
pub(crate) fn cluster(
    cities: &[usize],
    weather: Weather,
    seed: u64,
    change: impl Fn(&mut Config),
) -> World {
    let mut world = newborn(cities, weather, seed, change);
    world.run_until(3_000 * MS);
    assert!(world.coordinator().is_some(), "somebody coordinates");
    world
}

/// A cluster in its first moment.
pub(crate) fn newborn(
    cities: &[usize],
    weather: Weather,
    seed: u64,
    change: impl Fn(&mut Config),
) -> World {
    let quorums = FastQuorums::for_replicas(cities.len()).unwrap();
    let configs = (0..cities.len()).map(|node| {
        let mut config = Config::new(ReplicaId(node as u8), quorums, Span::from_ms(40));
        change(&mut config);
        config
    });
    let mut world = World::new(configs.collect(), weather, seed);
    world.start();
    world
}
