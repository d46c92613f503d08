//! The conflict index: which instances a command must depend on.
//!
//! Constant work per key and lane. For every key it keeps, per lane and mode, the last slot that
//! touches the key; since a dependency vector stands for whole prefixes, the last is all it takes.
//! An instance that turns out as Nop stays counted, which adds a dependency and never loses one.
//! A key goes when everything on it is collected: the coordinator's dependencies cover that anyway.
//!
//! Most keys are touched once before that, so one instance is kept in the map itself; only a
//! second, of another lane or mode, makes a table of cursors.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;

use panchayat_consensus::{Footprint, InstanceId, Mode, ReplicaId, Slot};
use rustc_hash::FxHashMap;

use crate::deps::Deps;

#[derive(Clone, Debug)]
pub(crate) struct Conflicts {
    n: usize,
    keys: FxHashMap<u64, OnKey>,
    /// `n * Mode::COUNT` slots per key that was touched in several ways: lane by lane, mode by mode.
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

/// What touches a key.
#[derive(Clone, Copy, Debug)]
enum OnKey {
    /// One lane in one mode; this is the last there.
    One(InstanceId, Mode),
    /// Any; where the key's cursors start, in units of what a key has.
    Many(u32),
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
            let mut entry = match self.keys.entry(key.0) {
                Entry::Occupied(entry) => entry,
                Entry::Vacant(entry) => {
                    entry.insert(OnKey::One(id, *mode));
                    continue;
                }
            };
            let cursor = |id: InstanceId, mode| id.replica.index() * Mode::COUNT + mode as usize;
            let start = match entry.get_mut() {
                OnKey::One(last, same) if last.replica == id.replica && *same == *mode => {
                    raise(&mut last.slot, id.slot);
                    continue;
                }
                OnKey::One(first, first_mode) => {
                    let place = self.free.pop().unwrap_or_else(|| {
                        let start = self.cursors.len();
                        self.cursors.resize(start + stride, 0);
                        (start / stride) as u32
                    });
                    let start = place as usize * stride;
                    self.cursors[start + cursor(*first, *first_mode)] = first.slot;
                    entry.insert(OnKey::Many(place));
                    start
                }
                OnKey::Many(place) => *place as usize * stride,
            };
            raise(&mut self.cursors[start + cursor(id, *mode)], id.slot);
        }
    }

    /// Forgets the keys of `footprint` on which everything counted is within `collected`.
    pub(crate) fn forget(&mut self, footprint: &Footprint, collected: &Deps) {
        let stride = self.n * Mode::COUNT;
        for (key, _) in footprint.keys() {
            let Entry::Occupied(entry) = self.keys.entry(key.0) else { continue };
            match *entry.get() {
                OnKey::One(last, _) => {
                    if collected.contains(last) {
                        entry.remove();
                    }
                }
                OnKey::Many(place) => {
                    let start = place as usize * stride;
                    let cursors = &mut self.cursors[start..start + stride];
                    let by_lane = cursors.chunks_exact(Mode::COUNT).zip(collected.lanes());
                    let gone = |(of_lane, (_, upto)): (&[Slot], (_, Slot))| {
                        of_lane.iter().all(|s| *s <= upto)
                    };
                    if by_lane.into_iter().all(gone) {
                        cursors.fill(0);
                        self.free.push(place);
                        entry.remove();
                    }
                }
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
        self.each_conflict(footprint, |lane, slot| deps.include(lane, slot));
        for orphan in &self.orphans {
            deps.include(orphan.replica, orphan.slot);
        }
    }

    /// What a wrong index would add: per key the conflict with the highest slot, and no other.
    pub(crate) fn add_last_writers(&self, footprint: &Footprint, deps: &mut Deps) {
        let mut last = (0, ReplicaId(0));
        self.each_conflict(footprint, |lane, slot| last = last.max((slot, lane)));
        deps.include(last.1, last.0);
    }

    /// The last counted slot of a lane that conflicts with `footprint`, orphans apart.
    pub(crate) fn last_conflict(&self, footprint: &Footprint, lane: usize) -> Slot {
        let mut last = 0;
        self.each_conflict(footprint, |of, slot| {
            if of.index() == lane {
                last = last.max(slot);
            }
        });
        last
    }

    /// Gives slots that conflict with `footprint`, the last of each lane among them.
    fn each_conflict(&self, footprint: &Footprint, mut found: impl FnMut(ReplicaId, Slot)) {
        let of_all = if footprint.is_barrier() { &self.last } else { &self.last_barrier };
        for (lane, slot) in of_all.iter().enumerate() {
            found(ReplicaId(lane as u8), *slot);
        }
        let stride = self.n * Mode::COUNT;
        for (key, mode) in footprint.keys() {
            match self.keys.get(&key.0) {
                Some(OnKey::One(last, other)) if mode.conflicts(*other) => {
                    found(last.replica, last.slot);
                }
                None | Some(OnKey::One(..)) => {}
                Some(OnKey::Many(place)) => {
                    let start = *place as usize * stride;
                    let lanes = self.cursors[start..start + stride].chunks_exact(Mode::COUNT);
                    for (lane, cursors) in lanes.enumerate() {
                        let conflicting = Mode::ALL.into_iter().filter(|m| mode.conflicts(*m));
                        let last = conflicting.map(|other| cursors[other as usize]).max();
                        found(ReplicaId(lane as u8), last.unwrap_or(0));
                    }
                }
            }
        }
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
    fn a_key_counts_the_same_however_many_touch_it() {
        // One lane and mode, then more lanes, then more modes; forgotten only as a whole.
        let mut conflicts = Conflicts::new(3);
        let key = |mode| on(1, mode);
        let notes = [
            (0, 3, Mode::Read, [3, 0, 0]),
            (0, 2, Mode::Read, [3, 0, 0]),
            (2, 9, Mode::Read, [3, 0, 9]),
            (0, 5, Mode::Write, [5, 0, 9]),
        ];
        for (lane, slot, mode, expected) in notes {
            conflicts.note(InstanceId::new(ReplicaId(lane), slot), &key(mode));
            assert_eq!(deps_of(&conflicts, &key(Mode::Write)), expected.into_iter().collect());
        }
        assert_eq!(deps_of(&conflicts, &key(Mode::Read)), [5, 0, 0].into_iter().collect());
        conflicts.forget(&key(Mode::Read), &[5, 0, 8].into_iter().collect());
        assert_eq!(conflicts.keys(), 1);
        conflicts.forget(&key(Mode::Read), &[5, 0, 9].into_iter().collect());
        assert_eq!(conflicts.keys(), 0);
        // The place is used again, and empty.
        for lane in [0, 1] {
            conflicts.note(InstanceId::new(ReplicaId(lane), 20), &on(2, Mode::Write));
        }
        assert_eq!(deps_of(&conflicts, &on(2, Mode::Write)), [20, 20, 0].into_iter().collect());
        conflicts.forget(&on(2, Mode::Write), &[20, 20, 0].into_iter().collect());
        conflicts.note(InstanceId::new(ReplicaId(0), 21), &on(2, Mode::Write));
        conflicts.forget(&on(2, Mode::Write), &[20, 20, 0].into_iter().collect());
        assert_eq!(conflicts.keys(), 1, "not all on it is collected");
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
