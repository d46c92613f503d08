//! What a replica that needs a state asks a peer, and the first word of the answer.
//!
//! ```text
//! request = format 1, group 4, epoch 8, ask
//! ask     = 0 | 1, transfer, offset (varint) | 2 | 3
//!           give me a state | go on with that one | keep what I need, I am not done yet
//!           | give me a state, I have none at all
//! head    = length u16 LE, then 0 (not ready, ask again) | 1 (kept) | 2, transfer, offset
//! transfer = epoch 8, number (varint), bytes (varint), checksum 16
//! ```
//! After a head that names a transfer come the bytes of its file, from the offset on.

use bytes::{Buf, Bytes, BytesMut};
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer, to_bytes};
use panchayat_consensus::{EpochNumber, GroupId};
use panchayat_storage::TransferId;

use crate::driver::Address;

/// Of the layout above.
const FORMAT: u8 = 1;
/// Longer than any head.
const HEAD_BYTES_MAX: usize = 128;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A state.
    State,
    /// The same, by a node that joins: it has promised nothing to anybody.
    Join,
    /// The rest of this one, from this offset on; or another from its beginning.
    Rest(TransferId, u64),
    /// Nothing but to keep what is needed after a state.
    Keep,
}

/// A request, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateRequest {
    pub(super) address: Address,
    pub(super) ask: Ask,
}

/// The first word of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A snapshot is being written: ask again.
    Later,
    /// What is needed will be kept.
    Kept,
    /// Its bytes follow, from this offset on.
    State(TransferId, u64),
}

/// The group that a request is for, read without the rest; `None` for a stump or another format.
pub(crate) fn group_of(request: &[u8]) -> Option<GroupId> {
    let (format, rest) = request.split_first()?;
    let group = u32::from_le_bytes(*rest.first_chunk()?);
    (*format == FORMAT).then_some(GroupId(group))
}

impl Head {
    /// With its length in front.
    pub(super) fn framed(&self) -> Bytes {
        let head = to_bytes(self);
        let mut framed = BytesMut::with_capacity(2 + head.len());
        framed.extend_from_slice(&(head.len() as u16).to_le_bytes());
        framed.extend_from_slice(&head);
        framed.freeze()
    }

    /// Takes a head from the front of what has come; `None` if it is not whole yet.
    pub(super) fn unframe(come: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let Some(length) = come.first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*length));
        if length > HEAD_BYTES_MAX {
            return Err(DecodeError::UnknownTag { what: "head of a state", tag: u8::MAX });
        }
        if come.len() < 2 + length {
            return Ok(None);
        }
        come.advance(2);
        let mut input = Reader::new(come.split_to(length).freeze());
        let head = Self::decode(&mut input)?;
        input.finish()?;
        Ok(Some(head))
    }
}

impl Encode for StateRequest {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(FORMAT);
        out.put_u32(self.address.group.0);
        out.put_u64(self.address.epoch.0);
        match &self.ask {
            Ask::State => out.put_u8(0),
            Ask::Rest(id, offset) => {
                out.put_u8(1);
                put_transfer(id, out);
                out.put_varint(*offset);
            }
            Ask::Keep => out.put_u8(2),
            Ask::Join => out.put_u8(3),
        }
    }
}

impl Decode for StateRequest {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let format = input.u8()?;
        if format != FORMAT {
            return Err(DecodeError::UnknownTag { what: "format of a request", tag: format });
        }
        let address = Address { group: GroupId(input.u32()?), epoch: EpochNumber(input.u64()?) };
        let ask = match input.u8()? {
            0 => Ask::State,
            1 => Ask::Rest(transfer(input)?, input.varint()?),
            2 => Ask::Keep,
            3 => Ask::Join,
            tag => return Err(DecodeError::UnknownTag { what: "request for a state", tag }),
        };
        Ok(Self { address, ask })
    }
}

impl Encode for Head {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Later => out.put_u8(0),
            Self::Kept => out.put_u8(1),
            Self::State(id, offset) => {
                out.put_u8(2);
                put_transfer(id, out);
                out.put_varint(*offset);
            }
        }
    }
}

impl Decode for Head {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Later),
            1 => Ok(Self::Kept),
            2 => Ok(Self::State(transfer(input)?, input.varint()?)),
            tag => Err(DecodeError::UnknownTag { what: "head of a state", tag }),
        }
    }
}

fn put_transfer(id: &TransferId, out: &mut Writer) {
    out.put_u64(id.epoch.0);
    out.put_varint(id.number);
    out.put_varint(id.bytes);
    out.put_raw(&id.checksum.to_le_bytes());
}

fn transfer(input: &mut Reader) -> Result<TransferId, DecodeError> {
    let (epoch, number, bytes) = (EpochNumber(input.u64()?), input.varint()?, input.varint()?);
    let (low, high) = (u128::from(input.u64()?), u128::from(input.u64()?));
    Ok(TransferId { epoch, number, bytes, checksum: high << 64 | low })
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::wire::from_bytes;

    use super::*;

    const ID: TransferId =
        TransferId { epoch: EpochNumber(1), number: 300, bytes: 1 << 40, checksum: 1 << 99 | 5 };

    #[test]
    fn requests_and_heads_read_back_and_nothing_shorter_does() {
        let address = Address { group: GroupId(1), epoch: EpochNumber(9) };
        for ask in [Ask::State, Ask::Join, Ask::Rest(ID, 1 << 33), Ask::Keep] {
            let request = StateRequest { address, ask };
            let bytes = to_bytes(&request);
            assert_eq!(from_bytes::<StateRequest>(bytes.clone()), Ok(request));
            assert_eq!(group_of(&bytes), Some(GroupId(1)));
            for end in 0..bytes.len() {
                assert!(from_bytes::<StateRequest>(bytes.slice(..end)).is_err());
            }
        }
        for head in [Head::Later, Head::Kept, Head::State(ID, 77)] {
            let framed = head.framed();
            for end in 0..framed.len() {
                let mut come = BytesMut::from(&framed[..end]);
                assert_eq!(Head::unframe(&mut come), Ok(None));
            }
            let mut come = BytesMut::from(&framed[..]);
            come.extend_from_slice(b"data");
            assert_eq!(Head::unframe(&mut come), Ok(Some(head)));
            assert_eq!(&come[..], b"data");
        }
        assert!(Head::unframe(&mut BytesMut::from(&[0xff, 0xff, 0][..])).is_err());
        assert!(Head::unframe(&mut BytesMut::from(&[2, 0, 1, 1][..])).is_err());
    }
}
