//! Invariant 13 for fast rounds. What a coordinator proposes in the classic round of its ballot
//! follows Lamport's rule O4, and fast rounds cover only slots in which phase 1 left any value.
//!
//! Somebody speaks for a slot by a report, with its promise or when it closes the fast round, or by
//! a vote in that round, which is as good as a promise for the classic one. Let Q be q1 who spoke,
//! and k the highest round in which one of them voted. If k is classic, its value it is. If k is
//! fast, any value w that |Q| + q2fast − n of them voted for at k may have been chosen: no other one
//! is allowed beside it. Whoever speaks and did not vote at k counts in |Q| all the same, so of the
//! sets with the same k the largest allows most, and only that one is looked at.

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use rustc_hash::FxHashMap;

use super::log_values::Value;
use crate::flaw::{Flaw, Invariant};
use crate::log::{LogRound, instance};
use crate::subject::Place;

/// How many there are, must promise, and must accept in a fast round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastSizes {
    /// Members.
    pub n: usize,
    /// The first phase's quorum.
    pub q1: usize,
    /// The fast quorum.
    pub fast: usize,
}

/// A vote, or that there was none.
type Spoken = Option<(LogRound, Value)>;

/// What one member reported at a ballot.
#[derive(Clone, Debug, Default)]
struct Reports {
    /// Parts of the log, each from its first slot to its last.
    parts: Vec<(Slot, Slot)>,
    votes: FxHashMap<Slot, (LogRound, Value)>,
    /// Reported as chosen.
    chosen: FxHashMap<Slot, Value>,
}

impl Reports {
    /// What they say of `slot`: nothing if they do not cover it, or know its outcome.
    fn of(&self, slot: Slot) -> Option<Spoken> {
        let covered = self.parts.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        let open = covered && !self.chosen.contains_key(&slot);
        open.then(|| self.votes.get(&slot).copied())
    }
}

/// What was said at one ballot.
#[derive(Clone, Debug, Default)]
struct Said {
    /// With promises of the ballot.
    prepared: FxHashMap<ReplicaId, Reports>,
    /// On closing its fast round.
    closed: FxHashMap<ReplicaId, Reports>,
    /// Votes in its fast round.
    voted: FxHashMap<Slot, Vec<(ReplicaId, Value)>>,
    /// From here on any value will do.
    open_from: Option<Slot>,
}

/// Everything said, by ballot.
#[derive(Clone, Debug)]
pub struct FastPicks {
    sizes: FastSizes,
    said: FxHashMap<Ballot, Said>,
    counts: FastPickCounts,
}

/// How often which part of the rule applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastPickCounts {
    /// Nobody had voted.
    pub free: u64,
    /// A classic vote was followed.
    pub classic: u64,
    /// A value may have been chosen in a fast round of the same ballot...
    pub fast: u64,
    /// ...or of an earlier one.
    pub fast_taken_over: u64,
    /// There were fast votes, and none of the values may have been chosen.
    pub open: u64,
}

/// What `spoken` allow in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// Anything: nobody voted, or no value may have been chosen.
    Any { voted: bool },
    /// What was voted for in that round.
    Only(LogRound, Value),
}

impl FastPicks {
    /// Nothing said.
    pub fn new(sizes: FastSizes) -> Self {
        Self { sizes, said: FxHashMap::default(), counts: FastPickCounts::default() }
    }

    /// `from` reports for slots from `first` to `last`: with its promise of `ballot`, or on closing
    /// the fast round of that. A report without a round says what is chosen.
    pub fn reported(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        closing: bool,
        (first, last): (Slot, Slot),
        reports: impl Iterator<Item = (Slot, Option<LogRound>, Value)>,
    ) {
        let below = LogRound { ballot, classic: closing };
        let said = self.said.entry(ballot).or_default();
        let by_kind = if closing { &mut said.closed } else { &mut said.prepared };
        let known = by_kind.entry(from).or_default();
        known.parts.push((first, last));
        for (slot, round, value) in reports {
            match round {
                // What was said again later is of no use in a pick.
                Some(round) if round >= below => {}
                Some(round) => _ = known.votes.insert(slot, (round, value)),
                None => _ = known.chosen.insert(slot, value),
            }
        }
    }

    /// Whether any value will do somewhere in the fast round of `ballot`.
    pub fn is_open(&self, ballot: Ballot) -> bool {
        self.said.get(&ballot).is_some_and(|said| said.open_from.is_some())
    }

    /// A vote of `from` in the fast round of `ballot` is durable.
    pub fn voted(&mut self, from: ReplicaId, ballot: Ballot, slot: Slot, value: Value) {
        let voted = self.said.entry(ballot).or_default().voted.entry(slot).or_default();
        if voted.iter().all(|(voter, _)| *voter != from) {
            voted.push((from, value));
        }
    }

