//! Invariant 4 for a log. Promises and votes only grow, a vote is cast at the ballot promised and
//! once in a round, and what is executed stays so.
//!
//! A restart may forget what was not durable, so a replica is then measured against what it
//! durably holds.

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use rustc_hash::FxHashMap;

use super::log_promises::HeldLog;
use super::log_values::Value;
use crate::flaw::{Flaw, Invariant};
use crate::log::{Fact, LogReplica, LogRound, instance};
use crate::subject::Place;

#[derive(Clone, Debug)]
struct Run {
    promised: Ballot,
    votes: FxHashMap<Slot, (LogRound, Value)>,
    chosen: Slot,
}

impl Default for Run {
    fn default() -> Self {
        Self { promised: Ballot::INITIAL, votes: FxHashMap::default(), chosen: 0 }
    }
}

/// How far each replica is in this run.
#[derive(Clone, Debug, Default)]
pub struct LogProgress {
    runs: FxHashMap<ReplicaId, Run>,
}

impl LogProgress {
    /// The last vote of `replica` in `slot`.
    pub fn vote(&self, replica: ReplicaId, slot: Slot) -> Option<(LogRound, Value)> {
        self.runs.get(&replica)?.votes.get(&slot).copied()
    }

    /// `at` writes a record.
    ///
    /// # Errors
    /// It goes back behind an earlier one, or votes a second time in a round.
    pub fn persisted(&mut self, at: Place, fact: &Fact) -> Result<(), Flaw> {
        let run = self.runs.entry(at.replica).or_default();
        match fact {
            Fact::Promised { ballot } => {
                if *ballot <= run.promised {
                    let text =
                        format!("{} promises {ballot:?} after {:?}", at.replica, run.promised);
                    return Err(Flaw::general(Invariant::Ballots, text));
                }
                run.promised = *ballot;
            }
            Fact::Voted { round, values, .. } => {
                for (slot, value) in values {
                    let before = run.votes.insert(*slot, (*round, *value));
                    let again = before.is_some_and(|(before, _)| before >= *round);
                    if round.ballot != run.promised || again {
                        let text = format!(
                            "{} votes in {round:?}, having promised {:?} and voted {before:?}",
                            at.replica, run.promised
                        );
                        return Err(Flaw::of(Invariant::Ballots, instance(*slot), text));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A turn of `at` ended. Gives the slots that it executed in it.
    ///
    /// # Errors
    /// It went backwards.
    pub fn stepped(
        &mut self,
        at: Place,
        replica: &impl LogReplica,
    ) -> Result<std::ops::RangeInclusive<Slot>, Flaw> {
        let run = self.runs.entry(at.replica).or_default();
        let (promised, chosen) = (replica.promised(), replica.chosen_upto());
        if promised < run.promised || chosen < run.chosen {
            let text = format!(
                "{} has promised {promised:?} and executed upto {chosen}, before {:?} and {}",
                at.replica, run.promised, run.chosen
            );
            return Err(Flaw::of(Invariant::Ballots, instance(chosen + 1), text));
        }
        let new = run.chosen + 1..=chosen;
        run.chosen = chosen;
        Ok(new)
    }

    /// `at` started again: it must know what it durably held `before` and what it holds `now`.
    ///
    /// # Errors
    /// It does not.
    pub fn restarted(
        &mut self,
        at: Place,
        before: &HeldLog,
        now: &HeldLog,
        replica: &impl LogReplica,
    ) -> Result<(), Flaw> {
        let mut run = Run::default();
        for held in [before, now] {
            if replica.promised() < held.ballot() || replica.chosen_upto() < held.upto {
                let text = format!(
                    "{} starts with promise {:?}, executed upto {}; durable was {:?}, outcomes upto {}",
                    at.replica,
                    replica.promised(),
                    replica.chosen_upto(),
                    held.promised,
                    held.upto
                );
                return Err(Flaw::general(Invariant::Ballots, text));
            }
            for slot in held.votes.keys().copied() {
                let Some((round, value)) = held.vote(slot) else { continue };
                let vote = replica.vote(slot);
                let settled =
                    slot <= replica.collected_upto() || replica.chosen_value(slot).is_some();
                // One that was cast later may have outlived the crash as well.
                let later = vote.is_some_and(|(later, _)| later > round);
                if !settled && !later && vote != Some((round, value)) {
                    let text = format!(
                        "{} starts with vote {vote:?}, durable was {value:?} in {round:?}",
                        at.replica
                    );
                    return Err(Flaw::of(Invariant::Ballots, instance(slot), text));
                }
                run.votes.insert(slot, (round, value));
            }
            run.promised = run.promised.max(held.ballot());
            run.chosen = run.chosen.max(held.upto);
        }
        self.runs.insert(at.replica, run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { replica: ReplicaId(0), incarnation: 1 };

    fn ballot(round: u64) -> Ballot {
        (0..round).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(1)))
    }

    fn voted(round: LogRound) -> Fact {
        let value = Value { print: 1, command: None };
        Fact::Voted { round, values: vec![(3, value)], chosen: 0 }
    }

    fn accepted(round: u64) -> Fact {
        voted(LogRound::classic(ballot(round)))
    }

    #[test]
    fn promises_grow_and_votes_are_cast_once_at_what_is_promised() {
        let mut check = LogProgress::default();
        let promised = |round| Fact::Promised { ballot: ballot(round) };
        check.persisted(AT, &promised(2)).unwrap();
        check.clone().persisted(AT, &promised(2)).unwrap_err();
        check.clone().persisted(AT, &promised(1)).unwrap_err();
        check.clone().persisted(AT, &accepted(1)).unwrap_err();
        check.clone().persisted(AT, &accepted(3)).unwrap_err();
        check.persisted(AT, &accepted(2)).unwrap();
        check.clone().persisted(AT, &accepted(2)).unwrap_err();
        check.persisted(AT, &promised(3)).unwrap();
        check.persisted(AT, &accepted(3)).unwrap();
    }

    #[test]
    fn nobody_votes_twice_in_a_fast_round() {
        let mut check = LogProgress::default();
        check.persisted(AT, &Fact::Promised { ballot: ballot(2) }).unwrap();
        let fast = voted(LogRound::fast(ballot(2)));
        check.persisted(AT, &fast).unwrap();
        check.clone().persisted(AT, &fast).unwrap_err();
        check.persisted(AT, &accepted(2)).unwrap();
        check.persisted(AT, &fast).unwrap_err();
    }
}
