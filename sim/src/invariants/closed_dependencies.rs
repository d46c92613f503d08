//! Invariant 10. A command executes after everything it depends on, transitively; so a reply,
//! which follows execution, means that nothing proposed later can slip before it.
//!
//! An exception is a cycle: members of one strongly connected component execute in id order, each
//! before some of its own dependencies. They must all be committed by then.

use panchayat_consensus::{Command, Footprint, InstanceId, KeyHash, Mode, ReplicaId, Slot};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Agreement, Validity};
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

type Lane = Vec<(Slot, Mode)>;

/// Where commands are kept that a command may conflict with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Track {
    Key(KeyHash),
    /// Those that conflict with everything.
    Barriers,
    /// All: what those conflict with.
    All,
}

/// Where a command itself is kept.
fn tracks_of(footprint: &Footprint) -> Vec<(Track, Mode)> {
    let keys = footprint.keys().iter().map(|(key, mode)| (Track::Key(*key), *mode));
    let barrier = footprint.is_barrier().then_some((Track::Barriers, Mode::Write));
    keys.chain(barrier).chain([(Track::All, Mode::Write)]).collect()
}

/// Where what it conflicts with is kept.
fn conflicts_of(footprint: &Footprint) -> Vec<(Track, Mode)> {
    if footprint.is_barrier() {
        return vec![(Track::All, Mode::Write)];
    }
    let keys = footprint.keys().iter().map(|(key, mode)| (Track::Key(*key), *mode));
    keys.chain([(Track::Barriers, Mode::Write)]).collect()
}

/// Submitted commands by key and lane, and what each replica executed.
#[derive(Clone, Debug)]
pub struct ClosedDependencies {
    lanes: usize,
    by_track: FxHashMap<Track, Vec<Lane>>,
    executed: FxHashMap<ReplicaId, FxHashSet<InstanceId>>,
    /// Per replica, track and lane: how many of the lane's first commands are done with.
    cursors: FxHashMap<(ReplicaId, Track, usize), usize>,
    /// The strongly connected components met so far, by their first member. Decisions never
    /// change, so neither do components.
    components: FxHashMap<InstanceId, InstanceId>,
}

/// What is known of all instances when one is executed.
struct Known<'a> {
    validity: &'a Validity,
    agreement: &'a Agreement,
}

impl ClosedDependencies {
    /// Nothing submitted, among `n` replicas.
    pub fn new(n: usize) -> Self {
        Self {
            lanes: n,
            by_track: FxHashMap::default(),
            executed: FxHashMap::default(),
            cursors: FxHashMap::default(),
            components: FxHashMap::default(),
        }
    }

