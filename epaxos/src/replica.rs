//! One EPaxos* replica: its state, and where each input goes.
//!
//! The rules are spread over one file per phase: [`preaccept`](crate::preaccept),
//! [`accept`](crate::accept), [`commit`](crate::commit), [`recover`](crate::recover),
//! [`validate`](crate::validate), [`waiting`](crate::waiting). [`attend`](crate::attend) decides
//! when an instance needs help, [`restore`](crate::restore) brings a replica back from its journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use panchayat_consensus::{
    Account, After, Assurance, Ballot, Command, Durable, Effects, Input, InstanceId, Now, Protocol,
    ReadRefusal, ReplicaId, ReplicaSet, Slot, Span, Subject, Time, Token, WallTime,
};

use crate::attempt::Stage;
use crate::collect::Collector;
use crate::config::Config;
use crate::conflicts::Conflicts;
use crate::counters::Counters;
use crate::deps::Deps;
use crate::graph::{ComponentSizes, Graph};
use crate::instance::{Instance, Phase};
use crate::lanes::Lanes;
use crate::message::{Invalidator, Message, Proposal};
use crate::mutation::Mutation;
use crate::pledge::Pledges;
use crate::read::Reads;
use crate::record::Record;
use crate::watch::Watch;

/// How far beyond the ballot joined here another may be.
const ROUNDS_AHEAD_MAX: u64 = 1 << 24;

/// Effects of an EPaxos replica.
pub(crate) type Fx = Effects<Message, Record>;

/// A vote of this replica for its own attempt. It counts when its record is durable.
#[derive(Clone, Debug, Hash)]
pub(crate) enum OwnVote {
    PreAccept,
    Accept(Ballot),
    Recover(Ballot),
    Validate(Ballot),
}

/// An EPaxos* replica of one group in one epoch.
#[derive(Clone, Debug)]
pub struct EPaxos {
    pub(crate) config: Config,
    pub(crate) lanes: Lanes,
    pub(crate) conflicts: Conflicts,
    pub(crate) graph: Graph,
    pub(crate) watch: Watch,
    /// The highest slots that any vector has named, however far beyond the window.
    pub(crate) mentioned: Deps,
    pub(crate) collector: Collector,
    pub(crate) counters: Counters,
    pub(crate) durable: Durable,
    /// Own votes in the order of their records.
    pub(crate) own_votes: VecDeque<(After, InstanceId, OwnVote)>,
    pub(crate) suspected: ReplicaSet,
    /// Own instances with a waiting proposal.
    pub(crate) in_flight: usize,
    /// Instances this replica is recovering.
    pub(crate) recovering: BTreeSet<InstanceId>,
    /// Waiting(id, |R|) as heard, own ones included, for ids not committed yet.
    pub(crate) waits_heard: BTreeMap<InstanceId, u8>,
    /// The highest ballots that others refused this replica with.
    pub(crate) refused_with: BTreeMap<InstanceId, Ballot>,
    /// The last own slot proposed in an earlier run, or before a state was taken over.
    pub(crate) proposed_before: Slot,
    pub(crate) last_proposed_at: WallTime,
    pub(crate) status_due: Time,
    /// How long instances have taken from being known to being decided, as a running average.
    pub(crate) commit_age: Span,
    /// Since when, and how many instances were asked for.
    pub(crate) fetched: (Time, usize),
    pub(crate) reads: Reads,
}