    /// The coordinator `at` says that any value will do from `first` on. `own` are its votes at
    /// lower ballots in slots from there on.
    ///
    /// # Errors
    /// In one of these slots something may have been chosen.
    pub fn opens(
        &mut self,
        at: Place,
        ballot: Ballot,
        first: Slot,
        own: &FxHashMap<Slot, (LogRound, Value)>,
    ) -> Result<(), Flaw> {
        let said = self.said.entry(ballot).or_default();
        if said.open_from.replace(first).is_some() {
            return Ok(());
        }
        let others = said.prepared.iter().filter(|(replica, _)| **replica != at.replica);
        let mut slots: Vec<Slot> =
            others.flat_map(|(_, told)| told.votes.keys().copied()).collect();
        slots.extend(own.keys());
        slots.sort_unstable();
        slots.dedup();
        for slot in slots.into_iter().filter(|slot| *slot >= first) {
            let others = said.prepared.iter().filter(|(replica, _)| **replica != at.replica);
            let mut spoken: Vec<Spoken> = others.filter_map(|(_, told)| told.of(slot)).collect();
            spoken.push(own.get(&slot).copied());
            if !options(self.sizes, &spoken).any(|allowed| matches!(allowed, Allowed::Any { .. })) {
                let text = format!(
                    "{} lets any value be voted for at {ballot:?} from {first} on, and was told \
                     {spoken:?}",
                    at.replica
                );
                return Err(Flaw::of(Invariant::ValuePick, instance(slot), text));
            }
        }
        Ok(())
    }

    /// The coordinator `at` proposes a value in the classic round of `ballot`. `own` was its vote
    /// there until now, `closed` whether it votes no more in the fast round there; `chosen` is what
    /// was chosen.
    ///
    /// # Errors
    /// No quorum of those who spoke allows it.
    pub fn picks(
        &mut self,
        at: Place,
        ballot: Ballot,
        (slot, value): (Slot, Value),
        (own, closed): (Spoken, bool),
        chosen: Option<Value>,
    ) -> Result<(), Flaw> {
        let said = self.said.entry(ballot).or_default();
        let fast = LogRound::fast(ballot);
        let is_open = said.open_from.is_some_and(|first| slot >= first)
            || own.is_some_and(|(round, _)| round == fast);
        let mut spoken: FxHashMap<ReplicaId, Spoken> = FxHashMap::default();
        if !is_open {
            let told = said.prepared.iter();
            spoken.extend(told.filter_map(|(who, told)| Some((*who, told.of(slot)?))));
        }
        let told = said.closed.iter();
        spoken.extend(told.filter_map(|(who, told)| Some((*who, told.of(slot)?))));
        let voted = said.voted.get(&slot).into_iter().flatten();
        spoken.extend(voted.map(|(who, value)| (*who, Some((fast, *value)))));
        spoken.remove(&at.replica);
        let mut spoken: Vec<Spoken> = spoken.into_values().collect();
        let own_voted = own.is_some_and(|(round, _)| round == fast);
        if !is_open || own_voted || closed {
            spoken.push(own);
        }
        let allowed = options(self.sizes, &spoken).find(|allowed| match allowed {
            Allowed::Any { .. } => true,
            Allowed::Only(_, only) => *only == value,
        });
        let counts = &mut self.counts;
        match allowed {
            Some(Allowed::Any { voted: false }) => counts.free += 1,
            Some(Allowed::Any { voted: true }) => counts.open += 1,
            Some(Allowed::Only(round, _)) if round.classic => counts.classic += 1,
            Some(Allowed::Only(round, _)) if round == fast => counts.fast += 1,
            Some(Allowed::Only(..)) => counts.fast_taken_over += 1,
            None if chosen == Some(value) => {}
            None => {
                let text = format!(
                    "{} proposes {value:?} at {ballot:?}, which no {} of those who spoke allow: \
                     {spoken:?}",
                    at.replica, self.sizes.q1
                );
                return Err(Flaw::of(Invariant::ValuePick, instance(slot), text));
            }
        }
        Ok(())
    }

    /// How often which part of the rule applied.
    pub fn counts(&self) -> FastPickCounts {
        self.counts
    }
}

