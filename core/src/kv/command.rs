//! Commands and outputs of the key-value store, and their encodings.

use bytes::Bytes;
use panchayat_consensus::Mode;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 16;
/// Longest value one operation may carry, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// Most conditions, and most operations, of one transaction.
pub const OPS_MAX: usize = 1 << 12;

/// One operation on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOp {
    /// Reads the value.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Sets the value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Appends to the value; an absent one counts as empty.
    Append {
        /// The key.
        key: Bytes,
        /// What to append.
        suffix: Bytes,
    },
    /// Removes the key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets or removes the value if it is `expected`; otherwise changes nothing.
    CompareAndSet {
        /// The key.
        key: Bytes,
        /// The value it must have; `None` for absent.
        expected: Option<Bytes>,
        /// Its new value; `None` removes it.
        new: Option<Bytes>,
    },
    /// Adds to a number, and answers nothing of it: any number of these on one key commute, so they
    /// need not be ordered, however many are in flight. The value is a decimal `i64`; whatever is
    /// none counts as 0, and sums wrap around.
    Add {
        /// The key.
        key: Bytes,
        /// What to add; may be negative.
        amount: i64,
    },
    /// value := H(old value, instance id, salt): any reordering of two of them changes the state
    /// hash. For experiments and tests.
    Mix {
        /// The key.
        key: Bytes,
        /// Padding of the wanted size; it enters the hash.
        salt: Bytes,
    },
}

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key has this value.
    Is {
        /// The key.
        key: Bytes,
        /// The value it must have; `None` for absent.
        expected: Option<Bytes>,
    },
    /// The key's number, as [`KvOp::Add`] understands it, is not smaller than this: no overdraft.
    AtLeast {
        /// The key.
        key: Bytes,
        /// The smallest number that will do.
        least: i64,
    },
}

/// A command of the key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvCommand {
    /// A single operation.
    One(KvOp),
    /// All operations if all conditions hold, in order; otherwise none.
    Transaction {
        /// What must hold.
        conditions: Vec<Condition>,
        /// What is then done.
        ops: Vec<KvOp>,
    },
}

/// A value, or its absence.
pub type KvValue = Option<Bytes>;

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOutput {
    /// The value read by `Get`, or left behind by `Append` and `Mix`.
    Value(KvValue),
    /// Done.
    Done,
    /// Whether `CompareAndSet` applied, and the value it found.
    Compared {
        /// Whether the value was the expected one.
        applied: bool,
        /// The value found.
        found: KvValue,
    },
    /// The transaction was applied; one output an operation.
    Committed(Vec<KvOutput>),
    /// The transaction was not applied: the condition with this index did not hold.
    ConditionFailed {
        /// Which condition.
        index: u32,
        /// The value found instead.
        found: KvValue,
    },
    /// The operation would have made a value larger than the limit; it changed nothing.
    TooLarge,
}

impl Condition {
    /// The key it looks at.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Is { key, .. } | Self::AtLeast { key, .. } => key,
        }
    }
}

impl KvOp {
    /// The key it touches.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Append { key, .. }
            | Self::Delete { key }
            | Self::CompareAndSet { key, .. }
            | Self::Add { key, .. }
            | Self::Mix { key, .. } => key,
        }
    }

    /// How it touches its key.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Get { .. } => Mode::Read,
            Self::Add { .. } => Mode::Commute,
            _ => Mode::Write,
        }
    }
}

pub(super) fn put_value(out: &mut Writer, value: &KvValue) {
    match value {
        None => out.put_u8(0),
        Some(value) => {
            out.put_u8(1);
            out.put_bytes(value);
        }
    }
}

pub(super) fn value(input: &mut Reader) -> Result<KvValue, DecodeError> {
    let tag = input.u8()?;
    tagged_value(input, tag)
}

