//! The second round: a value and its dependencies, voted for at a ballot.

use std::sync::Arc;

use panchayat_consensus::{Ballot, InstanceId, Now, Path, ReplicaId, ReplicaSet, Value};

use crate::attempt::{Attempt, Stage};
use crate::deps::Deps;
use crate::instance::Phase;
use crate::message::{Message, Proposal};
use crate::record::Record;
use crate::replica::{EPaxos, Fx, OwnVote};

impl EPaxos {
    /// Accepts a value at `ballot` here and asks the others to. `value` is `None` for the payload
    /// that the receivers should have already. Accept leaves only after the own accept is durable.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn start_accept(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        value: Option<Value>,
        deps: Deps,
        path: Path,
        now: Now,
        fx: &mut Fx,
    ) {
        let proposal = match value {
            None => Proposal::Original,
            Some(Value::Nop) => Proposal::Nop,
            Some(Value::Command(command)) => Proposal::Full(command),
        };
        let record = self.accept(id, ballot, &proposal, deps.clone(), fx);
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.attempt = Some(Box::new(Attempt {
            ballot,
            progress: now.monotonic,
            stage: Stage::Accepting { votes: ReplicaSet::EMPTY, path },
        }));
        self.own_votes.push_back((record, id, OwnVote::Accept(ballot)));
        fx.send(self.others(), Message::Accept { ballot, id, value: proposal, deps }, record);
    }

    /// The state change of an accept.
    fn accept(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        value: &Proposal,
        deps: Deps,
        fx: &mut Fx,
    ) -> panchayat_consensus::After {
        if let Proposal::Full(command) = value {
            self.learn_payload(id, command, fx);
        }
        let instance = self.lanes.get_mut(id).expect("a known instance");
        assert!(!instance.is_committed() && ballot >= instance.ballot);
        instance.nop = *value == Proposal::Nop;
        instance.phase = Phase::Accepted;
        instance.ballot = ballot;
        instance.accepted_ballot = ballot;
        instance.deps = deps.clone();
        if instance.payload.is_none() {
            self.conflicts.note_orphan(id);
        }
        let value = self.record_payload(id);
        let record = fx.persist(Record::Accepted { ballot, id, value, deps });
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.recorded = record;
        record
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn on_accept(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        value: Proposal,
        deps: Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        self.note_all_exist(&deps, now);
        if ballot.owner().unwrap_or(id.replica) != from {
            self.counters.dropped += 1;
            return;
        }
        let instance = self.ensure(id, now);
        let to = ReplicaSet::only(from);
        if instance.is_committed() {
            self.send_commit(id, to, value == Proposal::Nop, fx);
        } else if ballot < instance.ballot {
            let refusal = Message::Refused { ballot: instance.ballot, id };
            self.counters.refusals += 1;
            fx.send(to, refusal, fx.after_last());
        } else if value == Proposal::Original && instance.payload.is_none() {
            self.fetch(id, to, fx);
        } else if instance.phase == Phase::Accepted && instance.accepted_ballot == ballot {
            let record = instance.recorded;
            fx.send(to, Message::AcceptOk { ballot, id }, record);
        } else {
            self.end_attempt(id);
            let record = self.accept(id, ballot, &value, deps, fx);
            fx.send(to, Message::AcceptOk { ballot, id }, record);
        }
    }

    pub(crate) fn on_accept_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        id: InstanceId,
        now: Now,
        fx: &mut Fx,
    ) {
        let slow_quorum = self.config.quorums.slow();
        let Some(instance) = self.lanes.get_mut(id) else { return };
        let Some(attempt) = instance.attempt.as_mut() else { return };
        let Stage::Accepting { votes, path } = &mut attempt.stage else { return };
        if attempt.ballot != ballot || !votes.insert(from) {
            return;
        }
        attempt.progress = now.monotonic;
        // The own vote is among them: what this replica sent can only come back after it.
        if votes.len() >= slow_quorum {
            let path = *path;
            match path {
                Path::Slow => self.counters.slow_commits += 1,
                _ => self.counters.recovered_commits += 1,
            }
            let deps = instance.deps.clone();
            self.decide(id, ballot, deps, path, now, fx);
        }
    }

    /// Sends an accept in progress again, to a replica that lacked the payload if `full`; says
    /// whether there is one.
    pub(crate) fn repeat_accept(
        &mut self,
        id: InstanceId,
        to: ReplicaId,
        full: bool,
        fx: &mut Fx,
    ) -> bool {
        let Some(instance) = self.lanes.get(id) else { return false };
        let Some(attempt) = &instance.attempt else { return false };
        let (Stage::Accepting { .. }, Some(value)) = (&attempt.stage, instance.value()) else {
            return false;
        };
        let value = match in_full(value) {
            Proposal::Full(_) if !full => Proposal::Original,
            value => value,
        };
        let (ballot, deps) = (attempt.ballot, instance.deps.clone());
        let message = Message::Accept { ballot, id, value, deps };
        fx.send(ReplicaSet::only(to), message, instance.recorded);
        true
    }

    /// Drops whatever this replica was doing to decide `id`.
    pub(crate) fn end_attempt(&mut self, id: InstanceId) {
        if let Some(instance) = self.lanes.get_mut(id)
            && instance.attempt.take().is_some()
        {
            self.recovering.remove(&id);
        }
    }
}

/// How a decided or accepted value travels to a replica that may not have its payload.
pub(crate) fn in_full(value: Value) -> Proposal {
    match value {
        Value::Nop => Proposal::Nop,
        Value::Command(command) => Proposal::Full(Arc::clone(&command)),
    }
}
