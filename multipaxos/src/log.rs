//! The log: what this replica voted for in each slot, and what it knows of the votes of others.
//!
//! A prefix is collected: executed here and kept by everyone else, or so long that whoever still
//! needs it is better served by a snapshot.

use std::collections::VecDeque;

use panchayat_consensus::{After, Ballot, ReplicaId, ReplicaSet, Slot};

use crate::entry::Entry;

/// What is known of one slot.
#[derive(Clone, Debug, Hash)]
pub(crate) struct State {
    /// The ballot of the own vote; initial, which nobody votes at, if there is none.
    pub(crate) accepted: Ballot,
    /// The value voted for, or chosen.
    pub(crate) entry: Option<Entry>,
    /// Since which record the own vote is durable.
    pub(crate) recorded: After,
    /// The ballot whose votes are counted.
    pub(crate) counted: Ballot,
    /// Who voted at that ballot.
    pub(crate) votes: ReplicaSet,
    /// Whether `entry` is chosen.
    pub(crate) chosen: bool,
    /// Whether the own vote was for something else than `entry`, which others have chosen.
    pub(crate) overruled: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            accepted: Ballot::INITIAL,
            entry: None,
            recorded: After::NOTHING,
            counted: Ballot::INITIAL,
            votes: ReplicaSet::EMPTY,
            chosen: false,
            overruled: false,
        }
    }
}

impl State {
    /// Casts the own vote.
    pub(crate) fn cast(&mut self, ballot: Ballot, entry: Entry, recorded: After) {
        (self.accepted, self.recorded, self.overruled) = (ballot, recorded, false);
        self.entry = Some(entry);
    }

    /// Takes it from somebody who knows that this was chosen.
    pub(crate) fn learn(&mut self, entry: Entry) {
        let differs = self.entry.as_ref() != Some(&entry);
        self.overruled |= differs && !self.accepted.is_initial();
        self.entry = Some(entry);
        self.chosen = true;
    }

    /// The own vote, as far as what it was for is still held. One that was overruled binds nobody
    /// any more: in that slot no other value than the one chosen is ever voted for again.
    pub(crate) fn own_vote(&self) -> Option<(Ballot, &Entry)> {
        let stands = !self.accepted.is_initial() && !self.overruled;
        self.entry.as_ref().filter(|_| stands).map(|entry| (self.accepted, entry))
    }

    /// Counts a vote. Votes of different ballots are never mixed: a later ballot starts anew.
    pub(crate) fn vote(&mut self, ballot: Ballot, from: ReplicaId) {
        if ballot > self.counted {
            self.counted = ballot;
            self.votes = ReplicaSet::EMPTY;
        }
        if ballot == self.counted {
            self.votes.insert(from);
        }
    }

    /// Whether `quorum` replicas voted for the value held here, at one ballot.
    pub(crate) fn is_voted(&self, quorum: usize) -> bool {
        self.accepted == self.counted && self.votes.len() >= quorum
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Log {
    /// Everything up to here is collected.
    base: Slot,
    states: VecDeque<State>,
}

impl Log {
    pub(crate) fn base(&self) -> Slot {
        self.base
    }

    /// The highest slot anything is known of.
    pub(crate) fn last(&self) -> Slot {
        self.base + self.states.len() as u64
    }

    /// The highest slot voted for or chosen here; `base` if there is none above.
    pub(crate) fn highest(&self) -> Slot {
        let unknown = self.states.iter().rev().take_while(|state| state.entry.is_none()).count();
        self.last() - unknown as u64
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&State> {
        self.states.get(self.index(slot)?)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut State> {
        let index = self.index(slot)?;
        self.states.get_mut(index)
    }

    /// The state of `slot`, which is not collected.
    pub(crate) fn ensure(&mut self, slot: Slot) -> &mut State {
        let index = self.index(slot).expect("a collected slot has no state");
        while self.states.len() <= index {
            self.states.push_back(State::default());
        }
        &mut self.states[index]
    }

    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.get(slot)?.entry.as_ref()
    }

    /// Entries from `first` to `last` as long as each is held, at least one, and no more than fit
    /// `bytes_max`.
    pub(crate) fn chunk(&self, first: Slot, last: Slot, bytes_max: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for slot in first..=last {
            let Some(entry) = self.entry(slot) else { break };
            bytes += entry.bytes();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        entries
    }

    /// Forgets the oldest slot and gives what it held.
    pub(crate) fn collect_one(&mut self) -> Option<Entry> {
        self.base += 1;
        self.states.pop_front().and_then(|state| state.entry)
    }

    /// Forgets everything up to `slot`.
    pub(crate) fn collect_upto(&mut self, slot: Slot) {
        while self.base < slot {
            self.collect_one();
        }
    }

    /// States above `slot`, ascending.
    pub(crate) fn above(&self, slot: Slot) -> impl Iterator<Item = (Slot, &State)> {
        let skip = slot.saturating_sub(self.base) as usize;
        let first = self.base + 1;
        let numbered = self.states.iter().enumerate();
        numbered.skip(skip).map(move |(index, state)| (first + index as u64, state))
    }

    /// Forgets everything above `slot`.
    pub(crate) fn cut_above(&mut self, slot: Slot) {
        self.states.truncate(slot.saturating_sub(self.base) as usize);
    }

    fn index(&self, slot: Slot) -> Option<usize> {
        slot.checked_sub(self.base + 1).map(|index| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballots() -> (Ballot, Ballot) {
        let first = Ballot::INITIAL.next_for(ReplicaId(0));
        (first, first.next_for(ReplicaId(1)))
    }

    #[test]
    fn votes_of_different_ballots_are_never_mixed() {
        let (low, high) = ballots();
        let mut state = State { accepted: low, ..State::default() };
        state.vote(low, ReplicaId(0));
        state.vote(high, ReplicaId(1));
        assert!(!state.is_voted(2));
        state.vote(low, ReplicaId(2));
        state.vote(high, ReplicaId(2));
        assert!(!state.is_voted(2), "a quorum for a value that is not held here");
        state.accepted = high;
        assert!(state.is_voted(2));
    }

    #[test]
    fn slots_keep_their_numbers_when_a_prefix_goes() {
        let mut log = Log::default();
        log.ensure(3).entry = Some(Entry::Nop);
        log.ensure(5);
        assert_eq!((log.last(), log.highest()), (5, 3));
        log.collect_upto(2);
        assert!(log.get(2).is_none() && log.entry(3).is_some());
        assert_eq!(log.above(2).map(|(slot, _)| slot).collect::<Vec<_>>(), [3, 4, 5]);
        log.collect_upto(9);
        assert_eq!((log.base(), log.last(), log.highest()), (9, 9, 9));
        assert_eq!(log.chunk(10, 12, 100), []);
    }
}
