//! Per key, the commands that are known and not executed: the edges that a prefix stands for.
//!
//! Almost every key has one such command at a time, so one costs no more than its place in the map;
//! only a second one makes a queue.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use panchayat_consensus::{Footprint, InstanceId, KeyHash, Mode, Slot};
use rustc_hash::FxHashMap;

/// Emptied queues kept for reuse.
const SPARE_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Keys {
    n: usize,
    unexecuted: FxHashMap<u64, OnKey>,
    spare: Vec<KeyQueue>,
}

/// The unexecuted commands on one key; at least one.
#[derive(Clone, Debug)]
enum OnKey {
    One(InstanceId, Mode),
    Many(KeyQueue),
}

/// The unexecuted commands on one key: per lane and mode, their slots in ascending order.
#[derive(Clone, Debug)]
pub(super) struct KeyQueue {
    slots: Box<[VecDeque<Slot>]>,
    len: usize,
}

impl Keys {
    pub(super) fn new(n: usize) -> Self {
        Self { n, unexecuted: FxHashMap::default(), spare: Vec::new() }
    }

    pub(super) fn insert(&mut self, id: InstanceId, footprint: &Footprint) {
        for (key, mode) in footprint.keys() {
            match self.unexecuted.entry(key.0) {
                Entry::Vacant(entry) => _ = entry.insert(OnKey::One(id, *mode)),
                Entry::Occupied(mut entry) => {
                    if let OnKey::One(first, first_mode) = *entry.get() {
                        let mut queue = self.spare.pop().unwrap_or_else(|| KeyQueue::new(self.n));
                        queue.insert(first, first_mode);
                        entry.insert(OnKey::Many(queue));
                    }
                    if let OnKey::Many(queue) = entry.get_mut() {
                        queue.insert(id, *mode);
                    }
                }
            }
        }
    }

    pub(super) fn remove(&mut self, id: InstanceId, footprint: &Footprint) {
        for (key, mode) in footprint.keys() {
            let Entry::Occupied(mut entry) = self.unexecuted.entry(key.0) else { continue };
            let none_left = match entry.get_mut() {
                OnKey::One(one, _) => *one == id,
                OnKey::Many(queue) => {
                    queue.remove(id, *mode);
                    queue.len == 0
                }
            };
            if none_left
                && let OnKey::Many(queue) = entry.remove()
                && self.spare.len() < SPARE_MAX
            {
                self.spare.push(queue);
            }
        }
    }

    /// The commands on `key`, if there is or was another beside the one that asks, which must be
    /// among them.
    pub(super) fn shared(&self, key: KeyHash) -> Option<&KeyQueue> {
        match self.unexecuted.get(&key.0)? {
            OnKey::One(..) => None,
            OnKey::Many(queue) => Some(queue),
        }
    }

    /// How many unexecuted commands touch the busiest key of `footprint`.
    pub(super) fn longest(&self, footprint: &Footprint) -> usize {
        let length = |on: &OnKey| match on {
            OnKey::One(..) => 1,
            OnKey::Many(queue) => queue.len,
        };
        let on_keys = footprint.keys().iter().filter_map(|(key, _)| self.unexecuted.get(&key.0));
        on_keys.map(length).max().unwrap_or(0)
    }

    /// Whether a command on one of the keys of `footprint` conflicts with it.
    pub(super) fn has_conflict(&self, footprint: &Footprint) -> bool {
        footprint.keys().iter().any(|(key, mode)| match self.unexecuted.get(&key.0) {
            None => false,
            Some(OnKey::One(_, other)) => mode.conflicts(*other),
            Some(OnKey::Many(queue)) => queue.has_conflict(*mode),
        })
    }
}

impl KeyQueue {
    fn new(n: usize) -> Self {
        Self { slots: vec![VecDeque::new(); n * Mode::COUNT].into(), len: 0 }
    }

    fn insert(&mut self, id: InstanceId, mode: Mode) {
        let slots = &mut self.slots[index(id, mode)];
        match slots.back() {
            Some(last) if *last >= id.slot => {
                let at = slots.partition_point(|slot| *slot < id.slot);
                debug_assert_ne!(slots.get(at), Some(&id.slot), "{id} is there already");
                slots.insert(at, id.slot);
            }
            _ => slots.push_back(id.slot),
        }
        self.len += 1;
    }

    fn remove(&mut self, id: InstanceId, mode: Mode) {
        let slots = &mut self.slots[index(id, mode)];
        let at = slots.partition_point(|slot| *slot < id.slot);
        if slots.get(at) == Some(&id.slot) {
            slots.remove(at);
            self.len -= 1;
        }
    }

    fn has_conflict(&self, mode: Mode) -> bool {
        let lanes = self.slots.chunks_exact(Mode::COUNT);
        let conflicting = |lane: &[VecDeque<Slot>]| {
            Mode::ALL.into_iter().any(|m| mode.conflicts(m) && !lane[m as usize].is_empty())
        };
        lanes.into_iter().any(conflicting)
    }

    /// The last unexecuted command of a lane in `mode` with `floor` < slot ≤ `upper`.
    pub(super) fn last(&self, lane: usize, mode: Mode, floor: Slot, upper: Slot) -> Option<Slot> {
        let slots = &self.slots[lane * Mode::COUNT + mode as usize];
        let last = match slots.back() {
            Some(last) if *last <= upper => *last,
            Some(_) => slots[slots.partition_point(|slot| *slot <= upper).checked_sub(1)?],
            None => return None,
        };
        (last > floor).then_some(last)
    }
}

fn index(id: InstanceId, mode: Mode) -> usize {
    id.replica.index() * Mode::COUNT + mode as usize
}