impl EPaxos {
    /// This replica's seat.
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// What this replica knows of `id`; `None` if nothing at or above its slot is known, or if it
    /// is collected.
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.lanes.get(id)
    }

    /// Whether `id` is executed by everyone who counts, and gone here.
    pub fn is_collected(&self, id: InstanceId) -> bool {
        self.lanes.is_collected(id)
    }

    /// The lanes: one per replica.
    pub fn lane_ids(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.config.quorums.n() as u8).map(ReplicaId)
    }

    /// The slot up to which a lane is collected here.
    pub fn collected_upto(&self, lane: ReplicaId) -> Slot {
        self.lanes.collected(lane)
    }

    /// The slot up to which a lane is to be collected here: what goes bit by bit.
    pub fn collectable_upto(&self, lane: ReplicaId) -> Slot {
        self.collector.collectable.last(lane)
    }

    /// The members this replica counts as absent: it collects without them.
    pub fn absent(&self) -> ReplicaSet {
        self.collector.absent
    }

    /// How many instances are kept.
    pub fn retained(&self) -> usize {
        self.lanes.retained()
    }

    /// How many keys the conflict index remembers.
    pub fn keys_known(&self) -> usize {
        self.conflicts.keys()
    }

    /// Every instance known to exist and not collected, lane by lane.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.lanes.iter()
    }

    /// What this replica has done since this run began.
    pub fn counters(&self) -> Counters {
        let ComponentSizes { count, members, max } = self.graph.component_sizes();
        let mut counters = self.counters;
        counters.components = count;
        counters.component_members = members;
        counters.component_max = max;
        counters.graph_steps = self.graph.steps();
        counters
    }

    /// Whether `id` is executed here.
    pub fn is_executed(&self, id: InstanceId) -> bool {
        self.graph.is_executed(id)
    }

    /// The slot up to which everything in a lane is executed here.
    pub fn executed_upto(&self, lane: ReplicaId) -> Slot {
        self.graph.executed_upto(lane)
    }

    /// The instance that `id` waits for, if it is committed and not executed.
    pub fn waits_for(&self, id: InstanceId) -> Option<InstanceId> {
        self.graph.waits_for(id)
    }

    /// What is known to speak against a fast commit of `id`, while this replica validates it or
    /// waits at the end of that: at first what it knows itself.
    pub fn invalidators_of(&self, id: InstanceId) -> Option<impl Iterator<Item = Invalidator>> {
        let attempt = self.lanes.get(id)?.attempt.as_deref()?;
        let (Stage::Validating(validation) | Stage::Waiting(validation)) = &attempt.stage else {
            return None;
        };
        let named = validation.invalidators.iter();
        Some(named.map(|(id, committed)| Invalidator { id: *id, committed: *committed }))
    }

    /// Instances this replica is recovering now.
    pub fn recovering(&self) -> usize {
        self.recovering.len()
    }

    /// Own proposals that are not executed yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Recovers `id` now, whoever's it is and however young. For operators who know more than the
    /// failure detector, and for model checkers, which have no time. Does nothing if `id` is not
    /// known to exist or is committed.
    pub fn recover(&mut self, id: InstanceId, now: Now, effects: &mut Effects<Message, Record>) {
        if self.lanes.get(id).is_some_and(|instance| !instance.is_committed()) {
            self.start_recovery(id, now, effects);
            self.count_own_votes(now, effects);
        }
    }

    pub(crate) fn new(config: Config, now: Now) -> Self {
        let timing = config.timing;
        let spans =
            [timing.patience, timing.recovery_delay, timing.stagger, timing.status_interval];
        assert!(spans.iter().all(|span| span.0 > 0), "a timeout of zero: {timing:?}");
        let n = config.quorums.n();
        Self {
            lanes: Lanes::new(n),
            conflicts: Conflicts::new(n),
            graph: Graph::new(n),
            watch: Watch::default(),
            mentioned: Deps::none(n),
            collector: Collector::new(n),
            counters: Counters::default(),
            durable: Durable::default(),
            own_votes: VecDeque::new(),
            suspected: ReplicaSet::EMPTY,
            in_flight: 0,
            recovering: BTreeSet::new(),
            waits_heard: BTreeMap::new(),
            refused_with: BTreeMap::new(),
            proposed_before: 0,
            last_proposed_at: WallTime(0),
            status_due: now.monotonic,
            commit_age: Span(0),
            fetched: (now.monotonic, 0),
            reads: Reads::default(),
            config,
        }
    }

    pub(crate) fn me(&self) -> ReplicaId {
        self.config.replica
    }

    pub(crate) fn others(&self) -> ReplicaSet {
        ReplicaSet::all(self.config.quorums.n()).without(self.config.replica)
    }

    /// The instance, made known to exist together with every slot below it.
    pub(crate) fn ensure(&mut self, id: InstanceId, now: Now) -> &mut Instance {
        self.note_exists(id.replica, id.slot, now);
        self.lanes.get_mut(id).expect("it was just made to exist")
    }

    /// Makes every slot of a lane up to `slot` known to exist, and looks after the new ones.
    pub(crate) fn note_exists(&mut self, replica: ReplicaId, slot: Slot, now: Now) {
        if self.lanes.highest(replica) >= slot {
            return;
        }
        let due = now.monotonic + self.patience();
        while self.lanes.highest(replica) < slot {
            let id = self.lanes.push_unknown(replica);
            let due = self.watch.fresh(due, id);
            if let Some(instance) = self.lanes.get_mut(id) {
                instance.learned_at = now.monotonic;
                instance.look_due = due;
            }
        }
    }

    /// Makes everything in a vector known to exist, as far as the window reaches.
    ///
    /// A replica that is far behind must take a decision whose vector reaches beyond its window:
    /// what it has to execute next may wait for the payload that comes with it. And it must hear
    /// of the next slots to ask for, however many more there are. What really blocks execution is
    /// never beyond the window, since the coordinator of a slot had executed its own lane up to a
    /// window below it.
    pub(crate) fn note_all_exist(&mut self, vector: &Deps, now: Now) {
        self.mentioned.union(vector);
        for (replica, slot) in vector.lanes() {
            self.note_exists(replica, slot.min(self.reach(replica)), now);
        }
    }

    /// Makes known to exist what was mentioned when the window did not reach so far yet.
    fn note_mentioned(&mut self, now: Now) {
        for replica in self.lane_ids() {
            let slot = self.mentioned.last(replica);
            self.note_exists(replica, slot.min(self.reach(replica)), now);
        }
    }

    /// The payload of `id` is known from now on. A repetition does nothing.
    pub(crate) fn learn_payload(&mut self, id: InstanceId, command: &Arc<Command>, fx: &mut Fx) {
        let Some(instance) = self.lanes.get_mut(id) else { return };
        if instance.payload.is_some() {
            return;
        }
        instance.payload = Some(command.clone());
        self.collector.retained_bytes += command.payload.len();
        self.conflicts.note(id, &command.footprint);
        self.conflicts.forget_orphan(id);
        self.graph.known(id, command);
        self.execute(fx);
    }

    /// Takes a payload that came without a promise to keep it. It is kept all the same: what could
    /// execute for knowing it must be able to again after a restart.
    pub(crate) fn learn_alone(&mut self, id: InstanceId, command: &Arc<Command>, fx: &mut Fx) {
        self.learn_payload(id, command, fx);
        if let Some(instance) = self.lanes.get_mut(id)
            && !std::mem::replace(&mut instance.payload_recorded, true)
        {
            fx.persist(Record::Learned { id, command: command.clone() });
        }
    }

    /// How a journal record names the payload of `id`: in full the first time, then by reference.
    pub(crate) fn record_payload(&mut self, id: InstanceId) -> Proposal {
        let instance = self.lanes.get_mut(id).expect("only known instances are recorded");
        if instance.nop {
            return Proposal::Nop;
        }
        let payload = instance.payload.clone().expect("a value that is not Nop is known");
        if std::mem::replace(&mut instance.payload_recorded, true) {
            Proposal::Original
        } else {
            Proposal::Full(payload)
        }
    }

    fn receive(&mut self, from: ReplicaId, message: Message, now: Now, fx: &mut Fx) {
        if !self.is_admissible(from, &message) {
            self.counters.dropped += 1;
            return;
        }
        if let Some(id) = message.instance().filter(|id| self.lanes.is_collected(*id)) {
            self.answer_collected(from, id, &message, fx);
            return;
        }
        let harmless = matches!(
            message,
            Message::Status(_)
                | Message::Fetch { .. }
                | Message::Commit { .. }
                | Message::Payload { .. }
        );
        if !harmless && self.is_fenced(from) {
            self.counters.fenced += 1;
            self.tell_absent(from, &message, fx);
            return;
        }
        if message.needs_a_vote() && !self.members_ahead().is_empty() {
            self.counters.dropped += 1;
            return;
        }
        match message {
            Message::PreAccept { id, command, deps } => {
                self.on_pre_accept(from, id, command, deps, now, fx);
            }
            Message::PreAcceptOk { id, deps, absent } => {
                self.on_pre_accept_ok(from, id, &deps, absent, now, fx)
            }
            Message::Accept { ballot, id, value, deps } => {
                self.on_accept(from, ballot, id, value, deps, now, fx);
            }
            Message::AcceptOk { ballot, id } => self.on_accept_ok(from, ballot, id, now, fx),
            Message::Commit { ballot, id, value, deps } => {
                self.on_commit(from, ballot, id, value, deps, now, fx);
            }
            Message::Recover { ballot, id } => self.on_recover(from, ballot, id, now, fx),
            Message::RecoverOk { ballot, id, report } => {
                self.on_recover_ok(from, ballot, id, report, now, fx);
            }
            Message::Validate { ballot, id, command, deps } => {
                self.on_validate(from, ballot, id, command, deps, now, fx);
            }
            Message::ValidateOk { ballot, id, invalidators } => {
                self.on_validate_ok(from, ballot, id, &invalidators, now, fx);
            }
            Message::Waiting { id, endorsers } => self.on_waiting(id, endorsers, now, fx),
            Message::Fetch { id, payload } => self.on_fetch(from, id, payload, fx),
            Message::Payload { id, command } => {
                self.ensure(id, now);
                self.learn_alone(id, &command, fx);
            }
            Message::Refused { ballot, id } => self.on_refused(ballot, id, now),
            Message::Gone { id } => self.on_gone(id, now, fx),
            Message::Status(status) => self.on_status(from, *status, now, fx),
            Message::Read { number, key } => self.on_read(from, number, key, fx),
            Message::ReadOk { number, named } => self.on_read_ok(from, number, &named, now, fx),
        }
    }

    /// What an absent member says does not count, but it may learn what is decided.
    fn tell_absent(&mut self, from: ReplicaId, message: &Message, fx: &mut Fx) {
        let decided = |id: &InstanceId| self.lanes.get(*id).is_some_and(Instance::is_committed);
        if let Some(id) = message.instance().filter(decided)
            && !matches!(message, Message::Commit { .. } | Message::Payload { .. })
        {
            self.send_commit(id, ReplicaSet::only(from), true, fx);
        }
    }

    /// A message about an instance that is gone: never answered as if nothing were known of it.
    fn answer_collected(
        &mut self,
        from: ReplicaId,
        id: InstanceId,
        message: &Message,
        fx: &mut Fx,
    ) {
        if self.mutated(Mutation::CollectedAsInitial) {
            self.answer_as_initial(from, message, fx);
            return;
        }
        let asks = matches!(
            message,
            Message::PreAccept { .. }
                | Message::Accept { .. }
                | Message::Recover { .. }
                | Message::Validate { .. }
                | Message::Fetch { .. }
        );
        if asks {
            self.counters.gone += 1;
            fx.send(ReplicaSet::only(from), Message::Gone { id }, After::NOTHING);
        }
    }

    /// Others have executed and forgotten `id`: there is nothing to recover. A state will come.
    fn on_gone(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        if self.mutated(Mutation::ExecuteBelowWatermark) {
            self.take_for_executed(id, now, fx);
        } else if self.recovering.contains(&id) {
            self.end_attempt(id);
            self.leave_to_other(id, now);
        }
    }

    /// The highest slot of a lane that may be known here.
    fn reach(&self, replica: ReplicaId) -> Slot {
        self.graph.executed_upto(replica).saturating_add(self.config.limits.lane_window_max)
    }

    /// Whether a message can be of this epoch and within the limits. Anything else is dropped: its
    /// sender repeats what matters.
    fn is_admissible(&self, from: ReplicaId, message: &Message) -> bool {
        let n = self.config.quorums.n();
        let fits = |id: InstanceId| id.replica.index() < n && id.slot <= self.reach(id.replica);
        let id_fits = message.instance().is_none_or(|id| {
            fits(id) && message.ballot().is_none_or(|ballot| self.is_near(id, ballot))
        });
        let vectors_fit = message.vectors().all(|v| v.width() == n);
        let others_fit = match message {
            Message::ValidateOk { invalidators, .. } => invalidators.iter().all(|i| fits(i.id)),
            _ => true,
        };
        from.index() < n && from != self.me() && id_fits && vectors_fit && others_fit
    }

    /// Whether a ballot is one that replicas outbidding each other can have come to. One from far
    /// ahead would use up the rounds there are.
    fn is_near(&self, id: InstanceId, ballot: Ballot) -> bool {
        let joined = self.lanes.get(id).map_or(0, |instance| instance.ballot.round());
        ballot.round() <= joined + ROUNDS_AHEAD_MAX
    }

    /// Counts the own votes whose records are durable by now. A vote that needed no new record may
    /// be so at once, without any further word of the journal.
    fn count_own_votes(&mut self, now: Now, fx: &mut Fx) {
        while self.own_votes.front().is_some_and(|(after, ..)| after.is_met_by(self.durable)) {
            let Some((_, id, vote)) = self.own_votes.pop_front() else { break };
            match vote {
                OwnVote::PreAccept => self.count_own_pre_accept(id, now, fx),
                OwnVote::Accept(ballot) => self.on_accept_ok(self.me(), ballot, id, now, fx),
                OwnVote::Recover(ballot) => self.count_own_report(ballot, id, now, fx),
                OwnVote::Validate(ballot) => {
                    self.on_validate_ok(self.me(), ballot, id, &[], now, fx);
                }
            }
        }
    }

    /// Sends what this replica has seen to everyone, now and then.
    fn tell_status(&mut self, now: Now, fx: &mut Fx) {
        if now.monotonic >= self.status_due {
            self.status_due = now.monotonic + self.config.timing.status_interval;
            self.note_mentioned(now);
            let status = Box::new(self.status(now, fx));
            let after = fx.after_last();
            fx.send(self.others(), Message::Status(status), after);
        }
    }

    fn ask_for_wake(&self, now: Now, fx: &mut Fx) {
        if !self.members_ahead().is_empty() {
            fx.wake_at(self.status_due.min(now.monotonic + self.config.timing.stagger));
            return;
        }
        let grain = (self.config.timing.patience.0 / 8).max(1);
        let watched = self.watch.next_due(grain);
        let due = [watched, self.reads.next_due()].into_iter().flatten().min();
        fx.wake_at(due.map_or(self.status_due, |due| due.min(self.status_due)));
    }
}

