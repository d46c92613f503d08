//! The wire form of replies, for callers that are not in the replica's process.

use std::borrow::Cow;

use panchayat::wire::{Decode, DecodeError, Encode, Reader, Writer};

use super::reply::Reply;

/// Arrays within arrays: `EXEC` over a command whose reply has pairs takes four.
const DEPTH_MAX: usize = 8;
/// Most replies of an array.
const REPLIES_MAX: usize = 1 << 31;

impl Encode for Reply {
    fn encode(&self, out: &mut Writer) {
        let list = |out: &mut Writer, tag, items: &[Self]| {
            out.put_u8(tag);
            out.put_varint(items.len() as u64);
            items.iter().for_each(|item| item.encode(out));
        };
        let pairs = |out: &mut Writer, tag, items: &[(Self, Self)]| {
            out.put_u8(tag);
            out.put_varint(items.len() as u64);
            for (left, right) in items {
                left.encode(out);
                right.encode(out);
            }
        };
        let bytes = |out: &mut Writer, tag, bytes: &[u8]| {
            out.put_u8(tag);
            out.put_bytes(bytes);
        };
        match self {
            Self::Simple(text) => bytes(out, 0, text.as_bytes()),
            Self::Error(text) => bytes(out, 1, text.as_bytes()),
            Self::Integer(value) => {
                out.put_u8(2);
                out.put_u64(*value as u64);
            }
            Self::Bulk(value) => bytes(out, 3, value),
            Self::Null => out.put_u8(4),
            Self::NullArray => out.put_u8(5),
            Self::Double(value) => {
                out.put_u8(6);
                out.put_u64(value.to_bits());
            }
            Self::Array(items) => list(out, 7, items),
            Self::Set(items) => list(out, 8, items),
            Self::Map(items) => pairs(out, 9, items),
            Self::Pairs(items) => pairs(out, 10, items),
            Self::Text(text) => bytes(out, 11, text),
        }
    }
}

impl Decode for Reply {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        decode(input, DEPTH_MAX)
    }
}

fn decode(input: &mut Reader, depth: usize) -> Result<Reply, DecodeError> {
    let deeper = depth.checked_sub(1).ok_or(DecodeError::OutOfRange("reply depth"));
    Ok(match input.u8()? {
        0 => Reply::Simple(text(input)?),
        1 => Reply::Error(text(input)?),
        2 => Reply::Integer(input.u64()? as i64),
        3 => Reply::Bulk(input.bytes()?),
        4 => Reply::Null,
        5 => Reply::NullArray,
        6 => Reply::Double(f64::from_bits(input.u64()?)),
        7 => Reply::Array(list(input, deeper?)?),
        8 => Reply::Set(list(input, deeper?)?),
        9 => Reply::Map(pairs(input, deeper?)?),
        10 => Reply::Pairs(pairs(input, deeper?)?),
        11 => Reply::Text(input.bytes()?),
        tag => return Err(DecodeError::UnknownTag { what: "reply", tag }),
    })
}

fn text(input: &mut Reader) -> Result<Cow<'static, str>, DecodeError> {
    let bytes = input.bytes()?.to_vec();
    let text = String::from_utf8(bytes).map_err(|_| DecodeError::OutOfRange("text of a reply"))?;
    Ok(Cow::Owned(text))
}

fn list(input: &mut Reader, depth: usize) -> Result<Vec<Reply>, DecodeError> {
    let count = input.count("replies", 1, REPLIES_MAX)?;
    (0..count).map(|_| decode(input, depth)).collect()
}

fn pairs(input: &mut Reader, depth: usize) -> Result<Vec<(Reply, Reply)>, DecodeError> {
    let count = input.count("replies", 2, REPLIES_MAX)?;
    (0..count).map(|_| Ok((decode(input, depth)?, decode(input, depth)?))).collect()
}

#[cfg(test)]
mod tests {
    use panchayat::wire::{from_bytes, to_bytes};

    use super::*;

    #[test]
    fn every_kind_comes_back_and_depth_is_bounded() {
        let reply = Reply::Array(vec![
            Reply::OK,
            Reply::error("ERR x"),
            Reply::Integer(-1),
            Reply::bulk("a\r\n"),
            Reply::Null,
            Reply::NullArray,
            Reply::Double(0.5),
            Reply::Set(vec![Reply::ONE]),
            Reply::Map(vec![(Reply::ZERO, Reply::Pairs(vec![(Reply::Null, Reply::ONE)]))]),
            Reply::Text("t".into()),
        ]);
        assert_eq!(from_bytes::<Reply>(to_bytes(&reply)).unwrap(), reply);
        let deep = (0..DEPTH_MAX + 1).fold(Reply::Null, |inner, _| Reply::Array(vec![inner]));
        assert!(from_bytes::<Reply>(to_bytes(&deep)).is_err());
    }
}
