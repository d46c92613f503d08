//! For every kind of anomaly the smallest histories that have it, and beside them what is good.
//!
//! Unless real time matters, all transactions of a history are concurrent.

use super::AnomalyKind::*;
use super::{assert_bad, assert_good, failed, ok, unknown};

#[test]
fn g0_write_cycle() {
    // x: T0 before T1; y: T1 before T0.
    let report = assert_bad(
        [ok(0, 9, "x+1 y+1"), ok(0, 9, "x+2 y+2"), ok(0, 9, "x=1,2"), ok(0, 9, "y=2,1")],
        &[WriteCycle],
    );
    let text = report.to_string();
    assert!(text.contains("T0 -ww-> T1: T1 appended to 'x' after it"), "{text}");
    assert!(text.contains("T1 -ww-> T0: T0 appended to 'y' after it"), "{text}");
    assert!(text.contains("T1 = p0 [0..9 us] append('x', 2) append('y', 2)"), "{text}");
    assert_eq!(report.anomalies[0].transactions, [0, 1]);
    assert_good([ok(0, 9, "x+1 y+1"), ok(0, 9, "x+2 y+2"), ok(0, 9, "x=1,2"), ok(0, 9, "y=1,2")]);
}

#[test]
fn g0_when_another_writes_between_the_appends_of_one_transaction() {
    assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x+3"), ok(0, 9, "x=1,3,2")], &[WriteCycle]);
    // The second append was read by nobody, and yet must have been adjacent.
    assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x+3"), ok(0, 9, "x=1,3")], &[WriteCycle]);
    assert_good([ok(0, 9, "x+1 x+2"), ok(0, 9, "x+3"), ok(0, 9, "x=1,2,3")]);
}

#[test]
fn g1a_aborted_read() {
    let report = assert_bad([failed(0, "x+1"), ok(0, 9, "x=1")], &[AbortedRead]);
    assert_eq!(report.anomalies[0].transactions, [1, 0]);
    assert_bad([failed(0, "x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=1,2")], &[AbortedRead]);
    assert_good([failed(0, "x+1"), ok(0, 9, "x=")]);
}

#[test]
fn g1b_intermediate_read() {
    let report =
        assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x=1"), ok(0, 9, "x=1,2")], &[IntermediateRead]);
    assert_eq!(report.anomalies[0].transactions, [1, 0]);
    assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x=1")], &[IntermediateRead]);
    assert_good([ok(0, 9, "x+1 x=1 x+2"), ok(0, 9, "x=1,2")]);
}

#[test]
fn g1c_circular_information_flow() {
    let report = assert_bad([ok(0, 9, "x+1 y=1"), ok(0, 9, "y+1 x=1")], &[CircularInformationFlow]);
    assert!(report.to_string().contains("T0 -wr-> T1: T1 read its append to 'x'"), "{report}");
    // One write before write, one write before its read.
    assert_bad(
        [ok(0, 9, "x+1 y=1"), ok(0, 9, "x+2 y+1"), ok(0, 9, "x=1,2")],
        &[CircularInformationFlow],
    );
    assert_good([ok(0, 9, "x+1 y="), ok(0, 9, "y+1 x=1")]);
}

#[test]
fn lost_update() {
    // Both saw the empty list, and the later append is there for all to see.
    let seen = [ok(0, 9, "x= x+1"), ok(0, 9, "x= x+2"), ok(0, 9, "x=1,2")];
    let report = assert_bad(seen, &[LostUpdate]);
    assert!(report.to_string().contains("T1 -rw-> T0: it read 'x' without T0's"), "{report}");
    // Nobody read the result: still, one of the two must have been first.
    assert_bad([ok(0, 9, "x= x+1"), ok(0, 9, "x= x+2")], &[LostUpdate]);
    assert_bad([ok(0, 9, "x+1 x=1"), ok(0, 9, "x+2 x=2")], &[LostUpdate]);
    assert_bad(
        [ok(0, 9, "x+1"), ok(0, 9, "x=1 x+2"), ok(0, 9, "x=1 x+3"), ok(0, 9, "x=1 x+4")],
        &[LostUpdate],
    );
    // The first update is read, the second is not.
    assert_bad([ok(0, 9, "x= x+1"), ok(0, 9, "x= x+2"), ok(0, 9, "x=1")], &[LostUpdate]);
    assert_good([ok(0, 9, "x= x+1"), ok(0, 9, "x=1 x+2"), ok(0, 9, "x=1,2")]);
}

