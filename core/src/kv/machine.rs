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
use crate::state_machine::{ApplyContext, RestoreError, StateHash, StateMachine};

/// An in-memory key-value store with a state hash kept up to date on every write.
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    entries: CowTable<Entry>,
    /// The wrapping sum of the entries' hashes: the order of writes to different keys is no matter.
    hash: u64,
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

    fn read(&self, key: &[u8]) -> KvValue {
        self.get(key).map(Bytes::copy_from_slice)
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
        self.get(&condition.key) == condition.expected.as_deref()
    }

    fn run(&mut self, context: &ApplyContext, op: KvOp) -> KvOutput {
        match op {
            KvOp::Get { key } => KvOutput::Value(self.read(&key)),
            KvOp::Put { key, value } => {
                self.set(&key, Some(&value));
                KvOutput::Done
            }
            KvOp::Append { key, suffix } => {
                let old = self.get(&key).unwrap_or_default();
                if old.len() + suffix.len() > VALUE_BYTES_MAX {
                    return KvOutput::TooLarge;
                }
                let new = [old, &suffix].concat();
                self.set(&key, Some(&new));
                KvOutput::Value(Some(new.into()))
            }
            KvOp::Delete { key } => {
                self.set(&key, None);
                KvOutput::Done
            }
            KvOp::CompareAndSet { key, expected, new } => {
                let found = self.read(&key);
                let applied = found == expected;
                if applied {
                    self.set(&key, new.as_deref());
                }
                KvOutput::Compared { applied, found }
            }
            KvOp::Mix { key, salt } => {
                let old = self.get(&key).unwrap_or_default();
                let (replica, slot) = ([context.id.replica.0], context.id.slot.to_le_bytes());
                let new = xxh3_64(&[old, &replica, &slot, &salt].concat()).to_le_bytes();
                self.set(&key, Some(&new));
                KvOutput::Value(Some(Bytes::copy_from_slice(&new)))
            }
        }
    }
}

impl StateMachine for KvStore {
    type Command = KvCommand;
    type Output = KvOutput;
    type Query = KvQuery;
    type Answer = KvAnswer;
    type View = KvView;

    fn footprint(command: &KvCommand) -> Footprint {
        let key = |op: &KvOp| {
            (KeyHash::of(op.key()), if op.is_read() { Mode::Read } else { Mode::Write })
        };
        match command {
            KvCommand::One(op) => Footprint::new([key(op)]),
            KvCommand::Transaction { conditions, ops } => Footprint::new(
                conditions
                    .iter()
                    .map(|condition| (KeyHash::of(&condition.key), Mode::Read))
                    .chain(ops.iter().map(key)),
            ),
        }
    }

    fn apply(&mut self, context: &ApplyContext, command: KvCommand) -> KvOutput {
        match command {
            KvCommand::One(op) => self.run(context, op),
            KvCommand::Transaction { conditions, ops } => {
                let failed = conditions.iter().position(|condition| !self.holds(condition));
                if let Some(index) = failed {
                    let found = self.read(&conditions[index].key);
                    return KvOutput::ConditionFailed { index: index as u32, found };
                }
                KvOutput::Committed(ops.into_iter().map(|op| self.run(context, op)).collect())
            }
        }
    }

    /// A query of more keys than a command may touch conflicts with everything instead.
    fn query_footprint(query: &KvQuery) -> Footprint {
        if query.keys().len() > OPS_MAX {
            return Footprint::barrier();
        }
        Footprint::new(query.keys().iter().map(|key| (KeyHash::of(key), Mode::Read)))
    }

