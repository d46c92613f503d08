//! What replicas say to each other.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{EpochNumber, ReplicaSet};

use crate::adaptive::Report;
use crate::epoch::{EPOCH_MAX, Opening};

/// A message of the protocol of some epoch.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Body {
    /// Of EPaxos*.
    EPaxos(panchayat_epaxos::Message),
    /// Of Multi-Paxos.
    MultiPaxos(panchayat_multipaxos::Message),
    /// Of Fast Paxos.
    FastPaxos(panchayat_fastpaxos::Message),
}

/// What replicas of a group say to each other.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Message {
    /// Something of an epoch's protocol.
    Of {
        /// The epoch.
        epoch: EpochNumber,
        /// What its protocol says.
        body: Body,
    },
    /// The sender has executed every seal up to this epoch, durably. A member votes in it.
    Reached {
        /// The epoch.
        epoch: EpochNumber,
    },
    /// What the sender saw of its clients' commands lately. In watched epochs only.
    Report {
        /// The epoch.
        epoch: EpochNumber,
        /// What it saw.
        report: Report,
    },
    /// What the receiver said is of an epoch that is over. This is the current one, as far as the sender
    /// knows.
    Current {
        /// The epoch.
        opening: Box<Opening>,
        /// Who of its members has reached it.
        reached: ReplicaSet,
    },
}

pub(crate) fn decode_epoch(input: &mut Reader) -> Result<EpochNumber, DecodeError> {
    match input.varint()? {
        number @ 1..=EPOCH_MAX => Ok(EpochNumber(number)),
        _ => Err(DecodeError::OutOfRange("epoch")),
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        let of = |tag: u8, epoch: &EpochNumber, out: &mut Writer| {
            out.put_u8(tag);
            out.put_varint(epoch.0);
        };
        match self {
            Self::Of { epoch, body: Body::EPaxos(message) } => {
                of(0, epoch, out);
                message.encode(out);
            }
            Self::Of { epoch, body: Body::MultiPaxos(message) } => {
                of(1, epoch, out);
                message.encode(out);
            }
            Self::Of { epoch, body: Body::FastPaxos(message) } => {
                of(2, epoch, out);
                message.encode(out);
            }
            Self::Reached { epoch } => of(3, epoch, out),
            Self::Report { epoch, report } => {
                of(5, epoch, out);
                report.encode(out);
            }
            Self::Current { opening, reached } => {
                out.put_u8(4);
                opening.encode(out);
                reached.encode(out);
            }
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        if tag == 4 {
            let opening = Box::new(Opening::decode(input)?);
            return Ok(Self::Current { opening, reached: ReplicaSet::decode(input)? });
        }
        if tag > 5 {
            return Err(DecodeError::UnknownTag { what: "message of epochs", tag });
        }
        let epoch = decode_epoch(input)?;
        let body = match tag {
            0 => Body::EPaxos(Decode::decode(input)?),
            1 => Body::MultiPaxos(Decode::decode(input)?),
            2 => Body::FastPaxos(Decode::decode(input)?),
            5 => return Ok(Self::Report { epoch, report: Report::decode(input)? }),
            _ => return Ok(Self::Reached { epoch }),
        };
        Ok(Self::Of { epoch, body })
    }
}
