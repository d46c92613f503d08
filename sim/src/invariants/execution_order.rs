//! Invariant 8. Conflicting commands execute in the same order everywhere.
//!
//! Checked by counting: per key, how many commands of each conflicting mode executed before. If
//! those counts are the same everywhere for every command, so is the order of every conflicting
//! pair. One lookup per key of a command, whatever the length of the history.

use panchayat_consensus::{Footprint, InstanceId, KeyHash, Mode, ReplicaId};
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// How far one replica is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    keys: FxHashMap<KeyHash, [u32; Mode::COUNT]>,
    commands: u32,
    barriers: u32,
}

/// How far each replica is, and where each command stood when it was first executed.
#[derive(Clone, Debug, Default)]
pub struct ExecutionOrder {
    replicas: FxHashMap<ReplicaId, Progress>,
    places: FxHashMap<(InstanceId, KeyHash), (u32, ReplicaId)>,
    among_barriers: FxHashMap<InstanceId, (u32, ReplicaId)>,
}

impl ExecutionOrder {
    /// Notes that `at` executes `id` now.
    ///
    /// # Errors
    /// Another replica executed it after more or fewer conflicting commands.
    pub fn executed(
        &mut self,
        at: Place,
        id: InstanceId,
        footprint: &Footprint,
    ) -> Result<(), Flaw> {
        let progress = self.replicas.entry(at.replica).or_default();
        for (key, mode) in footprint.keys() {
            let counts = progress.keys.entry(*key).or_default();
            let conflicting = Mode::ALL.into_iter().filter(|other| mode.conflicts(*other));
            let before = conflicting.map(|other| counts[other as usize]).sum();
            counts[*mode as usize] += 1;
            let first = *self.places.entry((id, *key)).or_insert((before, at.replica));
            differs(at, id, before, first, "conflicting commands on a key")?;
        }
        let before = if footprint.is_barrier() { progress.commands } else { progress.barriers };
        let first = *self.among_barriers.entry(id).or_insert((before, at.replica));
        differs(at, id, before, first, "commands ordered by barriers")?;
        progress.commands += 1;
        progress.barriers += u32::from(footprint.is_barrier());
        Ok(())
    }

    /// How far `replica` is.
    pub fn progress(&self, replica: ReplicaId) -> Progress {
        self.replicas.get(&replica).cloned().unwrap_or_default()
    }

    /// `replica` goes on from a state that was this far.
    pub fn thaw(&mut self, replica: ReplicaId, progress: Progress) {
        self.replicas.insert(replica, progress);
    }

    /// `replica` starts again from an empty state.
    pub fn forget(&mut self, replica: ReplicaId) {
        self.replicas.remove(&replica);
    }
}

fn differs(
    at: Place,
    id: InstanceId,
    before: u32,
    (first, by): (u32, ReplicaId),
    what: &str,
) -> Result<(), Flaw> {
    if before == first {
        return Ok(());
    }
    let text = format!("{} executes it after {before} {what}, {by} after {first}", at.replica);
    Err(Flaw::of(Invariant::ExecutionOrder, id, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(replica: u8) -> Place {
        Place { replica: ReplicaId(replica), incarnation: 1 }
    }

    fn id(replica: u8) -> InstanceId {
        InstanceId::new(ReplicaId(replica), 1)
    }

    #[test]
    fn swapped_writes_are_found_and_swapped_reads_are_not() {
        let write = Footprint::write(b"x");
        let read = Footprint::read(b"x");
        let mut check = ExecutionOrder::default();
        for (replica, order) in [(0, [1, 2]), (1, [2, 1])] {
            for number in order {
                check.executed(at(replica), id(number), &read).unwrap();
            }
        }
        check.executed(at(0), id(3), &write).unwrap();
        check.executed(at(0), id(4), &write).unwrap();
        let flaw = check.executed(at(1), id(4), &write).unwrap_err();
        assert_eq!(flaw.invariant, Invariant::ExecutionOrder);
    }

    #[test]
    fn a_read_on_the_other_side_of_a_write_is_found() {
        let mut check = ExecutionOrder::default();
        check.executed(at(0), id(1), &Footprint::write(b"x")).unwrap();
        check.executed(at(0), id(2), &Footprint::read(b"x")).unwrap();
        assert!(check.executed(at(1), id(2), &Footprint::read(b"x")).is_err());
    }

    #[test]
    fn a_barrier_orders_everything_and_a_restart_begins_anew() {
        let mut check = ExecutionOrder::default();
        check.executed(at(0), id(1), &Footprint::write(b"x")).unwrap();
        check.executed(at(0), id(2), &Footprint::barrier()).unwrap();
        assert!(check.clone().executed(at(1), id(2), &Footprint::barrier()).is_err());
        check.forget(ReplicaId(0));
        check.executed(at(0), id(1), &Footprint::write(b"x")).unwrap();
        check.executed(at(0), id(2), &Footprint::barrier()).unwrap();
    }
}
