//! The instances a replica knows, by lane.

use std::collections::VecDeque;

use panchayat_consensus::{InstanceId, ReplicaId, Slot};

use crate::deps::Deps;
use crate::instance::Instance;

/// Every lane's instances from slot 1 on. Slots between known ones are there as unknown instances.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    lanes: Vec<VecDeque<Instance>>,
}

impl Lanes {
    pub(crate) fn new(n: usize) -> Self {
        Self { lanes: vec![VecDeque::new(); n] }
    }

    /// The instance, unless nothing at or above its slot is known.
    pub(crate) fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.lanes.get(id.replica.index())?.get(offset(id.slot))
    }

    /// The instance for change, unless nothing at or above its slot is known.
    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.lanes.get_mut(id.replica.index())?.get_mut(offset(id.slot))
    }

    /// The highest slot known to exist in a lane.
    pub(crate) fn highest(&self, replica: ReplicaId) -> Slot {
        self.lanes[replica.index()].len() as Slot
    }

    /// The highest slots of all lanes.
    pub(crate) fn all_highest(&self) -> Deps {
        self.lanes.iter().map(|lane| lane.len() as Slot).collect()
    }

    /// Makes the next slot of a lane known to exist.
    pub(crate) fn push_unknown(&mut self, replica: ReplicaId) -> InstanceId {
        let n = self.lanes.len();
        let lane = &mut self.lanes[replica.index()];
        lane.push_back(Instance::unknown(n));
        InstanceId::new(replica, lane.len() as Slot)
    }

    /// Every instance known to exist, lane by lane.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.lanes.iter().enumerate().flat_map(|(index, lane)| {
            let replica = ReplicaId(index as u8);
            lane.iter()
                .enumerate()
                .map(move |(at, instance)| (InstanceId::new(replica, at as Slot + 1), instance))
        })
    }
}

fn offset(slot: Slot) -> usize {
    slot as usize - 1
}
