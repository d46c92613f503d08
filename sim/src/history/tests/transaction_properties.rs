//! Strict serializability: random histories of real serial executions pass, spoilt ones are
//! caught, and tiny ones are judged as brute force judges them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::serial::{explains_transactions, some_order};
use super::{AnomalyKind, Lists, Rng, Txn, assert_good, check};
use crate::history::{ListAppendHistory, Operation, Transaction, TxnOp, check_list_append};

/// How a history is made.
#[derive(Clone, Copy)]
struct Shape {
    transactions: u64,
    keys: u64,
    /// How many transactions overlap, about.
    overlap: u64,
    /// Of how many in a hundred the client never learns the outcome.
    unknown_percent: u64,
}

const SMALL: Shape = Shape { transactions: 100, keys: 3, overlap: 5, unknown_percent: 5 };

fn key(number: u64) -> char {
    char::from(b'a' + number as u8)
}

type State = BTreeMap<char, Vec<u64>>;

fn execute(state: &mut State, steps: &Transaction<char>) -> Lists {
    let mut lists = Vec::new();
    for step in steps {
        match step {
            TxnOp::Append { key, element } => state.entry(*key).or_default().push(*element),
            TxnOp::Read { key } => lists.push(state.get(key).cloned().unwrap_or_default()),
        }
    }
    lists
}

fn random_steps(rng: &mut Rng, keys: u64, fresh: &mut u64) -> Transaction<char> {
    let count = 1 + rng.below(4);
    (0..count)
        .map(|_| {
            let key = key(rng.below(keys));
            *fresh += 1;
            if rng.chance(50) {
                TxnOp::Read { key }
            } else {
                TxnOp::Append { key, element: *fresh }
            }
        })
        .collect()
}

/// Executes one transaction after the other, each within a random interval around its turn, and
/// at the end one that reads all keys: strictly serializable by construction. In that order.
fn executed(rng: &mut Rng, shape: Shape) -> Vec<Txn> {
    let (mut state, mut fresh) = (State::new(), 0);
    let mut history = Vec::new();
    let spread = 10 * shape.overlap;
    for number in 1..=shape.transactions {
        let at_us = number * 10 + spread;
        let (invoked_us, returned_us) = (at_us - rng.below(spread), at_us + 1 + rng.below(spread));
        let steps = random_steps(rng, shape.keys, &mut fresh);
        let transaction = Operation::new(number, invoked_us, steps.clone());
        history.push(if rng.chance(shape.unknown_percent) {
            if rng.chance(50) {
                execute(&mut state, &steps);
            }
            transaction
        } else if rng.chance(2) {
            transaction.failing()
        } else {
            transaction.returning(returned_us, execute(&mut state, &steps))
        });
    }
    let steps: Transaction<char> = (0..shape.keys).map(|n| TxnOp::Read { key: key(n) }).collect();
    let end_us = shape.transactions * 10 + 3 * spread;
    let lists = execute(&mut state, &steps);
    history.push(Operation::new(0, end_us, steps).returning(end_us + 1, lists));
    history
}

fn with_lists(transaction: &Txn, lists: Lists) -> Txn {
    let (invoked, returned) = (transaction.invoked(), transaction.returned().expect("it returned"));
    Operation::new(transaction.process(), invoked.at_us(), transaction.call().clone())
        .returning(returned.at_us(), lists)
}

/// Changes the lists of `key` that were read, wherever they were.
fn change_lists(history: &mut [Txn], of: char, mut change: impl FnMut(&mut Vec<u64>)) {
    for transaction in history {
        let Some(mut lists) = transaction.result().cloned() else { continue };
        let reads = transaction.call().iter().filter_map(|step| match step {
            TxnOp::Read { key } => Some(*key),
            TxnOp::Append { .. } => None,
        });
        reads.zip(&mut lists).filter(|(key, _)| *key == of).for_each(|(_, list)| change(list));
        *transaction = with_lists(transaction, lists);
    }
}

/// The appends of `key` by transactions that returned, with their transactions.
fn appends(history: &[Txn], of: char) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    for (at, transaction) in history.iter().enumerate() {
        for step in transaction.call() {
            if let TxnOp::Append { key, element } = step
                && *key == of
                && transaction.returned().is_some()
            {
                found.push((at, *element));
            }
        }
    }
    found
}

#[test]
fn executed_histories_pass() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let shape = Shape {
            transactions: 200,
            keys: 1 + rng.below(8),
            overlap: 1 + rng.below(30),
            unknown_percent: *rng.pick(&[0, 5, 30]),
        };
        let mut history = executed(&mut rng, shape);
        rng.shuffle(&mut history);
        assert_good(history);
    }
}

#[test]
fn swapped_results_of_two_reads_are_caught() {
    let mut spoilt = 0;
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut history = executed(&mut rng, SMALL);
        let is_read = |txn: &Txn| matches!(txn.call()[..], [TxnOp::Read { key: 'a' }]);
        let reads: Vec<usize> = (0..history.len())
            .filter(|&at| is_read(&history[at]) && history[at].returned().is_some())
            .collect();
        let (Some(&one), Some(&other)) = (reads.first(), reads.last()) else { continue };
        let lists = [one, other].map(|at| history[at].result().cloned().expect("it returned"));
        if !history[one].precedes(&history[other]) || lists[0] == lists[1] {
            continue;
        }
        spoilt += 1;
        let [first, second] = lists;
        history[one] = with_lists(&history[one], second);
        history[other] = with_lists(&history[other], first);
        let report = check(history);
        assert!(!report.is_strictly_serializable(), "seed {seed}");
    }
    assert!(spoilt > 300, "{spoilt}");
}

