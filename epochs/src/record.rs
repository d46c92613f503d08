//! What the journal keeps.

use panchayat_consensus::EpochNumber;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

use crate::epoch::Opening;
use crate::message::decode_epoch;

/// A record of the protocol of some epoch.
#[derive(Clone, Debug)]
pub enum RecordBody {
    /// Of EPaxos*.
    EPaxos(panchayat_epaxos::Record),
    /// Of Multi-Paxos.
    MultiPaxos(panchayat_multipaxos::Record),
    /// Of Fast Paxos.
    FastPaxos(panchayat_fastpaxos::Record),
}

/// A record of a replica.
#[derive(Clone, Debug)]
pub enum Record {
    /// The epoch that a life begins with: the first of the group, or, in an image, the one in which it was
    /// taken.
    Opened(Box<Opening>),
    /// Another epoch has begun here. It says nothing that the seal before it does not say, or the state
    /// that was taken over; it is there for whoever reads a journal.
    Began(Box<Opening>),
    /// This replica is no member any more: it was told that this epoch began without it, and its state is of
    /// an earlier one. In images only.
    Left(Box<Opening>),
    /// A record of an epoch's protocol.
    Of {
        /// The epoch.
        epoch: EpochNumber,
        /// What its protocol wrote.
        body: RecordBody,
    },
}

impl Encode for Record {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Opened(opening) => {
                out.put_u8(3);
                opening.encode(out);
            }
            Self::Began(opening) => {
                out.put_u8(4);
                opening.encode(out);
            }
            Self::Left(opening) => {
                out.put_u8(5);
                opening.encode(out);
            }
            Self::Of { epoch, body } => {
                out.put_u8(match body {
                    RecordBody::EPaxos(_) => 0,
                    RecordBody::MultiPaxos(_) => 1,
                    RecordBody::FastPaxos(_) => 2,
                });
                out.put_varint(epoch.0);
                match body {
                    RecordBody::EPaxos(record) => record.encode(out),
                    RecordBody::MultiPaxos(record) => record.encode(out),
                    RecordBody::FastPaxos(record) => record.encode(out),
                }
            }
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        if tag == 3 {
            return Opening::decode(input).map(|opening| Self::Opened(Box::new(opening)));
        }
        if tag == 4 {
            return Opening::decode(input).map(|opening| Self::Began(Box::new(opening)));
        }
        if tag == 5 {
            return Opening::decode(input).map(|opening| Self::Left(Box::new(opening)));
        }
        let epoch = decode_epoch(input)?;
        let body = match tag {
            0 => RecordBody::EPaxos(Decode::decode(input)?),
            1 => RecordBody::MultiPaxos(Decode::decode(input)?),
            2 => RecordBody::FastPaxos(Decode::decode(input)?),
            tag => return Err(DecodeError::UnknownTag { what: "record of epochs", tag }),
        };
        Ok(Self::Of { epoch, body })
    }
}
