//! Giving slots to commands: by voting for them in a fast round, or by leading them in a classic
//! one.

use panchayat_consensus::{Now, Slot};

use crate::entry::{Entry, Key};
use crate::mutation::Mutation;
use crate::replica::{FastPaxos, Fx, Role};
use crate::round::Round;

impl FastPaxos {
    /// Whether any value will do: the coordinator of the ballot promised said so.
    fn votes_fast(&self) -> bool {
        let heard = self.is_coordinator() || self.following == Some(self.promised);
        self.fast.from > 0 && heard && self.needs_no_state()
    }

    /// Gives slots to commands whose vote is due, as far as there is room; closes what is to be
    /// closed in its turn among them.
    pub(crate) fn place(&mut self, now: Now, fx: &mut Fx) {
        if let Some(closing) = self.fast.closing.take_if(|closing| closing.is_due(now)) {
            self.known.release_before(closing.due, now.wall, now.monotonic);
            self.place_ready();
            self.close_now(closing, fx);
        }
        self.known.release(now.wall, now.monotonic);
        self.place_ready();
    }

    fn place_ready(&mut self) {
        let leads = self.is_coordinator() && self.fast.from == 0;
        // Known only once the coordinator has said what it does: what comes before that waits.
        let knows = self.following.is_some() && !self.standing.news;
        let follows_classic = knows && self.fast.from == 0;
        let votes = self.votes_fast();
        while let Some(key) = self.known.next_ready() {
            let done = if self.taken.contains_key(&key) || follows_classic {
                // Its origin gives it to the coordinator.
                true
            } else if leads {
                self.lead(key)
            } else {
                votes && self.vote_fast(key)
            };
            if !done {
                break;
            }
            self.known.pop_ready();
        }
    }

    /// Votes for a command in the next free slot; false if there is no room for now.
    fn vote_fast(&mut self, key: Key) -> bool {
        let ballot = self.promised;
        let slot = self.next_free_slot();
        if self.known.get(key).is_none_or(|held| self.is_placed(held)) {
            return true;
        }
        let Some(held) = self.known.get_mut(key) else { return true };
        if slot > self.chosen + self.config.limits.window_slots_max {
            return false;
        }
        held.placed = Some((ballot, slot));
        let entry = Entry::Command(held.submission.clone());
        self.fast.cursor = slot + 1;
        self.counters.fast_votes += 1;
        self.cast_vote(slot, Round::fast(ballot), entry);
        true
    }

    /// The next slot in which this replica has not voted at its ballot, and may.
    fn next_free_slot(&self) -> Slot {
        let closed = if self.mutated(Mutation::CloseIgnored) { 0 } else { self.fast.closed };
        let cursor = if self.mutated(Mutation::CloseIgnored) { 0 } else { self.fast.cursor };
        let first = [cursor, self.fast.from, closed + 1, self.chosen + 1];
        let mut slot = first.into_iter().max().unwrap_or(1);
        if self.mutated(Mutation::VoteTwice) && slot.is_multiple_of(2) && slot - 1 > self.chosen {
            return slot - 1;
        }
        while self.log.get(slot).is_some_and(|state| {
            let voted = state.vote.as_ref().is_some_and(|(at, _)| at.ballot == self.promised);
            voted || state.decided.is_some()
        }) {
            slot += 1;
        }
        slot
    }

    /// Gives a command the next slot as coordinator in classic rounds; false if there is no room
    /// for now.
    fn lead(&mut self, key: Key) -> bool {
        let window = self.chosen + self.config.limits.window_slots_max;
        let Role::Coordinator(coordinator) = &self.role else { return false };
        if coordinator.settled_keys.contains_key(&key) {
            return true;
        }
        let slot = coordinator.proposed.max(self.chosen) + 1;
        if slot > window {
            return false;
        }
        if let Some(held) = self.known.get(key) {
            let entry = Entry::Command(held.submission.clone());
            self.counters.led += 1;
            self.settle(slot, entry);
        }
        true
    }
}
