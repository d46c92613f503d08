//! The graph of what must come before what: dependencies through keys, and real time.
//!
//! Real time is a quadratic relation. It is told with a linear number of edges by a chain of
//! auxiliary nodes, one for each return in time order: a transaction leads to the node of its
//! return, each node to the next, and the last node before an invocation to its transaction. A
//! path along the chain exists exactly from returns to later invocations.
//!
//! Likewise each key whose last appends nobody read has one auxiliary node, between those that
//! come before them all and each of them.

use super::graph::{Edge, Graph, Kinds};
use super::model::Moment;
use super::observed::{Observed, Status};
use super::versions::{KeyVersions, Versions};

/// The graph over all transactions, which are its first nodes, and the auxiliary nodes.
pub(super) struct Dependencies {
    pub(super) graph: Graph,
    transactions: u32,
}

impl Dependencies {
    /// The dependencies of the transactions that took effect.
    pub(super) fn new<K>(observed: &Observed<'_, K>, versions: &Versions) -> Self {
        let transactions = observed.transactions.len() as u32;
        let mut builder = Builder { nodes: transactions, edges: Vec::new() };
        let tails: Vec<Option<u32>> = (0..)
            .zip(&versions.keys)
            .map(|(number, key)| builder.add_versions(number, key))
            .collect();
        for read in &versions.reads {
            let key = &versions.keys[read.key as usize];
            let (reader, length) = (read.reader, read.length as usize);
            let last = length.checked_sub(1).and_then(|last| key.order.get(last));
            if let Some(&writer) = last {
                builder.add(writer, reader, Kinds::WR, read.key);
            }
            match (key.order.get(length), tails[read.key as usize]) {
                // A read in the middle of a transaction's appends: reported as such.
                (next @ Some(_), _) if next == last => {}
                (Some(&writer), _) => builder.add(reader, writer, Kinds::RW, read.key),
                (None, Some(tail)) if !key.racing.contains(&reader) => {
                    builder.add(reader, tail, Kinds::RW, read.key);
                }
                (None, _) => {}
            }
        }
        builder.add_real_time(observed);
        Self { graph: Graph::new(builder.nodes as usize, &builder.edges), transactions }
    }

    /// Whether `node` is a transaction, and not auxiliary.
    pub(super) fn is_transaction(&self, node: u32) -> bool {
        node < self.transactions
    }
}

struct Builder {
    nodes: u32,
    edges: Vec<(u32, Edge)>,
}

impl Builder {
    /// A dependency, unless of a transaction on itself.
    fn add(&mut self, from: u32, to: u32, kind: Kinds, key: u32) {
        if from != to {
            self.edges.push((from, Edge { to, kind, key, free: false }));
        }
    }

    fn add_free(&mut self, from: u32, to: u32, kind: Kinds, key: u32) {
        self.edges.push((from, Edge { to, kind, key, free: true }));
    }

    fn add_node(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// The order of the writes to a key. Returns the node before its unordered ones, if any.
    fn add_versions(&mut self, number: u32, key: &KeyVersions) -> Option<u32> {
        for pair in key.order.windows(2) {
            self.add(pair[0], pair[1], Kinds::WW, number);
        }
        if key.unordered.is_empty() {
            return None;
        }
        let tail = self.add_node();
        if let Some(&last) = key.order.last() {
            self.add(last, tail, Kinds::WW, number);
        }
        for &writer in &key.unordered {
            self.add_free(tail, writer, Kinds::VIA, number);
        }
        Some(tail)
    }

    fn add_real_time<K>(&mut self, observed: &Observed<'_, K>) {
        let committed =
            (0..).zip(&observed.transactions).filter(|(_, txn)| txn.status == Status::Committed);
        let mut returns: Vec<(Moment, u32)> = committed
            .clone()
            .filter_map(|(number, txn)| txn.returned.map(|returned| (returned, number)))
            .collect();
        returns.sort_unstable();
        let first = self.nodes;
        for (position, &(_, transaction)) in returns.iter().enumerate() {
            let node = self.add_node();
            if position > 0 {
                self.add_free(node - 1, node, Kinds::RT, 0);
            }
            self.add(transaction, node, Kinds::RT, 0);
        }
        for (number, transaction) in committed {
            let before = returns.partition_point(|&(at, _)| at < transaction.invoked) as u32;
            if before > 0 {
                self.add_free(first + before - 1, number, Kinds::RT, 0);
            }
        }
    }
}
