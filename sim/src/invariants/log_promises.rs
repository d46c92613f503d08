//! Invariant 7 for a log. Nothing leaves before what it promises is durable.
//!
//! What each replica durably holds is rebuilt from the records that its simulated disk confirmed,
//! and every message seen on the wire is held against it.

use std::fmt::Debug;

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use rustc_hash::{FxHashMap, FxHashSet};

use super::log_values::{LogValues, Value};
use crate::flaw::{Flaw, Invariant};
use crate::log::{Claim, Fact, LogRound, VoteOf, instance};
use crate::subject::Place;

/// Numbers begin with the run of their origin, above this many bits.
const RUN_SHIFT: u32 = 40;

/// What one replica durably holds.
#[derive(Clone, Debug, Default)]
pub struct HeldLog {
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// How often it was started.
    pub run: u64,
    /// Every vote, by slot, in the order of rounds.
    pub votes: FxHashMap<Slot, Vec<(LogRound, Value)>>,
    known: FxHashSet<Slot>,
    /// What is said to be chosen from now on is about values above this slot.
    adopted: Slot,
    /// The outcome of every slot up to here can be told after a loss of power.
    pub upto: Slot,
}

impl HeldLog {
    /// The highest ballot promised, the initial one if none.
    pub fn ballot(&self) -> Ballot {
        self.promised.unwrap_or(Ballot::INITIAL)
    }

    /// The last vote in `slot`.
    pub fn vote(&self, slot: Slot) -> Option<(LogRound, Value)> {
        self.votes.get(&slot)?.last().copied()
    }

    fn promise(&mut self, ballot: Ballot) {
        self.promised = self.promised.max(Some(ballot));
    }

    fn know_upto(&mut self, upto: Slot) {
        for slot in self.upto.max(self.adopted) + 1..=upto {
            if self.votes.contains_key(&slot) {
                self.known.insert(slot);
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.known.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
    }

    /// One more record.
    pub fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Started { run } => (self.run, self.adopted) = (self.run.max(*run), 0),
            Fact::Promised { ballot } => self.promise(*ballot),
            Fact::Voted { round, values, chosen } => {
                self.promise(round.ballot);
                self.know_upto(*chosen);
                for (slot, value) in values {
                    let votes = self.votes.entry(*slot).or_default();
                    if votes.last().is_none_or(|(last, _)| last < round) {
                        votes.push((*round, *value));
                    }
                }
            }
            Fact::Learned { values } => {
                self.known.extend(values.iter().map(|(slot, _)| *slot));
                self.advance();
            }
            Fact::Chosen { upto } => self.know_upto(*upto),
            Fact::Adopted { upto } => self.adopted = *upto,
            Fact::Snapshot { upto } => {
                self.upto = self.upto.max(*upto);
                self.advance();
            }
            Fact::Other => {}
        }
    }

    fn voted(&self, slot: Slot, round: LogRound, vote: VoteOf) -> bool {
        let votes = self.votes.get(&slot).map_or(&[][..], |votes| votes);
        votes.iter().any(|(at, known)| *at == round && vote.is(*known))
    }
}

/// What every replica durably holds.
#[derive(Clone, Debug, Default)]
pub struct LogPromises {
    held: FxHashMap<ReplicaId, HeldLog>,
    /// How far states reach that were taken over and are not durable yet.
    taking_over: FxHashMap<ReplicaId, Slot>,
}

impl LogPromises {
    /// A record of `replica` is durable.
    pub fn durable(&mut self, replica: ReplicaId, fact: &Fact) {
        self.held.entry(replica).or_default().add(fact);
    }

    /// `replica` starts from `facts`. Gives what it held before.
    pub fn restart(&mut self, replica: ReplicaId, facts: &[Fact]) -> HeldLog {
        self.taking_over.remove(&replica);
        let mut held = HeldLog::default();
        facts.iter().for_each(|fact| held.add(fact));
        self.held.insert(replica, held).unwrap_or_default()
    }

    /// `replica` has taken over a state that is not durable there yet.
    pub fn taken_over(&mut self, replica: ReplicaId, upto: Slot) {
        self.taking_over.insert(replica, upto);
    }

    /// A snapshot of `replica` is durable, and with it the state it may have taken over.
    pub fn snapshot_durable(&mut self, replica: ReplicaId) {
        if let Some(upto) = self.taking_over.remove(&replica) {
            let held = self.held.entry(replica).or_default();
            held.upto = held.upto.max(upto);
            held.advance();
        }
    }

    /// What `replica` durably holds.
    pub fn held(&mut self, replica: ReplicaId) -> &HeldLog {
        self.held.entry(replica).or_default()
    }

    /// Up to which slot `replica` durably knows every outcome.
    pub fn kept(&self, replica: ReplicaId) -> Slot {
        self.held.get(&replica).map_or(0, |held| held.upto)
    }

    /// Up to which slot `replica` need ask nobody: what it keeps, and what it has taken over.
    pub fn settled(&self, replica: ReplicaId) -> Slot {
        let taking_over = self.taking_over.get(&replica).copied().unwrap_or(0);
        let begin = self.kept(replica).max(taking_over);
        let known = self.held.get(&replica).map(|held| &held.known);
        let goes_on = |slot: &Slot| known.is_some_and(|known| known.contains(slot));
        (begin + 1..).take_while(goes_on).last().unwrap_or(begin)
    }

