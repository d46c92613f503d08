//! Invariant 4 for fast rounds. An acceptor that closed slots to the fast round of a ballot votes in
//! none of them there any more, across restarts, and says that it closed them when that is durable.

use panchayat_consensus::{Ballot, ReplicaId, Slot};
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};
use crate::log::{LogRound, instance};
use crate::subject::Place;

/// The ballot and the slot up to which its fast round is closed.
type Closed = Option<(Ballot, Slot)>;

/// What each acceptor closed.
#[derive(Clone, Debug, Default)]
pub struct FastClosings {
    written: FxHashMap<ReplicaId, Closed>,
    durable: FxHashMap<ReplicaId, Closed>,
    closings: u64,
}

impl FastClosings {
    /// `at` writes that it closes slots up to `upto`.
    pub fn closes(&mut self, at: Place, ballot: Ballot, upto: Slot) {
        self.closings += 1;
        let closed = self.written.entry(at.replica).or_default();
        *closed = (*closed).max(Some((ballot, upto)));
    }

    /// That is durable.
    pub fn durable(&mut self, at: Place, ballot: Ballot, upto: Slot) {
        let closed = self.durable.entry(at.replica).or_default();
        *closed = (*closed).max(Some((ballot, upto)));
    }

    /// `at` starts again from records that say this.
    pub fn restarted(&mut self, at: Place, records: impl Iterator<Item = (Ballot, Slot)>) {
        let closed = records.max();
        self.written.insert(at.replica, closed);
        self.durable.insert(at.replica, closed);
    }

    /// Whether `at` has closed the fast round of `ballot` in `slot`.
    pub fn is_closed(&self, at: Place, ballot: Ballot, slot: Slot) -> bool {
        let closed = self.written.get(&at.replica).copied().flatten();
        closed.is_some_and(|(closed, upto)| closed == ballot && slot <= upto)
    }

    /// `at` votes in `slot`.
    ///
    /// # Errors
    /// It closed that slot.
    pub fn votes(&self, at: Place, round: LogRound, slot: Slot) -> Result<(), Flaw> {
        if round.classic || !self.is_closed(at, round.ballot, slot) {
            return Ok(());
        }
        let text = format!("{} votes in {round:?}, which it closed there", at.replica);
        Err(Flaw::of(Invariant::Ballots, instance(slot), text))
    }

    /// `at` says that it closed slots up to `upto`.
    ///
    /// # Errors
    /// That is not durable.
    pub fn says(&self, at: Place, ballot: Ballot, upto: Slot) -> Result<(), Flaw> {
        let durable = self.durable.get(&at.replica).copied().flatten();
        if durable >= Some((ballot, upto)) {
            return Ok(());
        }
        let text =
            format!("{} says that {ballot:?} is closed upto {upto}: {durable:?}", at.replica);
        Err(Flaw::of(Invariant::DurablePromise, instance(upto), text))
    }

    /// How often slots were closed.
    pub fn count(&self) -> u64 {
        self.closings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { replica: ReplicaId(0), incarnation: 1 };

    #[test]
    fn a_vote_in_a_closed_slot_is_found_and_so_is_a_word_too_early() {
        let low = Ballot::INITIAL.next_for(ReplicaId(1));
        let high = low.next_for(ReplicaId(1));
        let mut check = FastClosings::default();
        check.closes(AT, high, 4);
        check.says(AT, high, 4).unwrap_err();
        check.votes(AT, LogRound::fast(high), 4).unwrap_err();
        check.votes(AT, LogRound::fast(high), 5).unwrap();
        check.votes(AT, LogRound::classic(high), 4).unwrap();
        check.durable(AT, high, 4);
        check.says(AT, high, 4).unwrap();
        check.restarted(AT, [(low, 9), (high, 2)].into_iter());
        check.votes(AT, LogRound::fast(high), 2).unwrap_err();
        check.votes(AT, LogRound::fast(high), 3).unwrap();
        check.says(AT, high, 4).unwrap_err();
    }
}
