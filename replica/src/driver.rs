//! The replica's thread: inputs in, one turn of the group, effects out.
//!
//! It never waits for the disk. A turn drains what is waiting, steps the protocol for each, hands
//! all records to the journal, releases what has become durable, and sends one frame per peer.
//! Batches grow with load and with the time a sync takes; nothing waits for a timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use panchayat_consensus::{
    Command, EpochNumber, GroupId, Input, InstanceId, NodeId, NotApplied, Now, Path, Protocol as _,
    REPLICAS_MAX, ReadRefusal, RecordSeq, ReplicaId, ReplicaSet, Span, Time, Token, WallTime,
};
use panchayat_core::detector::{Detector, Verdict};
use panchayat_core::frame::{FrameHeader, next_message, open_frame};
use panchayat_core::journal::Entry;
use panchayat_core::{Answer, Group, Reading, Sink, SnapshotParts, StateMachine};
use panchayat_epochs::{Epochs, Message, Record};
use panchayat_storage::JournalFailed;
use panchayat_transport::Mesh;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::applied::Applied;
use crate::door::{Door, Turn};
use crate::error::{ProposeError, Stopped};
use crate::inbox::{self, ChangeReply, Event, Inbox, Proposal, Reply, Room};
use crate::latency::{Latencies, span};
use crate::limits::Limits;
use crate::membership::{
    Change, ChangeError, Directory, GroupView, Peers, Roster, check_programs, next_epoch, roster,
};
use crate::metrics::CoreMetrics;
use crate::outbox::Outbox;
use crate::phases::Phases;
use crate::protocol::choice_of;
use crate::protocol::configured::suspicion_after;
use crate::read::Readers;
use crate::records::Records;
use crate::replica::Gate;
use crate::snapshots::{Ask, Asked, Desk, Word};

/// Most events handled before the turn ends, so that effects do not wait for a flood to pass.
/// Proposals that are put at the door are not handled yet.
const EVENTS_PER_TURN_MAX: usize = 512;
/// How often the failure detector is asked.
const DETECTOR_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait before offering records again to a full disk.
const DISK_FULL_RETRY: Duration = Duration::from_millis(50);

/// The journal's last word, left where the replica's thread finds it.
#[derive(Debug, Default)]
pub(crate) struct DurableMark {
    upto: AtomicU64,
    failed: Mutex<Option<JournalFailed>>,
}

impl DurableMark {
    pub(crate) fn set(&self, word: Result<RecordSeq, JournalFailed>) {
        match word {
            Ok(upto) => _ = self.upto.fetch_max(upto.0, Ordering::AcqRel),
            Err(failed) => *self.failed.lock() = Some(failed),
        }
    }
}

/// The clocks of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.at(Instant::now()), wall: WallTime(wall.as_micros() as u64) }
    }

    fn at(&self, instant: Instant) -> Time {
        Time(instant.saturating_duration_since(self.start).as_micros() as u64)
    }

    fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_micros(time.0)
    }
}

/// Where a replica's frames and records belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) group: GroupId,
    pub(crate) epoch: EpochNumber,
}

pub(crate) struct Driver<S: StateMachine> {
    pub(crate) group: Group<Epochs, S>,
    pub(crate) clock: Clock,
    /// Of frames that are ours.
    pub(crate) header: FrameHeader,
    /// Members whose frames are not, as far as was said.
    pub(crate) strangers: ReplicaSet,
    pub(crate) limits: Limits,
    pub(crate) directory: Directory,
    /// Who the members are, for everybody else.
    pub(crate) roster: Roster,
    /// Whether this node has no state yet.
    pub(crate) joins: Arc<AtomicBool>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) events: Receiver<Event<S::Output>>,
    pub(crate) inbox: Inbox<S::Output>,
    pub(crate) door: Door<Proposal<S::Output>>,
    pub(crate) mesh: Mesh,
    pub(crate) detector: Detector,
    pub(crate) durable: Arc<DurableMark>,
    pub(crate) outside: Outside<S>,
    pub(crate) gate: Gate,
    pub(crate) desk: Desk<Epochs, S>,
}

