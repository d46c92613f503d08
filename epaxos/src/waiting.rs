//! The wait at the end of a validation that found undecided invalidators.
//!
//! Two recoveries may wait for each other. Each says so with |R|, and the rule on it lets one of
//! them go on: if both had enough endorsers for a fast commit, the endorsers would overlap, and
//! one in the overlap would have made one depend on the other.

use panchayat_consensus::{Ballot, InstanceId, Now};

use crate::attempt::{Stage, Validation};
use crate::instance::{Instance, Phase};
use crate::message::{Message, Report};
use crate::mutation::Mutation;
use crate::replica::{EPaxos, Fx};

/// How a wait ends.
enum End {
    Committed(Report),
    Accepted(Report),
    Validated,
    /// A committed invalidator shows that it cannot have been committed fast.
    Invalidated,
    /// An invalidator's recoverer waits too, and only one of the two can have been.
    Deadlock,
    /// The coordinator took part after all, and knows nothing of a commit.
    Coordinator,
}

impl EPaxos {
    pub(crate) fn start_waiting(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        validation: Validation,
        now: Now,
        fx: &mut Fx,
    ) {
        let endorsers = validation.endorsers as u8;
        let invalidators: Vec<InstanceId> = validation.invalidators.keys().copied().collect();
        let Some(attempt) = self.attempt_at(id, ballot) else { return };
        attempt.stage = Stage::Waiting(validation);
        fx.send(self.others(), Message::Waiting { id, endorsers }, fx.after_last());
        for other in invalidators {
            self.hurry(other, now);
        }
        self.look_at_wait(id, now, fx);
        self.on_waiting(id, endorsers, now, fx);
    }

    /// Remembered even if nothing here waits for `id` yet; forgotten when `id` is committed.
    pub(crate) fn on_waiting(&mut self, id: InstanceId, endorsers: u8, now: Now, fx: &mut Fx) {
        if self.ensure(id, now).is_committed() {
            return;
        }
        let heard = self.waits_heard.entry(id).or_default();
        *heard = endorsers.max(*heard);
        self.look_at_waits(id, now, fx);
    }

    /// Something has become known of `changed`: looks at every wait for it.
    pub(crate) fn look_at_waits(&mut self, changed: InstanceId, now: Now, fx: &mut Fx) {
        if self.recovering.is_empty() {
            return;
        }
        let waits_for_it = |id: &&InstanceId| match self.stage(**id) {
            Some(Stage::Waiting(validation)) => validation.invalidators.contains_key(&changed),
            _ => false,
        };
        let waiting: Vec<_> = self.recovering.iter().filter(waits_for_it).copied().collect();
        for id in waiting {
            self.look_at_wait(id, now, fx);
        }
    }

    /// Ends the wait of `id` if it can end. Looks at fresh states, not at those once reported.
    pub(crate) fn look_at_wait(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let Some(attempt) = self.lanes.get(id).and_then(|instance| instance.attempt.as_ref())
        else {
            return;
        };
        let ballot = attempt.ballot;
        let (validation, waiting) = match &attempt.stage {
            Stage::Waiting(validation) => (validation, true),
            Stage::Validating(validation) => (validation, false),
            _ => return,
        };
        let Some(end) = self.end_of_wait(id, validation, waiting) else { return };
        let validation = validation.clone();
        let counters = &mut self.counters;
        match &end {
            End::Committed(_) | End::Accepted(_) | End::Coordinator => counters.waiting_late += 1,
            End::Validated => counters.waiting_accept += 1,
            End::Invalidated => counters.waiting_nop += 1,
            End::Deadlock => counters.waiting_deadlock += 1,
        }
        match end {
            End::Committed(report) => self.adopt_commit(id, report, self.others(), now, fx),
            End::Accepted(report) => self.accept_reported(id, ballot, report, now, fx),
            End::Validated => self.accept_validated(id, ballot, validation, now, fx),
            End::Invalidated | End::Deadlock | End::Coordinator => {
                self.accept_nop(id, ballot, now, fx);
            }
        }
    }

    fn end_of_wait(&self, id: InstanceId, validation: &Validation, waiting: bool) -> Option<End> {
        let late = |phase| {
            let mut reports = validation.late.iter().map(|(_, report)| report);
            reports.find(move |report| report.phase == phase).cloned()
        };
        if let Some(report) = late(Phase::Committed) {
            return Some(End::Committed(report));
        }
        if !waiting {
            return None;
        }
        if let Some(report) = late(Phase::Accepted) {
            return Some(End::Accepted(report));
        }
        if validation.late.iter().any(|(replica, _)| *replica == id.replica) {
            return Some(End::Coordinator);
        }
        let quorums = self.config.quorums;
        let both_impossible = quorums.n() - quorums.f() - quorums.e();
        let mut all_harmless = true;
        for other in validation.invalidators.keys() {
            let fresh = |instance: &&Instance| {
                let stale = self.mutated(Mutation::StalePhasesWhileWaiting)
                    && instance.phase >= Phase::PreAccepted
                    && instance.deps.contains(id);
                instance.is_committed() || stale
            };
            let instance = self.lanes.get(*other).filter(fresh);
            match instance {
                Some(instance) if !instance.nop && !instance.deps.contains(id) => {
                    return Some(End::Invalidated);
                }
                Some(_) => {}
                None => {
                    all_harmless = false;
                    let heard = self.waits_heard.get(other).copied().unwrap_or(0);
                    if usize::from(heard) > both_impossible {
                        return Some(End::Deadlock);
                    }
                }
            }
        }
        all_harmless.then_some(End::Validated)
    }

    fn stage(&self, id: InstanceId) -> Option<&Stage> {
        Some(&self.lanes.get(id)?.attempt.as_ref()?.stage)
    }
}
