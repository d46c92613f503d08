//! The order of each key's elements, as the lists that were read tell it.
//!
//! Of every key the longest list is taken for its history; every other list must be a prefix of
//! it. Appends that took effect but are in no list come after it, in an order nobody knows, with
//! one exception: a transaction that read the whole of the longest list and then appended must
//! come directly after it.
//!
//! What contradicts all this by itself is reported here. A key of which the order cannot be
//! trusted then gives no dependencies, lest one error is reported as ten.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use super::anomaly::{AnomalyKind, Findings};
use super::list_append::Element;
use super::model::Moment;
use super::observed::{Observed, Status, list_text};

/// What is known of one key.
#[derive(Default)]
pub(super) struct KeyVersions {
    /// Who appended each element, in order.
    pub(super) order: Vec<u32>,
    /// Transactions that took effect and appended after all of `order`; in which order is unknown.
    pub(super) unordered: Vec<u32>,
    /// Transactions that read the last version of `order` and yet are each in `unordered`: a lost
    /// update that is already reported.
    pub(super) racing: Vec<u32>,
}

/// A list that was read, and is a prefix of the longest of its key.
pub(super) struct VersionRead {
    pub(super) reader: u32,
    pub(super) key: u32,
    pub(super) length: u32,
}

/// The versions of all keys.
pub(super) struct Versions {
    pub(super) keys: Vec<KeyVersions>,
    pub(super) reads: Vec<VersionRead>,
    /// Transactions with acknowledged appends that are lost.
    pub(super) lost: Vec<u32>,
}

/// The longest list of a key and who read it.
#[derive(Clone, Copy)]
struct Longest<'a> {
    list: &'a [Element],
    reader: u32,
}

/// All the reads of one key: who read, and which list.
type KeyReads<'a> = Vec<(u32, &'a [Element])>;

impl Versions {
    /// Orders the versions of every key of `observed`, and settles which transactions of unknown
    /// outcome took effect: those of which something was read.
    pub(super) fn recover<K: Eq + Hash + Debug>(
        observed: &mut Observed<'_, K>,
        findings: &mut Findings,
    ) -> Self {
        let mut versions = Self { keys: Vec::new(), reads: Vec::new(), lost: Vec::new() };
        let reads = reads_by_key(observed);
        let mut trusted = Vec::with_capacity(reads.len());
        for (key, reads) in (0..).zip(&reads) {
            trusted.push(versions.order_key(key, reads, observed, findings));
        }
        let mut unread = unread_appends(observed);
        versions.find_lost(&reads, &unread, observed, findings);
        for (key, reads) in reads.iter().enumerate() {
            let versions = &mut versions.keys[key];
            if trusted[key] {
                versions.place_unread(std::mem::take(&mut unread[key]), reads, observed, findings);
            } else {
                *versions = KeyVersions::default();
            }
        }
        versions.reads.retain(|read| trusted[read.key as usize]);
        versions
    }

    /// Orders what was read of `key`. Returns whether the order can be trusted.
    fn order_key<K: Eq + Hash + Debug>(
        &mut self,
        key: u32,
        reads: &KeyReads<'_>,
        observed: &mut Observed<'_, K>,
        findings: &mut Findings,
    ) -> bool {
        let mut longest = Longest { list: &[], reader: 0 };
        for &(reader, list) in reads {
            if list.len() > longest.list.len() {
                longest = Longest { list, reader };
            }
        }
        let mut trusted = see_elements(key, longest, observed, findings);
        for (position, element) in (0..).zip(longest.list) {
            if let Some(writer) = observed.writers.get_mut(&(key, *element)) {
                writer.position = Some(position);
            }
        }
        trusted &= check_whole(key, longest, observed, findings);
        for &(reader, list) in reads {
            if longest.list.starts_with(list) {
                check_end(key, reader, list, observed, findings);
                self.reads.push(VersionRead { reader, key, length: list.len() as u32 });
                continue;
            }
            findings.add(AnomalyKind::IncompatibleOrder, &[reader, longest.reader], || {
                let (name, other) = (observed.keys[key as usize], longest.reader);
                let (list, longest) = (list_text(list), list_text(longest.list));
                format!(
                    "of {name:?}, T{reader} read {list} and T{other} read {longest}{}",
                    observed.lines(&[reader, other])
                )
            });
            trusted &= see_elements(key, Longest { list, reader }, observed, findings);
        }
        let writer_of = |element| observed.writers.get(&(key, element));
        let order =
            longest.list.iter().filter_map(|&e| writer_of(e)).map(|writer| writer.transaction);
        self.keys.push(KeyVersions { order: order.collect(), ..KeyVersions::default() });
        trusted
    }

