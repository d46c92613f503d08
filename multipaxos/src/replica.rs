//! One Multi-Paxos replica: its state, and where each input goes.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use panchayat_consensus::{
    Account, After, Ballot, Command, Durable, Effects, Input, Now, Protocol, ReplicaId, ReplicaSet,
    Slot, Span, Subject, Time, Token, WallTime,
};
use rustc_hash::FxHasher;

use crate::catch_up::CatchUp;
use crate::collect::Hold;
use crate::config::Config;
use crate::counters::Counters;
use crate::elect::Standing;
use crate::entry::Entry;
use crate::lead::Leadership;
use crate::lease::Grant;
use crate::log::Log;
use crate::message::{Message, Progress};
use crate::origins::Origins;
use crate::pending::Pending;
use crate::read::Reads;
use crate::record::Record;
use crate::takeover::Candidacy;

/// How far beyond the ballot promised here another may be.
pub(crate) const ROUNDS_AHEAD_MAX: u64 = 1 << 24;

/// Effects of a Multi-Paxos replica.
pub(crate) type Fx = Effects<Message, Record>;

/// Something of this replica's own that counts when its record is durable.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Own {
    /// Its promise of a ballot of its own.
    Promise(Ballot),
    /// Its votes for consecutive slots.
    Votes { ballot: Ballot, first: Slot, last: Slot },
    /// That it knows the outcome of every slot up to this one.
    Kept(Slot),
}

/// What this replica tries to be.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role {
    Follower,
    /// It asks whether others would help it to lead, at this ballot; these said yes.
    Asking(Ballot, ReplicaSet),
    Candidate(Box<Candidacy>),
    Leader(Box<Leadership>),
}

/// A Multi-Paxos replica of one group in one epoch.
#[derive(Clone, Debug)]
pub struct MultiPaxos {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) origins: Origins,
    /// The highest ballot promised.
    pub(crate) promised: Ballot,
    /// The record of that promise.
    pub(crate) promise: After,
    /// Everything up to here is chosen and executed.
    pub(crate) chosen: Slot,
    /// The part of it that the journal was told of.
    pub(crate) chosen_recorded: Slot,
    /// The part of it that the journal knows durably.
    pub(crate) kept: Slot,
    /// Bytes in entries that are executed and not collected.
    pub(crate) retained_bytes: usize,
    pub(crate) hold: Option<Hold>,
    /// The last time a command executed was proposed at.
    pub(crate) proposed_at: WallTime,
    pub(crate) role: Role,
    /// The leader last heard, if nothing higher was promised since.
    pub(crate) following: Option<Ballot>,
    /// The highest ballot heard of.
    pub(crate) seen: Ballot,
    /// The leader's word of what is chosen, and at which ballot it gave it.
    pub(crate) word: (Ballot, Slot),
    pub(crate) standing: Standing,
    pub(crate) grant: Option<Grant>,
    pub(crate) progress: Vec<Progress>,
    pub(crate) catch_up: CatchUp,
    pub(crate) pending: Pending,
    pub(crate) reads: Reads,
    pub(crate) durable: Durable,
    /// In the order of their records.
    pub(crate) own: VecDeque<(After, Own)>,
    pub(crate) suspected: ReplicaSet,
    /// Which run of this replica this is; durable with `started`.
    pub(crate) run: u64,
    pub(crate) started: After,
    pub(crate) status_due: Time,
    /// When the next step was to be, at the latest.
    pub(crate) step_due: Time,
    pub(crate) counters: Counters,
    /// How far everything was chosen, and since when there is something open behind that. For
    /// operators: no step depends on it.
    pub(crate) stalled: (Slot, Time),
}

