//! Queries of the key-value store, their answers, and the encodings of both.

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

use super::command::{KEY_BYTES_MAX, KvValue, OPS_MAX, bounded, put_value, value};

/// What can be asked without changing anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvQuery {
    /// The value of one key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// The values of several keys at one moment.
    GetMany {
        /// The keys.
        keys: Vec<Bytes>,
    },
}

/// The answer to a [`KvQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvAnswer {
    /// The value of the key.
    Value(KvValue),
    /// The values of the keys, in their order.
    Values(Vec<KvValue>),
}

impl KvQuery {
    /// The keys it looks at.
    pub fn keys(&self) -> &[Bytes] {
        match self {
            Self::Get { key } => std::slice::from_ref(key),
            Self::GetMany { keys } => keys,
        }
    }
}

impl Encode for KvQuery {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Get { key } => {
                out.put_u8(0);
                out.put_bytes(key);
            }
            Self::GetMany { keys } => {
                out.put_u8(1);
                out.put_varint(keys.len() as u64);
                keys.iter().for_each(|key| out.put_bytes(key));
            }
        }
    }
}

impl Decode for KvQuery {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Get { key: bounded(input, "key", KEY_BYTES_MAX)? }),
            1 => {
                let count = input.count("keys", 1, OPS_MAX)?;
                let mut keys = Vec::with_capacity(count);
                for _ in 0..count {
                    keys.push(bounded(input, "key", KEY_BYTES_MAX)?);
                }
                Ok(Self::GetMany { keys })
            }
            tag => Err(DecodeError::UnknownTag { what: "query", tag }),
        }
    }
}

impl Encode for KvAnswer {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Value(value) => {
                out.put_u8(0);
                put_value(out, value);
            }
            Self::Values(values) => {
                out.put_u8(1);
                out.put_varint(values.len() as u64);
                values.iter().for_each(|value| put_value(out, value));
            }
        }
    }
}

impl Decode for KvAnswer {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => value(input).map(Self::Value),
            1 => {
                let count = input.count("values", 1, OPS_MAX)?;
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    values.push(value(input)?);
                }
                Ok(Self::Values(values))
            }
            tag => Err(DecodeError::UnknownTag { what: "answer", tag }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::wire::{from_bytes, to_bytes};

    #[test]
    fn queries_and_answers_come_back() {
        let key = Bytes::from_static(b"k");
        for query in [KvQuery::Get { key: key.clone() }, KvQuery::GetMany { keys: vec![key; 3] }] {
            assert_eq!(from_bytes::<KvQuery>(to_bytes(&query)), Ok(query));
        }
        let some = Some(Bytes::from_static(b"v"));
        for answer in [KvAnswer::Value(some.clone()), KvAnswer::Values(vec![None, some])] {
            assert_eq!(from_bytes::<KvAnswer>(to_bytes(&answer)), Ok(answer));
        }
        assert!(from_bytes::<KvQuery>(Bytes::from_static(&[2])).is_err());
        assert!(from_bytes::<KvAnswer>(Bytes::from_static(&[2])).is_err());
    }
}