fn tagged_value(input: &mut Reader, tag: u8) -> Result<KvValue, DecodeError> {
    match tag {
        0 => Ok(None),
        1 => bounded(input, "value", VALUE_BYTES_MAX).map(Some),
        tag => Err(DecodeError::UnknownTag { what: "value", tag }),
    }
}

pub(super) fn bounded(
    input: &mut Reader,
    what: &'static str,
    max: usize,
) -> Result<Bytes, DecodeError> {
    let bytes = input.bytes()?;
    if bytes.len() > max { Err(DecodeError::OutOfRange(what)) } else { Ok(bytes) }
}

impl Encode for KvOp {
    fn encode(&self, out: &mut Writer) {
        let tag = match self {
            Self::Get { .. } => 0,
            Self::Put { .. } => 1,
            Self::Append { .. } => 2,
            Self::Delete { .. } => 3,
            Self::CompareAndSet { .. } => 4,
            Self::Mix { .. } => 5,
            Self::Add { .. } => 6,
        };
        out.put_u8(tag);
        out.put_bytes(self.key());
        match self {
            Self::Get { .. } | Self::Delete { .. } => {}
            Self::Put { value: bytes, .. }
            | Self::Append { suffix: bytes, .. }
            | Self::Mix { salt: bytes, .. } => out.put_bytes(bytes),
            Self::CompareAndSet { expected, new, .. } => {
                put_value(out, expected);
                put_value(out, new);
            }
            Self::Add { amount, .. } => out.put_u64(*amount as u64),
        }
    }
}

impl Decode for KvOp {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let key = bounded(input, "key", KEY_BYTES_MAX)?;
        match tag {
            0 => Ok(Self::Get { key }),
            1 => Ok(Self::Put { key, value: bounded(input, "value", VALUE_BYTES_MAX)? }),
            2 => Ok(Self::Append { key, suffix: bounded(input, "suffix", VALUE_BYTES_MAX)? }),
            3 => Ok(Self::Delete { key }),
            4 => Ok(Self::CompareAndSet { key, expected: value(input)?, new: value(input)? }),
            5 => Ok(Self::Mix { key, salt: bounded(input, "salt", VALUE_BYTES_MAX)? }),
            6 => Ok(Self::Add { key, amount: input.u64()? as i64 }),
            tag => Err(DecodeError::UnknownTag { what: "operation", tag }),
        }
    }
}

/// The tag of [`Condition::AtLeast`], where that of a value would be.
const AT_LEAST: u8 = 2;

impl Encode for Condition {
    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self.key());
        match self {
            Self::Is { expected, .. } => put_value(out, expected),
            Self::AtLeast { least, .. } => {
                out.put_u8(AT_LEAST);
                out.put_u64(*least as u64);
            }
        }
    }
}

impl Decode for Condition {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let key = bounded(input, "key", KEY_BYTES_MAX)?;
        match input.u8()? {
            AT_LEAST => Ok(Self::AtLeast { key, least: input.u64()? as i64 }),
            tag => Ok(Self::Is { key, expected: tagged_value(input, tag)? }),
        }
    }
}

impl Encode for KvCommand {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::One(op) => {
                out.put_u8(0);
                op.encode(out);
            }
            Self::Transaction { conditions, ops } => {
                out.put_u8(1);
                out.put_varint(conditions.len() as u64);
                for condition in conditions {
                    condition.encode(out);
                }
                out.put_varint(ops.len() as u64);
                for op in ops {
                    op.encode(out);
                }
            }
        }
    }
}

impl Decode for KvCommand {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => KvOp::decode(input).map(Self::One),
            1 => {
                let count = input.count("conditions", 2, OPS_MAX)?;
                let mut conditions = Vec::with_capacity(count);
                for _ in 0..count {
                    conditions.push(Condition::decode(input)?);
                }
                let count = input.count("operations", 2, OPS_MAX)?;
                let mut ops = Vec::with_capacity(count);
                for _ in 0..count {
                    ops.push(KvOp::decode(input)?);
                }
                Ok(Self::Transaction { conditions, ops })
            }
            tag => Err(DecodeError::UnknownTag { what: "command", tag }),
        }
    }
}

