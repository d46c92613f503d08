//! The rules of recovery once more, written from the paper and not from the code that is checked:
//! what a quorum of reports gives, and what a validation gives.

use panchayat_consensus::{Ballot, InstanceId, Quorums, ReplicaId, ReplicaSet};
use panchayat_epaxos::{Deps, Invalidator, Phase};

use crate::invariants::Decision;

/// What a replica says of an instance in answer to Recover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// How far it has come.
    pub phase: Phase,
    /// Where its value was accepted.
    pub accepted_ballot: Ballot,
    /// The value, by whether it is Nop, and its dependencies.
    pub value: Decision,
    /// What the initial coordinator sent, if known.
    pub init_deps: Option<Deps>,
}

/// How a recovery came to propose what it proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Rule 1.
    Committed,
    /// Rule 2.
    Accepted,
    /// Rule 3.
    Coordinator,
    /// Rule 5.
    Nothing,
    /// Rule 4, and nobody knew anything against it.
    Valid,
    /// Rule 4, and what was named excludes a fast commit.
    Invalid,
    /// Rule 4, and everything that was named turned out to be harmless.
    WaitedValid,
    /// Rule 4, and something that was named was committed without it.
    WaitedInvalid,
    /// Rule 4, and the recovery of something that was named waits too.
    WaitedDeadlock,
    /// Rule 4, and while it waited somebody else reported.
    WaitedLate,
}

impl Ending {
    /// Every way.
    pub(super) const ALL: [Self; 10] = [
        Self::Committed,
        Self::Accepted,
        Self::Coordinator,
        Self::Nothing,
        Self::Valid,
        Self::Invalid,
        Self::WaitedValid,
        Self::WaitedInvalid,
        Self::WaitedDeadlock,
        Self::WaitedLate,
    ];

    /// Its name in coverage.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Committed => "evidence_rule_1",
            Self::Accepted => "evidence_rule_2",
            Self::Coordinator => "evidence_rule_3",
            Self::Nothing => "evidence_rule_5",
            Self::Valid => "evidence_rule_4_valid",
            Self::Invalid => "evidence_rule_4_invalid",
            Self::WaitedValid => "evidence_waited_valid",
            Self::WaitedInvalid => "evidence_waited_invalid",
            Self::WaitedDeadlock => "evidence_waited_deadlock",
            Self::WaitedLate => "evidence_waited_late",
        }
    }
}

/// What the first applicable of the rules 1 to 5 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// 1: it is committed.
    Commit,
    /// 2: accept this.
    Accept(Decision),
    /// 4: validate the coordinator's command with these dependencies, endorsed by so many.
    Validate { deps: Deps, count: usize },
    /// 3 and 5.
    Nop(Ending),
}

/// One report of each member of a quorum.
pub(super) type Quorum<'a> = Vec<&'a (ReplicaId, Reported)>;

/// Every choice of `size` replicas with `owner` among them, and of one report of each.
pub(super) fn quorums_of(
    size: usize,
    owner: ReplicaId,
    reports: &[(ReplicaId, Reported)],
) -> Vec<Quorum<'_>> {
    let own = reports.iter().filter(|(replica, _)| *replica == owner);
    let mut chosen: Vec<Quorum<'_>> = own.map(|report| vec![report]).collect();
    for _ in 1..size {
        let mut larger = Vec::new();
        for quorum in &chosen {
            // Members after the first in ascending order, so that no choice comes twice.
            let last = quorum[1..].last().map(|(replica, _)| *replica);
            let next = { reports.iter() }.filter(|(replica, _)| {
                *replica != owner && last.is_none_or(|last| *replica > last)
            });
            larger.extend(next.map(|report| [&quorum[..], &[report]].concat()));
        }
        chosen = larger;
    }
    chosen
}

