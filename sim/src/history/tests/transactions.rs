//! Transactions: good histories, and outcomes that nobody knows.

use super::AnomalyKind::*;
use super::{assert_bad, assert_good, check, failed, ok, unknown};
use crate::history::{ListAppendHistory, check_list_append};

#[test]
fn the_empty_history_is_good() {
    let report = check_list_append(&ListAppendHistory::<u8>::new());
    assert!(report.is_strictly_serializable());
    assert_eq!(report.to_string(), "0 transactions, 0 took effect: strictly serializable");
}

#[test]
fn concurrent_transactions_may_take_effect_in_any_order() {
    assert_good([
        ok(0, 100, "x+1 y+1"),
        ok(0, 100, "x+2 y=1"),
        ok(0, 100, "y=1 x=1,2"),
        ok(0, 100, "x= y="),
        ok(0, 100, "y+3 x=1,2"),
        ok(101, 102, "x=1,2 y=1,3"),
    ]);
}

#[test]
fn one_that_spans_all_others_may_be_anywhere() {
    for seen in ["", "1", "1,2", "1,2,3"] {
        assert_good([
            ok(10, 19, "x+1"),
            ok(20, 29, "x+2"),
            ok(30, 39, "x+3"),
            ok(0, 100, &format!("x={seen}")),
            ok(200, 209, "x=1,2,3"),
        ]);
    }
}

#[test]
fn unread_appends_may_be_in_any_order() {
    assert_good([ok(0, 9, "x+1"), ok(0, 9, "x+2"), ok(10, 19, "x+3 y+1"), ok(0, 30, "x= y=")]);
}

#[test]
fn a_read_before_its_own_unread_append_is_no_cycle() {
    assert_good([ok(0, 9, "x= x+1"), ok(0, 9, "x+2"), ok(0, 9, "x=")]);
    assert_good([ok(0, 9, "x+1"), ok(0, 9, "x=1 x+2"), ok(0, 9, "x+3"), ok(0, 9, "x=1")]);
    // It is between what it read and everything else unread, and that is after the reader too.
    assert_bad([ok(0, 9, "x= x+1 y+1"), ok(0, 9, "x+2 y+2"), ok(0, 9, "y=2,1")], &[WriteCycle]);
}

#[test]
fn unknown_outcome_that_took_effect() {
    // Long after the client gave up.
    assert_good([unknown(0, "x+1 y+1"), ok(50, 59, "x="), ok(100, 109, "x=1")]);
    // Then all of it did.
    assert_bad([unknown(0, "x+1 y+1"), ok(50, 59, "x=1"), ok(60, 69, "y=")], &[StaleRead]);
    assert_bad([unknown(0, "x+1 y+1"), ok(0, 9, "x=1 y=")], &[SingleAntiDependency]);
    // Not before it was asked for.
    assert_bad([ok(0, 9, "x=1"), unknown(10, "x+1")], &[RealTimeInversion]);
}

#[test]
fn unknown_outcome_that_never_took_effect() {
    let report = check([unknown(0, "x+1 y+1"), ok(50, 59, "x= y="), ok(100, 109, "x= y=")]);
    assert!(report.is_strictly_serializable(), "{report}");
    assert_eq!((report.transactions, report.committed), (3, 2));
    // Its reads bind nobody.
    assert_good([unknown(0, "x=1 y+1"), ok(50, 59, "x= y=1")]);
}

#[test]
fn a_failed_transaction_takes_no_part() {
    assert_good([failed(0, "x+1 y+1"), ok(50, 59, "x= y="), ok(60, 69, "x+2"), ok(70, 79, "x=2")]);
}

#[test]
fn a_cycle_of_many_is_found_without_recursion() {
    // T(n) reads what T(n-1) wrote; T0 reads what the last one wrote.
    const LENGTH: u64 = 100_000;
    let mut history = ListAppendHistory::<u64>::new();
    for n in 0..LENGTH {
        use crate::history::TxnOp::{Append, Read};
        let steps = vec![Append { key: n, element: 1 }, Read { key: (n + LENGTH - 1) % LENGTH }];
        let op = history.invoke(n, n, steps);
        history.returned(op, n + LENGTH, vec![vec![1]]);
    }
    let report = check_list_append(&history);
    assert_eq!(report.kinds(), [CircularInformationFlow], "{}", report.anomalies.len());
    assert_eq!(report.anomalies[0].transactions.len() as u64, LENGTH);
    assert!(report.to_string().len() < 10_000, "long cycles are abridged");
}
