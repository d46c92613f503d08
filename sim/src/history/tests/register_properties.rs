//! Linearizability: random histories of real executions pass, spoilt ones are caught, and tiny
//! ones are judged as brute force judges them.

use std::time::Instant;

use super::Rng;
use super::serial::{RegisterOp, execute, explains_register, some_order};
use crate::history::RegisterCall::{self, Append, CompareAndSet, Delete, Read, Write};
use crate::history::RegisterResult::{self, Compared, Done, Swapped};
use crate::history::{KeyedCall, Limits, Operation, RegisterHistory, Value, Verdict};
use crate::history::{RegisterReport, check_registers};

/// How a history is made.
#[derive(Clone, Copy)]
struct Shape {
    operations: u64,
    /// How many operations overlap, about.
    overlap: u64,
    /// Of how many in a hundred the client never learns the outcome.
    unknown_percent: u64,
    /// Whether some compare-and-sets do not tell what they found.
    vague: bool,
}

fn random_call<V: Value>(rng: &mut Rng, fresh: u64, value: fn(u64) -> V) -> RegisterCall<V> {
    match rng.below(10) {
        0..4 => Read,
        4..7 => Write(value(fresh)),
        7 => Append(value(fresh)),
        8 => Delete,
        _ => {
            let expected = fresh.checked_sub(rng.below(4) + 1).map(value);
            CompareAndSet { expected, new: Some(value(fresh)) }
        }
    }
}

/// Executes one operation after the other, each within a random interval around its turn: a
/// history that is linearizable by construction.
fn executed<V: Value>(rng: &mut Rng, shape: Shape, value: fn(u64) -> V) -> Vec<RegisterOp<V>> {
    let mut state = None;
    let mut operations = Vec::new();
    for number in 1..=shape.operations {
        let at_us = number * 10 + 10 * shape.overlap;
        let spread = 10 * shape.overlap;
        let (invoked_us, returned_us) = (at_us - rng.below(spread), at_us + rng.below(spread) + 1);
        let call = random_call(rng, number, value);
        let keyed = KeyedCall { key: 0, call: call.clone() };
        let operation = Operation::new(number, invoked_us, keyed);
        if rng.chance(shape.unknown_percent) {
            // Half of these never take effect.
            if rng.chance(50) {
                execute(&mut state, &call);
            }
            operations.push(operation);
            continue;
        }
        let result = match execute(&mut state, &call) {
            Compared { applied, .. } if shape.vague && rng.chance(30) => Swapped(applied),
            result => result,
        };
        operations.push(operation.returning(returned_us, result));
    }
    rng.shuffle(&mut operations);
    operations
}

fn number(fresh: u64) -> u64 {
    fresh << 32
}

fn bytes(fresh: u64) -> Vec<u8> {
    format!("{fresh},").into_bytes()
}

fn check<V: Value>(operations: &[RegisterOp<V>]) -> RegisterReport<u8> {
    let history: RegisterHistory<u8, V> = operations.iter().cloned().collect();
    check_registers(&history, Limits::default())
}

#[test]
fn executed_histories_pass() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let unknown_percent = *rng.pick(&[0, 5, 20]);
        let shape = Shape { operations: 200, overlap: 1 + seed % 8, unknown_percent, vague: true };
        let report = check(&executed(&mut rng, shape, bytes));
        assert_eq!(report.verdict(), Verdict::Linearizable, "seed {seed}: {report}");
        let report = check(&executed(&mut rng, Shape { unknown_percent: 0, ..shape }, number));
        assert_eq!(report.verdict(), Verdict::Linearizable, "seed {seed}: {report}");
    }
}

fn with_result<V: Value>(operation: &RegisterOp<V>, result: RegisterResult<V>) -> RegisterOp<V> {
    let returned_us = operation.returned().expect("it returned").at_us();
    Operation::new(operation.process(), operation.invoked().at_us(), operation.call().clone())
        .returning(returned_us, result)
}

/// Two reads, the first ending before the second begins, that saw different values.
fn two_reads(rng: &mut Rng, operations: &[RegisterOp<Vec<u8>>]) -> Option<(usize, usize)> {
    let is_read =
        |at: &usize| operations[*at].call().call == Read && operations[*at].returned().is_some();
    let reads: Vec<usize> = (0..operations.len()).filter(is_read).collect();
    let (one, other) = (*rng.pick(&reads), *rng.pick(&reads));
    let values = [one, other].map(|at| operations[at].result().cloned());
    let absent = Some(RegisterResult::Value(None));
    (operations[one].precedes(&operations[other])
        && values[0] != values[1]
        // Absence comes and goes; every other value is there but once.
        && !values.contains(&absent))
    .then_some((one, other))
}

