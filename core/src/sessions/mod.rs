//! Exactly once: what a group remembers of its clients' requests.
//!
//! A command of a request carries the request's name, (client, sequence), and the client's time of
//! the first attempt. Its footprint writes a key made of the name, so all attempts at one request
//! are ordered, and every replica agrees which of them came first. That one is applied; the others
//! get its output.
//!
//! # The rule
//!
//! When a command of request `r` executes, in this order:
//!
//! 1. **Too old**: it was proposed more than `retention` after `r` was issued. It is not applied,
//!    and the outcome of `r` is *unknown*: an earlier attempt may have been applied and forgotten.
//! 2. **Duplicate**: an entry of that name is there, and the command was proposed at most
//!    `retention` after the entry's request was issued. It is not applied; the answer is what the
//!    entry keeps.
//! 3. Otherwise it is applied, and an entry keeps its output.
//!
//! All of it is a function of agreed data: proposal times, issue times, and what was executed
//! before under the same name. So replicas agree although EPaxos lets them execute commands that
//! do not conflict in different orders.
//!
//! # What is kept, and for how long
//!
//! An entry keeps the name, the time of issue and the encoded output, unless that is longer than
//! [`SessionConfig::output_bytes_max`]. It is dropped once no command that executes here from now
//! on was proposed at `issued_at + retention` or before
//! ([`Protocol::proposed_after`](panchayat_consensus::Protocol::proposed_after)): rules 1 and 2
//! would not look at it again. So it makes no difference *when* a replica drops it, and replicas
//! may do so at different times; even a client that states different issue times for one name
//! cannot make them differ. A replica that nobody hears from promises nothing about its proposals
//! and pins the entries, until it leaves by an epoch change, or `Overloaded` begins.
//!
//! # What may be compared
//!
//! The entries that are there may not: one replica has dropped what another still holds.
//! [`Sessions::digest`] is made of every request that was ever applied, dropped or not, and is
//! equal where the same commands were executed. [`Sessions::digest_after`] is made of the entries
//! that no replica with that horizon has dropped.
//!
//! # At the door
//!
//! Execution never refuses, since a limit reached at different moments would make replicas differ.
//! The replica that proposes does, before ordering ([`Sessions::admit`]). There, answers concern
//! the *attempt*: of a request that may have been tried before, elsewhere, a refusal says nothing.

mod config;
mod entry;
mod expiry;
mod view;

use bytes::Bytes;
use panchayat_consensus::{Command, Request, WallTime};

pub use config::{ENTRY_BYTES, SessionConfig, SessionConfigError};
use entry::{Entry, Kept, expiry};
use expiry::Expiry;
pub use view::SessionsView;

use crate::cow::CowTable;

/// The requests that were applied and not forgotten.
#[derive(Clone, Debug)]
pub struct Sessions {
    config: SessionConfig,
    entries: CowTable<Entry>,
    expiry: Expiry,
    output_bytes: usize,
    /// The wrapping sum over every request that was ever applied.
    digest: u64,
    /// Commands executed, with and without a request, duplicates included.
    executed: u64,
}

/// What is to be done with a command that executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it, and [`record`](Sessions::record) its output if it is a request's.
    Apply,
    /// Do not apply it: its request was applied. Its encoded output, if that was kept.
    Duplicate(Option<Bytes>),
    /// Do not apply it: it was proposed too long after its request was issued.
    TooOld,
}

/// Whether a request may be proposed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// It was applied, here and everywhere. Its encoded output, if that was kept.
    Known(Option<Bytes>),
    /// Not now: the table is full.
    Full,
    /// It was issued so long ago that an attempt would probably execute as too old.
    TooOld,
    /// It was issued in the future, by more than clocks may differ.
    Ahead,
}

impl Sessions {
    /// No request so far.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            config,
            entries: CowTable::default(),
            expiry: Expiry::default(),
            output_bytes: 0,
            digest: 0,
            executed: 0,
        }
    }

    /// What is to be done with `command`, which executes next.
    pub fn judge(&self, command: &Command) -> Verdict {
        let Some(request) = &command.request else { return Verdict::Apply };
        let retention = self.config.retention;
        if command.proposed_at > expiry(request.issued_at, retention) {
            return Verdict::TooOld;
        }
        match self.entries.get(&(request.client, request.sequence)) {
            Some(entry) if command.proposed_at <= entry.expires_at(retention) => {
                Verdict::Duplicate(entry.output.to_bytes())
            }
            _ => Verdict::Apply,
        }
    }

    /// Remembers that `request` was applied and answered `output`.
    pub fn record(&mut self, request: &Request, output: &[u8]) {
        let entry = Entry::of(request, Kept::new(output, self.config.output_bytes_max));
        self.digest = self.digest.wrapping_add(entry.print());
        self.add(entry);
    }

    /// Counts a command that was executed, whatever the verdict on it.
    pub(crate) fn count_executed(&mut self) {
        self.executed += 1;
    }

    /// Commands executed since the group was born, those that a restored state contains included.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Whether this replica, whose clock says `wall`, may propose a command of `request`.
    pub fn admit(&self, request: &Request, wall: WallTime) -> Admission {
        let SessionConfig { retention, skew, entries_max, bytes_max, .. } = self.config;
        let entry = self.entries.get(&(request.client, request.sequence));
        if let Some(entry) = entry.filter(|entry| entry.issued_at == request.issued_at) {
            return Admission::Known(entry.output.to_bytes());
        }
        if request.issued_at.0 > wall.0.saturating_add(skew.0) {
            return Admission::Ahead;
        }
        if wall.0.saturating_add(skew.0) > expiry(request.issued_at, retention).0 {
            return Admission::TooOld;
        }
        if self.entries.len() >= entries_max || self.bytes() >= bytes_max {
            return Admission::Full;
        }
        Admission::Open
    }

    /// Drops at most `most` entries that no command which executes from now on can ask for, given
    /// that every such command was proposed after `horizon`. True if there are no more of them.
    pub fn prune(&mut self, horizon: WallTime, most: usize) -> bool {
        let Some(issued_by) = horizon.0.checked_sub(self.config.retention.0) else { return true };
        for _ in 0..most {
            let Some(name) = self.expiry.take(WallTime(issued_by)) else { return true };
            // A name that was used again with another time of issue is in two buckets.
            let due = self.entries.get(&name).is_some_and(|entry| entry.issued_at.0 <= issued_by);
            if due && let Some(entry) = self.entries.remove(&name) {
                self.output_bytes -= entry.output.len();
            }
        }
        false
    }

    /// What it is configured with.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no request is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the table is reckoned at, in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES + self.output_bytes
    }

    /// A fingerprint of every request that was ever applied, and of what it answered. It does not
    /// depend on what was dropped.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A fingerprint of the entries that a replica at `horizon` must still hold. It walks through
    /// the table.
    pub fn digest_after(&self, horizon: WallTime) -> u64 {
        let held = self.entries.iter().filter(|e| e.expires_at(self.config.retention) > horizon);
        held.fold(0, |sum, entry| sum.wrapping_add(entry.print()))
    }

    /// Freezes the table, for next to nothing.
    pub fn view(&self) -> SessionsView {
        SessionsView::of(self)
    }

    fn add(&mut self, entry: Entry) {
        self.expiry.add(entry.issued_at, entry.name);
        self.output_bytes += entry.output.len();
        if let Some(replaced) = self.entries.insert(entry) {
            self.output_bytes -= replaced.output.len();
        }
    }
}

#[cfg(test)]
mod tests;
