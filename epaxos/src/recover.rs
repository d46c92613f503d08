//! Recovery of an instance whose coordinator may have failed: join a higher ballot, collect
//! reports from a slow quorum, and find out what may have been decided.
//!
//! Rules 1 to 5 are those of EPaxos* (*Making Democracy Work*, OPODIS 2025, recovery).

use panchayat_consensus::{Ballot, InstanceId, Now, Path, ReplicaId, ReplicaSet, Value};

use crate::attempt::{Attempt, Stage};
use crate::deps::Deps;
use crate::instance::{Instance, Phase};
use crate::message::{Message, Report};
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx, OwnVote};

impl EPaxos {
    /// Begins a recovery at a ballot that no attempt has used. Recover leaves only after the
    /// ballot is durable here.
    pub(crate) fn start_recovery(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        self.end_attempt(id);
        let refused_with = self.refused_with.get(&id).copied().unwrap_or(Ballot::INITIAL);
        let Some(instance) = self.lanes.get(id) else { return };
        let ballot = instance.ballot.max(refused_with).next_for(self.me());
        let record = self.join(id, ballot, fx);
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.attempt = Some(Box::new(Attempt {
            ballot,
            progress: now.monotonic,
            stage: Stage::Recovering { reports: Vec::new() },
        }));
        self.recovering.insert(id);
        self.counters.recoveries += 1;
        self.own_votes.push_back((record, id, OwnVote::Recover(ballot)));
        fx.send(self.others(), Message::Recover { ballot, id }, record);
    }

    fn join(&mut self, id: InstanceId, ballot: Ballot, fx: &mut Fx) -> panchayat_consensus::After {
        let record = fx.persist(Record::Joined { ballot, id });
        let instance = self.lanes.get_mut(id).expect("a known instance");
        assert!(ballot > instance.ballot);
        instance.ballot = ballot;
        instance.recorded = record;
        record
    }

    pub(crate) fn on_recover(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        now: Now,
        fx: &mut Fx,
    ) {
        if ballot.owner() != Some(from) {
            self.counters.dropped += 1;
            return;
        }
        let instance = self.ensure(id, now);
        let (current, committed) = (instance.ballot, instance.is_committed());
        let to = ReplicaSet::only(from);
        if !committed && ballot < current {
            self.counters.refusals += 1;
            fx.send(to, Message::Refused { ballot: current, id }, fx.after_last());
            return;
        }
        if !committed && ballot > current {
            self.end_attempt(id);
            self.join(id, ballot, fx);
            self.leave_to_other(id, now);
        }
        let Some(instance) = self.lanes.get(id) else { return };
        let report = self.report(instance);
        fx.send(to, Message::RecoverOk { ballot, id, report }, instance.recorded);
    }

    pub(crate) fn count_own_report(
        &mut self,
        ballot: Ballot,
        id: InstanceId,
        now: Now,
        fx: &mut Fx,
    ) {
        if let Some(instance) = self.lanes.get(id) {
            let report = self.report(instance);
            self.on_recover_ok(self.me(), ballot, id, report, now, fx);
        }
    }

