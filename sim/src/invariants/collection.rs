//! Invariant 12. Garbage collection never drops what a member may still need.
//!
//! When a replica begins to collect an instance, that is durably decided at every other that this one
//! counts, and each of them had said that its watermark has reached it, unless it was counted as
//! absent just before; and all but f at most are counted.
//! What a status says to lie within the watermarks of all, all have said.
//!
//! A watermark that was said once holds for good, whatever happens to its owner since: everything
//! that was known when it was reached is decided.

use panchayat_consensus::{InstanceId, Quorums, ReplicaId, ReplicaSet, Slot};
use panchayat_epaxos::{Deps, Status};
use rustc_hash::FxHashMap;

use super::DurablePromise;
use crate::flaw::{Flaw, Invariant};

/// Up to where each replica has collected each lane.
#[derive(Clone, Debug)]
pub struct Collection {
    quorums: Quorums,
    collected: FxHashMap<(ReplicaId, ReplicaId), Slot>,
    /// The watermarks that left each replica.
    watermarks: Vec<Deps>,
    /// Whom each replica has counted as absent at some time since its last turn.
    absent_lately: Vec<ReplicaSet>,
}

impl Collection {
    /// Nothing collected.
    pub fn new(quorums: Quorums) -> Self {
        let watermarks = vec![Deps::none(quorums.n()); quorums.n()];
        let absent_lately = vec![ReplicaSet::EMPTY; quorums.n()];
        Self { quorums, collected: FxHashMap::default(), watermarks, absent_lately }
    }

    /// `replica` counts these as absent, perhaps only for a part of its turn.
    pub fn settles(&mut self, replica: ReplicaId, absent: ReplicaSet) {
        let lately = &mut self.absent_lately[replica.index()];
        absent.iter().for_each(|member| _ = lately.insert(member));
    }

    /// At the end of its turn `replica` counts these as absent.
    pub fn goes_by(&mut self, replica: ReplicaId, absent: ReplicaSet) {
        self.absent_lately[replica.index()] = absent;
    }

    /// A status leaves `replica`.
    ///
    /// # Errors
    /// It says of others what they have not said.
    pub fn said(&mut self, replica: ReplicaId, status: &Status) -> Result<(), Flaw> {
        self.watermarks[replica.index()].union(&status.executed);
        match self.watermarks.iter().position(|watermark| !watermark.covers(&status.shared)) {
            None => Ok(()),
            Some(other) => {
                let text = format!(
                    "{replica} says that all share {:?}, replica {other} only ever said {:?}",
                    status.shared, self.watermarks[other]
                );
                Err(Flaw::general(Invariant::Collection, text))
            }
        }
    }

    /// `replica`, which counts `absent` as absent, collects `lane` up to `upto` from now on.
    ///
    /// # Errors
    /// A member it counts does not hold something of it, or has not said that it does.
    pub fn collects(
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
            let lately = self.absent_lately[replica.index()];
            let has = |member: &ReplicaId| {
                let said = *member == replica
                    || lately.contains(*member)
                    || self.watermarks[member.index()].contains(id);
                said && promise.is_committed(*member, id)
            };
            if let Some(lacking) = members.iter().find(|member| !has(member)) {
                let text = format!(
                    "{replica} collects it, and {lacking} does not hold it or has not said so"
                );
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
    use panchayat_consensus::{Ballot, WallTime};
    use panchayat_epaxos::{Proposal, Record};

    const LANE: ReplicaId = ReplicaId(0);

    fn status(executed: Deps, shared: Deps) -> Status {
        let none = || Deps::none(3);
        Status {
            seen: none(),
            reached: none(),
            executed,
            collected: none(),
            shared,
            absent: ReplicaSet::EMPTY,
            seen_then: none(),
            proposed_after: WallTime(0),
        }
    }

    fn upto(slot: Slot) -> Deps {
        Deps::none(3).with(LANE, slot)
    }

    #[test]
    fn what_a_counted_member_lacks_must_not_go() {
        let record = Record::Committed {
            ballot: Ballot::INITIAL,
            id: InstanceId::new(LANE, 1),
            value: Proposal::Nop,
            deps: Deps::none(3),
        };
        let mut promise = DurablePromise::default();
        promise.durable(ReplicaId(0), &record).unwrap();
        promise.durable(ReplicaId(1), &record).unwrap();
        let mut check = Collection::new(Quorums::for_replicas(3).unwrap());
        let absent = ReplicaSet::only(ReplicaId(2));
        let may = |check: &Collection, absent| {
            check.clone().collects(LANE, absent, (LANE, 1), &promise).is_ok()
        };
        assert!(!may(&check, absent), "replica 1 has it and has not said so");
        check.said(ReplicaId(1), &status(upto(1), upto(0))).unwrap();
        assert!(!may(&check, ReplicaSet::EMPTY) && !may(&check, ReplicaSet::all(2)));
        assert!(may(&check, absent));
        assert!(!may(&check, ReplicaSet::EMPTY), "replica 2 does not have it");
        check.collects(LANE, absent, (LANE, 1), &promise).unwrap();
        check.collects(LANE, absent, (LANE, 1), &promise).unwrap();
    }

    #[test]
    fn nobody_says_of_others_what_they_have_not_said() {
        let mut check = Collection::new(Quorums::for_replicas(3).unwrap());
        check.said(ReplicaId(0), &status(upto(4), upto(0))).unwrap();
        check.said(ReplicaId(1), &status(upto(3), upto(0))).unwrap();
        assert!(check.clone().said(ReplicaId(2), &status(upto(5), upto(4))).is_err());
        check.said(ReplicaId(2), &status(upto(5), upto(3))).unwrap();
        // It has restarted since.
        check.said(ReplicaId(1), &status(upto(0), upto(0))).unwrap();
        check.said(ReplicaId(0), &status(upto(4), upto(3))).unwrap();
    }
}
