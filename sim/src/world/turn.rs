//! One turn of a replica: inputs in, then everything that leaves, one thing at a time, with a
//! possible death between any two.

use std::sync::Arc;

use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{
    Command, Input, InstanceId, NotApplied, Path, Protocol, ReadRefusal, RecordSeq, ReplicaSet,
    Token,
};
use panchayat_core::detector::Verdict;
use panchayat_core::frame::{FrameWriter, next_message, open_frame};
use panchayat_core::journal::Entry;
use panchayat_core::kv::{KvAnswer, KvOutput, KvStore};
use panchayat_core::{Answer, Effect, Reading, Sink, SnapshotParts};

use super::{Event, FRAMES, Job, World, state_of};
use crate::fault::{Aftermath, CrashPoint};
use crate::flaw::{Flaw, Invariant};
use crate::report::Execution;
use crate::subject::{Checks, Subject};

/// Something a turn does to the world.
#[derive(Debug)]
pub(crate) enum Action<P: Protocol> {
    Persist(P::Record),
    Mark(u64),
    Snapshot(SnapshotParts<P, KvStore>),
    Executed { id: InstanceId, effect: Effect },
    Persisted(RecordSeq),
    Send { to: ReplicaSet, message: P::Message },
    Committed { token: Token, path: Path },
    Executing { id: InstanceId, command: Arc<Command> },
    Answered { token: Token, answer: Answer<KvOutput> },
    Rejected { token: Token, reason: NotApplied },
    Read { token: Token, outcome: Result<Reading<KvAnswer>, ReadRefusal> },
}

struct Collector<'a, P: Protocol>(&'a mut Vec<Action<P>>);

impl<P: Protocol> Sink<P, KvStore> for Collector<'_, P> {
    fn persist(&mut self, entry: Entry<P::Record>) {
        match entry {
            Entry::Protocol(record) => self.0.push(Action::Persist(record)),
            Entry::Mark { snapshot } => self.0.push(Action::Mark(snapshot)),
        }
    }
    fn persisted(&mut self, upto: RecordSeq) {
        self.0.push(Action::Persisted(upto));
    }
    fn send(&mut self, to: ReplicaSet, message: P::Message) {
        self.0.push(Action::Send { to, message });
    }
    fn committed(&mut self, token: Token, path: Path) {
        self.0.push(Action::Committed { token, path });
    }
    fn executing(&mut self, id: InstanceId, command: &Arc<Command>) {
        self.0.push(Action::Executing { id, command: command.clone() });
    }
    fn executed(&mut self, id: InstanceId, effect: Effect) {
        self.0.push(Action::Executed { id, effect });
    }
    fn answered(&mut self, token: Token, answer: Answer<KvOutput>) {
        self.0.push(Action::Answered { token, answer });
    }
    fn snapshot(&mut self, parts: SnapshotParts<P, KvStore>) {
        self.0.push(Action::Snapshot(parts));
    }
    fn read(&mut self, token: Token, reading: Reading<KvAnswer>) {
        self.0.push(Action::Read { token, outcome: Ok(reading) });
    }
    fn read_refused(&mut self, token: Token, reason: ReadRefusal) {
        self.0.push(Action::Read { token, outcome: Err(reason) });
    }
    fn rejected(&mut self, token: Token, reason: NotApplied) {
        self.0.push(Action::Rejected { token, reason });
    }
}

impl<P: Subject> World<P> {
    /// Drains the inbox of `replica` into its protocol, then performs what it asks for.
    pub(super) fn turn(&mut self, replica: usize) -> Result<(), Flaw> {
        self.working = Some(replica);
        self.touched.clear();
        self.touched_set.clear();
        if self.nodes[replica].disk.is_blocked() {
            return self.refuse(replica);
        }
        self.feed(replica)?;
        self.finish_turn(replica)
    }

