//! 10. A command executes after everything it depends on, transitively; so a reply, which follows
//! execution, means that nothing proposed later can slip before it.
//!
//! An exception is a cycle: members of one strongly connected component execute in id order, each
//! before some of its own dependencies. They must all be committed by then.

use panchayat_consensus::{Command, InstanceId, KeyHash, Mode, ReplicaId, Slot};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Agreement, Validity};
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

type Lane = Vec<(Slot, Mode)>;

/// Submitted commands by key and lane, and what each replica executed.
#[derive(Clone, Debug)]
pub struct ClosedDependencies {
    lanes: usize,
    by_key: FxHashMap<KeyHash, Vec<Lane>>,
    executed: FxHashMap<ReplicaId, FxHashSet<InstanceId>>,
    /// Per replica, key and lane: how many of the lane's first commands are done with.
    cursors: FxHashMap<(ReplicaId, KeyHash, usize), usize>,
}

impl ClosedDependencies {
    /// Nothing submitted, among `n` replicas.
    pub fn new(n: usize) -> Self {
        Self {
            lanes: n,
            by_key: FxHashMap::default(),
            executed: FxHashMap::default(),
            cursors: FxHashMap::default(),
        }
    }

    /// `command` was submitted under `id`. Within a lane, in order of slots.
    pub fn submitted(&mut self, id: InstanceId, command: &Command) {
        for (key, mode) in command.footprint.keys() {
            let lanes = self.by_key.entry(*key).or_insert_with(|| vec![Lane::new(); self.lanes]);
            let lane = &mut lanes[id.replica.index()];
            match lane.binary_search_by_key(&id.slot, |(slot, _)| *slot) {
                Ok(_) => {}
                Err(place) => {
                    if place < lane.len() {
                        // Out of order: cursors that passed this place must look again.
                        let (key, index) = (*key, id.replica.index());
                        self.cursors.retain(|(_, k, l), _| (*k, *l) != (key, index));
                    }
                    lane.insert(place, (id.slot, *mode));
                }
            }
        }
    }

    /// `at` executes `id` now.
    ///
    /// # Errors
    /// Something it depends on is neither executed there nor in a cycle with it.
    pub fn executing(
        &mut self,
        at: Place,
        id: InstanceId,
        command: &Command,
        validity: &Validity,
        agreement: &Agreement,
    ) -> Result<(), Flaw> {
        let Some(decision) = agreement.get(id) else {
            let text = format!("{} executes it undecided", at.replica);
            return Err(Flaw::of(Invariant::ClosedDependencies, id, text));
        };
        if decision.nop {
            let text = format!("{} executes it though it was decided as Nop", at.replica);
            return Err(Flaw::of(Invariant::ClosedDependencies, id, text));
        }
        let done = self.executed.entry(at.replica).or_default();
        done.insert(id);
        let mut open = Vec::new();
        for (key, mode) in command.footprint.keys() {
            let Some(lanes) = self.by_key.get(key) else { continue };
            for (index, lane) in lanes.iter().enumerate() {
                let replica = ReplicaId(index as u8);
                let last = decision.deps.last(replica);
                let cursor = self.cursors.entry((at.replica, *key, index)).or_default();
                for (place, (slot, other)) in lane.iter().enumerate().skip(*cursor) {
                    if *slot > last {
                        break;
                    }
                    let dependency = InstanceId::new(replica, *slot);
                    let known = agreement.get(dependency);
                    if done.contains(&dependency) || known.is_some_and(|known| known.nop) {
                        if *cursor == place {
                            *cursor += 1;
                        }
                    } else if mode.conflicts(*other) {
                        open.push(dependency);
                    }
                }
            }
        }
        for dependency in open {
            self.must_be_in_a_cycle(at, id, dependency, validity, agreement)?;
        }
        Ok(())
    }

