//! What stands for the executed prefix: an image for one's own restart, a handover for a member
//! that has fallen behind what the others keep.

use panchayat_consensus::{Ballot, Now};

use crate::entry::Entry;
use crate::mutation::Mutation;
use crate::origins::Origins;
use crate::record::Record;
use crate::replica::{Fx, MultiPaxos, Role};

impl MultiPaxos {
    /// Everything this replica must still know: what is executed, in one record; its promise; what
    /// it voted for or learned above.
    pub(crate) fn take_image(&self) -> Vec<Record> {
        let mut upto = self.chosen;
        if self.mutated(Mutation::TruncateAboveSnapshot) {
            upto = self.highest();
        }
        let applied = self.origins.0.clone();
        let mut image = vec![
            Record::Started { run: self.run },
            Record::Snapshot { upto, proposed_at: self.proposed_at, applied },
            Record::Promised { ballot: self.promised },
        ];
        let mut run: Vec<Entry> = Vec::new();
        let (mut run_first, mut run_ballot, mut bytes) = (0, None, 0);
        // A vote binds also where something is known to be chosen: nobody votes twice.
        let votes = self.log.above(upto).filter_map(|(slot, state)| {
            let (ballot, entry) = state.own_vote()?;
            Some((slot, Some(ballot), entry))
        });
        let chosen = self.log.above(upto).filter(|(_, state)| state.chosen);
        let chosen = chosen.filter_map(|(slot, state)| Some((slot, None, state.entry.as_ref()?)));
        for (slot, ballot, entry) in votes.chain(chosen) {
            let goes_on = ballot == run_ballot
                && run_first + run.len() as u64 == slot
                && bytes < self.config.limits.batch_bytes_max;
            if !goes_on {
                image.extend(of_run(run_first, std::mem::take(&mut run), run_ballot));
                (run_first, run_ballot, bytes) = (slot, ballot, 0);
            }
            bytes += entry.bytes();
            run.push(entry.clone());
        }
        image.extend(of_run(run_first, run, run_ballot));
        image
    }

    /// Takes the place that another member's image describes, if that is further.
    pub(crate) fn adopt(&mut self, handover: Vec<Record>, now: Now, fx: &mut Fx) {
        for record in handover {
            if matches!(&record, Record::Snapshot { upto, .. } if *upto > self.chosen) {
                self.resign(now, fx);
                if !matches!(self.role, Role::Follower) {
                    self.stand_aside(now);
                }
                self.take_place(record);
                fx.persist(Record::Adopted { upto: self.chosen });
                let settled: Vec<u64> = self
                    .pending
                    .numbers()
                    .into_iter()
                    .filter(|number| self.origins.contains(self.me(), *number))
                    .collect();
                for number in settled {
                    // Executed, elsewhere: the result is not to be had here.
                    self.counters.outcome_unknown += 1;
                    if let Some(proposal) = self.pending.remove(number) {
                        fx.unknown(proposal.token);
                    }
                }
            }
        }
        self.catch_up.moved(now.monotonic);
        self.advance(now, fx);
        self.serve_reads();
    }

    pub(crate) fn take_place(&mut self, snapshot: Record) {
        let Record::Snapshot { upto, proposed_at, applied } = snapshot else { return };
        if upto < self.chosen {
            return;
        }
        self.log.collect_upto(upto);
        self.chosen = upto;
        self.retained_bytes = 0;
        self.proposed_at = proposed_at;
        let mut origins = Origins::new(self.config.quorums.n());
        origins.0.iter_mut().zip(applied).for_each(|(own, applied)| *own = applied);
        self.origins = origins;
    }
}

fn of_run(first: u64, entries: Vec<Entry>, ballot: Option<Ballot>) -> Option<Record> {
    if entries.is_empty() {
        return None;
    }
    Some(match ballot {
        Some(ballot) => Record::Accepted { ballot, first, entries, chosen: 0 },
        None => Record::Learned { first, entries },
    })
}
