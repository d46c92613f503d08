//! The EPaxos invariants, fed with records, messages, steps and executions.

use panchayat_consensus::{Ballot, Command, InstanceId, Quorums, ReplicaId, ReplicaSet};
use panchayat_epaxos::{Deps, EPaxos, Message, Phase, Proposal, Record};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::flaw::{Flaw, Invariant};
use crate::invariants::{
    Absence, Agreement, BallotReuse, Ballots, ClosedDependencies, Collection, CommitEvidence,
    Decision, DurablePromise, OneValue, RecoveryEvidence, Standing, Validity, Visibility,
};
use crate::subject::{Checks, Place};

/// Everything that is checked of EPaxos in one run.
#[derive(Debug)]
pub struct EPaxosChecks {
    validity: Validity,
    agreement: Agreement,
    visibility: Visibility,
    ballots: Ballots,
    one_value: OneValue,
    reuse: BallotReuse,
    evidence: CommitEvidence,
    pub(super) recovery: RecoveryEvidence,
    pub(super) absence: Absence,
    promise: DurablePromise,
    closed: ClosedDependencies,
    collection: Collection,
    /// What was durable at replicas when they took over a state that is not durable there yet.
    taking_over: FxHashMap<ReplicaId, Vec<(InstanceId, Standing)>>,
    nops: u64,
    /// Who waits for what, as announced; and how waits that led to a proposal ended.
    waits: FxHashSet<(Place, InstanceId)>,
    waited_then_nop: u64,
    waited_then_command: u64,
}

impl EPaxosChecks {
    fn decision(
        &self,
        at: Place,
        id: InstanceId,
        value: &Proposal,
        deps: &Deps,
    ) -> Result<Decision, Flaw> {
        if let Proposal::Full(command) = value {
            self.validity.spoken_of(at, id, command)?;
        }
        Ok(Decision { nop: matches!(value, Proposal::Nop), deps: deps.clone() })
    }

    /// `at` holds `id` for decided.
    fn decided(&mut self, at: Place, id: InstanceId, decision: &Decision) -> Result<(), Flaw> {
        if !self.agreement.decided(at, id, decision)? {
            return Ok(());
        }
        if decision.nop {
            self.nops += 1;
            return Ok(());
        }
        let Some(command) = self.validity.get(id) else {
            let text = format!("{} decides a command where nothing was submitted", at.replica);
            return Err(Flaw::of(Invariant::Validity, id, text));
        };
        self.visibility.committed(id, &command.footprint, &decision.deps)
    }

    fn begin_collection(&mut self, at: Place, protocol: &EPaxos) {
        for lane in protocol.lane_ids() {
            self.collection.begin_at(at.replica, lane, protocol.collectable_upto(lane));
        }
        self.collection.goes_by(at.replica, protocol.absent());
    }

    fn accept(
        &mut self,
        at: Place,
        id: InstanceId,
        ballot: Ballot,
        decision: &Decision,
    ) -> Result<(), Flaw> {
        self.one_value.accept(at, id, ballot, decision)?;
        self.evidence.proposed(at, id, ballot, decision)
    }

    /// What a record that is durable now means to checks that count votes.
    fn vote(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        match record {
            Record::PreAccepted { id, command, init_deps, deps } => {
                if id.replica == at.replica {
                    if self.validity.submitted(at, *id, command)? {
                        self.closed.submitted(*id, command);
                    }
                } else {
                    self.validity.spoken_of(at, *id, command)?;
                }
                self.evidence.pre_accepted(at.replica, *id, init_deps, deps);
            }
            Record::Accepted { ballot, id, value, deps } => {
                let decision = self.decision(at, *id, value, deps)?;
                self.evidence.accepted(at.replica, *id, *ballot, &decision);
            }
            Record::Validated { id, command, .. } | Record::Learned { id, command } => {
                self.validity.spoken_of(at, *id, command)?;
            }
            Record::Committed { ballot, id, value, deps } => {
                let decision = self.decision(at, *id, value, deps)?;
                self.evidence.committed(at, *id, *ballot, &decision, true)?;
                self.decided(at, *id, &decision)?;
            }
            Record::Joined { .. }
            | Record::Absent { .. }
            | Record::ClockBound { .. }
            | Record::Run { .. }
            | Record::Collected { .. }
            | Record::Executed { .. } => {}
        }
        Ok(())
    }
}

