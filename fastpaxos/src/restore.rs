//! Back from the journal.
//!
//! A restarted replica has every promise and every vote, and coordinates nothing: it never goes on
//! at a ballot it used before. In the fast round of the ballot promised it goes on when it hears
//! its coordinator: where it has voted and what it has closed is in its records.

use panchayat_consensus::{After, Ballot, Now, Slot};

use crate::entry::Entry;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{FastPaxos, Fx};
use crate::round::Round;

/// Numbers of commands begin with the run, so that no two runs give out the same.
const RUN_SHIFT: u32 = 40;

impl FastPaxos {
    pub(crate) fn replay(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        fx: &mut Fx,
    ) {
        let mut adopted = 0;
        for record in records {
            self.replay_one(record, &mut adopted, now, fx);
        }
        if self.mutated(Mutation::VoteForgottenOnRestart) {
            self.log.cut_above(self.chosen);
        }
        self.kept = self.chosen;
        self.chosen_recorded = self.chosen;
        self.seen = self.promised;
        self.run += 1;
        self.started = fx.persist(Record::Started { run: self.run });
        if !self.mutated(Mutation::NumbersReused) {
            self.pending.last_number = self.run << RUN_SHIFT;
        }
        // Members learn from it how far they are from each other.
        self.status_due = now.monotonic;
        self.catch_up.moved(now.monotonic);
        self.first_standing(now);
    }

    /// `adopted` is the last slot of a state that was taken over and may have been lost since.
    fn replay_one(&mut self, record: Record, adopted: &mut Slot, now: Now, fx: &mut Fx) {
        let forgets = self.mutated(Mutation::PromiseForgottenOnRestart);
        match record {
            // A new run holds what it restored: what it says is about those values.
            Record::Started { run } => (self.run, *adopted) = (self.run.max(run), 0),
            Record::Promised { .. } if forgets => {}
            Record::Promised { ballot } => self.replay_promise(ballot),
            Record::Closed { ballot, upto } => {
                self.replay_promise(ballot);
                if ballot == self.promised {
                    self.fast.closed = self.fast.closed.max(upto);
                }
            }
            Record::Voted { round, first, entries } => {
                self.replay_promise(round.ballot);
                self.replay_entries(first, entries, Some(round));
            }
            Record::Learned { first, entries } => {
                self.replay_entries(first, entries, None);
                self.advance(now, fx);
            }
            Record::Chosen { upto } => {
                for slot in self.chosen.max(*adopted) + 1..=upto.min(self.log.last()) {
                    if let Some(state) = self.log.get_mut(slot)
                        && state.chosen.is_none()
                    {
                        state.chosen = state.vote.as_ref().map(|(_, entry)| entry.clone());
                        state.decided = state.chosen.as_ref().map(Entry::name);
                    }
                }
                self.advance(now, fx);
            }
            Record::Adopted { upto } => *adopted = upto,
            snapshot @ Record::Snapshot { .. } => self.take_place(snapshot),
        }
    }

    fn replay_promise(&mut self, ballot: Ballot) {
        if ballot > self.promised {
            self.promised = ballot;
            self.fast.closed = 0;
        }
    }

    /// Values voted for in a round, or learned to be chosen.
    fn replay_entries(&mut self, first: Slot, entries: Vec<Entry>, round: Option<Round>) {
        for (slot, entry) in (first..).zip(entries) {
            // A vote for a slot of the snapshot has served its time.
            if slot <= self.log.base() {
                continue;
            }
            let state = self.log.ensure(slot);
            match round {
                Some(round) => {
                    state.vote = Some((round, entry));
                    state.recorded = After::NOTHING;
                }
                None => {
                    state.decided = Some(entry.name());
                    state.chosen = Some(entry);
                }
            }
        }
    }

    /// Everything up to this slot is in a state.
    pub(crate) fn forget_upto(&mut self, slot: Slot) {
        self.log.collect_upto(slot);
        self.taken.retain(|_, at| *at > slot);
        self.missing.retain(|_, at| *at > slot);
    }
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{Protocol, ReplicaId, Span, Time, WallTime};

    use super::*;
    use crate::config::Config;
    use crate::quorums::FastQuorums;

    fn restored(records: Vec<Record>) -> FastPaxos {
        let quorums = FastQuorums::for_replicas(3).expect("quorums of three");
        let config = Config::new(ReplicaId(0), quorums, Span::from_ms(10));
        let now = Now { monotonic: Time(1), wall: WallTime(1) };
        FastPaxos::restore(config, records, now, &mut Fx::default())
    }

    /// Beyond a gap a slot may be chosen and not executed. An image of that moment keeps the vote too, or
    /// its acceptor would vote again when it is asked again.
    #[test]
    fn an_image_keeps_votes_for_what_is_chosen_beyond_a_gap() {
        let round = Round::classic(Ballot::INITIAL.next_for(ReplicaId(1)));
        let vote = Record::Voted { round, first: 5, entries: vec![Entry::Nop] };
        let learned = Record::Learned { first: 5, entries: vec![Entry::Nop] };
        let again = restored(restored(vec![vote, learned]).image());
        assert_eq!(again.vote(5), Some((round, &Entry::Nop)));
        assert_eq!(again.chosen_entry(5), Some(&Entry::Nop));
    }

    /// A crash between a state taken over and its snapshot brings back votes that were overruled.
    #[test]
    fn what_was_chosen_in_a_state_that_is_lost_again_says_nothing_of_older_votes() {
        let round = Round::fast(Ballot::INITIAL.next_for(ReplicaId(1)));
        let vote = |first| Record::Voted { round, first, entries: vec![Entry::Nop] };
        let known = restored(vec![vote(1), vote(2), Record::Chosen { upto: 2 }]);
        assert_eq!(known.chosen_upto(), 2);
        let (adopted, marked) = (Record::Adopted { upto: 2 }, Record::Chosen { upto: 3 });
        let lost = restored(vec![vote(1), vote(2), adopted.clone(), vote(3), marked]);
        assert_eq!(lost.chosen_upto(), 0);
        assert_eq!(lost.vote(1), Some((round, &Entry::Nop)), "the vote itself still binds");
        assert_eq!(lost.chosen_entry(3), Some(&Entry::Nop));
        assert_eq!(lost.chosen_entry(2), None);
        // The next run holds what it restored: what it says is about those values.
        let (started, later) = (Record::Started { run: 2 }, Record::Chosen { upto: 1 });
        let again = restored(vec![vote(1), vote(2), adopted, started, later]);
        assert_eq!(again.chosen_upto(), 1);
    }
}