/// Everything a turn's effects go to.
pub(crate) struct Outside<S: StateMachine> {
    records: Records,
    outbox: Outbox,
    waiting: FxHashMap<Token, Waiting<S::Output>>,
    /// Who waits for members or protocol to change.
    changing: Option<(Token, ChangeReply)>,
    readers: Readers<S>,
    latencies: Latencies,
    /// Proposals refused as too many, after they were let in.
    overloaded: u64,
    /// Results of this turn. They leave together, after the frames: a caller that is woken by the
    /// first runs on the processor that the rest of the turn needs, and sleeps again before the
    /// next comes.
    replies: Vec<(inbox::Answer<S::Output>, Phases)>,
    /// A snapshot whose parts came in this turn.
    frozen: Option<SnapshotParts<Epochs, S>>,
    executing: InstanceId,
    next_token: u64,
    stopped: Option<Stopped>,
}

/// A proposal without a result so far.
struct Waiting<O> {
    reply: Reply<O>,
    asked_at: Instant,
    phases: Phases,
    committed: Option<(Path, Instant)>,
    _room: Room,
}

impl<S: StateMachine> Outside<S> {
    pub(crate) fn new(records: Records, outbox: Outbox, readers: Readers<S>) -> Self {
        Self {
            records,
            outbox,
            waiting: FxHashMap::default(),
            changing: None,
            readers,
            latencies: Latencies::default(),
            overloaded: 0,
            replies: Vec::new(),
            frozen: None,
            executing: InstanceId::new(ReplicaId(0), 1),
            next_token: 0,
            stopped: None,
        }
    }

    fn next_token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn expect(&mut self, waiting: Waiting<S::Output>) -> Token {
        let token = self.next_token();
        self.waiting.insert(token, waiting);
        token
    }

    fn answer(&mut self, token: Token, result: Result<S::Output, ProposeError>) {
        let Some(mut waiting) = self.waiting.remove(&token) else { return };
        let executed_at = Instant::now();
        let result = result.map(|output| {
            let (path, committed_at) = waiting.committed.unwrap_or((Path::Recovered, executed_at));
            waiting.phases.executed(self.executing);
            self.latencies.executed(span(waiting.asked_at, executed_at));
            Applied { output, id: self.executing, path, committed_at, executed_at }
        });
        self.overloaded += u64::from(matches!(result, Err(ProposeError::Overloaded)));
        self.replies.push(((waiting.reply, result), waiting.phases));
    }

    /// Who waits for the change with this token.
    fn change_of(&mut self, token: Token) -> Option<ChangeReply> {
        self.changing.take_if(|(of, _)| *of == token).map(|(_, reply)| reply)
    }

    /// Lets everything of this turn go that nothing holds.
    fn flush(&mut self) {
        self.outbox.flush();
        for ((reply, result), phases) in self.replies.drain(..) {
            // A caller that went away does not want the result.
            let _ = reply.send(result);
            drop(phases);
        }
    }
}

impl<S: StateMachine> Sink<Epochs, S> for Outside<S> {
    fn persist(&mut self, entry: Entry<Record>) {
        self.records.push(&entry);
    }

    fn persisted(&mut self, _upto: RecordSeq) {
        match self.records.write() {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!("no space for the journal: nothing goes on until there is")
            }
            Err(stopped) => self.stopped = Some(stopped),
        }
    }

    fn send(&mut self, to: ReplicaSet, message: Message) {
        self.outbox.push(to, &message);
    }

    fn committed(&mut self, token: Token, path: Path) {
        if let Some(waiting) = self.waiting.get_mut(&token) {
            let now = Instant::now();
            self.latencies.committed(span(waiting.asked_at, now));
            waiting.committed = Some((path, now));
            waiting.phases.committed(path);
        }
    }

    fn executing(&mut self, id: InstanceId, _command: &Arc<Command>) {
        self.executing = id;
    }

    fn answered(&mut self, token: Token, answer: Answer<S::Output>) {
        if let Some(reply) = self.change_of(token) {
            let _ = reply.send(match answer {
                Answer::Sealed => Ok(()),
                _ => Err(ChangeError::InDoubt("no quorum has said what became of it")),
            });
            return;
        }
        let result = match answer {
            Answer::Applied(output) | Answer::Duplicate(output) => Ok(output),
            // A seal is nobody's proposal but the driver's own.
            Answer::Undecodable | Answer::Sealed => Err(ProposeError::NOT_DECODED),
            Answer::OutputNotKept => Err(ProposeError::OutputNotKept),
            Answer::Unknown(doubt) => Err(ProposeError::InDoubt(doubt)),
        };
        self.answer(token, result);
    }

    fn rejected(&mut self, token: Token, reason: NotApplied) {
        if let Some(reply) = self.change_of(token) {
            let _ = reply.send(Err(match reason {
                NotApplied::Overloaded => ChangeError::NotMade("this replica is overloaded"),
                NotApplied::Unreachable => ChangeError::NotMade("no leader was known for too long"),
                _ => ChangeError::Overtaken,
            }));
            return;
        }
        self.answer(token, Err(reason.into()));
    }

    fn read(&mut self, token: Token, reading: Reading<S::Answer>) {
        self.readers.answer(token, Ok(reading));
    }

    fn read_refused(&mut self, token: Token, reason: ReadRefusal) {
        self.readers.answer(token, Err(reason));
    }

    fn snapshot(&mut self, parts: SnapshotParts<Epochs, S>) {
        self.frozen = Some(parts);
    }
}