#[test]
fn a_dropped_acknowledged_append_is_caught() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut history = executed(&mut rng, SMALL);
        let (writer, lost) = *rng.pick(&appends(&history, 'a'));
        change_lists(&mut history, 'a', |list| list.retain(|element| *element != lost));
        let report = check(history);
        let told = |anomaly: &&crate::history::Anomaly| {
            anomaly.kind == AnomalyKind::LostWrite && anomaly.transactions[0] == writer
        };
        assert!(report.anomalies.iter().any(|a| told(&a)), "seed {seed}: {report}");
    }
}

#[test]
fn reordered_elements_are_caught() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let history = executed(&mut rng, SMALL);
        // In one list only: incompatible with the others, or with what real time demands.
        let all = appends(&history, 'a');
        let ordered =
            |one: usize, other: usize| history[all[one].0].precedes(&history[all[other].0]);
        let pairs: Vec<(usize, usize)> = (0..all.len() - 1)
            .map(|at| (at, at + 1))
            .filter(|&(one, other)| ordered(one, other))
            .collect();
        let (one, other) = *rng.pick(&pairs);
        let (one, other) = (all[one].1, all[other].1);
        let swap = |list: &mut Vec<u64>| {
            for element in list {
                *element = match *element {
                    element if element == one => other,
                    element if element == other => one,
                    element => element,
                };
            }
        };
        let mut everywhere = history.clone();
        change_lists(&mut everywhere, 'a', swap);
        let report = check(everywhere);
        assert!(!report.is_strictly_serializable(), "seed {seed}: everywhere");

        let mut at_the_end = history.clone();
        let last = at_the_end.len() - 1;
        change_lists(&mut at_the_end[last..], 'a', swap);
        let report = check(at_the_end);
        assert!(!report.is_strictly_serializable(), "seed {seed}: at the end");
    }
}

#[test]
fn transactions_torn_apart_are_caught() {
    // Each transaction's steps are executed one by one, among those of others: atomicity is gone.
    let mut torn = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let (mut state, mut fresh) = (State::new(), 0);
        let mut running: Vec<(Transaction<char>, usize, Lists)> = Vec::new();
        let mut history = Vec::new();
        while history.len() < 40 {
            if running.len() < 3 {
                running.push((random_steps(&mut rng, 2, &mut fresh), 0, Vec::new()));
            }
            let at = rng.below(running.len() as u64) as usize;
            let (steps, done, lists) = &mut running[at];
            lists.extend(execute(&mut state, &vec![steps[*done].clone()]));
            *done += 1;
            if *done == steps.len() {
                let (steps, _, lists) = running.swap_remove(at);
                history.push(Operation::new(0, 0, steps).returning(1, lists));
            }
        }
        torn += u64::from(!check(history).is_strictly_serializable());
    }
    assert_eq!(torn, 300, "caught");
}

/// A tiny history near a serial one: executed, then with some lists changed.
fn tiny(rng: &mut Rng) -> Vec<Txn> {
    let (mut state, mut fresh) = (State::new(), 0);
    let mut history: Vec<Txn> = Vec::new();
    for number in 0..2 + rng.below(5) {
        let mut steps = random_steps(rng, 2, &mut fresh);
        steps.truncate(3);
        let invoked_us = number * 5 + rng.below(10);
        let transaction = Operation::new(number, invoked_us, steps.clone());
        let mut after = state.clone();
        let mut lists = execute(&mut after, &steps);
        for list in &mut lists {
            match rng.below(12) {
                0 => drop(list.pop()),
                1 => list.reverse(),
                2 => list.push(rng.below(fresh) + 1),
                3 => drop(list.drain(..list.len().min(1))),
                _ => {}
            }
        }
        if rng.chance(85) {
            state = after;
        }
        history.push(match rng.below(10) {
            0..7 => transaction.returning(invoked_us + 1 + rng.below(25), lists),
            7..9 => transaction,
            _ => transaction.failing(),
        });
    }
    rng.shuffle(&mut history);
    history
}

#[test]
fn tiny_histories_are_judged_as_brute_force_judges_them() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..60_000 {
        let history = tiny(&mut Rng::new(seed));
        let expected = some_order(&history, |order| explains_transactions(&history, order));
        let report = check(history.iter().cloned());
        assert_eq!(
            report.is_strictly_serializable(),
            expected,
            "seed {seed}: {report}\n{history:#?}"
        );
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 10_000 && bad > 10_000, "{good} good, {bad} bad");
}

#[test]
fn ten_thousand_transactions() {
    for (keys, unknown_percent) in [(20, 2), (3, 0)] {
        let shape = Shape { transactions: 10_000, keys, overlap: 20, unknown_percent };
        let mut history = executed(&mut Rng::new(keys), shape);
        let recorded: ListAppendHistory<char> = history.iter().cloned().collect();
        let started = Instant::now();
        let report = check_list_append(&recorded);
        println!("10000 transactions on {keys} keys: {:?}", started.elapsed());
        assert!(report.is_strictly_serializable(), "{report}");

        // The same with one stale read: the last transaction sees what the middle one saw.
        let half = appends(&history, 'a').len() / 2;
        let last = history.len() - 1;
        change_lists(&mut history[last..], 'a', |list| list.truncate(half));
        let recorded: ListAppendHistory<char> = history.into_iter().collect();
        let started = Instant::now();
        let report = check_list_append(&recorded);
        println!("  with a stale read: {:?}, {:?}", started.elapsed(), report.kinds());
        assert!(!report.is_strictly_serializable());
    }
}
