//! The store itself.

use std::io::{self, Read, Write};

use bytes::Bytes;
use panchayat_consensus::{Footprint, KeyHash, Mode};
use xxhash_rust::xxh3::xxh3_64;

use super::command::{Condition, KvCommand, KvOp, KvOutput, KvValue, OPS_MAX, VALUE_BYTES_MAX};
use super::query::{KvAnswer, KvQuery};
use super::row::{Entry, print};
use super::view::{self, KvView};
use crate::cow::CowTable;
use crate::guard::FootprintGuard;
use crate::state_machine::{ApplyContext, RestoreError, StateHash, StateMachine};

/// An in-memory key-value store with a state hash kept up to date on every write.
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    entries: CowTable<Entry>,
    /// The wrapping sum of the entries' hashes: the order of writes to different keys is no matter.
    hash: u64,
    guard: FootprintGuard,
}

impl KvStore {
    /// The value of `key` in this replica's current state.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Entry::value)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a command sees of `key`.
    fn look(&self, key: &[u8]) -> Option<&[u8]> {
        self.guard.check(key, Mode::Read);
        self.get(key)
    }

    fn read(&self, key: &[u8]) -> KvValue {
        self.look(key).map(Bytes::copy_from_slice)
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.guard.check(key, Mode::Write);
        self.set(key, value);
    }

    fn add(&mut self, key: &[u8], amount: i64) {
        self.guard.check(key, Mode::Commute);
        let sum = number(self.get(key)).wrapping_add(amount);
        self.set(key, Some(sum.to_string().as_bytes()));
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            if let Some(entry) = self.entries.remove(key) {
                self.hash = self.hash.wrapping_sub(entry.print());
            }
            return;
        };
        self.hash = self.hash.wrapping_add(print(key, value));
        if let Some(entry) = self.entries.get_mut(key) {
            self.hash = self.hash.wrapping_sub(entry.print());
            entry.replace(value);
        } else {
            self.entries.insert(Entry::new(key, value));
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Is { key, expected } => self.look(key) == expected.as_deref(),
            Condition::AtLeast { key, least } => number(self.look(key)) >= *least,
        }
    }

    fn run(&mut self, context: &ApplyContext, op: KvOp) -> KvOutput {
        match op {
            KvOp::Get { key } => KvOutput::Value(self.read(&key)),
            KvOp::Put { key, value } => {
                self.write(&key, Some(&value));
                KvOutput::Done
            }
            KvOp::Append { key, suffix } => {
                let old = self.look(&key).unwrap_or_default();
                if old.len() + suffix.len() > VALUE_BYTES_MAX {
                    return KvOutput::TooLarge;
                }
                let new = [old, &suffix].concat();
                self.write(&key, Some(&new));
                KvOutput::Value(Some(new.into()))
            }
            KvOp::Delete { key } => {
                self.write(&key, None);
                KvOutput::Done
            }
            KvOp::CompareAndSet { key, expected, new } => {
                let found = self.read(&key);
                let applied = found == expected;
                if applied {
                    self.write(&key, new.as_deref());
                }
                KvOutput::Compared { applied, found }
            }
            KvOp::Add { key, amount } => {
                self.add(&key, amount);
                KvOutput::Done
            }
            KvOp::Mix { key, salt } => {
                let old = self.look(&key).unwrap_or_default();
                let (replica, slot) = ([context.id.replica.0], context.id.slot.to_le_bytes());
                let new = xxh3_64(&[old, &replica, &slot, &salt].concat()).to_le_bytes();
                self.write(&key, Some(&new));
                KvOutput::Value(Some(Bytes::copy_from_slice(&new)))
            }
        }
    }

    fn execute(&mut self, context: &ApplyContext, command: KvCommand) -> KvOutput {
        match command {
            KvCommand::One(op) => self.run(context, op),
            KvCommand::Transaction { conditions, ops } => {
                let failed = conditions.iter().position(|condition| !self.holds(condition));
                if let Some(index) = failed {
                    let found = self.read(conditions[index].key());
                    return KvOutput::ConditionFailed { index: index as u32, found };
                }
                KvOutput::Committed(ops.into_iter().map(|op| self.run(context, op)).collect())
            }
        }
    }
}

/// The number that a value stands for: a decimal `i64`; whatever is none counts as 0.
pub fn number(value: Option<&[u8]>) -> i64 {
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl StateMachine for KvStore {
    type Command = KvCommand;
    type Output = KvOutput;
    type Query = KvQuery;
    type Answer = KvAnswer;
    type View = KvView;

    fn footprint(command: &KvCommand) -> Footprint {
        let key = |op: &KvOp| (KeyHash::of(op.key()), op.mode());
        match command {
            KvCommand::One(op) => Footprint::new([key(op)]),
            KvCommand::Transaction { conditions, ops } => Footprint::new(
                conditions
                    .iter()
                    .map(|condition| (KeyHash::of(condition.key()), Mode::Read))
                    .chain(ops.iter().map(key)),
            ),
        }
    }

    fn apply(&mut self, context: &ApplyContext, command: KvCommand) -> KvOutput {
        self.guard.begin::<Self>(&command);
        let output = self.execute(context, command);
        self.guard.end();
        output
    }

    /// A query of more keys than a command may touch conflicts with everything instead.
    fn query_footprint(query: &KvQuery) -> Footprint {
        if query.keys().len() > OPS_MAX {
            return Footprint::barrier();
        }
        Footprint::new(query.keys().iter().map(|key| (KeyHash::of(key), Mode::Read)))
    }

    fn query(&self, query: KvQuery) -> KvAnswer {
        let value = |key: &Bytes| self.get(key).map(Bytes::copy_from_slice);
        match query {
            KvQuery::Get { key } => KvAnswer::Value(value(&key)),
            KvQuery::GetMany { keys } => KvAnswer::Values(keys.iter().map(value).collect()),
        }
    }

    fn state_hash(&self) -> StateHash {
        StateHash(self.hash)
    }

    fn view(&mut self) -> KvView {
        KvView { entries: self.entries.clone(), hash: self.hash }
    }

    fn write(view: &KvView, sink: &mut dyn Write) -> io::Result<()> {
        view::write(view, sink)
    }

    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError> {
        let KvView { entries, hash } = view::read(source)?;
        Ok(Self { entries, hash, guard: FootprintGuard::default() })
    }
}