impl MultiPaxos {
    /// This replica's seat.
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// The leader this replica follows, or is; `None` while it knows of none.
    pub fn leader(&self) -> Option<ReplicaId> {
        if self.is_leader() { Some(self.me()) } else { self.following.and_then(Ballot::owner) }
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The highest ballot promised.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// Every slot up to this one is chosen, as this replica knows, and was handed out to execute.
    pub fn chosen_upto(&self) -> Slot {
        self.chosen
    }

    /// Slots up to this one are collected.
    pub fn collected_upto(&self) -> Slot {
        self.log.base()
    }

    /// The highest slot this replica voted for or knows the outcome of.
    pub fn highest(&self) -> Slot {
        self.log.highest().max(self.chosen)
    }

    /// What was chosen in `slot`, as far as this replica knows and has not collected it.
    pub fn chosen_entry(&self, slot: Slot) -> Option<&Entry> {
        let state = self.log.get(slot)?;
        state.entry.as_ref().filter(|_| state.chosen || slot <= self.chosen)
    }

    /// This replica's vote in `slot`: at which ballot and for what. `None` also if something else
    /// is known to be chosen there.
    pub fn vote(&self, slot: Slot) -> Option<(Ballot, &Entry)> {
        self.log.get(slot)?.own_vote()
    }

    /// Proposals of this replica's clients that are not executed.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// What this replica has done since this run began.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn new(config: Config, now: Now) -> Self {
        if let Err(error) = config.check() {
            panic!("the driver checks a configuration before it starts a replica: {error}");
        }
        let n = config.quorums.n();
        Self {
            log: Log::default(),
            origins: Origins::new(n),
            promised: Ballot::INITIAL,
            promise: After::NOTHING,
            chosen: 0,
            chosen_recorded: 0,
            kept: 0,
            retained_bytes: 0,
            hold: None,
            proposed_at: WallTime(0),
            role: Role::Follower,
            following: None,
            seen: Ballot::INITIAL,
            word: (Ballot::INITIAL, 0),
            standing: Standing::new(now),
            grant: None,
            progress: vec![Progress::default(); n],
            catch_up: CatchUp::default(),
            pending: Pending::default(),
            reads: Reads::default(),
            durable: Durable::default(),
            own: VecDeque::new(),
            suspected: ReplicaSet::EMPTY,
            run: 0,
            started: After::NOTHING,
            status_due: now.monotonic,
            step_due: now.monotonic,
            counters: Counters::default(),
            stalled: (0, now.monotonic),
            config,
        }
    }

    pub(crate) fn me(&self) -> ReplicaId {
        self.config.replica
    }

    pub(crate) fn others(&self) -> ReplicaSet {
        ReplicaSet::all(self.config.quorums.n()).without(self.config.replica)
    }

    /// Sends once `after` is durable, and not before it is durable that this run has begun: what
    /// is numbered by the run must never be said by two.
    pub(crate) fn send(&self, to: ReplicaSet, message: Message, after: After, fx: &mut Fx) {
        fx.send(to, message, after.max(self.started));
    }

    pub(crate) fn own_progress(&self) -> Progress {
        Progress { chosen: self.chosen, kept: self.kept, highest: self.highest() }
    }

    /// The highest slot that may be known here. A leader's window, and once more for how far a
    /// member may be behind it.
    pub(crate) fn reach(&self) -> Slot {
        self.chosen + 2 * self.config.limits.window_slots_max
    }

    /// A part of `span` that differs between replicas and moments, and is the same in every run.
    pub(crate) fn jitter(&self, span: Span, now: Now) -> Span {
        let mut hasher = FxHasher::default();
        (self.config.seed, self.run, now.monotonic).hash(&mut hasher);
        Span(((u128::from(hasher.finish()) * u128::from(span.0)) >> 64) as u64)
    }

    /// Promises `ballot` if it is higher than the one promised: from now on only its owner leads.
    pub(crate) fn join(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) -> After {
        if ballot > self.promised {
            self.promised = ballot;
            self.seen = self.seen.max(ballot);
            self.promise = fx.persist(Record::Promised { ballot });
            self.following = None;
            self.step_down(now);
        }
        self.promise
    }

    fn receive(&mut self, from: ReplicaId, message: Message, now: Now, fx: &mut Fx) {
        if !self.is_admissible(from, &message) {
            self.counters.dropped += 1;
            return;
        }
        if let Some(ballot) = message.ballot() {
            self.seen = self.seen.max(ballot);
        }
        match message {
            Message::Forward { number, floor, command } => {
                self.on_forward(from, number, floor, command, now, fx);
            }
            Message::Busy { number } => self.on_busy(number, now),
            Message::PreVote { ballot, chosen } => self.on_pre_vote(from, ballot, chosen, now, fx),
            Message::PreVoteOk { ballot } => self.on_pre_vote_ok(from, ballot, now, fx),
            Message::Prepare { ballot, from: slot, released } => {
                self.on_prepare(from, ballot, slot, released, now, fx);
            }
            promise @ Message::Promise { .. } => self.on_promise(from, promise, now, fx),
            Message::Refused { ballot, promised } => self.on_refused(ballot, promised, now, fx),
            accept @ Message::Accept { .. } => self.on_accept(from, accept, now, fx),
            Message::AcceptOk { ballot, first, last } => {
                self.on_accept_ok(from, ballot, first, last, now, fx);
            }
            Message::Chosen { ballot, upto } => self.on_chosen(from, ballot, upto, now, fx),
            Message::Heartbeat { ballot, sent, progress } => {
                self.on_heartbeat(from, ballot, sent, progress, now, fx);
            }
            Message::HeartbeatOk { ballot, sent, progress } => {
                self.on_heartbeat_ok(from, ballot, sent, progress, now, fx);
            }
            Message::Status(progress) => self.note_progress(from, progress),
            Message::Fetch { from: slot } => self.on_fetch(from, slot, fx),
            Message::Learn { first, entries } => self.on_learn(from, first, entries, now, fx),
            Message::Gone { base } => self.on_gone(from, base),
            Message::Transfer { ballot } => self.on_transfer(ballot, now, fx),
            Message::Resign { ballot } => self.on_resign(ballot, now),
            Message::Read { id, way } => self.on_read(from, id, way, now, fx),
            Message::ReadAt { id, slot } => self.on_read_at(from, id, slot),
        }
    }

