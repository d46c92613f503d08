//! Commands of this replica's own clients that are not executed yet, and when to propose them
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use panchayat_consensus::{Ballot, Command, Span, Time, Token};

/// Proposing again is at most 2^this times the usual patience apart.
const DOUBLINGS_MAX: u32 = 3;
/// A busy replica is woken for many commands at once: this part of the patience.
const WAKES_PER_PATIENCE: u64 = 8;

/// A command that waits to be executed.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Proposal {
    pub(crate) token: Token,
    pub(crate) command: Arc<Command>,
    /// The floor it was first proposed with: a part of the value.
    pub(crate) floor: u64,
    /// The ballot it was proposed under last.
    pub(crate) given_at: Option<Ballot>,
    /// How often it was proposed.
    pub(crate) tries: u32,
    /// Whether the proposer was told that it is chosen.
    pub(crate) announced: bool,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Pending {
    /// The number given out last.
    pub(crate) last_number: u64,
    proposals: BTreeMap<u64, Proposal>,
    timers: BTreeSet<(Time, u64)>,
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
    pub(crate) fn add(&mut self, token: Token, command: Arc<Command>, due: Time) -> u64 {
        let floor = self.floor();
        self.last_number += 1;
        let proposal =
            Proposal { token, command, floor, given_at: None, tries: 0, announced: false };
        self.proposals.insert(self.last_number, proposal);
        self.timers.insert((due, self.last_number));
        self.last_number
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Proposal)> {
        self.proposals.iter()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Proposal> {
        self.proposals.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Proposal> {
        self.proposals.remove(&number)
    }

    /// The numbers of those not proposed under `ballot`, in order.
    pub(crate) fn not_given_at(&self, ballot: Ballot) -> Vec<u64> {
        let missing = self.proposals.iter().filter(|(_, p)| p.given_at != Some(ballot));
        missing.map(|(number, _)| *number).collect()
    }

    /// The next one whose time has come and that still waits. It is looked at again after a
    /// patience that grows.
    pub(crate) fn pop_due(&mut self, now: Time, patience: Span) -> Option<u64> {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            let (_, number) = self.timers.pop_first()?;
            if let Some(proposal) = self.proposals.get(&number) {
                let again = patience.times(1 << proposal.tries.min(DOUBLINGS_MAX));
                self.timers.insert((now + again, number));
                return Some(number);
            }
        }
        None
    }

    /// When to look next, rounded up.
    pub(crate) fn next_due(&self, patience: Span) -> Option<Time> {
        let grain = (patience.0 / WAKES_PER_PATIENCE).max(1);
        self.timers.first().map(|(due, _)| Time(due.0.div_ceil(grain) * grain))
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
