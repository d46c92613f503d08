//! Settling slots: collisions at once, by the votes at hand; stretches of the log by closing them.
//!
//! A vote in the fast round is as good as a promise for the classic one of the same ballot: its
//! acceptor has no other to give. So a slot with votes from q1 acceptors can be settled by the
//! coordinator without asking anybody. Where acceptors have not voted they are asked to *close* the
//! slots: to promise not to vote there any more, and to say how they did.
//!
//! A collision by itself needs no closing: two commands that met at two acceptors in different
//! orders collide in two slots, each of which gets one of them. Only when the counters of acceptors
//! have drifted apart does every slot collide, and only jumping together helps. That shows as
//! collisions in a row. With arrival times the jump has its place among the commands, so counters
//! agree after it; without, whoever hears of it later is behind by what came in between.

use std::collections::{BTreeMap, BTreeSet};

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Time, WallTime};

use crate::entry::{Entry, Key, Name};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::pick::{Pick, is_collision, pick};
use crate::record::Record;
use crate::replica::{FastPaxos, Fx, Own, Role};
use crate::round::Round;
use crate::survey::Survey;

/// So many collisions in a row say that counters have drifted apart.
const DRIFT: u32 = 6;
/// Most slots closed beyond those voted in, for losers and for those who are further than is known
/// here.
pub(crate) const MARGIN_MAX: u64 = 256;

/// A stretch of the log to be closed to the fast round, when its turn among the commands comes.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Closing {
    pub(crate) ballot: Ballot,
    pub(crate) first: Slot,
    pub(crate) upto: Slot,
    pub(crate) due: WallTime,
    pub(crate) until: Time,
}

/// Most losers remembered; others come again.
const LOSERS_MAX: usize = 1024;

impl Closing {
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.due <= now.wall || self.until <= now.monotonic
    }
}

impl FastPaxos {
    /// How many votes of so many heard make a value one that may have been chosen.
    pub(crate) fn threshold(&self, heard: usize) -> usize {
        let quorums = self.config.quorums;
        if self.mutated(Mutation::FixedThreshold) {
            quorums.fast()
        } else {
            quorums.may_be_chosen(heard)
        }
    }

    /// Settles slots in which no value can reach a fast quorum any more.
    pub(crate) fn settle_collisions(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        let touched = std::mem::take(&mut coordinator.touched);
        for slot in touched {
            self.settle_collision(slot, now);
        }
        self.note_drift(now, fx);
    }

