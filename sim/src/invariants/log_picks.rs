//! Invariant 13. What a new leader proposes follows the quorum rule: there are q1 members that
//! promised its ballot, and of the votes they then reported for a slot the one at the highest
//! ballot is for the value proposed; or none of them had voted there.

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use panchayat_multipaxos::Report;
use rustc_hash::FxHashMap;

use super::log_values::Value;
use crate::flaw::{Flaw, Invariant};
use crate::log::instance;
use crate::subject::Place;

#[derive(Clone, Debug, Default)]
struct Reported {
    /// Slots below this one are reported.
    upto: Slot,
    votes: FxHashMap<Slot, (Ballot, Value)>,
}

/// Every report that was sent, by the ballot promised with it.
#[derive(Clone, Debug)]
pub struct LogPicks {
    q1: usize,
    reports: FxHashMap<Ballot, FxHashMap<ReplicaId, Reported>>,
    constrained: u64,
    free: u64,
}

impl LogPicks {
    /// No reports; `q1` members must promise.
    pub fn new(q1: usize) -> Self {
        Self { q1, reports: FxHashMap::default(), constrained: 0, free: 0 }
    }

    /// `from` promised `ballot` and reports this, and more if `next` is a slot.
    pub fn promised(&mut self, from: ReplicaId, ballot: Ballot, reports: &[Report], next: Slot) {
        let known = self.reports.entry(ballot).or_default().entry(from).or_default();
        known.upto = known.upto.max(if next == 0 { Slot::MAX } else { next });
        for report in reports.iter().filter(|report| !report.ballot.is_initial()) {
            known.votes.insert(report.slot, (report.ballot, Value::of(&report.entry)));
        }
    }

    /// `at` leads at `ballot` and gives `slot` a value. `own` was its vote there until now;
    /// `chosen` is what was chosen.
    ///
    /// # Errors
    /// No quorum's reports allow it.
    pub fn picks(
        &mut self,
        at: Place,
        ballot: Ballot,
        (slot, value): (Slot, Value),
        own: Option<(Ballot, Value)>,
        chosen: Option<Value>,
    ) -> Result<(), Flaw> {
        let others = self.reports.get(&ballot);
        let others = others
            .into_iter()
            .flatten()
            .filter(|(replica, reported)| **replica != at.replica && slot < reported.upto);
        let mut votes: Vec<Option<(Ballot, Value)>> =
            others.map(|(_, reported)| reported.votes.get(&slot).copied()).collect();
        votes.push(own);
        let below = |limit: Option<Ballot>| {
            votes.iter().filter(|vote| vote.map(|(at, _)| at) <= limit).count()
        };
        let demanded = votes.iter().flatten().filter(|(_, voted)| *voted == value);
        let free = below(None) >= self.q1;
        let allowed = free
            || chosen == Some(value)
            || demanded.map(|(at, _)| below(Some(*at))).any(|count| count >= self.q1);
        if allowed {
            *(if free { &mut self.free } else { &mut self.constrained }) += 1;
            return Ok(());
        }
        let text = format!(
            "{} proposes {value:?} at {ballot:?}, which no {} of the votes reported to it allow: \
             {votes:?}",
            at.replica, self.q1
        );
        Err(Flaw::of(Invariant::ValuePick, instance(slot), text))
    }

    /// How often votes were to be heeded, and how often there were none.
    pub fn counts(&self) -> (u64, u64) {
        (self.constrained, self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_multipaxos::Entry;

    const AT: Place = Place { replica: ReplicaId(0), incarnation: 1 };

    fn ballot(round: u64) -> Ballot {
        (0..round).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(0)))
    }

    fn report(at: u64) -> Report {
        Report { slot: 1, ballot: ballot(at), chosen: false, entry: Entry::Nop }
    }

    #[test]
    fn the_highest_vote_of_some_quorum_is_to_be_proposed() {
        let (nop, other) = (Value::of(&Entry::Nop), Value { print: 9, command: None });
        let at = ballot(5);
        let mut check = LogPicks::new(3);
        // Two promises are no quorum.
        check.promised(ReplicaId(1), at, &[], 0);
        check.picks(AT, at, (1, nop), None, None).unwrap_err();
        // A part of a report says all about the slots that it covers.
        check.promised(ReplicaId(2), at, &[report(2)], 2);
        check.picks(AT, at, (2, other), None, None).unwrap_err();
        check.picks(AT, at, (1, nop), None, None).unwrap();
        check.picks(AT, at, (1, other), None, None).unwrap_err();
        check.promised(ReplicaId(2), at, &[], 0);
        check.picks(AT, at, (2, other), None, None).unwrap();
        // The own vote counts, and the higher one wins.
        check.picks(AT, at, (1, nop), Some((ballot(3), other)), None).unwrap_err();
        check.picks(AT, at, (1, other), Some((ballot(3), other)), None).unwrap();
        check.picks(AT, at, (1, other), Some((ballot(1), other)), None).unwrap_err();
        check.picks(AT, at, (1, other), Some((ballot(1), other)), Some(other)).unwrap();
        // A third one without a vote makes a quorum without one.
        check.promised(ReplicaId(3), at, &[], 0);
        check.picks(AT, at, (1, other), None, None).unwrap();
        assert_eq!(check.counts(), (3, 2));
    }
}
