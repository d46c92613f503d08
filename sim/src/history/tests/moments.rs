//! Real time: what precedes what, and what a recorder must not do.

use super::{ok, steps};
use crate::history::{History, ListAppendHistory, Operation, check_list_append};

#[test]
fn equal_times_are_concurrent_unless_the_order_was_recorded() {
    let (first, second) = (ok(0, 10, "x+1"), ok(10, 20, "x+2"));
    assert!(!first.precedes(&second));
    assert!(ok(0, 9, "x+1").precedes(&second));

    let mut history: ListAppendHistory<char> = History::new();
    let write = history.invoke(1, 0, steps("x+1").0);
    history.returned(write, 10, vec![]);
    let read = history.invoke(1, 10, steps("x=").0);
    history.returned(read, 10, vec![vec![]]);
    assert!(history.operations()[0].precedes(&history.operations()[1]));
    assert!(!check_list_append(&history).is_strictly_serializable());
}

#[test]
fn unknown_and_failed_operations_precede_nothing() {
    let later: Operation<(), ()> = Operation::new(0, 100, ());
    assert!(!Operation::<(), ()>::new(0, 0, ()).precedes(&later));
    assert!(!Operation::<(), ()>::new(0, 0, ()).failing().precedes(&later));
}

#[test]
fn an_operation_that_is_not_ended_is_unknown() {
    let mut history: History<(), ()> = History::new();
    let op = history.invoke(7, 3, ());
    let operation = &history.operations()[op.index()];
    assert_eq!(operation.interval_text(), "p7 [3 us, outcome unknown]");
    assert_eq!((operation.result(), operation.returned()), (None, None));
    assert_eq!(history.len(), 1);
}

#[test]
#[should_panic(expected = "ends once")]
fn an_operation_does_not_end_twice() {
    let mut history: History<(), ()> = History::new();
    let op = history.invoke(0, 0, ());
    history.returned(op, 1, ());
    history.failed(op);
}

#[test]
#[should_panic(expected = "before it was invoked")]
fn an_operation_does_not_return_before_it_is_invoked() {
    let mut history: History<(), ()> = History::new();
    let op = history.invoke(0, 10, ());
    history.returned(op, 9, ());
}
