//! Commands of this replica's own clients that are not executed yet, and when to forward them
//! again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use panchayat_consensus::{Ballot, Command, Span, Time, Token};

/// Forwarding again is at most 2^this times the usual patience apart.
const DOUBLINGS_MAX: u32 = 3;
/// A busy replica is woken for many commands at once: this part of the patience.
const WAKES_PER_PATIENCE: u64 = 8;

/// A command that waits to be executed.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Proposal {
    pub(crate) token: Token,
    pub(crate) command: Arc<Command>,
    pub(crate) since: Time,
    /// The floor it was first proposed with.
    pub(crate) floor: u64,
    /// The ballot of the leader it was given to last.
    pub(crate) given_to: Option<Ballot>,
    /// How often it was given to one.
    pub(crate) tries: u32,
    /// Whether the proposer was told that it is chosen.
    pub(crate) announced: bool,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Pending {
    /// The number given out last.
    pub(crate) last_number: u64,
    proposals: BTreeMap<u64, Proposal>,
    /// When to look at a new one: the same span after each, so a queue will do.
    fresh: VecDeque<(Time, u64)>,
    /// When to look at one again.
    timers: BTreeSet<(Time, u64)>,
    /// Those that the leader had no room for.
    bounced: BTreeSet<u64>,
    /// Until when the leader has no room.
    pub(crate) busy_until: Time,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.proposals.len()
    }

    /// Every number up to this one is settled.
    pub(crate) fn floor(&self) -> u64 {
        self.proposals.first_key_value().map_or(self.last_number, |(number, _)| number - 1)
    }

    /// Takes a new command; gives its number.
    pub(crate) fn add(
        &mut self,
        token: Token,
        command: Arc<Command>,
        since: Time,
        patience: Span,
    ) -> u64 {
        let floor = self.floor();
        self.last_number += 1;
        let proposal =
            Proposal { token, command, since, floor, given_to: None, tries: 0, announced: false };
        self.proposals.insert(self.last_number, proposal);
        self.fresh.push_back((since + patience, self.last_number));
        self.last_number
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Proposal> {
        self.proposals.get(&number)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Proposal)> {
        self.proposals.iter()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Proposal> {
        self.proposals.get_mut(&number)
    }

    /// The leader had no room for this one.
    pub(crate) fn bounce(&mut self, number: u64) {
        if self.proposals.contains_key(&number) {
            self.bounced.insert(number);
        }
    }

    /// The oldest of those.
    pub(crate) fn pop_bounced(&mut self) -> Option<u64> {
        self.bounced.pop_first()
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Proposal> {
        self.bounced.remove(&number);
        self.proposals.remove(&number)
    }

    /// Takes out the oldest one, if it has waited since before `since`.
    pub(crate) fn pop_older(&mut self, since: Time) -> Option<Proposal> {
        let (number, proposal) = self.proposals.first_key_value()?;
        let (number, old) = (*number, proposal.since < since);
        if old { self.remove(number) } else { None }
    }

    /// The numbers of those that `leader` was not given, in order.
    pub(crate) fn not_given_to(&self, leader: Ballot) -> Vec<u64> {
        let proposals = self.proposals.iter();
        let missing = proposals.filter(|(_, proposal)| proposal.given_to != Some(leader));
        missing.map(|(number, _)| *number).collect()
    }

    /// The next one whose time has come and that still waits. It is looked at again after a
    /// patience that grows.
    pub(crate) fn pop_due(&mut self, now: Time, patience: Span) -> Option<u64> {
        loop {
            let number = if self.timers.first().is_some_and(|(due, _)| *due <= now) {
                self.timers.pop_first()?.1
            } else if self.fresh.front().is_some_and(|(due, _)| *due <= now) {
                self.fresh.pop_front()?.1
            } else {
                return None;
            };
            if let Some(proposal) = self.proposals.get(&number) {
                let again = patience.times(1 << proposal.tries.min(DOUBLINGS_MAX));
                self.timers.insert((now + again, number));
                return Some(number);
            }
        }
    }

    /// When to look next, rounded up.
    pub(crate) fn next_due(&self, patience: Span) -> Option<Time> {
        let grain = (patience.0 / WAKES_PER_PATIENCE).max(1);
        let timer = self.timers.first().map(|(due, _)| *due);
        let due = [timer, self.fresh.front().map(|(due, _)| *due)].into_iter().flatten().min()?;
        Some(Time(due.0.div_ceil(grain) * grain))
    }

    /// Gives up all, in order.
    pub(crate) fn take_all(&mut self) -> Vec<(Token, Command)> {
        let last_number = self.last_number;
        let all = std::mem::replace(self, Self { last_number, ..Self::default() });
        let all = all.proposals.into_values();
        all.map(|proposal| (proposal.token, (*proposal.command).clone())).collect()
    }

    /// The numbers of all, in order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.proposals.keys().copied().collect()
    }
}
