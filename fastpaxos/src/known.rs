//! Commands that arrived here and are not executed: votes name them, so they must be kept until
//! the log says what became of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use panchayat_consensus::{Ballot, Slot, Span, Time, WallTime};

use crate::entry::{Key, Submission, bytes_of};

/// A command and where this replica voted for it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Held {
    pub(crate) submission: Submission,
    /// The slot of the last vote for it in a fast round, and that round's ballot.
    pub(crate) placed: Option<(Ballot, Slot)>,
    /// Whether it waits for its vote to be due or for a slot.
    pub(crate) queued: bool,
}

/// How long a command waits.
#[derive(Clone, Copy, Debug, Hash)]
struct Waiting {
    /// By the wall clock: when the vote for it is due.
    vote_due: WallTime,
    /// By the monotonic clock: no longer than this, whatever the wall clock says.
    until: Time,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Known {
    commands: BTreeMap<Key, Held>,
    bytes: usize,
    /// Those that wait, in the order of the times they should have arrived at.
    waiting: BTreeMap<(WallTime, Key), Waiting>,
    /// When the vote for each of them is due, the soonest first, and what it waits as.
    votes_due: BTreeSet<(WallTime, (WallTime, Key))>,
    /// Those whose vote is due, in that order.
    ready: VecDeque<Key>,
}

impl Known {
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Held> {
        self.commands.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Held> {
        self.commands.get_mut(&key)
    }

    pub(crate) fn insert(&mut self, submission: Submission) {
        let key = submission.key();
        self.bytes += bytes_of(&submission.command);
        let held = Held { submission, placed: None, queued: false };
        if let Some(before) = self.commands.insert(key, held) {
            self.bytes -= bytes_of(&before.submission.command);
        }
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(held) = self.commands.remove(&key) {
            self.bytes -= bytes_of(&held.submission.command);
        }
    }

    /// Forgets those that `unwanted` says are of no use.
    pub(crate) fn forget(&mut self, unwanted: impl Fn(Key, &Held) -> bool) {
        let gone = self.commands.iter().filter(|(key, held)| unwanted(**key, held));
        let gone: Vec<Key> = gone.map(|(key, _)| *key).collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// Lets a command that should have arrived at `due` wait until its vote is due, `leeway` later,
    /// though not longer than `until`.
    pub(crate) fn wait(&mut self, due: WallTime, leeway: Span, key: Key, until: Time) {
        if let Some(held) = self.commands.get_mut(&key)
            && !std::mem::replace(&mut held.queued, true)
        {
            let vote_due = WallTime(due.0.saturating_add(leeway.0));
            self.waiting.insert((due, key), Waiting { vote_due, until });
            self.votes_due.insert((vote_due, (due, key)));
        }
    }

    /// Makes those ready whose vote is due, and whatever comes before them in order.
    pub(crate) fn release(&mut self, wall: WallTime, now: Time) {
        let due = self.votes_due.iter().take_while(|(vote_due, _)| *vote_due <= wall);
        let last = due.map(|(_, place)| *place).max();
        while let Some((place, waiting)) = self.waiting.first_key_value() {
            if Some(*place) > last && waiting.until > now {
                break;
            }
            self.release_first();
        }
    }

    /// Makes those ready that should have arrived before `limit`, and by now.
    pub(crate) fn release_before(&mut self, limit: WallTime, wall: WallTime, now: Time) {
        while let Some(((due, _), waiting)) = self.waiting.first_key_value() {
            if *due >= limit || (*due > wall && waiting.until > now) {
                break;
            }
            self.release_first();
        }
    }

    fn release_first(&mut self) {
        if let Some((place, waiting)) = self.waiting.pop_first() {
            self.votes_due.remove(&(waiting.vote_due, place));
            self.ready.push_back(place.1);
        }
    }

    /// When the next vote is due, by the monotonic clock.
    pub(crate) fn next_due(&self, wall: WallTime, now: Time) -> Option<Time> {
        let (vote_due, _) = self.votes_due.first()?;
        let (_, first) = self.waiting.first_key_value()?;
        let by_wall = Time(now.0.saturating_add(vote_due.0.saturating_sub(wall.0)));
        Some(by_wall.min(first.until))
    }

    /// The first that is ready and still wanted.
    pub(crate) fn next_ready(&mut self) -> Option<Key> {
        while let Some(key) = self.ready.front() {
            if self.commands.contains_key(key) {
                return Some(*key);
            }
            self.ready.pop_front();
        }
        None
    }

    /// The first that is ready is dealt with.
    pub(crate) fn pop_ready(&mut self) {
        if let Some(key) = self.ready.pop_front()
            && let Some(held) = self.commands.get_mut(&key)
        {
            held.queued = false;
        }
    }

    /// Names of all, in order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.commands.keys().copied().collect()
    }
}
