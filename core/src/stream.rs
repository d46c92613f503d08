//! Bytes to and from a stream: what states of any size are written with.

use std::io::{self, Read, Write};

use crate::state_machine::RestoreError;

/// Writes a length (4 bytes, little endian), then the bytes.
pub(crate) fn put_bytes(sink: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    sink.write_all(&length.to_le_bytes())?;
    sink.write_all(bytes)
}

/// Reads what [`put_bytes`] wrote. Nothing is reserved for a length before it was checked.
pub(crate) fn bytes(
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
pub(crate) fn array<const N: usize>(source: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads eight bytes, little endian.
pub(crate) fn u64(source: &mut dyn Read) -> io::Result<u64> {
    Ok(u64::from_le_bytes(array(source)?))
}

/// Checks that a source has ended.
pub(crate) fn ended(source: &mut dyn Read) -> Result<(), RestoreError> {
    match source.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(RestoreError::Malformed("bytes after the end")),
    }
}
