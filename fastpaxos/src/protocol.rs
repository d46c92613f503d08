//! The replica as a [`Protocol`]: what the driver sees, what must hold between steps, and what a
//! model checker must tell apart.

use std::hash::{Hash, Hasher};

use panchayat_consensus::{
    Account, Assurance, Command, Input, Now, Protocol, ReadRefusal, ReplicaId, ReplicaSet, Subject,
    Token, WallTime,
};

use crate::config::Config;
use crate::entry::Entry;
use crate::message::Message;
use crate::record::Record;
use crate::replica::{FastPaxos, Fx, Role};

impl Protocol for FastPaxos {
    type Config = Config;
    type Message = Message;
    type Record = Record;

    fn restore(
        config: Config,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        effects: &mut Fx,
    ) -> Self {
        let mut replica = Self::new(config, now);
        replica.replay(records, now, effects);
        replica.ask_for_wake(now, effects);
        replica
    }

    fn step(&mut self, now: Now, input: Input<Message>, effects: &mut Fx) {
        match input {
            Input::Propose { token, command } => self.propose(token, command, now, effects),
            // Reads are ordered like commands, and take no part in the state.
            Input::Read { token, assurance: Assurance::Quorum, footprint } => {
                self.propose(token, Command::read(footprint), now, effects);
            }
            Input::Read { token, assurance: Assurance::Lease, .. } => {
                effects.refuse_read(token, ReadRefusal::NoLease);
            }
            Input::Receive { from, message } => self.receive(from, message, now, effects),
            Input::Durable(durable) => self.durable = durable,
            Input::PeerUp(peer) => _ = self.suspected.remove(peer),
            Input::PeerSuspected(peer) => _ = self.suspected.insert(peer),
            Input::Wake => {}
        }
        self.attend(now, effects);
        self.finish(now, effects);
    }

    fn image(&self) -> Vec<Record> {
        self.take_image()
    }

    fn handover(image: Vec<Record>) -> Vec<Record> {
        image.into_iter().filter(|record| matches!(record, Record::Snapshot { .. })).collect()
    }

    fn can_install(&self, handover: &[Record]) -> bool {
        let leads_on = |record: &Record| matches!(record, Record::Snapshot { upto, .. } if *upto > self.chosen);
        self.lacks_slots() && handover.iter().any(leads_on)
    }

    fn install(&mut self, now: Now, handover: Vec<Record>, effects: &mut Fx) {
        self.adopt(handover, now, effects);
        self.ask_for_wake(now, effects);
    }

    fn needs_state(&self) -> ReplicaSet {
        self.states_ahead()
    }

    fn wants_state(&self) -> bool {
        self.lacks_slots()
    }

    fn hold(&mut self, now: Now) {
        self.hold_slots(now);
    }

    fn persist_executed(&mut self, effects: &mut Fx) {
        self.record_chosen(effects);
    }

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        self.pending.take_all()
    }

    fn proposed_after(&self) -> WallTime {
        self.proposed_at
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        FastPaxos::counters(self).named().collect()
    }

    fn leader(&self) -> Option<ReplicaId> {
        self.coordinator()
    }

    fn account(&self, subject: Subject, now: Now) -> Account {
        self.give_account(subject, now)
    }

    fn status(&self) -> Option<String> {
        Some(FastPaxos::status(self).to_string())
    }

    fn check_invariants(&self) {
        assert!(self.log.base() <= self.chosen, "a slot is collected before it is executed");
        assert!(self.kept <= self.chosen_recorded, "more is kept than was recorded");
        assert!(self.cast.is_empty(), "a vote was cast and not written down");
        for (slot, state) in self.log.above(self.log.base()) {
            if let Some((round, _)) = &state.vote {
                assert!(round.ballot <= self.promised, "slot {slot}: a vote above the promise");
            }
            assert_eq!(
                state.chosen.as_ref().map(Entry::name).or(state.decided),
                state.decided,
                "slot {slot}: what is held is not what was decided"
            );
            assert!(slot > self.chosen || state.chosen.is_some(), "slot {slot} executed unknown");
        }
        match &self.role {
            Role::Coordinator(coordinator) => {
                assert_eq!(coordinator.ballot, self.promised, "a coordinator left behind");
                for (slot, entry) in &coordinator.settled {
                    let chosen = self.log.chosen(*slot);
                    assert!(
                        chosen.is_none_or(|chosen| chosen == entry),
                        "slot {slot}: chosen {chosen:?} against the coordinator's {entry:?}"
                    );
                }
            }
            Role::Candidate(survey) => {
                assert_eq!(survey.ballot, self.promised, "a candidate at a ballot left behind");
            }
            Role::Follower | Role::Asking(..) => {}
        }
        assert!(self.following.is_none_or(|ballot| ballot == self.promised));
    }
}

/// Covers what a model checker must tell apart: everything that can change a later step, apart
/// from counters.
impl Hash for FastPaxos {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.config.replica.hash(state);
        self.log.hash(state);
        self.applied.hash(state);
        (self.promised, self.promise, &self.fast, &self.cast).hash(state);
        (self.chosen, self.chosen_recorded, self.kept, self.hold, self.proposed_at).hash(state);
        (&self.taken, &self.missing, &self.role, self.following, self.seen).hash(state);
        (&self.standing, &self.mode, &self.progress, &self.delays).hash(state);
        (&self.catch_up, &self.pending, &self.known).hash(state);
        (self.durable, &self.own, self.suspected, self.run).hash(state);
        (self.started, self.status_due).hash(state);
    }
}
