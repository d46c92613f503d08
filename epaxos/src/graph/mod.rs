//! Execution: committed instances in dependency order, strongly connected components at once.
//!
//! Incremental and iterative. Nothing here recurses, rescans or polls. A committed instance walks
//! its dependencies one by one ([`walk`]); at one that is not executed it parks there and is woken
//! by it. Dependencies in a cycle are found when a walk arrives at a component that, from one
//! parked component to the next, waits for the walker: then all on the way become one component
//! ([`components`]). A component with nothing left to wait for executes, its members in the order
//! of their ids, and wakes whoever is parked on them.
//!
//! The seam to consensus is narrow: instances become [`known`](Graph::known) and are
//! [`committed`](Graph::committed); what may execute comes out of
//! [`take_executable`](Graph::take_executable), in order.

mod components;
mod keys;
mod node;
mod walk;

use std::collections::VecDeque;
use std::sync::Arc;

use panchayat_consensus::{Command, Footprint, InstanceId, ReplicaId, Slot};

use self::components::{ComponentId, Components, NONE};
use self::keys::Keys;
use self::node::{Lane, State, node, node_mut};
use crate::deps::Deps;

/// The dependency graph of the committed and unexecuted instances at one replica.
#[derive(Clone, Debug)]
pub struct Graph {
    lanes: Vec<Lane>,
    keys: Keys,
    components: Components,
    /// Components whose dependency has executed or become known.
    ready: VecDeque<ComponentId>,
    executable: Vec<(InstanceId, Arc<Command>)>,
    sizes: ComponentSizes,
}

/// How large the components of more than one instance were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComponentSizes {
    /// How many there were.
    pub count: u64,
    /// The instances in them.
    pub members: u64,
    /// The largest.
    pub max: u64,
}

impl Graph {
    /// The empty graph of an epoch with `n` replicas.
    pub fn new(n: usize) -> Self {
        Self {
            lanes: vec![Lane::default(); n],
            keys: Keys::new(n),
            components: Components::default(),
            ready: VecDeque::new(),
            executable: Vec::new(),
            sizes: ComponentSizes::default(),
        }
    }

    /// The payload of `id` is known. A repetition does nothing.
    pub fn known(&mut self, id: InstanceId, command: &Arc<Command>) {
        let lane = &mut self.lanes[id.replica.index()];
        let Some(node) = lane.ensure(id.slot) else { return };
        if node.state != State::Unknown {
            return;
        }
        node.state = State::Known;
        node.command = Some(command.clone());
        let waiters = std::mem::take(&mut node.waiters);
        if command.footprint.is_barrier() {
            let at = lane.barriers.partition_point(|slot| *slot < id.slot);
            lane.barriers.insert(at, id.slot);
        }
        lane.advance();
        self.keys.insert(id, &command.footprint);
        self.wake(waiters);
        self.run();
    }

    /// `id` is decided: on Nop, or on its payload, which must be known, with these dependencies.
    pub fn committed(&mut self, id: InstanceId, decision: Option<&Deps>) {
        let lane = &mut self.lanes[id.replica.index()];
        let Some(node) = lane.ensure(id.slot) else { return };
        if matches!(node.state, State::Committed | State::Executed) {
            return;
        }
        match decision {
            None => self.execute_member(id),
            Some(deps) => {
                assert_eq!(node.state, State::Known, "{id} is committed before it is known");
                node.state = State::Committed;
                node.deps = Some(deps.clone());
                node.component = self.components.create(id);
                self.ready.push_back(node.component);
            }
        }
        self.run();
    }

