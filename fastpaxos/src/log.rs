//! The log: what this replica voted for in each slot, and what it knows of the votes of others.
//!
//! A prefix is collected: executed here and kept by everyone else, or so long that whoever still
//! needs it is better served by a snapshot.

use std::collections::VecDeque;

use panchayat_consensus::{After, ReplicaId, Slot};

use crate::entry::{Entry, Name};
use crate::quorums::FastQuorums;
use crate::round::Round;

/// What is known of one slot.
#[derive(Clone, Debug, Hash, Default)]
pub(crate) struct State {
    /// The own vote at the highest round.
    pub(crate) vote: Option<(Round, Entry)>,
    /// Since which record it is durable.
    pub(crate) recorded: After,
    /// The vote of each member at the highest round heard of. Empty once `chosen` is known.
    pub(crate) votes: Vec<(ReplicaId, Round, Name)>,
    /// What is chosen, though the command may not be known here yet.
    pub(crate) decided: Option<Name>,
    /// What is chosen.
    pub(crate) chosen: Option<Entry>,
}

impl State {
    /// Counts a vote. A member has one in each round, and a later round replaces an earlier one.
    pub(crate) fn count(&mut self, from: ReplicaId, round: Round, name: Name) {
        match self.votes.iter_mut().find(|(voter, ..)| *voter == from) {
            Some(vote) if vote.1 < round => *vote = (from, round, name),
            Some(_) => {}
            None => self.votes.push((from, round, name)),
        }
    }

    /// Votes of one round.
    pub(crate) fn votes_at(&self, round: Round) -> impl Iterator<Item = Name> {
        let votes = self.votes.iter().filter(move |(_, at, _)| *at == round);
        votes.map(|(.., name)| *name)
    }

    /// Whether `member` was heard to vote in `round`.
    pub(crate) fn has_voted(&self, member: ReplicaId, round: Round) -> bool {
        self.votes.iter().any(|(voter, at, _)| *voter == member && *at == round)
    }

    /// The value that a quorum of one round voted for, and that round.
    pub(crate) fn voted(&self, quorums: FastQuorums) -> Option<(Round, Name)> {
        let found = self.votes.iter().find(|(_, round, name)| {
            let needed = if round.classic { quorums.classic() } else { quorums.fast() };
            self.votes_at(*round).filter(|other| other == name).count() >= needed
        });
        found.map(|(_, round, name)| (*round, *name))
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
        if self.states.len() <= index {
            self.states.resize_with(index + 1, State::default);
        }
        &mut self.states[index]
    }

    pub(crate) fn chosen(&self, slot: Slot) -> Option<&Entry> {
        self.get(slot)?.chosen.as_ref()
    }

    /// Chosen entries from `first` to `last` as long as each is known, at least one, and no more
    /// than fit `bytes_max`.
    pub(crate) fn chunk(&self, first: Slot, last: Slot, bytes_max: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in (first..=last).map_while(|slot| self.chosen(slot)) {
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
        self.states.pop_front().and_then(|state| state.chosen)
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
    use panchayat_consensus::Ballot;

    use super::*;

    #[test]
    fn votes_of_different_rounds_are_never_mixed() {
        let quorums = FastQuorums::for_replicas(4).unwrap();
        let ballot = Ballot::INITIAL.next_for(ReplicaId(0));
        let (fast, classic) = (Round::fast(ballot), Round::classic(ballot));
        let mut state = State::default();
        for replica in 0..2 {
            state.count(ReplicaId(replica), fast, Name::Nop);
        }
        state.count(ReplicaId(2), classic, Name::Nop);
        assert_eq!(state.voted(quorums), None);
        state.count(ReplicaId(0), classic, Name::Nop);
        state.count(ReplicaId(1), fast, Name::Nop);
        assert_eq!(state.voted(quorums), None);
        state.count(ReplicaId(1), classic, Name::Nop);
        assert_eq!(state.voted(quorums), Some((classic, Name::Nop)));
    }

    #[test]
    fn slots_keep_their_numbers_when_a_prefix_goes() {
        let mut log = Log::default();
        log.ensure(3).chosen = Some(Entry::Nop);
        log.ensure(5);
        log.collect_upto(2);
        assert!(log.get(2).is_none() && log.chosen(3).is_some());
        assert_eq!(log.above(2).map(|(slot, _)| slot).collect::<Vec<_>>(), [3, 4, 5]);
        log.collect_upto(9);
        assert_eq!((log.base(), log.last()), (9, 9));
        assert_eq!(log.chunk(10, 12, 100), []);
    }
}
