//! Tests of the checkers: what they share.

mod anomalies;
mod moments;
mod register_properties;
mod registers;
mod serial;
mod transaction_properties;
mod transactions;

use super::{AnomalyKind, ListAppendHistory, ListAppendReport, Operation, Transaction, TxnOp};
use super::{Lists, check_list_append};

/// A small generator of pseudo-random numbers (xorshift64*), so that failures can be repeated.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

type Txn = Operation<Transaction<char>, Lists>;

/// Steps and lists from text: `x+3` appends 3 to x, `x=1,2` reads x as [1, 2], `x=` as empty.
fn steps(text: &str) -> (Transaction<char>, Lists) {
    let (mut steps, mut lists) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        let key = word.chars().next().expect("a key");
        let (kind, rest) = word[1..].split_at(1);
        if kind == "+" {
            steps.push(TxnOp::Append { key, element: rest.parse().expect("an element") });
        } else {
            steps.push(TxnOp::Read { key });
            let elements = rest.split(',').filter(|element| !element.is_empty());
            lists.push(elements.map(|element| element.parse().expect("an element")).collect());
        }
    }
    (steps, lists)
}

fn ok(invoked_us: u64, returned_us: u64, text: &str) -> Txn {
    let (steps, lists) = steps(text);
    Operation::new(0, invoked_us, steps).returning(returned_us, lists)
}

fn unknown(invoked_us: u64, text: &str) -> Txn {
    Operation::new(0, invoked_us, steps(text).0)
}

fn failed(invoked_us: u64, text: &str) -> Txn {
    Operation::new(0, invoked_us, steps(text).0).failing()
}

fn check(transactions: impl IntoIterator<Item = Txn>) -> ListAppendReport {
    check_list_append(&transactions.into_iter().collect::<ListAppendHistory<char>>())
}

#[track_caller]
fn assert_good(transactions: impl IntoIterator<Item = Txn>) {
    let report = check(transactions);
    assert!(report.is_strictly_serializable(), "{report}");
}

/// Exactly these kinds of anomaly, in their order.
#[track_caller]
fn assert_bad(
    transactions: impl IntoIterator<Item = Txn>,
    kinds: &[AnomalyKind],
) -> ListAppendReport {
    let report = check(transactions);
    assert_eq!(report.kinds(), kinds, "{report}");
    report
}