impl Checks<EPaxos> for EPaxosChecks {
    type Frozen = FxHashSet<InstanceId>;

    fn new(quorums: Quorums) -> Self {
        Self {
            validity: Validity::default(),
            agreement: Agreement::default(),
            visibility: Visibility::default(),
            ballots: Ballots::default(),
            one_value: OneValue::default(),
            reuse: BallotReuse::default(),
            evidence: CommitEvidence::new(quorums),
            recovery: RecoveryEvidence::new(quorums),
            absence: Absence::default(),
            promise: DurablePromise::default(),
            closed: ClosedDependencies::new(quorums.n()),
            collection: Collection::new(quorums),
            taking_over: FxHashMap::default(),
            nops: 0,
            waits: FxHashSet::default(),
            waited_then_nop: 0,
            waited_then_command: 0,
        }
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        self.validity.proposed(at, command);
    }

    fn persisted(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        match record {
            Record::Accepted { ballot, id, value, deps } => {
                let decision = self.decision(at, *id, value, deps)?;
                if ballot.owner() == Some(at.replica) {
                    self.recovery.proposes(at, *id, *ballot, &decision)?;
                }
                self.accept(at, *id, *ballot, &decision)
            }
            Record::Committed { ballot, id, value, deps } => {
                let decision = self.decision(at, *id, value, deps)?;
                self.recovery.decided(at.replica, *id, &decision);
                self.evidence.committed(at, *id, *ballot, &decision, false)
            }
            Record::Absent { absent, .. } => {
                self.absence.written(at.replica, record);
                self.collection.settles(at.replica, *absent);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn durable(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        self.vote(at, record)?;
        self.promise.durable(at.replica, record)
    }

    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[Record], &Self::Frozen)>,
        records: &[Record],
        protocol: &EPaxos,
    ) -> Result<(), Flaw> {
        // Everything that was durable before, whether in the journal or in a snapshot since.
        let known_before: Vec<_> = match self.taking_over.remove(&at.replica) {
            Some(known) => known,
            None => self.promise.standings(at.replica).collect(),
        };
        self.closed.forget(at.replica);
        let mut all = Vec::new();
        if let Some((image, frozen)) = base {
            self.closed.thaw(at.replica, frozen.clone());
            all.extend_from_slice(image);
        }
        all.extend_from_slice(records);
        self.promise.restart(at.replica, &all)?;
        self.absence.restart(at.replica, &all);
        self.recovery.forget(at.replica);
        for record in &all {
            self.vote(at, record)?;
            self.knows(at.replica, record);
        }
        let known_now: Vec<_> = self.promise.standings(at.replica).collect();
        self.ballots.restart(at.replica, known_before.iter().copied());
        for (id, standing) in known_before.into_iter().chain(known_now) {
            let nothing = standing.ballot.is_initial() && standing.phase == Phase::Initial;
            if nothing || protocol.is_collected(id) {
                continue;
            }
            if protocol.instance(id).is_none() {
                let text = format!("{} forgot it in a restart: {standing:?}", at.replica);
                return Err(Flaw::of(Invariant::Ballots, id, text));
            }
            self.stepped(at, protocol, &[id])?;
        }
        self.begin_collection(at, protocol);
        Ok(())
    }

    fn snapshot_durable(&mut self, at: Place) {
        self.taking_over.remove(&at.replica);
        self.absence.stored(at.replica);
    }

    fn freeze(&self, at: Place, _: &[Record]) -> Self::Frozen {
        self.closed.executed_by(at.replica)
    }

    fn taken_over(
        &mut self,
        at: Place,
        handover: &[Record],
        frozen: &Self::Frozen,
        protocol: &EPaxos,
    ) -> Result<(), Flaw> {
        let known = self.promise.standings(at.replica).collect();
        self.taking_over.entry(at.replica).or_insert(known);
        self.closed.thaw(at.replica, frozen.clone());
        self.absence.taken_over(at.replica, handover);
        for record in handover {
            self.vote(at, record)?;
            self.knows(at.replica, record);
        }
        self.promise.taken_over(at.replica, handover)?;
        for (id, instance) in protocol.instances() {
            self.endorses(at.replica, id, instance)?;
        }
        self.ballots.taken_over(at.replica);
        self.begin_collection(at, protocol);
        Ok(())
    }

    fn sent(&mut self, at: Place, to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        self.absence.sent(at, to, message)?;
        self.hear_recovery(at, to, message)?;
        match message {
            Message::PreAccept { id, command, .. } => {
                self.reuse.leads(at, *id, Ballot::INITIAL)?;
                self.validity.spoken_of(at, *id, command)?;
            }
            Message::Accept { ballot, id, value, deps } => {
                self.reuse.leads(at, *id, *ballot)?;
                let decision = self.decision(at, *id, value, deps)?;
                self.accept(at, *id, *ballot, &decision)?;
                if self.waits.remove(&(at, *id)) {
                    self.waited_then_nop += u64::from(decision.nop);
                    self.waited_then_command += u64::from(!decision.nop);
                }
            }
            Message::Waiting { id, .. } => _ = self.waits.insert((at, *id)),
            Message::Commit { id, value, deps, .. } => {
                let decision = self.decision(at, *id, value, deps)?;
                self.decided(at, *id, &decision)?;
            }
            Message::Recover { ballot, id } => {
                self.waits.remove(&(at, *id));
                self.reuse.leads(at, *id, *ballot)?;
            }
            Message::Validate { ballot, id, command, .. } => {
                self.reuse.leads(at, *id, *ballot)?;
                self.validity.spoken_of(at, *id, command)?;
            }
            Message::Payload { id, command } => self.validity.spoken_of(at, *id, command)?,
            Message::Status(status) => self.collection.said(at.replica, status)?,
            _ => {}
        }
        self.promise.sent(at, message)
    }

    fn stepped(
        &mut self,
        at: Place,
        protocol: &EPaxos,
        touched: &[InstanceId],
    ) -> Result<(), Flaw> {
        for id in touched {
            let Some(instance) = protocol.instance(*id) else { continue };
            self.endorses(at.replica, *id, instance)?;
            self.look_at_recovery(at.replica, protocol, *id, instance);
            let standing = Standing {
                ballot: instance.ballot,
                accepted_ballot: instance.accepted_ballot,
                phase: instance.phase,
            };
            self.ballots.stands(at.replica, *id, standing)?;
            // A commit that is not durable yet may be forgotten, and nobody has heard of it.
            if instance.is_committed() && self.promise.is_committed(at.replica, *id) {
                let decision = Decision { nop: instance.nop, deps: instance.deps.clone() };
                self.decided(at, *id, &decision)?;
            }
            if let Some(payload) = &instance.payload
                && self.validity.get(*id).is_some()
            {
                self.validity.spoken_of(at, *id, payload)?;
            }
        }
        for lane in protocol.lane_ids() {
            let upto = protocol.collectable_upto(lane);
            let gone = (lane, upto);
            self.collection.collects(at.replica, protocol.absent(), gone, &self.promise)?;
        }
        self.collection.goes_by(at.replica, protocol.absent());
        Ok(())
    }

    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        self.validity.spoken_of(at, id, command)?;
        if !self.promise.is_committed(at.replica, id) {
            let text = format!("{} executes it before its commit is durable there", at.replica);
            return Err(Flaw::of(Invariant::DurablePromise, id, text));
        }
        self.closed.executing(at, id, command, &self.validity, &self.agreement)
    }

    fn coverage(&self, add: &mut dyn FnMut(&'static str, u64)) {
        let (fast, slow) = self.evidence.counts();
        add("decided_fast", fast);
        add("decided_by_accepts", slow);
        add("decided_nop", self.nops);
        add("waited_then_nop", self.waited_then_nop);
        add("waited_then_command", self.waited_then_command);
        add("decided", self.agreement.len() as u64);
        self.recovery.counts().for_each(|(name, count)| add(name, count));
    }
}
