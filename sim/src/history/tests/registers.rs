//! Linearizability of single-key operations: good and bad histories made by hand.

use crate::history::RegisterCall::{self, *};
use crate::history::RegisterResult::{self, *};
use crate::history::{
    KeyedCall, Limits, Operation, RegisterHistory, RegisterReport, Verdict, check_registers,
};

type Op = Operation<KeyedCall<u8, u64>, RegisterResult<u64>>;

fn call(invoked_us: u64, call: RegisterCall<u64>) -> Op {
    Operation::new(0, invoked_us, KeyedCall { key: 0, call })
}

fn read(invoked_us: u64, returned_us: u64, value: Option<u64>) -> Op {
    call(invoked_us, Read).returning(returned_us, Value(value))
}

fn write(invoked_us: u64, returned_us: u64, value: u64) -> Op {
    call(invoked_us, Write(value)).returning(returned_us, Done)
}

fn swap(from: Option<u64>, to: Option<u64>) -> RegisterCall<u64> {
    CompareAndSet { expected: from, new: to }
}

fn check(operations: impl IntoIterator<Item = Op>) -> RegisterReport<u8> {
    let history: RegisterHistory<u8, u64> = operations.into_iter().collect();
    check_registers(&history, Limits::default())
}

#[track_caller]
fn assert_good(operations: impl IntoIterator<Item = Op>) {
    let report = check(operations);
    assert_eq!(report.verdict(), Verdict::Linearizable, "{report}");
}

#[track_caller]
fn assert_bad(operations: impl IntoIterator<Item = Op>) -> RegisterReport<u8> {
    let report = check(operations);
    assert_eq!(report.verdict(), Verdict::Violated, "{report}");
    report
}

#[test]
fn the_empty_history_is_good() {
    assert_good([]);
}

#[test]
fn reads_see_the_last_write() {
    assert_good([read(0, 9, None), write(10, 19, 1), read(20, 29, Some(1))]);
    assert_bad([write(0, 9, 1), read(10, 19, None)]);
    assert_bad([write(0, 9, 1), write(10, 19, 2), read(20, 29, Some(1))]);
    assert_bad([read(0, 9, Some(1)), write(10, 19, 1)]);
    assert_bad([read(0, 9, Some(7))]);
}

#[test]
fn concurrent_operations_may_take_effect_in_any_order() {
    assert_good([write(0, 20, 1), write(0, 20, 2), read(21, 29, Some(1))]);
    assert_good([write(0, 20, 1), write(0, 20, 2), read(21, 29, Some(2))]);
    assert_good([write(0, 20, 1), read(10, 19, None), read(11, 18, Some(1))]);
    // But all must agree on one.
    assert_bad([write(0, 20, 1), write(0, 20, 2), read(21, 29, Some(1)), read(30, 39, Some(2))]);
    // A read that has seen the write forbids later ones to miss it.
    assert_bad([write(0, 99, 1), read(10, 19, Some(1)), read(20, 29, None)]);
}

#[test]
fn a_history_of_herlihy_and_wing() {
    // Each read alone can be explained; together they need 1 before 2 and 2 before 1.
    assert_bad([
        write(0, 50, 1),
        write(0, 50, 2),
        read(5, 10, Some(2)),
        read(15, 20, Some(1)),
        read(25, 30, Some(2)),
    ]);
    assert_good([
        write(0, 50, 1),
        write(0, 50, 2),
        read(5, 10, Some(2)),
        read(15, 20, Some(1)),
        read(25, 30, Some(1)),
    ]);
}

#[test]
fn compare_and_set() {
    let won = |from, to| call(0, swap(Some(from), Some(to))).returning(99, Swapped(true));
    let begin = || write(0, 1, 1);
    assert_good([begin(), won(1, 2), won(2, 3), read(100, 109, Some(3))]);
    // Two cannot both replace the same value.
    assert_bad([begin(), won(1, 2), won(1, 3)]);
    // One that did not apply found another value.
    let lost = |found| {
        let answer = Compared { applied: false, found };
        call(10, swap(Some(1), Some(9))).returning(20, answer)
    };
    assert_good([begin(), write(5, 30, 2), lost(Some(2)), read(40, 49, Some(2))]);
    assert_bad([begin(), write(5, 30, 2), lost(Some(1))]);
    assert_bad([begin(), write(5, 30, 2), lost(None)]);
    assert_bad([begin(), lost(Some(3))]);
    assert_bad([begin(), call(10, swap(Some(1), None)).returning(20, Swapped(false))]);
    // Absence can be expected, and can be the new value.
    assert_good([
        call(0, swap(None, Some(4))).returning(9, Swapped(true)),
        call(10, swap(Some(4), None)).returning(19, Compared { applied: true, found: Some(4) }),
        read(20, 29, None),
    ]);
}

#[test]
fn deletions_and_appends() {
    assert_good([
        call(0, Append(1)).returning(9, Value(Some(1))),
        call(10, Append(2)).returning(19, Done),
        read(20, 29, Some(3)),
        call(30, Delete).returning(39, Done),
        read(40, 49, None),
    ]);
    // Concurrent appends may come in either order, but not both first.
    let append = |value, left| call(0, Append(value)).returning(9, Value(Some(left)));
    assert_good([append(1, 1), append(2, 3)]);
    assert_good([append(1, 3), append(2, 2)]);
    assert_bad([append(1, 1), append(2, 2)]);
    // One acknowledged append is missing.
    assert_bad([append(1, 1), append(2, 3), read(20, 29, Some(2))]);
    // Applied twice.
    assert_bad([append(1, 1), read(20, 29, Some(2))]);
}

