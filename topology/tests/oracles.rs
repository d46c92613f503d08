//! The oracle tables: every cell is written out here as a number that was worked out by hand from
//! the matrix, so neither the formulas nor the file can change unnoticed.

use panchayat_topology::latency::{
    direct_path, epaxos_fast, epaxos_slow, fast_paxos, multipaxos_leader_tells,
    multipaxos_origin_learns, weighted_mean_us,
};
use panchayat_topology::leader::{Learning, best_leader, rank_leaders};
use panchayat_topology::{Matrix, Topology};

fn matrix(set: &str) -> Matrix {
    Topology::builtin().matrix(set).expect("a built-in set")
}

/// One row of a table, in milliseconds.
fn row(matrix: &Matrix, cell: impl Fn(usize) -> Option<u64>) -> Vec<f64> {
    (0..matrix.len()).map(|site| cell(site).expect("a cell") as f64 / 1_000.0).collect()
}

/// The mean of a row, rounded to 0.1 ms as the tables print it.
fn mean(row: &[f64]) -> f64 {
    (row.iter().sum::<f64>() / row.len() as f64 * 10.0).round() / 10.0
}

const MUMBAI: usize = 0;
const DELHI: usize = 1;
const BANGALORE: usize = 2;

#[test]
fn sites_come_in_the_order_of_the_tables() {
    assert_eq!(matrix("india3").sites(), ["mumbai", "delhi", "bangalore"]);
    assert_eq!(matrix("india5").sites(), ["mumbai", "delhi", "bangalore", "chennai", "hyderabad"]);
    assert_eq!(
        matrix("asia-europe5").sites(),
        ["mumbai", "delhi", "bangalore", "singapore", "frankfurt"]
    );
}

#[test]
fn three_sites_leaderless() {
    let m = matrix("india3");
    // A fast and a slow quorum of three are both two.
    let fast = row(&m, |o| epaxos_fast(&m, o, 2));
    assert_eq!((&fast[..], mean(&fast)), (&[24.0, 27.0, 24.0][..], 25.0));
    assert_eq!(row(&m, |o| direct_path(&m, o, 2)), fast);
    let slow = row(&m, |o| epaxos_slow(&m, o, 2));
    assert_eq!((&slow[..], mean(&slow)), (&[48.0, 54.0, 48.0][..], 50.0));
    let paxos = row(&m, |o| fast_paxos(&m, o, 3));
    assert_eq!((&paxos[..], mean(&paxos)), (&[27.0, 37.0, 37.0][..], 33.7));
}

#[test]
fn three_sites_multipaxos() {
    let m = matrix("india3");
    let table = [
        (MUMBAI, [24.0, 27.0, 24.0], 25.0, [24.0, 51.0, 48.0], 41.0),
        (DELHI, [27.0, 27.0, 37.0], 30.3, [54.0, 27.0, 64.0], 48.3),
        (BANGALORE, [24.0, 37.0, 24.0], 28.3, [48.0, 61.0, 24.0], 44.3),
    ];
    for (leader, learns, learns_mean, tells, tells_mean) in table {
        let got = row(&m, |o| multipaxos_origin_learns(&m, leader, o, 2));
        assert_eq!((&got[..], mean(&got)), (&learns[..], learns_mean), "leader {leader}");
        let got = row(&m, |o| multipaxos_leader_tells(&m, leader, o, 2));
        assert_eq!((&got[..], mean(&got)), (&tells[..], tells_mean), "leader {leader}, naive");
    }
}

#[test]
fn five_sites_in_india() {
    let m = matrix("india5");
    assert_eq!(row(&m, |o| epaxos_fast(&m, o, 3)), [24.0, 28.0, 10.0, 12.0, 12.0]);
    assert_eq!(row(&m, |o| fast_paxos(&m, o, 4)), [25.0, 37.0, 24.0, 25.0, 18.0]);
    let learns = [
        [24.0, 36.5, 26.0, 27.5, 26.0],
        [36.5, 28.0, 37.5, 42.5, 36.5],
        [26.0, 37.5, 10.0, 15.5, 15.5],
        [27.5, 42.5, 15.5, 12.0, 15.5],
        [26.0, 36.5, 15.5, 15.5, 12.0],
    ];
    for (leader, expected) in learns.iter().enumerate() {
        let got = row(&m, |o| multipaxos_origin_learns(&m, leader, o, 3));
        assert_eq!(&got, expected, "leader {leader}");
    }
}

