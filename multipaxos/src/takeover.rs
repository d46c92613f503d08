//! Phase 1: taking over the log.
//!
//! One `Prepare` asks for every slot from the first that the candidate has not executed. A member
//! that promises reports what it voted for, in as many parts as that takes. With q1 complete
//! reports the candidate leads: in each slot it proposes what is chosen, else what was voted for
//! at the highest ballot, else nothing, up to the highest slot reported; new commands come after.

use std::collections::BTreeMap;

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Time};

use crate::entry::Entry;
use crate::lead::Leadership;
use crate::message::{Message, Report};
use crate::mutation::Mutation;
use crate::replica::{Fx, MultiPaxos, Own, Role};

/// How much a value weighs: whether its reporter knows it to be chosen, and the ballot of the vote for
/// it. What is chosen outweighs every vote.
type Weight = (bool, Ballot);

/// What nobody voted for.
const NOTHING: Weight = (false, Ballot::INITIAL);

/// An attempt to lead.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Candidacy {
    pub(crate) ballot: Ballot,
    /// A leader that gave up its lease in this one's favour.
    released: Ballot,
    /// Per member, the slot that its next report starts from.
    wanted: Vec<Slot>,
    /// Whose reports are complete.
    done: ReplicaSet,
    /// Per slot the vote at the highest ballot, and what is chosen if that is too far ahead for the
    /// log here.
    votes: BTreeMap<Slot, (Weight, Entry)>,
    pub(crate) resend_due: Time,
}

impl Candidacy {
    /// One more report of what `slot` may have to hold.
    fn weigh(&mut self, slot: Slot, weight: Weight, entry: Entry) {
        let best = self.votes.entry(slot).or_insert((NOTHING, Entry::Nop));
        if weight > best.0 {
            *best = (weight, entry);
        }
    }
}

impl MultiPaxos {
    /// Promises an own ballot, and asks the others to.
    pub(crate) fn prepare(&mut self, ballot: Ballot, released: Ballot, now: Now, fx: &mut Fx) {
        if ballot <= self.promised {
            self.role = Role::Follower;
            return;
        }
        if self.grant_forbids(ballot, released, now) {
            self.counters.held_by_lease += 1;
            self.role = Role::Follower;
            let until = self.grant.map_or(now.monotonic, |grant| grant.until);
            self.standing.due = self.standing.due.max(until);
            return;
        }
        self.counters.prepares += 1;
        let after = self.join(ballot, now, fx);
        self.role = Role::Candidate(Box::new(Candidacy {
            ballot,
            released,
            wanted: vec![self.chosen + 1; self.config.quorums.n()],
            done: ReplicaSet::EMPTY,
            votes: BTreeMap::new(),
            resend_due: now.monotonic + self.config.timing.heartbeat_interval,
        }));
        self.standing.due = now.monotonic + self.config.timing.election_timeout.times(2);
        self.own.push_back((after, Own::Promise(ballot)));
        let message = Message::Prepare { ballot, from: self.chosen + 1, released };
        self.send(self.others(), message, after, fx);
    }

    pub(crate) fn prepare_again(&mut self, now: Now, fx: &mut Fx) {
        let (me, interval) = (self.me(), self.config.timing.heartbeat_interval);
        let Role::Candidate(candidacy) = &mut self.role else { return };
        if now.monotonic < candidacy.resend_due {
            return;
        }
        candidacy.resend_due = now.monotonic + interval;
        let Candidacy { ballot, released, done, .. } = **candidacy;
        let wanted = candidacy.wanted.clone();
        for replica in self.others().minus(done).without(me).iter() {
            let message = Message::Prepare { ballot, from: wanted[replica.index()], released };
            self.send(ReplicaSet::only(replica), message, self.promise, fx);
        }
    }

    pub(crate) fn on_prepare(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        slot: Slot,
        released: Ballot,
        now: Now,
        fx: &mut Fx,
    ) {
        let to = ReplicaSet::only(from);
        if ballot < self.promised {
            self.refuse(from, ballot, fx);
        } else if slot <= self.log.base() {
            self.send(to, Message::Gone { base: self.log.base() }, After::NOTHING, fx);
        } else if ballot > self.promised && self.grant_forbids(ballot, released, now) {
            self.counters.held_by_lease += 1;
        } else {
            self.join(ballot, now, fx);
            // As long as it goes on asking.
            if self.following.is_none() {
                self.give_time(now);
            }
            let (reports, next) = self.report(slot);
            let message = Message::Promise { ballot, from: slot, reports, next };
            self.send(to, message, fx.after_last(), fx);
        }
    }

