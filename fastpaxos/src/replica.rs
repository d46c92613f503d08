//! One Fast Paxos replica: its state, and where each input goes.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use panchayat_consensus::{
    After, Ballot, Durable, Effects, Now, ReplicaId, ReplicaSet, Slot, Span, Time, WallTime,
};
use rustc_hash::FxHasher;

use crate::applied::Applied;
use crate::arrival::Delays;
use crate::catch_up::CatchUp;
use crate::collect::Hold;
use crate::config::Config;
use crate::coordinate::Coordinator;
use crate::counters::Counters;
use crate::elect::Standing;
use crate::entry::{Entry, Key};
use crate::known::{Held, Known};
use crate::log::Log;
use crate::message::{Message, Progress};
use crate::mode::{Mode, ModeControl};
use crate::pending::Pending;
use crate::record::Record;
use crate::round::Round;
use crate::settle::Closing;
use crate::survey::Survey;

/// How far beyond the ballot promised here another may be.
pub(crate) const ROUNDS_AHEAD_MAX: u64 = 1 << 24;

/// Effects of a Fast Paxos replica.
pub(crate) type Fx = Effects<Message, Record>;

/// Something of this replica's own that counts when its record is durable.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Own {
    /// Its promise of a ballot of its own.
    Promise(Ballot),
    /// That it votes no more in the fast round of its own ballot up to a slot.
    Closed(Ballot, Slot),
    /// Its votes for consecutive slots.
    Votes { round: Round, first: Slot, entries: Vec<Entry> },
    /// That it knows the outcome of every slot up to this one.
    Kept(Slot),
}

/// What this replica tries to be.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role {
    Follower,
    /// It asks whether others would help it to coordinate, at this ballot; these said yes.
    Asking(Ballot, ReplicaSet),
    Candidate(Box<Survey>),
    Coordinator(Box<Coordinator>),
}

/// What an acceptor may do in the fast round of the ballot it promised.
#[derive(Clone, Debug, Hash)]
pub(crate) struct FastRound {
    /// Any value will do from this slot on; 0 if in none.
    pub(crate) from: Slot,
    /// No votes up to this slot: promised.
    pub(crate) closed: Slot,
    /// The record of that promise.
    pub(crate) closed_after: After,
    /// What is to be closed when its turn comes.
    pub(crate) closing: Option<Closing>,
    /// Where to look for the next free slot.
    pub(crate) cursor: Slot,
    /// What the coordinator says it does, and why.
    pub(crate) mode: Mode,
}

/// A Fast Paxos replica of one group in one epoch.
#[derive(Clone, Debug)]
pub struct FastPaxos {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) applied: Vec<Applied>,
    /// The highest ballot promised.
    pub(crate) promised: Ballot,
    /// The record of that promise.
    pub(crate) promise: After,
    pub(crate) fast: FastRound,
    /// Votes cast in this step.
    pub(crate) cast: Vec<(Slot, Round, Entry)>,
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
    /// Commands decided on and not executed, and where.
    pub(crate) taken: BTreeMap<Key, Slot>,
    /// Those of them that are not known here.
    pub(crate) missing: BTreeMap<Key, Slot>,
    pub(crate) role: Role,
    /// The coordinator last heard, if nothing higher was promised since.
    pub(crate) following: Option<Ballot>,
    /// The highest ballot heard of.
    pub(crate) seen: Ballot,
    pub(crate) standing: Standing,
    pub(crate) mode: ModeControl,
    pub(crate) progress: Vec<Progress>,
    pub(crate) delays: Delays,
    pub(crate) catch_up: CatchUp,
    pub(crate) pending: Pending,
    pub(crate) known: Known,
    pub(crate) durable: Durable,
    /// In the order of their records.
    pub(crate) own: VecDeque<(After, Own)>,
    pub(crate) suspected: ReplicaSet,
    /// Which run of this replica this is; durable with `started`.
    pub(crate) run: u64,
    pub(crate) started: After,
    pub(crate) status_due: Time,
    pub(crate) counters: Counters,
    /// How far everything was chosen, and since when there is something open behind that. For
    /// operators: no step depends on it.
    pub(crate) stalled: (Slot, Time),
}