#[test]
fn byte_strings_append_in_order() {
    let op = |invoked, value: &str, left: &str| {
        Operation::new(0, invoked, KeyedCall { key: 0, call: Append(value.as_bytes().to_vec()) })
            .returning(invoked + 10, Value(Some(left.as_bytes().to_vec())))
    };
    let verdict = |history: [_; 3]| {
        let history: RegisterHistory<u8, Vec<u8>> = history.into_iter().collect();
        check_registers(&history, Limits::default()).verdict()
    };
    let good = verdict([op(0, "a", "ba"), op(5, "b", "b"), op(12, "c", "bac")]);
    assert_eq!(good, Verdict::Linearizable);
    let bad = verdict([op(0, "a", "ba"), op(5, "b", "b"), op(12, "c", "abc")]);
    assert_eq!(bad, Verdict::Violated);
}

#[test]
fn unknown_outcomes_both_ways() {
    let unknown_write = || call(0, Write(1));
    // Never, at once, or long after.
    assert_good([unknown_write(), read(10, 19, None), read(20, 29, None)]);
    assert_good([unknown_write(), read(10, 19, Some(1)), read(20, 29, Some(1))]);
    assert_good([unknown_write(), read(10, 19, None), read(20, 29, Some(1))]);
    // But once only, not undone, and not before it was asked for.
    assert_bad([unknown_write(), read(10, 19, Some(1)), read(20, 29, None)]);
    assert_bad([
        unknown_write(),
        write(0, 9, 2),
        read(10, 19, Some(1)),
        read(20, 29, Some(2)),
        read(30, 39, Some(1)),
    ]);
    assert_bad([read(0, 9, Some(1)), call(10, Write(1))]);
    // An overwritten one that nobody saw.
    assert_good([unknown_write(), write(10, 19, 2), read(20, 29, Some(2))]);
    // After the acknowledged write, then.
    assert_good([unknown_write(), write(10, 19, 2), read(20, 29, Some(2)), read(30, 39, Some(1))]);
}

#[test]
fn unknown_outcomes_of_the_other_calls() {
    assert_good([write(0, 9, 1), call(10, swap(Some(1), Some(2))), read(20, 29, Some(2))]);
    assert_good([write(0, 9, 1), call(10, swap(Some(1), Some(2))), read(20, 29, Some(1))]);
    assert_bad([write(0, 9, 1), call(10, swap(Some(3), Some(2))), read(20, 29, Some(2))]);
    assert_good([write(0, 9, 1), call(10, Delete), read(20, 29, None)]);
    // Unknown appends before a known one, in a chain.
    let chain = |left| {
        let known = call(10, Append(4)).returning(19, Value(Some(left)));
        [call(0, Append(1)), call(0, Append(2)), known, call(0, Read)]
    };
    for left in [4, 5, 6, 7] {
        assert_good(chain(left));
    }
    assert_bad(chain(8));
    assert_bad(chain(3));
}

#[test]
fn a_failed_operation_takes_no_part() {
    assert_good([call(0, Write(1)).failing(), read(10, 19, None)]);
    assert_bad([call(0, Write(1)).failing(), read(10, 19, Some(1))]);
}

#[test]
fn an_answer_of_the_wrong_kind_is_no_answer() {
    assert_bad([call(0, Write(1)).returning(9, Value(Some(1)))]);
    assert_bad([call(0, Read).returning(9, Done)]);
}

#[test]
fn keys_are_apart_and_the_report_names_the_bad_one() {
    let mut history: RegisterHistory<&str, u64> = RegisterHistory::new();
    for (key, value) in [("good", 1), ("bad", 2)] {
        let op = history.invoke(1, 0, KeyedCall { key, call: Write(value) });
        history.returned(op, 5, Done);
        let op = history.invoke(2, 5, KeyedCall { key, call: Read });
        history.returned(op, 8, Value(Some(1)));
    }
    let report = check_registers(&history, Limits::default());
    assert_eq!((report.keys, report.operations), (2, 4));
    assert_eq!(report.violations.len(), 1);
    let violation = &report.violations[0];
    assert_eq!((violation.key, &violation.longest[..], violation.stuck), ("bad", &[2][..], 3));
    let text = report.to_string();
    assert!(text.contains("4 operations on 2 keys: NOT linearizable"), "{text}");
    assert!(text.contains("#2 p1 [0..5 us] Write(2) -> Done"), "{text}");
    assert!(text.contains("#3 p2 [5..8 us] Read -> Value(Some(1))"), "{text}");
}

#[test]
fn the_search_gives_up_at_its_limits() {
    // Twenty concurrent writes in no order that ends so.
    let writes = (0..20).map(|value| write(0, 100, value));
    let history: RegisterHistory<u8, u64> = writes.chain([read(101, 109, Some(99))]).collect();
    for limits in [
        Limits { steps: 10_000, ..Limits::default() },
        Limits { configurations: 1_000, ..Limits::default() },
    ] {
        let report = check_registers(&history, limits);
        assert_eq!(report.verdict(), Verdict::Undecided, "{report}");
        assert!(report.to_string().contains("undecided within the limits: [0]"), "{report}");
    }
}
