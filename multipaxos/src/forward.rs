//! Proposals: into the log if this replica leads, to the leader otherwise, and again if that was
//! for nothing.
//!
//! A command keeps its number however often it is forwarded, and may win more than one slot. The
//! leader drops what it has in its log; what slips through is dropped when it comes to execution.
//! A rejection must be final, so only a command that was never given to any leader is rejected:
//! a leader without room says `Busy`, whereupon the origin keeps what it has, tries again, and
//! rejects newcomers meanwhile. What was given to a leader and stays undecided for too long is
//! unknown, and the proposer hears that.

use std::sync::Arc;

use panchayat_consensus::{
    After, Command, NotApplied, Now, ReplicaId, ReplicaSet, Time, Token, WallTime,
};

use crate::entry::{Entry, Submission};
use crate::message::Message;
use crate::replica::{Fx, MultiPaxos, Role};

/// For each command that comes back from a leader without room, so many more go to it: it is found
/// out soon when there is more room, and not flooded when there is not.
const BOUNCED_PER_EXECUTED: usize = 2;

impl MultiPaxos {
    /// A client of this replica proposes `command`.
    pub(crate) fn propose(&mut self, token: Token, command: Command, now: Now, fx: &mut Fx) {
        let limits = &self.config.limits;
        let no_room = match &self.role {
            Role::Leader(leadership) => leadership.is_full(limits, self.chosen),
            _ => false,
        };
        let is_busy = now.monotonic < self.pending.busy_until || no_room;
        let full = self.pending.len() >= limits.in_flight_max + command.spare_room()
            || self.pending.last_number - self.pending.floor() >= limits.span_max
            || (!command.is_seal() && is_busy);
        if full {
            self.counters.overloaded += 1;
            fx.reject(token, NotApplied::Overloaded);
            return;
        }
        self.counters.proposed += 1;
        let (since, patience) = (now.monotonic, self.config.timing.patience);
        let number = self.pending.add(token, Arc::new(command), since, patience);
        self.give_to_leader(number, now, fx);
    }

    /// Gives a waiting command to the leader, wherever that is. Without one it waits.
    fn give_to_leader(&mut self, number: u64, now: Now, fx: &mut Fx) {
        let me = self.me();
        let leader = match &self.role {
            Role::Leader(leadership) => Some(leadership.ballot),
            // What is given to one that seems gone would be in doubt for nothing.
            _ => self.following.filter(|_| !self.leader_is_gone(now)),
        };
        let leads = self.is_leader();
        let Some(ballot) = leader else { return };
        let Some(proposal) = self.pending.get_mut(number) else { return };
        let (floor, command) = (proposal.floor, proposal.command.clone());
        let again = proposal.given_to.is_some();
        if leads {
            let submission = Submission { origin: me, number, floor, command };
            if !self.lead(submission, now, fx) {
                self.pending.bounce(number);
            } else if let Some(proposal) = self.pending.get_mut(number) {
                (proposal.given_to, proposal.tries) = (Some(ballot), proposal.tries + 1);
            }
        } else if let Some(owner) = ballot.owner() {
            (proposal.given_to, proposal.tries) = (Some(ballot), proposal.tries + 1);
            let forwarded = Message::Forward { number, floor, command };
            self.send(ReplicaSet::only(owner), forwarded, After::NOTHING, fx);
            let counters = &mut self.counters;
            *(if again { &mut counters.forwarded_again } else { &mut counters.forwarded }) += 1;
        }
    }

    /// There is a new leader: it gets everything that waits.
    pub(crate) fn give_all_to_leader(&mut self, now: Now, fx: &mut Fx) {
        let leader = match &self.role {
            Role::Leader(leadership) => Some(leadership.ballot),
            _ => self.following,
        };
        let Some(ballot) = leader else { return };
        for number in self.pending.not_given_to(ballot) {
            self.give_to_leader(number, now, fx);
        }
    }

    pub(crate) fn attend_pending(&mut self, now: Now, fx: &mut Fx) {
        let patience = self.config.timing.patience;
        while let Some(number) = self.pending.pop_due(now.monotonic, patience) {
            self.give_to_leader(number, now, fx);
        }
    }

    /// Gives up on what has waited too long, and says so. What no leader was ever given is certain
    /// not to be applied; anything else may be in a log, here or elsewhere, and win its slot yet.
    pub(crate) fn give_up_pending(&mut self, now: Now, fx: &mut Fx) {
        let timeout = self.config.timing.outcome_timeout;
        let Some(since) = now.monotonic.0.checked_sub(timeout.0) else { return };
        while let Some(proposal) = self.pending.pop_older(Time(since)) {
            if proposal.given_to.is_some() {
                self.counters.given_up += 1;
                fx.unknown(proposal.token);
            } else {
                self.counters.never_given += 1;
                let busy = self.is_leader() || !self.leader_is_gone(now);
                let reason = if busy { NotApplied::Overloaded } else { NotApplied::Unreachable };
                fx.reject(proposal.token, reason);
            }
        }
    }

    pub(crate) fn on_forward(
        &mut self,
        from: ReplicaId,
        number: u64,
        floor: u64,
        command: Arc<Command>,
        now: Now,
        fx: &mut Fx,
    ) {
        let Role::Leader(leadership) = &self.role else { return };
        // Whoever leads next is given the command again.
        if leadership.transfer.is_some() || number - floor > self.config.limits.span_max {
            return;
        }
        if !self.lead(Submission { origin: from, number, floor, command }, now, fx) {
            self.counters.busy += 1;
            self.send(ReplicaSet::only(from), Message::Busy { number }, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_busy(&mut self, number: u64, now: Now) {
        if self.pending.get_mut(number).is_some() {
            self.pending.busy_until = now.monotonic + self.config.timing.patience;
            self.pending.bounce(number);
        }
    }

    /// So many own commands were executed, so the leader has room again: what it had none for goes
    /// to it at the pace at which it gets through.
    pub(crate) fn give_bounced(&mut self, executed: usize, now: Now, fx: &mut Fx) {
        for _ in 0..executed.saturating_mul(BOUNCED_PER_EXECUTED) {
            let Some(number) = self.pending.pop_bounced() else { break };
            self.give_to_leader(number, now, fx);
        }
    }

    /// Gives a command the next slot, unless it has one; false if there is no room.
    fn lead(&mut self, mut submission: Submission, now: Now, fx: &mut Fx) -> bool {
        let chosen = self.chosen;
        let Submission { origin, number, .. } = submission;
        let applied = self.origins.contains(origin, number);
        let Role::Leader(leadership) = &mut self.role else { return false };
        if applied || leadership.in_log.contains(&(origin, number)) {
            return true;
        }
        if leadership.transfer.is_some() || leadership.is_full(&self.config.limits, chosen) {
            return false;
        }
        let last = leadership.proposed_at.0.saturating_add(1);
        leadership.proposed_at = now.wall.max(WallTime(last));
        Arc::make_mut(&mut submission.command).proposed_at = leadership.proposed_at;
        self.counters.led += 1;
        self.append(vec![Entry::Command(submission)], fx);
        true
    }
}
