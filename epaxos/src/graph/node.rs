//! What the graph knows of one instance, and how far its dependencies were looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use panchayat_consensus::{Command, InstanceId, Slot};

use super::components::ComponentId;
use crate::deps::Deps;

/// How far an instance has come, as far as execution is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It exists, its payload is not known.
    Unknown,
    /// The payload is known.
    Known,
    /// Decided on its payload.
    Committed,
    /// Executed, or decided as Nop.
    Executed,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) state: State,
    pub(super) command: Option<Arc<Command>>,
    pub(super) deps: Option<Deps>,
    /// The component it belongs to while it is committed and not executed.
    pub(super) component: Option<ComponentId>,
    pub(super) cursor: Cursor,
    /// Components parked on this instance while it is not committed.
    pub(super) waiters: Vec<ComponentId>,
}

/// Where the walk over an instance's dependencies stands. Everything before it is executed or in
/// the instance's own component.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub(super) stage: Stage,
    pub(super) lane: usize,
    /// Which key of the footprint.
    pub(super) key: usize,
    /// Which of the modes that conflict.
    pub(super) mode: usize,
    /// Only slots below this are left in the current list; 0 for "not begun".
    pub(super) below: Slot,
}

/// What the walk looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Ids inside the vector whose payload is unknown: each might conflict.
    #[default]
    Unknowns,
    /// Barriers, which conflict with everything.
    Barriers,
    /// The commands on the keys of the footprint.
    Keys,
    /// Everything: the instance is a barrier itself.
    All,
    /// Nothing is left.
    Done,
}

/// The nodes of one lane above its executed prefix.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// Everything up to here is executed.
    pub(super) executed: Slot,
    /// Everything up to here is at least known.
    pub(super) known: Slot,
    /// Unexecuted barriers, ascending.
    pub(super) barriers: Vec<Slot>,
    /// Components that wait until everything up to a slot is known, by that slot.
    pub(super) prefix_waiters: BTreeMap<Slot, Vec<ComponentId>>,
    nodes: VecDeque<Node>,
}

impl Node {
    fn unknown() -> Self {
        Self {
            state: State::Unknown,
            command: None,
            deps: None,
            component: None,
            cursor: Cursor::default(),
            waiters: Vec::new(),
        }
    }
}

impl Lane {
    /// The node at `slot`, unless it is executed or nothing is known at or above it.
    pub(super) fn get(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot.checked_sub(self.executed + 1)? as usize)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Node> {
        self.nodes.get_mut(slot.checked_sub(self.executed + 1)? as usize)
    }

    /// The node at `slot`, made if needed; `None` if it is executed and gone.
    pub(super) fn ensure(&mut self, slot: Slot) -> Option<&mut Node> {
        let at = slot.checked_sub(self.executed + 1)? as usize;
        while self.nodes.len() <= at {
            self.nodes.push_back(Node::unknown());
        }
        self.nodes.get_mut(at)
    }

    /// Makes a lane of which nothing is known begin above `executed`.
    pub(super) fn begin_above(&mut self, executed: Slot) {
        assert!(self.nodes.is_empty() && self.executed <= executed, "the lane has begun");
        self.executed = executed;
        self.known = self.known.max(executed);
    }

    /// The executed slots above the prefix.
    pub(super) fn executed_beyond(&self) -> Vec<Slot> {
        let slots = (self.executed + 1..).zip(&self.nodes);
        let executed = slots.filter(|(_, node)| node.state == State::Executed);
        executed.map(|(slot, _)| slot).collect()
    }

    /// How far up nodes exist.
    pub(super) fn highest(&self) -> Slot {
        self.executed + self.nodes.len() as Slot
    }

    /// Moves both watermarks over what has become known or executed. Gives back the components for
    /// which enough is known now.
    pub(super) fn advance(&mut self) -> Vec<ComponentId> {
        while self.nodes.front().is_some_and(|node| node.state == State::Executed) {
            self.nodes.pop_front();
            self.executed += 1;
        }
        self.known = self.known.max(self.executed);
        while self.get(self.known + 1).is_some_and(|node| node.state != State::Unknown) {
            self.known += 1;
        }
        let mut awake = Vec::new();
        while let Some(first) = self.prefix_waiters.first_entry()
            && *first.key() <= self.known
        {
            awake.extend(first.remove());
        }
        awake
    }
}

/// `lanes[id]`, for readability.
pub(super) fn node(lanes: &[Lane], id: InstanceId) -> Option<&Node> {
    lanes[id.replica.index()].get(id.slot)
}

pub(super) fn node_mut(lanes: &mut [Lane], id: InstanceId) -> Option<&mut Node> {
    lanes[id.replica.index()].get_mut(id.slot)
}
