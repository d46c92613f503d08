//! Invariants 1 and 13. A log slot has one value in a classic round, and one value for ever once a
//! quorum has durably voted for it.
//!
//! Nobody is believed who says that a value is chosen: votes are counted here, as their records
//! become durable.

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{ReplicaId, ReplicaSet, Slot};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::log_names::{Name, body};
use crate::flaw::{Flaw, Invariant};
use crate::log::{LogEntry, LogRound, instance};
use crate::subject::Place;

/// What a slot holds, as far as checks go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// A fingerprint of all of it.
    pub print: u64,
    /// The command's name and a fingerprint of what it does; nothing for Nop.
    pub command: Option<(Name, u64)>,
}

impl Value {
    /// The value of an entry.
    pub fn of(entry: &impl LogEntry) -> Self {
        let command = entry.named().map(|(name, command)| (name, body(command)));
        Self { print: xxh3_64(&to_bytes(entry)), command }
    }
}

#[derive(Clone, Debug)]
struct Cast {
    round: LogRound,
    value: Value,
    by: ReplicaId,
    durable: ReplicaSet,
}

/// Every value proposed, who voted for it durably, and what that chose.
#[derive(Clone, Debug)]
pub struct LogValues {
    fast: usize,
    classic: usize,
    casts: FxHashMap<Slot, Vec<Cast>>,
    chosen: FxHashMap<Slot, (LogRound, Value)>,
    upto: Slot,
}

impl LogValues {
    /// Nothing proposed; `fast` votes choose a value in a fast round, `classic` in a classic one.
    pub fn new(fast: usize, classic: usize) -> Self {
        let (casts, chosen) = (FxHashMap::default(), FxHashMap::default());
        Self { fast, classic, casts, chosen, upto: 0 }
    }

    /// Notes that `at` proposes or votes for a value.
    ///
    /// # Errors
    /// The round is classic and has another value in that slot, or another was chosen below it.
    pub fn proposed(
        &mut self,
        at: Place,
        round: LogRound,
        slot: Slot,
        value: Value,
    ) -> Result<(), Flaw> {
        let casts = self.casts.entry(slot).or_default();
        let mut there = casts.iter().filter(|cast| cast.round == round);
        if there.clone().any(|cast| cast.value == value) {
            return Ok(());
        }
        if let Some(cast) = there.next().filter(|_| round.classic) {
            let text = format!(
                "{} accepts {value:?} in {round:?}, {} accepted {:?} there",
                at.replica, cast.by, cast.value
            );
            return Err(Flaw::of(Invariant::OneValue, instance(slot), text));
        }
        let (by, durable) = (at.replica, ReplicaSet::EMPTY);
        casts.push(Cast { round, value, by, durable });
        match self.chosen.get(&slot) {
            Some((chosen_in, chosen)) if *chosen_in < round && *chosen != value => {
                let text = format!(
                    "{} accepts {value:?} in {round:?}, though {chosen:?} was chosen in \
                     {chosen_in:?}",
                    at.replica
                );
                Err(Flaw::of(Invariant::Agreement, instance(slot), text))
            }
            _ => Ok(()),
        }
    }

    /// A vote of `at` is durable.
    ///
    /// # Errors
    /// As [`proposed`](Self::proposed), or it makes a second value chosen.
    pub fn voted(
        &mut self,
        at: Place,
        round: LogRound,
        slot: Slot,
        value: Value,
    ) -> Result<(), Flaw> {
        self.proposed(at, round, slot, value)?;
        let casts = self.casts.entry(slot).or_default();
        let same = |cast: &&mut Cast| cast.round == round && cast.value == value;
        let Some(cast) = casts.iter_mut().find(same) else { return Ok(()) };
        cast.durable.insert(at.replica);
        if cast.durable.len() < if round.classic { self.classic } else { self.fast } {
            return Ok(());
        }
        let other = casts.iter().find(|cast| cast.round > round && cast.value != value);
        let known = self.chosen.get(&slot).filter(|(_, known)| *known != value);
        if let Some((above, other)) = other.map(|cast| (cast.round, cast.value)).or(known.copied())
        {
            let text =
                format!("{value:?} is chosen in {round:?}, and there is {other:?} in {above:?}");
            return Err(Flaw::of(Invariant::Agreement, instance(slot), text));
        }
        self.chosen.entry(slot).or_insert((round, value));
        while self.chosen.contains_key(&(self.upto + 1)) {
            self.upto += 1;
        }
        Ok(())
    }