    fn query(&self, query: KvQuery) -> KvAnswer {
        match query {
            KvQuery::Get { key } => KvAnswer::Value(self.read(&key)),
            KvQuery::GetMany { keys } => {
                KvAnswer::Values(keys.iter().map(|key| self.read(key)).collect())
            }
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
        Ok(Self { entries, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{FOOTPRINT_KEYS_MAX, InstanceId, ReplicaId, WallTime};

    fn apply(store: &mut KvStore, slot: u64, command: KvCommand) -> KvOutput {
        let id = InstanceId::new(ReplicaId(0), slot);
        store.apply(&ApplyContext { id, proposed_at: WallTime(0) }, command)
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn put(key: &'static str, value: &'static str) -> KvCommand {
        KvCommand::One(KvOp::Put { key: bytes(key), value: bytes(value) })
    }

    fn mix(key: &'static str) -> KvCommand {
        KvCommand::One(KvOp::Mix { key: bytes(key), salt: Bytes::new() })
    }

    #[test]
    fn the_hash_ignores_the_order_of_unrelated_writes_and_sees_every_other() {
        let (mut a, mut b) = (KvStore::default(), KvStore::default());
        apply(&mut a, 1, put("x", "1"));
        apply(&mut a, 2, put("y", "2"));
        apply(&mut b, 2, put("y", "2"));
        apply(&mut b, 1, put("x", "1"));
        assert_eq!(a.state_hash(), b.state_hash());
        apply(&mut a, 3, mix("x"));
        apply(&mut a, 4, mix("x"));
        apply(&mut b, 4, mix("x"));
        apply(&mut b, 3, mix("x"));
        assert_ne!(a.state_hash(), b.state_hash());
    }

    #[test]
    fn deleting_everything_brings_back_the_empty_hash() {
        let mut store = KvStore::default();
        apply(&mut store, 1, put("x", "1"));
        apply(&mut store, 2, put("x", "2"));
        assert_ne!(store.state_hash(), StateHash::default());
        apply(&mut store, 3, KvCommand::One(KvOp::Delete { key: bytes("x") }));
        assert_eq!(store.state_hash(), StateHash::default());
        assert!(store.is_empty());
    }

    #[test]
    fn a_query_may_name_any_number_of_keys() {
        let keys = |count: usize| -> Vec<_> {
            (0..count).map(|key| Bytes::copy_from_slice(&key.to_le_bytes())).collect()
        };
        let footprint = |count| KvStore::query_footprint(&KvQuery::GetMany { keys: keys(count) });
        assert_eq!(footprint(OPS_MAX).keys().len(), OPS_MAX);
        assert!(footprint(FOOTPRINT_KEYS_MAX + 1).is_barrier());
    }

    #[test]
    fn what_is_overwritten_in_place_stays_in_an_earlier_view() {
        let mut store = KvStore::default();
        apply(&mut store, 1, put("x", "old"));
        let view = store.view();
        apply(&mut store, 2, put("x", "new"));
        let mut written = Vec::new();
        KvStore::write(&view, &mut written).unwrap();
        drop(view);
        let address = store.get(b"x").unwrap().as_ptr();
        apply(&mut store, 3, put("x", "now"));
        assert_eq!(store.get(b"x"), Some(&b"now"[..]));
        assert_eq!(store.get(b"x").unwrap().as_ptr(), address, "nobody shares it any more");
        let restored = KvStore::restore(&mut written.as_slice()).unwrap();
        assert_eq!(restored.get(b"x"), Some(&b"old"[..]));
        let mut fresh = KvStore::default();
        apply(&mut fresh, 1, put("x", "now"));
        assert_eq!(store.state_hash(), fresh.state_hash());
    }

    #[test]
    fn a_transaction_is_all_or_nothing() {
        let mut store = KvStore::default();
        apply(&mut store, 1, put("from", "10"));
        let transfer = |expected| KvCommand::Transaction {
            conditions: vec![Condition { key: bytes("from"), expected: Some(bytes(expected)) }],
            ops: vec![
                KvOp::Put { key: bytes("from"), value: bytes("3") },
                KvOp::Put { key: bytes("to"), value: bytes("7") },
            ],
        };
        assert_eq!(
            apply(&mut store, 2, transfer("9")),
            KvOutput::ConditionFailed { index: 0, found: Some(bytes("10")) }
        );
        assert_eq!(store.get(b"to"), None);
        assert_eq!(
            apply(&mut store, 3, transfer("10")),
            KvOutput::Committed(vec![KvOutput::Done, KvOutput::Done])
        );
        assert_eq!((store.get(b"from"), store.get(b"to")), (Some(&b"3"[..]), Some(&b"7"[..])));
    }

    #[test]
    fn compare_and_set_tells_what_it_found() {
        let mut store = KvStore::default();
        let cas =
            |expected, new| KvCommand::One(KvOp::CompareAndSet { key: bytes("k"), expected, new });
        assert_eq!(
            apply(&mut store, 1, cas(None, Some(bytes("a")))),
            KvOutput::Compared { applied: true, found: None }
        );
        assert_eq!(
            apply(&mut store, 2, cas(None, Some(bytes("b")))),
            KvOutput::Compared { applied: false, found: Some(bytes("a")) }
        );
        assert_eq!(
            apply(&mut store, 3, cas(Some(bytes("a")), None)),
            KvOutput::Compared { applied: true, found: Some(bytes("a")) }
        );
        assert!(store.is_empty());
    }

    #[test]
    fn append_reports_the_whole_value_and_footprints_name_every_key() {
        let mut store = KvStore::default();
        let append = || KvCommand::One(KvOp::Append { key: bytes("l"), suffix: bytes("x") });
        apply(&mut store, 1, append());
        assert_eq!(apply(&mut store, 2, append()), KvOutput::Value(Some(bytes("xx"))));
        let transaction = KvCommand::Transaction {
            conditions: vec![Condition { key: bytes("c"), expected: None }],
            ops: vec![KvOp::Get { key: bytes("g") }, KvOp::Delete { key: bytes("d") }],
        };
        let footprint = KvStore::footprint(&transaction);
        for (key, mode) in [("c", Mode::Read), ("g", Mode::Read), ("d", Mode::Write)] {
            assert!(footprint.keys().contains(&(KeyHash::of(key.as_bytes()), mode)));
        }
    }
}
