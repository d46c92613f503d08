//! One replica of a run for figures.

use std::collections::VecDeque;

use bytes::Bytes;
use panchayat_consensus::{Command, Path, Protocol, RecordSeq, ReplicaId, Token};
use panchayat_core::Group;
use panchayat_core::detector::{Detector, Verdict};
use panchayat_core::journal::Entry;
use panchayat_core::kv::KvStore;
use rustc_hash::FxHashMap;

use crate::clock::Clock;

/// An input on its way into a group.
#[derive(Debug)]
pub(super) enum Job {
    Frame { from: ReplicaId, bytes: Bytes },
    Synced(RecordSeq),
    Propose { token: Token, command: Command },
    Peer(Verdict),
    Wake,
}

/// A command between its proposal and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) client: u32,
    pub(super) began_us: u64,
    pub(super) committed: Option<(u64, Path)>,
}

/// A replica and its disk.
#[derive(Debug)]
pub(super) struct Node<P: Protocol> {
    /// `None` while it is dead.
    pub(super) group: Option<Group<P, KvStore>>,
    pub(super) incarnation: u32,
    pub(super) clock: Clock,
    pub(super) detector: Detector,
    pub(super) inbox: VecDeque<Job>,
    /// Whether a turn is planned.
    pub(super) scheduled: bool,
    /// Until when its processor is at work, and the part of a microsecond beyond.
    pub(super) busy_until_us: u64,
    pub(super) busy_rest_ns: u64,
    pub(super) wake_at_us: Option<u64>,
    pub(super) pending: FxHashMap<Token, Pending>,
    pub(super) next_token: u64,
    pub(super) last_proposed_at: u64,
    /// The entry up to which was written, and up to which the sync under way reaches.
    pub(super) written: RecordSeq,
    pub(super) syncing: Option<RecordSeq>,
    /// All entries, if it is to start again; how many of them earlier lives wrote.
    pub(super) journal: Option<Vec<Entry<P::Record>>>,
    pub(super) journal_before: usize,
    pub(super) durable: RecordSeq,
}

impl<P: Protocol> Node<P> {
    /// Forgets what a dead process forgets; the journal keeps what was durable.
    pub(super) fn die(&mut self) {
        self.group = None;
        self.inbox.clear();
        self.scheduled = false;
        self.wake_at_us = None;
        self.syncing = None;
        if let Some(journal) = &mut self.journal {
            journal.truncate(self.journal_before + self.durable.0 as usize);
            self.journal_before = journal.len();
        }
        (self.written, self.durable) = (RecordSeq(0), RecordSeq(0));
    }
}
