//! What waits for what, told to operators: the first slot that is not decided, what stands behind
//! it, and commands that have no slot.

use std::collections::BTreeSet;

use panchayat_consensus::account::{
    ACCOUNT_ENTRIES_MAX, ACCOUNT_LOOKS_MAX, Account, Stage, Subject, Waiting,
};
use panchayat_consensus::{Command, InstanceId, KeyHash, Now, Slot};

use crate::learn::LANE;
use crate::log::State;
use crate::replica::MultiPaxos;

impl MultiPaxos {
    /// What waits here, as far as `subject` asks.
    pub(crate) fn give_account(&self, subject: Subject, now: Now) -> Account {
        let unexecuted = self.highest() - self.chosen + self.unplaced().count() as u64;
        let mut account = Account { unexecuted, lanes: false, waiting: Vec::new() };
        let open = || self.log.above(self.chosen).take(ACCOUNT_LOOKS_MAX);
        let waiting = |(slot, state): (Slot, &State)| self.waiting(slot, Some(state), now);
        match subject {
            Subject::Instance(id) => {
                let slot = id.slot;
                account.waiting.push(self.waiting(slot, self.log.get(slot), now));
                let first = self.chosen + 1;
                if slot > first {
                    account.waiting.push(self.waiting(first, self.log.get(first), now));
                }
                return account;
            }
            Subject::Oldest => {
                account.waiting.extend(open().take(ACCOUNT_ENTRIES_MAX).map(waiting));
                account.waiting.extend(self.unplaced_waiting(now, |_| true));
            }
            Subject::Key(key) => {
                let on_key = |(_, state): &(Slot, &State)| {
                    let submission = state.entry.as_ref().and_then(|entry| entry.submission());
                    submission.is_some_and(|submission| touches(&submission.command, key))
                };
                let on_key = open().filter(on_key).take(ACCOUNT_ENTRIES_MAX);
                account.waiting.extend(on_key.map(waiting));
                account.waiting.extend(self.unplaced_waiting(now, |c| touches(c, key)));
            }
        }
        account.waiting.truncate(ACCOUNT_ENTRIES_MAX);
        account
    }

    fn waiting(&self, slot: Slot, state: Option<&State>, now: Now) -> Waiting {
        let first = self.chosen + 1;
        let id = InstanceId::new(LANE, slot);
        let stage = match state {
            _ if slot <= self.chosen => Stage::Executed,
            None => Stage::Unknown,
            Some(state) if state.chosen => Stage::Committed,
            Some(state) if state.entry.is_some() => Stage::Accepted,
            Some(_) => Stage::Unknown,
        };
        let waits_on = match slot > first {
            true => vec![InstanceId::new(LANE, first)],
            false => Vec::new(),
        };
        let quorum = self.config.quorums.q2();
        let why = match (stage, state) {
            (Stage::Executed, _) => "it is executed here".to_owned(),
            (Stage::Committed, _) => {
                format!("it is decided, and executes after slot {first}, which is not")
            }
            (Stage::Accepted, Some(state)) => format!(
                "it is voted for at {:?}: {} of {quorum} votes are known here",
                state.counted,
                state.votes.len()
            ),
            _ if self.leader().is_none() => "no leader is known who would fill it".to_owned(),
            _ => "nothing is known here of what is in it".to_owned(),
        };
        let own = state.and_then(|state| state.entry.as_ref()?.submission());
        let own = own.filter(|submission| submission.origin == self.me());
        let proposed = own.and_then(|submission| self.pending.get(submission.number));
        let since = proposed.map(|proposal| proposal.since);
        let since = since.or((slot == first).then_some(self.stalled.1));
        Waiting {
            id: Some(id),
            stage,
            since: since.filter(|_| stage != Stage::Executed).map(|since| now.monotonic - since),
            waits_on,
            held_by: self.leader().filter(|_| stage != Stage::Executed),
            why,
        }
    }

    /// Own commands of which no slot is known here.
    fn unplaced(&self) -> impl Iterator<Item = &crate::pending::Proposal> {
        let open = self.log.above(self.chosen).filter_map(|(_, state)| state.entry.as_ref());
        let own = open.filter_map(|entry| entry.submission()).filter(|s| s.origin == self.me());
        let placed: BTreeSet<u64> = own.map(|submission| submission.number).collect();
        let all = self.pending.iter();
        all.filter(move |(number, _)| !placed.contains(number)).map(|(_, proposal)| proposal)
    }

    fn unplaced_waiting(
        &self,
        now: Now,
        wanted: impl Fn(&Command) -> bool,
    ) -> impl Iterator<Item = Waiting> {
        let leader = self.leader();
        let told = move |proposal: &crate::pending::Proposal| Waiting {
            id: None,
            stage: Stage::Known,
            since: Some(now.monotonic - proposal.since),
            waits_on: Vec::new(),
            held_by: leader,
            why: match leader {
                None => "a command of this replica, which knows no leader to give it to",
                Some(leader) if leader == self.me() => {
                    "a command of this replica, which has not given it a slot"
                }
                Some(_) => "a command of this replica, given to the leader; no slot is known here",
            }
            .to_owned(),
        };
        self.unplaced().filter(move |proposal| wanted(&proposal.command)).map(told)
    }
}

fn touches(command: &Command, key: KeyHash) -> bool {
    let footprint = &command.footprint;
    footprint.is_barrier() || footprint.keys().iter().any(|(touched, _)| *touched == key)
}
