//! Brute force: every order of a handful of operations is tried. Slow, obviously right, and
//! knowing nothing of the checkers.

use std::collections::BTreeMap;

use super::Txn;
use crate::history::{KeyedCall, Operation, Outcome, RegisterCall, RegisterResult, TxnOp, Value};

/// Whether some order of the operations, leaving out any of unknown outcome and all that failed,
/// respects real time and satisfies `explains`.
pub(super) fn some_order<C, R>(
    operations: &[Operation<C, R>],
    explains: impl Fn(&[usize]) -> bool,
) -> bool {
    let may_be_left_out = |at: usize| !matches!(operations[at].outcome(), Outcome::Returned { .. });
    let failed = |at: usize| matches!(operations[at].outcome(), Outcome::Failed);
    for subset in 0_u32..1 << operations.len() {
        let chosen = |at: usize| subset >> at & 1 == 1;
        let legal = (0..operations.len())
            .all(|at| if chosen(at) { !failed(at) } else { may_be_left_out(at) });
        if !legal {
            continue;
        }
        let mut order: Vec<usize> = (0..operations.len()).filter(|&at| chosen(at)).collect();
        let mut found = false;
        permutations(&mut order, 0, &mut |order| {
            let in_time = order.iter().enumerate().all(|(position, &earlier)| {
                order[position + 1..]
                    .iter()
                    .all(|&later| !operations[later].precedes(&operations[earlier]))
            });
            found |= in_time && explains(order);
        });
        if found {
            return true;
        }
    }
    false
}

fn permutations(items: &mut Vec<usize>, from: usize, visit: &mut impl FnMut(&[usize])) {
    if from + 1 >= items.len() {
        visit(items);
        return;
    }
    for at in from..items.len() {
        items.swap(from, at);
        permutations(items, from + 1, visit);
        items.swap(from, at);
    }
}

/// Whether executing the transactions in this order gives every list that was read.
pub(super) fn explains_transactions(transactions: &[Txn], order: &[usize]) -> bool {
    let mut state: BTreeMap<char, Vec<u64>> = BTreeMap::new();
    order.iter().all(|&at| {
        let mut lists = Vec::new();
        for step in transactions[at].call() {
            match step {
                TxnOp::Append { key, element } => state.entry(*key).or_default().push(*element),
                TxnOp::Read { key } => lists.push(state.get(key).cloned().unwrap_or_default()),
            }
        }
        transactions[at].result().is_none_or(|told| *told == lists)
    })
}

/// An operation on the one key of a tiny history.
pub(super) type RegisterOp<V> = Operation<KeyedCall<u8, V>, RegisterResult<V>>;

/// Executes `call`, as the documentation of [`RegisterCall`] says.
pub(super) fn execute<V: Value>(
    state: &mut Option<V>,
    call: &RegisterCall<V>,
) -> RegisterResult<V> {
    match call {
        RegisterCall::Read => RegisterResult::Value(state.clone()),
        RegisterCall::Write(value) => {
            *state = Some(value.clone());
            RegisterResult::Done
        }
        RegisterCall::Delete => {
            *state = None;
            RegisterResult::Done
        }
        RegisterCall::CompareAndSet { expected, new } => {
            let found = state.clone();
            let applied = found == *expected;
            if applied {
                state.clone_from(new);
            }
            RegisterResult::Compared { applied, found }
        }
        RegisterCall::Append(suffix) => {
            *state = Some(V::append(state.as_ref(), suffix));
            RegisterResult::Value(state.clone())
        }
    }
}

/// Whether executing the operations in this order gives every result that was told.
pub(super) fn explains_register<V: Value>(operations: &[RegisterOp<V>], order: &[usize]) -> bool {
    use RegisterResult::{Compared, Done, Swapped, Value};
    let mut state = None;
    order.iter().all(|&at| {
        let result = execute(&mut state, &operations[at].call().call);
        match (operations[at].result(), &result) {
            (None, _) | (Some(Done), Value(_)) => true,
            (Some(Swapped(told)), Compared { applied, .. }) => told == applied,
            (Some(told), result) => told == result,
        }
    })
}

#[test]
fn all_orders_are_tried() {
    let operations: Vec<Operation<(), ()>> =
        (0..4).map(|_| Operation::new(0, 0, ()).returning(1, ())).collect();
    let count = std::cell::Cell::new(0);
    assert!(!some_order(&operations, |_| {
        count.set(count.get() + 1);
        false
    }));
    assert_eq!(count.get(), 24);
}
