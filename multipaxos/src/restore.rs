//! Back from the journal.
//!
//! A restarted replica has every promise and every vote, and leads nothing: it never goes on at a
//! ballot it used before. It may have granted a lease that it no longer knows of, so it first
//! waits one out.

use panchayat_consensus::{After, Ballot, Now, Slot};

use crate::entry::Entry;
use crate::lease::Grant;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{Fx, MultiPaxos};

/// Numbers of commands and reads begin with the run, so that no two runs give out the same.
const RUN_SHIFT: u32 = 40;

impl MultiPaxos {
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
        self.pending.last_number = self.run << RUN_SHIFT;
        self.reads.last_id = self.run << RUN_SHIFT;
        if let Some(lease) = self.config.lease
            && self.run > 1
            && !self.mutated(Mutation::LeaseForgottenOnRestart)
        {
            self.grant = Some(Grant { ballot: None, until: now.monotonic + lease.span });
        }
        self.status_due = now.monotonic + self.config.timing.status_interval;
        self.catch_up.moved(now.monotonic);
        self.first_standing(now);
    }

    /// `adopted` is the last slot of a state that was taken over and may have been lost since.
    fn replay_one(&mut self, record: Record, adopted: &mut Slot, now: Now, fx: &mut Fx) {
        let forgets = self.mutated(Mutation::PromiseForgottenOnRestart);
        match record {
            // That run began with what the records before say, so later ones are about that.
            Record::Started { run } => (self.run, *adopted) = (self.run.max(run), 0),
            Record::Promised { ballot } if !forgets => self.promised = self.promised.max(ballot),
            Record::Promised { .. } => {}
            Record::Accepted { ballot, first, entries, chosen } => {
                self.promised = self.promised.max(ballot);
                self.replay_chosen(*adopted, chosen, now, fx);
                self.replay_entries(first, entries, Some(ballot));
            }
            Record::Learned { first, entries } => {
                self.replay_entries(first, entries, None);
                self.advance(now, fx);
            }
            Record::Chosen { upto } => self.replay_chosen(*adopted, upto, now, fx),
            Record::Adopted { upto } => *adopted = upto,
            snapshot @ Record::Snapshot { .. } => self.take_place(snapshot),
        }
    }

    /// Values voted for at a ballot, or learned to be chosen.
    fn replay_entries(&mut self, first: Slot, entries: Vec<Entry>, ballot: Option<Ballot>) {
        for (slot, entry) in (first..).zip(entries) {
            // A vote for a slot of the snapshot has served its time.
            if slot <= self.log.base() {
                continue;
            }
            let state = self.log.ensure(slot);
            match ballot {
                Some(ballot) => state.cast(ballot, entry, After::NOTHING),
                None => state.learn(entry),
            }
        }
    }

    /// Every slot above `adopted` and up to `upto` is chosen, with the value held now.
    fn replay_chosen(&mut self, adopted: Slot, upto: Slot, now: Now, fx: &mut Fx) {
        for slot in self.chosen.max(adopted) + 1..=upto.min(self.log.last()) {
            if let Some(state) = self.log.get_mut(slot) {
                state.chosen = state.entry.is_some();
            }
        }
        self.advance(now, fx);
    }
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{Command, Footprint, Protocol, ReplicaId, Span, Time, WallTime};

    use super::*;
    use crate::config::Config;
    use crate::entry::Submission;
    use crate::quorums::FlexibleQuorums;

    fn restored(records: Vec<Record>) -> MultiPaxos {
        let quorums = FlexibleQuorums::majorities(3).expect("majorities");
        let config = Config::new(ReplicaId(0), quorums, Span::from_ms(10));
        let now = Now { monotonic: Time(1), wall: WallTime(1) };
        MultiPaxos::restore(config, records, now, &mut Fx::default())
    }

    /// Beyond a gap a slot may be chosen and not executed. An image of that moment keeps the vote too, or
    /// its acceptor would vote again when it is asked again.
    #[test]
    fn an_image_keeps_votes_for_what_is_chosen_beyond_a_gap() {
        let ballot = Ballot::INITIAL.next_for(ReplicaId(1));
        let vote = Record::Accepted { ballot, first: 5, entries: vec![Entry::Nop], chosen: 0 };
        let learned = Record::Learned { first: 5, entries: vec![Entry::Nop] };
        let again = restored(restored(vec![vote, learned]).image());
        assert_eq!(again.vote(5), Some((ballot, &Entry::Nop)));
        assert_eq!(again.chosen_entry(5), Some(&Entry::Nop));
    }

    /// What was learned has taken the place of the value voted for. The vote must not come back from an
    /// image as one for what was learned, which nobody cast.
    #[test]
    fn an_image_leaves_out_a_vote_that_was_overruled() {
        let ballot = Ballot::INITIAL.next_for(ReplicaId(1));
        let command = Command::new(Footprint::new([]), None, vec![1].into());
        let submission = Submission {
            origin: ReplicaId(1),
            number: 2,
            floor: 0,
            command: std::sync::Arc::new(command),
        };
        let entries = vec![Entry::Command(submission), Entry::Nop];
        let vote = Record::Accepted { ballot, first: 5, entries, chosen: 0 };
        let learned = Record::Learned { first: 5, entries: vec![Entry::Nop; 2] };
        let known = restored(vec![vote, learned]);
        let image = known.image();
        let voted = image.iter().filter_map(|record| match record {
            Record::Accepted { first, entries, .. } => Some((*first, entries.len())),
            _ => None,
        });
        assert_eq!(voted.collect::<Vec<_>>(), [(6, 1)], "the other stands");
        for replica in [known, restored(image)] {
            assert_eq!(replica.promised(), ballot);
            assert_eq!(replica.vote(5), None);
            assert_eq!(replica.vote(6), Some((ballot, &Entry::Nop)));
            assert_eq!(replica.chosen_entry(5), Some(&Entry::Nop));
        }
    }

    /// A crash between a state taken over and its snapshot brings back votes that were overruled.
    #[test]
    fn what_was_chosen_in_a_state_that_is_lost_again_says_nothing_of_older_votes() {
        let ballot = Ballot::INITIAL.next_for(ReplicaId(1));
        let vote = |first, chosen| {
            let entries = vec![Entry::Nop];
            Record::Accepted { ballot, first, entries, chosen }
        };
        let known = restored(vec![vote(1, 0), vote(2, 0), Record::Chosen { upto: 2 }]);
        assert_eq!(known.chosen_upto(), 2);
        let adopted = Record::Adopted { upto: 2 };
        let marked = Record::Chosen { upto: 3 };
        let lost = restored(vec![vote(1, 0), vote(2, 0), adopted, vote(3, 2), marked]);
        assert_eq!(lost.chosen_upto(), 0);
        assert_eq!(lost.vote(1), Some((ballot, &Entry::Nop)), "the vote itself still binds");
        assert_eq!(lost.chosen_entry(3), Some(&Entry::Nop));
        assert_eq!(lost.chosen_entry(2), None);
        // The next run holds what it restored: what it says is about those values.
        let (adopted, started) = (Record::Adopted { upto: 2 }, Record::Started { run: 2 });
        let later = Record::Chosen { upto: 1 };
        let again = restored(vec![vote(1, 0), vote(2, 0), adopted, started, later]);
        assert_eq!(again.chosen_upto(), 1);
    }
}
