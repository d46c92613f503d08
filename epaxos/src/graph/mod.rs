//! Execution: committed instances in dependency order, strongly connected components at once.
//!
//! Incremental and iterative. Nothing here recurses, rescans or polls. A committed instance walks
//! its dependencies one by one (`walk`); at one that is not executed it parks there and is woken
//! by it. Dependencies in a cycle are found when a walk arrives at a component that, from one
//! parked component to the next, waits for the walker: then all on the way become one component
//! (`components`). A component with nothing left to wait for executes, its members in the order
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

use self::components::{ComponentId, Components, Parked};
use self::keys::Keys;
use self::node::{Lane, State, node, node_mut};
use self::walk::Dependency;
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
    steps: u64,
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
            steps: 0,
        }
    }

    /// `id` was executed before this graph began. Nothing may be known of it yet.
    pub fn was_executed(&mut self, id: InstanceId) {
        let lane = &mut self.lanes[id.replica.index()];
        if let Some(node) = lane.ensure(id.slot) {
            assert_eq!(node.state, State::Unknown, "{id} is known already");
            node.state = State::Executed;
            lane.advance();
        }
    }

    /// Everything in a lane up to `upto` was executed before this graph began.
    pub fn were_executed(&mut self, replica: ReplicaId, upto: Slot) {
        self.lanes[replica.index()].begin_above(upto);
    }

    /// The executed instances of a lane above [`executed_upto`](Self::executed_upto).
    pub fn executed_beyond(&self, replica: ReplicaId) -> Vec<Slot> {
        self.lanes[replica.index()].executed_beyond()
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
        if command.footprint.is_barrier() {
            let at = lane.barriers.partition_point(|slot| *slot < id.slot);
            lane.barriers.insert(at, id.slot);
        }
        let awake = lane.advance();
        self.keys.insert(id, &command.footprint);
        self.wake(awake);
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
                let component = self.components.create(id, std::mem::take(&mut node.waiters));
                node.component = Some(component);
                self.ready.push_back(component);
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
        let component = node(&self.lanes, id)?.component?;
        match self.components.get(component)?.parked {
            Parked::No => None,
            Parked::On(id) => Some(id),
            Parked::Prefix(lane) => Some(InstanceId::new(lane, self.lanes[lane.index()].known + 1)),
        }
    }

    /// How many unexecuted commands touch the busiest key of `footprint`; for a barrier, all.
    pub fn unexecuted_on(&self, footprint: &Footprint) -> usize {
        if footprint.is_barrier() {
            return self.lanes.iter().map(|lane| (lane.highest() - lane.executed) as usize).sum();
        }
        self.keys.longest(footprint)
    }

    /// Whether an unexecuted command conflicts with `footprint`, barriers apart.
    pub fn has_conflict(&self, footprint: &Footprint) -> bool {
        self.keys.has_conflict(footprint)
    }

    /// How large the components of more than one instance were.
    pub fn component_sizes(&self) -> ComponentSizes {
        self.sizes
    }

    /// What the graph has done so far, in steps: lists of dependencies looked at, components visited
    /// in search of cycles, members moved into others' components. Each takes about constant time.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn run(&mut self) {
        while let Some(component) = self.ready.pop_front() {
            self.explore(component);
        }
    }

    fn wake(&mut self, waiters: impl IntoIterator<Item = ComponentId>) {
        for waiter in waiters {
            if let Some(component) = self.components.get_mut(waiter) {
                component.parked = Parked::No;
                self.ready.push_back(waiter);
            }
        }
    }

    /// Walks the dependencies of a component until it parks or executes.
    fn explore(&mut self, mut name: ComponentId) {
        while let Some(member) = self.next_open(name) {
            match self.next_dependency(member) {
                None => {
                    if let Some(component) = self.components.get_mut(name) {
                        component.open.pop();
                    }
                }
                Some(Dependency::Prefix(upto)) => {
                    self.park(name, Parked::Prefix(upto.replica));
                    let lane = &mut self.lanes[upto.replica.index()];
                    lane.prefix_waiters.entry(upto.slot).or_default().push(name);
                    return;
                }
                Some(Dependency::On(dependency)) => {
                    let other = node(&self.lanes, dependency).and_then(|node| node.component);
                    if other == Some(name) {
                        self.pass(member, dependency);
                    } else if let Some(merged) = other.and_then(|o| self.close_cycle(name, o)) {
                        name = merged;
                    } else {
                        self.park(name, Parked::On(dependency));
                        self.wait_for(dependency, name);
                        return;
                    }
                }
            }
        }
        self.execute(name);
    }

    fn next_open(&self, name: ComponentId) -> Option<InstanceId> {
        self.components.get(name)?.open.last().copied()
    }

    fn park(&mut self, name: ComponentId, parked: Parked) {
        if let Some(component) = self.components.get_mut(name) {
            component.parked = parked;
        }
    }

    /// Notes `waiter` where the end of its wait will be noticed: at the component of the
    /// dependency, or at the dependency itself while it is not committed.
    fn wait_for(&mut self, dependency: InstanceId, waiter: ComponentId) {
        let lane = &mut self.lanes[dependency.replica.index()];
        let node = lane.ensure(dependency.slot).expect("an executed instance is no dependency");
        match node.component.and_then(|component| self.components.get_mut(component)) {
            Some(component) => component.waiters.push(waiter),
            None => node.waiters.push(waiter),
        }
    }

    fn execute(&mut self, name: ComponentId) {
        let Some(mut component) = self.components.remove(name) else { return };
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
        self.wake(component.waiters);
    }

    fn execute_member(&mut self, id: InstanceId) {
        let lane = &mut self.lanes[id.replica.index()];
        let node = lane.get_mut(id.slot).expect("executed once");
        node.state = State::Executed;
        node.component = None;
        node.deps = None;
        let waiters = std::mem::take(&mut node.waiters);
        if let Some(command) = node.command.take() {
            if command.footprint.is_barrier()
                && let Ok(at) = lane.barriers.binary_search(&id.slot)
            {
                lane.barriers.remove(at);
            }
            self.keys.remove(id, &command.footprint);
        }
        let awake = lane.advance();
        self.wake(waiters);
        self.wake(awake);
    }

    /// If `other` waits, through however many others, for `name`, makes all of them one component
    /// and returns its name.
    ///
    /// Upwards from `other` and downwards from `name` are searched in turn, because either way may
    /// be long while the other is short: a new command behind a long chain has no waiters, and the
    /// head of a long chain has a short way up.
    fn close_cycle(&mut self, name: ComponentId, other: ComponentId) -> Option<ComponentId> {
        let mut below: Vec<ComponentId> = self.components.get(name)?.waiters.clone();
        let mut path = vec![other];
        let mut found_below = false;
        loop {
            self.steps += 1;
            if !found_below {
                let waiter = below.pop()?;
                found_below = waiter == other;
                if let Some(component) = self.components.get(waiter) {
                    below.extend(&component.waiters);
                }
            }
            let top = path[path.len() - 1];
            let Parked::On(parked_on) = self.components.get(top)?.parked else { return None };
            let next = node(&self.lanes, parked_on)?.component?;
            if next == name {
                break;
            }
            path.push(next);
        }
        Some(path.into_iter().fold(name, |into, from| self.merge(into, from)))
    }

    /// Makes two components one, the smaller moving into the larger, and returns its name.
    fn merge(&mut self, a: ComponentId, b: ComponentId) -> ComponentId {
        let size = |name| self.components.get(name).map_or(0, |component| component.members.len());
        let (into, from) = if size(a) >= size(b) { (a, b) } else { (b, a) };
        let Some(moved) = self.components.remove(from) else { return into };
        self.steps += moved.members.len() as u64;
        for member in &moved.members {
            let node = node_mut(&mut self.lanes, *member).expect("a member is not executed");
            node.component = Some(into);
        }
        if let Some(component) = self.components.get_mut(into) {
            component.parked = Parked::No;
            component.members.extend(moved.members);
            component.open.extend(moved.open);
            let mut waiters = moved.waiters;
            if waiters.len() > component.waiters.len() {
                std::mem::swap(&mut waiters, &mut component.waiters);
            }
            component.waiters.append(&mut waiters);
        }
        into
    }
}

#[cfg(test)]
mod tests;
