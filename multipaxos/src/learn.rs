//! Counting votes, and executing what they choose, in the order of slots.
//!
//! A value is chosen when q2 replicas voted for it at one ballot. Nothing needs to be durable here
//! for that: the votes are, where they were cast. So a command is executed and answered without
//! another sync; after a restart this replica learns again what it had not written down.

use panchayat_consensus::{After, Ballot, InstanceId, Now, Path, ReplicaId, Slot, WallTime};

use crate::config::Learning;
use crate::entry::Entry;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::replica::{Fx, MultiPaxos, Role};

/// The lane in which slots are instances: there is one log.
pub(crate) const LANE: ReplicaId = ReplicaId(0);

impl MultiPaxos {
    /// Counts the votes of `from` at `ballot` and executes what that decides.
    pub(crate) fn note_votes(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        first: Slot,
        last: Slot,
        now: Now,
        fx: &mut Fx,
    ) {
        self.count_votes(from, ballot, first, last);
        self.choose_voted(first, last, fx);
        self.advance(now, fx);
    }

    /// Counts the votes of `from` at `ballot`, without looking whether they decide anything.
    pub(crate) fn count_votes(&mut self, from: ReplicaId, ballot: Ballot, first: Slot, last: Slot) {
        if self.config.learning == Learning::Leader && !self.is_leader() {
            return;
        }
        let mixed = self.mutated(Mutation::BallotsMixed);
        for slot in first.max(self.chosen + 1)..=last.min(self.reach()) {
            let state = self.log.ensure(slot);
            if mixed {
                (state.counted, _) = (state.counted.max(ballot), state.votes.insert(from));
            } else {
                state.vote(ballot, from);
            }
        }
    }

    fn choose_voted(&mut self, first: Slot, last: Slot, fx: &mut Fx) {
        let (quorum, me) = (self.config.quorums.q2(), self.me());
        let path = match self.config.learning {
            Learning::Origin => Path::Fast,
            Learning::Leader => Path::Slow,
        };
        for slot in first.max(self.chosen + 1)..=last.min(self.log.last()) {
            let Some(state) = self.log.get_mut(slot) else { continue };
            if state.chosen || !state.is_voted(quorum) {
                continue;
            }
            state.chosen = true;
            self.counters.chosen_by_votes += 1;
            let own = state.entry.as_ref().and_then(Entry::submission);
            if let Some(number) = own.filter(|own| own.origin == me).map(|own| own.number) {
                let at = state.accepted;
                self.announce(number, at, path, fx);
            }
        }
    }

    /// Tells the proposer, if this replica is its, that its command is chosen.
    fn announce(&mut self, number: u64, ballot: Ballot, path: Path, fx: &mut Fx) {
        let Some(proposal) = self.pending.get_mut(number) else { return };
        if !std::mem::replace(&mut proposal.announced, true) {
            let first_try = proposal.tries == 1 && proposal.given_to == Some(ballot);
            let path = if first_try { path } else { Path::Recovered };
            fx.committed(proposal.token, path, After::NOTHING);
        }
    }

    /// The leader at `ballot` says that everything up to `upto` is chosen. That is about the
    /// values it proposed, or learned itself; so it is believed where its value is held.
    pub(crate) fn take_word(&mut self, ballot: Ballot, upto: Slot, now: Now, fx: &mut Fx) {
        let before = if self.word.0 == ballot { self.word.1 } else { 0 };
        if upto > before {
            self.word = (ballot, upto);
            self.believe(ballot, before + 1, upto);
        }
        self.advance(now, fx);
        if self.mutated(Mutation::CommitIndexBackwards) && upto < self.chosen {
            self.chosen = upto.max(self.log.base());
        }
    }

    /// Looks at a part of what the leader's word covers.
    pub(crate) fn believe(&mut self, ballot: Ballot, first: Slot, last: Slot) {
        if self.word.0 != ballot {
            return;
        }
        for slot in first.max(self.chosen + 1)..=last.min(self.word.1).min(self.log.last()) {
            if let Some(state) = self.log.get_mut(slot)
                && state.accepted == ballot
                && !state.chosen
            {
                state.chosen = true;
                self.counters.chosen_by_word += 1;
            }
        }
    }

    pub(crate) fn on_chosen(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        upto: Slot,
        now: Now,
        fx: &mut Fx,
    ) {
        if self.hear_leader(from, ballot, now, fx) {
            self.take_word(ballot, upto, now, fx);
        }
    }

    /// Executes every slot that is chosen together with all before it.
    pub(crate) fn advance(&mut self, now: Now, fx: &mut Fx) {
        let before = self.chosen;
        let waiting = self.pending.len();
        while let Some(state) = self.log.get(self.chosen + 1).filter(|state| state.chosen) {
            let entry = state.entry.clone().expect("a chosen slot holds its value");
            self.chosen += 1;
            let bytes = entry.bytes();
            self.retained_bytes += bytes;
            if let Role::Leader(leadership) = &mut self.role {
                leadership.bytes = leadership.bytes.saturating_sub(bytes);
                if let Some(submission) = entry.submission() {
                    leadership.in_log.remove(&(submission.origin, submission.number));
                }
            }
            self.execute(self.chosen, entry, fx);
        }
        if self.chosen > before {
            self.tell_chosen(fx);
            self.serve_reads();
            self.catch_up.moved(now.monotonic);
            self.give_bounced(waiting - self.pending.len(), now, fx);
        }
    }

    fn execute(&mut self, slot: Slot, entry: Entry, fx: &mut Fx) {
        let Entry::Command(submission) = entry else { return };
        let (origin, number) = (submission.origin, submission.number);
        let fresh = self.origins.apply(origin, number, submission.floor);
        if !fresh && !self.mutated(Mutation::NoDeduplication) {
            self.counters.duplicates += 1;
            return;
        }
        // Leaders' clocks differ, and a value of an older leader can come to stand before one of
        // a newer: the time of a command is put right by what executed before it, which is the
        // same everywhere.
        let mut command = submission.command;
        let last = self.proposed_at.0.saturating_add(1);
        if command.proposed_at.0 < last {
            std::sync::Arc::make_mut(&mut command).proposed_at = WallTime(last);
        }
        self.proposed_at = command.proposed_at;
        let mut token = None;
        if origin == self.me() {
            // One that was chosen on somebody's word was not announced yet.
            let at = self.log.get(slot).map_or(Ballot::INITIAL, |state| state.accepted);
            self.announce(number, at, Path::Slow, fx);
            token = self.pending.remove(number).map(|proposal| proposal.token);
        }
        self.counters.executed += 1;
        fx.execute(InstanceId::new(LANE, slot), command, token, After::NOTHING);
    }

    /// The naive variant: nobody counts but the leader, which tells the others.
    fn tell_chosen(&self, fx: &mut Fx) {
        if let Role::Leader(leadership) = &self.role
            && self.config.learning == Learning::Leader
        {
            let message = Message::Chosen { ballot: leadership.ballot, upto: self.chosen };
            self.send(self.others(), message, After::NOTHING, fx);
        }
    }
}
