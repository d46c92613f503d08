//! What can be wrong with a history of transactions, by name.
//!
//! The names follow Adya's thesis (1999) and Elle (Kingsbury and Alvaro, 2020).

use std::collections::HashMap;
use std::fmt;

/// Most anomalies of one kind that a report spells out; more are only counted.
const SPELLED_OUT_MAX: usize = 16;

/// The kinds of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AnomalyKind {
    /// The history cannot be judged: two transactions append the same element to a key, or a
    /// result has not one list for each read. The recorder or the workload is wrong.
    Malformed,
    /// A list holds an element twice, although it was appended once.
    DuplicateElement,
    /// A list holds an element that no transaction appended.
    UnknownElement,
    /// A transaction contradicts itself: it reads a key twice and sees different lists, or does
    /// not see its own appends at the end of a list, or sees them before it made them.
    Internal,
    /// Two reads of a key saw lists neither of which is a prefix of the other.
    IncompatibleOrder,
    /// G1a: a transaction that certainly failed was read.
    AbortedRead,
    /// G1b: a list ends in the middle of another transaction's appends.
    IntermediateRead,
    /// An acknowledged append is in no list, although a read began after the acknowledgement.
    LostWrite,
    /// G0: a cycle of writes before writes.
    WriteCycle,
    /// G1c: a cycle of writes before writes and writes before their reads.
    CircularInformationFlow,
    /// Two transactions read the same version of a key, and both append to it: the later one
    /// without regard for the earlier.
    LostUpdate,
    /// G-single: a cycle with one read before the write that it misses (read skew).
    SingleAntiDependency,
    /// G2: a cycle with several reads before the writes that they miss (write skew).
    WriteSkew,
    /// A read misses a write that it should have seen because of real time: the write, or
    /// something that depends on it, had ended before the reader began.
    StaleRead,
    /// Serializable, but not in an order that real time allows, for another reason than one stale
    /// read: for example a read of what was not yet written.
    RealTimeInversion,
}

impl AnomalyKind {
    fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed history",
            Self::DuplicateElement => "duplicate element",
            Self::UnknownElement => "unknown element",
            Self::Internal => "internal inconsistency",
            Self::IncompatibleOrder => "incompatible orders",
            Self::AbortedRead => "aborted read (G1a)",
            Self::IntermediateRead => "intermediate read (G1b)",
            Self::LostWrite => "lost acknowledged write",
            Self::WriteCycle => "write cycle (G0)",
            Self::CircularInformationFlow => "circular information flow (G1c)",
            Self::LostUpdate => "lost update (G-single)",
            Self::SingleAntiDependency => "single anti-dependency (G-single)",
            Self::WriteSkew => "write skew (G2)",
            Self::StaleRead => "stale read",
            Self::RealTimeInversion => "real-time inversion",
        }
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One anomaly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is.
    pub kind: AnomalyKind,
    /// The transactions involved, by their positions in the history; of a cycle, in its order.
    pub transactions: Vec<usize>,
    /// Why, for reading.
    pub text: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// Collects anomalies, and spells out only so many of a kind.
#[derive(Default)]
pub(super) struct Findings {
    anomalies: Vec<Anomaly>,
    counts: HashMap<AnomalyKind, usize>,
    unspelled: usize,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        kind: AnomalyKind,
        transactions: &[u32],
        text: impl FnOnce() -> String,
    ) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count > SPELLED_OUT_MAX {
            self.unspelled += 1;
            return;
        }
        let transactions = transactions.iter().map(|&txn| txn as usize).collect();
        self.anomalies.push(Anomaly { kind, transactions, text: text() });
    }

    /// The anomalies, and how many more there were.
    pub(super) fn finish(self) -> (Vec<Anomaly>, usize) {
        (self.anomalies, self.unspelled)
    }
}
