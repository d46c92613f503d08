//! Bytes to and from a stream: what states of any size are written with.
//!
//! For implementations of [`StateMachine::write`](crate::StateMachine::write) and `restore`. Many
//! small writes follow each other here, so wrap the sink in a [`BufWriter`](std::io::BufWriter), and
//! the source in a [`BufReader`](std::io::BufReader).

use std::io::{self, Read, Write};

use panchayat_consensus::wire::{Decode, Encode, from_bytes, to_bytes};

use crate::cow::{CowTable, Row};
use crate::state_machine::RestoreError;

/// Longest encoding of a row.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Writes how many rows a table has (8 bytes), then each with its length. Equal tables give equal
/// bytes.
///
/// # Errors
/// Those of `sink`.
pub fn put_rows<T: Row + Encode>(sink: &mut dyn Write, table: &CowTable<T>) -> io::Result<()> {
    sink.write_all(&(table.len() as u64).to_le_bytes())?;
    table.iter().try_for_each(|row| put_bytes(sink, &to_bytes(row)))
}

/// Reads what [`put_rows`] wrote.
///
/// # Errors
/// [`RestoreError`]; a key that comes twice is refused.
pub fn rows<T: Row + Decode>(source: &mut dyn Read) -> Result<CowTable<T>, RestoreError> {
    let mut table = CowTable::default();
    for _ in 0..u64(source)? {
        let row = from_bytes(bytes(source, "a row is too long", ROW_BYTES_MAX)?.into())?;
        if table.insert(row).is_some() {
            return Err(RestoreError::Malformed("a key comes twice"));
        }
    }
    Ok(table)
}

/// Writes a length (4 bytes, little endian), then the bytes.
///
/// # Errors
/// Those of `sink`, and more than 4 GiB.
pub fn put_bytes(sink: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    sink.write_all(&length.to_le_bytes())?;
    sink.write_all(bytes)
}

/// Reads what [`put_bytes`] wrote. Nothing is reserved for a length before it was checked.
///
/// # Errors
/// `what`, if there are more than `max`; those of `source`.
pub fn bytes(
    source: &mut dyn Read,
    what: &'static str,
    max: usize,
) -> Result<Vec<u8>, RestoreError> {
    let length = u32::from_le_bytes(array(source)?) as usize;
    if length > max {
        return Err(RestoreError::Malformed(what));
    }
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads `N` bytes.
///
/// # Errors
/// Those of `source`.
pub fn array<const N: usize>(source: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads eight bytes, little endian.
///
/// # Errors
/// Those of `source`.
pub fn u64(source: &mut dyn Read) -> io::Result<u64> {
    Ok(u64::from_le_bytes(array(source)?))
}

/// Checks that a source has ended.
///
/// # Errors
/// [`RestoreError::Malformed`] if it has not.
pub fn ended(source: &mut dyn Read) -> Result<(), RestoreError> {
    match source.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(RestoreError::Malformed("bytes after the end")),
    }
}