    pub(crate) fn on_recover_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        report: Report,
        now: Now,
        fx: &mut Fx,
    ) {
        let slow_quorum = self.config.quorums.slow();
        let Some(attempt) = self.attempt_at(id, ballot) else { return };
        match &mut attempt.stage {
            Stage::Recovering { reports } => {
                if reports.iter().any(|(replica, _)| *replica == from) {
                    return;
                }
                attempt.progress = now.monotonic;
                reports.push((from, report));
                if reports.len() >= slow_quorum {
                    let reports = std::mem::take(reports);
                    self.choose(id, ballot, reports, now, fx);
                }
            }
            Stage::Validating(validation) | Stage::Waiting(validation) => {
                let known = validation.late.iter().any(|(replica, _)| *replica == from);
                if !validation.quorum.contains(from) && !known {
                    validation.late.push((from, report));
                    self.look_at_wait(id, now, fx);
                }
            }
            Stage::PreAccepting(_) | Stage::Accepting { .. } => {}
        }
    }

    /// The attempt at exactly this ballot; replies to any other are late.
    pub(crate) fn attempt_at(&mut self, id: InstanceId, ballot: Ballot) -> Option<&mut Attempt> {
        let attempt = self.lanes.get_mut(id)?.attempt.as_deref_mut()?;
        (attempt.ballot == ballot).then_some(attempt)
    }

    /// Rules 1 to 5 on the reports of exactly a slow quorum, the own one among them.
    fn choose(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        reports: Vec<(ReplicaId, Report)>,
        now: Now,
        fx: &mut Fx,
    ) {
        let quorum: ReplicaSet = reports.iter().map(|(replica, _)| *replica).collect();
        let in_phase = |phase| {
            reports.iter().map(|(_, report)| report).filter(move |report| report.phase == phase)
        };
        if let Some(report) = in_phase(Phase::Committed).next() {
            self.counters.recovery_committed += 1;
            let knowing = reports.iter().filter(|(_, report)| report.phase == Phase::Committed);
            let ignorant = self.others().minus(knowing.map(|(replica, _)| *replica).collect());
            self.adopt_commit(id, report.clone(), ignorant, now, fx);
            return;
        }
        let newest = in_phase(Phase::Accepted).max_by_key(|report| report.accepted_ballot);
        if let Some(report) = newest {
            self.counters.recovery_accepted += 1;
            self.accept_reported(id, ballot, report.clone(), now, fx);
            return;
        }
        if quorum.contains(id.replica) {
            self.counters.recovery_coordinator += 1;
            self.accept_nop(id, ballot, now, fx);
            return;
        }
        let endorsing = |report: &&Report| report.init_deps.as_ref() == Some(&report.deps);
        let endorsers = in_phase(Phase::PreAccepted).filter(endorsing).count();
        let first = in_phase(Phase::PreAccepted).find(endorsing).cloned();
        match first {
            Some(Report { value: Some(Value::Command(command)), deps, .. })
                if endorsers >= quorum.len() - self.config.quorums.e() =>
            {
                self.counters.recovery_validate += 1;
                if self.mutated(Mutation::SkipValidate) {
                    let value = Some(Value::Command(command));
                    self.start_accept(id, ballot, value, deps, Path::Recovered, now, fx);
                    return;
                }
                self.start_validation(id, ballot, quorum, endorsers, command, deps, now, fx);
            }
            _ => {
                self.counters.recovery_nop += 1;
                self.accept_nop(id, ballot, now, fx);
            }
        }
    }

    pub(crate) fn accept_nop(&mut self, id: InstanceId, ballot: Ballot, now: Now, fx: &mut Fx) {
        let none = Deps::none(self.config.quorums.n());
        self.start_accept(id, ballot, Some(Value::Nop), none, Path::Recovered, now, fx);
    }

    pub(crate) fn accept_reported(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        report: Report,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(value) = report.value else { return };
        self.start_accept(id, ballot, Some(value), report.deps, Path::Recovered, now, fx);
    }

    /// Somebody has it committed: so do we, and those are told who may not know.
    pub(crate) fn adopt_commit(
        &mut self,
        id: InstanceId,
        report: Report,
        ignorant: ReplicaSet,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(value) = report.value else { return };
        if let Value::Command(command) = &value {
            self.learn_payload(id, command, fx);
        }
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.nop = value.is_nop();
        self.commit(id, report.accepted_ballot, report.deps, Path::Recovered, now, fx);
        self.send_commit(id, ignorant, true, fx);
    }

    /// Somebody has joined a higher ballot than the one this replica acts at.
    pub(crate) fn on_refused(&mut self, ballot: Ballot, id: InstanceId, now: Now) {
        let Some(instance) = self.lanes.get(id) else { return };
        if instance.is_committed() || ballot <= instance.ballot {
            return;
        }
        let known = self.refused_with.entry(id).or_insert(ballot);
        *known = ballot.max(*known);
        // The coordinator may still gather its quorum elsewhere; a recoverer starts over, later.
        if instance.attempt.as_ref().is_some_and(|attempt| !attempt.ballot.is_initial()) {
            self.end_attempt(id);
            self.leave_to_other(id, now);
        }
    }

    fn report(&self, instance: &Instance) -> Report {
        let accepted_ballot = if self.mutated(Mutation::ReportBallotForAcceptedBallot) {
            instance.ballot
        } else {
            instance.accepted_ballot
        };
        Report {
            accepted_ballot,
            phase: instance.phase,
            value: instance.value(),
            deps: instance.deps.clone(),
            init_deps: instance.init_deps.clone(),
        }
    }
}
