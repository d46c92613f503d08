//! Phase 2: the leader's values, and the votes for them.
//!
//! The leader votes first. Its `Accept` leaves when that vote is durable, and so proves it: whoever
//! counts needs only the votes of others. Everything that became durable at once leaves in one
//! message, so batches grow with load and with the time a sync takes.

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot};

use crate::config::Learning;
use crate::entry::Entry;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{Fx, MultiPaxos, Own, Role};

/// Sending again is at most 2^this times the patience apart.
pub(crate) const RESEND_DOUBLINGS_MAX: u32 = 3;
/// Most messages sent again at once.
const RESENT_BATCHES_MAX: usize = 4;

impl MultiPaxos {
    /// The leader's next slots, with its own votes.
    pub(crate) fn append(&mut self, entries: Vec<Entry>, fx: &mut Fx) {
        let early = self.mutated(Mutation::AcceptBeforeDurable);
        let Role::Leader(leadership) = &mut self.role else { return };
        let ballot = leadership.ballot;
        let first = leadership.proposed + 1;
        leadership.proposed += entries.len() as u64;
        if early {
            leadership.durable = leadership.proposed;
        }
        for entry in &entries {
            leadership.bytes += entry.bytes();
            if let Some(submission) = entry.submission() {
                leadership.in_log.insert((submission.origin, submission.number));
            }
        }
        self.cast(ballot, first, entries, fx);
    }

    /// Votes for consecutive slots and writes that down. The votes count here when they are
    /// durable.
    fn cast(&mut self, ballot: Ballot, first: Slot, entries: Vec<Entry>, fx: &mut Fx) -> After {
        let last = first + entries.len() as u64 - 1;
        let chosen = self.chosen;
        let after =
            fx.persist(Record::Accepted { ballot, first, entries: entries.clone(), chosen });
        self.note_chosen_recorded(chosen, after);
        for (slot, entry) in (first..).zip(entries) {
            self.log.ensure(slot).cast(ballot, entry, after);
        }
        self.own.push_back((after, Own::Votes { ballot, first, last }));
        after
    }

    /// Sends whatever of the leader's votes became durable.
    pub(crate) fn send_accepts(&mut self, fx: &mut Fx) {
        let Role::Leader(leadership) = &mut self.role else { return };
        let (ballot, first, last) = (leadership.ballot, leadership.sent + 1, leadership.durable);
        leadership.sent = last;
        self.send_accept(self.others(), ballot, first, last, usize::MAX, fx);
    }

    fn send_accept(
        &self,
        to: ReplicaSet,
        ballot: Ballot,
        mut first: Slot,
        last: Slot,
        batches_max: usize,
        fx: &mut Fx,
    ) -> u64 {
        // Votes for the executed prefix are no use to anyone.
        first = first.max(self.log.base() + 1);
        let start = first;
        for _ in 0..batches_max {
            let entries = self.log.chunk(first, last, self.config.limits.batch_bytes_max);
            if entries.is_empty() {
                break;
            }
            let next = first + entries.len() as u64;
            let message = Message::Accept { ballot, first, entries, chosen: self.chosen };
            self.send(to, message, After::NOTHING, fx);
            first = next;
        }
        first - start
    }

    /// Sends the oldest undecided slots again if nothing was chosen for a while.
    pub(crate) fn send_accepts_again(&mut self, now: Now, fx: &mut Fx) {
        let (chosen, patience) = (self.chosen, self.config.timing.patience);
        let Role::Leader(leadership) = &mut self.role else { return };
        if leadership.resend_from != chosen || chosen >= leadership.sent {
            leadership.resend_from = chosen;
            leadership.resends = 0;
            leadership.resend_due = now.monotonic + patience;
        }
        if now.monotonic < leadership.resend_due {
            return;
        }
        leadership.resends += 1;
        let doublings = leadership.resends.min(RESEND_DOUBLINGS_MAX);
        leadership.resend_due = now.monotonic + patience.times(1 << doublings);
        let (ballot, last) = (leadership.ballot, leadership.sent);
        let state = self.log.get(chosen + 1).filter(|state| state.counted == ballot);
        let voted = state.map_or(ReplicaSet::EMPTY, |state| state.votes);
        let to = self.others().minus(voted);
        let slots = self.send_accept(to, ballot, chosen + 1, last, RESENT_BATCHES_MAX, fx);
        self.counters.retransmissions += slots;
    }