    /// `command` was submitted under `id`. Within a lane, in order of slots.
    pub fn submitted(&mut self, id: InstanceId, command: &Command) {
        for (track, mode) in tracks_of(&command.footprint) {
            let lanes = self.by_track.entry(track).or_insert_with(|| vec![Lane::new(); self.lanes]);
            let lane = &mut lanes[id.replica.index()];
            match lane.binary_search_by_key(&id.slot, |(slot, _)| *slot) {
                Ok(_) => {}
                Err(place) => {
                    if place < lane.len() {
                        // Out of order: cursors that passed this place must look again.
                        let index = id.replica.index();
                        self.cursors.retain(|(_, t, l), _| (*t, *l) != (track, index));
                    }
                    lane.insert(place, (id.slot, mode));
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
        self.executed.entry(at.replica).or_default().insert(id);
        let known = Known { validity, agreement };
        let open = self.open_edges(at.replica, id, command, &known);
        match open.iter().find(|dependency| !self.together(id, **dependency)) {
            None => Ok(()),
            Some(_) => self.find_component(at, id, open, &known),
        }
    }

    /// Dependencies of `id` that `replica` has not executed and that are not known to be Nop.
    fn open_edges(
        &mut self,
        replica: ReplicaId,
        id: InstanceId,
        command: &Command,
        known: &Known<'_>,
    ) -> Vec<InstanceId> {
        let mut open = Vec::new();
        let Some(decision) = known.agreement.get(id) else { return open };
        let done = self.executed.entry(replica).or_default();
        for (track, mode) in conflicts_of(&command.footprint) {
            let Some(lanes) = self.by_track.get(&track) else { continue };
            for (index, lane) in lanes.iter().enumerate() {
                let owner = ReplicaId(index as u8);
                let last = decision.deps.last(owner);
                let cursor = self.cursors.entry((replica, track, index)).or_default();
                for (place, (slot, other)) in lane.iter().enumerate().skip(*cursor) {
                    if *slot > last {
                        break;
                    }
                    let dependency = InstanceId::new(owner, *slot);
                    let nop = known.agreement.get(dependency).is_some_and(|known| known.nop);
                    if done.contains(&dependency) || nop {
                        if *cursor == place {
                            *cursor += 1;
                        }
                    } else if mode.conflicts(*other) && dependency != id {
                        open.push(dependency);
                    }
                }
            }
        }
        open
    }

    fn together(&self, a: InstanceId, b: InstanceId) -> bool {
        let component = self.components.get(&a);
        component.is_some() && component == self.components.get(&b)
    }

    /// `id` executes first of its component: everything not executed that it reaches must be
    /// decided and reach it in turn.
    fn find_component(
        &mut self,
        at: Place,
        id: InstanceId,
        open: Vec<InstanceId>,
        known: &Known<'_>,
    ) -> Result<(), Flaw> {
        let mut edges: FxHashMap<InstanceId, Vec<InstanceId>> = FxHashMap::default();
        let mut members = vec![id];
        let mut next = open.clone();
        edges.insert(id, open);
        while let Some(member) = next.pop() {
            if edges.contains_key(&member) {
                continue;
            }
            let (Some(_), Some(command)) =
                (known.agreement.get(member), known.validity.get(member))
            else {
                let text = format!("{} executes it before {member} is decided", at.replica);
                return Err(Flaw::of(Invariant::ClosedDependencies, id, text));
            };
            let mut onward = self.open_edges(at.replica, member, command, known);
            onward.retain(|other| *other != member);
            if self.depends_on(member, command, id, known) {
                onward.push(id);
            }
            next.extend(onward.iter().copied());
            edges.insert(member, onward);
            members.push(member);
        }
        let mut backward: FxHashMap<InstanceId, Vec<InstanceId>> = FxHashMap::default();
        for member in &members {
            for other in edges.get(member).into_iter().flatten() {
                backward.entry(*other).or_default().push(*member);
            }
        }
        let mut reaching = FxHashSet::default();
        let mut next = vec![id];
        while let Some(member) = next.pop() {
            if reaching.insert(member) {
                next.extend(backward.get(&member).into_iter().flatten().copied());
            }
        }
        if let Some(outside) = members.iter().find(|member| !reaching.contains(member)) {
            let text = format!(
                "{} executes it before {outside}, on which it depends and which does not depend \
                 on it",
                at.replica
            );
            return Err(Flaw::of(Invariant::ClosedDependencies, id, text));
        }
        self.components.extend(members.into_iter().map(|member| (member, id)));
        Ok(())
    }

    fn depends_on(
        &self,
        from: InstanceId,
        command: &Command,
        to: InstanceId,
        known: &Known<'_>,
    ) -> bool {
        let within = known.agreement.get(from).is_some_and(|decision| decision.deps.contains(to));
        let target = known.validity.get(to);
        within && target.is_some_and(|to| to.footprint.conflicts(&command.footprint))
    }

    /// What `replica` has executed.
    pub fn executed_by(&self, replica: ReplicaId) -> FxHashSet<InstanceId> {
        self.executed.get(&replica).cloned().unwrap_or_default()
    }

    /// `replica` goes on from a state in which this was executed.
    pub fn thaw(&mut self, replica: ReplicaId, executed: FxHashSet<InstanceId>) {
        self.forget(replica);
        self.executed.insert(replica, executed);
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
        Command {
            footprint: Footprint::write(b"x"),
            proposed_at: WallTime(1),
            request: None,
            payload,
        }
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
