//! The walk over the dependencies of one instance, one at a time and never twice.
//!
//! A vector names whole prefixes, but most of what they stand for is implied. Within a lane a
//! later command depends on every earlier one it conflicts with, because its coordinator knew
//! them all. So of the writes of a key in a lane only the last inside the prefix is an edge: it
//! leads to everything on that key before it. Reads and commutes do not lead to their like, so
//! those after that last write are edges one by one.
//!
//! Of its own lane an instance depends on earlier slots only, whatever its vector says. A later
//! one that conflicts depends on it, so the two keep their order, and all replicas agree on it.

use panchayat_consensus::{InstanceId, Mode, ReplicaId, Slot};

use super::Graph;
use super::node::{Cursor, Stage, State};

/// Something to wait for.
pub(super) enum Dependency {
    /// An instance that is not executed.
    On(InstanceId),
    /// The payloads of a lane up to and including this slot: any of them might conflict.
    Prefix(InstanceId),
}

impl Graph {
    /// The next dependency of `id` that is not executed, starting from its cursor. `None` when all
    /// were looked at. The cursor stays on what is returned until [`pass`](Self::pass).
    pub(super) fn next_dependency(&mut self, id: InstanceId) -> Option<Dependency> {
        let lane_count = self.lanes.len();
        let node = self.lanes[id.replica.index()].get(id.slot)?;
        let mut cursor = node.cursor;
        let found = loop {
            self.steps += 1;
            if cursor.stage == Stage::Done {
                break None;
            }
            if cursor.lane == lane_count {
                cursor = self.next_list(id, cursor);
                continue;
            }
            match self.last_in_lane(id, &cursor) {
                Some(slot) => {
                    let found = InstanceId::new(ReplicaId(cursor.lane as u8), slot);
                    let unknown = cursor.stage == Stage::Unknowns;
                    break Some(if unknown {
                        Dependency::Prefix(found)
                    } else {
                        Dependency::On(found)
                    });
                }
                None => cursor = Cursor { lane: cursor.lane + 1, below: 0, ..cursor },
            }
        };
        self.lanes[id.replica.index()].get_mut(id.slot)?.cursor = cursor;
        found
    }

    /// Moves the cursor of `id` past `dependency`, which turned out to be in its own component.
    pub(super) fn pass(&mut self, id: InstanceId, dependency: InstanceId) {
        if let Some(node) = self.lanes[id.replica.index()].get_mut(id.slot) {
            let cursor = &mut node.cursor;
            debug_assert_eq!(cursor.lane, dependency.replica.index());
            let last_write = cursor.stage == Stage::Keys && Mode::ALL[cursor.mode] == Mode::Write;
            if last_write {
                *cursor = Cursor { lane: cursor.lane + 1, below: 0, ..*cursor };
            } else {
                cursor.below = dependency.slot;
            }
        }
    }

    /// The list after the current one: the next mode, the next key, the next stage.
    fn next_list(&self, id: InstanceId, cursor: Cursor) -> Cursor {
        let command = super::node::node(&self.lanes, id).and_then(|node| node.command.as_ref());
        let Some(footprint) = command.map(|command| &command.footprint) else {
            return Cursor { stage: Stage::Done, ..cursor };
        };
        let first = |stage| Cursor { stage, lane: 0, key: 0, mode: Mode::Write as usize, below: 0 };
        // Everything inside the vector is known by now: a key that the instance has to itself holds
        // no dependency.
        let key_at = |from: usize| {
            let keys = footprint.keys().iter().enumerate().skip(from);
            match keys.into_iter().find(|(_, (key, _))| self.keys.shared(*key).is_some()) {
                Some((key, _)) => Cursor { key, ..first(Stage::Keys) },
                None => first(Stage::Done),
            }
        };
        match cursor.stage {
            Stage::Unknowns if footprint.is_barrier() => first(Stage::All),
            Stage::Unknowns => first(Stage::Barriers),
            Stage::Barriers => key_at(0),
            Stage::Keys => {
                let mine = footprint.keys()[cursor.key].1;
                let lower = Mode::ALL[..cursor.mode].iter().rposition(|mode| mine.conflicts(*mode));
                match lower {
                    Some(mode) => Cursor { mode, key: cursor.key, ..first(Stage::Keys) },
                    None => key_at(cursor.key + 1),
                }
            }
            Stage::All | Stage::Done => first(Stage::Done),
        }
    }

    /// The highest dependency left in the current lane of the current list.
    fn last_in_lane(&self, id: InstanceId, cursor: &Cursor) -> Option<Slot> {
        let lane = &self.lanes[cursor.lane];
        let node = super::node::node(&self.lanes, id)?;
        let depended = node.deps.as_ref()?.last(ReplicaId(cursor.lane as u8));
        let depended =
            if cursor.lane == id.replica.index() { depended.min(id.slot - 1) } else { depended };
        let upper = if cursor.below > 0 { depended.min(cursor.below - 1) } else { depended };
        match cursor.stage {
            Stage::Unknowns => (lane.known < upper).then_some(upper),
            Stage::Barriers => {
                let at = lane.barriers.partition_point(|slot| *slot <= upper);
                lane.barriers[..at].last().copied()
            }
            Stage::Keys => {
                let (key, _) = node.command.as_ref()?.footprint.keys()[cursor.key];
                let queue = self.keys.shared(key)?;
                match Mode::ALL[cursor.mode] {
                    Mode::Write => queue.last(cursor.lane, Mode::Write, 0, upper),
                    mode => {
                        let write = queue.last(cursor.lane, Mode::Write, 0, depended);
                        queue.last(cursor.lane, mode, write.unwrap_or(0), upper)
                    }
                }
            }
            Stage::All => {
                let mut slot = upper.min(lane.highest());
                while slot > lane.executed {
                    let open = lane.get(slot).is_some_and(|node| node.state != State::Executed);
                    if open {
                        return Some(slot);
                    }
                    slot -= 1;
                }
                None
            }
            Stage::Done => None,
        }
    }
}
