//! Invariant 7. Nothing leaves before what it promises is durable.
//!
//! Independent of the types that enforce this in the code: what each replica durably holds is
//! rebuilt here from the records that its simulated disk confirmed, and every message seen on the
//! wire is held against it.

use panchayat_consensus::{Ballot, InstanceId, ReplicaId};
use panchayat_epaxos::{Deps, Message, Phase, Proposal, READ_RUN_SHIFT, Record};
use rustc_hash::FxHashMap;

use super::{Decision, Standing};
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// What one replica durably holds of one instance.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Ballots: joined and accepted; and how far it has come.
    pub standing: Option<Standing>,
    /// Whether the value accepted or committed is Nop.
    pub nop: bool,
    /// The dependencies of the current phase.
    pub deps: Option<Deps>,
    /// What the coordinator sent.
    pub init_deps: Option<Deps>,
    /// The dependencies it answered to the pre-accept with.
    pub pre_accepted: Option<Deps>,
    /// Every ballot it voted at, and for what.
    pub voted: Vec<(Ballot, Decision)>,
    /// Whether it holds the command itself.
    pub payload: bool,
}

impl Held {
    fn standing_mut(&mut self) -> &mut Standing {
        self.standing.get_or_insert(Standing {
            ballot: Ballot::INITIAL,
            accepted_ballot: Ballot::INITIAL,
            phase: Phase::Initial,
        })
    }

    fn phase(&self) -> Phase {
        self.standing.map_or(Phase::Initial, |standing| standing.phase)
    }

    fn ballot(&self) -> Ballot {
        self.standing.map_or(Ballot::INITIAL, |standing| standing.ballot)
    }

    fn accepted_ballot(&self) -> Ballot {
        self.standing.map_or(Ballot::INITIAL, |standing| standing.accepted_ballot)
    }

    fn join(&mut self, ballot: Ballot) {
        let standing = self.standing_mut();
        standing.ballot = standing.ballot.max(ballot);
    }
}

/// What every replica durably holds.
#[derive(Clone, Debug, Default)]
pub struct DurablePromise {
    held: FxHashMap<(ReplicaId, InstanceId), Held>,
    /// Per replica and lane: up to where everything is durably committed.
    committed_upto: FxHashMap<(ReplicaId, ReplicaId), u64>,
    /// The last run durably noted.
    runs: FxHashMap<ReplicaId, u64>,
    /// Which incarnation asked in a run.
    asked: FxHashMap<(ReplicaId, u64), u32>,
}

impl DurablePromise {
    /// A record of `replica` is durable.
    ///
    /// # Errors
    /// It refers to a payload that no earlier record holds.
    pub fn durable(&mut self, replica: ReplicaId, record: &Record) -> Result<(), Flaw> {
        let Some(id) = record.instance() else {
            if let Record::Collected { collected, .. } = record {
                for (lane, upto) in collected.lanes() {
                    let known = self.committed_upto.entry((replica, lane)).or_default();
                    *known = upto.max(*known);
                }
            }
            if let Record::Run { run } = record {
                let noted = self.runs.entry(replica).or_default();
                *noted = (*noted).max(*run);
            }
            return Ok(());
        };
        let held = self.held.entry((replica, id)).or_default();
        match record {
            Record::PreAccepted { init_deps, deps, .. } => {
                held.payload = true;
                held.init_deps = Some(init_deps.clone());
                held.pre_accepted = Some(deps.clone());
                let standing = held.standing_mut();
                // A second time only if the first was withdrawn.
                if standing.phase <= Phase::PreAccepted {
                    standing.phase = Phase::PreAccepted;
                    held.deps = Some(deps.clone());
                }
            }
            Record::Accepted { ballot, value, deps, .. }
            | Record::Committed { ballot, value, deps, .. } => {
                held.join(*ballot);
                held.payload |= matches!(value, Proposal::Full(_));
                if !held.payload && matches!(value, Proposal::Original) {
                    let text =
                        format!("{replica}'s journal refers to a payload it lacks: {record:?}");
                    return Err(Flaw::of(Invariant::DurablePromise, id, text));
                }
                let accepted = matches!(record, Record::Accepted { .. });
                if accepted {
                    let nop = matches!(value, Proposal::Nop);
                    held.voted.push((*ballot, Decision { nop, deps: deps.clone() }));
                }
                let standing = held.standing_mut();
                standing.accepted_ballot = standing.accepted_ballot.max(*ballot);
                if standing.phase != Phase::Committed {
                    standing.phase = if accepted { Phase::Accepted } else { Phase::Committed };
                    held.nop = matches!(value, Proposal::Nop);
                    held.deps = Some(deps.clone());
                }
            }
            Record::Joined { ballot, .. } => held.join(*ballot),
            Record::Validated { init_deps, .. } => {
                held.payload = true;
                held.init_deps = Some(init_deps.clone());
            }
            Record::Learned { .. } => held.payload = true,
            Record::Absent { .. }
            | Record::ClockBound { .. }
            | Record::Run { .. }
            | Record::Collected { .. }
            | Record::Executed { .. } => {}
        }
        Ok(())
    }

