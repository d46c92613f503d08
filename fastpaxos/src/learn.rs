//! Counting votes, and executing what they choose, in the order of slots.
//!
//! A value is chosen when a fast quorum voted for it in a fast round, or a classic quorum in a
//! classic one. Nothing needs to be durable here for that: the votes are, where they were cast. So a
//! command is executed and answered without another sync; after a restart this replica learns
//! again what it had not written down.

use panchayat_consensus::{After, Ballot, InstanceId, Now, Path, ReplicaId, Slot, WallTime};

use crate::entry::{Entry, Name};
use crate::log::State;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{FastPaxos, Fx, Role};
use crate::round::Round;

/// The lane in which slots are instances: there is one log.
pub(crate) const LANE: ReplicaId = ReplicaId(0);

impl FastPaxos {
    /// Counts the votes of `from` and executes what that decides.
    pub(crate) fn note_votes(
        &mut self,
        from: ReplicaId,
        round: Round,
        first: Slot,
        names: Vec<Name>,
        now: Now,
        fx: &mut Fx,
    ) {
        // What was voted for here was within the limits of whoever asked for it.
        let reach = if from == self.me() { Slot::MAX } else { self.reach() };
        for (slot, name) in (first..).zip(names) {
            if slot <= self.chosen || slot > reach {
                continue;
            }
            let state = self.log.ensure(slot);
            if state.decided.is_some() {
                continue;
            }
            state.count(from, round, name);
            if let Role::Coordinator(coordinator) = &mut self.role
                && coordinator.ballot == round.ballot
            {
                coordinator.touched.insert(slot);
            }
            if let Some((round, name)) = self.voted(slot) {
                self.decide(slot, name, Some(round), now, fx);
            }
        }
        self.advance(now, fx);
    }

    fn voted(&self, slot: Slot) -> Option<(Round, Name)> {
        let quorums = self.config.quorums;
        let state = self.log.get(slot)?;
        let count = |name: Name, of: &State| of.votes.iter().filter(|v| v.2 == name).count();
        if self.mutated(Mutation::RoundsMixed) {
            let (_, round, name) = *state.votes.iter().find(|v| !v.1.classic)?;
            return (count(name, state) >= quorums.classic()).then_some((round, name));
        }
        if self.mutated(Mutation::FastQuorumTooSmall) {
            let (_, round, name) = *state.votes.iter().find(|(_, round, name)| {
                state.votes_at(*round).filter(|n| n == name).count() >= quorums.classic()
            })?;
            return Some((round, name));
        }
        state.voted(quorums)
    }

    /// `name` is chosen in `slot`, by votes in `round` or, without one, on somebody's word.
    pub(crate) fn decide(
        &mut self,
        slot: Slot,
        name: Name,
        round: Option<Round>,
        now: Now,
        fx: &mut Fx,
    ) {
        if self.log.ensure(slot).decided.is_some() {
            return;
        }
        self.doubt_coordination(slot, name, now);
        let state = self.log.ensure(slot);
        state.decided = Some(name);
        state.votes = Vec::new();
        let counters = &mut self.counters;
        match round {
            Some(round) if round.classic => counters.chosen_classic += 1,
            Some(_) => counters.chosen_fast += 1,
            None => {}
        }
        if let Some(key) = name.key() {
            self.taken.insert(key, slot);
            self.note_outcome(slot, round);
            if key.0 == self.me() {
                self.announce(key.1, round, fx);
            }
        }
        self.resolve(slot, fx);
    }

    /// What is chosen is not what this replica as coordinator proposed: another has taken over. From
    /// here on its word about what is chosen would be taken for what it proposed.
    fn doubt_coordination(&mut self, slot: Slot, name: Name, now: Now) {
        if let Role::Coordinator(coordinator) = &self.role
            && coordinator.settled.get(&slot).is_some_and(|settled| settled.name() != name)
        {
            self.stand_aside(now);
        }
    }

    /// Tells the proposer, which is here, that its command is chosen.
    fn announce(&mut self, number: u64, round: Option<Round>, fx: &mut Fx) {
        let Some(proposal) = self.pending.get_mut(number) else { return };
        if !std::mem::replace(&mut proposal.announced, true) {
            let undisturbed = round.is_some_and(|round| proposal.given_at == Some(round.ballot));
            let path = match round {
                Some(round) if undisturbed && proposal.tries == 1 && !round.classic => Path::Fast,
                _ if undisturbed => Path::Slow,
                _ => Path::Recovered,
            };
            fx.committed(proposal.token, path, After::NOTHING);
        }
    }

