//! Groups of committed instances that are known to depend on each other.
//!
//! Every committed, unexecuted instance belongs to one component, at first alone. A component
//! that waits is parked on exactly one instance, so parked components form a forest; finding that
//! a dependency leads back to the component itself closes a cycle, and the cycle becomes one
//! component. When a component has no dependency left outside, it is a strongly connected
//! component of the dependency graph with everything below it executed.

use panchayat_consensus::InstanceId;
use smallvec::SmallVec;

/// The name of a component. Reused after it has executed or was merged into another.
pub(super) type ComponentId = u32;

/// "No component."
pub(super) const NONE: ComponentId = u32::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Component {
    pub(super) members: SmallVec<[InstanceId; 1]>,
    /// Members whose dependencies are not all looked at yet.
    pub(super) open: SmallVec<[InstanceId; 1]>,
    /// The instance this component waits for.
    pub(super) parked_on: Option<InstanceId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Components {
    slots: Vec<Component>,
    free: Vec<ComponentId>,
}

impl Components {
    pub(super) fn create(&mut self, id: InstanceId) -> ComponentId {
        let name = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Component::default());
            self.slots.len() as ComponentId - 1
        });
        let component = &mut self.slots[name as usize];
        component.members.push(id);
        component.open.push(id);
        name
    }

    /// Takes a component out; its name may be given to another.
    pub(super) fn remove(&mut self, name: ComponentId) -> Component {
        self.free.push(name);
        std::mem::take(&mut self.slots[name as usize])
    }
}

impl std::ops::Index<ComponentId> for Components {
    type Output = Component;
    fn index(&self, name: ComponentId) -> &Component {
        &self.slots[name as usize]
    }
}

impl std::ops::IndexMut<ComponentId> for Components {
    fn index_mut(&mut self, name: ComponentId) -> &mut Component {
        &mut self.slots[name as usize]
    }
}
