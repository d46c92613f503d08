//! Proposals: to the acceptors in fast rounds, to the coordinator in classic ones, and again if
//! that was for nothing.
//!
//! A command keeps its name however often it is proposed, and may win more than one slot: what
//! slips through is dropped when it comes to execution. A rejection must be final, so only a
//! command that was never proposed is rejected.

use std::sync::Arc;

use panchayat_consensus::{
    After, Command, NotApplied, Now, ReplicaId, ReplicaSet, Token, WallTime,
};

use crate::entry::Submission;
use crate::message::Message;
use crate::replica::{FastPaxos, Fx};

impl FastPaxos {
    /// A client of this replica proposes `command`.
    pub(crate) fn propose(&mut self, token: Token, mut command: Command, now: Now, fx: &mut Fx) {
        let limits = &self.config.limits;
        let full = self.pending.len() >= limits.in_flight_max + command.spare_room()
            || self.pending.last_number - self.pending.floor() >= limits.span_max;
        if full {
            self.counters.overloaded += 1;
            fx.reject(token, NotApplied::Overloaded);
            return;
        }
        self.counters.proposed += 1;
        command.proposed_at = now.wall;
        let due = now.monotonic + self.config.timing.patience;
        let number = self.pending.add(token, Arc::new(command), due);
        self.give(number, now, fx);
    }

    /// Proposes a waiting command to whom that concerns. Without a coordinator it waits.
    fn give(&mut self, number: u64, now: Now, fx: &mut Fx) {
        let coordinator = if self.is_coordinator() { Some(self.promised) } else { self.following };
        let Some(ballot) = coordinator else { return };
        let is_fast = self.fast.from > 0;
        // Only the first time is there anything to be won by waiting.
        let Some(proposal) = self.pending.get_mut(number) else { return };
        let first = proposal.tries == 0;
        proposal.given_at = Some(ballot);
        proposal.tries += 1;
        let (floor, command) = (proposal.floor, proposal.command.clone());
        if !first {
            self.counters.proposed_again += 1;
        }
        let due = if is_fast && first { self.arrival(now) } else { WallTime(0) };
        let to = match ballot.owner() {
            _ if is_fast => self.others(),
            Some(owner) => ReplicaSet::only(owner).without(self.me()),
            None => return,
        };
        let sent = now.wall;
        let message = Message::Propose { sent, due, number, floor, command: command.clone() };
        self.send(to, message, After::NOTHING, fx);
        if is_fast || self.is_coordinator() {
            self.take_command(self.me(), number, floor, command, due, now, fx);
        }
    }

    /// There is a new coordinator: it, or its acceptors, get everything that waits.
    pub(crate) fn give_all(&mut self, now: Now, fx: &mut Fx) {
        for number in self.pending.not_given_at(self.promised) {
            self.give(number, now, fx);
        }
    }

    pub(crate) fn attend_pending(&mut self, now: Now, fx: &mut Fx) {
        let patience = self.config.timing.patience;
        while let Some(number) = self.pending.pop_due(now.monotonic, patience) {
            self.give(number, now, fx);
        }
    }

    /// A command came, for the first time or again.
    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(crate) fn take_command(
        &mut self,
        origin: ReplicaId,
        number: u64,
        floor: u64,
        command: Arc<Command>,
        due: WallTime,
        now: Now,
        fx: &mut Fx,
    ) {
        let key = (origin, number);
        if self.is_applied(key) {
            return;
        }
        let limits = &self.config.limits;
        if let Some(held) = self.known.get(key) {
            if let Some((_, slot)) = held.placed.filter(|_| self.is_placed(held)) {
                self.repeat_vote(self.others(), slot, fx);
                return;
            }
        } else if self.known.len() >= limits.known_max
            || self.known.bytes() >= limits.known_bytes_max
        {
            self.counters.turned_away += 1;
            return;
        } else {
            self.known.insert(Submission { origin, number, floor, command });
        }
        if let Some(slot) = self.missing.remove(&key) {
            self.resolve(slot, fx);
            self.advance(now, fx);
            return;
        }
        let leeway = self.leeway(origin, due, now);
        let until = now.monotonic + self.config.timing.arrival_wait_max;
        self.known.wait(due, leeway, key, until);
    }
}