    /// Notes that `at` holds a slot for decided.
    ///
    /// # Errors
    /// No quorum voted for that value.
    pub fn decided(&self, at: Place, slot: Slot, value: Value) -> Result<(), Flaw> {
        match self.chosen.get(&slot) {
            Some((_, chosen)) if *chosen == value => Ok(()),
            Some((round, chosen)) => {
                let text = format!(
                    "{} holds {value:?} for decided, {chosen:?} was chosen in {round:?}",
                    at.replica
                );
                Err(Flaw::of(Invariant::Agreement, instance(slot), text))
            }
            None => {
                let casts = self.casts.get(&slot);
                let text = format!(
                    "{} holds {value:?} for decided, which no quorum voted for: {casts:?}",
                    at.replica
                );
                Err(Flaw::of(Invariant::CommitEvidence, instance(slot), text))
            }
        }
    }

    /// Notes that `at` holds every slot up to `upto` for decided.
    ///
    /// # Errors
    /// One of them is not.
    pub fn decided_upto(&self, at: Place, upto: Slot) -> Result<(), Flaw> {
        if upto <= self.upto {
            return Ok(());
        }
        let slot = self.upto + 1;
        let text = format!("{} holds it for decided, which it is not", at.replica);
        Err(Flaw::of(Invariant::CommitEvidence, instance(slot), text))
    }

    /// What was chosen in `slot`.
    pub fn chosen(&self, slot: Slot) -> Option<Value> {
        self.chosen.get(&slot).map(|(_, value)| *value)
    }

    /// Every slot up to this one has a chosen value.
    pub fn chosen_upto(&self) -> Slot {
        self.upto
    }

    /// The round in which the value of `slot` was first chosen.
    pub fn chosen_in(&self, slot: Slot) -> Option<LogRound> {
        self.chosen.get(&slot).map(|(round, _)| *round)
    }

    /// How many slots have a chosen value, and how many of those Nop.
    pub fn counts(&self) -> (u64, u64) {
        let nops = self.chosen.values().filter(|(_, value)| value.command.is_none()).count();
        (self.chosen.len() as u64, nops as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::Ballot;

    fn at(replica: u8) -> Place {
        Place { replica: ReplicaId(replica), incarnation: 1 }
    }

    fn value(print: u64) -> Value {
        Value { print, command: None }
    }

    fn rounds() -> (LogRound, LogRound) {
        let first = Ballot::INITIAL.next_for(ReplicaId(0));
        (LogRound::classic(first), LogRound::classic(first.next_for(ReplicaId(1))))
    }

    #[test]
    fn a_ballot_has_one_value_and_what_is_chosen_stays() {
        let (low, high) = rounds();
        let mut check = LogValues::new(3, 2);
        check.voted(at(0), low, 1, value(7)).unwrap();
        check.proposed(at(1), low, 1, value(8)).unwrap_err();
        check.decided(at(0), 1, value(7)).unwrap_err();
        check.voted(at(1), low, 1, value(7)).unwrap();
        check.decided(at(2), 1, value(7)).unwrap();
        check.decided(at(2), 1, value(8)).unwrap_err();
        check.decided_upto(at(2), 1).unwrap();
        check.decided_upto(at(2), 2).unwrap_err();
        check.clone().proposed(at(1), high, 1, value(7)).unwrap();
        let flaw = check.proposed(at(1), high, 1, value(8)).unwrap_err();
        assert_eq!(flaw.invariant, Invariant::Agreement);
    }

    #[test]
    fn a_quorum_below_another_value_is_found_however_late() {
        let (low, high) = rounds();
        let mut check = LogValues::new(3, 2);
        check.voted(at(0), low, 1, value(7)).unwrap();
        check.proposed(at(1), high, 1, value(8)).unwrap();
        assert!(check.voted(at(2), low, 1, value(7)).is_err());
    }

    #[test]
    fn votes_of_two_ballots_choose_nothing() {
        let (low, high) = rounds();
        let mut check = LogValues::new(3, 2);
        check.voted(at(0), low, 1, value(7)).unwrap();
        check.voted(at(1), high, 1, value(7)).unwrap();
        check.voted(at(0), low, 1, value(7)).unwrap();
        assert_eq!(
            check.decided(at(0), 1, value(7)).unwrap_err().invariant,
            Invariant::CommitEvidence
        );
    }

    #[test]
    fn a_fast_round_has_many_values_and_needs_more_votes() {
        let (_, later) = rounds();
        let (fast, classic) = (LogRound::fast(later.ballot), later);
        let mut check = LogValues::new(3, 2);
        check.voted(at(0), fast, 1, value(7)).unwrap();
        check.voted(at(1), fast, 1, value(7)).unwrap();
        check.clone().voted(at(2), fast, 1, value(8)).unwrap();
        check.decided(at(0), 1, value(7)).unwrap_err();
        check.voted(at(2), fast, 1, value(7)).unwrap();
        check.decided(at(0), 1, value(7)).unwrap();
        check.clone().proposed(at(3), fast, 1, value(8)).unwrap();
        let flaw = check.proposed(at(3), classic, 1, value(8)).unwrap_err();
        assert_eq!(flaw.invariant, Invariant::Agreement);
    }
}