/// What the rules give for the reports of `quorum`.
pub(super) fn rule_for(quorums: Quorums, id: InstanceId, quorum: &Quorum<'_>) -> Rule {
    let in_phase =
        |phase| quorum.iter().map(|(_, report)| report).filter(move |report| report.phase == phase);
    if in_phase(Phase::Committed).next().is_some() {
        return Rule::Commit;
    }
    if let Some(newest) = in_phase(Phase::Accepted).max_by_key(|report| report.accepted_ballot) {
        return Rule::Accept(newest.value.clone());
    }
    if quorum.iter().any(|(replica, _)| *replica == id.replica) {
        return Rule::Nop(Ending::Coordinator);
    }
    let endorses = |report: &&Reported| report.init_deps.as_ref() == Some(&report.value.deps);
    let count = in_phase(Phase::PreAccepted).filter(endorses).count();
    match in_phase(Phase::PreAccepted).find(endorses) {
        Some(first) if count + quorums.e() >= quorum.len() => {
            Rule::Validate { deps: first.value.deps.clone(), count }
        }
        _ => Rule::Nop(Ending::Nothing),
    }
}

/// What a member of a quorum named against a value.
pub(super) type Answer = (ReplicaId, Vec<Invalidator>);

/// A validation: who was asked about what.
#[derive(Clone, Debug)]
pub(super) struct Validation {
    /// *Q*.
    pub(super) quorum: ReplicaSet,
    pub(super) deps: Deps,
    /// What |R| can be, by the reports of *Q*.
    pub(super) endorsers: Vec<usize>,
}

impl Validation {
    /// How its owner can have come to propose `value` after these answers, if it can. `late` are
    /// reports from outside *Q*, `held` is what the owner holds for decided, `waits` the |R| of the
    /// recovery of an instance that it may know to wait.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn ending<'a>(
        &self,
        quorums: Quorums,
        id: InstanceId,
        value: &Decision,
        answers: &[Answer],
        late: &[&(ReplicaId, Reported)],
        held: &impl Fn(InstanceId) -> Option<&'a Decision>,
        waits: &impl Fn(InstanceId) -> usize,
    ) -> Option<Ending> {
        let validated = !value.nop && value.deps == self.deps;
        let mutual = quorums.n() - quorums.f() - quorums.e();
        let harmless = |decision: &Decision| decision.nop || decision.deps.contains(id);
        let of = |union: &[Invalidator], count: usize| {
            if union.is_empty() {
                return validated.then_some(Ending::Valid);
            }
            let barely = count + quorums.e() == self.quorum.len();
            let excludes = |one: &Invalidator| {
                one.committed || !self.quorum.contains(one.id.replica) && barely
            };
            if union.iter().any(excludes) {
                return value.nop.then_some(Ending::Invalid);
            }
            let known = || union.iter().map(|one| (one.id, held(one.id)));
            let invalidated = known().any(|(_, held)| held.is_some_and(|held| !harmless(held)));
            let valid = known().all(|(_, held)| held.is_some_and(harmless));
            let deadlock = known().any(|(other, held)| held.is_none() && waits(other) > mutual);
            let reported = |(replica, report): &&(ReplicaId, Reported)| match report.phase {
                Phase::Committed => false,
                Phase::Accepted => report.value == *value,
                Phase::Initial | Phase::PreAccepted => *replica == id.replica && value.nop,
            };
            [
                (value.nop && invalidated, Ending::WaitedInvalid),
                (validated && valid, Ending::WaitedValid),
                (value.nop && deadlock, Ending::WaitedDeadlock),
                (late.iter().copied().any(|late| reported(&late)), Ending::WaitedLate),
            ]
            .into_iter()
            .find_map(|(holds, ending)| holds.then_some(ending))
        };
        let unions = self.unions(answers);
        let all = unions.iter().flat_map(|union| self.endorsers.iter().map(move |r| (union, *r)));
        all.into_iter().find_map(|(union, count)| of(union, count))
    }

    /// *I* for every choice of one answer of each member of *Q*; none if somebody has not answered.
    fn unions(&self, answers: &[Answer]) -> Vec<Vec<Invalidator>> {
        let mut unions = vec![Vec::new()];
        for member in self.quorum.iter() {
            let theirs: Vec<_> = answers.iter().filter(|(replica, _)| *replica == member).collect();
            let with = |union: &Vec<Invalidator>| -> Vec<Vec<Invalidator>> {
                theirs.iter().map(|(_, answer)| [&union[..], answer].concat()).collect()
            };
            unions = unions.iter().flat_map(with).collect();
        }
        unions
    }
}
