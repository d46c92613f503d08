//! Wire forms of plain types, for the commands and outputs of people's own state machines.
//!
//! Integers have their fixed width, little endian; lengths are varints. What wants to be smaller
//! says so itself, with [`Writer::put_varint`].

use bytes::Bytes;

use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Most items of a decoded vector.
const ITEMS_MAX: usize = 1 << 24;

impl Encode for u64 {
    fn encode(&self, out: &mut Writer) {
        out.put_u64(*self);
    }
}

impl Decode for u64 {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        input.u64()
    }
}

impl Encode for i64 {
    fn encode(&self, out: &mut Writer) {
        out.put_u64(*self as u64);
    }
}

impl Decode for i64 {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(input.u64()? as i64)
    }
}

impl Encode for u32 {
    fn encode(&self, out: &mut Writer) {
        out.put_u32(*self);
    }
}

impl Decode for u32 {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        input.u32()
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::UnknownTag { what: "bool", tag }),
        }
    }
}

impl Encode for Bytes {
    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self);
    }
}

impl Decode for Bytes {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        input.bytes()
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self.as_bytes());
    }
}

impl Decode for String {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        Self::from_utf8(bytes.into()).map_err(|_| DecodeError::OutOfRange("text"))
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.len() as u64);
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        // Grown item by item: a count is not worth more than the bytes behind it.
        let count = input.count("items", 1, ITEMS_MAX)?;
        (0..count).map(|_| T::decode(input)).collect()
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut Writer) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{from_bytes, to_bytes};

    fn check<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: T) {
        let bytes = to_bytes(&value);
        for cut in 0..bytes.len() {
            assert!(from_bytes::<T>(bytes.slice(..cut)).is_err(), "{value:?} cut at {cut}");
        }
        assert_eq!(from_bytes::<T>(bytes), Ok(value));
    }

    #[test]
    fn plain_values_come_back_and_stumps_are_refused() {
        check(u64::MAX);
        check((7u32, i64::MIN));
        check(vec![Some("Mumbai".to_owned()), None, Some("मुंबई".to_owned())]);
        check((true, Bytes::from_static(b"bytes")));
        assert!(from_bytes::<bool>(Bytes::from_static(&[2])).is_err());
        assert!(from_bytes::<String>(Bytes::from_static(&[1, 0xff])).is_err());
        let many = Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f]);
        assert!(from_bytes::<Vec<u64>>(many).is_err());
    }
}