    /// Whether a message can be of this epoch and within the limits. Anything else is dropped: its
    /// sender repeats what matters.
    fn is_admissible(&self, from: ReplicaId, message: &Message) -> bool {
        let n = self.config.quorums.n();
        let ballot_fits = message.ballot().is_none_or(|ballot| {
            let near = ballot.round() <= self.seen.round() + ROUNDS_AHEAD_MAX;
            let owner = ballot.owner();
            let spoken_by_owner = !message.is_of_owner() || owner == Some(from);
            near && spoken_by_owner && owner.is_some_and(|owner| owner.index() < n)
        });
        let origins_fit = |entries: &[Entry]| {
            let mut origins = entries.iter().filter_map(Entry::submission);
            origins.all(|submission| submission.origin.index() < n)
        };
        let entries_fit = match message {
            Message::Accept { entries, .. } | Message::Learn { entries, .. } => {
                origins_fit(entries)
            }
            Message::Promise { reports, .. } => {
                reports.iter().all(|report| origins_fit(std::slice::from_ref(&report.entry)))
            }
            _ => true,
        };
        from.index() < n && from != self.me() && ballot_fits && entries_fit
    }

    /// Counts what is durable by now. What needed no new record may be so at once, without any
    /// further word of the journal.
    pub(crate) fn count_own(&mut self, now: Now, fx: &mut Fx) {
        while self.own.front().is_some_and(|(after, _)| after.is_met_by(self.durable)) {
            let Some((_, own)) = self.own.pop_front() else { break };
            match own {
                Own::Promise(ballot) => self.count_own_promise(ballot, now, fx),
                Own::Votes { ballot, first, last } => {
                    if let Role::Leader(leadership) = &mut self.role
                        && leadership.ballot == ballot
                    {
                        leadership.durable = leadership.durable.max(last);
                    }
                    self.note_votes(self.me(), ballot, first, last, now, fx);
                }
                Own::Kept(slot) => self.kept = self.kept.max(slot),
            }
        }
    }

    /// Every now and then: how far everyone is, what nobody answered, what nobody needs.
    fn attend_status(&mut self, now: Now, fx: &mut Fx) {
        if now.monotonic < self.status_due {
            return;
        }
        self.status_due = now.monotonic + self.config.timing.status_interval;
        self.record_chosen(fx);
        self.send(self.others(), Message::Status(self.own_progress()), After::NOTHING, fx);
        self.collect(now);
        self.attend_reads(now, fx);
        self.give_up_pending(now, fx);
    }

    /// Writes down how much is chosen: the votes alone do not say so.
    fn record_chosen(&mut self, fx: &mut Fx) {
        if self.chosen > self.chosen_recorded {
            let after = fx.persist(Record::Chosen { upto: self.chosen });
            self.note_chosen_recorded(self.chosen, after);
        }
    }

    /// A record that says so much of what is chosen was written.
    pub(crate) fn note_chosen_recorded(&mut self, chosen: Slot, after: After) {
        if chosen > self.chosen_recorded {
            self.chosen_recorded = chosen;
            self.own.push_back((after, Own::Kept(chosen)));
        }
    }

    fn attend(&mut self, now: Now, fx: &mut Fx) {
        self.attend_leadership(now, fx);
        self.attend_election(now, fx);
        self.attend_pending(now, fx);
        self.attend_catch_up(now, fx);
        self.attend_status(now, fx);
    }

    pub(crate) fn ask_for_wake(&self, fx: &mut Fx) {
        if let Some(due) = self.due() {
            fx.wake_at(due);
        }
    }

    /// When there is something to do without any input.
    fn due(&self) -> Option<Time> {
        let due = [
            Some(self.status_due),
            Some(self.role_due()),
            self.pending.next_due(self.config.timing.patience),
            self.catch_up_due(),
        ];
        due.into_iter().flatten().min()
    }
}

