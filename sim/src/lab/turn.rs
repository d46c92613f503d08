//! One turn of a replica in a run for figures.

use std::sync::Arc;

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{
    Command, Input, InstanceId, NotApplied, Path, Protocol, ReadRefusal, RecordSeq, ReplicaSet,
    Token,
};
use panchayat_core::detector::Verdict;
use panchayat_core::frame::{FrameHeader, FrameWriter, next_message, open_frame};
use panchayat_core::journal::Entry;
use panchayat_core::kv::{KvAnswer, KvOutput, KvStore};
use panchayat_core::{Answer, Reading, Sink, SnapshotParts};

use super::node::{Job, Node};
use super::setting::{Cost, Lost};
use crate::clock::Clock;

/// A word about a proposal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Committed(Path),
    Answered,
    Lost(Lost),
}

/// What a turn sends out into the world. Kept between turns for its memory.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) frames: Vec<FrameWriter>,
    pub(super) words: Vec<(Token, Word)>,
    pub(super) messages: u64,
    pub(super) executions: u64,
    pub(super) persisted: Option<RecordSeq>,
}

impl Outbox {
    pub(super) fn new(replicas: usize, header: FrameHeader) -> Self {
        Self {
            frames: (0..replicas).map(|_| FrameWriter::new(header)).collect(),
            words: Vec::new(),
            messages: 0,
            executions: 0,
            persisted: None,
        }
    }
}

/// Where a turn's effects go.
struct Post<'a, R> {
    outbox: &'a mut Outbox,
    journal: Option<&'a mut Vec<Entry<R>>>,
}

impl<P: Protocol> Sink<P, KvStore> for Post<'_, P::Record> {
    fn persist(&mut self, entry: Entry<P::Record>) {
        if let Some(journal) = &mut self.journal {
            journal.push(entry);
        }
    }

    fn persisted(&mut self, upto: RecordSeq) {
        self.outbox.persisted = Some(upto);
    }

    fn send(&mut self, to: ReplicaSet, message: P::Message) {
        let bytes = to_bytes(&message);
        for to in to.iter() {
            self.outbox.frames[to.index()].push_encoded(&bytes);
            self.outbox.messages += 1;
        }
    }

    fn committed(&mut self, token: Token, path: Path) {
        self.outbox.words.push((token, Word::Committed(path)));
    }

    fn executing(&mut self, _id: InstanceId, _command: &Arc<Command>) {
        self.outbox.executions += 1;
    }

    fn answered(&mut self, token: Token, answer: Answer<KvOutput>) {
        let word = match answer {
            Answer::Applied(_) | Answer::Duplicate(_) => Word::Answered,
            // Nobody changes epochs in these runs.
            Answer::Undecodable | Answer::Sealed => Word::Lost(Lost::NotApplied),
            Answer::OutputNotKept | Answer::Unknown(_) => Word::Lost(Lost::Unknown),
        };
        self.outbox.words.push((token, word));
    }

    fn rejected(&mut self, token: Token, reason: NotApplied) {
        let lost = match reason {
            NotApplied::Overloaded => Lost::Overloaded,
            _ => Lost::NotApplied,
        };
        self.outbox.words.push((token, Word::Lost(lost)));
    }

    // Nothing is read and no snapshot is begun in these runs.
    fn read(&mut self, _token: Token, _reading: Reading<KvAnswer>) {}

    fn read_refused(&mut self, _token: Token, _reason: ReadRefusal) {}

    fn snapshot(&mut self, _parts: SnapshotParts<P, KvStore>) {}
}

impl<P: Protocol> Node<P> {
    /// Handles all that has come by `now_us` and collects what follows from it. Gives the
    /// processor's work in nanoseconds, or nothing if the replica is dead.
    ///
    /// # Panics
    /// If a frame cannot be read: it was written by this very code.
    pub(super) fn turn(&mut self, now_us: u64, cost: Cost, outbox: &mut Outbox) -> Option<u64> {
        let group = self.group.as_mut()?;
        let now = self.clock.now(now_us);
        let mut work_ns = cost.turn_ns;
        for job in self.inbox.drain(..) {
            match job {
                Job::Frame { from, bytes } => {
                    let (_, mut input) = open_frame(bytes).expect("an own frame");
                    while let Some(message) = next_message(&mut input).expect("an own message") {
                        work_ns += cost.message_ns;
                        group.step(now, Input::Receive { from, message });
                    }
                }
                Job::Synced(upto) => group.durable(now, upto),
                Job::Propose { token, command } => {
                    work_ns += cost.proposal_ns;
                    group.step(now, Input::Propose { token, command });
                }
                Job::Peer(Verdict::Up(peer)) => group.step(now, Input::PeerUp(peer)),
                Job::Peer(Verdict::Suspected(peer)) => {
                    group.step(now, Input::PeerSuspected(peer));
                }
                Job::Wake => {}
            }
        }
        group.wake(now);
        let executions = outbox.executions;
        let journal = self.journal.as_mut();
        group.turn(&mut Post { outbox, journal });
        work_ns += cost.execution_ns * (outbox.executions - executions);
        Some(work_ns)
    }

    /// When the group is to be woken, if that is news.
    pub(super) fn next_wake(&mut self, now_us: u64) -> Option<u64> {
        let wake = self.group.as_ref()?.wake_time()?;
        let at_us = Clock::when(&self.clock, wake).max(now_us + 1);
        if self.wake_at_us.is_some_and(|planned| planned <= at_us) {
            return None;
        }
        self.wake_at_us = Some(at_us);
        Some(at_us)
    }
}
