//! What each transaction wrote, and which version of each key it saw.
//!
//! A transaction sees its own appends at the end of a list; the version it found is what comes
//! before them. Transactions that contradict themselves are found here.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use super::anomaly::{AnomalyKind, Findings};
use super::list_append::{Element, ListAppendHistory, TxnOp};
use super::model::{Moment, Outcome};

/// How many elements of a list, counted from its end, texts show.
const SHOWN_ELEMENTS: usize = 8;
/// How many steps of a transaction texts show.
const SHOWN_STEPS: usize = 8;

/// Whether a transaction took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Committed,
    Failed,
    /// Nobody saw an effect so far: `Versions` makes it `Committed` when somebody did.
    Unknown,
}

/// A transaction. Transactions are numbered by their positions in the history.
pub(super) struct Observation<'a> {
    pub(super) status: Status,
    pub(super) invoked: Moment,
    /// When it returned; a transaction of unknown outcome never did.
    pub(super) returned: Option<Moment>,
    /// The keys and elements it appended, in its order.
    pub(super) appends: Vec<(u32, Element)>,
    /// The keys it read, each once, and what they held before its own appends.
    pub(super) reads: Vec<(u32, &'a [Element])>,
}

/// Who appended an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) transaction: u32,
    /// What the same transaction appended to the same key before it.
    pub(super) before: Option<Element>,
    /// Whether it is the last element that its transaction appended to its key.
    pub(super) last: bool,
    /// Whether it is in some list that was read.
    pub(super) seen: bool,
    /// Where it is in the longest list of its key.
    pub(super) position: Option<u32>,
}

/// All transactions. Keys are numbered by first appearance.
pub(super) struct Observed<'a, K> {
    pub(super) keys: Vec<&'a K>,
    pub(super) transactions: Vec<Observation<'a>>,
    pub(super) writers: HashMap<(u32, Element), Writer>,
    history: &'a ListAppendHistory<K>,
}

impl<'a, K: Eq + Hash + Debug> Observed<'a, K> {
    pub(super) fn new(history: &'a ListAppendHistory<K>, findings: &mut Findings) -> Self {
        let mut observed = Self {
            keys: Vec::new(),
            transactions: Vec::with_capacity(history.len()),
            writers: HashMap::new(),
            history,
        };
        let mut key_numbers = HashMap::new();
        for number in 0..history.len() as u32 {
            observed.add_transaction(number, &mut key_numbers, findings);
        }
        observed
    }

    fn add_transaction(
        &mut self,
        number: u32,
        key_numbers: &mut HashMap<&'a K, u32>,
        findings: &mut Findings,
    ) {
        let history = self.history;
        let operation = &history.operations()[number as usize];
        let status = match operation.outcome() {
            Outcome::Returned { .. } => Status::Committed,
            Outcome::Failed => Status::Failed,
            Outcome::Unknown => Status::Unknown,
        };
        let steps = operation.call();
        let mut lists = operation.result().map_or(&[][..], Vec::as_slice);
        let expected = steps.iter().filter(|step| matches!(step, TxnOp::Read { .. })).count();
        if status == Status::Committed && lists.len() != expected {
            findings.add(AnomalyKind::Malformed, &[number], || {
                format!("T{number} has {expected} reads, but {} lists", lists.len())
            });
            lists = &[];
        }
        let mut lists = lists.iter();

        let mut appends: Vec<(u32, Element)> = Vec::new();
        let mut reads: Vec<(u32, &'a [Element])> = Vec::new();
        for step in steps {
            let (TxnOp::Append { key, .. } | TxnOp::Read { key }) = step;
            let next = self.keys.len() as u32;
            let key_number = *key_numbers.entry(key).or_insert(next);
            if key_number == next {
                self.keys.push(key);
            }
            match step {
                TxnOp::Append { element, .. } => {
                    self.add_append(number, key_number, *element, &appends, findings);
                    appends.push((key_number, *element));
                }
                TxnOp::Read { .. } => {
                    let Some(list) = lists.next() else { continue };
                    match version_found(key_number, list, &appends, &reads) {
                        Ok(None) => {}
                        Ok(Some(version)) => reads.push((key_number, version)),
                        Err(why) => findings.add(AnomalyKind::Internal, &[number], || {
                            format!("on {key:?}, {why}{}", self.lines(&[number]))
                        }),
                    }
                }
            }
        }
        self.transactions.push(Observation {
            status,
            invoked: operation.invoked(),
            returned: operation.returned(),
            appends,
            reads,
        });
    }

    fn add_append(
        &mut self,
        number: u32,
        key: u32,
        element: Element,
        earlier: &[(u32, Element)],
        findings: &mut Findings,
    ) {
        let before = earlier.iter().rev().find(|(of, _)| *of == key).map(|(_, before)| *before);
        if let Some(writer) = before.and_then(|before| self.writers.get_mut(&(key, before))) {
            writer.last = false;
        }
        let writer =
            Writer { transaction: number, before, last: true, seen: false, position: None };
        if let Some(other) = self.writers.insert((key, element), writer) {
            let other = other.transaction;
            findings.add(AnomalyKind::Malformed, &[other, number], || {
                let key = self.keys[key as usize];
                format!("{element} is appended to {key:?} by both T{other} and T{number}")
            });
        }
    }
}

impl<K: Debug> Observed<'_, K> {
    /// One line for each transaction: its client, its interval and what it did.
    pub(super) fn lines(&self, transactions: &[u32]) -> String {
        transactions.iter().map(|&number| format!("\n    {}", self.line(number))).collect()
    }

    fn line(&self, number: u32) -> String {
        let operation = &self.history.operations()[number as usize];
        let mut lists = operation.result().into_iter().flatten();
        let mut line = format!("T{number} = {}", operation.interval_text());
        for step in operation.call().iter().take(SHOWN_STEPS) {
            match step {
                TxnOp::Append { key, element } => {
                    line.push_str(&format!(" append({key:?}, {element})"));
                }
                TxnOp::Read { key } => {
                    let list = lists.next().map_or("?".to_owned(), |list| list_text(list));
                    line.push_str(&format!(" read({key:?}) = {list}"));
                }
            }
        }
        if operation.call().len() > SHOWN_STEPS {
            line.push_str(" ...");
        }
        line
    }
}

/// The end of a list.
pub(super) fn list_text(list: &[Element]) -> String {
    let hidden = list.len().saturating_sub(SHOWN_ELEMENTS);
    let shown: Vec<String> = list[hidden..].iter().map(Element::to_string).collect();
    match hidden {
        0 => format!("[{}]", shown.join(", ")),
        _ => format!("[({hidden} more), {}]", shown.join(", ")),
    }
}

/// The version of `key` that a transaction found which now read `list`, after its own `appends`
/// and `reads`; `None` if it read that version before. An error says how it contradicts itself.
fn version_found<'a>(
    key: u32,
    list: &'a [Element],
    appends: &[(u32, Element)],
    reads: &[(u32, &'a [Element])],
) -> Result<Option<&'a [Element]>, &'static str> {
    let own = appends.iter().rev().filter(|(of, _)| *of == key).map(|(_, element)| element);
    let mut version = list;
    for expected in own {
        match version.split_last() {
            Some((last, before)) if last == expected => version = before,
            _ => return Err("its own appends are not the end of the list it read"),
        }
    }
    match reads.iter().find(|(of, _)| *of == key) {
        None => Ok(Some(version)),
        Some((_, before)) if *before == version => Ok(None),
        Some(_) => Err("it read two different versions"),
    }
}
