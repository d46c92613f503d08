//! Invariants 11 and 13. As long as clocks are as good as stated, at most one replica may answer
//! reads under a lease, and what it answers contains everything answered before.

use panchayat_consensus::{Durable, Effects, Now, Output, RecordSeq, ReplicaId, Slot, Token};
use panchayat_multipaxos::{MultiPaxos, Way};

use crate::flaw::{Flaw, Invariant};
use crate::log::instance;

/// Who held the lease, and what clients know.
#[derive(Clone, Debug, Default)]
pub struct LeaseHolders {
    answered: Slot,
    last: Option<ReplicaId>,
    changes: u64,
    reads: u64,
}

impl LeaseHolders {
    /// A client has the answer to the command in `slot`.
    pub fn answered(&mut self, slot: Slot) {
        self.answered = self.answered.max(slot);
    }

    /// Looks at all replicas at one moment, each by its own clock.
    ///
    /// # Errors
    /// Two hold the lease, or one that does would answer a read from a state that lacks what was
    /// answered already.
    pub fn look<'a>(
        &mut self,
        all: impl Iterator<Item = (ReplicaId, Now, &'a MultiPaxos)>,
    ) -> Result<(), Flaw> {
        let mut holder: Option<ReplicaId> = None;
        for (replica, now, protocol) in all.filter(|(_, now, each)| each.holds_lease(*now)) {
            if let Some(other) = holder {
                let text = format!("{other} and {replica} hold the lease, both");
                return Err(Flaw::general(Invariant::LeaseHolders, text));
            }
            holder = Some(replica);
            if protocol.chosen_upto() < self.answered {
                self.read(replica, now, protocol)?;
            }
        }
        if holder.is_some() && holder != self.last {
            self.changes += 1;
            self.last = holder;
        }
        Ok(())
    }

    /// What a read here and now would be answered. It is asked of a copy.
    fn read(&mut self, replica: ReplicaId, now: Now, protocol: &MultiPaxos) -> Result<(), Flaw> {
        self.reads += 1;
        let (mut copy, mut effects) = (protocol.clone(), Effects::default());
        copy.read(Token(u64::MAX), Way::Lease, now, &mut effects);
        let said = effects.take_outputs().filter_map(|it| it.open(Durable(RecordSeq(0))).ok());
        let ready = said.filter(|output| matches!(output, Output::ReadReady { .. })).count() > 0;
        let upto = copy.chosen_upto();
        if ready && upto < self.answered {
            let text = format!(
                "{replica} would answer a read from its state upto slot {upto}, though this one \
                 was answered"
            );
            return Err(Flaw::of(Invariant::StaleRead, instance(self.answered), text));
        }
        Ok(())
    }

    /// How often the lease changed hands, and how many reads were tried.
    pub fn counts(&self) -> (u64, u64) {
        (self.changes, self.reads)
    }
}