    fn settle_collision(&mut self, slot: Slot, now: Now) {
        let quorums = self.config.quorums;
        let early = self.mutated(Mutation::SettleTooEarly);
        let Role::Coordinator(coordinator) = &self.role else { return };
        let round = Round::fast(coordinator.ballot);
        if self.fast.from == 0 || slot < self.fast.from || coordinator.settled.contains_key(&slot) {
            return;
        }
        let Some(state) = self.log.get(slot).filter(|state| state.decided.is_none()) else {
            return;
        };
        let names: Vec<Name> = state.votes_at(round).collect();
        // Whoever does not answer is not waited for: any q1 votes will do to settle by.
        let outstanding = self.others().iter().filter(|member| self.answers(*member, now, false));
        let outstanding = outstanding.chain([self.me()]).filter(|m| !state.has_voted(*m, round));
        let enough = names.len() >= quorums.q1()
            && is_collision(quorums, names.iter().copied(), outstanding.count());
        let settles = enough || (early && !names.is_empty());
        if !settles {
            return;
        }
        let votes: Vec<_> = names.iter().map(|name| (round, *name)).collect();
        let entry = match pick(names.len(), &votes, |heard| self.threshold(heard)) {
            // A value that is not here has to come first: its slot is closed if it does not.
            Pick::Only(name) => match self.value_named(slot, name) {
                Some(entry) => {
                    self.counters.settled_constrained += 1;
                    entry
                }
                None => return,
            },
            Pick::Any(names) => {
                let used = |key: &Key| self.is_settled_elsewhere(*key);
                let wanted = names.into_iter().filter(|name| name.key().is_none_or(|k| !used(&k)));
                let mut values = wanted.filter_map(|name| self.value_named(slot, name));
                let found = values.next();
                found.or_else(|| self.pop_loser()).unwrap_or(Entry::Nop)
            }
        };
        self.counters.collisions += 1;
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.in_row += 1;
            let lost = votes.iter().filter_map(|(_, name)| name.key());
            let lost = lost.filter(|key| entry.name().key() != Some(*key));
            coordinator.losers.extend(lost);
            while coordinator.losers.len() > LOSERS_MAX {
                coordinator.losers.pop_first();
            }
        }
        self.settle(slot, entry);
    }

    /// A command that lost a slot and has none yet. It may still win another: then that one goes to
    /// the next.
    fn pop_loser(&mut self) -> Option<Entry> {
        loop {
            let Role::Coordinator(coordinator) = &mut self.role else { return None };
            let key = coordinator.losers.pop_first()?;
            if let Some(held) = self.known.get(key).filter(|_| !self.is_settled_elsewhere(key)) {
                self.counters.losers_placed += 1;
                return Some(Entry::Command(held.submission.clone()));
            }
        }
    }

    fn is_settled_elsewhere(&self, key: Key) -> bool {
        let Role::Coordinator(coordinator) = &self.role else { return false };
        let settled = coordinator.settled_keys.contains_key(&key);
        settled || self.taken.contains_key(&key) || self.is_applied(key)
    }

    /// The value of that name, as far as it is known here.
    fn value_named(&self, slot: Slot, name: Name) -> Option<Entry> {
        let voted = self.log.get(slot).and_then(|state| state.vote.as_ref());
        let voted = voted.map(|(_, entry)| entry).filter(|entry| entry.name() == name);
        match (voted, name.key()) {
            (Some(entry), _) => Some(entry.clone()),
            (None, None) => Some(Entry::Nop),
            (None, Some(key)) => {
                self.known.get(key).map(|held| Entry::Command(held.submission.clone()))
            }
        }
    }

    /// Closes the log up to where it is voted in, and some more, if counters have drifted apart.
    fn note_drift(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        if coordinator.in_row >= DRIFT && coordinator.closing.is_none() {
            coordinator.in_row = 0;
            let highest = self.highest_voted();
            self.counters.closed_drifted += 1;
            let margin = (highest - self.chosen).min(MARGIN_MAX);
            self.start_close(highest + margin, now, fx);
        }
    }

    /// Promises not to vote in the fast round up to `upto`.
    fn close(&mut self, upto: Slot, fx: &mut Fx) -> After {
        if upto > self.fast.closed {
            self.fast.closed = upto;
            self.fast.cursor = self.fast.cursor.max(upto + 1);
            self.fast.closed_after = fx.persist(Record::Closed { ballot: self.promised, upto });
        }
        self.fast.closed_after
    }

    /// Begins to close the log to the fast round, up to `upto` as far as the window allows; says
    /// how far.
    pub(crate) fn start_close(&mut self, upto: Slot, now: Now, fx: &mut Fx) -> Slot {
        let upto = upto.min(self.chosen + self.config.limits.window_slots_max);
        let first = self.chosen + 1;
        let (n, again) = (self.config.quorums.n(), now.monotonic + self.config.timing.patience);
        if upto < first {
            return upto;
        }
        let due = self.arrival_everywhere(now);
        let Role::Coordinator(coordinator) = &mut self.role else { return upto };
        let ballot = coordinator.ballot;
        coordinator.proposed = coordinator.proposed.max(upto);
        coordinator.closing = Some(Survey::new(ballot, first, upto, n, again));
        let until = now.monotonic + self.config.timing.arrival_wait_max;
        self.fast.closing = Some(Closing { ballot, first, upto, due, until });
        let message = Message::Close { ballot, from: first, upto, due };
        self.send(self.others(), message, After::NOTHING, fx);
        upto
    }

    pub(crate) fn on_close(&mut self, from: ReplicaId, closing: Closing, now: Now, fx: &mut Fx) {
        let Closing { ballot, first, upto, .. } = closing;
        if !self.hear_coordinator(from, ballot, now, fx) || first == 0 || upto > self.reach() {
            return;
        }
        if first <= self.log.base() {
            let message = Message::Gone { base: self.log.base() };
            self.send(ReplicaSet::only(from), message, After::NOTHING, fx);
            return;
        }
        let until = now.monotonic + self.config.timing.arrival_wait_max;
        self.fast.closing = Some(Closing { until, ..closing });
    }

    /// Closes, and says so: to the coordinator, or to oneself when it is durable.
    pub(crate) fn close_now(&mut self, closing: Closing, fx: &mut Fx) {
        let Closing { ballot, first, upto, .. } = closing;
        if ballot != self.promised {
            return;
        }
        // The report covers what was voted for just before.
        self.flush_votes(fx);
        let after = self.close(upto, fx);
        if self.is_coordinator() {
            self.own.push_back((after, Own::Closed(ballot, upto)));
        } else if let Some(coordinator) = ballot.owner().filter(|owner| *owner != self.me())
            && first > self.log.base()
        {
            self.report(ReplicaSet::only(coordinator), ballot, first, upto, fx);
        }
    }

    pub(crate) fn closing_due(&self, now: Now) -> Option<Time> {
        let closing = self.fast.closing.as_ref()?;
        let wait = closing.due.0.saturating_sub(now.wall.0);
        Some(closing.until.min(Time(now.monotonic.0.saturating_add(wait))))
    }

    /// The own promise to close is durable.
    pub(crate) fn count_own_close(&mut self, ballot: Ballot, upto: Slot, now: Now, fx: &mut Fx) {
        let me = self.me();
        if let Role::Coordinator(coordinator) = &mut self.role
            && coordinator.ballot == ballot
            && let Some(survey) = &mut coordinator.closing
            && survey.upto == upto
        {
            survey.done.insert(me);
            self.finish_close(now, fx);
        }
    }

    /// Settles what was closed, once q1 acceptors have.
    pub(crate) fn finish_close(&mut self, now: Now, fx: &mut Fx) {
        let (me, q1) = (self.me(), self.config.quorums.q1());
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        let complete = coordinator
            .closing
            .take_if(|survey| survey.done.len() >= q1 && survey.done.contains(me));
        let Some(survey) = complete else { return };
        coordinator.in_row = 0;
        for (slot, entry) in self.values_for(&survey, survey.upto) {
            self.settle(slot, entry);
        }
        self.beat(now, fx);
    }

    /// Values for the slots up to `last` that have none yet, by the votes in `survey` and the own
    /// ones: first what may have been chosen, then what was voted for, then commands that lost
    /// everywhere.
    pub(crate) fn values_for(&mut self, survey: &Survey, last: Slot) -> Vec<(Slot, Entry)> {
        let heard = survey.done.len();
        let mut used: BTreeSet<Key> = self.taken.keys().copied().collect();
        if let Role::Coordinator(coordinator) = &self.role {
            used.extend(coordinator.settled_keys.keys());
        }
        let mut commands: BTreeMap<Key, Entry> = BTreeMap::new();
        let mut values = BTreeMap::new();
        let mut free: Vec<(Slot, Vec<Name>)> = Vec::new();
        for slot in survey.first.max(self.chosen + 1)..=last {
            let state = self.log.get(slot);
            let has_value = match &self.role {
                Role::Coordinator(coordinator) => coordinator.settled.contains_key(&slot),
                _ => false,
            };
            if has_value || state.is_some_and(|state| state.chosen.is_some()) {
                continue;
            }
            let own = state.and_then(|state| state.vote.clone());
            let reported = survey.votes.get(&slot).into_iter().flatten().cloned();
            let mut votes: Vec<(Round, Entry)> = reported.chain(own).collect();
            votes.retain(|(round, _)| {
                let ignored = if round.classic {
                    Mutation::IgnoreClassicVotes
                } else {
                    Mutation::IgnoreFastVotes
                };
                !self.mutated(ignored)
            });
            let names: Vec<_> = votes.iter().map(|(round, e)| (*round, e.name())).collect();
            for (_, entry) in &votes {
                commands.extend(entry.submission().map(|own| (own.key(), entry.clone())));
            }
            match pick(heard, &names, |heard| self.threshold(heard)) {
                Pick::Only(name) => {
                    let found = votes.into_iter().find(|(_, entry)| entry.name() == name);
                    used.extend(name.key());
                    values.extend(found.map(|(_, entry)| (slot, entry)));
                    self.counters.settled_constrained += 1;
                }
                Pick::Any(names) => free.push((slot, names)),
            }
        }
        let mut empty = Vec::new();
        for (slot, mut names) in free {
            if self.mutated(Mutation::FixedThreshold) {
                names.sort_unstable();
            }
            let mut keys = names.into_iter().filter_map(Name::key);
            match keys.find(|key| !self.is_applied(*key) && !used.contains(key)) {
                Some(key) => {
                    used.insert(key);
                    values.extend(commands.get(&key).map(|entry| (slot, entry.clone())));
                }
                None => empty.push(slot),
            }
        }
        commands.retain(|key, _| !used.contains(key) && !self.is_applied(*key));
        let mut losers = commands.into_values();
        for slot in empty {
            let loser = losers.next();
            let counters = &mut self.counters;
            *(if loser.is_some() { &mut counters.losers_placed } else { &mut counters.filled }) +=
                1;
            values.insert(slot, loser.unwrap_or(Entry::Nop));
        }
        values.into_iter().collect()
    }
}
