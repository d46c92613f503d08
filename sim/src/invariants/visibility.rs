//! Invariant 2. Visibility: of two committed, conflicting commands one is in the other's
//! dependencies.

use panchayat_consensus::{Footprint, InstanceId, KeyHash, Mode};
use panchayat_epaxos::Deps;
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};

/// Committed commands by the keys they touch.
#[derive(Clone, Debug, Default)]
pub struct Visibility {
    deps: FxHashMap<InstanceId, Deps>,
    by_key: FxHashMap<KeyHash, Vec<(InstanceId, Mode)>>,
    all: Vec<InstanceId>,
    barriers: Vec<InstanceId>,
}

impl Visibility {
    /// Notes that `id` was committed as a command with this footprint. Once per id.
    ///
    /// # Errors
    /// A committed command conflicts with it and neither depends on the other.
    pub fn committed(
        &mut self,
        id: InstanceId,
        footprint: &Footprint,
        deps: &Deps,
    ) -> Result<(), Flaw> {
        if footprint.is_barrier() {
            self.against(id, deps, self.all.iter())?;
            self.barriers.push(id);
        } else {
            self.against(id, deps, self.barriers.iter())?;
        }
        for (key, mode) in footprint.keys() {
            let touching = self.by_key.entry(*key).or_default();
            let rivals = touching.iter().filter(|(_, other)| mode.conflicts(*other));
            for (other, _) in rivals {
                Self::pair(&self.deps, id, deps, *other)?;
            }
            touching.push((id, *mode));
        }
        self.all.push(id);
        self.deps.insert(id, deps.clone());
        Ok(())
    }

    fn against<'a>(
        &self,
        id: InstanceId,
        deps: &Deps,
        others: impl Iterator<Item = &'a InstanceId>,
    ) -> Result<(), Flaw> {
        others.into_iter().try_for_each(|other| Self::pair(&self.deps, id, deps, *other))
    }

    fn pair(
        known: &FxHashMap<InstanceId, Deps>,
        id: InstanceId,
        deps: &Deps,
        other: InstanceId,
    ) -> Result<(), Flaw> {
        let theirs = known.get(&other);
        if deps.contains(other) || theirs.is_some_and(|theirs| theirs.contains(id)) {
            return Ok(());
        }
        let text = format!(
            "committed with {deps:?}, conflicts with {other} committed with {theirs:?}: neither \
             depends on the other"
        );
        Err(Flaw::of(Invariant::Visibility, id, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::ReplicaId;

    fn id(replica: u8, slot: u64) -> InstanceId {
        InstanceId::new(ReplicaId(replica), slot)
    }

    fn deps(lanes: [u64; 3]) -> Deps {
        lanes.into_iter().collect()
    }

    #[test]
    fn one_direction_is_enough_and_none_is_a_flaw() {
        let mut check = Visibility::default();
        let write = Footprint::write(b"x");
        check.committed(id(0, 1), &write, &deps([0, 0, 0])).unwrap();
        check.committed(id(1, 1), &write, &deps([1, 0, 0])).unwrap();
        check.committed(id(2, 1), &Footprint::read(b"y"), &deps([0, 0, 0])).unwrap();
        let flaw = check.committed(id(2, 2), &write, &deps([1, 0, 0])).unwrap_err();
        assert_eq!(flaw.invariant, Invariant::Visibility);
        assert!(flaw.text.contains("r1/1"), "{flaw}");
    }

    #[test]
    fn reads_pass_each_other_and_barriers_pass_nothing() {
        let mut check = Visibility::default();
        let read = Footprint::read(b"x");
        check.committed(id(0, 1), &read, &deps([0, 0, 0])).unwrap();
        check.committed(id(1, 1), &read, &deps([0, 0, 0])).unwrap();
        let barrier = Footprint::barrier();
        assert!(check.clone().committed(id(2, 1), &barrier, &deps([1, 0, 0])).is_err());
        check.committed(id(2, 1), &barrier, &deps([1, 1, 0])).unwrap();
        assert!(check.committed(id(0, 2), &read, &deps([0, 0, 0])).is_err());
    }
}
