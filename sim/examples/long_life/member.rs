//! One replica: its group while it lives, its disk always.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{
    ClusterId, Command, EpochNumber, GroupId, Input, NotApplied, Now, Path, ReadRefusal, RecordSeq,
    ReplicaId, ReplicaSet, Span, Token,
};
use panchayat_core::frame::{FrameHeader, FrameWriter, next_message, open_frame};
use panchayat_core::journal::Entry;
use panchayat_core::kv::{KvAnswer, KvOutput, KvStore};
use panchayat_core::{Answer, Base, Group, Reading, Sink, SnapshotParts};
use panchayat_epaxos::{Config, EPaxos, Message, Record};
use panchayat_sim::{Disk, Keep};

use super::plan::Plan;
use super::snapshots::{self, Stored};

pub(super) const CLUSTER: ClusterId = ClusterId(77);
pub(super) const GROUP: GroupId = GroupId(1);
pub(super) const EPOCH: EpochNumber = EpochNumber(1);
pub(super) const FRAMES: FrameHeader = FrameHeader { group: GROUP, epoch: EPOCH, terms: 0 };

/// An input on its way into a group.
#[derive(Debug)]
pub(super) enum Job {
    Frame { from: ReplicaId, bytes: Bytes },
    Synced(RecordSeq),
    Propose { token: Token, command: Command },
    Peer { peer: ReplicaId, up: bool },
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) stored: Rc<Stored>,
    /// What it was written from. A thread that writes shares it with the replica for as long as
    /// that takes, so that what commands change meanwhile must be copied.
    pub(super) parts: SnapshotParts<EPaxos, KvStore>,
    /// Who waits for it.
    pub(super) askers: Vec<usize>,
}

/// What a turn did besides what it wrote and sent.
#[derive(Default)]
pub(super) struct News {
    pub(super) flush: Option<RecordSeq>,
    pub(super) parts: Option<SnapshotParts<EPaxos, KvStore>>,
    pub(super) frozen_after: Duration,
    pub(super) answers: Vec<(Token, Answer<KvOutput>)>,
    pub(super) rejected: Vec<Token>,
    pub(super) took: Duration,
}

struct Out<'a> {
    disk: &'a mut Disk,
    frames: &'a mut [FrameWriter],
    news: &'a mut News,
    begun: Instant,
}

impl Sink<EPaxos, KvStore> for Out<'_> {
    fn persist(&mut self, entry: Entry<Record>) {
        match entry {
            Entry::Mark { snapshot } => self.disk.append_mark(snapshot, &entry),
            Entry::Protocol(_) => self.disk.append(&entry),
        }
    }
    fn persisted(&mut self, upto: RecordSeq) {
        self.news.flush = Some(upto);
    }
    fn send(&mut self, to: ReplicaSet, message: Message) {
        let bytes = to_bytes(&message);
        for to in to.iter() {
            self.frames[to.index()].push_encoded(&bytes);
        }
    }
    fn committed(&mut self, _token: Token, _path: Path) {}
    fn answered(&mut self, token: Token, answer: Answer<KvOutput>) {
        self.news.answers.push((token, answer));
    }
    fn rejected(&mut self, token: Token, _reason: NotApplied) {
        self.news.rejected.push(token);
    }
    fn read(&mut self, token: Token, _reading: Reading<KvAnswer>) {
        unreachable!("nobody reads: {token:?}");
    }
    fn read_refused(&mut self, token: Token, reason: ReadRefusal) {
        unreachable!("nobody reads: {token:?}, {reason}");
    }
    fn snapshot(&mut self, parts: SnapshotParts<EPaxos, KvStore>) {
        self.news.frozen_after = self.begun.elapsed();
        self.news.parts = Some(parts);
    }
}

/// A replica.
pub(super) struct Member {
    pub(super) seat: ReplicaId,
    pub(super) group: Option<Group<EPaxos, KvStore>>,
    pub(super) incarnation: u32,
    pub(super) disk: Disk,
    pub(super) inbox: VecDeque<Job>,
    pub(super) turn_planned: bool,
    pub(super) last_turn_us: u64,
    pub(super) wake_at_us: Option<u64>,
    pub(super) stored: Option<Rc<Stored>>,
    pub(super) writing: Option<Writing>,
    /// A snapshot was begun, and is not durable yet.
    pub(super) snapshot_begun: bool,
    /// Who waits for a snapshot that is not begun yet, and for the one begun.
    pub(super) askers: Vec<usize>,
    pub(super) served: Vec<usize>,
    pub(super) asking: bool,
    pub(super) holds_until_us: Option<u64>,
    /// Whether snapshots are kept although nobody waits for them.
    pub(super) keeps: bool,
}

