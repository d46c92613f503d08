//! Proposals and the first round: pre-accept, fast commit or on to accept.

use std::sync::Arc;

use panchayat_consensus::{
    After, Ballot, Command, Footprint, InstanceId, NotApplied, Now, Path, ReplicaId, ReplicaSet,
    Span, Token, WallTime,
};

use crate::attempt::{Attempt, PreAccepting, Stage};
use crate::deps::Deps;
use crate::instance::Phase;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx, OwnVote};

impl EPaxos {
    /// *submit(c)*: a client of this replica proposes `command`.
    pub(crate) fn propose(&mut self, token: Token, command: Command, now: Now, fx: &mut Fx) {
        let limits = &self.config.limits;
        let is_crowded = || {
            self.keeps_too_much()
                || self.graph.unexecuted_on(&command.footprint) >= limits.unexecuted_per_key_max
        };
        let overloaded = self.in_flight >= limits.in_flight_max + command.spare_room()
            || self.lane_is_full()
            || !self.members_ahead().is_empty()
            || (!command.is_seal() && is_crowded());
        if overloaded {
            self.counters.overloaded += 1;
            fx.reject(token, NotApplied::Overloaded);
            return;
        }
        self.in_flight += 1;
        self.counters.proposed += 1;
        self.counters.contended += u64::from(self.graph.has_conflict(&command.footprint));
        self.coordinate(token, command, now, fx);
    }

    /// Whether the own lane is as far ahead of what is executed as others will follow.
    pub(crate) fn lane_is_full(&self) -> bool {
        let me = self.me();
        let ahead = self.lanes.highest(me) - self.graph.executed_upto(me);
        ahead >= self.config.limits.lane_window_max
    }

    /// Gives back the own proposals that were not handed out for execution.
    pub(crate) fn withdraw_own(&mut self) -> Vec<(Token, Command)> {
        let me = self.me();
        let mut withdrawn = Vec::new();
        for slot in self.lanes.collected(me) + 1..=self.lanes.highest(me) {
            let Some(instance) = self.lanes.get_mut(InstanceId::new(me, slot)) else { continue };
            if let (Some(token), Some(command)) = (instance.token.take(), &instance.payload) {
                withdrawn.push((token, (**command).clone()));
            }
        }
        self.in_flight -= withdrawn.len();
        withdrawn
    }

    /// Opens a new instance for `command` and coordinates it. Its record is durable before anyone
    /// hears of it: a coordinator that forgot an id others saw would, by taking part in a recovery
    /// with nothing to report, kill its own fast commit.
    pub(crate) fn coordinate(&mut self, token: Token, mut command: Command, now: Now, fx: &mut Fx) {
        command.proposed_at = now.wall.max(WallTime(self.last_proposed_at.0 + 1));
        self.last_proposed_at = command.proposed_at;
        let command = Arc::new(command);
        let id = InstanceId::new(self.me(), self.lanes.highest(self.me()) + 1);
        // What may be collected here counts as a conflict: its keys may be forgotten already, and
        // replicas that still keep it add nothing to what the coordinator knew.
        let mut deps = self.collector.collectable.clone();
        self.add_conflicts(&command.footprint, &mut deps);
        self.ensure(id, now);
        let record = self.pre_accept(id, &command, deps.clone(), deps.clone(), fx);
        let instance = self.lanes.get_mut(id).expect("just opened");
        instance.token = Some(token);
        instance.attempt = Some(Box::new(Attempt {
            ballot: Ballot::INITIAL,
            progress: now.monotonic,
            stage: Stage::PreAccepting(PreAccepting {
                replies: ReplicaSet::EMPTY,
                agreeing: ReplicaSet::EMPTY,
                ignored: ReplicaSet::EMPTY,
                fenced: ReplicaSet::EMPTY,
                union: deps.clone(),
                sent_at: now.monotonic,
                wait_until: None,
            }),
        }));
        self.own_votes.push_back((record, id, OwnVote::PreAccept));
        let early = self.mutated(Mutation::PreAcceptBeforeDurable);
        let after = if early { After::NOTHING } else { record };
        fx.send(self.others(), Message::PreAccept { id, command, deps }, after);
    }

    fn add_conflicts(&self, footprint: &Footprint, deps: &mut Deps) {
        if self.mutated(Mutation::LastWriterOnly) {
            self.conflicts.add_last_writers(footprint, deps);
        } else {
            self.conflicts.add_conflicts(footprint, deps);
        }
    }

