//! Casting votes, writing them down and telling everybody.
//!
//! Every vote goes to every member: whoever executes must know what is chosen, and there is no
//! leader to tell. What a step casts is one record and one message for each run of slots.

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot};

use crate::entry::Entry;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{FastPaxos, Fx, Own};
use crate::round::Round;

impl FastPaxos {
    /// Votes; [`flush_votes`](Self::flush_votes) writes it down and tells.
    pub(crate) fn cast_vote(&mut self, slot: Slot, round: Round, entry: Entry) {
        self.log.ensure(slot).vote = Some((round, entry.clone()));
        self.cast.push((slot, round, entry));
    }

    pub(crate) fn flush_votes(&mut self, fx: &mut Fx) {
        let mut cast = std::mem::take(&mut self.cast);
        cast.sort_by_key(|(slot, round, _)| (*round, *slot));
        let mut cast = cast.into_iter().peekable();
        while let Some((first, round, entry)) = cast.next() {
            let mut bytes = entry.bytes();
            let mut entries = vec![entry];
            while let Some((slot, at, entry)) = cast.peek()
                && (*at, *slot) == (round, first + entries.len() as u64)
                && bytes + entry.bytes() <= self.config.limits.batch_bytes_max
            {
                bytes += entry.bytes();
                entries.extend(cast.next().map(|(.., entry)| entry));
            }
            self.record_votes(round, first, entries, fx);
        }
    }

    fn record_votes(&mut self, round: Round, first: Slot, entries: Vec<Entry>, fx: &mut Fx) {
        let names = entries.iter().map(Entry::name).collect();
        let mut after = fx.persist(Record::Voted { round, first, entries: entries.clone() });
        if self.mutated(Mutation::VoteBeforeDurable) {
            after = After::NOTHING;
        }
        for slot in first..first + entries.len() as u64 {
            if let Some(state) = self.log.get_mut(slot) {
                state.recorded = after;
            }
        }
        self.own.push_back((after, Own::Votes { round, first, entries }));
        self.send(self.others(), Message::Votes { round, first, names }, after, fx);
    }

    /// Says again what this replica voted for in `slot`. What it voted for in this step is told to
    /// all as it is, once written down.
    pub(crate) fn repeat_vote(&self, to: ReplicaSet, slot: Slot, fx: &mut Fx) {
        if self.cast.iter().any(|(cast, ..)| *cast == slot) {
            return;
        }
        let Some(state) = self.log.get(slot) else { return };
        if let Some((round, entry)) = &state.vote {
            let names = vec![entry.name()];
            let message = Message::Votes { round: *round, first: slot, names };
            self.send(to, message, state.recorded, fx);
        }
    }

    /// The values of the coordinator at `ballot` in the classic round.
    pub(crate) fn on_accept(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        first: Slot,
        entries: Vec<Entry>,
        now: Now,
        fx: &mut Fx,
    ) {
        if !self.hear_coordinator(from, ballot, now, fx) {
            return;
        }
        let round = Round::classic(ballot);
        let reach = self.reach();
        for (slot, entry) in (first..).zip(entries) {
            if slot <= self.chosen || slot > reach || !self.needs_no_state() {
                continue;
            }
            if let Some(submission) = entry.submission()
                && !self.is_applied(submission.key())
            {
                // It has its slot: should it come by itself, it needs no other.
                let key = submission.key();
                if self.known.get(key).is_none() {
                    self.known.insert(submission.clone());
                }
                if let Some(held) = self.known.get_mut(key) {
                    held.placed = Some((ballot, slot));
                }
            }
            let before = self.log.get(slot).and_then(|state| state.vote.as_ref());
            match before.map(|(round, _)| *round) {
                Some(voted) if voted == round => self.repeat_vote(self.others(), slot, fx),
                Some(voted) if voted > round => {}
                _ => {
                    self.counters.classic_votes += 1;
                    self.cast_vote(slot, round, entry);
                }
            }
            self.resolve(slot, fx);
        }
        self.advance(now, fx);
    }
}
