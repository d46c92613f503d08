//! Linearizability of a whole history of single-key operations, key by key.
//!
//! By locality (Herlihy and Wing 1990) a history is linearizable exactly if the operations of
//! each key are. That makes the problem small enough to solve.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;

use super::linearize::{Limits, Search, linearize};
use super::model::Operation;
use super::register::{KeyedCall, Register, RegisterHistory, RegisterResult, Value};

/// How many operations before the one that cannot be explained a violation shows.
const SHOWN_BEFORE: usize = 8;
/// How many characters of a call or a result it shows.
const SHOWN_CHARACTERS: usize = 200;

/// What is known of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every key has an order that explains it.
    Linearizable,
    /// Some key has none.
    Violated,
    /// No violation was found, but for some key the search reached its limits.
    Undecided,
}

/// A key whose operations no order explains.
#[derive(Clone, Debug)]
pub struct RegisterViolation<K> {
    /// The key.
    pub key: K,
    /// Positions in the history of one of the longest sequences that could be explained.
    pub longest: Vec<usize>,
    /// The position of an operation whose result cannot come next, although it had returned.
    pub stuck: usize,
    /// The end of that sequence, and the operation, for reading.
    pub text: String,
}

/// The result of [`check_registers`].
#[derive(Clone, Debug)]
pub struct RegisterReport<K> {
    /// How many keys were checked.
    pub keys: usize,
    /// How many operations they had.
    pub operations: usize,
    /// The keys that no order explains, by first appearance.
    pub violations: Vec<RegisterViolation<K>>,
    /// The keys for which the search reached its limits.
    pub undecided: Vec<K>,
}

impl<K> RegisterReport<K> {
    /// All keys together.
    pub fn verdict(&self) -> Verdict {
        match (self.violations.is_empty(), self.undecided.is_empty()) {
            (false, _) => Verdict::Violated,
            (true, false) => Verdict::Undecided,
            (true, true) => Verdict::Linearizable,
        }
    }
}

/// Checks that the operations on each key are linearizable, spending at most `limits` on each.
pub fn check_registers<K, V>(history: &RegisterHistory<K, V>, limits: Limits) -> RegisterReport<K>
where
    K: Clone + Eq + Hash + Debug,
    V: Value,
{
    let mut report = RegisterReport {
        keys: 0,
        operations: history.len(),
        violations: Vec::new(),
        undecided: Vec::new(),
    };
    for (key, positions) in by_key(history) {
        report.keys += 1;
        let operations: Vec<_> = positions.iter().map(|&at| &history.operations()[at]).collect();
        match linearize(&Register::new(&operations), &operations, limits) {
            Search::Linearizable { .. } => {}
            Search::Undecided { .. } => report.undecided.push(key.clone()),
            Search::Violated { longest, stuck } => {
                let text = explain(key, &operations, &positions, &longest, stuck);
                report.violations.push(RegisterViolation {
                    key: key.clone(),
                    longest: longest.into_iter().map(|op| positions[op]).collect(),
                    stuck: positions[stuck],
                    text,
                });
            }
        }
    }
    report
}

/// The keys, in the order of their first appearance, and where their operations are.
fn by_key<K: Eq + Hash, V>(history: &RegisterHistory<K, V>) -> Vec<(&K, Vec<usize>)> {
    let mut groups: Vec<(&K, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<&K, usize> = HashMap::new();
    for (position, operation) in history.operations().iter().enumerate() {
        let key = &operation.call().key;
        let group = *group_of.entry(key).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(position);
    }
    groups
}

fn explain<K: Debug, V: Debug>(
    key: &K,
    operations: &[&Operation<KeyedCall<K, V>, RegisterResult<V>>],
    positions: &[usize],
    longest: &[usize],
    stuck: usize,
) -> String {
    let line = |op: usize| {
        let operation = operations[op];
        let answer = match operation.result() {
            Some(result) => short(result),
            None => "?".to_owned(),
        };
        let (position, interval) = (positions[op], operation.interval_text());
        let call = short(&operation.call().call);
        format!("\n    #{position} {interval} {call} -> {answer}")
    };
    let mut text = format!(
        "key {key:?} is not linearizable: {} of {} operations can be explained, ending with",
        longest.len(),
        operations.len()
    );
    let hidden = longest.len().saturating_sub(SHOWN_BEFORE);
    if longest.is_empty() {
        text.push_str(" none");
    }
    for &op in &longest[hidden..] {
        text.push_str(&line(op));
    }
    text.push_str("\n  but none of the orders tried allows, before it returned,");
    text.push_str(&line(stuck));
    text
}

/// The beginning of a value's debug form: values may be megabytes.
fn short(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

impl<K: Debug> fmt::Display for RegisterReport<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operations, keys) = (self.operations, self.keys);
        match self.verdict() {
            Verdict::Linearizable => {
                write!(f, "{operations} operations on {keys} keys: linearizable")
            }
            Verdict::Undecided => {
                write!(f, "{operations} operations on {keys} keys: no violation found; ")?;
                write!(f, "undecided within the limits: {:?}", self.undecided)
            }
            Verdict::Violated => {
                write!(f, "{operations} operations on {keys} keys: NOT linearizable")?;
                self.violations.iter().try_for_each(|violation| write!(f, "\n  {}", violation.text))
            }
        }
    }
}
