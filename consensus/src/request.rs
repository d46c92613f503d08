//! What makes a retry recognizable: the name of a client's request.

use std::fmt;

use xxhash_rust::xxh3::Xxh3Default;

use crate::footprint::KeyHash;
use crate::time::WallTime;
use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Marks the keys of requests, so that no user key is among them by construction.
const KEY_DOMAIN: &[u8] = b"panchayat request 1";

/// One client of a group, for as long as it wants its retries to be recognized. Drawn at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u128);

/// A request of a client. Its retries, at whatever replica, carry the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Who asks.
    pub client: ClientId,
    /// Which of its requests; a client never uses a number twice for different commands.
    pub sequence: u64,
    /// The client's wall clock when it first asked. A retry says the time of the first attempt.
    pub issued_at: WallTime,
}

impl Request {
    /// The key that a request writes besides those of its command: so its duplicates are ordered,
    /// and all replicas agree on which of them came first.
    pub fn key(&self) -> KeyHash {
        let mut hasher = Xxh3Default::new();
        hasher.update(KEY_DOMAIN);
        hasher.update(&self.client.0.to_le_bytes());
        hasher.update(&self.sequence.to_le_bytes());
        KeyHash(hasher.digest())
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Writer) {
        out.put_raw(&self.client.0.to_le_bytes());
        out.put_varint(self.sequence);
        out.put_varint(self.issued_at.0);
    }
}

impl Decode for Request {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let low = u128::from(input.u64()?);
        let high = u128::from(input.u64()?);
        Ok(Self {
            client: ClientId(high << 64 | low),
            sequence: input.varint()?,
            issued_at: WallTime(input.varint()?),
        })
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{from_bytes, to_bytes};

    #[test]
    fn a_request_reads_back_and_its_key_depends_on_client_and_sequence_only() {
        let request = Request {
            client: ClientId(0x1234_5678_9abc_def0_0fed_cba9_8765_4321),
            sequence: 77,
            issued_at: WallTime(5),
        };
        assert_eq!(from_bytes::<Request>(to_bytes(&request)), Ok(request));
        assert_eq!(request.key(), Request { issued_at: WallTime(6), ..request }.key());
        assert_ne!(request.key(), Request { sequence: 78, ..request }.key());
        assert_ne!(request.key(), Request { client: ClientId(1), ..request }.key());
    }
}
