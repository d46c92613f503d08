//! The codec of messages and journal records: little-endian integers, LEB128 varints, tags.
//!
//! Small and our own so that payloads are sliced out of the received frame without a copy and so
//! that hostile input costs nothing: a decoder never panics, and never allocates more than the
//! bytes it was given justify. Every length is checked against what is left before it is believed.

use bytes::Bytes;
use thiserror::Error;

/// Where encoders write.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

/// Why a decoder refused its input. None of these is ever a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("input ends inside a value")]
    Truncated,
    /// A varint does not fit 64 bits.
    #[error("varint longer than 64 bits")]
    VarintTooLong,
    /// A tag names no known variant: a newer format, or garbage.
    #[error("unknown {what} tag {tag}")]
    UnknownTag {
        /// Which tagged type.
        what: &'static str,
        /// The tag found.
        tag: u8,
    },
    /// A count or number is outside what the format allows.
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    /// Bytes remain after the value that should have been the last.
    #[error("{0} bytes left over")]
    TrailingBytes(usize),
}

/// A value with a wire form.
pub trait Encode {
    /// Appends the wire form of `self`.
    fn encode(&self, out: &mut Writer);
}

/// A value that can be read back from its wire form.
pub trait Decode: Sized {
    /// Reads one value from the front of `input`.
    ///
    /// # Errors
    /// Any [`DecodeError`]; `input` is then in an unspecified position.
    fn decode(input: &mut Reader) -> Result<Self, DecodeError>;
}

/// Encodes one value on its own.
pub fn to_bytes(value: &impl Encode) -> Bytes {
    let mut out = Writer::default();
    value.encode(&mut out);
    out.finish()
}

/// Decodes exactly one value from `bytes`.
///
/// # Errors
/// Any [`DecodeError`], and [`DecodeError::TrailingBytes`] if something follows the value.
pub fn from_bytes<T: Decode>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut input = Reader::new(bytes);
    let value = T::decode(&mut input)?;
    input.finish()?;
    Ok(value)
}

impl Writer {
    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity) }
    }

    /// One byte.
    pub fn put_u8(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// Four bytes, little endian.
    pub fn put_u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, little endian.
    pub fn put_u64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// LEB128: seven bits a byte, least significant first.
    pub fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// A length as a varint, then the bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes alone, without a length.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets what was written, keeping its memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Overwrites four bytes at `at`, for a length or checksum known only afterwards.
    pub fn set_u32(&mut self, at: usize, value: u32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes what was written, and leaves the writer empty with room for about as much again.
    pub fn take(&mut self) -> Bytes {
        let next = Vec::with_capacity(self.buffer.len());
        std::mem::replace(&mut self.buffer, next).into()
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        self.buffer.into()
    }
}

/// A cursor over received bytes.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let value = *self.bytes.get(self.at).ok_or(DecodeError::Truncated)?;
        self.at += 1;
        Ok(value)
    }

    /// Four bytes, little endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 varint.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::VarintTooLong`].
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::VarintTooLong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A count of items of which each takes at least `bytes_each` bytes, checked against what is
    /// left so that a hostile count cannot reserve memory.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] if the items cannot fit, or an error of the varint itself.
    pub fn count(
        &mut self,
        what: &'static str,
        bytes_each: usize,
        max: usize,
    ) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        let fits = self.remaining() / bytes_each.max(1);
        if count > fits as u64 || count > max as u64 {
            return Err(DecodeError::OutOfRange(what));
        }
        Ok(count as usize)
    }

    /// A length-prefixed byte string, shared with the input rather than copied.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length exceeds what is left.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.varint()?;
        if length > self.remaining() as u64 {
            return Err(DecodeError::Truncated);
        }
        self.raw(length as usize)
    }

    /// The next `length` bytes, shared with the input rather than copied.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn raw(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let bytes = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(bytes)
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`].
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let end = self.at + N;
        let slice = self.bytes.get(self.at..end).ok_or(DecodeError::Truncated)?;
        self.at = end;
        Ok(slice.try_into().expect("the slice has N bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Writer::default();
            out.put_varint(value);
            let mut input = Reader::new(out.finish());
            assert_eq!(input.varint(), Ok(value));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_varint_of_ten_bytes_must_fit_64_bits() {
        let mut too_long = vec![0xff; 9];
        too_long.push(2);
        assert_eq!(Reader::new(too_long.into()).varint(), Err(DecodeError::VarintTooLong));
        assert_eq!(Reader::new(vec![0x80; 4].into()).varint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_hostile_count_reserves_nothing() {
        let mut out = Writer::default();
        out.put_varint(u64::MAX);
        let mut input = Reader::new(out.finish());
        assert_eq!(input.count("ids", 2, 100), Err(DecodeError::OutOfRange("ids")));
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        assert_eq!(Reader::new(vec![200, 1, 7].into()).bytes(), Err(DecodeError::Truncated));
    }
}
