//! What a replica is doing to decide an instance: as its coordinator at ballot zero, or as its
//! recoverer above. Volatile: a restart forgets it, and a forgotten attempt is never resumed.

use std::collections::BTreeMap;
use std::sync::Arc;

use panchayat_consensus::{Ballot, Command, InstanceId, Path, ReplicaId, ReplicaSet, Time};

use crate::deps::Deps;
use crate::message::Report;

/// One attempt at one ballot. Replies to any other ballot do not concern it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Attempt {
    pub(crate) ballot: Ballot,
    pub(crate) stage: Stage,
    /// When the attempt last made progress; one that stalls is retried at a higher ballot.
    pub(crate) progress: Time,
}

/// How far the attempt has come.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Stage {
    /// The coordinator collects PreAcceptOKs.
    PreAccepting(PreAccepting),
    /// Collects AcceptOKs for the value this replica accepted itself at the ballot.
    Accepting { votes: ReplicaSet, path: Path },
    /// A recoverer collects reports.
    Recovering { reports: Vec<(ReplicaId, Report)> },
    /// A recoverer asks its quorum whether a fast commit is possible.
    Validating(Validation),
    /// A recoverer waits for the instances that may speak against a fast commit.
    Waiting(Validation),
}

/// The replies to a PreAccept.
#[derive(Clone, Debug, Hash)]
pub(crate) struct PreAccepting {
    /// Who replied, the coordinator itself once its record is durable.
    pub(crate) replies: ReplicaSet,
    /// Who replied with exactly the coordinator's dependencies.
    pub(crate) agreeing: ReplicaSet,
    /// Members taken back since it was sent: a reply of theirs may be from before they took over
    /// a state, and say what they no longer stand for.
    pub(crate) ignored: ReplicaSet,
    /// Whom those who replied count as absent: they do not help to a fast commit.
    pub(crate) fenced: ReplicaSet,
    /// All dependencies replied.
    pub(crate) union: Deps,
    /// When the coordinator sent it.
    pub(crate) sent_at: Time,
    /// Until when the coordinator waits beyond n−f replies, once it decided to.
    pub(crate) wait_until: Option<Time>,
}

/// A value that may have been committed on the fast path, and what is known against it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Validation {
    /// *Q*: exactly these are asked.
    pub(crate) quorum: ReplicaSet,
    /// |R|: how many of them pre-accepted it unchanged.
    pub(crate) endorsers: usize,
    /// The command its coordinator proposed.
    pub(crate) command: Arc<Command>,
    /// The dependencies its coordinator sent.
    pub(crate) deps: Deps,
    /// Who of the quorum answered.
    pub(crate) replies: ReplicaSet,
    /// *I*, and whether somebody reported the member as committed.
    pub(crate) invalidators: BTreeMap<InstanceId, bool>,
    /// Reports at this ballot from outside the quorum.
    pub(crate) late: Vec<(ReplicaId, Report)>,
}
