//! What stands for the executed prefix: an image for one's own restart, a handover for a member
//! that has fallen behind what the others keep.

use panchayat_consensus::Now;

use crate::applied::Applied;
use crate::entry::Entry;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{FastPaxos, Fx, Role};
use crate::round::Round;

impl FastPaxos {
    /// Everything this replica must still know: what is executed, in one record; its promises; what
    /// it voted for or learned above.
    pub(crate) fn take_image(&self) -> Vec<Record> {
        let mut upto = self.chosen;
        if self.mutated(Mutation::TruncateAboveSnapshot) {
            upto = self.highest();
        }
        let (ballot, closed) = (self.promised, self.fast.closed);
        let mut image = vec![
            Record::Started { run: self.run },
            Record::Snapshot { upto, proposed_at: self.proposed_at, applied: self.applied.clone() },
            Record::Promised { ballot },
            Record::Closed { ballot, upto: closed },
        ];
        let mut run: Vec<Entry> = Vec::new();
        let (mut run_first, mut run_round, mut bytes) = (0, None, 0);
        // A vote binds also where something is known to be chosen: nobody votes twice.
        let votes = self.log.above(upto).filter_map(|(slot, state)| {
            state.vote.as_ref().map(|(round, entry)| (slot, Some(*round), entry))
        });
        let chosen = self.log.above(upto);
        let chosen = chosen.filter_map(|(slot, state)| Some((slot, None, state.chosen.as_ref()?)));
        for (slot, round, entry) in votes.chain(chosen) {
            let goes_on = round == run_round
                && run_first + run.len() as u64 == slot
                && bytes < self.config.limits.batch_bytes_max;
            if !goes_on {
                image.extend(of_run(run_first, std::mem::take(&mut run), run_round));
                (run_first, run_round, bytes) = (slot, round, 0);
            }
            bytes += entry.bytes();
            run.push(entry.clone());
        }
        image.extend(of_run(run_first, run, run_round));
        image
    }

    /// Takes the place that another member's image describes, if that is further.
    pub(crate) fn adopt(&mut self, handover: Vec<Record>, now: Now, fx: &mut Fx) {
        for record in handover {
            if matches!(&record, Record::Snapshot { upto, .. } if *upto > self.chosen) {
                if !matches!(self.role, Role::Follower) {
                    self.stand_aside(now);
                }
                self.take_place(record);
                fx.persist(Record::Adopted { upto: self.chosen });
                for number in self.pending.numbers() {
                    if self.is_applied((self.me(), number)) {
                        // Executed, elsewhere: the result is not to be had here.
                        self.counters.outcome_unknown += 1;
                        self.pending.remove(number);
                    }
                }
            }
        }
        self.catch_up.moved(now.monotonic);
        self.advance(now, fx);
    }

    pub(crate) fn take_place(&mut self, snapshot: Record) {
        let Record::Snapshot { upto, proposed_at, applied } = snapshot else { return };
        if upto < self.chosen {
            return;
        }
        self.forget_upto(upto);
        self.chosen = upto;
        self.retained_bytes = 0;
        self.proposed_at = proposed_at;
        self.applied.fill(Applied::default());
        self.applied.iter_mut().zip(applied).for_each(|(own, applied)| *own = applied);
    }
}

fn of_run(first: u64, entries: Vec<Entry>, round: Option<Round>) -> Option<Record> {
    if entries.is_empty() {
        return None;
    }
    Some(match round {
        Some(round) => Record::Voted { round, first, entries },
        None => Record::Learned { first, entries },
    })
}