impl Protocol for MultiPaxos {
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
        replica.ask_for_wake(effects);
        replica
    }

    fn step(&mut self, now: Now, input: Input<Message>, effects: &mut Fx) {
        self.note_absence(now);
        match input {
            Input::Propose { token, command } => self.propose(token, command, now, effects),
            Input::Read { token, assurance, .. } => {
                self.on_read_input(token, assurance, now, effects);
            }
            Input::Receive { from, message } => self.receive(from, message, now, effects),
            Input::Durable(durable) => self.durable = durable,
            Input::PeerUp(peer) => _ = self.suspected.remove(peer),
            Input::PeerSuspected(peer) => _ = self.suspected.insert(peer),
            Input::Wake => {}
        }
        self.attend(now, effects);
        self.count_own(now, effects);
        self.send_accepts(effects);
        self.tell_readers(effects);
        if self.stalled.0 != self.chosen || self.log.last() <= self.chosen {
            self.stalled = (self.chosen, now.monotonic);
        }
        self.ask_for_wake(effects);
        self.step_due = self.due().map_or(now.monotonic, |due| due.max(now.monotonic));
    }

    fn image(&self) -> Vec<Record> {
        self.take_image()
    }

    fn handover(image: Vec<Record>) -> Vec<Record> {
        image.into_iter().filter(|record| matches!(record, Record::Snapshot { .. })).collect()
    }

    fn can_install(&self, handover: &[Record]) -> bool {
        let leads_on = |record: &Record| matches!(record, Record::Snapshot { upto, .. } if *upto > self.chosen);
        self.lacks_slots() && handover.iter().any(leads_on)
    }

    fn install(&mut self, now: Now, handover: Vec<Record>, effects: &mut Fx) {
        self.adopt(handover, now, effects);
        self.ask_for_wake(effects);
    }

    fn needs_state(&self) -> ReplicaSet {
        self.states_ahead()
    }

    fn wants_state(&self) -> bool {
        self.lacks_slots()
    }

    fn hold(&mut self, now: Now) {
        self.hold_slots(now);
    }

    fn hand_over(&mut self, to: ReplicaId, now: Now, effects: &mut Fx) -> bool {
        self.transfer(to, now, effects)
    }

    fn leader(&self) -> Option<ReplicaId> {
        MultiPaxos::leader(self)
    }

    fn account(&self, subject: Subject, now: Now) -> Account {
        self.give_account(subject, now)
    }

    fn status(&self) -> Option<String> {
        let undecided = self.log.highest() - self.chosen;
        let in_flight = self.pending.len();
        Some(match (&self.role, self.leader()) {
            (Role::Leader(leadership), _) => format!(
                "leads at {:?}; {undecided} slots undecided, {in_flight} own commands in flight",
                leadership.ballot
            ),
            (_, Some(leader)) => format!("follows {leader}; {in_flight} own commands in flight"),
            (_, None) => format!("knows no leader; {in_flight} own commands wait for one"),
        })
    }

    fn persist_executed(&mut self, effects: &mut Fx) {
        self.record_chosen(effects);
    }

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        self.pending.take_all()
    }

    fn proposed_after(&self) -> WallTime {
        self.proposed_at
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        MultiPaxos::counters(self).named().collect()
    }

    fn check_invariants(&self) {
        assert!(self.log.base() <= self.chosen, "a slot is collected before it is executed");
        assert!(self.kept <= self.chosen_recorded, "more is kept than was recorded");
        for (slot, state) in self.log.above(self.log.base()) {
            assert!(state.accepted <= self.promised, "slot {slot}: a vote above the promise");
            assert!(
                slot > self.chosen || (state.entry.is_some() && state.chosen),
                "slot {slot} was executed without a value"
            );
            assert!(
                state.entry.is_some() || (state.accepted.is_initial() && !state.chosen),
                "slot {slot}: a vote for nothing known"
            );
        }
        if let Role::Leader(leadership) = &self.role {
            let Leadership { ballot, proposed, durable, sent, .. } = **leadership;
            assert_eq!(ballot, self.promised, "a leader at a ballot left behind");
            assert!(sent <= durable && durable <= proposed, "{sent} ≤ {durable} ≤ {proposed}");
            assert!(self.chosen <= proposed, "chosen beyond what its leader proposed");
        }
        if let Role::Candidate(candidacy) = &self.role {
            assert_eq!(candidacy.ballot, self.promised, "a candidate at a ballot left behind");
        }
        assert!(self.following.is_none_or(|ballot| ballot == self.promised));
    }
}

/// Covers what a model checker must tell apart: everything that can change a later step, apart
/// from counters.
impl Hash for MultiPaxos {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.config.replica.hash(state);
        self.log.hash(state);
        self.origins.hash(state);
        (self.promised, self.promise, self.chosen, self.chosen_recorded, self.kept).hash(state);
        (self.proposed_at, self.hold, self.following, self.seen, self.word, self.grant).hash(state);
        self.role.hash(state);
        self.standing.hash(state);
        self.progress.hash(state);
        self.catch_up.hash(state);
        self.pending.hash(state);
        self.reads.hash(state);
        (self.durable, &self.own, self.suspected, self.run).hash(state);
        (self.started, self.status_due, self.step_due).hash(state);
    }
}
