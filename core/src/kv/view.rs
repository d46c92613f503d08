//! The store frozen, written and read back.
//!
//! ```text
//! state = format 1, keys 8, state hash 8, entry*
//! entry = length 4, key, length 4, value       in the order of the keys' hashes
//! ```
//! Two stores with the same entries give the same bytes.

use std::io::{self, BufReader, BufWriter, Read, Write};

use super::command::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::row::Entry;
use crate::cow::{CowTable, Row};
use crate::state_machine::{RestoreError, StateHash};
use crate::stream;

/// The format written, and the newest read.
const FORMAT: u8 = 1;
/// How much is gathered before it goes to the sink.
const BUFFER_BYTES: usize = 64 << 10;

/// A [`KvStore`](super::KvStore) as it was at one moment.
#[derive(Clone, Debug)]
pub struct KvView {
    pub(super) entries: CowTable<Entry>,
    pub(super) hash: u64,
}

impl KvView {
    /// How many keys there were.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there was no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value that `key` had.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Entry::value)
    }

    /// The fingerprint of the frozen state.
    pub fn state_hash(&self) -> StateHash {
        StateHash(self.hash)
    }
}

pub(super) fn write(view: &KvView, sink: &mut dyn Write) -> io::Result<()> {
    let mut sink = BufWriter::with_capacity(BUFFER_BYTES, sink);
    sink.write_all(&[FORMAT])?;
    sink.write_all(&(view.entries.len() as u64).to_le_bytes())?;
    sink.write_all(&view.hash.to_le_bytes())?;
    for entry in &view.entries {
        stream::put_bytes(&mut sink, entry.key())?;
        stream::put_bytes(&mut sink, entry.value())?;
    }
    sink.flush()
}

pub(super) fn read(source: &mut dyn Read) -> Result<KvView, RestoreError> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let [format] = stream::array(&mut source)?;
    if format != FORMAT {
        return Err(RestoreError::Version { found: format, newest: FORMAT });
    }
    let count = stream::u64(&mut source)?;
    let expected = stream::u64(&mut source)?;
    let (mut entries, mut hash) = (CowTable::default(), 0u64);
    for _ in 0..count {
        let key = stream::bytes(&mut source, "a key is too long", KEY_BYTES_MAX)?;
        let value = stream::bytes(&mut source, "a value is too long", VALUE_BYTES_MAX)?;
        let entry = Entry::new(&key, &value);
        hash = hash.wrapping_add(entry.print());
        if entries.insert(entry).is_some() {
            return Err(RestoreError::Malformed("a key comes twice"));
        }
    }
    stream::ended(&mut source)?;
    if hash != expected {
        return Err(RestoreError::Malformed("the entries do not have the hash they should have"));
    }
    Ok(KvView { entries, hash })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use panchayat_consensus::{InstanceId, ReplicaId, WallTime};

    use super::super::{KvCommand, KvOp, KvStore};
    use super::*;
    use crate::state_machine::{ApplyContext, StateMachine};

    fn put(store: &mut KvStore, key: u64, value: &[u8]) {
        let context =
            ApplyContext { id: InstanceId::new(ReplicaId(0), key + 1), proposed_at: WallTime(0) };
        let key = Bytes::from(format!("key {key}"));
        store.apply(
            &context,
            KvCommand::One(KvOp::Put { key, value: Bytes::copy_from_slice(value) }),
        );
    }

    fn written(view: &KvView) -> Vec<u8> {
        let mut bytes = Vec::new();
        KvStore::write(view, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_view_is_written_while_the_store_goes_on() {
        let mut store = KvStore::default();
        (0..20_000).for_each(|key| put(&mut store, key, b"before"));
        let (view, hash) = (store.view(), store.state_hash());
        let writer = std::thread::spawn(move || written(&view));
        (10_000..30_000).for_each(|key| put(&mut store, key, b"after"));
        let bytes = writer.join().unwrap();
        let restored = KvStore::restore(&mut &bytes[..]).unwrap();
        assert_eq!(restored.state_hash(), hash);
        assert_eq!((restored.len(), restored.get(b"key 15000")), (20_000, Some(&b"before"[..])));
        assert_eq!((store.len(), store.get(b"key 15000")), (30_000, Some(&b"after"[..])));
    }

    #[test]
    fn equal_stores_write_equal_bytes_and_an_empty_one_comes_back() {
        let (mut up, mut down) = (KvStore::default(), KvStore::default());
        (0..500).for_each(|key| put(&mut up, key, b"v"));
        (0..500).rev().for_each(|key| put(&mut down, key, b"v"));
        assert_eq!(written(&up.view()), written(&down.view()));
        let empty = written(&KvStore::default().view());
        assert!(KvStore::restore(&mut &empty[..]).unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_or_changed_anywhere_is_refused() {
        let mut store = KvStore::default();
        (0..3).for_each(|key| put(&mut store, key, b"value"));
        let bytes = written(&store.view());
        for at in 0..bytes.len() {
            assert!(KvStore::restore(&mut &bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(KvStore::restore(&mut &changed[..]).is_err(), "changed at {at}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(KvStore::restore(&mut &longer[..]).is_err());
    }
}