#[test]
fn swapped_results_of_two_reads_are_caught() {
    let mut spoilt = 0;
    for seed in 0..600 {
        let mut rng = Rng::new(seed);
        let shape = Shape { operations: 60, overlap: 2, unknown_percent: 5, vague: false };
        let mut operations = executed(&mut rng, shape, bytes);
        let Some((one, other)) = two_reads(&mut rng, &operations) else { continue };
        spoilt += 1;
        let results = [one, other].map(|at| operations[at].result().cloned().expect("a result"));
        let [first, second] = results;
        operations[one] = with_result(&operations[one], second);
        operations[other] = with_result(&operations[other], first);
        let report = check(&operations);
        assert_eq!(report.verdict(), Verdict::Violated, "seed {seed}: {report}");
    }
    assert!(spoilt > 50, "{spoilt}");
}

#[test]
fn an_acknowledged_append_that_is_dropped_is_caught() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let shape = Shape { operations: 200, overlap: 3, unknown_percent: 0, vague: false };
        let mut appends: Vec<RegisterOp<Vec<u8>>> = executed(&mut rng, shape, bytes);
        appends.retain(|op| matches!(op.call().call, Append(_)));
        // Make an execution of these alone, in their order, then forget one.
        appends.sort_by_key(|op| op.invoked());
        appends.truncate(30);
        let lost = rng.below(appends.len() as u64) as usize;
        let mut state = None;
        let mut operations = Vec::new();
        for (at, op) in appends.iter().enumerate() {
            let result = if at == lost { Done } else { execute(&mut state, &op.call().call) };
            operations.push(with_result(op, result));
        }
        let last = Operation::new(0, 100_000, KeyedCall { key: 0, call: Read });
        operations.push(last.returning(100_001, RegisterResult::Value(state)));
        let report = check(&operations);
        assert_eq!(report.verdict(), Verdict::Violated, "seed {seed}: {report}");
    }
}

/// An answer to `call`, likely a wrong one.
fn any_answer<V: Value>(
    rng: &mut Rng,
    call: &RegisterCall<V>,
    value: impl Fn(&mut Rng) -> Option<V>,
) -> RegisterResult<V> {
    match call {
        Read => RegisterResult::Value(value(rng)),
        Append(_) if rng.chance(70) => RegisterResult::Value(value(rng)),
        Append(_) | Write(_) | Delete => Done,
        CompareAndSet { .. } if rng.chance(50) => Swapped(rng.chance(40)),
        CompareAndSet { .. } => Compared { applied: rng.chance(50), found: value(rng) },
    }
}

/// Judges many tiny histories over a few values, and compares.
fn compare_with_brute_force<V: Value>(value: fn(&mut Rng) -> V, suffix: fn(&mut Rng) -> V) {
    let (mut good, mut bad) = (0, 0);
    let maybe = |rng: &mut Rng| rng.chance(75).then(|| value(rng));
    for seed in 0..20_000 {
        let rng = &mut Rng::new(seed);
        let mut operations: Vec<RegisterOp<V>> = Vec::new();
        for number in 0..2 + rng.below(5) {
            let call = match rng.below(10) {
                0..4 => Read,
                4..6 => Write(value(rng)),
                6 => Delete,
                7..9 => Append(suffix(rng)),
                _ => CompareAndSet { expected: maybe(rng), new: maybe(rng) },
            };
            let result = any_answer(rng, &call, maybe);
            let invoked_us = rng.below(20);
            let operation = Operation::new(number, invoked_us, KeyedCall { key: 0, call });
            operations.push(match rng.below(10) {
                0..6 => operation.returning(invoked_us + rng.below(15), result),
                6..9 => operation,
                _ => operation.failing(),
            });
        }
        let explicable = some_order(&operations, |order| explains_register(&operations, order));
        *(if explicable { &mut good } else { &mut bad }) += 1;
        let wanted = if explicable { Verdict::Linearizable } else { Verdict::Violated };
        assert_eq!(check(&operations).verdict(), wanted, "seed {seed}: {operations:#?}");
    }
    assert!(good > 2_000 && bad > 2_000, "{good} good, {bad} bad");
}

#[test]
fn tiny_histories_of_numbers_are_judged_as_brute_force_judges_them() {
    compare_with_brute_force(|rng| rng.below(3) + 1, |_| 1);
}

#[test]
fn tiny_histories_of_bytes_are_judged_as_brute_force_judges_them() {
    compare_with_brute_force(
        |rng| rng.pick(&["a", "b", "ab", "ba", "aba"]).as_bytes().to_vec(),
        |rng| rng.pick(&["a", "b"]).as_bytes().to_vec(),
    );
}

#[test]
fn thousands_of_operations_on_one_key_are_decided() {
    for (overlap, unknown_percent) in [(2, 0), (5, 2), (5, 10), (10, 2), (20, 1)] {
        let shape = Shape { operations: 5_000, overlap, unknown_percent, vague: false };
        let operations = executed(&mut Rng::new(overlap), shape, bytes);
        let started = Instant::now();
        let report = check(&operations);
        let took = started.elapsed();
        println!("5000 operations, overlap {overlap}, {unknown_percent} % unknown: {took:?}");
        assert_eq!(report.verdict(), Verdict::Linearizable, "overlap {overlap}: {report}");
    }
}