#[test]
fn five_sites_between_asia_and_europe() {
    let m = matrix("asia-europe5");
    assert_eq!(row(&m, |o| epaxos_fast(&m, o, 3)), [27.0, 37.0, 37.0, 62.0, 147.0]);
}

#[test]
fn the_best_leader_sits_where_the_tables_say() {
    let best = |set: &str, quorum, weights: &[u32]| {
        let m = matrix(set);
        let best = best_leader(&m, quorum, Learning::OriginLearns, weights).expect("a leader");
        (m.sites()[best.leader].clone(), best.mean_us)
    };
    assert_eq!(best("india3", 2, &[1; 3]), ("mumbai".to_owned(), 25_000.0));
    assert_eq!(best("india5", 3, &[1; 5]), ("bangalore".to_owned(), 20_900.0));
    // All clients in Delhi: with the leader in Mumbai or in Delhi they wait the same 27 ms, and
    // the earlier wins; among five, Delhi's own 28 ms is the best.
    assert_eq!(best("india3", 2, &[0, 7, 0]), ("mumbai".to_owned(), 27_000.0));
    assert_eq!(best("india5", 3, &[0, 7, 0, 0, 0]), ("delhi".to_owned(), 28_000.0));
}

#[test]
fn leaders_are_ranked_by_weighted_mean() {
    let m = matrix("india3");
    let ranked = rank_leaders(&m, 2, Learning::LeaderTells, &[1, 1, 1]).expect("three leaders");
    let order: Vec<usize> = ranked.iter().map(|forecast| forecast.leader).collect();
    assert_eq!(order, [MUMBAI, BANGALORE, DELHI]);
    assert_eq!(ranked[0].per_origin_us, [24_000, 51_000, 48_000]);
    assert_eq!(weighted_mean_us(&[10, 40], &[2, 1]), Some(20.0));
    for (quorum, weights) in [(2, &[0, 0, 0][..]), (2, &[1, 1]), (4, &[1, 1, 1]), (0, &[1, 1, 1])] {
        assert_eq!(rank_leaders(&m, quorum, Learning::OriginLearns, weights), None);
    }
}

#[test]
fn a_question_without_an_answer_gets_none() {
    let m = matrix("india3");
    for (origin, quorum) in [(3, 2), (0, 4), (0, 0)] {
        assert_eq!(direct_path(&m, origin, quorum), None);
        assert_eq!(epaxos_slow(&m, origin, quorum), None);
        assert_eq!(multipaxos_origin_learns(&m, 0, origin, quorum), None);
        assert_eq!(multipaxos_leader_tells(&m, 0, origin, quorum), None);
    }
    assert_eq!(multipaxos_origin_learns(&m, 3, 0, 2), None);
    assert_eq!(multipaxos_leader_tells(&m, 3, 0, 2), None);
    // Alone, a replica waits for nobody; with a city lost, Fast Paxos' three of three are gone.
    assert_eq!(direct_path(&m, 0, 1), Some(0));
    assert_eq!(fast_paxos(&m.without(DELHI), 0, 3), None);
    assert_eq!(epaxos_fast(&m.without(BANGALORE), MUMBAI, 2), Some(27_000));
}

#[test]
fn light_bounds_every_cell_from_below() {
    let topology = Topology::builtin();
    let fibre = topology.fibre_matrix("india3").expect("a set").expect("all distances stated");
    assert_eq!(row(&fibre, |o| direct_path(&fibre, o, 2)), [8.5, 11.5, 8.5]);
    for set in topology.sets() {
        let real = matrix(&set.name);
        let light = topology.fibre_matrix(&set.name).expect("a set").expect("all distances");
        for origin in 0..real.len() {
            for quorum in 2..=real.len() {
                assert!(direct_path(&light, origin, quorum) < direct_path(&real, origin, quorum));
            }
        }
    }
}
