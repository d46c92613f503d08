//! The latency oracles: with zero jitter, no faults and no disk latency, what the simulator measures
//! is what the published table says, to the microsecond. A cell that disagrees is a bug in one of
//! the two.

use bytes::Bytes;
use panchayat_consensus::Path;
use panchayat_core::kv::{KvCommand, KvOp};
use panchayat_epaxos::EPaxos;
use panchayat_sim::{Exact, Outcome};
use panchayat_topology::{Topology, latency};

fn matrix(set: &str) -> panchayat_topology::Matrix {
    Topology::builtin().matrix(set).expect("a replica set of the built-in topology")
}

fn one_way(matrix: &panchayat_topology::Matrix) -> Vec<Vec<u64>> {
    let seats = 0..matrix.len();
    seats.clone().map(|a| seats.clone().map(|b| matrix.one_way_us(a, b)).collect()).collect()
}

fn put(key: &'static str) -> KvCommand {
    KvCommand::One(KvOp::Put {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(b"v"),
    })
}

fn fast(set: &str, origin: usize) -> Outcome {
    let script = Exact::new(one_way(&matrix(set))).propose(1_000, origin, put("x"));
    let outcomes = script.run::<EPaxos>().unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

/// One cell of the fast-path table.
fn check_fast(set: &str, origin: usize, oracle_us: u64) {
    let outcome = fast(set, origin);
    assert_eq!(outcome.path, Path::Fast, "{set}, origin {origin}");
    assert_eq!(outcome.commit_us, oracle_us, "{set}, origin {origin}: commit");
    assert_eq!(outcome.execute_us, oracle_us, "{set}, origin {origin}: execution");
    let matrix = matrix(set);
    let quorum = matrix.len() / 2 + 1;
    assert_eq!(latency::epaxos_fast(&matrix, origin, quorum), Some(oracle_us), "formula");
}

macro_rules! fast_cells {
    ($($name:ident: $set:literal $origin:literal $oracle_us:literal,)*) => {
        $(#[test] fn $name() { check_fast($set, $origin, $oracle_us); })*
    };
}

fast_cells! {
    india3_mumbai: "india3" 0 24_000,
    india3_delhi: "india3" 1 27_000,
    india3_bangalore: "india3" 2 24_000,
    india5_mumbai: "india5" 0 24_000,
    india5_delhi: "india5" 1 28_000,
    india5_bangalore: "india5" 2 10_000,
    india5_chennai: "india5" 3 12_000,
    india5_hyderabad: "india5" 4 12_000,
    asia_europe5_mumbai: "asia-europe5" 0 27_000,
    asia_europe5_delhi: "asia-europe5" 1 37_000,
    asia_europe5_bangalore: "asia-europe5" 2 37_000,
    asia_europe5_singapore: "asia-europe5" 3 62_000,
    asia_europe5_frankfurt: "asia-europe5" 4 147_000,
}

/// Both peers already hold a conflict that the origin does not know: one peer proposes while what
/// it sends to the origin is held back, and commits with the other peer.
fn check_slow(origin: usize, oracle_us: u64) {
    let matrix = matrix("india3");
    let (peer, other) = ((origin + 1) % 3, (origin + 2) % 3);
    let decided_us = matrix.rtt_us(peer, other);
    let proposed_us = 1_000 + decided_us + 1_000;
    let outcomes = Exact::new(one_way(&matrix))
        .delay((peer, origin), 0, proposed_us - 1, 5_000_000)
        .propose(1_000, peer, put("x"))
        .propose(proposed_us, origin, put("x"))
        .run::<EPaxos>()
        .unwrap();
    assert_eq!((outcomes[0].path, outcomes[0].commit_us), (Path::Fast, decided_us));
    assert_eq!(outcomes[1].path, Path::Slow, "origin {origin}");
    assert_eq!(outcomes[1].commit_us, oracle_us, "origin {origin}");
    assert_eq!(latency::epaxos_slow(&matrix, origin, 2), Some(oracle_us), "formula");
}

#[test]
fn india3_slow_path_mumbai() {
    check_slow(0, 48_000);
}

#[test]
fn india3_slow_path_delhi() {
    check_slow(1, 54_000);
}

#[test]
fn india3_slow_path_bangalore() {
    check_slow(2, 48_000);
}

#[test]
fn a_command_of_another_key_is_not_slowed_by_the_conflict() {
    let matrix = matrix("india3");
    let outcomes = Exact::new(one_way(&matrix))
        .delay((1, 0), 0, 40_000, 5_000_000)
        .propose(1_000, 1, put("x"))
        .propose(41_000, 0, put("y"))
        .run::<EPaxos>()
        .unwrap();
    assert_eq!((outcomes[1].path, outcomes[1].commit_us), (Path::Fast, 24_000));
    assert_eq!(outcomes[1].execute_us, 24_000);
}