impl Encode for KvOutput {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Value(value) => {
                out.put_u8(0);
                put_value(out, value);
            }
            Self::Done => out.put_u8(1),
            Self::Compared { applied, found } => {
                out.put_u8(2);
                out.put_u8(u8::from(*applied));
                put_value(out, found);
            }
            Self::Committed(outputs) => {
                out.put_u8(3);
                out.put_varint(outputs.len() as u64);
                for output in outputs {
                    output.encode(out);
                }
            }
            Self::ConditionFailed { index, found } => {
                out.put_u8(4);
                out.put_u32(*index);
                put_value(out, found);
            }
            Self::TooLarge => out.put_u8(5),
        }
    }
}

impl Decode for KvOutput {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        if let Some(simple) = simple_output(input)? {
            return Ok(simple);
        }
        let count = input.count("outputs", 1, OPS_MAX)?;
        let mut outputs = Vec::with_capacity(count);
        for _ in 0..count {
            // Outputs of a transaction's operations are never transactions themselves, so a
            // hostile encoding cannot nest without end.
            let output = simple_output(input)?.ok_or(DecodeError::OutOfRange("nested output"))?;
            outputs.push(output);
        }
        Ok(Self::Committed(outputs))
    }
}

/// One output, or `None` after the tag of [`KvOutput::Committed`].
fn simple_output(input: &mut Reader) -> Result<Option<KvOutput>, DecodeError> {
    Ok(Some(match input.u8()? {
        0 => KvOutput::Value(value(input)?),
        1 => KvOutput::Done,
        2 => KvOutput::Compared { applied: input.u8()? != 0, found: value(input)? },
        3 => return Ok(None),
        4 => KvOutput::ConditionFailed { index: input.u32()?, found: value(input)? },
        5 => KvOutput::TooLarge,
        tag => return Err(DecodeError::UnknownTag { what: "output", tag }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::wire::{from_bytes, to_bytes};

    fn key() -> Bytes {
        Bytes::from_static(b"k")
    }

    fn every_op() -> Vec<KvOp> {
        let value = Bytes::from_static(b"v");
        vec![
            KvOp::Get { key: key() },
            KvOp::Put { key: key(), value: value.clone() },
            KvOp::Append { key: key(), suffix: value.clone() },
            KvOp::Delete { key: key() },
            KvOp::CompareAndSet { key: key(), expected: None, new: Some(value.clone()) },
            KvOp::Mix { key: key(), salt: value },
            KvOp::Add { key: key(), amount: -7 },
        ]
    }

    #[test]
    fn commands_come_back() {
        let transaction = KvCommand::Transaction {
            conditions: vec![
                Condition::Is { key: key(), expected: Some(Bytes::new()) },
                Condition::Is { key: key(), expected: None },
                Condition::AtLeast { key: key(), least: i64::MIN },
            ],
            ops: every_op(),
        };
        for command in every_op().into_iter().map(KvCommand::One).chain([transaction]) {
            assert_eq!(from_bytes::<KvCommand>(to_bytes(&command)), Ok(command));
        }
    }

    #[test]
    fn outputs_come_back_and_do_not_nest() {
        let found = Some(Bytes::from_static(b"v"));
        let flat = vec![
            KvOutput::Value(None),
            KvOutput::Done,
            KvOutput::Compared { applied: true, found: found.clone() },
            KvOutput::ConditionFailed { index: 3, found },
            KvOutput::TooLarge,
        ];
        let committed = KvOutput::Committed(flat.clone());
        for output in flat.into_iter().chain([committed.clone()]) {
            assert_eq!(from_bytes::<KvOutput>(to_bytes(&output)), Ok(output));
        }
        let nested = to_bytes(&KvOutput::Committed(vec![committed]));
        assert_eq!(from_bytes::<KvOutput>(nested), Err(DecodeError::OutOfRange("nested output")));
    }
}