    /// Finds the value of a slot whose name is decided.
    pub(crate) fn resolve(&mut self, slot: Slot, fx: &mut Fx) {
        let Some(state) = self.log.get(slot) else { return };
        let Some(name) = state.decided.filter(|_| state.chosen.is_none()) else { return };
        let voted = state.vote.as_ref().map(|(_, entry)| entry).filter(|e| e.name() == name);
        let found = match (voted, name.key()) {
            (Some(entry), _) => Some(entry.clone()),
            (None, None) => Some(Entry::Nop),
            (None, Some(key)) => {
                let held = self.known.get(key);
                held.map(|held| Entry::Command(held.submission.clone()))
            }
        };
        match (found, name.key()) {
            (Some(entry), _) => self.choose(slot, entry, fx),
            (None, Some(key)) => _ = self.missing.insert(key, slot),
            (None, None) => {}
        }
    }

    /// `entry` is what was chosen in `slot`.
    pub(crate) fn choose(&mut self, slot: Slot, entry: Entry, fx: &mut Fx) {
        let state = self.log.ensure(slot);
        let held = state.vote.as_ref().is_some_and(|(_, voted)| *voted == entry);
        state.chosen = Some(entry.clone());
        self.missing.retain(|_, at| *at != slot);
        if !held {
            // What the journal holds for this slot is something else, or nothing.
            fx.persist(Record::Learned { first: slot, entries: vec![entry] });
        }
    }

    /// The coordinator at `ballot` says that everything up to `upto` is chosen. That is about the
    /// values it proposed, so it is believed where one of these is held.
    pub(crate) fn take_word(&mut self, ballot: Ballot, upto: Slot, now: Now, fx: &mut Fx) {
        for slot in self.chosen + 1..=upto.min(self.log.last()) {
            let Some(state) = self.log.get(slot).filter(|state| state.decided.is_none()) else {
                continue;
            };
            let any_vote = self.mutated(Mutation::WordOnOtherVotes);
            if let Some((round, entry)) = &state.vote
                && (*round == Round::classic(ballot) || any_vote)
            {
                let name = entry.name();
                self.counters.chosen_by_word += 1;
                self.decide(slot, name, None, now, fx);
            }
        }
        self.advance(now, fx);
    }

    /// Executes whatever is chosen without a gap.
    pub(crate) fn advance(&mut self, now: Now, fx: &mut Fx) {
        let before = self.chosen;
        while let Some(entry) = self.log.chosen(self.chosen + 1).cloned() {
            self.chosen += 1;
            self.retained_bytes += entry.bytes();
            if let Role::Coordinator(coordinator) = &mut self.role {
                coordinator.executed(self.chosen);
            }
            self.execute(self.chosen, entry, fx);
        }
        if self.chosen > before {
            self.catch_up.moved(now.monotonic);
        }
    }

    fn execute(&mut self, slot: Slot, entry: Entry, fx: &mut Fx) {
        let Entry::Command(submission) = entry else { return };
        let key = submission.key();
        let fresh = self.applied[key.0.index()].apply(key.1, submission.floor);
        self.taken.remove(&key);
        self.known.remove(key);
        if !fresh && !self.mutated(Mutation::NoDeduplication) {
            self.counters.duplicates += 1;
            return;
        }
        // Origins' clocks differ: the time of a command is put right by what executed before it,
        // which is the same everywhere.
        let mut command = submission.command;
        let last = self.proposed_at.0.saturating_add(1);
        if command.proposed_at.0 < last {
            std::sync::Arc::make_mut(&mut command).proposed_at = WallTime(last);
        }
        self.proposed_at = command.proposed_at;
        let mut token = None;
        if key.0 == self.me()
            && let Some(proposal) = self.pending.remove(key.1)
        {
            if !proposal.announced {
                // Chosen on somebody's word.
                fx.committed(proposal.token, Path::Slow, After::NOTHING);
            }
            let tries = u64::from(proposal.tries);
            self.counters.tries_max = self.counters.tries_max.max(tries);
            token = Some(proposal.token);
        }
        self.counters.executed += 1;
        fx.execute(InstanceId::new(LANE, slot), command, token, After::NOTHING);
    }
}
