//! The keys of a workload, with what follows from them: which expire when, and the state hash.

use std::collections::BTreeSet;

use bytes::Bytes;
use panchayat::cow::{CowTable, Row};
use panchayat::{FootprintGuard, Mode};

use super::entry::{Entry, Kind, Value};
use super::error::WRONG_TYPE;
use super::reply::Reply;

/// What a command knows besides its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Agreed time in milliseconds since 1970; for a query, the local clock.
    pub(super) now_ms: u64,
    /// What keys that change have as their version from now on.
    pub(super) version: u64,
    /// Where chance begins.
    pub(super) seed: u64,
}

/// The keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Db {
    entries: CowTable<Entry>,
    /// The keys that expire, by time. It follows from the entries.
    due: BTreeSet<(u64, Bytes)>,
    /// The wrapping sum of the entries' prints.
    hash: u64,
    guard: FootprintGuard,
}

impl Db {
    /// Puts back entries that were frozen.
    pub(super) fn restored(entries: CowTable<Entry>) -> Self {
        let mut db = Self::default();
        for entry in &entries {
            db.hash = db.hash.wrapping_add(entry.print);
            if entry.expires_at != 0 {
                db.due.insert((entry.expires_at, entry.key.clone()));
            }
        }
        db.entries = entries;
        db
    }

    /// The same keys, but for those of `named` whose time had come by `now_ms`; good for reading.
    pub(super) fn without_due<'a>(
        &self,
        named: impl Iterator<Item = &'a Bytes>,
        now_ms: u64,
    ) -> Self {
        let mut entries = self.entries.clone();
        named.filter(|key| self.is_due(key, now_ms)).for_each(|key| _ = entries.remove(key));
        Self { entries, ..Self::default() }
    }

    pub(super) fn entries(&self) -> &CowTable<Entry> {
        &self.entries
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn guard(&mut self) -> &mut FootprintGuard {
        &mut self.guard
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Up to `count` keys whose time had come by `now_ms`, the longest due first.
    pub(super) fn due(&self, now_ms: u64, count: usize) -> impl Iterator<Item = &Bytes> {
        let due = self.due.iter().take_while(move |(at, _)| *at <= now_ms);
        due.map(|(_, key)| key).take(count)
    }

    /// How many keys expire some time.
    pub(super) fn expiring(&self) -> usize {
        self.due.len()
    }

    /// The entry of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.guard.check(key, Mode::Read);
        self.entries.get(key)
    }

    /// The value of `key`, which must be of that type.
    pub(super) fn read<K: Kind>(&self, key: &[u8]) -> Result<Option<&K>, Reply> {
        match self.get(key) {
            None => Ok(None),
            Some(entry) => K::of(&entry.value).map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// Whether the time of `key` has come by `now_ms`.
    pub(super) fn is_due(&self, key: &[u8], now_ms: u64) -> bool {
        !self.due.is_empty() && self.entries.get(key).is_some_and(|entry| entry.is_due(now_ms))
    }

    /// Changes the value of `key`, or an empty one if there is none; one that is empty afterwards
    /// goes. `change` says whether it has changed anything.
    pub(super) fn edit<K: Kind, R>(
        &mut self,
        context: &Context,
        key: &[u8],
        change: impl FnOnce(&mut K) -> (R, bool),
    ) -> Result<R, Reply> {
        self.guard.check(key, Mode::Write);
        let Some(entry) = self.entries.get_mut(key) else {
            let mut value = K::default();
            let (result, changed) = change(&mut value);
            if changed {
                self.put(context, key, value.into_value(), 0);
            }
            return Ok(result);
        };
        let inner = K::of_mut(&mut entry.value).ok_or(WRONG_TYPE)?;
        let (result, changed) = change(inner);
        if !changed {
            return Ok(result);
        }
        if entry.value.is_empty() {
            self.remove(key);
            return Ok(result);
        }
        self.hash = self.hash.wrapping_sub(entry.print);
        entry.version = context.version;
        entry.print = entry.compute_print();
        self.hash = self.hash.wrapping_add(entry.print);
        Ok(result)
    }

    /// The same, but only if there is a value.
    pub(super) fn edit_existing<K: Kind, R>(
        &mut self,
        context: &Context,
        key: &[u8],
        change: impl FnOnce(&mut K) -> (R, bool),
    ) -> Result<Option<R>, Reply> {
        match self.get(key) {
            None => Ok(None),
            Some(_) => self.edit(context, key, change).map(Some),
        }
    }

    /// Puts a value under `key`, whatever was there; one that is empty removes the key.
    pub(super) fn put(&mut self, context: &Context, key: &[u8], value: Value, expires_at: u64) {
        let old = self.remove(key);
        if value.is_empty() {
            return;
        }
        // Owned by the table alone: the key of a command is part of a message.
        let key = old.map_or_else(|| Bytes::copy_from_slice(key), |entry| entry.key);
        let mut entry = Entry { key, value, expires_at, version: context.version, print: 0 };
        entry.print = entry.compute_print();
        self.hash = self.hash.wrapping_add(entry.print);
        if expires_at != 0 {
            self.due.insert((expires_at, entry.key.clone()));
        }
        self.entries.insert(entry);
    }

    /// Puts a string under `key` in the place of another string, in less time than
    /// [`put`](Self::put). False if there was none, and nothing is done.
    pub(super) fn replace_string(&mut self, context: &Context, key: &[u8], value: &[u8]) -> bool {
        self.guard.check(key, Mode::Write);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let (Value::String(old), 0) = (&mut entry.value, entry.expires_at) else { return false };
        match std::mem::take(old).try_into_mut() {
            // Nobody else looks at the old one, and the new one fits.
            Ok(mut space) if space.len() == value.len() => {
                space.copy_from_slice(value);
                *old = space.freeze();
            }
            _ => *old = Bytes::copy_from_slice(value),
        }
        self.hash = self.hash.wrapping_sub(entry.print);
        entry.version = context.version;
        entry.print = entry.compute_print();
        self.hash = self.hash.wrapping_add(entry.print);
        true
    }

    /// Removes `key`.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        self.guard.check(key, Mode::Write);
        let entry = self.entries.remove(key)?;
        self.hash = self.hash.wrapping_sub(entry.print);
        if entry.expires_at != 0 {
            self.due.remove(&(entry.expires_at, entry.key.clone()));
        }
        Some(entry)
    }

    /// Removes `key` if its time has come.
    pub(super) fn purge(&mut self, key: &[u8], now_ms: u64) {
        if self.is_due(key, now_ms) {
            self.remove(key);
        }
    }

    /// Sets when `key` expires, 0 for never. False if there is no such key.
    pub(super) fn expire(&mut self, context: &Context, key: &[u8], expires_at: u64) -> bool {
        self.guard.check(key, Mode::Write);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        if entry.expires_at != 0 {
            self.due.remove(&(entry.expires_at, entry.key.clone()));
        }
        if expires_at != 0 {
            self.due.insert((expires_at, entry.key.clone()));
        }
        self.hash = self.hash.wrapping_sub(entry.print);
        entry.expires_at = expires_at;
        entry.version = context.version;
        entry.print = entry.compute_print();
        self.hash = self.hash.wrapping_add(entry.print);
        true
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        self.entries = CowTable::default();
        self.due.clear();
        self.hash = 0;
    }

    /// Entries whose keys hash to `hash` or above, by that hash.
    pub(super) fn iter_from(&self, hash: u64) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter_from(hash).map(|entry| (Entry::hash(entry.key()), entry))
    }
}