    /// What a replica does whose records wait for space: what comes is lost or refused, and what it
    /// knows itself waits.
    fn refuse(&mut self, replica: usize) -> Result<(), Flaw> {
        for job in std::mem::take(&mut self.nodes[replica].inbox) {
            match job {
                Job::Frame { .. } => {
                    *self.stats.named.entry("frames_lost_for_space").or_default() += 1;
                }
                Job::Propose { token, .. } => {
                    self.token_rejected(replica, token, NotApplied::Overloaded);
                }
                Job::Read { token, .. } => {
                    self.token_read(replica, token, Err(ReadRefusal::Unreachable))?;
                }
                Job::Synced(_) | Job::Peer(_) => self.nodes[replica].inbox.push_back(job),
                Job::Wake | Job::Seal { .. } => {}
            }
        }
        Ok(())
    }

    /// Performs everything that waits in the group of `replica`.
    pub(super) fn finish_turn(&mut self, replica: usize) -> Result<(), Flaw> {
        if self.nodes[replica].disk.is_blocked() {
            return Ok(());
        }
        self.note_own_seal(replica);
        self.begin_snapshot_if_due(replica);
        let mut actions = std::mem::take(&mut self.actions);
        if let Some(group) = &mut self.nodes[replica].group {
            group.turn(&mut Collector(&mut actions));
        }
        let mut frames: Vec<FrameWriter> = Vec::new();
        if self.setup.coalesce {
            frames.extend((0..self.setup.replicas()).map(|_| FrameWriter::new(FRAMES)));
        }
        let mut survived = true;
        let mut last_executed = None;
        for action in actions.drain(..) {
            survived = self.perform(replica, action, &mut frames, &mut last_executed)?;
            if !survived {
                break;
            }
        }
        actions.clear();
        self.actions = actions;
        for (to, frame) in frames.iter_mut().enumerate() {
            if let Some(bytes) = frame.take() {
                self.transmit(replica, to, bytes);
            }
        }
        if let Some((others, heard, us)) = self.nodes[replica].parts_with.take() {
            for other in others.iter().map(|other| other.index()) {
                self.network.darken((other, replica), self.now_us + us);
                if !heard {
                    self.network.darken((replica, other), self.now_us + us);
                }
            }
        }
        if !survived {
            return self.crash(replica);
        }
        self.after_turn(replica)
    }