impl Protocol for EPaxos {
    type Config = Config;
    type Message = Message;
    type Record = Record;

    fn restore(
        config: Config,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        effects: &mut Fx,
    ) -> Self {
        let mut replica = Self::new(config, now);
        replica.replay(records, now, effects);
        replica.ask_for_wake(now, effects);
        replica
    }

    fn step(&mut self, now: Now, input: Input<Message>, effects: &mut Fx) {
        match input {
            Input::Propose { token, command } => self.propose(token, command, now, effects),
            Input::Read { token, assurance: Assurance::Quorum, footprint } => {
                self.read(token, footprint, now, effects);
            }
            Input::Read { token, assurance: Assurance::Lease, .. } => {
                effects.refuse_read(token, ReadRefusal::NoLease);
            }
            Input::Receive { from, message } => self.receive(from, message, now, effects),
            Input::Durable(durable) => self.durable = durable,
            Input::PeerUp(peer) => _ = self.suspected.remove(peer),
            Input::PeerSuspected(peer) => _ = self.suspected.insert(peer),
            Input::Wake => {}
        }
        self.attend_due(now, effects);
        self.attend_reads(now, effects);
        self.count_own_votes(now, effects);
        self.serve_reads(now, effects);
        self.tell_status(now, effects);
        self.collect();
        self.ask_for_wake(now, effects);
    }

