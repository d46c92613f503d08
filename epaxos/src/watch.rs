//! When to look after an undecided instance.
//!
//! Almost every instance is decided long before its time comes, so the common case must cost
//! nothing: newly known instances queue in order of their deadline, which never falls, and are
//! dropped when it finds them decided. Only instances in trouble get a timer of their own.

use std::collections::{BTreeSet, VecDeque};

use panchayat_consensus::{InstanceId, Time};

#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    fresh: VecDeque<(Time, InstanceId)>,
    timers: BTreeSet<(Time, InstanceId)>,
}

impl Watch {
    /// Looks after `id` at `due`, and not before any fresh one that came earlier. Gives back when.
    pub(crate) fn fresh(&mut self, due: Time, id: InstanceId) -> Time {
        let due = self.fresh.back().map_or(due, |(last, _)| due.max(*last));
        self.fresh.push_back((due, id));
        due
    }

    /// Looks after `id` at `due`.
    pub(crate) fn at(&mut self, due: Time, id: InstanceId) {
        self.timers.insert((due, id));
    }

    /// The next instance whose time has come.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<InstanceId> {
        if self.timers.first().is_some_and(|(due, _)| *due <= now) {
            return self.timers.pop_first().map(|(_, id)| id);
        }
        if self.fresh.front().is_some_and(|(due, _)| *due <= now) {
            return self.fresh.pop_front().map(|(_, id)| id);
        }
        None
    }

    /// When to look next. Fresh instances are rounded up to `grain` microseconds, so that a busy
    /// replica is woken for many at once.
    pub(crate) fn next_due(&self, grain: u64) -> Option<Time> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let fresh = self.fresh.front().map(|(due, _)| Time(due.0.div_ceil(grain) * grain));
        match (timer, fresh) {
            (Some(timer), Some(fresh)) => Some(timer.min(fresh)),
            (timer, fresh) => timer.or(fresh),
        }
    }
}
