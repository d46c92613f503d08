//! The instances a replica knows, by lane.

use std::collections::VecDeque;

use panchayat_consensus::{InstanceId, ReplicaId, Slot};

use crate::deps::Deps;
use crate::instance::Instance;

/// Every lane's instances above those collected. Slots between known ones are there as unknown
/// instances.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    /// Everything up to here is executed by all who count, and gone.
    collected: Slot,
    instances: VecDeque<Instance>,
}

impl Lanes {
    pub(crate) fn new(n: usize) -> Self {
        Self { lanes: vec![Lane::default(); n] }
    }

    /// Lanes that begin above `collected`.
    pub(crate) fn above(collected: &Deps) -> Self {
        let lane = |(_, collected)| Lane { collected, instances: VecDeque::new() };
        Self { lanes: collected.lanes().map(lane).collect() }
    }

    /// The instance, unless it is collected or nothing at or above its slot is known.
    pub(crate) fn get(&self, id: InstanceId) -> Option<&Instance> {
        let lane = self.lanes.get(id.replica.index())?;
        lane.instances.get(lane.offset(id.slot)?)
    }

    /// The instance for change, unless it is collected or nothing at or above its slot is known.
    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        let lane = self.lanes.get_mut(id.replica.index())?;
        let offset = lane.offset(id.slot)?;
        lane.instances.get_mut(offset)
    }

    /// The highest slot known to exist in a lane.
    pub(crate) fn highest(&self, replica: ReplicaId) -> Slot {
        self.lanes[replica.index()].highest()
    }

    /// The highest slots of all lanes.
    pub(crate) fn all_highest(&self) -> Deps {
        self.lanes.iter().map(Lane::highest).collect()
    }

    /// The slot up to which a lane is collected.
    pub(crate) fn collected(&self, replica: ReplicaId) -> Slot {
        self.lanes[replica.index()].collected
    }

    /// The slots up to which the lanes are collected.
    pub(crate) fn all_collected(&self) -> Deps {
        self.lanes.iter().map(|lane| lane.collected).collect()
    }

    /// Whether `id` is collected.
    pub(crate) fn is_collected(&self, id: InstanceId) -> bool {
        self.lanes.get(id.replica.index()).is_some_and(|lane| id.slot <= lane.collected)
    }

    /// How many instances are kept.
    pub(crate) fn retained(&self) -> usize {
        self.lanes.iter().map(|lane| lane.instances.len()).sum()
    }

    /// Drops the lowest instance of a lane and gives it back.
    pub(crate) fn collect(&mut self, replica: ReplicaId) -> Option<Instance> {
        let lane = &mut self.lanes[replica.index()];
        let instance = lane.instances.pop_front()?;
        lane.collected += 1;
        Some(instance)
    }

    /// Makes the next slot of a lane known to exist.
    pub(crate) fn push_unknown(&mut self, replica: ReplicaId) -> InstanceId {
        let n = self.lanes.len();
        let lane = &mut self.lanes[replica.index()];
        lane.instances.push_back(Instance::unknown(n));
        InstanceId::new(replica, lane.highest())
    }

    /// Every instance known to exist and not collected, lane by lane.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.lanes.iter().enumerate().flat_map(|(index, lane)| {
            let replica = ReplicaId(index as u8);
            let slots = lane.collected + 1..;
            let id = move |(slot, instance)| (InstanceId::new(replica, slot), instance);
            slots.zip(&lane.instances).map(id)
        })
    }
}

impl Lane {
    fn highest(&self) -> Slot {
        self.collected + self.instances.len() as Slot
    }

    fn offset(&self, slot: Slot) -> Option<usize> {
        Some(slot.checked_sub(self.collected + 1)? as usize)
    }
}