    fn image(&self) -> Vec<Record> {
        self.all_records()
    }

    fn handover(image: Vec<Record>) -> Vec<Record> {
        Self::decided(image)
    }

    fn can_install(&self, handover: &[Record]) -> bool {
        self.is_recent(handover)
    }

    fn install(&mut self, now: Now, handover: Vec<Record>, effects: &mut Fx) {
        self.take_over(handover, now, effects);
        self.ask_for_wake(now, effects);
    }

    fn needs_state(&self) -> ReplicaSet {
        self.members_ahead()
    }

    fn hold(&mut self, now: Now) {
        self.hold_watermark(now);
    }

    /// Nothing executes before its commit is written.
    fn persist_executed(&mut self, _: &mut Fx) {}

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        self.withdraw_own()
    }

    fn proposed_after(&self) -> WallTime {
        let after = self.collector.pledges.iter().map(Pledges::after);
        after.min().unwrap_or_default()
    }

    fn account(&self, subject: Subject, now: Now) -> Account {
        self.give_account(subject, now)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        EPaxos::counters(self).named().collect()
    }

    fn check_invariants(&self) {
        for (id, instance) in self.instances() {
            instance.check(id);
        }
        for id in &self.recovering {
            let attempt = self.lanes.get(*id).and_then(|instance| instance.attempt.as_ref());
            let attempt = attempt.unwrap_or_else(|| panic!("{id}: recovery without an attempt"));
            assert!(!attempt.ballot.is_initial(), "{id}: recovery at ballot zero");
        }
        for id in self.waits_heard.keys() {
            let committed = self.lanes.get(*id).is_some_and(Instance::is_committed);
            assert!(!committed, "{id}: a wait is remembered beyond its commit");
        }
    }
}

