//! What waits for what: a protocol's account of commands that are not executed, for operators. It is
//! read-only, and costs about as much as it is long.

use crate::footprint::KeyHash;
use crate::ids::{InstanceId, ReplicaId};
use crate::time::Span;

/// Most entries of an account.
pub const ACCOUNT_ENTRIES_MAX: usize = 32;
/// Most instances that one entry is said to wait for.
pub const ACCOUNT_WAITS_ON_MAX: usize = 8;
/// Most instances that are looked at for it.
pub const ACCOUNT_LOOKS_MAX: usize = 4_096;

/// What an account is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What has waited longest.
    Oldest,
    /// Commands that touch a key.
    Key(KeyHash),
    /// One instance, then what it waits for, link by link.
    Instance(InstanceId),
}

/// How far a command has come at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It exists, or should; nothing is known of it.
    Unknown,
    /// It is known here, and nobody has given it a place.
    Known,
    /// It was voted for as its coordinator proposed it, in a round that can still be changed by
    /// conflicts or collisions.
    Proposed,
    /// It was voted for at a ballot.
    Accepted,
    /// It is decided.
    Committed,
    /// It is executed.
    Executed,
}

/// One command, as a replica sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its instance; `None` of a command of this replica that has none yet.
    pub id: Option<InstanceId>,
    /// How far it has come.
    pub stage: Stage,
    /// For how long this has been known here, if that is kept.
    pub since: Option<Span>,
    /// What must be decided or executed before it, as far as known.
    pub waits_on: Vec<InstanceId>,
    /// The replica that has to act next, here or behind what it waits for.
    pub held_by: Option<ReplicaId>,
    /// What it waits for, in words.
    pub why: String,
}

/// What waits at a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Instances known to exist and not executed.
    pub unexecuted: u64,
    /// Whether an instance's replica says whose it is. Otherwise there is one log.
    pub lanes: bool,
    /// What was asked for, at most [`ACCOUNT_ENTRIES_MAX`].
    pub waiting: Vec<Waiting>,
}

impl Stage {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Proposed => "proposed",
            Self::Accepted => "accepted",
            Self::Committed => "committed",
            Self::Executed => "executed",
        }
    }
}

impl Account {
    /// Leaves the entries that have waited longest.
    pub fn keep_oldest(&mut self) {
        self.waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.since));
        self.waiting.truncate(ACCOUNT_ENTRIES_MAX);
    }
}
