//! Validation: could the coordinator have committed on the fast path?
//!
//! Enough of the quorum pre-accepted the command unchanged for a fast commit to be possible. It is
//! impossible if a conflicting command exists that neither depends on the other. Every member of
//! the quorum names those it knows, and from now on counts the command as a conflict itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use panchayat_consensus::{
    After, Ballot, Command, InstanceId, Now, Path, ReplicaId, ReplicaSet, Value,
};

use crate::attempt::{Stage, Validation};
use crate::deps::Deps;
use crate::message::{Invalidator, Message};
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx, OwnVote};

impl EPaxos {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn start_validation(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        quorum: ReplicaSet,
        endorsers: usize,
        command: Arc<Command>,
        deps: Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        let (own, record) = self.validate_here(id, &command, &deps, fx);
        let message =
            Message::Validate { ballot, id, command: command.clone(), deps: deps.clone() };
        let Some(attempt) = self.attempt_at(id, ballot) else { return };
        attempt.progress = now.monotonic;
        let mut invalidators = BTreeMap::new();
        merge(&mut invalidators, &own);
        attempt.stage = Stage::Validating(Validation {
            quorum,
            endorsers,
            command,
            deps,
            replies: ReplicaSet::EMPTY,
            invalidators,
            late: Vec::new(),
        });
        self.own_votes.push_back((record, id, OwnVote::Validate(ballot)));
        let any = self.mutated(Mutation::ValidateByAnyMajority);
        let asked = if any { self.others() } else { quorum.without(self.me()) };
        fx.send(asked, message, record);
    }

    /// The state change of a Validate, and the invalidators known here.
    fn validate_here(
        &mut self,
        id: InstanceId,
        command: &Arc<Command>,
        deps: &Deps,
        fx: &mut Fx,
    ) -> (Vec<Invalidator>, After) {
        self.learn_payload(id, command, fx);
        let instance = self.lanes.get_mut(id).expect("a known instance");
        if instance.init_deps.as_ref() != Some(deps) || !instance.payload_recorded {
            let record = fx.persist(Record::Validated {
                id,
                command: command.clone(),
                init_deps: deps.clone(),
            });
            instance.init_deps = Some(deps.clone());
            instance.payload_recorded = true;
            instance.recorded = record;
        }
        // What the answer says of other instances must be durable as well.
        (self.invalidators(id, command, deps), fx.after_last())
    }

    /// *I*: conflicting instances outside `deps` that do not have `id` among their dependencies.
    fn invalidators(&self, id: InstanceId, command: &Command, deps: &Deps) -> Vec<Invalidator> {
        let mut found = Vec::new();
        for (replica, last) in deps.lanes() {
            let upper = self.conflicts.last_conflict(&command.footprint, replica.index());
            for other in (last + 1..=upper).map(|slot| InstanceId::new(replica, slot)) {
                if other == id {
                    continue;
                }
                let Some(instance) = self.lanes.get(other) else { continue };
                let committed = instance.is_committed();
                let (theirs, has_id) = if committed {
                    let theirs = instance.payload.as_ref().filter(|_| !instance.nop);
                    (theirs, instance.deps.contains(id))
                } else {
                    let init_deps = instance.init_deps.as_ref();
                    (instance.init_command(), init_deps.is_some_and(|deps| deps.contains(id)))
                };
                let conflicts =
                    theirs.is_some_and(|theirs| theirs.footprint.conflicts(&command.footprint));
                if conflicts && !has_id {
                    found.push(Invalidator { id: other, committed });
                }
            }
        }
        found
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn on_validate(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        command: Arc<Command>,
        deps: Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        self.note_all_exist(&deps, now);
        let instance = self.ensure(id, now);
        let to = ReplicaSet::only(from);
        if instance.is_committed() {
            self.send_commit(id, to, false, fx);
        } else if ballot < instance.ballot {
            let refusal = Message::Refused { ballot: instance.ballot, id };
            self.counters.refusals += 1;
            fx.send(to, refusal, fx.after_last());
        } else if instance.init_deps.as_ref().is_some_and(|known| *known != deps) {
            // There is only one initial proposal; no correct replica speaks of another.
            self.counters.dropped += 1;
        } else if ballot == instance.ballot && ballot.owner() == Some(from) {
            let (invalidators, record) = self.validate_here(id, &command, &deps, fx);
            fx.send(to, Message::ValidateOk { ballot, id, invalidators }, record);
        }
    }

    pub(crate) fn on_validate_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        invalidators: &[Invalidator],
        now: Now,
        fx: &mut Fx,
    ) {
        for invalidator in invalidators {
            self.note_exists(invalidator.id.replica, invalidator.id.slot, now);
        }
        let any = self.mutated(Mutation::ValidateByAnyMajority);
        let Some(attempt) = self.attempt_at(id, ballot) else { return };
        let Stage::Validating(validation) = &mut attempt.stage else { return };
        let asked = any || validation.quorum.contains(from);
        if !asked || !validation.replies.insert(from) {
            return;
        }
        attempt.progress = now.monotonic;
        merge(&mut validation.invalidators, invalidators);
        let complete = if any {
            validation.replies.len() >= validation.quorum.len()
        } else {
            validation.replies == validation.quorum
        };
        if complete {
            let validation = validation.clone();
            self.conclude_validation(id, ballot, validation, now, fx);
        }
    }

    /// *ValidateOK from all of Q.*
    fn conclude_validation(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        validation: Validation,
        now: Now,
        fx: &mut Fx,
    ) {
        let Validation { quorum, endorsers, invalidators, .. } = &validation;
        let barely = *endorsers == quorum.len() - self.config.quorums.e();
        let impossible = invalidators
            .iter()
            .any(|(other, committed)| *committed || (barely && !quorum.contains(other.replica)));
        if invalidators.is_empty() {
            self.counters.validate_accept += 1;
            self.accept_validated(id, ballot, validation, now, fx);
        } else if impossible {
            self.counters.validate_nop += 1;
            self.accept_nop(id, ballot, now, fx);
        } else {
            self.counters.validate_wait += 1;
            self.start_waiting(id, ballot, validation, now, fx);
        }
    }

    /// Proposes exactly what was validated, never the local dependencies.
    pub(crate) fn accept_validated(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        validation: Validation,
        now: Now,
        fx: &mut Fx,
    ) {
        let value = Some(Value::Command(validation.command));
        let mut deps = validation.deps;
        if self.mutated(Mutation::LocalDepsAfterValidate)
            && let Some(instance) = self.lanes.get(id)
        {
            deps = instance.deps.clone();
        }
        self.start_accept(id, ballot, value, deps, Path::Recovered, now, fx);
    }
}

fn merge(into: &mut BTreeMap<InstanceId, bool>, invalidators: &[Invalidator]) {
    for invalidator in invalidators {
        *into.entry(invalidator.id).or_default() |= invalidator.committed;
    }
}