impl Instance {
    /// What must hold of every instance at every step.
    fn check(&self, id: InstanceId) {
        assert!(self.accepted_ballot <= self.ballot, "{id}: abal > bal");
        assert!(
            self.phase == Phase::Initial || self.nop || self.payload.is_some(),
            "{id}: {:?} on an unknown payload",
            self.phase
        );
        assert!(!self.nop || self.phase >= Phase::Accepted, "{id}: Nop before it was accepted");
        if let (Some(init), Phase::PreAccepted) = (&self.init_deps, self.phase) {
            assert!(self.deps.covers(init), "{id}: dep does not cover initDep");
        }
        if let Some(attempt) = &self.attempt {
            assert!(!self.is_committed(), "{id}: an attempt outlives the commit");
            assert_eq!(attempt.ballot, self.ballot, "{id}: an attempt at a ballot left behind");
        }
    }
}

/// Covers what a model checker must tell apart: everything that can change a later step, apart
/// from counters and from what is derived from the instances.
impl Hash for EPaxos {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.config.replica.hash(state);
        for (id, instance) in self.instances() {
            id.hash(state);
            instance.hash(state);
        }
        self.durable.hash(state);
        self.own_votes.hash(state);
        self.suspected.hash(state);
        self.waits_heard.hash(state);
        self.refused_with.hash(state);
        self.last_proposed_at.hash(state);
        self.status_due.hash(state);
        self.reads.hash(state);
    }
}

impl Hash for Instance {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.ballot, self.accepted_ballot, self.phase, self.nop).hash(state);
        self.payload.hash(state);
        self.payload_recorded.hash(state);
        self.deps.hash(state);
        self.init_deps.hash(state);
        self.token.hash(state);
        self.attempt.hash(state);
    }
}