    /// Takes what may execute, in execution order.
    pub fn take_executable(&mut self) -> std::vec::Drain<'_, (InstanceId, Arc<Command>)> {
        self.executable.drain(..)
    }

    /// The slot up to which everything in a lane is executed.
    pub fn executed_upto(&self, replica: ReplicaId) -> Slot {
        self.lanes[replica.index()].executed
    }

    /// Whether `id` is executed.
    pub fn is_executed(&self, id: InstanceId) -> bool {
        let lane = &self.lanes[id.replica.index()];
        id.slot <= lane.executed
            || lane.get(id.slot).is_some_and(|node| node.state == State::Executed)
    }

    /// The instance that `id` waits for, if it is committed and not executed.
    pub fn waits_for(&self, id: InstanceId) -> Option<InstanceId> {
        let node = node(&self.lanes, id)?;
        (node.component != NONE).then(|| self.components[node.component].parked_on)?
    }

    /// How many unexecuted commands touch the busiest key of `footprint`.
    pub fn unexecuted_on(&self, footprint: &Footprint) -> usize {
        self.keys.longest(footprint)
    }

    /// How large the components of more than one instance were.
    pub fn component_sizes(&self) -> ComponentSizes {
        self.sizes
    }

    fn run(&mut self) {
        while let Some(component) = self.ready.pop_front() {
            self.explore(component);
        }
    }

    fn wake(&mut self, waiters: impl IntoIterator<Item = ComponentId>) {
        for waiter in waiters {
            self.components[waiter].parked_on = None;
            self.ready.push_back(waiter);
        }
    }

    /// Walks the dependencies of a component until it parks or executes.
    fn explore(&mut self, name: ComponentId) {
        while let Some(member) = self.components[name].open.last().copied() {
            let Some(dependency) = self.next_dependency(member) else {
                self.components[name].open.pop();
                continue;
            };
            let other = node(&self.lanes, dependency).map_or(NONE, |node| node.component);
            if other == name {
                self.pass(member, dependency);
            } else if other == NONE || !self.close_cycle(name, other) {
                self.park(name, dependency);
                return;
            }
        }
        self.execute(name);
    }

    fn park(&mut self, name: ComponentId, dependency: InstanceId) {
        self.components[name].parked_on = Some(dependency);
        let lane = &mut self.lanes[dependency.replica.index()];
        let node = lane.ensure(dependency.slot).expect("an executed instance is no dependency");
        node.waiters.push(name);
    }

    fn execute(&mut self, name: ComponentId) {
        let mut component = self.components.remove(name);
        component.members.sort_unstable();
        let size = component.members.len() as u64;
        if size > 1 {
            self.sizes.count += 1;
            self.sizes.members += size;
            self.sizes.max = self.sizes.max.max(size);
        }
        for member in &component.members {
            let node = node(&self.lanes, *member).expect("a member is not executed");
            let command = node.command.clone().expect("a member is known");
            self.executable.push((*member, command));
        }
        for member in component.members {
            self.execute_member(member);
        }
    }

    fn execute_member(&mut self, id: InstanceId) {
        let lane = &mut self.lanes[id.replica.index()];
        let node = lane.get_mut(id.slot).expect("executed once");
        node.state = State::Executed;
        node.component = NONE;
        node.deps = None;
        let waiters = std::mem::take(&mut node.waiters);
        let command = node.command.take();
        if let Some(command) = command {
            if command.footprint.is_barrier() {
                lane.barriers.retain(|slot| *slot != id.slot);
            }
            self.keys.remove(id, &command.footprint);
        }
        lane.advance();
        self.wake(waiters);
    }

    /// If `other` waits, through however many others, for `name`, makes all of them one component
    /// and returns true.
    ///
    /// Upwards from `other` and downwards from `name` are searched in turn, because either way may
    /// be long while the other is short: a new command behind a long chain has no waiters, and the
    /// head of a long chain has a short way up.
    fn close_cycle(&mut self, name: ComponentId, other: ComponentId) -> bool {
        let mut below: Vec<ComponentId> = self.waiters_of(name).collect();
        let mut path = vec![other];
        let mut found_below = false;
        loop {
            if !found_below {
                let Some(waiter) = below.pop() else { return false };
                found_below = waiter == other;
                let waiters: Vec<_> = self.waiters_of(waiter).collect();
                below.extend(waiters);
            }
            let top = path[path.len() - 1];
            let parked_on = self.components[top].parked_on;
            let next = parked_on.and_then(|on| node(&self.lanes, on));
            match next.map_or(NONE, |node| node.component) {
                NONE => return false,
                next if next == name => break,
                next => path.push(next),
            }
        }
        for merged in path {
            self.merge(name, merged);
        }
        true
    }

    fn waiters_of(&self, name: ComponentId) -> impl Iterator<Item = ComponentId> + '_ {
        let members = self.components[name].members.iter();
        members
            .filter_map(|id| node(&self.lanes, *id))
            .flat_map(|node| node.waiters.iter().copied())
    }

    fn merge(&mut self, into: ComponentId, from: ComponentId) {
        let merged = self.components.remove(from);
        if let Some(node) = merged.parked_on.and_then(|on| node_mut(&mut self.lanes, on)) {
            node.waiters.retain(|waiter| *waiter != from);
        }
        for member in &merged.members {
            let node = node_mut(&mut self.lanes, *member).expect("a member is not executed");
            node.component = into;
        }
        let component = &mut self.components[into];
        component.members.extend(merged.members);
        component.open.extend(merged.open);
    }
}

#[cfg(test)]
mod tests;
