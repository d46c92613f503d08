//! Commit: the value is decided. It is durable before anyone is told and before it executes.

use panchayat_consensus::{
    After, Ballot, InstanceId, NotApplied, Now, Path, ReplicaId, ReplicaSet, Token,
};

use crate::accept::in_full;
use crate::deps::Deps;
use crate::instance::Phase;
use crate::message::{Message, Proposal};
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx};

impl EPaxos {
    /// This replica's own attempt has decided the value it holds, with `deps`.
    pub(crate) fn decide(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        deps: Deps,
        path: Path,
        now: Now,
        fx: &mut Fx,
    ) {
        let record = self.commit(id, ballot, deps, path, now, fx);
        let Some(instance) = self.lanes.get(id) else { return };
        // After recovery others may never have seen the payload; otherwise they have it.
        let value = match (instance.value(), path) {
            (Some(value), Path::Recovered) => in_full(value),
            (Some(value), _) if value.is_nop() => Proposal::Nop,
            _ => Proposal::Original,
        };
        let deps = instance.deps.clone();
        fx.send(self.others(), Message::Commit { ballot, id, value, deps }, record);
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn on_commit(
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
        let instance = self.ensure(id, now);
        if instance.is_committed() {
            return;
        }
        match &value {
            Proposal::Nop => {}
            Proposal::Full(command) => self.learn_payload(id, command, fx),
            Proposal::Original if instance.payload.is_some() => {}
            Proposal::Original => {
                self.fetch(id, ReplicaSet::only(from), fx);
                return;
            }
        }
        self.end_attempt(id);
        let instance = self.lanes.get_mut(id).expect("just made to exist");
        instance.nop = value == Proposal::Nop;
        self.commit(id, ballot, deps, Path::Recovered, now, fx);
    }

    /// The state change of a commit of the value the instance holds.
    pub(crate) fn commit(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        deps: Deps,
        path: Path,
        now: Now,
        fx: &mut Fx,
    ) -> After {
        self.end_attempt(id);
        let instance = self.lanes.get_mut(id).expect("a known instance");
        assert!(!instance.is_committed(), "{id} is committed twice");
        instance.phase = Phase::Committed;
        instance.ballot = instance.ballot.max(ballot);
        instance.accepted_ballot = instance.accepted_ballot.max(ballot);
        instance.deps = deps.clone();
        let (nop, token) = (instance.nop, instance.token);
        let learned_at = instance.learned_at;
        self.note_commit_age(learned_at, now);
        let value = self.record_payload(id);
        let record = fx.persist(Record::Committed { ballot, id, value, deps });
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.recorded = record;
        self.conflicts.forget_orphan(id);
        self.waits_heard.remove(&id);
        self.refused_with.remove(&id);
        if nop {
            self.counters.nops += 1;
            self.graph.committed(id, None);
            self.propose_again(id, now, fx);
        } else {
            if let Some(token) = token {
                fx.committed(token, path, record);
            }
            if self.mutated(Mutation::ReplyAtCommit) {
                self.execute_at_once(id, token, record, fx);
            }
            let deps = self.lanes.get(id).map(|instance| instance.deps.clone());
            self.graph.committed(id, deps.as_ref());
        }
        self.execute(fx);
        self.look_at_waits(id, now, fx);
        record
    }

    /// An own instance was decided as Nop, since others took this replica for dead: its command
    /// goes into a new instance. Only a *committed* Nop allows that; an accepted one may still be
    /// overtaken by the command itself.
    fn propose_again(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let Some(instance) = self.lanes.get_mut(id) else { return };
        let (Some(token), Some(payload)) = (instance.token.take(), instance.payload.clone()) else {
            return;
        };
        if self.lane_is_full() {
            // Nobody would take a slot beyond the window, and what it holds up would never move it.
            self.in_flight -= 1;
            self.counters.overloaded += 1;
            fx.reject(token, NotApplied::Overloaded);
            return;
        }
        self.counters.proposed_again += 1;
        self.coordinate(token, (*payload).clone(), now, fx);
    }

    /// Hands over what the graph found executable. It waits for the newest commit record, since
    /// that is what made it so.
    pub(crate) fn execute(&mut self, fx: &mut Fx) {
        let early = self.mutated(Mutation::ReplyBeforePersist);
        let after = if early { After::NOTHING } else { fx.after_last() };
        for (lane, pledges) in self.collector.pledges.iter_mut().enumerate() {
            pledges.executed(self.graph.executed_upto(ReplicaId(lane as u8)));
        }
        for (id, command) in self.graph.take_executable() {
            self.counters.executed += 1;
            self.reads.note_executed(id, &command.footprint);
            let token = self.lanes.get_mut(id).and_then(|instance| instance.token.take());
            if token.is_some() {
                self.in_flight -= 1;
            }
            fx.execute(id, command, token, after);
        }
    }

    /// The mistake of answering when a command commits.
    fn execute_at_once(
        &mut self,
        id: InstanceId,
        token: Option<Token>,
        record: After,
        fx: &mut Fx,
    ) {
        let Some(instance) = self.lanes.get_mut(id) else { return };
        if let (Some(token), Some(command)) = (token, instance.payload.clone()) {
            instance.token = None;
            self.in_flight -= 1;
            fx.execute(id, command, Some(token), record);
        }
    }
}
