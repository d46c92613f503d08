//! What consensus orders.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::footprint::{Footprint, Mode};
use crate::request::Request;
use crate::time::WallTime;
use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Payloads up to here are copied out of what they arrived in.
const DETACHED_BYTES_MAX: usize = 16 << 10;

/// How many seals more than commands may be under way.
const SEALS_BESIDES: usize = 16;

/// A command: opaque bytes for the state machine, and what consensus must know of them. All of it
/// is agreed data, fixed by the coordinator that first proposed it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// What it touches.
    pub footprint: Footprint,
    /// The coordinator's wall clock when it proposed; grows along a lane.
    pub proposed_at: WallTime,
    /// Which request of which client it is, if it must be applied once however often it is tried.
    pub request: Option<Request>,
    /// The state machine's own encoding; empty for a read.
    pub payload: Bytes,
}

impl Command {
    /// A command that has not been proposed yet. That of a request also writes the request's key.
    pub fn new(footprint: Footprint, request: Option<Request>, payload: Bytes) -> Self {
        let footprint = match request {
            Some(request) => footprint.with(request.key(), Mode::Write),
            None => footprint,
        };
        Self { footprint, proposed_at: WallTime(0), request, payload }
    }

    /// A read that takes its place in the order of commands. It changes nothing: when it executes
    /// where it was asked, everything ordered before it has been applied there.
    pub fn read(footprint: Footprint) -> Self {
        Self::new(footprint, None, Bytes::new())
    }

    /// The command that ends an epoch. It conflicts with everything; what is ordered after it in its epoch
    /// is void. `next` is the encoded description of the epoch that follows.
    pub fn seal(next: Bytes) -> Self {
        Self::new(Footprint::seal(), None, next)
    }

    /// Whether it ends its epoch.
    pub fn is_seal(&self) -> bool {
        self.footprint.is_seal()
    }

    /// For how many more like it there is room where clients' commands are refused as too many. A seal may be
    /// what brings relief: another protocol, or other members.
    pub fn spare_room(&self) -> usize {
        if self.is_seal() { SEALS_BESIDES } else { 0 }
    }

    /// Whether it only marks a place, for a read.
    pub fn is_read(&self) -> bool {
        self.payload.is_empty()
    }
}

/// What an instance can decide on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Nothing: executes as nothing and conflicts with nothing.
    Nop,
    /// The command submitted under the instance's id.
    Command(Arc<Command>),
}

impl Value {
    /// The command, unless it is Nop.
    pub fn command(&self) -> Option<&Arc<Command>> {
        match self {
            Self::Nop => None,
            Self::Command(command) => Some(command),
        }
    }

    /// Whether it is Nop.
    pub fn is_nop(&self) -> bool {
        matches!(self, Self::Nop)
    }
}

impl Encode for Command {
    fn encode(&self, out: &mut Writer) {
        self.footprint.encode(out);
        out.put_varint(self.proposed_at.0);
        out.put_u8(u8::from(self.request.is_some()));
        if let Some(request) = &self.request {
            request.encode(out);
        }
        out.put_bytes(&self.payload);
    }
}

impl Decode for Command {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            footprint: Footprint::decode(input)?,
            proposed_at: WallTime(input.varint()?),
            request: match input.u8()? {
                0 => None,
                1 => Some(Request::decode(input)?),
                tag => return Err(DecodeError::UnknownTag { what: "request", tag }),
            },
            payload: detach(input.bytes()?),
        })
    }
}

/// A payload that shares memory with a frame or a segment keeps all of it alive for as long as the
/// command lives. A small one is cheaper to copy.
fn detach(payload: Bytes) -> Bytes {
    if payload.len() <= DETACHED_BYTES_MAX { Bytes::copy_from_slice(&payload) } else { payload }
}

impl Encode for Value {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Nop => out.put_u8(0),
            Self::Command(command) => {
                out.put_u8(1);
                command.encode(out);
            }
        }
    }
}

impl Decode for Value {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Nop),
            1 => Ok(Self::Command(Arc::new(Command::decode(input)?))),
            tag => Err(DecodeError::UnknownTag { what: "value", tag }),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} B", self.payload.len())?;
        if let Some(Request { client, sequence, .. }) = &self.request {
            write!(f, " request {client}/{sequence}")?;
        }
        for (key, mode) in self.footprint.keys() {
            write!(f, " {mode:?}:{:x}", key.0)?;
        }
        if self.is_seal() {
            f.write_str(" seal")?;
        } else if self.footprint.is_barrier() {
            f.write_str(" barrier")?;
        }
        f.write_str(")")
    }
}
