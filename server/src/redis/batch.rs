//! What is replicated: Redis commands that execute together.

use bytes::Bytes;
use panchayat::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat::{Footprint, KeyHash, Mode};

use super::spec::{Keys, Spec};
use super::table;

/// The format of the encoding.
const FORMAT: u8 = 1;
/// Most arguments of a command, and most commands of a batch: what memory holds bounds them.
const COUNT_MAX: usize = 1 << 24;
/// A batch of more keys conflicts with everything instead: each key costs every replica an entry.
const KEYS_MAX: usize = 1 << 12;

/// A command with its arguments, whose number is one that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) spec: &'static Spec,
    pub(crate) args: Vec<Bytes>,
}

/// What must hold, or nothing is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The key has this version: it was not changed since. 0 for "there is no such key".
    Version { key: Bytes, version: u64 },
    /// The key has this string, or does not exist.
    Is { key: Bytes, expected: Option<Bytes> },
}

/// Commands that execute one after the other with nothing between them, if all guards hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) guards: Vec<Guard>,
    pub(crate) calls: Vec<Call>,
}

impl Call {
    /// A call of `spec`, unless it does not take so many arguments.
    pub(crate) fn new(spec: &'static Spec, args: Vec<Bytes>) -> Option<Self> {
        spec.takes(args.len()).then_some(Self { spec, args })
    }

    /// The keys it names.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.spec.keys(&self.args)
    }

    /// Bytes of its arguments, and what each takes beside them.
    pub(crate) fn cost(&self) -> usize {
        self.args.iter().map(|arg| arg.len() + 16).sum::<usize>() + 16
    }
}

impl Guard {
    pub(crate) fn key(&self) -> &Bytes {
        match self {
            Self::Version { key, .. } | Self::Is { key, .. } => key,
        }
    }
}

/// What guards and calls touch, all of it in one mode; everything, if one of them says so.
pub(super) fn footprint(guards: &[Guard], calls: &[Call], mode: Mode) -> Footprint {
    let guarded = guards.iter().map(Guard::key);
    let keys = guarded.chain(calls.iter().flat_map(Call::keys));
    let everything = calls.iter().any(|call| call.spec.keys == Keys::Everything);
    if everything || keys.clone().take(KEYS_MAX + 1).count() > KEYS_MAX {
        return Footprint::barrier();
    }
    Footprint::new(keys.map(|key| (KeyHash::of(key), mode)))
}

impl Encode for Call {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(self.spec.id);
        out.put_varint(self.args.len() as u64);
        self.args.iter().for_each(|arg| out.put_bytes(arg));
    }
}

impl Decode for Call {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let spec = table::by_id(tag).ok_or(DecodeError::UnknownTag { what: "command", tag })?;
        let count = input.count("arguments", 1, COUNT_MAX)?;
        let args = (0..count).map(|_| input.bytes()).collect::<Result<_, _>>()?;
        Self::new(spec, args).ok_or(DecodeError::OutOfRange("number of arguments"))
    }
}

impl Encode for Guard {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Version { key, version } => {
                out.put_u8(0);
                out.put_bytes(key);
                out.put_u64(*version);
            }
            Self::Is { key, expected: None } => {
                out.put_u8(1);
                out.put_bytes(key);
            }
            Self::Is { key, expected: Some(expected) } => {
                out.put_u8(2);
                out.put_bytes(key);
                out.put_bytes(expected);
            }
        }
    }
}

impl Decode for Guard {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let key = input.bytes()?;
        Ok(match tag {
            0 => Self::Version { key, version: input.u64()? },
            1 => Self::Is { key, expected: None },
            2 => Self::Is { key, expected: Some(input.bytes()?) },
            tag => return Err(DecodeError::UnknownTag { what: "guard", tag }),
        })
    }
}

pub(super) fn encode_all<T: Encode>(items: &[T], out: &mut Writer) {
    out.put_varint(items.len() as u64);
    items.iter().for_each(|item| item.encode(out));
}

pub(super) fn decode_all<T: Decode>(input: &mut Reader) -> Result<Vec<T>, DecodeError> {
    let count = input.count("parts of a batch", 1, COUNT_MAX)?;
    (0..count).map(|_| T::decode(input)).collect()
}

impl Encode for Batch {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(FORMAT);
        encode_all(&self.guards, out);
        encode_all(&self.calls, out);
    }
}

impl Decode for Batch {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            FORMAT => {}
            tag => return Err(DecodeError::UnknownTag { what: "format of a batch", tag }),
        }
        Ok(Self { guards: decode_all(input)?, calls: decode_all(input)? })
    }
}
