//! Invariant 12. Garbage collection never drops what a member may still need.
//!
//! When an instance goes at one replica, it is durably decided at every other that this one counts;
//! and it counts all but f at most.

use panchayat_consensus::{InstanceId, Quorums, ReplicaId, ReplicaSet, Slot};
use rustc_hash::FxHashMap;

use super::DurablePromise;
use crate::flaw::{Flaw, Invariant};

/// Up to where each replica has collected each lane.
#[derive(Clone, Debug)]
pub struct Collection {
    quorums: Quorums,
    collected: FxHashMap<(ReplicaId, ReplicaId), Slot>,
}

impl Collection {
    /// Nothing collected.
    pub fn new(quorums: Quorums) -> Self {
        Self { quorums, collected: FxHashMap::default() }
    }

    /// `replica`, which counts `absent` as absent, has collected `lane` up to `upto`.
    ///
    /// # Errors
    /// A member it counts does not hold something of it.
    pub fn collected(
        &mut self,
        replica: ReplicaId,
        absent: ReplicaSet,
        (lane, upto): (ReplicaId, Slot),
        promise: &DurablePromise,
    ) -> Result<(), Flaw> {
        let before = self.collected.entry((replica, lane)).or_default();
        let new = *before + 1..=upto;
        *before = upto.max(*before);
        for id in new.map(|slot| InstanceId::new(lane, slot)) {
            if absent.len() > self.quorums.f() {
                let text = format!("{replica} collects it without {absent:?}");
                return Err(Flaw::of(Invariant::Collection, id, text));
            }
            let members = ReplicaSet::all(self.quorums.n()).minus(absent);
            if let Some(lacking) = members.iter().find(|member| !promise.is_committed(*member, id))
            {
                let text = format!("{replica} collects it, and {lacking} does not hold it");
                return Err(Flaw::of(Invariant::Collection, id, text));
            }
        }
        Ok(())
    }

    /// `replica` goes on from what it held earlier, or from what another held.
    pub fn begin_at(&mut self, replica: ReplicaId, lane: ReplicaId, upto: Slot) {
        self.collected.insert((replica, lane), upto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::Ballot;
    use panchayat_epaxos::{Deps, Proposal, Record};

    #[test]
    fn what_a_counted_member_lacks_must_not_go() {
        let lane = ReplicaId(0);
        let record = Record::Committed {
            ballot: Ballot::INITIAL,
            id: InstanceId::new(lane, 1),
            value: Proposal::Nop,
            deps: Deps::none(3),
        };
        let mut promise = DurablePromise::default();
        promise.durable(ReplicaId(0), &record).unwrap();
        promise.durable(ReplicaId(1), &record).unwrap();
        let mut check = Collection::new(Quorums::for_replicas(3).unwrap());
        let absent = ReplicaSet::only(ReplicaId(2));
        check.clone().collected(lane, ReplicaSet::EMPTY, (lane, 1), &promise).unwrap_err();
        check.clone().collected(lane, ReplicaSet::all(2), (lane, 1), &promise).unwrap_err();
        check.collected(lane, absent, (lane, 1), &promise).unwrap();
        check.collected(lane, absent, (lane, 1), &promise).unwrap();
    }
}