    /// `replica` starts from `records`.
    ///
    /// # Errors
    /// As [`durable`](Self::durable).
    pub fn restart(&mut self, replica: ReplicaId, records: &[Record]) -> Result<(), Flaw> {
        self.held.retain(|(other, _), _| *other != replica);
        self.committed_upto.retain(|(other, _), _| *other != replica);
        records.iter().try_for_each(|record| self.durable(replica, record))
    }

    /// What `replica` durably holds of `id`.
    pub fn held(&self, replica: ReplicaId, id: InstanceId) -> Option<&Held> {
        self.held.get(&(replica, id))
    }

    /// Every standing that `replica` durably holds.
    pub fn standings(
        &self,
        replica: ReplicaId,
    ) -> impl Iterator<Item = (InstanceId, Standing)> + '_ {
        self.held
            .iter()
            .filter(move |((other, _), _)| *other == replica)
            .filter_map(|((_, id), held)| Some((*id, held.standing?)))
    }

    /// Whether `replica` durably holds `id` as committed, or collected it.
    pub fn is_committed(&self, replica: ReplicaId, id: InstanceId) -> bool {
        let upto = self.committed_upto.get(&(replica, id.replica));
        upto.is_some_and(|upto| id.slot <= *upto)
            || self.held(replica, id).is_some_and(|held| held.phase() == Phase::Committed)
    }

    /// `replica` has taken over what these records of another say.
    ///
    /// # Errors
    /// As [`durable`](Self::durable).
    pub fn taken_over(&mut self, replica: ReplicaId, records: &[Record]) -> Result<(), Flaw> {
        records.iter().try_for_each(|record| self.durable(replica, record))
    }

    /// Answers to reads of another run must not pass for answers to this one's.
    fn run_is_its_own(&mut self, at: Place, run: u64) -> Result<(), Flaw> {
        let noted = self.runs.get(&at.replica).copied().unwrap_or(0);
        let incarnation = *self.asked.entry((at.replica, run)).or_insert(at.incarnation);
        if noted >= run && incarnation == at.incarnation {
            return Ok(());
        }
        let text = format!("{} asks in run {run}, noted {noted}, of {incarnation}", at.replica);
        Err(Flaw::general(Invariant::DurablePromise, text))
    }

    /// Holds a message that left `at` against what is durable there.
    ///
    /// # Errors
    /// It promises more.
    pub fn sent(&mut self, at: Place, message: &Message) -> Result<(), Flaw> {
        let replica = at.replica;
        if let Message::Status(status) = message {
            return self.executed_is_durable(replica, &status.executed);
        }
        if let Message::Read { number, .. } = message {
            return self.run_is_its_own(at, number >> READ_RUN_SHIFT);
        }
        let Some(id) = message.instance() else { return Ok(()) };
        let nothing = Held::default();
        let held = self.held(replica, id).unwrap_or(&nothing);
        let kept = match message {
            Message::PreAccept { deps, .. } => held.init_deps.as_ref() == Some(deps),
            Message::PreAcceptOk { deps, .. } => held.pre_accepted.as_ref() == Some(deps),
            // It may have gone on to another ballot since: what it says is what it voted then.
            Message::Accept { ballot, value, deps, .. } => {
                let nop = matches!(value, Proposal::Nop);
                let same = held.nop == nop && held.deps.as_ref() == Some(deps);
                (same && held.phase() == Phase::Committed)
                    || held.voted.contains(&(*ballot, Decision { nop, deps: deps.clone() }))
            }
            Message::AcceptOk { ballot, .. } => {
                held.voted.iter().any(|(voted, _)| voted == ballot)
                    || (held.phase() == Phase::Committed && held.ballot() >= *ballot)
            }
            Message::Commit { value, deps, .. } => {
                held.phase() == Phase::Committed
                    && held.nop == matches!(value, Proposal::Nop)
                    && held.deps.as_ref() == Some(deps)
            }
            Message::Recover { ballot, .. } | Message::Validate { ballot, .. } => {
                held.ballot() >= *ballot
            }
            // What is committed stays so at any ballot: nothing needs to be joined to say it.
            Message::RecoverOk { ballot, report, .. } => {
                (held.ballot() >= *ballot || report.phase == Phase::Committed)
                    && held.phase() >= report.phase
                    && held.accepted_ballot() >= report.accepted_ballot
                    && (report.init_deps.is_none() || held.init_deps == report.init_deps)
                    && (report.phase == Phase::Initial
                        || held.phase() != report.phase
                        || held.accepted_ballot() != report.accepted_ballot
                        || held.deps.as_ref() == Some(&report.deps))
            }
            Message::ValidateOk { ballot, invalidators, .. } => {
                held.ballot() >= *ballot
                    && held.init_deps.is_some()
                    && invalidators
                        .iter()
                        .all(|other| !other.committed || self.is_committed(replica, other.id))
            }
            _ => true,
        };
        if kept {
            return Ok(());
        }
        let text = format!("{replica} sends {message:?}, durable there is only {held:?}");
        Err(Flaw::of(Invariant::DurablePromise, id, text))
    }

    fn executed_is_durable(&mut self, replica: ReplicaId, executed: &Deps) -> Result<(), Flaw> {
        for (lane, last) in executed.lanes() {
            let mut upto = self.committed_upto.get(&(replica, lane)).copied().unwrap_or(0);
            while upto < last && self.is_committed(replica, InstanceId::new(lane, upto + 1)) {
                upto += 1;
            }
            self.committed_upto.insert((replica, lane), upto);
            if upto < last {
                let id = InstanceId::new(lane, upto + 1);
                let text = format!(
                    "{replica} says that it executed {lane} up to {last}, but {id} is not durably \
                     committed there"
                );
                return Err(Flaw::of(Invariant::DurablePromise, id, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{Command, Footprint, ReplicaSet, WallTime};
    use panchayat_epaxos::{Invalidator, Report, Status};
    use std::sync::Arc;

    const AT: Place = Place { replica: ReplicaId(1), incarnation: 1 };

    fn id(slot: u64) -> InstanceId {
        InstanceId::new(ReplicaId(0), slot)
    }

    fn status(seen: &Deps) -> Message {
        Message::Status(Box::new(Status {
            seen: seen.clone(),
            reached: Deps::none(3),
            executed: [1, 0, 0].into_iter().collect(),
            collected: Deps::none(3),
            shared: Deps::none(3),
            absent: ReplicaSet::EMPTY,
            seen_then: Deps::none(3),
            proposed_after: WallTime(0),
        }))
    }

    fn deps(last: u64) -> Deps {
        [0, 0, last].into_iter().collect()
    }

    fn command() -> Arc<Command> {
        let payload = bytes::Bytes::from_static(b"c");
        Arc::new(Command {
            footprint: Footprint::write(b"x"),
            proposed_at: WallTime(1),
            request: None,
            payload,
        })
    }

    fn ballot() -> Ballot {
        Ballot::INITIAL.next_for(ReplicaId(1))
    }

    fn pre_accepted() -> Record {
        Record::PreAccepted { id: id(1), command: command(), init_deps: deps(0), deps: deps(4) }
    }

    fn accepted() -> Record {
        let (ballot, value) = (ballot(), Proposal::Original);
        Record::Accepted { ballot, id: id(1), value, deps: deps(4) }
    }

    fn committed() -> Record {
        let (ballot, value) = (ballot(), Proposal::Original);
        Record::Committed { ballot, id: id(1), value, deps: deps(4) }
    }

    fn report(phase: Phase) -> Message {
        let report = Report {
            accepted_ballot: if phase >= Phase::Accepted { ballot() } else { Ballot::INITIAL },
            phase,
            value: None,
            deps: deps(4),
            init_deps: None,
        };
        Message::RecoverOk { ballot: ballot(), id: id(1), report }
    }

    /// Each message, and the records that must be durable before it: without the last one it is
    /// found, with all of them it is not.
    #[test]
    fn every_promise_needs_its_record() {
        let (ballot, id, deps) = (ballot(), id(1), deps(4));
        let joined = Record::Joined { ballot, id };
        let validated = Record::Validated { id, command: command(), init_deps: self::deps(0) };
        let original = Proposal::Original;
        let cases: Vec<(Message, Vec<Record>)> = vec![
            (
                Message::PreAccept { id, command: command(), deps: self::deps(0) },
                vec![pre_accepted()],
            ),
            (
                Message::PreAcceptOk { id, deps: deps.clone(), absent: ReplicaSet::EMPTY },
                vec![pre_accepted()],
            ),
            (
                Message::Accept { ballot, id, value: original.clone(), deps: deps.clone() },
                vec![pre_accepted(), accepted()],
            ),
            (Message::AcceptOk { ballot, id }, vec![pre_accepted(), accepted()]),
            (
                Message::Commit { ballot, id, value: original, deps: deps.clone() },
                vec![pre_accepted(), accepted(), committed()],
            ),
            (Message::Recover { ballot, id }, vec![joined.clone()]),
            (report(Phase::PreAccepted), vec![joined.clone(), pre_accepted()]),
            (report(Phase::Accepted), vec![pre_accepted(), accepted()]),
            (report(Phase::Committed), vec![pre_accepted(), accepted(), committed()]),
            (Message::ValidateOk { ballot, id, invalidators: Vec::new() }, vec![joined, validated]),
            (status(&deps), vec![pre_accepted(), committed()]),
        ];
        for (message, records) in cases {
            let mut check = DurablePromise::default();
            let (last, before) = records.split_last().unwrap();
            before.iter().for_each(|record| check.durable(AT.replica, record).unwrap());
            assert!(check.sent(AT, &message).is_err(), "{message:?} passed too early");
            check.durable(AT.replica, last).unwrap();
            check.sent(AT, &message).unwrap();
        }
    }

    #[test]
    fn another_value_than_the_durable_one_is_found() {
        let mut check = DurablePromise::default();
        for record in [pre_accepted(), accepted()] {
            check.durable(AT.replica, &record).unwrap();
        }
        let (ballot, id) = (ballot(), id(1));
        let accept = |value, deps| Message::Accept { ballot, id, value, deps };
        assert!(check.sent(AT, &accept(Proposal::Nop, deps(4))).is_err());
        assert!(check.sent(AT, &accept(Proposal::Original, deps(5))).is_err());
        assert!(
            check
                .sent(AT, &Message::PreAcceptOk { id, deps: deps(5), absent: ReplicaSet::EMPTY })
                .is_err()
        );
        let invalidators = vec![Invalidator { id: self::id(2), committed: true }];
        assert!(check.sent(AT, &Message::ValidateOk { ballot, id, invalidators }).is_err());
    }

    #[test]
    fn a_reference_to_a_payload_that_is_not_there_is_found() {
        let mut check = DurablePromise::default();
        assert!(check.durable(AT.replica, &accepted()).is_err());
        let mut check = DurablePromise::default();
        check.durable(AT.replica, &pre_accepted()).unwrap();
        check.restart(AT.replica, &[]).unwrap();
        assert!(check.durable(AT.replica, &accepted()).is_err());
    }
}
