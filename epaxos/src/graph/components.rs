//! Groups of committed instances that are known to depend on each other.
//!
//! Every committed, unexecuted instance belongs to one component, at first alone. A component
//! that waits is parked on exactly one instance, so parked components form a forest; finding that
//! a dependency leads back to the component itself closes a cycle, and the cycle becomes one
//! component. When a component has no dependency left outside, it is a strongly connected
//! component of the dependency graph with everything below it executed.

use panchayat_consensus::{InstanceId, ReplicaId};
use smallvec::SmallVec;

/// The name of a component. A name that has been given up is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ComponentId {
    index: u32,
    generation: u32,
}

/// What a component waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parked {
    /// Nothing: it is about to be looked at.
    #[default]
    No,
    /// An instance that is not executed.
    On(InstanceId),
    /// Payloads inside the prefix of a lane.
    Prefix(ReplicaId),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Component {
    pub(super) members: SmallVec<[InstanceId; 1]>,
    /// Members whose dependencies are not all looked at yet.
    pub(super) open: SmallVec<[InstanceId; 1]>,
    pub(super) parked: Parked,
    /// Components parked on a member. Some may have been merged into others since.
    pub(super) waiters: Vec<ComponentId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Components {
    slots: Vec<(u32, Component)>,
    free: Vec<u32>,
}

impl Components {
    /// A component of `id` alone, which `waiters` are parked on.
    pub(super) fn create(&mut self, id: InstanceId, waiters: Vec<ComponentId>) -> ComponentId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, Component::default()));
            self.slots.len() as u32 - 1
        });
        let (generation, component) = &mut self.slots[index as usize];
        component.members.push(id);
        component.open.push(id);
        component.waiters = waiters;
        ComponentId { index, generation: *generation }
    }

    /// The component, unless it has executed or was merged into another.
    pub(super) fn get(&self, name: ComponentId) -> Option<&Component> {
        let (generation, component) = &self.slots[name.index as usize];
        (*generation == name.generation).then_some(component)
    }

    pub(super) fn get_mut(&mut self, name: ComponentId) -> Option<&mut Component> {
        let (generation, component) = &mut self.slots[name.index as usize];
        (*generation == name.generation).then_some(component)
    }

    /// Takes a component out and gives up its name.
    pub(super) fn remove(&mut self, name: ComponentId) -> Option<Component> {
        let (generation, component) = &mut self.slots[name.index as usize];
        if *generation != name.generation {
            return None;
        }
        *generation = generation.wrapping_add(1);
        self.free.push(name.index);
        Some(std::mem::take(component))
    }
}