    /// Holds what a message that left `at` claims against what is durable there, and against what
    /// is chosen.
    ///
    /// # Errors
    /// It is not so.
    pub fn claimed(
        &mut self,
        at: Place,
        claim: &Claim,
        message: &dyn Debug,
        values: &LogValues,
    ) -> Result<(), Flaw> {
        let held = self.held(at.replica);
        let mut slot = None;
        let kept = match claim {
            Claim::ChosenUpto(upto) => return values.decided_upto(at, *upto),
            Claim::Decided(slot, value) => return values.decided(at, *slot, *value),
            Claim::Number(number) => number >> RUN_SHIFT <= held.run,
            Claim::Promised(ballot) => held.ballot() >= *ballot,
            Claim::Kept(upto) => *upto <= held.upto,
            Claim::Voted(round, voted, vote) => {
                slot = Some(*voted);
                held.voted(*voted, *round, *vote)
            }
            Claim::AllVotes { below, first, last, told } => {
                let is_told = |wanted: Slot, vote: LogRound| {
                    let told = told.iter().find(|(slot, _)| *slot == wanted);
                    told.is_some_and(|(_, round)| round.is_none_or(|round| round >= vote))
                };
                let concealed = held.votes.iter().find(|(voted, votes)| {
                    let asked = *voted >= first && *voted <= last;
                    let vote = votes.iter().rev().find(|(round, _)| round < below);
                    asked && vote.is_some_and(|(vote, _)| !is_told(**voted, *vote))
                });
                slot = concealed.map(|(slot, _)| *slot);
                slot.is_none()
            }
        };
        if kept {
            return Ok(());
        }
        let durable = slot.map(|slot| format!("votes {:?}", held.votes.get(&slot)));
        let text = format!(
            "{} sends {message:?}; durable there is promise {:?}, run {}, outcomes upto {}, {}",
            at.replica,
            held.promised,
            held.run,
            held.upto,
            durable.unwrap_or_default()
        );
        Err(Flaw { invariant: Invariant::DurablePromise, instance: slot.map(instance), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { replica: ReplicaId(1), incarnation: 1 };
    const NOP: Value = Value { print: 1, command: None };

    fn ballot() -> Ballot {
        Ballot::INITIAL.next_for(ReplicaId(1))
    }

    fn round() -> LogRound {
        LogRound::classic(ballot())
    }

    fn voted(slot: Slot, chosen: Slot) -> Fact {
        Fact::Voted { round: round(), values: vec![(slot, NOP)], chosen }
    }

    fn chosen_by_all(slots: std::ops::RangeInclusive<Slot>) -> LogValues {
        let mut values = LogValues::new(2, 2);
        for slot in slots {
            for replica in 0..2 {
                let at = Place { replica: ReplicaId(replica), incarnation: 1 };
                values.voted(at, round(), slot, NOP).unwrap();
            }
        }
        values
    }

    /// Each claim, and the records that must be durable before it: without the last one it is
    /// found, with all of them it is not.
    #[test]
    fn every_claim_needs_its_record() {
        let promised = Fact::Promised { ballot: ballot() };
        let vote = |vote| Claim::Voted(round(), 1, vote);
        let learned = Fact::Learned { values: vec![(1, NOP)] };
        let cases: Vec<(Claim, Vec<Fact>)> = vec![
            (Claim::Promised(ballot()), vec![promised.clone()]),
            (Claim::Number(3 << RUN_SHIFT), vec![Fact::Started { run: 3 }]),
            (vote(VoteOf::Anything), vec![promised, voted(1, 0)]),
            (vote(VoteOf::Value(NOP)), vec![voted(1, 0)]),
            (vote(VoteOf::Named(None)), vec![voted(1, 0)]),
            (Claim::Kept(1), vec![voted(1, 0), Fact::Chosen { upto: 1 }]),
            (Claim::Kept(1), vec![voted(1, 0), voted(2, 1)]),
            (Claim::Kept(1), vec![learned]),
        ];
        let values = chosen_by_all(1..=1);
        for (claim, facts) in cases {
            let mut check = LogPromises::default();
            let (last, before) = facts.split_last().unwrap();
            before.iter().for_each(|fact| check.durable(AT.replica, fact));
            let early = check.claimed(AT, &claim, &"early", &values);
            assert!(early.is_err(), "{claim:?} passed too early");
            check.durable(AT.replica, last);
            check.claimed(AT, &claim, &"in time", &values).unwrap();
        }
    }

    #[test]
    fn a_concealed_vote_is_found() {
        let below = LogRound::classic(ballot().next_for(ReplicaId(2)));
        let values = LogValues::new(2, 2);
        let mut check = LogPromises::default();
        check.durable(AT.replica, &voted(4, 0));
        let mut claim = |first, last, below, told| {
            let claim = Claim::AllVotes { below, first, last, told };
            check.claimed(AT, &claim, &"a report", &values)
        };
        claim(1, Slot::MAX, below, vec![]).unwrap_err();
        claim(1, 3, below, vec![]).unwrap();
        claim(5, Slot::MAX, below, vec![]).unwrap();
        claim(1, Slot::MAX, round(), vec![]).unwrap();
        claim(1, 4, below, vec![(4, Some(round()))]).unwrap();
        claim(1, 4, below, vec![(4, None)]).unwrap();
        claim(1, 4, below, vec![(4, Some(LogRound::fast(ballot())))]).unwrap_err();
    }

    #[test]
    fn what_nobody_chose_is_not_to_be_told() {
        let mut check = LogPromises::default();
        check.durable(AT.replica, &voted(1, 0));
        let values = LogValues::new(2, 2);
        for claim in [Claim::Decided(1, NOP), Claim::ChosenUpto(1)] {
            assert!(check.claimed(AT, &claim, &"a word", &values).is_err());
            check.claimed(AT, &claim, &"a word", &chosen_by_all(1..=1)).unwrap();
        }
    }
}
