//! Commands that arrived here and are not executed: votes name them, so they must be kept until
//! the log says what became of them.

use std::collections::{BTreeMap, VecDeque};

use panchayat_consensus::{Ballot, Slot, Time, WallTime};

use crate::entry::{Key, Submission, bytes_of};

/// A command and where this replica voted for it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Held {
    pub(crate) submission: Submission,
    /// The slot of the last vote for it in a fast round, and that round's ballot.
    pub(crate) placed: Option<(Ballot, Slot)>,
    /// Whether it waits for its time or for a slot.
    pub(crate) queued: bool,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Known {
    commands: BTreeMap<Key, Held>,
    bytes: usize,
    /// Those that wait for their time to arrive, and until when at most.
    waiting: BTreeMap<(WallTime, Key), Time>,
    /// Those whose time has come, in that order.
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

    /// Lets a command wait until `due`, though not longer than `until`.
    pub(crate) fn wait(&mut self, due: WallTime, key: Key, until: Time) {
        if let Some(held) = self.commands.get_mut(&key)
            && !std::mem::replace(&mut held.queued, true)
        {
            self.waiting.insert((due, key), until);
        }
    }

    /// Makes those ready whose time has come and is before `limit`.
    pub(crate) fn release(&mut self, wall: WallTime, now: Time, limit: WallTime) {
        while let Some(((due, key), until)) = self.waiting.first_key_value() {
            if *due >= limit || (*due > wall && *until > now) {
                break;
            }
            self.ready.push_back(*key);
            self.waiting.pop_first();
        }
    }

    /// When the next one's time comes, by the monotonic clock.
    pub(crate) fn next_due(&self, wall: WallTime, now: Time) -> Option<Time> {
        let ((due, _), until) = self.waiting.first_key_value()?;
        let by_wall = Time(now.0.saturating_add(due.0.saturating_sub(wall.0)));
        Some(by_wall.min(*until))
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
