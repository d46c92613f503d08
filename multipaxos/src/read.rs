//! Reads that take no slot in the log.
//!
//! Each way finds a slot such that every command answered before the read began lies at or below
//! it. The read may be served from the state at any replica once that slot is executed there; here
//! that is the replica where it was asked.
//!
//! Since origins learn by themselves, a command may be answered before its leader knows that it is
//! chosen. So what the leader names is **the highest slot it has proposed**, not the highest it
//! knows to be chosen.

use std::collections::{BTreeMap, VecDeque};

use panchayat_consensus::{
    After, Assurance, Now, ReadRefusal, ReplicaId, ReplicaSet, Slot, Time, Token,
};

use crate::config::Confirmation;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::replica::{Fx, MultiPaxos, Role};

/// How a read finds its slot: whose word it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The leader's, if it holds the lease: no message at the leader, one round trip to it
    /// elsewhere. Trusts clock rates within [`Lease::clock_error_ppm`](crate::Lease), so it is
    /// refused unless a lease is configured. While the leader holds none it confirms as for
    /// `Index`.
    Lease,
    /// The leader's, confirmed by n−q1+1 members after the read began. Trusts no clock.
    Index,
    /// That of n−q2+1 members, whatever the leader does. Trusts no clock. The slot may be one that
    /// is still being decided, so a read can wait longer than at the other levels.
    Quorum,
}

/// A read whose slot is not known yet.
#[derive(Clone, Debug, Hash)]
struct Open {
    token: Token,
    way: Way,
    since: Time,
    /// Who answered a quorum read, and the highest slot they named.
    heard: ReplicaSet,
    slot: Slot,
}

/// A read whose slot is not executed yet.
#[derive(Clone, Debug, Hash)]
struct Waiting {
    token: Token,
    since: Time,
}

/// A read that a leader answers when it is confirmed to lead.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Confirm {
    at: Time,
    from: ReplicaId,
    id: u64,
    slot: Slot,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Reads {
    /// The name given out last; starts anew, higher, with every run.
    pub(crate) last_id: u64,
    open: BTreeMap<u64, Open>,
    waiting: BTreeMap<(Slot, u64), Waiting>,
    /// What became of reads in this step.
    answers: VecDeque<(Token, Result<(), ReadRefusal>)>,
}

impl MultiPaxos {
    /// A client of this replica wants to read.
    pub(crate) fn on_read_input(
        &mut self,
        token: Token,
        assurance: Assurance,
        now: Now,
        fx: &mut Fx,
    ) {
        let way = match (assurance, self.config.confirmation) {
            (Assurance::Lease, _) => Way::Lease,
            (Assurance::Quorum, Confirmation::Leader) => Way::Index,
            (Assurance::Quorum, Confirmation::Quorum) => Way::Quorum,
        };
        self.read(token, way, now, fx);
    }

    /// A client of this replica wants to read, in a way of its choice. The effects say what becomes
    /// of it, in this step or a later one.
    ///
    /// `now` must not be older than the read: a lease is judged by it.
    pub fn read(&mut self, token: Token, way: Way, now: Now, effects: &mut Fx) {
        self.open_read(token, way, now, effects);
        self.tell_readers(effects);
        self.ask_for_wake(effects);
    }

    fn open_read(&mut self, token: Token, way: Way, now: Now, fx: &mut Fx) {
        if self.reads.open.len() + self.reads.waiting.len() >= self.config.limits.reads_max {
            self.refuse_read(token, ReadRefusal::Overloaded);
        } else if way == Way::Lease && self.config.lease.is_none() {
            self.refuse_read(token, ReadRefusal::NoLease);
        } else {
            self.reads.last_id += 1;
            let id = self.reads.last_id;
            let (since, heard) = (now.monotonic, ReplicaSet::only(self.me()));
            let slot = self.highest();
            self.reads.open.insert(id, Open { token, way, since, heard, slot });
            self.ask_for_slot(id, now, fx);
        }
    }

    fn refuse_read(&mut self, token: Token, refusal: ReadRefusal) {
        self.counters.reads_refused += 1;
        self.reads.answers.push_back((token, Err(refusal)));
    }

    /// Says what became of reads, after everything that this step handed out for execution.
    pub(crate) fn tell_readers(&mut self, fx: &mut Fx) {
        for (token, answer) in self.reads.answers.drain(..) {
            match answer {
                Ok(()) => fx.read_ready(token),
                Err(refusal) => fx.refuse_read(token, refusal),
            }
        }
    }