    /// The state change of a pre-accept, at the coordinator and at the others.
    fn pre_accept(
        &mut self,
        id: InstanceId,
        command: &Arc<Command>,
        init_deps: Deps,
        deps: Deps,
        fx: &mut Fx,
    ) -> After {
        self.learn_payload(id, command, fx);
        let record = fx.persist(Record::PreAccepted {
            id,
            command: command.clone(),
            init_deps: init_deps.clone(),
            deps: deps.clone(),
        });
        let instance = self.lanes.get_mut(id).expect("a known instance");
        instance.phase = Phase::PreAccepted;
        instance.payload_recorded = true;
        instance.init_deps = Some(init_deps);
        instance.deps = deps;
        instance.recorded = record;
        record
    }

    pub(crate) fn on_pre_accept(
        &mut self,
        from: ReplicaId,
        id: InstanceId,
        command: Arc<Command>,
        init_deps: Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        if from != id.replica {
            self.counters.dropped += 1;
            return;
        }
        self.note_all_exist(&init_deps, now);
        let instance = self.ensure(id, now);
        let to = ReplicaSet::only(from);
        match instance.phase {
            Phase::Committed => self.send_commit(id, to, false, fx),
            _ if !instance.ballot.is_initial() => {
                let ballot = instance.ballot;
                self.learn_alone(id, &command, fx);
                fx.send(to, Message::Refused { ballot, id }, fx.after_last());
            }
            Phase::Initial => {
                let mut deps = init_deps.clone();
                self.add_conflicts(&command.footprint, &mut deps);
                self.add_forgotten(id, &mut deps);
                // Of its own lane the coordinator knew every conflict, and what comes later there
                // knows of this one.
                let deps = deps.with(id.replica, init_deps.last(id.replica));
                let record = self.pre_accept(id, &command, init_deps, deps.clone(), fx);
                let absent = self.collector.absent;
                fx.send(to, Message::PreAcceptOk { id, deps, absent }, record);
            }
            Phase::PreAccepted => {
                let deps = instance.deps.clone();
                let record = instance.recorded;
                let absent = self.collector.absent;
                fx.send(to, Message::PreAcceptOk { id, deps, absent }, record);
            }
            Phase::Accepted => {}
        }
    }

    pub(crate) fn count_own_pre_accept(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        if let Some(deps) = self.lanes.get(id).map(|instance| instance.deps.clone()) {
            self.on_pre_accept_ok(self.me(), id, &deps, self.collector.absent, now, fx);
        }
    }

    pub(crate) fn on_pre_accept_ok(
        &mut self,
        from: ReplicaId,
        id: InstanceId,
        deps: &Deps,
        absent: ReplicaSet,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(instance) = self.lanes.get_mut(id) else { return };
        let attempt = instance.attempt.as_deref_mut();
        let Some(Attempt { stage: Stage::PreAccepting(replies), progress, .. }) = attempt else {
            self.tell_latecomer(from, id, fx);
            return;
        };
        if !replies.ignored.contains(from) && replies.replies.insert(from) {
            *progress = now.monotonic;
            replies.union.union(deps);
            replies.fenced = replies.fenced.iter().chain(absent.iter()).collect();
            if instance.init_deps.as_ref() == Some(deps) {
                replies.agreeing.insert(from);
            }
            self.decide_first_round(id, now, fx);
        }
    }

    /// *n−f PreAcceptOKs*: commits on the fast path, goes on to accept, or waits a bounded while.
    pub(crate) fn decide_first_round(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        let quorums = self.config.quorums;
        let fast_quorum_wait = self.config.timing.fast_quorum_wait;
        let (me, suspected) = (self.me(), self.suspected);
        let Some(instance) = self.lanes.get_mut(id) else { return };
        let Some(attempt) = instance.attempt.as_mut() else { return };
        let Stage::PreAccepting(replies) = &mut attempt.stage else { return };
        if replies.replies.len() < quorums.slow() || !replies.replies.contains(me) {
            return;
        }
        if replies.agreeing.minus(replies.fenced).len() >= quorums.fast() {
            let deps = instance.init_deps.clone().expect("the coordinator set it");
            self.counters.fast_commits += 1;
            self.decide(id, Ballot::INITIAL, deps, Path::Fast, now, fx);
            return;
        }
        // Where a fast quorum is larger than a slow one, it is worth the wait for as long again as
        // the slow quorum took, as nobody has objected: an accept round would take that long too.
        let missing = ReplicaSet::all(quorums.n()).minus(replies.replies).minus(suspected).len();
        let possible = replies.agreeing.len() + missing >= quorums.fast();
        let so_far = now.monotonic - replies.sent_at;
        let wait = if replies.agreeing == replies.replies {
            so_far.max(fast_quorum_wait)
        } else {
            so_far.min(fast_quorum_wait)
        };
        let wait_until = *replies.wait_until.get_or_insert(now.monotonic + wait);
        if possible && wait > Span(0) && now.monotonic < wait_until {
            self.watch.at(wait_until, id);
            return;
        }
        let union = replies.union.clone();
        self.start_accept(id, Ballot::INITIAL, None, union, Path::Slow, now, fx);
    }
}
