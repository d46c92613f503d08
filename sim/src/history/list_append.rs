//! Strict serializability of transactions that append to lists and read them.
//!
//! The workload and the idea are Elle's (Kingsbury and Alvaro, VLDB 2020): an element is appended
//! to a key at most once, so a list that was read tells every version of the key up to then, and
//! in which order transactions wrote them. From the versions follow the dependencies between
//! transactions: write before write (ww), write before its read (wr), read before the write that
//! it misses (rw). With the real-time order as further edges, the history is strictly serializable
//! if and only if no direct contradiction was met and the graph has no cycle: any topological
//! order is then a serial execution with these results, and a cycle forbids every order.
//!
//! The steps, a file each: `observed` (what each transaction wrote and saw), `versions` (the order
//! of each key's elements), `dependencies` (the graph), `cycle` (short cycles and their names).

use std::fmt::{self, Debug};
use std::hash::Hash;

use super::anomaly::{Anomaly, AnomalyKind, Findings};
use super::dependencies::Dependencies;
use super::model::History;
use super::observed::Observed;
use super::versions::Versions;
use super::{cycle, observed};

/// What is appended. Of one key, every element is appended by at most one transaction, once.
pub type Element = u64;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp<K> {
    /// Appends `element` to the list of `key`.
    Append {
        /// The key.
        key: K,
        /// What to append: never appended to this key before.
        element: Element,
    },
    /// Reads the list of `key`; an absent key is an empty list.
    Read {
        /// The key.
        key: K,
    },
}

/// A transaction: its steps, which take effect in this order and together.
pub type Transaction<K> = Vec<TxnOp<K>>;

/// What a transaction is told: the lists it read, one for each [`TxnOp::Read`], in their order.
pub type Lists = Vec<Vec<Element>>;

/// A history of transactions. Every key is absent before the first.
///
/// A transaction that was aborted is [`Failed`](super::Outcome::Failed).
pub type ListAppendHistory<K> = History<Transaction<K>, Lists>;

/// The result of [`check_list_append`].
#[derive(Clone, Debug)]
pub struct ListAppendReport {
    /// How many transactions were checked.
    pub transactions: usize,
    /// How many of them took effect: those that returned, and those of unknown outcome of which
    /// something was read.
    pub committed: usize,
    /// What is wrong, the direct contradictions first.
    pub anomalies: Vec<Anomaly>,
    /// How many more anomalies were found than are spelled out.
    pub more: usize,
}

impl ListAppendReport {
    /// Whether nothing is wrong.
    pub fn is_strictly_serializable(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// Whether an anomaly of this kind was found.
    pub fn has(&self, kind: AnomalyKind) -> bool {
        self.anomalies.iter().any(|anomaly| anomaly.kind == kind)
    }

    /// The kinds of anomaly found, each once, in their own order.
    pub fn kinds(&self) -> Vec<AnomalyKind> {
        let mut kinds: Vec<_> = self.anomalies.iter().map(|anomaly| anomaly.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

/// Checks that `history` is strictly serializable.
///
/// Takes O(n log n) in the number of transactions, besides reading the lists once; naming the
/// cycles of a bad history takes more, within a fixed bound.
pub fn check_list_append<K>(history: &ListAppendHistory<K>) -> ListAppendReport
where
    K: Eq + Hash + Debug,
{
    let mut findings = Findings::default();
    let mut observed = Observed::new(history, &mut findings);
    let versions = Versions::recover(&mut observed, &mut findings);
    let dependencies = Dependencies::new(&observed, &versions);
    cycle::find(&observed, &dependencies, &versions.lost, &mut findings);
    let committed = observed
        .transactions
        .iter()
        .filter(|txn| txn.status == observed::Status::Committed)
        .count();
    let (anomalies, more) = findings.finish();
    ListAppendReport { transactions: history.len(), committed, anomalies, more }
}

impl fmt::Display for ListAppendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_strictly_serializable() {
            "strictly serializable"
        } else {
            "NOT strictly serializable"
        };
        let (transactions, committed) = (self.transactions, self.committed);
        write!(f, "{transactions} transactions, {committed} took effect: {verdict}")?;
        self.anomalies.iter().try_for_each(|anomaly| write!(f, "\n{anomaly}"))?;
        if self.more > 0 {
            write!(f, "\nand {} more of these kinds", self.more)?;
        }
        Ok(())
    }
}
