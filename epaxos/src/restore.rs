//! Back from the journal.
//!
//! A restarted replica has every promise it made, and no attempt: an instance of its own that is
//! undecided goes through recovery at a new ballot, like anyone else's. It never goes on at a
//! ballot it used before, since it cannot know how far that had come.

use panchayat_consensus::{After, Ballot, InstanceId, Now, ReplicaSet};

use crate::attempt::{Attempt, PreAccepting, Stage};
use crate::deps::Deps;
use crate::instance::Phase;
use crate::message::{Message, Proposal};
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx};

impl EPaxos {
    pub(crate) fn replay(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        fx: &mut Fx,
    ) {
        for record in records {
            if !self.forgets(&record) {
                self.replay_one(record, now, fx);
            }
        }
        if self.mutated(Mutation::ContinueAtOldBallot) {
            self.continue_at_old_ballot(now, fx);
        }
        self.collector.advertised = self.all_executed();
        self.proposed_before = self.lanes.highest(self.me());
        let own = self.lanes.iter().filter(|(id, _)| id.replica == self.me());
        let proposed_at =
            own.filter_map(|(_, instance)| Some(instance.payload.as_ref()?.proposed_at));
        let last = proposed_at.max().unwrap_or_default();
        self.last_proposed_at = last.max(self.collector.clock_bound);
    }

    pub(crate) fn replay_one(&mut self, record: Record, now: Now, fx: &mut Fx) {
        match record.instance() {
            Some(id) if self.lanes.is_collected(id) => {}
            Some(id) => self.replay_of(id, record, now, fx),
            None => self.replay_general(record),
        }
    }

    fn replay_general(&mut self, record: Record) {
        match record {
            Record::Collected { .. } => self.begin_above(record),
            Record::Executed { lane, upto, beyond } => {
                self.graph.were_executed(lane, upto);
                for slot in beyond {
                    self.graph.was_executed(InstanceId::new(lane, slot));
                }
            }
            Record::Absent { absent, seen_then, stale } => {
                self.collector.absent = absent;
                self.collector.seen_then = seen_then;
                self.collector.stale.union(&stale);
            }
            Record::ClockBound { until } => self.collector.clock_bound = until,
            Record::Run { run } => self.reads.run = self.reads.run.max(run),
            _ => unreachable!("every other record is about an instance"),
        }
    }

    fn replay_of(&mut self, id: InstanceId, record: Record, now: Now, fx: &mut Fx) {
        self.ensure(id, now);
        match record {
            Record::PreAccepted { command, init_deps, deps, .. } => {
                self.note_all_exist(&deps, now);
                self.learn_payload(id, &command, fx);
                let instance = self.ensure(id, now);
                instance.payload_recorded = true;
                instance.phase = Phase::PreAccepted;
                instance.init_deps = Some(init_deps);
                instance.deps = deps;
            }
            Record::Accepted { ballot, value, deps, .. } => {
                self.note_all_exist(&deps, now);
                self.replay_value(id, ballot, value, deps, now, fx);
                let instance = self.ensure(id, now);
                instance.phase = Phase::Accepted;
                if instance.payload.is_none() {
                    self.conflicts.note_orphan(id);
                }
            }
            Record::Committed { ballot, value, deps, .. } => {
                self.note_all_exist(&deps, now);
                let nop = value == Proposal::Nop;
                self.replay_value(id, ballot, value, deps.clone(), now, fx);
                self.ensure(id, now).phase = Phase::Committed;
                self.conflicts.forget_orphan(id);
                self.graph.committed(id, (!nop).then_some(&deps));
                self.execute(fx);
            }
            Record::Joined { ballot, .. } => {
                let instance = self.ensure(id, now);
                instance.ballot = instance.ballot.max(ballot);
            }
            Record::Validated { command, init_deps, .. } => {
                self.note_all_exist(&init_deps, now);
                self.learn_payload(id, &command, fx);
                let instance = self.ensure(id, now);
                instance.payload_recorded = true;
                instance.init_deps = Some(init_deps);
            }
            Record::Learned { command, .. } => {
                self.learn_payload(id, &command, fx);
                self.ensure(id, now).payload_recorded = true;
            }
            Record::Absent { .. }
            | Record::ClockBound { .. }
            | Record::Run { .. }
            | Record::Collected { .. }
            | Record::Executed { .. } => {}
        }
    }

    fn replay_value(
        &mut self,
        id: InstanceId,
        ballot: Ballot,
        value: Proposal,
        deps: Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        if let Proposal::Full(command) = &value {
            self.learn_payload(id, command, fx);
            self.ensure(id, now).payload_recorded = true;
        }
        let instance = self.ensure(id, now);
        instance.nop = value == Proposal::Nop;
        instance.ballot = instance.ballot.max(ballot);
        instance.accepted_ballot = instance.accepted_ballot.max(ballot);
        instance.deps = deps;
    }

    /// The mistakes of a replica that forgets some of its records.
    fn forgets(&self, record: &Record) -> bool {
        let own = record.instance().is_some_and(|id| id.replica == self.me());
        match record {
            Record::Joined { ballot, .. } => {
                self.mutated(Mutation::ReuseBallot) && ballot.owner() == Some(self.me())
            }
            Record::Committed { ballot, .. } => {
                self.mutated(Mutation::ForgetFastCommit) && own && ballot.is_initial()
            }
            Record::PreAccepted { .. } => self.mutated(Mutation::ReuseSlot) && own,
            _ => false,
        }
    }

    /// The mistake of taking up an own instance again where it began.
    fn continue_at_old_ballot(&mut self, now: Now, fx: &mut Fx) {
        for slot in self.lanes.collected(self.me()) + 1..=self.lanes.highest(self.me()) {
            let id = InstanceId::new(self.me(), slot);
            let n = self.config.quorums.n();
            let Some(instance) = self.lanes.get_mut(id) else { continue };
            let (Some(deps), Some(command)) = (&instance.init_deps, &instance.payload) else {
                continue;
            };
            if instance.is_committed() || !instance.ballot.is_initial() || instance.nop {
                continue;
            }
            let (deps, command) = (deps.clone(), command.clone());
            instance.phase = Phase::PreAccepted;
            instance.deps = deps.clone();
            let replies = ReplicaSet::only(id.replica);
            instance.attempt = Some(Box::new(Attempt {
                ballot: Ballot::INITIAL,
                progress: now.monotonic,
                stage: Stage::PreAccepting(PreAccepting {
                    replies,
                    agreeing: replies,
                    ignored: ReplicaSet::EMPTY,
                    fenced: ReplicaSet::EMPTY,
                    union: deps.clone(),
                    sent_at: now.monotonic,
                    wait_until: None,
                }),
            }));
            let others = ReplicaSet::all(n).without(id.replica);
            fx.send(others, Message::PreAccept { id, command, deps }, After::NOTHING);
        }
    }
}
