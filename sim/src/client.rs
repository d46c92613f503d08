//! Closed-loop clients and the history of what they saw.

use bytes::Bytes;
use panchayat_consensus::{
    Footprint, InstanceId, NotApplied, Path, ReadLevel, ReadRefusal, ReplicaId, Request, Span,
};
use panchayat_core::kv::{KvCommand, KvOp, KvOutput, KvValue};
use rustc_hash::FxHashMap;

/// One event of a client history, at a virtual time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEvent {
    /// Virtual time, in microseconds.
    pub at_us: u64,
    /// The client's process: it has one operation at a time, and none after an unknown one.
    pub process: u32,
    /// The operation's number, unique in the run.
    pub op: u64,
    /// The replica asked.
    pub replica: ReplicaId,
    /// What happened.
    pub kind: ClientEventKind,
}

/// What happened to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEventKind {
    /// It was handed to a replica.
    Invoke(KvCommand),
    /// It was answered.
    Return(KvOutput),
    /// It was definitely not applied.
    NotApplied(NotApplied),
    /// It was a read that takes no place in the order, and was refused.
    Refused(ReadRefusal),
    /// Its replica died or did not answer in time: it may have taken effect, or may yet.
    Unknown,
}

/// An operation that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) op: u64,
    pub(crate) replica: usize,
    pub(crate) key: Option<Bytes>,
    pub(crate) command: KvCommand,
    /// If it is asked as a query, and how.
    pub(crate) level: Option<ReadLevel>,
    /// If it may be tried again: by what name, and how often it was tried.
    pub(crate) request: Option<Request>,
    pub(crate) attempts: u32,
    pub(crate) asked_us: u64,
    /// When and how it was decided, once its replica said so.
    pub(crate) committed: Option<(u64, Path)>,
}

/// How long an answered operation took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where.
    pub replica: ReplicaId,
    /// When the client asked, in virtual time.
    pub asked_us: u64,
    /// When it was decided and how, as the replica asked knows it.
    pub committed: Option<(u64, Path)>,
    /// When it was executed and answered.
    pub answered_us: u64,
}

/// A query that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSeen {
    /// Where.
    pub replica: ReplicaId,
    /// How it was asked.
    pub level: ReadLevel,
    /// When, in virtual time.
    pub asked_us: u64,
    /// When it was answered.
    pub answered_us: u64,
    /// How old the state was said to be at most.
    pub age: Option<Span>,
}

/// One client: at most one operation at a time.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) home: usize,
    pub(crate) process: u32,
    pub(crate) pending: Option<Pending>,
    /// Its next command is for the first key.
    pub(crate) urged: bool,
    seen: FxHashMap<Bytes, KvValue>,
}

/// An operation answered to a client.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) op: u64,
    pub(crate) id: InstanceId,
    pub(crate) at_us: u64,
    pub(crate) footprint: Footprint,
}

impl Client {
    pub(crate) fn new(home: usize, process: u32) -> Self {
        Self { home, process, pending: None, urged: false, seen: FxHashMap::default() }
    }

    /// What it last saw of a register.
    pub(crate) fn last_seen(&self, key: &Bytes) -> KvValue {
        self.seen.get(key).cloned().flatten()
    }

    /// Remembers what an answer says about a register.
    pub(crate) fn learn(&mut self, key: Option<Bytes>, output: &KvOutput) {
        let Some(key) = key else { return };
        let found = match output {
            KvOutput::Value(value) => value.clone(),
            KvOutput::Compared { found, .. } | KvOutput::ConditionFailed { found, .. } => {
                found.clone()
            }
            _ => return,
        };
        self.seen.insert(key, found);
    }
}

/// The register that a command is about, if one.
pub(crate) fn register_of(command: &KvCommand) -> Option<Bytes> {
    match command {
        KvCommand::One(KvOp::Get { key } | KvOp::CompareAndSet { key, .. }) => Some(key.clone()),
        KvCommand::Transaction { conditions, .. } => conditions.first().map(|c| c.key().clone()),
        KvCommand::One(_) => None,
    }
}
