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
        for record in records {
            self.replay_one(record, now, fx);
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

    fn replay_one(&mut self, record: Record, now: Now, fx: &mut Fx) {
        let forgets = self.mutated(Mutation::PromiseForgottenOnRestart);
        match record {
            Record::Started { run } => self.run = self.run.max(run),
            Record::Promised { ballot } if !forgets => self.promised = self.promised.max(ballot),
            Record::Promised { .. } => {}
            Record::Accepted { ballot, first, entries, chosen } => {
                self.promised = self.promised.max(ballot);
                self.replay_chosen(chosen, now, fx);
                self.replay_entries(first, entries, Some(ballot));
            }
            Record::Learned { first, entries } => {
                self.replay_entries(first, entries, None);
                self.advance(now, fx);
            }
            Record::Chosen { upto } => self.replay_chosen(upto, now, fx),
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
            state.entry = Some(entry);
            state.accepted = ballot.unwrap_or(state.accepted);
            state.recorded = After::NOTHING;
            state.chosen |= ballot.is_none();
        }
    }

    fn replay_chosen(&mut self, upto: Slot, now: Now, fx: &mut Fx) {
        for slot in self.chosen + 1..=upto.min(self.log.last()) {
            if let Some(state) = self.log.get_mut(slot) {
                state.chosen = state.entry.is_some();
            }
        }
        self.advance(now, fx);
    }
}
