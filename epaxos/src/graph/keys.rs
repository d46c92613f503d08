//! Per key, the commands that are known and not executed: the edges that a prefix stands for.

use std::collections::VecDeque;

use panchayat_consensus::{Footprint, InstanceId, Mode, Slot};
use rustc_hash::FxHashMap;

/// Emptied queues kept for reuse, so that a key touched once costs no allocation.
const SPARE_MAX: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Keys {
    n: usize,
    queues: FxHashMap<u64, KeyQueue>,
    spare: Vec<KeyQueue>,
}

/// The unexecuted commands on one key: per lane and mode, their slots in ascending order.
#[derive(Clone, Debug)]
pub(super) struct KeyQueue {
    slots: Box<[VecDeque<Slot>]>,
    len: usize,
}

impl Keys {
    pub(super) fn new(n: usize) -> Self {
        Self { n, queues: FxHashMap::default(), spare: Vec::new() }
    }

    pub(super) fn insert(&mut self, id: InstanceId, footprint: &Footprint) {
        for (key, mode) in footprint.keys() {
            let queue = self.queues.entry(key.0).or_insert_with(|| {
                let lanes = self.n * Mode::COUNT;
                self.spare.pop().unwrap_or_else(|| KeyQueue {
                    slots: vec![VecDeque::new(); lanes].into(),
                    len: 0,
                })
            });
            let slots = &mut queue.slots[index(id, *mode)];
            match slots.back() {
                Some(last) if *last >= id.slot => {
                    let at = slots.partition_point(|slot| *slot < id.slot);
                    debug_assert_ne!(slots.get(at), Some(&id.slot), "{id} is there already");
                    slots.insert(at, id.slot);
                }
                _ => slots.push_back(id.slot),
            }
            queue.len += 1;
        }
    }

    pub(super) fn remove(&mut self, id: InstanceId, footprint: &Footprint) {
        for (key, mode) in footprint.keys() {
            let Some(queue) = self.queues.get_mut(&key.0) else { continue };
            let slots = &mut queue.slots[index(id, *mode)];
            let at = slots.partition_point(|slot| *slot < id.slot);
            if slots.get(at) == Some(&id.slot) {
                slots.remove(at);
                queue.len -= 1;
            }
            if queue.len == 0
                && let Some(queue) = self.queues.remove(&key.0)
                && self.spare.len() < SPARE_MAX
            {
                self.spare.push(queue);
            }
        }
    }

    pub(super) fn get(&self, key: u64) -> Option<&KeyQueue> {
        self.queues.get(&key)
    }

    /// How many unexecuted commands touch the busiest key of `footprint`.
    pub(super) fn longest(&self, footprint: &Footprint) -> usize {
        let lengths = footprint.keys().iter().filter_map(|(key, _)| self.queues.get(&key.0));
        lengths.map(|queue| queue.len).max().unwrap_or(0)
    }
}

impl KeyQueue {
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