    /// A [`Message::Accept`].
    pub(crate) fn on_accept(&mut self, from: ReplicaId, accept: Message, now: Now, fx: &mut Fx) {
        let Message::Accept { ballot, first, entries, chosen } = accept else { return };
        if !self.hear_leader(from, ballot, now, fx) {
            return;
        }
        let last = first + entries.len() as u64 - 1;
        let to = self.vote_receivers(from, &entries);
        let mut run: Vec<Entry> = Vec::new();
        let mut run_first = first;
        for (slot, entry) in (first..).zip(entries) {
            if self.may_vote(slot, ballot, &entry) {
                run.push(entry);
                continue;
            }
            self.vote_and_tell(to, ballot, run_first, std::mem::take(&mut run), fx);
            run_first = slot + 1;
            self.repeat_vote(to, ballot, slot, fx);
        }
        self.vote_and_tell(to, ballot, run_first, run, fx);
        // What the leader said before may be about slots that only now hold its values.
        self.believe(ballot, first, last);
        self.take_word(ballot, chosen, now, fx);
        self.note_votes(from, ballot, first, last, now, fx);
    }

    /// Whether this replica, which has promised `ballot`, can vote in `slot` for `entry`.
    fn may_vote(&self, slot: Slot, ballot: Ballot, entry: &Entry) -> bool {
        if slot <= self.log.base() || slot > self.reach() {
            return false;
        }
        let Some(state) = self.log.get(slot) else { return true };
        // Of what is chosen nothing else can be: a leader that proposes something else has been
        // overtaken without knowing it.
        state.accepted < ballot && (!state.chosen || state.entry.as_ref() == Some(entry))
    }

    fn vote_and_tell(
        &mut self,
        to: ReplicaSet,
        ballot: Ballot,
        first: Slot,
        entries: Vec<Entry>,
        fx: &mut Fx,
    ) {
        if entries.is_empty() {
            return;
        }
        let last = first + entries.len() as u64 - 1;
        let after = self.cast(ballot, first, entries, fx);
        self.send(to, Message::AcceptOk { ballot, first, last }, after, fx);
    }

    /// A repeated Accept gets the same vote again.
    fn repeat_vote(&self, to: ReplicaSet, ballot: Ballot, slot: Slot, fx: &mut Fx) {
        if let Some(state) = self.log.get(slot).filter(|state| state.accepted == ballot) {
            let (first, last) = (slot, slot);
            self.send(to, Message::AcceptOk { ballot, first, last }, state.recorded, fx);
        }
    }

    /// Who counts these votes: the leader and the commands' origins. With larger quorums everyone
    /// needs the votes of others for every slot, or execution would wait for the leader's word.
    fn vote_receivers(&self, leader: ReplicaId, entries: &[Entry]) -> ReplicaSet {
        let mut to = ReplicaSet::only(leader);
        match self.config.learning {
            Learning::Leader => {}
            Learning::Origin if self.config.quorums.q2() > 2 => to = self.others(),
            Learning::Origin => {
                for submission in entries.iter().filter_map(Entry::submission) {
                    to.insert(submission.origin);
                }
            }
        }
        to.without(self.me())
    }

    pub(crate) fn on_accept_ok(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        first: Slot,
        last: Slot,
        now: Now,
        fx: &mut Fx,
    ) {
        self.note_heard(from, ballot, now);
        // The Accept it answers had left after the leader's own vote was durable.
        if let Some(leader) = ballot.owner() {
            self.count_votes(leader, ballot, first, last);
        }
        self.note_votes(from, ballot, first, last, now, fx);
    }
}