    /// Reports acknowledged appends that no list holds although a read began after they returned.
    fn find_lost<K: Eq + Hash + Debug>(
        &mut self,
        reads: &[KeyReads<'_>],
        unread: &[Vec<u32>],
        observed: &Observed<'_, K>,
        findings: &mut Findings,
    ) {
        for (key, (reads, unread)) in reads.iter().zip(unread).enumerate() {
            let began = |reader: u32| observed.transactions[reader as usize].invoked;
            let Some(&(reader, _)) = reads.iter().max_by_key(|&&(reader, _)| began(reader)) else {
                continue;
            };
            for &writer in unread {
                let returned = observed.transactions[writer as usize].returned;
                if returned.is_none_or(|returned: Moment| returned >= began(reader)) {
                    continue;
                }
                self.lost.push(writer);
                findings.add(AnomalyKind::LostWrite, &[writer, reader], || {
                    let name = observed.keys[key];
                    format!(
                        "T{writer}'s append to {name:?} was acknowledged and is in no list, not \
                         even in the one T{reader} read later{}",
                        observed.lines(&[writer, reader])
                    )
                });
            }
        }
    }
}

impl KeyVersions {
    /// Puts the transactions with appends that nobody read where they must be.
    fn place_unread<K: Eq + Hash + Debug>(
        &mut self,
        mut unread: Vec<u32>,
        reads: &KeyReads<'_>,
        observed: &Observed<'_, K>,
        findings: &mut Findings,
    ) {
        let length = self.order.len();
        // A transaction's appends to a key are adjacent.
        if let Some(&last) = self.order.last() {
            self.extend_by(last, &mut unread);
        }
        let waiting: HashSet<u32> = unread.iter().copied().collect();
        let updates: Vec<u32> = reads
            .iter()
            .filter(|(reader, list)| list.len() == length && waiting.contains(reader))
            .map(|&(reader, _)| reader)
            .collect();
        match updates[..] {
            [] => {}
            [only] => self.extend_by(only, &mut unread),
            _ => {
                for pair in updates.windows(2) {
                    findings.add(AnomalyKind::LostUpdate, pair, || {
                        let (one, other) = (pair[0], pair[1]);
                        format!(
                            "T{one} and T{other} read the same version of a key and both appended \
                             to it{}",
                            observed.lines(pair)
                        )
                    });
                }
                self.racing = updates;
            }
        }
        self.unordered = unread;
    }

    fn extend_by(&mut self, transaction: u32, unread: &mut Vec<u32>) {
        if let Some(at) = unread.iter().position(|&other| other == transaction) {
            unread.remove(at);
            self.order.push(transaction);
        }
    }
}

/// The lists read of each key by transactions that returned.
fn reads_by_key<'a, K>(observed: &Observed<'a, K>) -> Vec<KeyReads<'a>> {
    let mut reads = vec![Vec::new(); observed.keys.len()];
    for (number, transaction) in (0..).zip(&observed.transactions) {
        for &(key, list) in &transaction.reads {
            reads[key as usize].push((number, list));
        }
    }
    reads
}

