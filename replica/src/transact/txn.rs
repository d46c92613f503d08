//! A transaction while its body runs: what it has read, and what it wants to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use panchayat_core::kv::{Condition, KvCommand, KvOp, KvValue, number};
use parking_lot::Mutex;

use super::error::Interrupted;
use super::store::Store;

/// What is wanted of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Put(Bytes),
    Delete,
    Add(i64),
}

/// A transaction under way. Reads see what it has written itself. Clones are the same transaction.
#[derive(Clone, Debug)]
pub struct Txn<C> {
    store: C,
    fresh: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    read: BTreeMap<Bytes, KvValue>,
    writes: BTreeMap<Bytes, Write>,
}

impl<C: Store> Txn<C> {
    pub(super) fn new(store: C, fresh: bool) -> Self {
        Self { store, fresh, seen: Arc::default() }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Interrupted`], if the store does not answer.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<KvValue, Interrupted> {
        let mut values = self.get_many([key.into()]).await?;
        Ok(values.pop().flatten())
    }

    /// The values of several keys, asked for at once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<KvValue>, Interrupted> {
        let keys: Vec<Bytes> = keys.into_iter().map(Into::into).collect();
        let missing = self.seen.lock().missing(&keys);
        if !missing.is_empty() {
            let values = self.store.values(missing.clone(), self.fresh).await;
            let values = values.map_err(Interrupted)?;
            let mut seen = self.seen.lock();
            for (key, value) in missing.into_iter().zip(values) {
                // What was read first is what must hold.
                seen.read.entry(key).or_insert(value);
            }
        }
        let seen = self.seen.lock();
        Ok(keys.iter().map(|key| seen.value(key)).collect())
    }

    /// The number that `key` holds, as [`KvOp::Add`] understands it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn number(&self, key: impl Into<Bytes>) -> Result<i64, Interrupted> {
        Ok(number(self.get(key).await?.as_deref()))
    }

    /// Sets the value of `key`.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.seen.lock().writes.insert(key.into(), Write::Put(value.into()));
    }

    /// Removes `key`.
    pub fn delete(&self, key: impl Into<Bytes>) {
        self.seen.lock().writes.insert(key.into(), Write::Delete);
    }

    /// Adds to the number that `key` holds. Unless the transaction reads the key as well, it need
    /// not be ordered among others that only add to it.
    pub fn add(&self, key: impl Into<Bytes>, amount: i64) {
        let (key, mut seen) = (key.into(), self.seen.lock());
        let write = match seen.writes.get(&key) {
            None => Write::Add(amount),
            Some(Write::Add(sum)) => Write::Add(sum.wrapping_add(amount)),
            Some(Write::Put(value)) => {
                Write::Put(number(Some(value)).wrapping_add(amount).to_string().into())
            }
            Some(Write::Delete) => Write::Put(amount.to_string().into()),
        };
        seen.writes.insert(key, write);
    }

    /// Most of what it names: conditions or operations.
    pub(super) fn keys(&self) -> usize {
        let seen = self.seen.lock();
        seen.read.len().max(seen.writes.len())
    }

    /// The one-shot command that validates what was read and writes, or only validates.
    pub(super) fn into_command(self, writes: bool) -> KvCommand {
        let condition = |(key, expected)| Condition::Is { key, expected };
        let op = |(key, write)| match write {
            Write::Put(value) => KvOp::Put { key, value },
            Write::Delete => KvOp::Delete { key },
            Write::Add(amount) => KvOp::Add { key, amount },
        };
        let seen = std::mem::take(&mut *self.seen.lock());
        let wanted = if writes { seen.writes } else { BTreeMap::new() };
        KvCommand::Transaction {
            conditions: seen.read.into_iter().map(condition).collect(),
            ops: wanted.into_iter().map(op).collect(),
        }
    }
}

impl Seen {
    /// Which of `keys` must be asked for.
    fn missing(&self, keys: &[Bytes]) -> Vec<Bytes> {
        let written =
            |key: &Bytes| matches!(self.writes.get(key), Some(Write::Put(_) | Write::Delete));
        let must = |key: &&Bytes| !written(key) && !self.read.contains_key(*key);
        let mut missing: Vec<Bytes> = keys.iter().filter(must).cloned().collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    fn value(&self, key: &Bytes) -> KvValue {
        let read = || self.read.get(key).cloned().flatten();
        match self.writes.get(key) {
            Some(Write::Put(value)) => Some(value.clone()),
            Some(Write::Delete) => None,
            Some(Write::Add(amount)) => {
                Some(number(read().as_deref()).wrapping_add(*amount).to_string().into())
            }
            None => read(),
        }
    }
}
