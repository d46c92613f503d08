//! One simulated replica: its group while it is up, its disk always.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use panchayat_consensus::{ClientId, Command, InstanceId, RecordSeq, ReplicaId, ReplicaSet, Token};
use panchayat_core::detector::{Detector, Verdict};
use panchayat_core::kv::{KvQuery, KvStore};
use panchayat_core::{Group, ReadRequest};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::fault::{Aftermath, CrashPoint};
use crate::invariants::Progress;
use crate::setup::SyncTime;
use crate::subject::{Checks, Place, Subject};

/// Most inputs that wait for a paused or slow replica; frames beyond are lost.
pub(crate) const INBOX_MAX: usize = 20_000;

/// An input on its way into a group.
#[derive(Debug)]
pub(crate) enum Job {
    Frame { from: ReplicaId, bytes: Bytes },
    Synced(RecordSeq),
    Propose { token: Token, command: Command },
    Seal { token: Token, seal: Command },
    Read { token: Token, request: ReadRequest<KvQuery> },
    Peer(Verdict),
    Wake,
}

/// Whether a replica runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// It runs.
    Up,
    /// It died and will be started.
    Down,
    /// It refuses to start, or is kept down on purpose.
    Out,
}

/// What the checks go by, of the state in a snapshot.
pub(crate) type FrozenOf<P> = Frozen<<<P as Subject>::Checks as Checks<P>>::Frozen>;

/// A snapshot in its production format, and what the world knows of the state in it.
#[derive(Debug)]
pub(crate) struct Frozen<C> {
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
    pub(crate) executed: FxHashSet<InstanceId>,
    pub(crate) executed_print: u64,
    pub(crate) applied: FxHashSet<(ClientId, u64)>,
    pub(crate) progress: Progress,
    pub(crate) checks: C,
}

/// A replica.
#[derive(Debug)]
pub(crate) struct Node<P: Subject> {
    pub(crate) id: ReplicaId,
    pub(crate) power: Power,
    pub(crate) group: Option<Group<P, KvStore>>,
    pub(crate) incarnation: u32,
    pub(crate) disk: Disk,
    /// A bit of its journal was flipped.
    pub(crate) damaged: bool,
    pub(crate) sync_time: SyncTime,
    pub(crate) slow_disk: Option<u64>,
    pub(crate) sync_fails: Option<u64>,
    pub(crate) clock: Clock,
    pub(crate) detector: Detector,
    pub(crate) inbox: VecDeque<Job>,
    pub(crate) scheduled: bool,
    pub(crate) turn_us: u64,
    pub(crate) slow_turn_us: u64,
    pub(crate) paused_until_us: u64,
    /// After a message of this kind to this many receivers, silent for so long.
    pub(crate) mutes: Option<(usize, u32, u64)>,
    pub(crate) muted_until_us: u64,
    /// Its next message of this kind reaches only these, and then this becomes of it.
    pub(crate) partial: Option<(usize, ReplicaSet, Aftermath)>,
    /// After this turn, whom it no longer hears, whether they still hear it, and for how long.
    pub(crate) parts_with: Option<(ReplicaSet, bool, u64)>,
    pub(crate) armed: Option<(CrashPoint, u64)>,
    pub(crate) wake_at_us: Option<u64>,
    /// Records written in this incarnation, and those of them not durable yet.
    pub(crate) record_seq: u64,
    pub(crate) unsynced: VecDeque<(u64, Option<P::Record>)>,
    /// Records durable over all incarnations.
    pub(crate) durable_records: usize,
    pub(crate) tokens: FxHashMap<Token, (usize, u64)>,
    pub(crate) next_token: u64,
    pub(crate) last_proposed_at: u64,
    /// What it proposed last of its own accord, as far as the checks know.
    pub(crate) own_seal: Option<Command>,
    /// What this incarnation executed.
    pub(crate) executed: FxHashSet<InstanceId>,
    /// A fingerprint of that set.
    pub(crate) executed_print: u64,
    /// The request of the command that executes.
    pub(crate) executing: Option<(ClientId, u64)>,
    /// The requests that took effect.
    pub(crate) applied: FxHashSet<(ClientId, u64)>,
    /// The latest snapshot that is durable.
    pub(crate) stored: Option<Rc<FrozenOf<P>>>,
    /// The one being written, and the entry of the journal that must be durable first.
    pub(crate) writing: Option<(Rc<FrozenOf<P>>, RecordSeq)>,
    /// Entries of the journal since the last one was begun.
    pub(crate) entries_since: u64,
    /// Who waits for the next one, and their incarnations.
    pub(crate) askers: Vec<Place>,
    /// Who gets the one being written once it is durable.
    pub(crate) served: Vec<Place>,
    /// Until when it waits for a state it asked for.
    pub(crate) asking_until_us: u64,
    /// Whom it asked last.
    pub(crate) asked: usize,
}

impl<P: Subject> Node<P> {
    /// This run of this replica.
    pub(crate) fn place(&self) -> Place {
        Place { replica: self.id, incarnation: self.incarnation }
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        self.power == Power::Up
    }

    /// How long its next turn takes.
    pub(crate) fn turn_time_us(&self) -> u64 {
        self.turn_us.max(self.slow_turn_us)
    }

    /// Forgets everything that a dead process forgets.
    pub(crate) fn forget(&mut self) {
        self.group = None;
        self.inbox.clear();
        self.scheduled = false;
        self.armed = None;
        self.mutes = None;
        self.partial = None;
        self.parts_with = None;
        self.wake_at_us = None;
        self.paused_until_us = 0;
        self.record_seq = 0;
        self.unsynced.clear();
        self.tokens.clear();
        self.executed.clear();
        self.executed_print = 0;
        self.applied.clear();
        self.writing = None;
        self.entries_since = 0;
        self.askers.clear();
        self.served.clear();
        self.asking_until_us = 0;
        self.sync_fails = None;
    }

    /// Notes an execution; false if it was executed before in this incarnation.
    pub(crate) fn note_executed(&mut self, id: InstanceId) -> bool {
        // A sum of real hashes: of anything more regular, different sets have equal sums.
        let bits = (u64::from(id.replica.0) << 56) ^ id.slot;
        let print = xxhash_rust::xxh3::xxh3_64(&bits.to_le_bytes());
        self.executed_print = self.executed_print.wrapping_add(print);
        self.executed.insert(id)
    }
}