#[test]
fn lost_update_that_overwrote_an_acknowledged_append() {
    assert_bad(
        [ok(0, 9, "x= x+1"), ok(0, 9, "x= x+2"), ok(10, 19, "x=2")],
        &[LostWrite, LostUpdate],
    );
}

#[test]
fn g_single_read_skew() {
    // T1 sees T0's append to y and not the one to x.
    let report = assert_bad(
        [ok(0, 9, "x+1 y+1"), ok(0, 9, "x= y=1"), ok(0, 9, "x=1")],
        &[SingleAntiDependency],
    );
    assert_eq!(report.anomalies[0].transactions, [1, 0]);
    // The same, although nobody ever read x.
    assert_bad([ok(0, 9, "x+1 y+1"), ok(0, 9, "x= y=1")], &[SingleAntiDependency]);
    assert_good([ok(0, 9, "x+1 y+1"), ok(0, 9, "x=1 y=1"), ok(0, 9, "x= y=")]);
}

#[test]
fn g2_write_skew() {
    let report = assert_bad([ok(0, 9, "x= y+1"), ok(0, 9, "y= x+1")], &[WriteSkew]);
    assert!(report.to_string().contains("T0 -rw-> T1: it read 'x' without T1's"), "{report}");
    assert_bad(
        [ok(0, 9, "x= y+1"), ok(0, 9, "y= z+1"), ok(0, 9, "z= x+1"), ok(0, 9, "x=1 y=1 z=1")],
        &[WriteSkew],
    );
    assert_good([ok(0, 9, "x= y+1"), ok(0, 9, "y=1 x+1")]);
}

#[test]
fn g2_long_fork() {
    // Two readers see two independent writes in different orders.
    assert_bad(
        [ok(0, 9, "x+1"), ok(0, 9, "y+1"), ok(0, 9, "x=1 y="), ok(0, 9, "x= y=1")],
        &[WriteSkew],
    );
}

#[test]
fn stale_read() {
    let report = assert_bad([ok(0, 9, "x+1"), ok(10, 19, "x="), ok(20, 29, "x=1")], &[StaleRead]);
    assert_eq!(report.anomalies[0].transactions, [1, 0]);
    let text = report.to_string();
    assert!(text.contains("T0 -rt-> T1: it returned at 9 us, before T1 was invoked at 10 us"));
    // Concurrent with the write: either is fine.
    assert_good([ok(0, 10, "x+1"), ok(10, 19, "x="), ok(20, 29, "x=1")]);
}

#[test]
fn stale_read_after_another_saw_the_newer_version() {
    // T0 never returned in time, but T1 saw it before T2 began.
    assert_bad([ok(0, 99, "x+1"), ok(10, 19, "x=1"), ok(20, 29, "x=")], &[StaleRead]);
    assert_bad([unknown(0, "x+1"), ok(10, 19, "x=1"), ok(20, 29, "x=")], &[StaleRead]);
    assert_good([ok(0, 99, "x+1"), ok(10, 19, "x="), ok(20, 29, "x=1")]);
}

#[test]
fn stale_read_through_a_later_write() {
    // T2 misses T0, which is concurrent, and so T1, which had returned.
    assert_bad(
        [ok(0, 99, "x+1"), ok(0, 9, "x+2"), ok(10, 99, "x="), ok(100, 109, "x=1,2")],
        &[StaleRead],
    );
}

#[test]
fn real_time_inversion_of_writes() {
    let report =
        assert_bad([ok(0, 9, "x+1"), ok(10, 19, "x+2"), ok(20, 29, "x=2,1")], &[RealTimeInversion]);
    assert_eq!(report.anomalies[0].transactions, [1, 0]);
    assert_good([ok(0, 10, "x+1"), ok(10, 19, "x+2"), ok(20, 29, "x=2,1")]);
}

#[test]
fn real_time_inversion_of_a_read_of_the_future() {
    assert_bad([ok(0, 9, "x=1"), ok(10, 19, "x+1")], &[RealTimeInversion]);
    assert_bad([ok(0, 9, "x=1"), unknown(10, "x+1")], &[RealTimeInversion]);
    assert_good([ok(0, 10, "x=1"), ok(10, 19, "x+1")]);
}

#[test]
fn real_time_inversion_between_two_missed_writes() {
    // T1 misses T2's append, T2 misses T0's, and yet T0 returned before T1 began. Neither misses
    // anything that had ended.
    let report =
        assert_bad([ok(0, 9, "y+1"), ok(10, 19, "x="), ok(0, 99, "x+1 y=")], &[RealTimeInversion]);
    assert_eq!(report.anomalies[0].transactions.len(), 3);
    assert_good([ok(0, 10, "y+1"), ok(10, 19, "x="), ok(0, 99, "x+1 y=")]);
}

