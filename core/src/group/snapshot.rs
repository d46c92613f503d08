//! What a snapshot consists of, and what a group starts from.

use std::fmt;

use panchayat_consensus::{Protocol, RecordSeq};
use thiserror::Error;

use crate::journal::Entry;
use crate::sessions::{SessionConfig, Sessions, SessionsView};
use crate::state_machine::{StateHash, StateMachine};

/// A consistent cut through a group: state, sessions and protocol of the same moment.
///
/// The state holds the effects of exactly the commands that `image` counts as executed, the
/// sessions remember exactly their requests, and `image` stands for every entry before the mark in
/// the journal. All parts are frozen: they can be written by another thread, at leisure.
pub struct SnapshotParts<P: Protocol, S: StateMachine> {
    /// Its number; grows along a replica's journal.
    pub number: u64,
    /// The file must not become valid before this entry of the journal, the snapshot's mark, is
    /// durable: a snapshot without its mark does not belong to the journal.
    pub after: RecordSeq,
    /// The state.
    pub machine: S::View,
    /// The session table, with the count of commands executed.
    pub sessions: SessionsView,
    /// The protocol.
    pub image: Vec<P::Record>,
    /// The fingerprint of the state.
    pub state_hash: StateHash,
}

impl<P: Protocol, S: StateMachine> fmt::Debug for SnapshotParts<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotParts")
            .field("number", &self.number)
            .field("after", &self.after)
            .field("executed", &self.sessions.executed())
            .field("records", &self.image.len())
            .field("state_hash", &self.state_hash)
            .finish_non_exhaustive()
    }
}

/// What a group starts from: a snapshot of its own, or nothing.
#[derive(Clone, Debug)]
pub struct Base<S, R> {
    /// The snapshot's number; 0 for a group that has none.
    pub number: u64,
    /// The state.
    pub machine: S,
    /// The session table.
    pub sessions: Sessions,
    /// The protocol's records.
    pub image: Vec<R>,
}

impl<S, R> Base<S, R> {
    /// The beginning of a group: `machine` is the state before any command.
    pub fn birth(machine: S, sessions: SessionConfig) -> Self {
        Self { number: 0, machine, sessions: Sessions::new(sessions), image: Vec::new() }
    }
}

/// Why snapshot and journal do not make a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The journal does not say where the snapshot was taken.
    #[error("the journal does not belong to snapshot {snapshot}: it has no mark of it")]
    Missing {
        /// The snapshot's number.
        snapshot: u64,
    },
    /// The journal says more than once where the snapshot was taken.
    #[error("the journal does not belong to snapshot {snapshot}: it has two marks of it")]
    Twice {
        /// The snapshot's number.
        snapshot: u64,
    },
}

/// The records of a journal that come after snapshot `base`, and the highest number of a snapshot
/// that the journal names. With `base` 0 that is every record.
pub(super) fn records_after<R>(
    base: u64,
    entries: impl IntoIterator<Item = Entry<R>>,
) -> Result<(Vec<R>, u64), MarkError> {
    let (mut records, mut highest, mut found) = (Vec::new(), base, base == 0);
    for entry in entries {
        match entry {
            Entry::Protocol(record) if found => records.push(record),
            Entry::Protocol(_) => {}
            Entry::Mark { snapshot } if snapshot == base => {
                if std::mem::replace(&mut found, true) {
                    return Err(MarkError::Twice { snapshot });
                }
            }
            Entry::Mark { snapshot } => highest = highest.max(snapshot),
        }
    }
    if found { Ok((records, highest)) } else { Err(MarkError::Missing { snapshot: base }) }
}
