//! What is remembered of one request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::{ClientId, Request, Span, WallTime};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64_with_seed};

use crate::cow::Row;

/// The name of a request: its client, and its number among that client's.
pub(super) type Name = (ClientId, u64);

/// A request that was applied.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) issued_at: WallTime,
    pub(super) output: Kept,
}

/// An encoded output as it is kept. Short ones, which most are, need no allocation.
#[derive(Clone)]
pub(super) enum Kept {
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    Long(Arc<[u8]>),
    /// Longer than the group keeps.
    Not,
}

/// The longest output kept in place: what fits without making an entry larger.
const SHORT: usize = 22;

impl Entry {
    pub(super) fn of(request: &Request, output: Kept) -> Self {
        let name = (request.client, request.sequence);
        Self { name, issued_at: request.issued_at, output }
    }

    /// The last proposal time at which a duplicate of it must still be recognized.
    pub(super) fn expires_at(&self, retention: Span) -> WallTime {
        expiry(self.issued_at, retention)
    }

    /// Its part of the digest.
    pub(super) fn print(&self) -> u64 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&self.name.0.0.to_le_bytes());
        hasher.update(&self.name.1.to_le_bytes());
        hasher.update(&self.issued_at.0.to_le_bytes());
        match self.output.bytes() {
            Some(bytes) => {
                hasher.update(&[1]);
                hasher.update(bytes);
            }
            None => hasher.update(&[0]),
        }
        hasher.digest()
    }
}

/// The last proposal time at which an attempt at a request issued at `issued_at` is not too old.
pub(super) fn expiry(issued_at: WallTime, retention: Span) -> WallTime {
    WallTime(issued_at.0.saturating_add(retention.0))
}

impl Row for Entry {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }

    fn hash((client, sequence): &Name) -> u64 {
        xxh3_64_with_seed(&client.0.to_le_bytes(), *sequence)
    }
}

impl Kept {
    /// `output` as it is kept where at most `max` bytes are.
    pub(super) fn new(output: &[u8], max: usize) -> Self {
        if output.len() > max {
            return Self::Not;
        }
        if output.len() > SHORT {
            return Self::Long(output.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..output.len()].copy_from_slice(output);
        Self::Short { length: output.len() as u8, bytes }
    }

    /// The output, if it is kept.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Short { length, bytes } => Some(&bytes[..usize::from(*length)]),
            Self::Long(bytes) => Some(bytes),
            Self::Not => None,
        }
    }

    /// A copy of the output, if it is kept.
    pub(super) fn to_bytes(&self) -> Option<Bytes> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    /// What it costs besides its entry.
    pub(super) fn len(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.bytes())
    }
}
