//! What records and messages of a log say, in terms that its protocols share.
//!
//! A protocol translates; the invariants of a log know nothing of its records and messages.

use panchayat_consensus::{Ballot, ReplicaId, Slot};

use super::LogEntry;
use crate::invariants::Value;

/// A round of voting. In a fast one acceptors vote for whatever comes to them; in a classic one the
/// owner of the ballot says for what. Where a ballot has both, the fast one is the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogRound {
    /// The ballot.
    pub ballot: Ballot,
    /// Whether it has one value.
    pub classic: bool,
}

impl LogRound {
    /// The classic round of `ballot`.
    pub const fn classic(ballot: Ballot) -> Self {
        Self { ballot, classic: true }
    }

    /// The fast round of `ballot`.
    pub const fn fast(ballot: Ballot) -> Self {
        Self { ballot, classic: false }
    }
}

/// What a record means.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A run of the replica begins.
    Started {
        /// Which.
        run: u64,
    },
    /// A ballot is promised.
    Promised {
        /// Which.
        ballot: Ballot,
    },
    /// Votes, and with them that earlier slots are chosen with the values held.
    Voted {
        /// In which round.
        round: LogRound,
        /// Where and for what.
        values: Vec<(Slot, Value)>,
        /// Every slot up to this one is chosen.
        chosen: Slot,
    },
    /// Values were learned to be chosen.
    Learned {
        /// Where and which.
        values: Vec<(Slot, Value)>,
    },
    /// Every slot up to here is chosen, with the value held.
    Chosen {
        /// The last of them.
        upto: Slot,
    },
    /// What is said to be chosen from now on is about values above this slot.
    Adopted {
        /// The last slot of the state taken over.
        upto: Slot,
    },
    /// Everything up to here is in the state that goes with this record.
    Snapshot {
        /// The last slot.
        upto: Slot,
    },
    /// Something that the shared checks do not go by.
    Other,
}

/// What somebody says to have voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteOf {
    /// Something.
    Anything,
    /// This value.
    Value(Value),
    /// The command of that origin and number; nothing for Nop.
    Named(Option<(ReplicaId, u64)>),
}

impl VoteOf {
    /// Whether a vote for `value` is what is meant.
    pub fn is(self, value: Value) -> bool {
        match self {
            Self::Anything => true,
            Self::Value(meant) => meant == value,
            Self::Named(meant) => {
                meant == value.command.map(|(name, _)| (name.origin, name.number))
            }
        }
    }
}

/// What a message claims, about what its sender durably holds or about what is chosen.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The sender gave out this number in its present run.
    Number(u64),
    /// It has promised this ballot.
    Promised(Ballot),
    /// It durably knows every outcome up to here.
    Kept(Slot),
    /// Every slot up to here is chosen.
    ChosenUpto(Slot),
    /// This value is chosen in that slot.
    Decided(Slot, Value),
    /// It has voted so.
    Voted(LogRound, Slot, VoteOf),
    /// Of its votes in rounds below `below` these are all, for slots from `first` to `last`: it
    /// says so, and in which round each was, or that the slot's value is chosen.
    AllVotes {
        /// The round that the others are below of.
        below: LogRound,
        /// The first slot.
        first: Slot,
        /// The last slot.
        last: Slot,
        /// What was told of which slots.
        told: Vec<(Slot, Option<LogRound>)>,
    },
}

/// The values of a part of the log, by slot.
pub fn values_of<E: LogEntry>(first: Slot, entries: &[E]) -> Vec<(Slot, Value)> {
    (first..).zip(entries.iter().map(Value::of)).collect()
}
