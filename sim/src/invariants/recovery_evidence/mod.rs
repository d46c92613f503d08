//! Invariant 6, of recoveries. What a recovery proposes follows from what it was told.
//!
//! Whatever a recoverer accepts at its ballot *b* must be what the first applicable of the rules 1
//! to 5 of EPaxos* gives for some *Q* of n−f replicas, its own among them, that reported at *b*. If
//! that is rule 4, it asked exactly *Q* to validate, every member of *Q* answered at *b*, and what
//! they named together with how the wait for it ended gives the value ([`Validation`]).
//!
//! Judged by the messages that left, which is more than those that arrived; the recoverer's own
//! words never travel and are read from its state. A message that left while its receiver counted
//! its sender as absent is never used (`absence`), so it must not be given to this check.

use panchayat_consensus::{Ballot, InstanceId, Quorums, ReplicaId, ReplicaSet};
use panchayat_epaxos::{Deps, Invalidator, Phase};
use rustc_hash::FxHashMap;

mod rules;
#[cfg(test)]
mod tests;

pub use rules::Reported;

use super::Decision;
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;
use rules::{Answer, Ending, Rule, Validation, quorums_of, rule_for};

/// What an attempt at one ballot was told.
#[derive(Clone, Debug, Default)]
struct Attempt {
    /// Reports, in the order in which they left; a replica whose state changed has several.
    reports: Vec<(ReplicaId, Reported)>,
    /// Answers to Validate, likewise; the recoverer's own are known before the question leaves.
    answers: Vec<Answer>,
    validation: Option<Validation>,
}

/// Everything that recoveries were told.
#[derive(Clone, Debug)]
pub struct RecoveryEvidence {
    quorums: Quorums,
    attempts: FxHashMap<(InstanceId, Ballot), Attempt>,
    /// The ballot at which a replica recovers an instance, until it has proposed something.
    open: FxHashMap<(ReplicaId, InstanceId), Ballot>,
    /// The largest |R| with which a recovery of an instance said that it waits.
    waits: FxHashMap<InstanceId, usize>,
    /// What each replica holds for decided, durably or not.
    decided: FxHashMap<(ReplicaId, InstanceId), Decision>,
    counts: [u64; Ending::ALL.len()],
}

impl RecoveryEvidence {
    /// Nothing recovered.
    pub fn new(quorums: Quorums) -> Self {
        Self {
            quorums,
            attempts: FxHashMap::default(),
            open: FxHashMap::default(),
            waits: FxHashMap::default(),
            decided: FxHashMap::default(),
            counts: [0; Ending::ALL.len()],
        }
    }

    /// `recoverer` has joined its own ballot, knowing this. Said after every step; the first counts.
    pub fn joined(
        &mut self,
        recoverer: ReplicaId,
        id: InstanceId,
        ballot: Ballot,
        own: impl FnOnce() -> Reported,
    ) {
        let attempt = self.attempts.entry((id, ballot)).or_default();
        if attempt.reports.iter().all(|(replica, _)| *replica != recoverer) {
            attempt.reports.push((recoverer, own()));
            self.open.insert((recoverer, id), ballot);
        }
    }

    /// `from` reports to the owner of `ballot`.
    pub fn reported(&mut self, from: ReplicaId, id: InstanceId, ballot: Ballot, report: Reported) {
        let reports = &mut self.attempts.entry((id, ballot)).or_default().reports;
        if !reports.iter().any(|(replica, known)| *replica == from && *known == report) {
            reports.push((from, report));
        }
    }

    /// `at` asks `others` whether a fast commit with `deps` is possible.
    ///
    /// # Errors
    /// Rule 4 does not apply to what exactly these and itself reported; or others were asked before.
    pub fn validates(
        &mut self,
        at: Place,
        others: ReplicaSet,
        id: InstanceId,
        ballot: Ballot,
        deps: &Deps,
    ) -> Result<(), Flaw> {
        let quorums = self.quorums;
        let attempt = self.attempts.entry((id, ballot)).or_default();
        let flaw = |text| Err(Flaw::of(Invariant::RecoveryEvidence, id, text));
        if let Some(known) = &attempt.validation {
            if others.minus(known.quorum).is_empty() && known.deps == *deps {
                return Ok(());
            }
            let text = format!("{} asks {others:?} about {deps:?}, before {known:?}", at.replica);
            return flaw(text);
        }
        let asked: ReplicaSet = others.iter().chain([at.replica]).collect();
        let mut endorsers = Vec::new();
        for quorum in quorums_of(quorums.slow(), at.replica, &attempt.reports) {
            let members: ReplicaSet = quorum.iter().map(|(replica, _)| *replica).collect();
            if members == asked
                && let Rule::Validate { deps: endorsed, count } = rule_for(quorums, id, &quorum)
                && endorsed == *deps
                && !endorsers.contains(&count)
            {
                endorsers.push(count);
            }
        }
        if endorsers.is_empty() {
            let text = format!(
                "{} asks {others:?} to validate {deps:?} at {ballot:?}, told {:?}",
                at.replica, attempt.reports
            );
            return flaw(text);
        }
        attempt.validation = Some(Validation { quorum: asked, deps: deps.clone(), endorsers });
        Ok(())
    }