/// What each set of those who spoke allows: for every round with a vote in it the set of all who
/// voted no higher, and the set of those who did not vote.
fn options(sizes: FastSizes, spoken: &[Spoken]) -> impl Iterator<Item = Allowed> {
    let mut tops: Vec<Option<LogRound>> =
        spoken.iter().map(|vote| vote.map(|(round, _)| round)).chain([None]).collect();
    tops.sort_unstable();
    tops.dedup();
    tops.into_iter().filter_map(move |top| {
        let heard = spoken.iter().filter(|vote| vote.map(|(round, _)| round) <= top);
        let heard = heard.count();
        if heard < sizes.q1 {
            return None;
        }
        let Some(round) = top else { return Some(Allowed::Any { voted: false }) };
        let at_top = spoken.iter().flatten().filter(|(at, _)| *at == round);
        let mut values: Vec<Value> = at_top.map(|(_, value)| *value).collect();
        if round.classic {
            return values.pop().map(|value| Allowed::Only(round, value));
        }
        let needed = (heard + sizes.fast).saturating_sub(sizes.n);
        let votes = |value: &Value| values.iter().filter(|other| *other == value).count();
        let forced = values.iter().find(|value| votes(value) >= needed);
        Some(forced.map_or(Allowed::Any { voted: true }, |value| Allowed::Only(round, *value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { replica: ReplicaId(0), incarnation: 1 };
    const FIVE: FastSizes = FastSizes { n: 5, q1: 3, fast: 4 };

    fn ballot(round: u64) -> Ballot {
        (0..round).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(0)))
    }

    fn value(print: u64) -> Value {
        Value { print, command: None }
    }

    /// Whether the coordinator at ballot 5 may propose value 1, 2 and 9 in slot 1, having voted
    /// `own` and been told `told` by members 1, 2, … with their promises.
    fn check(own: Spoken, told: &[Spoken], expected: [bool; 3]) {
        let at = ballot(5);
        let mut check = FastPicks::new(FIVE);
        for (who, vote) in (1..).zip(told) {
            let report = vote.iter().map(|(round, value)| (1, Some(*round), *value));
            check.reported(ReplicaId(who), at, false, (1, 9), report);
        }
        let found = [1, 2, 9].map(|print| {
            check.clone().picks(AT, at, (1, value(print)), (own, false), None).is_ok()
        });
        assert_eq!(found, expected, "{own:?} {told:?}");
        if own.is_none() && told.iter().all(Option::is_none) {
            return;
        }
        let open = check.opens(AT, at, 1, &own.map(|vote| (1, vote)).into_iter().collect());
        assert_eq!(open.is_ok(), expected[2], "{own:?} {told:?}");
    }

    #[test]
    fn the_threshold_moves_with_how_many_spoke() {
        let fast = |print| Some((LogRound::fast(ballot(3)), value(print)));
        let classic = |print| Some((LogRound::classic(ballot(3)), value(print)));
        let late = |print| Some((LogRound::fast(ballot(4)), value(print)));
        check(None, &[None], [false; 3]);
        check(None, &[None, None], [true; 3]);
        check(fast(1), &[None, None], [true; 3]);
        check(fast(1), &[fast(1), None], [true, false, false]);
        check(fast(1), &[fast(1), fast(2)], [true, false, false]);
        check(fast(1), &[fast(1), fast(2), fast(2)], [true; 3]);
        check(fast(1), &[fast(1), fast(1), fast(2)], [true, false, false]);
        check(fast(1), &[fast(1), classic(2)], [false, true, false]);
        check(fast(1), &[fast(1), late(2)], [true; 3]);
        // Three without the highest vote are a quorum too.
        check(fast(1), &[fast(1), fast(1), late(2)], [true; 3]);
        check(fast(1), &[fast(1), fast(1), classic(2)], [true, true, false]);
    }

    #[test]
    fn in_an_open_round_only_votes_and_closings_speak() {
        let at = ballot(5);
        let mut check = FastPicks::new(FIVE);
        for who in 1..5 {
            check.reported(ReplicaId(who), at, false, (1, Slot::MAX), std::iter::empty());
        }
        check.opens(AT, at, 4, &FxHashMap::default()).unwrap();
        let pick = |check: &FastPicks, slot, print, closed| {
            check.clone().picks(AT, at, (slot, value(print)), (None, closed), None).is_ok()
        };
        assert!(pick(&check, 3, 1, false));
        assert!(!pick(&check, 4, 1, false) && !pick(&check, 4, 1, true));
        for who in 1..3 {
            check.voted(ReplicaId(who), at, 4, value(1));
        }
        assert!(!pick(&check, 4, 1, false));
        assert!(pick(&check, 4, 1, true) && !pick(&check, 4, 2, true));
        check.reported(ReplicaId(3), at, true, (1, 4), std::iter::empty());
        assert!(pick(&check, 4, 1, false) && !pick(&check, 4, 2, false));
        check.reported(ReplicaId(4), at, true, (1, 4), std::iter::empty());
        assert!(pick(&check, 4, 2, true), "two of five cannot become four");
        assert!(!pick(&check, 5, 1, false));
        assert_eq!(check.counts(), FastPickCounts::default());
        check.picks(AT, at, (3, value(1)), (None, false), None).unwrap();
        assert_eq!(check.counts().free, 1);
    }
}