    fn must_be_in_a_cycle(
        &self,
        at: Place,
        id: InstanceId,
        dependency: InstanceId,
        validity: &Validity,
        agreement: &Agreement,
    ) -> Result<(), Flaw> {
        if agreement.get(dependency).is_none() {
            let text = format!("{} executes it before {dependency} is decided", at.replica);
            return Err(Flaw::of(Invariant::ClosedDependencies, id, text));
        }
        if self.reaches(dependency, id, validity, agreement) {
            return Ok(());
        }
        let text = format!(
            "{} executes it before {dependency}, on which it depends and which does not depend \
             on it",
            at.replica
        );
        Err(Flaw::of(Invariant::ClosedDependencies, id, text))
    }

    /// Whether a path of conflicting dependencies leads from `from` to `to`.
    fn reaches(
        &self,
        from: InstanceId,
        to: InstanceId,
        validity: &Validity,
        agreement: &Agreement,
    ) -> bool {
        let mut seen = FxHashSet::default();
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if !seen.insert(id) {
                continue;
            }
            let (Some(decision), Some(command)) = (agreement.get(id), validity.get(id)) else {
                continue;
            };
            if decision.nop {
                continue;
            }
            for (key, mode) in command.footprint.keys() {
                let Some(lanes) = self.by_key.get(key) else { continue };
                for (index, lane) in lanes.iter().enumerate() {
                    let replica = ReplicaId(index as u8);
                    let last = decision.deps.last(replica);
                    let edges = lane.iter().rev().skip_while(|(slot, _)| *slot > last);
                    open.extend(
                        edges
                            .filter(|(_, other)| mode.conflicts(*other))
                            .map(|(slot, _)| InstanceId::new(replica, *slot)),
                    );
                }
            }
        }
        false
    }

    /// `replica` starts again from an empty state.
    pub fn forget(&mut self, replica: ReplicaId) {
        self.executed.remove(&replica);
        self.cursors.retain(|(other, _, _), _| *other != replica);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Decision;
    use panchayat_consensus::{Footprint, WallTime};

    fn id(replica: u8, slot: u64) -> InstanceId {
        InstanceId::new(ReplicaId(replica), slot)
    }

    struct Case {
        check: ClosedDependencies,
        validity: Validity,
        agreement: Agreement,
        at: Place,
    }

    /// Two writes of one key, decided with these dependencies.
    fn case(decisions: [(InstanceId, [u64; 3]); 2]) -> Case {
        let at = Place { replica: ReplicaId(2), incarnation: 1 };
        let mut case = Case {
            check: ClosedDependencies::new(3),
            validity: Validity::default(),
            agreement: Agreement::default(),
            at,
        };
        for (id, lanes) in decisions {
            let place = Place { replica: id.replica, incarnation: 1 };
            case.validity.proposed(place, &command());
            case.validity.submitted(place, id, &command()).unwrap();
            case.check.submitted(id, &command());
            let decision = Decision { nop: false, deps: lanes.into_iter().collect() };
            case.agreement.decided(place, id, &decision).unwrap();
        }
        case
    }

    fn command() -> Command {
        let payload = bytes::Bytes::from_static(b"p");
        Command { footprint: Footprint::write(b"x"), proposed_at: WallTime(1), payload }
    }

    impl Case {
        fn execute(&mut self, id: InstanceId) -> Result<(), Flaw> {
            self.check.executing(self.at, id, &command(), &self.validity, &self.agreement)
        }
    }

    #[test]
    fn a_dependency_must_come_first() {
        let decisions = [(id(0, 1), [0, 0, 0]), (id(1, 1), [1, 0, 0])];
        assert!(case(decisions).execute(id(1, 1)).is_err());
        let mut right = case(decisions);
        right.execute(id(0, 1)).unwrap();
        right.execute(id(1, 1)).unwrap();
        right.check.forget(ReplicaId(2));
        assert!(right.execute(id(1, 1)).is_err());
    }

    #[test]
    fn a_cycle_may_begin_anywhere() {
        let mut cycle = case([(id(0, 1), [0, 1, 0]), (id(1, 1), [1, 0, 0])]);
        cycle.execute(id(0, 1)).unwrap();
        cycle.execute(id(1, 1)).unwrap();
    }

    #[test]
    fn undecided_commands_do_not_execute() {
        let mut case = case([(id(0, 1), [0, 0, 0]), (id(1, 1), [1, 0, 0])]);
        assert!(case.execute(id(0, 2)).is_err());
    }
}