    /// `at` itself begins to validate, and knows of these. Said after every step; the first counts.
    pub fn objects_itself(
        &mut self,
        at: ReplicaId,
        id: InstanceId,
        ballot: Ballot,
        own: impl Iterator<Item = Invalidator>,
    ) {
        let answers = &mut self.attempts.entry((id, ballot)).or_default().answers;
        if answers.iter().all(|(replica, _)| *replica != at) {
            answers.push((at, own.collect()));
        }
    }

    /// `from` answers to the owner of `ballot` with these.
    pub fn answered(
        &mut self,
        from: ReplicaId,
        id: InstanceId,
        ballot: Ballot,
        invalidators: &[Invalidator],
    ) {
        let answers = &mut self.attempts.entry((id, ballot)).or_default().answers;
        if !answers.iter().any(|(replica, known)| *replica == from && known == invalidators) {
            answers.push((from, invalidators.to_vec()));
        }
    }

    /// A recovery of `id` says that it waits, and what |R| it has.
    pub fn waits(&mut self, id: InstanceId, endorsers: u8) {
        let most = self.waits.entry(id).or_default();
        *most = usize::from(endorsers).max(*most);
    }

    /// `replica` holds `id` for decided from now on, durably or not.
    pub fn decided(&mut self, replica: ReplicaId, id: InstanceId, decision: &Decision) {
        self.decided.insert((replica, id), decision.clone());
        if let Some(ballot) = self.open.remove(&(replica, id))
            && let Some(attempt) = self.attempts.get(&(id, ballot))
            && attempt.reports.iter().any(|(_, report)| report.phase == Phase::Committed)
        {
            self.counts[Ending::Committed as usize] += 1;
        }
    }

    /// `replica` begins anew, with what is yet to be told.
    pub fn forget(&mut self, replica: ReplicaId) {
        self.decided.retain(|(other, _), _| *other != replica);
        self.open.retain(|(other, _), _| *other != replica);
        // A ballot whose joining was lost, and of which nobody has heard, may be joined once more; and
        // what the replica had to say then may be lost with it.
        for ((_, ballot), attempt) in &mut self.attempts {
            if ballot.owner() == Some(replica) {
                attempt.reports.retain(|(from, _)| *from != replica);
                attempt.answers.retain(|(from, _)| *from != replica);
            }
        }
    }

    /// `at` accepts `value` for `id` at its own `ballot`.
    ///
    /// # Errors
    /// No rule gives that value for what it was told.
    pub fn proposes(
        &mut self,
        at: Place,
        id: InstanceId,
        ballot: Ballot,
        value: &Decision,
    ) -> Result<(), Flaw> {
        self.open.remove(&(at.replica, id));
        let nothing = Attempt::default();
        let attempt = self.attempts.get(&(id, ballot)).unwrap_or(&nothing);
        let ending = match &attempt.validation {
            Some(asked) => {
                let held = |other| self.decided.get(&(at.replica, other));
                let waits = |other| self.waits_for(at.replica, other);
                let late: Vec<_> = { attempt.reports.iter() }
                    .filter(|(replica, _)| !asked.quorum.contains(*replica))
                    .collect();
                let answers = &attempt.answers;
                asked.ending(self.quorums, id, value, answers, &late, &held, &waits)
            }
            None => quorums_of(self.quorums.slow(), at.replica, &attempt.reports)
                .into_iter()
                .find_map(|quorum| match rule_for(self.quorums, id, &quorum) {
                    Rule::Accept(accepted) if accepted == *value => Some(Ending::Accepted),
                    Rule::Nop(ending) if value.nop => Some(ending),
                    _ => None,
                }),
        };
        let Some(ending) = ending else {
            let text = format!(
                "{} accepts {value:?} at {ballot:?}, which no rule gives for {attempt:?}",
                at.replica
            );
            return Err(Flaw::of(Invariant::RecoveryEvidence, id, text));
        };
        self.counts[ending as usize] += 1;
        Ok(())
    }

    /// The largest |R| of a recovery of `id` that `replica` may know to wait. What it says itself it
    /// knows before that leaves.
    fn waits_for(&self, replica: ReplicaId, id: InstanceId) -> usize {
        let own = { self.attempts.iter() }
            .filter(|((other, ballot), _)| *other == id && ballot.owner() == Some(replica))
            .filter_map(|(_, attempt)| attempt.validation.as_ref()?.endorsers.iter().max())
            .max();
        let heard = self.waits.get(&id).copied().unwrap_or(0);
        own.copied().unwrap_or(0).max(heard)
    }

    /// How many recoveries ended in which way, with names for the ways.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Ending::ALL.iter().map(|ending| (ending.name(), self.counts[*ending as usize]))
    }
}