impl Member {
    pub(super) fn new(plan: &Plan, seat: usize) -> Self {
        Self {
            seat: ReplicaId(seat as u8),
            group: None,
            incarnation: 0,
            disk: Disk::new(plan.seed, seat, GROUP, EPOCH),
            inbox: VecDeque::new(),
            turn_planned: false,
            last_turn_us: 0,
            wake_at_us: None,
            stored: None,
            writing: None,
            snapshot_begun: false,
            askers: Vec::new(),
            served: Vec::new(),
            asking: false,
            holds_until_us: None,
            keeps: plan.restart_all || plan.mortal().contains(&seat),
        }
    }

    /// Starts from the disk; where there is no snapshot, from `birth`.
    ///
    /// # Panics
    /// If what it wrote cannot be read.
    pub(super) fn start(&mut self, plan: &Plan, birth: KvStore, now: Now) {
        self.incarnation += 1;
        let base = match self.stored.as_ref().map(|stored| stored.bytes.as_ref()) {
            None => Base::birth(birth, plan.sessions()),
            Some(bytes) => {
                let bytes = bytes.expect("who is started again has kept its snapshots");
                snapshots::read(bytes, plan.sessions()).expect("a snapshot reads back")
            }
        };
        let opened = self.disk.open().expect("a journal reads back");
        let entries = opened.payloads.into_iter();
        let entries =
            entries.map(|payload| from_bytes::<Entry<Record>>(payload).expect("an entry"));
        let group = Group::restore(config(plan, self.seat, self.incarnation), base, entries, now);
        self.group = Some(group.expect("the journal belongs to the snapshot"));
    }

    /// The process dies in the middle of whatever it does.
    pub(super) fn die(&mut self) {
        self.disk.crash(Keep::Prefix);
        self.group = None;
        self.incarnation += 1;
        self.inbox.clear();
        self.turn_planned = false;
        self.wake_at_us = None;
        self.writing = None;
        self.snapshot_begun = false;
        self.askers.clear();
        self.served.clear();
        self.asking = false;
        self.holds_until_us = None;
    }

    /// Feeds what waits into the group, and performs what it asks for.
    pub(super) fn turn(&mut self, plan: &Plan, now: Now, frames: &mut [FrameWriter]) -> News {
        let mut news = News::default();
        let begun = Instant::now();
        let Some(group) = &mut self.group else { return news };
        while let Some(job) = self.inbox.pop_front() {
            match job {
                Job::Frame { from, bytes } => {
                    let (_, mut input) = open_frame(bytes).expect("a frame");
                    while let Some(message) = next_message(&mut input).expect("a message") {
                        group.step(now, Input::Receive { from, message });
                    }
                }
                Job::Synced(upto) => group.durable(now, upto),
                Job::Propose { token, command } => {
                    group.step(now, Input::Propose { token, command });
                }
                Job::Peer { peer, up: true } => group.step(now, Input::PeerUp(peer)),
                Job::Peer { peer, up: false } => group.step(now, Input::PeerSuspected(peer)),
            }
        }
        group.wake(now);
        let due = self.disk.bytes() >= plan.snapshot_journal_bytes || !self.askers.is_empty();
        if due && !self.snapshot_begun && !group.is_installing() && group.begin_snapshot().is_some()
        {
            self.snapshot_begun = true;
            self.served = std::mem::take(&mut self.askers);
        }
        group.turn(&mut Out { disk: &mut self.disk, frames, news: &mut news, begun });
        news.took = begun.elapsed();
        news
    }

    /// Bytes of its disk that the simulator holds in memory.
    pub(super) fn disk_bytes(&self) -> u64 {
        let kept = |stored: &Rc<Stored>| stored.bytes.as_ref().map_or(0, |b| b.len() as u64);
        let writing = self.writing.as_ref().map(|writing| &writing.stored);
        self.disk.bytes() as u64 + self.stored.as_ref().map_or(0, kept) + writing.map_or(0, kept)
    }
}

fn config(plan: &Plan, seat: ReplicaId, incarnation: u32) -> Config {
    let delays = plan.delays_us();
    let pairs = (0..plan.replicas).flat_map(|a| (0..a).map(move |b| (a, b)));
    let rtt_max = pairs.map(|(a, b)| delays[a][b] + delays[b][a]).max().unwrap_or(0);
    let mut config = Config::new(seat, plan.quorums(), Span(rtt_max));
    config.limits.retained_max = plan.retained_max;
    config.seed = u64::from(incarnation) << 8 | u64::from(seat.0);
    config
}