    /// What was voted for or is known from `first` on, and where the next part starts.
    fn report(&self, first: Slot) -> (Vec<Report>, Slot) {
        let mut reports = Vec::new();
        let mut bytes = 0;
        for (slot, state) in self.log.above(first - 1) {
            let Some(entry) = state.entry.clone() else { continue };
            bytes += entry.bytes();
            if bytes > self.config.limits.batch_bytes_max && !reports.is_empty() {
                return (reports, slot);
            }
            reports.push(Report { slot, ballot: state.accepted, chosen: state.chosen, entry });
        }
        (reports, 0)
    }

    /// A [`Message::Promise`].
    pub(crate) fn on_promise(&mut self, from: ReplicaId, promise: Message, now: Now, fx: &mut Fx) {
        let Message::Promise { ballot, from: slot, reports, next } = promise else { return };
        let Role::Candidate(candidacy) = &mut self.role else { return };
        // A part that was asked for twice comes twice; parts count in order.
        if candidacy.ballot != ballot || candidacy.wanted[from.index()] != slot {
            return;
        }
        if next == 0 {
            candidacy.done.insert(from);
        }
        self.standing.due = now.monotonic + self.config.timing.election_timeout.times(2);
        candidacy.wanted[from.index()] = if next == 0 { Slot::MAX } else { next };
        let released = candidacy.released;
        let mut chosen = Vec::new();
        for Report { slot, ballot, chosen: is_chosen, entry } in reports {
            if is_chosen {
                chosen.push((slot, entry));
            } else {
                candidacy.weigh(slot, (false, ballot), entry);
            }
        }
        for (slot, entry) in chosen {
            if slot <= self.reach() {
                self.learn(slot, vec![entry], now, fx);
            } else if let Role::Candidate(candidacy) = &mut self.role {
                // Windows may differ, say from one version to the next.
                candidacy.weigh(slot, (true, Ballot::INITIAL), entry);
            }
        }
        if next > 0 {
            let message = Message::Prepare { ballot, from: next, released };
            self.send(ReplicaSet::only(from), message, self.promise, fx);
        }
        self.take_over_if_promised(now, fx);
    }

    /// The own promise is durable.
    pub(crate) fn count_own_promise(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) {
        let me = self.me();
        if let Role::Candidate(candidacy) = &mut self.role
            && candidacy.ballot == ballot
        {
            candidacy.done.insert(me);
            self.take_over_if_promised(now, fx);
        }
    }

    fn take_over_if_promised(&mut self, now: Now, fx: &mut Fx) {
        let Role::Candidate(candidacy) = &mut self.role else { return };
        let enough = candidacy.done.len() >= self.config.quorums.q1();
        if enough && candidacy.done.contains(self.config.replica) {
            let (ballot, votes) = (candidacy.ballot, std::mem::take(&mut candidacy.votes));
            self.take_over(ballot, votes, now, fx);
        }
    }

    fn take_over(
        &mut self,
        ballot: Ballot,
        mut votes: BTreeMap<Slot, (Weight, Entry)>,
        now: Now,
        fx: &mut Fx,
    ) {
        self.counters.elections_won += 1;
        for (slot, state) in self.log.above(self.chosen) {
            let Some(entry) = &state.entry else { continue };
            let known = votes.get(&slot).map_or(NOTHING, |(weight, _)| *weight);
            let weight = (state.chosen, state.accepted);
            if weight > known {
                votes.insert(slot, (weight, entry.clone()));
            }
        }
        if self.mutated(Mutation::IgnoreAcceptedValues) {
            votes.clear();
        }
        let mut leadership = Leadership::new(ballot, self.chosen, self.config.quorums.n(), now);
        let times = votes.values().filter_map(|(_, entry)| entry.submission());
        let times = times.map(|submission| submission.command.proposed_at);
        leadership.proposed_at = times.fold(self.proposed_at, Ord::max);
        self.role = Role::Leader(Box::new(leadership));
        self.following = None;
        self.standing.failures = 0;
        let last = votes.last_key_value().map_or(self.chosen, |(slot, _)| *slot);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for slot in self.chosen + 1..=last {
            let entry = votes.remove(&slot).map(|(_, entry)| entry);
            let counters = &mut self.counters;
            let counter =
                if entry.is_some() { &mut counters.recovered } else { &mut counters.filled };
            *counter += 1;
            let entry = entry.unwrap_or(Entry::Nop);
            bytes += entry.bytes();
            batch.push(entry);
            if bytes >= self.config.limits.batch_bytes_max || slot == last {
                self.append(std::mem::take(&mut batch), fx);
                bytes = 0;
            }
        }
        self.beat(now, fx);
        self.give_all_to_leader(now, fx);
        self.advance(now, fx);
    }
}