    fn ask_for_slot(&mut self, id: u64, now: Now, fx: &mut Fx) {
        let Some(open) = self.reads.open.get(&id) else { return };
        let way = open.way;
        let message = Message::Read { id, way };
        if way == Way::Quorum {
            let to = self.others().minus(open.heard);
            self.settle_if_heard(id);
            self.send(to, message, After::NOTHING, fx);
        } else if self.is_leader() {
            self.answer_as_leader(self.me(), id, way, now, fx);
        } else if let Some(leader) = self.leader() {
            self.send(ReplicaSet::only(leader), message, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_read(&mut self, from: ReplicaId, id: u64, way: Way, now: Now, fx: &mut Fx) {
        if way == Way::Quorum {
            let slot = self.highest();
            self.send(ReplicaSet::only(from), Message::ReadAt { id, slot }, After::NOTHING, fx);
        } else {
            self.answer_as_leader(from, id, way, now, fx);
        }
    }

    fn answer_as_leader(&mut self, from: ReplicaId, id: u64, way: Way, now: Now, fx: &mut Fx) {
        let leased = way == Way::Lease && self.holds_lease(now);
        let too_late = self.mutated(Mutation::ReadIndexFromCommitIndex);
        let chosen = self.chosen;
        let confirms_max = self.config.limits.reads_max * self.config.quorums.n();
        let Role::Leader(leadership) = &mut self.role else { return };
        let slot = if too_late { chosen } else { leadership.proposed };
        if leased {
            self.counters.lease_reads += 1;
            self.tell_slot(from, id, slot, fx);
        } else if leadership.confirms.len() < confirms_max {
            leadership.confirms.push_back(Confirm { at: now.monotonic, from, id, slot });
            if leadership.confirming.is_none() {
                leadership.confirming = Some(now.monotonic);
                self.beat(now, fx);
            }
            self.answer_confirmed(now, fx);
        }
    }

    /// Answers the reads that began before enough members were heard to follow.
    pub(crate) fn answer_confirmed(&mut self, now: Now, fx: &mut Fx) {
        let Some(confirmed) = self.confirmed_at(now) else { return };
        let Role::Leader(leadership) = &mut self.role else { return };
        let ready = leadership.confirms.iter().take_while(|confirm| confirm.at <= confirmed);
        let ready = ready.count();
        let ready: Vec<Confirm> = leadership.confirms.drain(..ready).collect();
        if leadership.confirming.is_some_and(|at| at <= confirmed) {
            leadership.confirming = None;
        }
        if leadership.confirming.is_none() && !leadership.confirms.is_empty() {
            leadership.confirming = Some(now.monotonic);
            self.beat(now, fx);
        }
        for Confirm { from, id, slot, .. } in ready {
            self.counters.index_reads += 1;
            self.tell_slot(from, id, slot, fx);
        }
    }

    fn tell_slot(&mut self, to: ReplicaId, id: u64, slot: Slot, fx: &mut Fx) {
        if to == self.me() {
            self.settle(id, slot);
        } else {
            self.send(ReplicaSet::only(to), Message::ReadAt { id, slot }, After::NOTHING, fx);
        }
    }

    pub(crate) fn on_read_at(&mut self, from: ReplicaId, id: u64, slot: Slot) {
        let Some(open) = self.reads.open.get_mut(&id) else { return };
        if open.way == Way::Quorum {
            open.heard.insert(from);
            open.slot = open.slot.max(slot);
            self.settle_if_heard(id);
        } else {
            self.settle(id, slot);
        }
    }

    fn settle_if_heard(&mut self, id: u64) {
        let needed = self.config.quorums.n() - self.config.quorums.q2() + 1;
        if let Some(open) = self.reads.open.get(&id)
            && open.heard.len() >= needed
        {
            let slot = open.slot;
            self.counters.quorum_reads += 1;
            self.settle(id, slot);
        }
    }

    /// The slot of a read is known.
    fn settle(&mut self, id: u64, slot: Slot) {
        let Some(Open { token, since, .. }) = self.reads.open.remove(&id) else { return };
        self.reads.waiting.insert((slot, id), Waiting { token, since });
        self.serve_reads();
    }

    /// Answers the reads whose slots are executed.
    pub(crate) fn serve_reads(&mut self) {
        while let Some(first) = self.reads.waiting.first_entry() {
            if first.key().0 > self.chosen {
                break;
            }
            let token = first.remove().token;
            self.reads.answers.push_back((token, Ok(())));
        }
    }

    /// Asks again for what nobody answered, and gives up on what took too long.
    pub(crate) fn attend_reads(&mut self, now: Now, fx: &mut Fx) {
        let timeout = self.config.timing.read_timeout;
        let expired = |since: Time| now.monotonic >= since + timeout;
        let open = self.reads.open.iter();
        let lost = open.filter(|(_, open)| expired(open.since)).map(|(id, open)| (*id, open.token));
        let lost: Vec<_> = lost.collect();
        let waiting = self.reads.waiting.iter().filter(|(_, waiting)| expired(waiting.since));
        let stuck: Vec<_> = waiting.map(|(key, waiting)| (*key, waiting.token)).collect();
        for (id, token) in lost {
            self.reads.open.remove(&id);
            self.refuse_read(token, ReadRefusal::Unreachable);
        }
        for (key, token) in stuck {
            self.reads.waiting.remove(&key);
            self.refuse_read(token, ReadRefusal::Unreachable);
        }
        let patience = self.config.timing.patience;
        let late = |open: &Open| now.monotonic >= open.since + patience;
        let again = self.reads.open.iter().filter(|(_, open)| late(open)).map(|(id, _)| *id);
        for id in again.collect::<Vec<_>>() {
            self.ask_for_slot(id, now, fx);
        }
    }
}