impl FastPaxos {
    /// This replica's seat.
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// The coordinator this replica follows, or is; `None` while it knows of none.
    pub fn coordinator(&self) -> Option<ReplicaId> {
        if self.is_coordinator() { Some(self.me()) } else { self.following.and_then(Ballot::owner) }
    }

    /// Whether this replica coordinates.
    pub fn is_coordinator(&self) -> bool {
        matches!(self.role, Role::Coordinator(_))
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

    /// What was chosen in `slot`, as far as this replica knows and has not collected it.
    pub fn chosen_entry(&self, slot: Slot) -> Option<&Entry> {
        self.log.chosen(slot)
    }

    /// This replica's vote in `slot`: in which round and for what.
    pub fn vote(&self, slot: Slot) -> Option<(Round, &Entry)> {
        let (round, entry) = self.log.get(slot)?.vote.as_ref()?;
        Some((*round, entry))
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
            applied: vec![Applied::default(); n],
            promised: Ballot::INITIAL,
            promise: After::NOTHING,
            fast: FastRound {
                from: 0,
                closed: 0,
                closed_after: After::NOTHING,
                closing: None,
                cursor: 0,
                mode: Mode::Unknown,
            },
            cast: Vec::new(),
            chosen: 0,
            chosen_recorded: 0,
            kept: 0,
            retained_bytes: 0,
            hold: None,
            proposed_at: WallTime(0),
            taken: BTreeMap::new(),
            missing: BTreeMap::new(),
            role: Role::Follower,
            following: None,
            seen: Ballot::INITIAL,
            standing: Standing::new(now),
            mode: ModeControl::new(now),
            progress: vec![Progress::default(); n],
            delays: Delays::new(n),
            catch_up: CatchUp::default(),
            pending: Pending::default(),
            known: Known::default(),
            durable: Durable::default(),
            own: VecDeque::new(),
            suspected: ReplicaSet::EMPTY,
            run: 0,
            started: After::NOTHING,
            status_due: now.monotonic,
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

    /// The highest slot voted in or chosen here.
    pub fn highest(&self) -> Slot {
        let states = self.log.above(self.chosen);
        let voted = states.filter(|(_, s)| s.vote.is_some() || s.decided.is_some());
        voted.map(|(slot, _)| slot).last().unwrap_or(self.chosen)
    }

    pub(crate) fn own_progress(&self) -> Progress {
        Progress { chosen: self.chosen, kept: self.kept, highest: self.highest() }
    }

    /// The highest slot that may be known here: a window, and once more for how far a member may be
    /// behind it.
    pub(crate) fn reach(&self) -> Slot {
        self.chosen + 2 * self.config.limits.window_slots_max
    }

    pub(crate) fn is_applied(&self, (origin, number): Key) -> bool {
        self.applied.get(origin.index()).is_none_or(|applied| applied.contains(number))
    }

    /// A part of `span` that differs between replicas and moments, and is the same in every run.
    pub(crate) fn jitter(&self, span: Span, now: Now) -> Span {
        let mut hasher = FxHasher::default();
        (self.config.seed, self.run, now.monotonic).hash(&mut hasher);
        Span(((u128::from(hasher.finish()) * u128::from(span.0)) >> 64) as u64)
    }

    /// Promises `ballot` if it is higher than the one promised: from now on only its owner
    /// coordinates, and only its rounds count.
    pub(crate) fn join(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) -> After {
        if ballot > self.promised {
            // Votes of this step were cast before.
            self.flush_votes(fx);
            self.promised = ballot;
            self.seen = self.seen.max(ballot);
            self.promise = fx.persist(Record::Promised { ballot });
            self.following = None;
            self.fast.from = 0;
            self.fast.closed = 0;
            self.fast.cursor = 0;
            self.fast.closing = None;
            self.fast.mode = Mode::Unknown;
            self.step_down(now);
        }
        self.promise
    }

    pub(crate) fn receive(&mut self, from: ReplicaId, message: Message, now: Now, fx: &mut Fx) {
        if !self.is_admissible(from, &message) {
            self.counters.dropped += 1;
            return;
        }
        if let Some(ballot) = message.ballot() {
            self.seen = self.seen.max(ballot);
        }
        match message {
            Message::Propose { sent, due, number, floor, command } => {
                self.note_delay(from, sent, now);
                self.take_command(from, number, floor, command, due, now, fx);
            }
            Message::PreVote { ballot, chosen } => self.on_pre_vote(from, ballot, chosen, now, fx),
            Message::PreVoteOk { ballot } => self.on_pre_vote_ok(from, ballot, now, fx),
            Message::Prepare { ballot, from: slot } => self.on_prepare(from, ballot, slot, now, fx),
            Message::Close { ballot, from: first, upto, due } => {
                self.on_close(
                    from,
                    Closing { ballot, first, upto, due, until: now.monotonic },
                    now,
                    fx,
                );
            }
            reported @ Message::Reported { .. } => self.on_reported(from, reported, now, fx),
            Message::Refused { ballot, promised } => self.on_refused(ballot, promised, now, fx),
            Message::Accept { ballot, first, entries } => {
                self.on_accept(from, ballot, first, entries, now, fx);
            }
            Message::Votes { round, first, names } => {
                self.note_heard(from, round.ballot, now);
                self.note_votes(from, round, first, names, now, fx);
            }
            Message::Heartbeat { ballot, mode, fast_from, closed, progress } => {
                if self.hear_coordinator(from, ballot, now, fx) {
                    self.on_heartbeat(from, ballot, mode, fast_from, closed, progress, now, fx);
                }
            }
            Message::HeartbeatOk { ballot, progress } => {
                self.note_progress(from, progress);
                self.note_heard(from, ballot, now);
            }
            Message::Status { progress, sent, delays } => {
                self.note_delay(from, sent, now);
                self.note_outbound(from, &delays);
                self.note_progress(from, progress);
            }
            Message::Fetch { from: slot } => self.on_fetch(from, slot, fx),
            Message::Learn { first, entries } => self.on_learn(from, first, entries, now, fx),
            Message::Gone { base } => self.on_gone(from, base, now, fx),
            Message::Resign { ballot } => self.on_resign(ballot, now),
        }
    }

    /// Whether a message can be of this epoch and within the limits. Anything else is dropped: its
    /// sender repeats what matters.
    fn is_admissible(&self, from: ReplicaId, message: &Message) -> bool {
        let n = self.config.quorums.n();
        let ballot_fits = message.ballot().is_none_or(|ballot| {
            let owner = ballot.owner();
            let spoken_by_owner = !message.is_of_owner() || owner == Some(from);
            self.is_near(ballot) && spoken_by_owner && owner.is_some_and(|o| o.index() < n)
        });
        let fits = |entry: &Entry| entry.submission().is_none_or(|own| own.origin.index() < n);
        let entries_fit = match message {
            Message::Accept { entries, .. } | Message::Learn { entries, .. } => {
                entries.iter().all(fits)
            }
            Message::Reported { reports, .. } => reports.iter().all(|report| fits(&report.entry)),
            Message::Votes { names, .. } => {
                names.iter().all(|name| name.key().is_none_or(|(origin, _)| origin.index() < n))
            }
            _ => true,
        };
        from.index() < n && from != self.me() && ballot_fits && entries_fit
    }

    /// Whether a ballot is one that replicas outbidding each other can have come to. One from far
    /// ahead would use up the rounds there are.
    pub(crate) fn is_near(&self, ballot: Ballot) -> bool {
        ballot.round() <= self.seen.round() + ROUNDS_AHEAD_MAX
    }

    /// Counts what is durable by now. What needed no new record may be so at once, without any
    /// further word of the journal.
    fn count_own(&mut self, now: Now, fx: &mut Fx) {
        while self.own.front().is_some_and(|(after, _)| after.is_met_by(self.durable)) {
            let Some((_, own)) = self.own.pop_front() else { break };
            match own {
                Own::Promise(ballot) => self.count_own_promise(ballot, now, fx),
                Own::Closed(ballot, upto) => self.count_own_close(ballot, upto, now, fx),
                Own::Votes { round, first, entries } => {
                    let names = entries.iter().map(Entry::name).collect();
                    self.note_votes(self.me(), round, first, names, now, fx);
                }
                Own::Kept(slot) => self.kept = self.kept.max(slot),
            }
        }
    }

    /// Every now and then: how far everyone is, and what nobody needs.
    /// Writes down how much is chosen: the votes alone do not say so.
    pub(crate) fn record_chosen(&mut self, fx: &mut Fx) {
        if self.chosen > self.chosen_recorded {
            // What is chosen with the values held goes for those of this step too.
            self.flush_votes(fx);
            self.chosen_recorded = self.chosen;
            let after = fx.persist(Record::Chosen { upto: self.chosen });
            self.own.push_back((after, Own::Kept(self.chosen)));
        }
    }

    fn attend_status(&mut self, now: Now, fx: &mut Fx) {
        if now.monotonic < self.status_due {
            return;
        }
        self.status_due = now.monotonic + self.config.timing.status_interval;
        self.record_chosen(fx);
        let delays = self.delays.inbound.clone();
        let (progress, sent) = (self.own_progress(), now.wall);
        let message = Message::Status { progress, sent, delays };
        self.send(self.others(), message, After::NOTHING, fx);
        self.collect(now);
        self.forget_commands();
    }

    /// Forgets commands that are applied; and if there is little room, those that wait for nothing
    /// here: whose origin proposes them again, unless it is gone and they would stay for ever.
    fn forget_commands(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        let limits = &self.config.limits;
        let is_full =
            known.len() >= limits.known_max / 2 || known.bytes() >= limits.known_bytes_max / 2;
        known.forget(|key, held| {
            let is_idle = !held.queued && !self.is_placed(held);
            self.is_applied(key) || (is_full && is_idle)
        });
        self.known = known;
    }

    /// Whether this replica voted for a command at the ballot promised, and that slot is open.
    pub(crate) fn is_placed(&self, held: &Held) -> bool {
        held.placed.is_some_and(|(ballot, slot)| {
            let open = self.log.get(slot).is_some_and(|state| state.decided.is_none());
            ballot == self.promised && open
        })
    }

    pub(crate) fn attend(&mut self, now: Now, fx: &mut Fx) {
        self.attend_coordinator(now, fx);
        self.attend_election(now, fx);
        self.attend_pending(now, fx);
        self.attend_catch_up(now, fx);
        self.attend_status(now, fx);
        self.place(now, fx);
    }

    /// What follows from everything that this step brought.
    pub(crate) fn finish(&mut self, now: Now, fx: &mut Fx) {
        self.flush_votes(fx);
        self.count_own(now, fx);
        // What was counted may have made room or shown a collision.
        self.settle_collisions(now, fx);
        self.place(now, fx);
        self.flush_votes(fx);
        self.send_accepts(fx);
        if self.stalled.0 != self.chosen || self.log.last() <= self.chosen {
            self.stalled = (self.chosen, now.monotonic);
        }
        self.ask_for_wake(now, fx);
    }

    pub(crate) fn ask_for_wake(&self, now: Now, fx: &mut Fx) {
        let due = [
            Some(self.status_due),
            Some(self.role_due()),
            self.pending.next_due(self.config.timing.patience),
            self.catch_up_due(),
            self.known.next_due(now.wall, now.monotonic),
            self.closing_due(now),
        ];
        if let Some(due) = due.into_iter().flatten().min() {
            fx.wake_at(due);
        }
    }
}
