//! The keys frozen, written and read back.
//!
//! ```text
//! state  = format 1, keys 8, state hash 8, entry*         in the order of the keys' hashes
//! entry  = key, type 1, expires at 8, version 8, value
//! value  = bytes                                          of a string
//!        | items 8, bytes*                                of a list
//!        | members 8, ever came 8, (name, came 8, attribute)*
//! attribute = bytes of a hash's field, nothing for a set, score 8 of a sorted set
//! bytes  = length 4, so many bytes                        keys and names, too
//! ```
//! Numbers are little endian. Two stores that executed the same commands give the same bytes.

use std::io::{self, BufReader, BufWriter, Read, Write};

use bytes::Bytes;
use panchayat::RestoreError;
use panchayat::cow::CowTable;
use panchayat::stream;

use super::entry::{Entry, Hash, Set, Value};
use super::lists::List;
use super::sorted_set::SortedSet;
use super::strings::STRING_BYTES_MAX;

/// The format written, and the newest read.
const FORMAT: u8 = 1;
/// How much is gathered before it goes to the sink.
const BUFFER_BYTES: usize = 64 << 10;

/// A store as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    entries: CowTable<Entry>,
}

impl View {
    pub(super) fn new(entries: CowTable<Entry>) -> Self {
        Self { entries }
    }
}

fn hash(entries: &CowTable<Entry>) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.wrapping_add(entry.print))
}

pub(super) fn write(view: &View, sink: &mut dyn Write) -> io::Result<()> {
    let mut sink = BufWriter::with_capacity(BUFFER_BYTES, sink);
    sink.write_all(&[FORMAT])?;
    put(&mut sink, view.entries.len() as u64)?;
    put(&mut sink, hash(&view.entries))?;
    for entry in &view.entries {
        stream::put_bytes(&mut sink, &entry.key)?;
        sink.write_all(&[entry.value.tag()])?;
        put(&mut sink, entry.expires_at)?;
        put(&mut sink, entry.version)?;
        write_value(&mut sink, &entry.value)?;
    }
    sink.flush()
}

fn put(sink: &mut dyn Write, number: u64) -> io::Result<()> {
    sink.write_all(&number.to_le_bytes())
}

fn write_value(sink: &mut dyn Write, value: &Value) -> io::Result<()> {
    let head = |sink: &mut dyn Write, len: usize, came: u64| {
        put(sink, len as u64)?;
        put(sink, came)
    };
    match value {
        Value::String(bytes) => stream::put_bytes(sink, bytes),
        Value::List(list) => {
            put(sink, list.items().len() as u64)?;
            list.items().iter().try_for_each(|item| stream::put_bytes(sink, item))
        }
        Value::Hash(hash) => {
            head(sink, hash.len(), hash.came())?;
            hash.rows().try_for_each(|(name, value, came)| {
                stream::put_bytes(sink, name)?;
                put(sink, came)?;
                stream::put_bytes(sink, value)
            })
        }
        Value::Set(set) => {
            head(sink, set.len(), set.came())?;
            set.rows().try_for_each(|(name, (), came)| {
                stream::put_bytes(sink, name)?;
                put(sink, came)
            })
        }
        Value::SortedSet(sorted) => {
            head(sink, sorted.len(), sorted.scores().came())?;
            sorted.scores().rows().try_for_each(|(name, score, came)| {
                stream::put_bytes(sink, name)?;
                put(sink, came)?;
                put(sink, score.to_bits())
            })
        }
    }
}

pub(super) fn read(source: &mut dyn Read) -> Result<CowTable<Entry>, RestoreError> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let [format] = stream::array(&mut source)?;
    if format != FORMAT {
        return Err(RestoreError::Version { found: format, newest: FORMAT });
    }
    let (count, expected) = (stream::u64(&mut source)?, stream::u64(&mut source)?);
    let mut entries = CowTable::default();
    for _ in 0..count {
        let key = bytes(&mut source)?;
        let [tag] = stream::array(&mut source)?;
        let (expires_at, version) = (stream::u64(&mut source)?, stream::u64(&mut source)?);
        let value = read_value(&mut source, tag)?;
        let mut entry = Entry { key, value, expires_at, version, print: 0 };
        entry.print = entry.compute_print();
        if entry.value.is_empty() {
            return Err(RestoreError::Malformed("a key holds nothing"));
        }
        if entries.insert(entry).is_some() {
            return Err(RestoreError::Malformed("a key comes twice"));
        }
    }
    stream::ended(&mut source)?;
    if hash(&entries) != expected {
        return Err(RestoreError::Malformed("the keys do not have the hash they should have"));
    }
    Ok(entries)
}

fn bytes(source: &mut dyn Read) -> Result<Bytes, RestoreError> {
    Ok(stream::bytes(source, "a string is too long", STRING_BYTES_MAX)?.into())
}

fn read_value(source: &mut dyn Read, tag: u8) -> Result<Value, RestoreError> {
    let check = |fits: bool| match fits {
        true => Ok(()),
        false => Err(RestoreError::Malformed("the members of a collection do not fit together")),
    };
    if tag == 0 {
        return Ok(Value::String(bytes(source)?));
    }
    let count = stream::u64(source)?;
    if tag == 2 {
        let mut list = List::default();
        for _ in 0..count {
            list.restored(bytes(source)?);
        }
        return Ok(Value::List(list.into()));
    }
    let ever = stream::u64(source)?;
    match tag {
        1 => {
            let mut hash = Hash::default();
            for _ in 0..count {
                let (name, came) = (bytes(source)?, stream::u64(source)?);
                check(hash.restored(name, bytes(source)?, came))?;
            }
            check(hash.set_came(ever))?;
            Ok(Value::Hash(hash.into()))
        }
        3 => {
            let mut set = Set::default();
            for _ in 0..count {
                let (name, came) = (bytes(source)?, stream::u64(source)?);
                check(set.restored(name, (), came))?;
            }
            check(set.set_came(ever))?;
            Ok(Value::Set(set.into()))
        }
        4 => {
            let mut sorted = SortedSet::default();
            for _ in 0..count {
                let (name, came) = (bytes(source)?, stream::u64(source)?);
                check(sorted.restored(name, f64::from_bits(stream::u64(source)?), came))?;
            }
            check(sorted.set_came(ever))?;
            Ok(Value::SortedSet(sorted.into()))
        }
        _ => Err(RestoreError::Malformed("a value of a type that this version does not know")),
    }
}