    fn after_turn(&mut self, replica: usize) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        let Some(group) = &node.group else { return Ok(()) };
        group.protocol().check_invariants();
        let place = node.place();
        self.checks.stepped(place, group.protocol(), &self.touched)?;
        let now_us = self.now_us;
        let running = self.nodes.iter().filter(|node| node.is_up()).filter_map(|node| {
            Some((node.place(), node.clock.now(now_us), node.group.as_ref()?.protocol()))
        });
        self.checks.together(running)?;
        let node = &mut self.nodes[replica];
        let Some(group) = &node.group else { return Ok(()) };
        if let Some(wake) = group.wake_time() {
            let at_us = node.clock.when(wake).max(self.now_us + 1);
            if node.wake_at_us.is_none_or(|planned| at_us < planned) {
                node.wake_at_us = Some(at_us);
                let incarnation = node.incarnation;
                self.queue.push(at_us, Event::Wake { replica, incarnation });
            }
        }
        self.ask_for_state(replica);
        self.note_established(replica);
        let node = &self.nodes[replica];
        if let Some(state) = state_of(node) {
            let known = *self.states.entry(node.executed_print).or_insert(state);
            if known != state {
                let text = format!(
                    "r{replica} has state {state} after {} executions, another replica that \
                     executed the same commands has {known}",
                    node.executed.len()
                );
                return Err(Flaw::general(Invariant::StateHash, text));
            }
        }
        Ok(())
    }

    fn feed(&mut self, replica: usize) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        let now = node.clock.now(self.now_us);
        while let Some(job) = node.inbox.pop_front() {
            let Some(group) = &mut node.group else { return Ok(()) };
            match job {
                Job::Frame { from, bytes } => {
                    let refuse = |error| {
                        let text = format!("r{replica} cannot read a frame of {from}: {error}");
                        Flaw::general(Invariant::Codec, text)
                    };
                    let (_, mut input) = open_frame(bytes).map_err(refuse)?;
                    while let Some(message) =
                        next_message::<P::Message>(&mut input).map_err(refuse)?
                    {
                        let id = P::message_instance(&message);
                        if let Some(id) = id
                            && self.touched_set.insert(id)
                        {
                            self.touched.push(id);
                        }
                        self.trace.line(Some(node.id), id, || format!("<- {from} {message:?}"));
                        group.step(now, Input::Receive { from, message });
                    }
                }
                Job::Synced(upto) => {
                    self.trace.line(Some(node.id), None, || format!("durable upto {}", upto.0));
                    group.durable(now, upto);
                }
                Job::Propose { token, command } => {
                    self.trace.line(Some(node.id), None, || {
                        format!("propose {token:?} {command:?} {:?}", command.payload)
                    });
                    self.trace.mix(token.0);
                    group.step(now, Input::Propose { token, command });
                }
                Job::Seal { token, seal } => {
                    self.trace.line(Some(node.id), None, || format!("seal {token:?} {seal:?}"));
                    self.trace.mix(token.0);
                    group.seal(now, token, seal);
                }
                Job::Read { token, request } => {
                    self.trace.line(Some(node.id), None, || format!("asks {token:?} {request:?}"));
                    self.trace.mix(token.0);
                    group.read(now, token, request);
                }
                Job::Peer(verdict) => {
                    self.trace.line(Some(node.id), None, || format!("detector: {verdict:?}"));
                    let input = match verdict {
                        Verdict::Up(peer) => Input::PeerUp(peer),
                        Verdict::Suspected(peer) => Input::PeerSuspected(peer),
                    };
                    group.step(now, input);
                }
                Job::Wake => {}
            }
        }
        if let Some(group) = &mut node.group
            && group.wake(now)
        {
            self.trace.line(Some(node.id), None, || "wakes".into());
        }
        Ok(())
    }

    /// Performs one action; false if the replica dies of it.
    fn perform(
        &mut self,
        replica: usize,
        action: Action<P>,
        frames: &mut [FrameWriter],
        last_executed: &mut Option<InstanceId>,
    ) -> Result<bool, Flaw> {
        let at = self.nodes[replica].place();
        match action {
            Action::Persist(record) => {
                let id = P::record_instance(&record);
                self.touch(id);
                let node = &mut self.nodes[replica];
                self.trace.line(Some(node.id), id, || format!("persist {record:?}"));
                self.checks.persisted(at, &record)?;
                let entry = Entry::Protocol(record);
                node.disk.append(&entry);
                node.record_seq += 1;
                node.entries_since += 1;
                if let Entry::Protocol(record) = entry {
                    node.unsynced.push_back((node.record_seq, Some(record)));
                }
            }
            Action::Mark(number) => {
                let node = &mut self.nodes[replica];
                self.trace.line(Some(node.id), None, || format!("persist mark {number}"));
                let mark = Entry::<P::Record>::Mark { snapshot: number };
                node.disk.append_mark(number, &mark);
                node.record_seq += 1;
                node.unsynced.push_back((node.record_seq, None));
            }
            Action::Snapshot(parts) => self.write_snapshot(replica, parts)?,
            Action::Executed { id, effect } => self.took_effect(replica, id, effect)?,
            Action::Persisted(upto) => {
                if self.nodes[replica].disk.flush(upto) {
                    self.begin_sync(replica);
                }
                return Ok(true);
            }
            Action::Send { to, message } => return self.send(replica, to, &message, frames),
            Action::Committed { token, path } => self.token_committed(replica, token, path),
            Action::Executing { id, command } => {
                *last_executed = Some(id);
                self.executing(replica, id, &command)?;
            }
            Action::Answered { token, answer } => {
                let id = *last_executed;
                self.trace.line(Some(at.replica), id, || format!("answers {token:?} {answer:?}"));
                self.token_answered(replica, token, id, answer)?;
            }
            Action::Rejected { token, reason } => {
                self.trace.line(Some(at.replica), None, || format!("rejects {token:?} {reason:?}"));
                self.token_rejected(replica, token, reason);
            }
            Action::Read { token, outcome } => {
                self.trace.line(Some(at.replica), None, || format!("reads {token:?} {outcome:?}"));
                self.trace.mix(token.0);
                self.token_read(replica, token, outcome)?;
            }
        }
        Ok(!self.dies(replica))
    }

    fn send(
        &mut self,
        replica: usize,
        to: ReplicaSet,
        message: &P::Message,
        frames: &mut [FrameWriter],
    ) -> Result<bool, Flaw> {
        let at = self.nodes[replica].place();
        let id = P::message_instance(message);
        self.touch(id);
        self.trace.line(Some(at.replica), id, || format!("-> {to:?} {message:?}"));
        if to.contains(at.replica) || to.iter().any(|to| to.index() >= self.setup.replicas()) {
            let text = format!("{} sends to {to:?}", at.replica);
            return Err(Flaw::general(Invariant::Codec, text));
        }
        self.checks.sent(at, to, message)?;
        let label = P::label(message);
        let bytes = to_bytes(message);
        if from_bytes::<P::Message>(bytes.clone()).as_ref() != Ok(message) {
            let text = format!("does not read back as it was written: {message:?}");
            return Err(Flaw { invariant: Invariant::Codec, instance: id, text });
        }
        let partial = self.nodes[replica].partial.take_if(|(wanted, ..)| *wanted == label);
        for (sent, to) in to.iter().enumerate() {
            if self.falls_silent(replica, label, sent)
                || partial.is_some_and(|(_, reach, _)| !reach.contains(to))
            {
                continue;
            }
            self.stats.messages[label] += 1;
            match frames.get_mut(to.index()) {
                Some(frame) => frame.push_encoded(&bytes),
                None => {
                    let mut frame = FrameWriter::new(FRAMES);
                    frame.push_encoded(&bytes);
                    if let Some(bytes) = frame.take() {
                        self.transmit(replica, to.index(), bytes);
                    }
                }
            }
            if let Some((CrashPoint::Sent { label: wanted, receivers }, _)) =
                self.nodes[replica].armed
                && wanted % P::LABELS.len() == label
                && sent + 1 >= receivers as usize
            {
                return Ok(false);
            }
            if self.dies(replica) {
                return Ok(false);
            }
        }
        let node = &mut self.nodes[replica];
        match partial {
            Some((.., Aftermath::Dies { down_us })) => {
                node.armed = Some((CrashPoint::After(0), down_us));
                return Ok(false);
            }
            Some((.., Aftermath::FallsSilent { us })) => node.muted_until_us = self.now_us + us,
            Some((_, reach, Aftermath::Parted { heard, us })) => {
                node.parts_with = Some((reach, heard, us));
            }
            Some((.., Aftermath::GoesOn)) | None => {}
        }
        Ok(true)
    }

    fn executing(
        &mut self,
        replica: usize,
        id: InstanceId,
        command: &Arc<Command>,
    ) -> Result<(), Flaw> {
        self.touch(Some(id));
        self.stats.executions += 1;
        let by = self.nodes[replica].id;
        self.executions.push(Execution { at_us: self.now_us, replica: by, id });
        let node = &mut self.nodes[replica];
        let at = node.place();
        self.trace.line(Some(node.id), Some(id), || format!("executes {id} {command:?}"));
        self.trace.mix((id.slot << 8) | u64::from(id.replica.0));
        if !node.note_executed(id) {
            let text = format!("{} executes it twice", node.id);
            return Err(Flaw::of(Invariant::ExecutionOrder, id, text));
        }
        node.executing = command.request.map(|request| (request.client, request.sequence));
        self.commands.executed(at, id, command)?;
        self.checks.executing(at, id, command)?;
        self.order.executed(at, id, &command.footprint)
    }

    /// A command was applied or was not.
    fn took_effect(&mut self, replica: usize, id: InstanceId, effect: Effect) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        let name = match effect {
            Effect::Applied => {
                if let Some(request) = node.executing
                    && !node.applied.insert(request)
                {
                    let text = format!("{} applies request {request:?} twice", node.id);
                    return Err(Flaw::of(Invariant::AppliedOnce, id, text));
                }
                return Ok(());
            }
            Effect::Duplicate => "requests_duplicate",
            Effect::TooOld => "requests_too_old",
            Effect::Read => "reads_ordered",
            Effect::Sealed => "seals_executed",
            Effect::Undecodable => {
                let text = "a payload that a client proposed does not decode".into();
                return Err(Flaw::of(Invariant::Validity, id, text));
            }
        };
        *self.stats.named.entry(name).or_default() += 1;
        Ok(())
    }

    /// Whether a message is lost at its sender, which may begin to be mute with it.
    fn falls_silent(&mut self, replica: usize, label: usize, sent: usize) -> bool {
        let node = &mut self.nodes[replica];
        if let Some((wanted, receivers, us)) = node.mutes
            && wanted % P::LABELS.len() == label
            && sent >= receivers as usize
        {
            node.mutes = None;
            node.muted_until_us = self.now_us + us;
        }
        node.muted_until_us > self.now_us
    }

    fn touch(&mut self, id: Option<InstanceId>) {
        if let Some(id) = id
            && self.touched_set.insert(id)
        {
            self.touched.push(id);
        }
    }

    pub(super) fn transmit(&mut self, from: usize, to: usize, bytes: bytes::Bytes) {
        for at_us in self.network.route((from, to), self.now_us) {
            self.queue.push(at_us, Event::Frame { from, to, bytes: bytes.clone() });
        }
    }

    /// Counts one thing done by `replica`; true if it was armed to die after it.
    fn dies(&mut self, replica: usize) -> bool {
        match &mut self.nodes[replica].armed {
            Some((CrashPoint::After(0), _)) => true,
            Some((CrashPoint::After(left), _)) => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    pub(super) fn begin_sync(&mut self, replica: usize) {
        let node = &self.nodes[replica];
        let time = node.sync_time;
        let drawn = self.sync_rng.between(time.low_us, time.high_us);
        let at_us = self.now_us + drawn.max(node.slow_disk.unwrap_or(0));
        let incarnation = node.incarnation;
        self.queue.push(at_us, Event::Synced { replica, incarnation });
    }

    pub(super) fn sync_done(&mut self, replica: usize, incarnation: u32) -> Result<(), Flaw> {
        if !self.runs(replica, incarnation) {
            return Ok(());
        }
        if self.nodes[replica].sync_fails.is_some() {
            self.trace.line(Some(self.nodes[replica].id), None, || "the sync fails".into());
            self.stats.sync_errors += 1;
            return self.crash(replica);
        }
        let (upto, again) = self.nodes[replica].disk.synced();
        if again {
            self.begin_sync(replica);
        }
        let node = &mut self.nodes[replica];
        let at = node.place();
        while node.unsynced.front().is_some_and(|(seq, _)| *seq <= upto.0) {
            if let Some((_, record)) = node.unsynced.pop_front() {
                node.durable_records += 1;
                if let Some(record) = record {
                    self.checks.durable(at, &record)?;
                }
            }
        }
        if matches!(node.armed, Some((CrashPoint::Synced, _))) {
            return self.crash(replica);
        }
        self.give(replica, Job::Synced(upto))
    }
}
