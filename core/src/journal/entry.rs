//! What a replica of a group writes into its journal: the payload of a record.
//!
//! ```text
//! entry = 0, the protocol's record | 1, snapshot number (varint)
//! ```

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// One entry of a group's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry<R> {
    /// A record of the protocol.
    Protocol(R),
    /// Here the parts of a snapshot were taken: it stands for everything before. Whether it was
    /// ever finished, the journal does not know.
    Mark {
        /// The number of the snapshot.
        snapshot: u64,
    },
}

impl<R: Encode> Encode for Entry<R> {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Protocol(record) => {
                out.put_u8(0);
                record.encode(out);
            }
            Self::Mark { snapshot } => {
                out.put_u8(1);
                out.put_varint(*snapshot);
            }
        }
    }
}

impl<R: Decode> Decode for Entry<R> {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => R::decode(input).map(Self::Protocol),
            1 => Ok(Self::Mark { snapshot: input.varint()? }),
            tag => Err(DecodeError::UnknownTag { what: "journal entry", tag }),
        }
    }
}