#[test]
fn incompatible_orders() {
    let report = assert_bad(
        [ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=1,2"), ok(0, 9, "x=2,1")],
        &[IncompatibleOrder],
    );
    assert_eq!(report.anomalies[0].transactions, [3, 2]);
    assert_bad(
        [ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=1"), ok(0, 9, "x=2")],
        &[IncompatibleOrder],
    );
    assert_good([ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=2,1"), ok(0, 9, "x=2")]);
}

#[test]
fn duplicate_elements() {
    assert_bad([ok(0, 9, "x+1"), ok(0, 9, "x=1,1")], &[DuplicateElement]);
    assert_bad([ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=1,2,1")], &[DuplicateElement]);
    // The same element in two lists is none.
    assert_good([ok(0, 9, "x+1"), ok(0, 9, "y+1"), ok(0, 9, "x=1 y=1")]);
}

#[test]
fn unknown_elements() {
    assert_bad([ok(0, 9, "x+1"), ok(0, 9, "x=1,7")], &[UnknownElement]);
    assert_bad([ok(0, 9, "y+7"), ok(0, 9, "x=7")], &[UnknownElement]);
}

#[test]
fn lost_acknowledged_write() {
    let report = assert_bad([ok(0, 9, "x+1"), ok(10, 19, "x=")], &[LostWrite]);
    assert_eq!(report.anomalies[0].transactions, [0, 1]);
    assert_bad([ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(10, 19, "x=2")], &[LostWrite]);
    // Acknowledged only when the last read had begun, or never: nothing was promised.
    assert_good([ok(0, 10, "x+1"), ok(10, 19, "x=")]);
    assert_good([unknown(0, "x+1"), ok(10, 19, "x=")]);
}

#[test]
fn internal_inconsistencies() {
    // Its own append is missing.
    assert_bad([ok(0, 9, "x+1 x=")], &[Internal]);
    // It is not at the end.
    assert_bad([ok(0, 9, "x+1 x=1,2"), ok(0, 9, "x+2")], &[Internal]);
    // It is read before it is made.
    assert_bad([ok(0, 9, "x=1 x+1")], &[Internal]);
    // Its appends came in another order, or only the later one came.
    assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x=2,1")], &[Internal, IntermediateRead]);
    assert_bad([ok(0, 9, "x+1 x+2"), ok(0, 9, "x=2")], &[Internal]);
    // The read is not repeatable.
    assert_bad([ok(0, 9, "x= x=1"), ok(0, 9, "x+1")], &[Internal]);
    assert_good([ok(0, 9, "x=2 x+1 x=2,1 x=2,1 x+3 x=2,1,3"), ok(0, 9, "x+2")]);
}

#[test]
fn malformed_histories() {
    assert_bad([ok(0, 9, "x+1"), ok(0, 9, "x+1")], &[Malformed]);
    assert_bad([ok(0, 9, "x+1 x+1")], &[Malformed]);
    let (steps, _) = super::steps("x=1 y=1");
    let short = super::Operation::new(0, 0, steps).returning(9, vec![vec![]]);
    assert_bad([short], &[Malformed]);
}

#[test]
fn the_worst_name_wins_and_the_shortest_cycle_is_told() {
    // A write cycle of two within a longer cycle through reads, and a stale read elsewhere.
    let report = assert_bad(
        [
            ok(0, 9, "x+1 y+1"),
            ok(0, 9, "x+2 y+2 z+1"),
            ok(0, 9, "x=1,2 z=1"),
            ok(0, 9, "y=2,1"),
            ok(20, 29, "w+1"),
            ok(30, 39, "w="),
            ok(40, 49, "w=1"),
        ],
        &[WriteCycle, StaleRead],
    );
    assert_eq!(report.anomalies.len(), 2);
    assert!(report.anomalies.iter().all(|anomaly| anomaly.transactions.len() == 2), "{report}");
}

#[test]
fn only_so_many_anomalies_are_spelled_out() {
    let reads = (0..100).map(|n| ok(10 + n, 1000, &format!("x={}", 100 + n)));
    let report = assert_bad(reads, &[UnknownElement, IncompatibleOrder]);
    assert!(report.more > 100, "{}", report.more);
    assert!(report.anomalies.len() < 50);
}
