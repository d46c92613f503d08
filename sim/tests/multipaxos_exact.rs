//! The latency oracles of Multi-Paxos: with zero jitter, no faults and no disk latency, what the
//! simulator measures is what the published table says, to the microsecond.

use bytes::Bytes;
use panchayat_consensus::ReplicaId;
use panchayat_core::kv::{KvCommand, KvOp};
use panchayat_multipaxos::{Learning, MultiPaxos, Placement};
use panchayat_sim::Exact;
use panchayat_topology::{Matrix, Topology, latency};

const MUMBAI: usize = 0;
const DELHI: usize = 1;
const BANGALORE: usize = 2;
const CHENNAI: usize = 3;
const HYDERABAD: usize = 4;

fn matrix(set: &str) -> Matrix {
    Topology::builtin().matrix(set).expect("a replica set of the built-in topology")
}

fn put() -> KvCommand {
    KvCommand::One(KvOp::Put { key: Bytes::from_static(b"x"), value: Bytes::from_static(b"v") })
}

/// (commit, execute) of a command proposed at each city in turn, nothing else going on.
fn measure(matrix: &Matrix, leader: usize, learning: Learning) -> Vec<(u64, u64)> {
    let seats = 0..matrix.len();
    let delays =
        seats.clone().map(|a| seats.clone().map(|b| matrix.one_way_us(a, b)).collect()).collect();
    let mut script = Exact::new(delays).tuned(|tuning| {
        tuning.log.placement = Placement::Ranked(vec![ReplicaId(leader as u8)]);
        tuning.log.learning = learning;
    });
    for origin in seats {
        // Not a multiple of anything that heartbeats might be in step with.
        script = script.propose(3_000_000 + origin as u64 * 1_001_237, origin, put());
    }
    let outcomes = script.run::<MultiPaxos>().unwrap();
    outcomes.iter().map(|outcome| (outcome.commit_us, outcome.execute_us)).collect()
}

/// Commit and execution at every city equal the row in microseconds, and the row the closed form.
fn check_row(set: &str, leader: usize, learning: Learning, row: &[u64]) {
    let matrix = matrix(set);
    let q2 = matrix.len() / 2 + 1;
    let form = match learning {
        Learning::Origin => latency::multipaxos_origin_learns,
        Learning::Leader => latency::multipaxos_leader_tells,
    };
    let closed: Vec<u64> =
        (0..matrix.len()).map(|city| form(&matrix, leader, city, q2).unwrap()).collect();
    if !row.is_empty() {
        assert_eq!(row, closed, "{set}: the table against the formula, leader {leader}");
    }
    let both: Vec<(u64, u64)> = closed.iter().map(|us| (*us, *us)).collect();
    assert_eq!(measure(&matrix, leader, learning), both, "{set}, leader {leader}, {learning:?}");
}

#[test]
fn india3_origin_learns() {
    check_row("india3", MUMBAI, Learning::Origin, &[24_000, 27_000, 24_000]);
    check_row("india3", DELHI, Learning::Origin, &[27_000, 27_000, 37_000]);
    check_row("india3", BANGALORE, Learning::Origin, &[24_000, 37_000, 24_000]);
}

#[test]
fn india3_naive() {
    check_row("india3", MUMBAI, Learning::Leader, &[24_000, 51_000, 48_000]);
    check_row("india3", DELHI, Learning::Leader, &[54_000, 27_000, 64_000]);
    check_row("india3", BANGALORE, Learning::Leader, &[48_000, 61_000, 24_000]);
}

#[test]
fn india5_origin_learns() {
    let origin = Learning::Origin;
    check_row("india5", MUMBAI, origin, &[24_000, 36_500, 26_000, 27_500, 26_000]);
    check_row("india5", DELHI, origin, &[36_500, 28_000, 37_500, 42_500, 36_500]);
    check_row("india5", BANGALORE, origin, &[26_000, 37_500, 10_000, 15_500, 15_500]);
    check_row("india5", CHENNAI, origin, &[27_500, 42_500, 15_500, 12_000, 15_500]);
    check_row("india5", HYDERABAD, origin, &[26_000, 36_500, 15_500, 15_500, 12_000]);
}

#[test]
fn the_other_cells_by_their_closed_form() {
    for leader in 0..5 {
        check_row("india5", leader, Learning::Leader, &[]);
        check_row("asia-europe5", leader, Learning::Origin, &[]);
        check_row("asia-europe5", leader, Learning::Leader, &[]);
    }
}