/// For each key, the transactions that took effect with an append to it that is in no list.
fn unread_appends<K>(observed: &Observed<'_, K>) -> Vec<Vec<u32>> {
    let mut unread: Vec<Vec<u32>> = vec![Vec::new(); observed.keys.len()];
    for (number, transaction) in (0..).zip(&observed.transactions) {
        if transaction.status != Status::Committed {
            continue;
        }
        for append in &transaction.appends {
            let of_key = &mut unread[append.0 as usize];
            if !observed.writers[append].seen && of_key.last() != Some(&number) {
                of_key.push(number);
            }
        }
    }
    unread
}

/// Marks the elements of a list as seen, and who appended them as having taken effect. Reports
/// elements that have no business there; returns whether there were none.
fn see_elements<K: Eq + Hash + Debug>(
    key: u32,
    Longest { list, reader }: Longest<'_>,
    observed: &mut Observed<'_, K>,
    findings: &mut Findings,
) -> bool {
    let mut distinct = HashSet::with_capacity(list.len());
    let mut trusted = true;
    for &element in list {
        let writer = observed.writers.get_mut(&(key, element)).map(|writer| {
            writer.seen = true;
            writer.transaction
        });
        let status = writer.map(|writer| &mut observed.transactions[writer as usize].status);
        let (kind, why) = match status {
            None => (AnomalyKind::UnknownElement, "which nobody appended"),
            Some(Status::Failed) => (AnomalyKind::AbortedRead, "whose transaction failed"),
            Some(status) => {
                *status = Status::Committed;
                if distinct.insert(element) {
                    continue;
                }
                (AnomalyKind::DuplicateElement, "which it holds twice")
            }
        };
        trusted = false;
        let involved: Vec<u32> = [Some(reader), writer].into_iter().flatten().collect();
        findings.add(kind, &involved, || {
            let name = observed.keys[key as usize];
            let lines = observed.lines(&involved);
            format!("T{reader} read a list of {name:?} with {element}, {why}{lines}")
        });
    }
    trusted
}

/// Reports elements before which those are missing that their transaction appended earlier;
/// returns whether there are none.
fn check_whole<K: Eq + Hash + Debug>(
    key: u32,
    Longest { list, reader }: Longest<'_>,
    observed: &Observed<'_, K>,
    findings: &mut Findings,
) -> bool {
    let mut whole = true;
    for &element in list {
        let Some(writer) = observed.writers.get(&(key, element)) else { continue };
        let Some(before) = writer.before else { continue };
        let earlier = observed.writers.get(&(key, before)).and_then(|writer| writer.position);
        if earlier.is_some_and(|earlier| Some(earlier) < writer.position) {
            continue;
        }
        whole = false;
        let involved = [writer.transaction, reader];
        findings.add(AnomalyKind::Internal, &involved, || {
            let ([writer, reader], name) = (involved, observed.keys[key as usize]);
            let lines = observed.lines(&involved);
            format!("T{reader} read {name:?} with T{writer}'s {element}, not after {before}{lines}")
        });
    }
    whole
}

/// Reports a list that ends within another transaction's appends, or holds what its own reader
/// appended only afterwards.
fn check_end<K: Eq + Hash + Debug>(
    key: u32,
    reader: u32,
    list: &[Element],
    observed: &Observed<'_, K>,
    findings: &mut Findings,
) {
    let last = list.last().and_then(|&element| observed.writers.get(&(key, element)));
    if let Some(writer) = last.filter(|writer| !writer.last && writer.transaction != reader) {
        let writer = writer.transaction;
        findings.add(AnomalyKind::IntermediateRead, &[reader, writer], || {
            let name = observed.keys[key as usize];
            let (list, lines) = (list_text(list), observed.lines(&[reader, writer]));
            format!("T{reader} read {name:?} as {list}, in the middle of T{writer}{lines}")
        });
    }
    for append in &observed.transactions[reader as usize].appends {
        let position = observed.writers[append].position;
        if append.0 == key && position.is_some_and(|position| (position as usize) < list.len()) {
            findings.add(AnomalyKind::Internal, &[reader], || {
                let (name, lines) = (observed.keys[key as usize], observed.lines(&[reader]));
                format!("T{reader} read its append to {name:?} before it made it{lines}")
            });
        }
    }
}
