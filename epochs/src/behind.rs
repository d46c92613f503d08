//! Others are epochs ahead.
//!
//! Whoever hears of a later epoch tries for a while to come there by itself: usually the seal is on its
//! way. If that does not succeed, those who were heard have moved on, and it needs a state. One that
//! was removed needs none: it goes on helping until a slow quorum of the newer epoch stands, and retires.

use panchayat_consensus::{Now, ReadRefusal, ReplicaId, ReplicaSet, Time};

use crate::adaptive::is_own;
use crate::epoch::Opening;
use crate::mutation::Mutation;
use crate::replica::{Epochs, Fx};
use crate::run::Run;

/// What is known of later epochs.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Behind {
    /// Who was heard from there.
    ahead: ReplicaSet,
    /// Since when.
    since: Option<Time>,
    /// It has lasted too long.
    stuck: bool,
    /// The newest one described.
    pub(crate) newest: Option<Box<Opening>>,
    /// Who has reached that.
    reached: ReplicaSet,
}

impl Behind {
    /// This replica has come to another epoch.
    pub(crate) fn arrived(&mut self, at: &Opening) {
        let newest = self.newest.take();
        let newest = newest.filter(|newest| newest.epoch.number > at.epoch.number);
        *self = Self { newest, ..Self::default() };
    }
}

impl Epochs {
    pub(crate) fn note_ahead(&mut self, from: ReplicaId, now: Now) {
        self.behind.ahead.insert(from);
        self.behind.since.get_or_insert(now.monotonic);
    }

    pub(crate) fn on_current(
        &mut self,
        from: ReplicaId,
        opening: Opening,
        reached: ReplicaSet,
        now: Now,
        fx: &mut Fx,
    ) {
        let number = self.number();
        if Some(opening.epoch.number) < number {
            return;
        }
        if Some(opening.epoch.number) == number {
            self.linger.reached = self.linger.reached.iter().chain(reached.iter()).collect();
            return;
        }
        self.note_ahead(from, now);
        if self.mutated(Mutation::VoteWithoutState) {
            self.previous = self.current.take();
            let _ = self.open(opening, Vec::new(), now, fx);
            return;
        }
        let known = self.behind.newest.as_ref().map(|newest| newest.epoch.number);
        if known < Some(opening.epoch.number) {
            self.behind.newest = Some(Box::new(opening));
            self.behind.reached = reached;
        } else if known == Some(opening.epoch.number) {
            self.behind.reached = self.behind.reached.iter().chain(reached.iter()).collect();
        }
        self.retire_if_removed(fx);
    }

    /// Leaves the group, if a later epoch stands that has no place for this replica.
    fn retire_if_removed(&mut self, fx: &mut Fx) {
        let Some(newest) = &self.behind.newest else { return };
        let epoch = &newest.epoch;
        if self.opening.is_none() && epoch.highest_node < self.config.node {
            // It has yet to be asked in.
            return;
        }
        let reached = epoch.places().iter().filter(|place| self.behind.reached.contains(*place));
        if self.seat_in(epoch).is_some() || reached.count() < epoch.slow_quorum() {
            return;
        }
        let opening = (**newest).clone();
        // What is under way may have been executed before a seal that was not executed here.
        for (token, _) in self.current.as_mut().map(Run::withdraw).unwrap_or_default() {
            self.reads.remove(&token);
            if !is_own(token) {
                fx.unknown(token);
            }
        }
        for token in std::mem::take(&mut self.reads).into_keys() {
            fx.refuse_read(token, ReadRefusal::Unreachable);
        }
        self.linger.reached = self.behind.reached;
        self.behind.arrived(&opening);
        (self.opening, self.current, self.previous) = (Some(opening), None, None);
        (self.stale, self.adaptive) = (true, None);
        self.counts.dismissed += 1;
        self.early.clear();
    }

    /// Members to ask for a state.
    pub(crate) fn states_ahead(&self) -> ReplicaSet {
        // Of one that is gone nothing comes, and what only it knew is not lost: a quorum stands behind it.
        let ahead = self.behind.ahead.minus(self.suspected);
        // Whoever tells a node of its epoch that has none counts it as a member.
        let Some(epoch) = self.epoch() else { return ahead };
        let Some(run) = &self.current else { return ReplicaSet::EMPTY };
        let newest = self.behind.newest.as_ref().map_or(epoch, |newest| &newest.epoch);
        let has_place = self.seat_in(newest).is_some();
        let wanted = run.needs_state();
        if self.behind.stuck && has_place {
            return wanted.iter().chain(ahead.iter()).collect();
        }
        wanted
    }

    /// Whether this replica has no state, or none from which it could go on by itself.
    pub(crate) fn is_without_state(&self) -> bool {
        self.opening.is_none() || (self.current.is_some() && self.behind.stuck)
    }

    pub(crate) fn attend_behind(&mut self, now: Now, _fx: &mut Fx) {
        let patience = self.config.timing.behind;
        if self.behind.since.is_some_and(|since| now.monotonic >= since + patience) {
            self.behind.stuck = true;
        }
    }

    /// When there is something to do without any input.
    pub(crate) fn behind_due(&self) -> Option<Time> {
        let since = self.behind.since.filter(|_| !self.behind.stuck)?;
        Some(since + self.config.timing.behind)
    }
}
