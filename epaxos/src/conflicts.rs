//! The conflict index: which instances a command must depend on.
//!
//! Constant work per key and lane. For every key it keeps, per lane and mode, the last slot that
//! touches the key; since a dependency vector stands for whole prefixes, the last is all it takes.
//! An instance that turns out as Nop stays counted, which adds a dependency and never loses one.
//! A key goes when everything on it is collected: the coordinator's dependencies cover that anyway.

use std::collections::BTreeSet;

use panchayat_consensus::{Footprint, InstanceId, Mode, ReplicaId, Slot};
use rustc_hash::FxHashMap;

use crate::deps::Deps;

#[derive(Clone, Debug)]
pub(crate) struct Conflicts {
    n: usize,
    /// Where a key's cursors start in `cursors`.
    keys: FxHashMap<u64, u32>,
    /// `n * Mode::COUNT` slots per key: lane by lane, mode by mode.
    cursors: Vec<Slot>,
    /// Places in `cursors` that belonged to a key that is gone; all zero.
    free: Vec<u32>,
    /// The last slot per lane with a known payload: what a barrier depends on.
    last: Vec<Slot>,
    /// The last barrier per lane: what everything depends on.
    last_barrier: Vec<Slot>,
    /// Accepted as Nop with unknown payload. They count as conflicting with everything until they
    /// are committed, because the payload may come back.
    orphans: BTreeSet<InstanceId>,
}

impl Conflicts {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            n,
            keys: FxHashMap::default(),
            cursors: Vec::new(),
            free: Vec::new(),
            last: vec![0; n],
            last_barrier: vec![0; n],
            orphans: BTreeSet::new(),
        }
    }

    /// Counts `id`, whose payload has become known.
    pub(crate) fn note(&mut self, id: InstanceId, footprint: &Footprint) {
        let lane = id.replica.index();
        raise(&mut self.last[lane], id.slot);
        if footprint.is_barrier() {
            raise(&mut self.last_barrier[lane], id.slot);
        }
        let stride = self.n * Mode::COUNT;
        for (key, mode) in footprint.keys() {
            let place = *self.keys.entry(key.0).or_insert_with(|| {
                self.free.pop().unwrap_or_else(|| {
                    let start = self.cursors.len();
                    self.cursors.resize(start + stride, 0);
                    (start / stride) as u32
                })
            });
            let start = place as usize * stride;
            raise(&mut self.cursors[start + lane * Mode::COUNT + *mode as usize], id.slot);
        }
    }

    /// Forgets the keys of `footprint` on which everything counted is within `collected`.
    pub(crate) fn forget(&mut self, footprint: &Footprint, collected: &Deps) {
        let stride = self.n * Mode::COUNT;
        for (key, _) in footprint.keys() {
            let Some(place) = self.keys.get(&key.0).copied() else { continue };
            let start = place as usize * stride;
            let cursors = &mut self.cursors[start..start + stride];
            let by_lane = cursors.chunks_exact(Mode::COUNT).zip(collected.lanes());
            let gone =
                |(of_lane, (_, upto)): (&[Slot], (_, Slot))| of_lane.iter().all(|s| *s <= upto);
            if by_lane.into_iter().all(gone) {
                cursors.fill(0);
                self.keys.remove(&key.0);
                self.free.push(place);
            }
        }
    }

    /// How many keys are remembered.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Counts `id` as conflicting with everything, until [`forget_orphan`](Self::forget_orphan).
    pub(crate) fn note_orphan(&mut self, id: InstanceId) {
        self.orphans.insert(id);
    }

    /// `id` is committed, or its payload is known and counts by itself.
    pub(crate) fn forget_orphan(&mut self, id: InstanceId) {
        if !self.orphans.is_empty() {
            self.orphans.remove(&id);
        }
    }

    /// Adds to `deps` every counted instance that conflicts with `footprint`.
    pub(crate) fn add_conflicts(&self, footprint: &Footprint, deps: &mut Deps) {
        for lane in 0..self.n {
            let replica = ReplicaId(lane as u8);
            deps.include(replica, self.last_conflict(footprint, lane));
        }
        for orphan in &self.orphans {
            deps.include(orphan.replica, orphan.slot);
        }
    }

    /// What a wrong index would add: per key the conflict with the highest slot, and no other.
    pub(crate) fn add_last_writers(&self, footprint: &Footprint, deps: &mut Deps) {
        let lanes = (0..self.n).map(|lane| (self.last_conflict(footprint, lane), lane));
        if let Some((slot, lane)) = lanes.max() {
            deps.include(ReplicaId(lane as u8), slot);
        }
    }

    /// The last counted slot of a lane that conflicts with `footprint`, orphans apart.
    pub(crate) fn last_conflict(&self, footprint: &Footprint, lane: usize) -> Slot {
        if footprint.is_barrier() {
            return self.last[lane];
        }
        let stride = self.n * Mode::COUNT;
        let mut last = self.last_barrier[lane];
        for (key, mode) in footprint.keys() {
            let Some(index) = self.keys.get(&key.0) else { continue };
            let start = *index as usize * stride + lane * Mode::COUNT;
            for other in Mode::ALL {
                if mode.conflicts(other) {
                    last = last.max(self.cursors[start + other as usize]);
                }
            }
        }
        last
    }
}

fn raise(slot: &mut Slot, to: Slot) {
    *slot = (*slot).max(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::KeyHash;

    fn on(key: u64, mode: Mode) -> Footprint {
        Footprint::new([(KeyHash(key), mode)])
    }

    fn deps_of(conflicts: &Conflicts, footprint: &Footprint) -> Deps {
        let mut deps = Deps::none(3);
        conflicts.add_conflicts(footprint, &mut deps);
        deps
    }

    #[test]
    fn a_write_depends_on_reads_and_a_read_only_on_writes() {
        let mut conflicts = Conflicts::new(3);
        conflicts.note(InstanceId::new(ReplicaId(0), 4), &on(1, Mode::Read));
        conflicts.note(InstanceId::new(ReplicaId(1), 2), &on(1, Mode::Write));
        conflicts.note(InstanceId::new(ReplicaId(1), 9), &on(2, Mode::Write));
        assert_eq!(deps_of(&conflicts, &on(1, Mode::Read)), [0, 2, 0].into_iter().collect());
        assert_eq!(deps_of(&conflicts, &on(1, Mode::Write)), [4, 2, 0].into_iter().collect());
        assert_eq!(deps_of(&conflicts, &Footprint::barrier()), [4, 9, 0].into_iter().collect());
    }

    #[test]
    fn a_barrier_and_an_orphan_are_everyones_dependency() {
        let mut conflicts = Conflicts::new(3);
        conflicts.note(InstanceId::new(ReplicaId(2), 3), &Footprint::barrier());
        let orphan = InstanceId::new(ReplicaId(0), 8);
        conflicts.note_orphan(orphan);
        assert_eq!(deps_of(&conflicts, &on(7, Mode::Read)), [8, 0, 3].into_iter().collect());
        conflicts.forget_orphan(orphan);
        assert_eq!(deps_of(&conflicts, &on(7, Mode::Read)), [0, 0, 3].into_iter().collect());
    }

    #[test]
    fn an_overtaken_instance_does_not_lower_the_cursor() {
        let mut conflicts = Conflicts::new(3);
        for slot in [5, 3] {
            conflicts.note(InstanceId::new(ReplicaId(1), slot), &on(1, Mode::Write));
        }
        assert_eq!(deps_of(&conflicts, &on(1, Mode::Write)), [0, 5, 0].into_iter().collect());
    }
}
