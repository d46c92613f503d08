//! The latency oracles of Fast Paxos: with zero jitter, no faults and no disk latency, what the
//! simulator measures is what the published table says, to the microsecond; and with one of three
//! gone, what classic rounds cost.

use bytes::Bytes;
use panchayat_consensus::{Path, ReplicaId};
use panchayat_core::kv::{KvCommand, KvOp};
use panchayat_fastpaxos::{FastPaxos, FastQuorums, Slots};
use panchayat_sim::{Exact, Outcome};
use panchayat_topology::{Matrix, Topology};

const DELHI: usize = 1;
const BANGALORE: usize = 2;

fn matrix(set: &str) -> Matrix {
    Topology::builtin().matrix(set).expect("a replica set of the built-in topology")
}

fn put() -> KvCommand {
    KvCommand::One(KvOp::Put { key: Bytes::from_static(b"x"), value: Bytes::from_static(b"v") })
}

fn script(matrix: &Matrix, coordinator: usize, slots: Slots) -> Exact {
    let seats = 0..matrix.len();
    let delays =
        seats.clone().map(|a| seats.clone().map(|b| matrix.one_way_us(a, b)).collect()).collect();
    Exact::new(delays).tuned(|tuning| {
        tuning.fast.ranking = vec![ReplicaId(coordinator as u8)];
        tuning.fast.slots = slots;
    })
}

/// The round trip to the furthest of the fast quorum, the origin included.
fn closed_form(matrix: &Matrix, origin: usize) -> u64 {
    let quorum = FastQuorums::for_replicas(matrix.len()).unwrap().fast();
    let trip = |peer| matrix.one_way_us(origin, peer) + matrix.one_way_us(peer, origin);
    let mut trips: Vec<u64> = (0..matrix.len()).map(trip).collect();
    trips.sort_unstable();
    trips[quorum - 1]
}

/// Commit and execution at every city equal the row in microseconds, whoever coordinates and in
/// whatever order slots are given, and the row the closed form.
fn check_row(set: &str, row: &[u64]) {
    let matrix = matrix(set);
    let seats = 0..matrix.len();
    let closed: Vec<u64> = seats.clone().map(|origin| closed_form(&matrix, origin)).collect();
    if !row.is_empty() {
        assert_eq!(row, closed, "{set}: the table against the formula");
    }
    for slots in [Slots::ByArrival, Slots::NextFree] {
        for coordinator in seats.clone() {
            let mut script = script(&matrix, coordinator, slots);
            for origin in seats.clone() {
                // Not a multiple of anything that heartbeats might be in step with.
                script = script.propose(3_000_000 + origin as u64 * 1_001_237, origin, put());
            }
            let outcomes = script.run::<FastPaxos>().unwrap();
            let expected = closed.iter().map(|us| Outcome {
                commit_us: *us,
                path: Path::Fast,
                execute_us: *us,
            });
            let expected: Vec<Outcome> = expected.collect();
            assert_eq!(outcomes, expected, "{set}, coordinator {coordinator}, {slots:?}");
        }
    }
}

#[test]
fn india3() {
    check_row("india3", &[27_000, 37_000, 37_000]);
}

#[test]
fn india5() {
    check_row("india5", &[25_000, 37_000, 24_000, 25_000, 18_000]);
}

#[test]
fn the_other_cells_by_their_closed_form() {
    check_row("asia-europe5", &[]);
}

/// Two cities propose at one moment. With slots by arrival both are chosen in one round trip each;
/// with the next free slot acceptors disagree, and the coordinator settles it.
#[test]
fn two_at_once_meet_only_in_the_next_free_slot() {
    let matrix = matrix("india3");
    let both = |slots| {
        let script = script(&matrix, 0, slots);
        let script = script.propose(3_000_000, DELHI, put()).propose(3_000_000, BANGALORE, put());
        script.run::<FastPaxos>().unwrap()
    };
    let paths = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.path).collect::<Vec<_>>();
    let by_arrival = both(Slots::ByArrival);
    assert_eq!(paths(&by_arrival), [Path::Fast; 2]);
    assert!(by_arrival.iter().all(|outcome| outcome.execute_us <= 37_000 + 37_000));
    let next_free = both(Slots::NextFree);
    assert_eq!(paths(&next_free), [Path::Slow; 2]);
    // Two ways to the coordinator and back to the origin by way of it at the very most.
    assert!(next_free.iter().all(|outcome| outcome.execute_us <= 4 * 37_000), "{next_free:?}");
}