impl<S: StateMachine> Driver<S> {
    /// Runs until told to stop, or until the journal fails.
    pub(crate) fn run(mut self) -> Result<(), Stopped> {
        let mut next_poll = Instant::now();
        let mut draining = false;
        let mut turns = 0;
        let mut bad_frames = 0;
        self.turn()?;
        loop {
            let blocked = self.outside.records.are_blocked();
            if draining && (self.outside.waiting.is_empty() || blocked) {
                return Ok(());
            }
            let mut event = match self.events.try_recv() {
                Ok(event) => Some(event),
                Err(_) if !self.door.is_empty() && !blocked => None,
                Err(_) => match self.events.recv_deadline(self.deadline(next_poll)) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                },
            };
            turns += 1;
            let now = self.clock.now();
            let blocked = self.outside.records.are_blocked() && !self.outside.records.write()?;
            self.gate.set_full(blocked);
            let mut handled = 0;
            while handled < EVENTS_PER_TURN_MAX {
                let Some(next) = event.take().or_else(|| self.events.try_recv().ok()) else {
                    break;
                };
                match next {
                    Event::Propose(proposal) => {
                        self.door.push(proposal, now.monotonic);
                        continue;
                    }
                    // Lost, as on any network; what matters is sent again.
                    Event::Frame { .. } if blocked => {}
                    Event::Read if blocked => {
                        self.outside.readers.take_blocked(&self.group, self.clock.now());
                    }
                    // Not the time at which the turn began: what was heard between then and the
                    // query's beginning must not vouch for it, here or at the peer that asks.
                    Event::Read => {
                        let token = self.outside.next_token();
                        self.outside.readers.take(&mut self.group, token, self.clock.now());
                    }
                    Event::Frame { from, frame, permit } => {
                        let now = self.clock.now();
                        bad_frames += u64::from(self.receive(now, from, frame).is_none());
                        drop(permit);
                    }
                    Event::Measure(reply) => _ = reply.send(self.measure(turns, bad_frames)),
                    Event::Account(subject, reply) => {
                        // A caller that went away does not want to know.
                        let _ = reply.send(self.group.account(subject, self.clock.now()));
                    }
                    Event::Durable => self.inbox.durable_heard(),
                    Event::Snapshot(report) => self.desk.heard(report, &mut self.group)?,
                    Event::State(asked) if self.has_lost_its_disk(&asked) => {
                        let why = "this node has had the state, and lost it: replace it by one with a \
                                   number of its own";
                        tracing::error!(node = %asked.from, why, "asks to join once more");
                        // A peer that went away asks again.
                        let _ = asked.reply.send(Word::Refused(why));
                    }
                    Event::State(asked) => self.desk.asked(asked, &mut self.group, now),
                    Event::HandOver(to, reply) => {
                        // A caller that went away does not want to know.
                        let _ = reply.send(!blocked && self.group.hand_over(now, to));
                    }
                    Event::Change(change, reply) => self.change(now, &change, reply),
                    Event::View(reply) => {
                        let view = GroupView::of(self.group.protocol(), self.directory.began());
                        // A caller that went away does not want to know.
                        let _ = reply.send(view);
                    }
                    Event::TakeSnapshot(reply) => self.desk.wanted(reply),
                    Event::StateNews => {
                        let written = self.outside.records.bytes;
                        self.desk.state_news(&mut self.group, now, written)?;
                    }
                    Event::Shutdown => draining = true,
                    Event::Abandon => return Ok(()),
                }
                handled += 1;
            }
            let refusal = match () {
                () if draining => Some(ProposeError::Shutdown),
                () if blocked => Some(ProposeError::DISK_FULL),
                () if self.desk.is_behind() => Some(ProposeError::BEHIND),
                () if self.group.protocol().current().is_none() => Some(ProposeError::NO_MEMBER),
                () => None,
            };
            self.open_door(now, handled == EVENTS_PER_TURN_MAX, refusal);
            if blocked {
                self.group.refuse_late_reads(now, &mut self.outside);
                continue;
            }
            if Instant::now() >= next_poll {
                next_poll = Instant::now() + DETECTOR_INTERVAL;
                self.poll_detector(now);
                self.peers.tend();
                self.desk.look(&mut self.group, self.outside.records.bytes);
            }
            self.group.wake(now);
            self.turn()?;
        }
    }

    /// Takes proposals from the door, or refuses all of them with `refusal`.
    fn open_door(&mut self, now: Now, messages_wait: bool, refusal: Option<ProposeError>) {
        let mut places = Door::<Proposal<S::Output>>::places(messages_wait);
        while places > 0 || refusal.is_some() {
            let Some(next) = self.door.next(now.monotonic) else { break };
            let (proposal, error) = match next {
                Turn::Taken(proposal) => (proposal, refusal.clone()),
                Turn::Refused(proposal) => {
                    (proposal, Some(refusal.clone().unwrap_or(ProposeError::Overloaded)))
                }
            };
            let Proposal { command, reply, room, asked_at, mut phases } = proposal;
            if let Some(error) = error {
                self.outside.overloaded += u64::from(matches!(error, ProposeError::Overloaded));
                // A caller that went away does not want the result.
                let _ = reply.send(Err(error));
                continue;
            }
            places -= 1;
            phases.taken();
            let waiting = Waiting { reply, asked_at, phases, committed: None, _room: room };
            let token = self.outside.expect(waiting);
            self.group.step(now, Input::Propose { token, command });
        }
        self.inbox.shut_door(self.door.is_crowded(now.monotonic));
    }

    fn deadline(&self, next_poll: Instant) -> Instant {
        if self.outside.records.are_blocked() {
            return Instant::now() + DISK_FULL_RETRY;
        }
        let wake = self.group.wake_time().map(|wake| self.clock.instant(wake));
        wake.map_or(next_poll, |wake| wake.min(next_poll))
    }

    /// Hands over effects until the journal has nothing new to say, then sends.
    fn turn(&mut self) -> Result<(), Stopped> {
        loop {
            if self.directory.refresh(self.group.protocol()) {
                self.meet();
            }
            self.group.turn(&mut self.outside);
            if let Some(parts) = self.outside.frozen.take() {
                self.desk.frozen(parts);
            }
            if let Some(stopped) = self.outside.stopped.take() {
                return Err(stopped);
            }
            let upto = RecordSeq(self.durable.upto.load(Ordering::Acquire));
            if upto <= self.group.durable_upto() || self.outside.records.are_blocked() {
                break;
            }
            self.group.durable(self.clock.now(), upto);
        }
        if let Some(failed) = self.durable.failed.lock().take() {
            return Err(failed.into());
        }
        self.outside.flush();
        Ok(())
    }

    /// Steps every message of a frame; `None` if the frame is not ours or not readable.
    fn receive(&mut self, now: Now, from: NodeId, frame: Bytes) -> Option<()> {
        let node = from;
        // One that has no place here any more, or not yet.
        let from = self.directory.place_of(node)?;
        let Ok((header, mut input)) = open_frame(frame) else {
            if self.strangers.insert(from) {
                tracing::warn!(peer = %node, "frames of a member cannot be read: is its program newer?");
            }
            return None;
        };
        if header != self.header {
            if self.strangers.insert(from) {
                tracing::warn!(
                    peer = %node, theirs = ?header, ours = ?self.header,
                    "a member is not of one mind with this one: was it started with another \
                     protocol, or another list of members?"
                );
            }
            return None;
        }
        while let Some(message) = next_message(&mut input).ok()? {
            self.group.step(now, Input::Receive { from, message });
        }
        Some(())
    }

    fn poll_detector(&mut self, now: Now) {
        for entry in self.directory.entries() {
            if let Some(ago) = self.mesh.last_heard(entry.member.node) {
                let at = Time(now.monotonic.0.saturating_sub(ago.as_micros() as u64));
                self.detector.heard(entry.place, at);
            }
        }
        let verdicts = self.detector.poll(now.monotonic);
        self.tell(now, verdicts);
    }

    fn tell(&mut self, now: Now, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            let input = match verdict {
                Verdict::Up(peer) => Input::PeerUp(peer),
                Verdict::Suspected(peer) => Input::PeerSuspected(peer),
            };
            tracing::info!(?verdict, "failure detector");
            self.group.step(now, input);
        }
    }

    /// Epochs have changed, and with them who is where.
    fn meet(&mut self) {
        let (now, directory) = (self.clock.now(), &self.directory);
        self.joins.store(self.group.protocol().epoch().is_none(), Ordering::Relaxed);
        self.peers.set(self.header.group, directory.entries());
        self.outside.outbox.set_peers(directory.by_place());
        self.desk.set_nodes(directory.by_place());
        let longest = Span(directory.longest_round_trip().as_micros() as u64);
        let timeout = suspicion_after(longest);
        let verdicts = self.detector.watch(directory.places(), timeout, now.monotonic);
        if let Some(epoch) = self.group.protocol().epoch() {
            *self.roster.lock() = Arc::new(roster(directory.began(), epoch));
        }
        let view = GroupView::of(self.group.protocol(), self.directory.began());
        let members: Vec<_> = view.members.iter().map(|member| &*member.member.name).collect();
        if let Some(reason) = self.group.protocol().moved_because() {
            // The numbers behind it.
            tracing::info!(epoch = view.epoch, reason, "moved of its own accord");
        }
        tracing::info!(
            epoch = view.epoch, protocol = %view.protocol, members = members.join(", "),
            standing = ?view.standing, "members and protocol"
        );
        self.tell(now, verdicts);
    }

    /// Whether a node asks for its first state that has said to have one, durably. It may have promised
    /// anything since, and must not vote as itself again.
    fn has_lost_its_disk(&self, asked: &Asked) -> bool {
        let place = self.directory.place_of(asked.from);
        let reached = self.group.protocol().reached();
        asked.ask == Ask::Join && place.is_some_and(|place| reached.contains(place))
    }

    /// Begins to change members or protocol.
    fn change(&mut self, now: Now, change: &Change, reply: ChangeReply) {
        let (protocol, changing) = (self.group.protocol(), &mut self.outside.changing);
        // A caller that went away makes way.
        changing.take_if(|(_, reply)| reply.is_closed());
        let next = match changing {
            Some(_) => Err(ChangeError::NotMade("another change is under way at this replica")),
            None if self.desk.is_behind() => Err(ChangeError::NotMember),
            None => {
                let suspected = self.detector.suspected();
                let alive = ReplicaSet::all(REPLICAS_MAX).minus(suspected);
                check_programs(protocol, &self.mesh, change, suspected).and_then(|()| {
                    next_epoch(protocol, self.directory.began(), change, alive, &self.limits)
                })
            }
        };
        let next = match next {
            Ok(Some(next)) => next,
            result => {
                let _ = reply.send(result.map(|_| ()));
                return;
            }
        };
        let token = self.outside.next_token();
        self.outside.changing = Some((token, reply));
        // The clock of whoever opened this epoch may have been ahead of this one.
        let wall = now.wall.max(WallTime(self.group.protocol().floor().0 + 1));
        self.group.seal(now, token, next.seal(wall));
    }

    /// The seat of whoever has a place, among the members of now.
    fn seat_of(&self, place: ReplicaId) -> Option<ReplicaId> {
        self.group.protocol().epoch()?.seat_of(place)
    }

    fn measure(&self, turns: u64, frames_bad: u64) -> CoreMetrics {
        let outbox = &self.outside.outbox;
        let suspected = self.detector.suspected().iter();
        CoreMetrics {
            state_hash: self.group.machine().state_hash(),
            executed: self.group.executed(),
            in_flight: self.outside.waiting.len() + self.door.len(),
            held: self.group.held(),
            commit_us: self.outside.latencies.commit_us.clone(),
            execute_us: self.outside.latencies.execute_us.clone(),
            overloaded: self.outside.overloaded + self.inbox.refused(),
            ordered_by: self
                .group
                .protocol()
                .epoch()
                .map_or("", |epoch| choice_of(epoch).now().name()),
            leader: self.group.protocol().leader().and_then(|place| self.seat_of(place)),
            status: self.group.protocol().status(),
            protocol: self.group.protocol().counters(),
            messages_sent: outbox.messages_sent,
            bytes_sent: outbox.bytes_sent,
            frames_sent: outbox.frames_sent,
            frames_refused: outbox.frames_refused,
            frames_bad,
            snapshots: self.desk.metrics(),
            sessions: self.group.sessions().len(),
            session_bytes: self.group.sessions().bytes(),
            turns,
            suspected: suspected
                .filter_map(|place| self.seat_of(place))
                .map(|seat| seat.0)
                .collect(),
        }
    }
}
