//! What the checks of recoveries and of absent members are fed with.

use panchayat_consensus::{Ballot, InstanceId, ReplicaId, ReplicaSet, Value};
use panchayat_epaxos::{EPaxos, Instance, Message, Phase, Proposal, Record};

use super::checks::EPaxosChecks;
use crate::flaw::Flaw;
use crate::invariants::{Decision, Reported};
use crate::subject::Place;

impl EPaxosChecks {
    /// What `at` knows of `id` is held against the states it took over.
    pub(super) fn endorses(
        &self,
        at: ReplicaId,
        id: InstanceId,
        instance: &Instance,
    ) -> Result<(), Flaw> {
        match &instance.init_deps {
            Some(init) if instance.phase == Phase::PreAccepted && instance.deps == *init => {
                self.absence.endorses(at, id, init)
            }
            _ => Ok(()),
        }
    }

    /// What the recoverer itself contributes to a recovery.
    pub(super) fn look_at_recovery(
        &mut self,
        at: ReplicaId,
        protocol: &EPaxos,
        id: InstanceId,
        instance: &Instance,
    ) {
        let ballot = instance.ballot;
        if ballot.owner() != Some(at) || instance.accepted_ballot == ballot {
            return;
        }
        self.recovery.joined(at, id, ballot, || Reported {
            phase: instance.phase,
            accepted_ballot: instance.accepted_ballot,
            value: Decision { nop: instance.nop, deps: instance.deps.clone() },
            init_deps: instance.init_deps.clone(),
        });
        if let Some(own) = protocol.invalidators_of(id) {
            self.recovery.objects_itself(at, id, ballot, own);
        }
    }

    /// What others contribute to it.
    pub(super) fn hear_recovery(
        &mut self,
        at: Place,
        to: ReplicaSet,
        message: &Message,
    ) -> Result<(), Flaw> {
        let from = at.replica;
        let used =
            |ballot: &Ballot| ballot.owner().is_some_and(|owner| !self.absence.counts(owner, from));
        match message {
            Message::RecoverOk { ballot, id, report } if used(ballot) => {
                let nop = matches!(report.value, Some(Value::Nop));
                let report = Reported {
                    phase: report.phase,
                    accepted_ballot: report.accepted_ballot,
                    value: Decision { nop, deps: report.deps.clone() },
                    init_deps: report.init_deps.clone(),
                };
                self.recovery.reported(from, *id, *ballot, report);
            }
            Message::Validate { ballot, id, deps, .. } => {
                self.recovery.validates(at, to, *id, *ballot, deps)?;
            }
            Message::ValidateOk { ballot, id, invalidators } if used(ballot) => {
                self.recovery.answered(from, *id, *ballot, invalidators);
            }
            Message::Waiting { id, endorsers } => self.recovery.waits(*id, *endorsers),
            _ => {}
        }
        Ok(())
    }

    /// `replica` goes on from a record, its own or another's.
    pub(super) fn knows(&mut self, replica: ReplicaId, record: &Record) {
        if let Record::Committed { id, value, deps, .. } = record {
            let decision = Decision { nop: matches!(value, Proposal::Nop), deps: deps.clone() };
            self.recovery.decided(replica, *id, &decision);
        }
    }
}
