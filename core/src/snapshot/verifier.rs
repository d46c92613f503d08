//! Verifying a snapshot that comes in pieces of any length, from a peer.

use std::fmt;

use super::chunk::{Chain, Intact};
use super::{
    CHUNK_HEADER_BYTES, Damage, HEADER_BYTES, Part, SnapshotError, SnapshotHeader, SnapshotInfo,
};

/// Told the bytes of a snapshot in their order, says how far they are intact.
///
/// It holds what was pushed and is not yet known to be intact: less than one chunk, and what
/// [`SnapshotVerifier::take_verified`] has not been asked for.
#[derive(Default)]
pub struct SnapshotVerifier {
    chain: Option<Chain>,
    buffer: Vec<u8>,
    /// How much of `buffer` is intact.
    intact: usize,
    /// How much was intact and has been taken.
    taken: u64,
    end: Option<SnapshotInfo>,
}

impl SnapshotVerifier {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes that follow. On an error what was verified before still stands; the rest
    /// is forgotten, so that the bytes behind [`SnapshotVerifier::verified`] can be pushed anew.
    ///
    /// # Errors
    /// [`SnapshotError::Header`] or [`SnapshotError::Damaged`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.buffer.extend_from_slice(bytes);
        let checked = self.check();
        if checked.is_err() {
            self.forget_unverified();
        }
        checked
    }

    /// How many bytes from the beginning are intact: whole chunks.
    pub fn verified(&self) -> u64 {
        self.taken + self.intact as u64
    }

    /// How many bytes were pushed: the next one has this offset.
    pub fn pushed(&self) -> u64 {
        self.taken + self.buffer.len() as u64
    }

    /// Forgets what is not a whole chunk, so that the bytes behind
    /// [`SnapshotVerifier::verified`] can be pushed anew.
    pub fn forget_unverified(&mut self) {
        self.buffer.truncate(self.intact);
    }

    /// The header, once it is verified.
    pub fn header(&self) -> Option<&SnapshotHeader> {
        self.chain.as_ref().map(Chain::header)
    }

    /// What the snapshot is, once all of it is verified.
    pub fn end(&self) -> Option<&SnapshotInfo> {
        self.end.as_ref()
    }

    /// The bytes that were verified since the last call.
    pub fn take_verified(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.intact);
        self.taken += self.intact as u64;
        self.intact = 0;
        std::mem::replace(&mut self.buffer, rest)
    }

    fn check(&mut self) -> Result<(), SnapshotError> {
        loop {
            let rest = &self.buffer[self.intact..];
            let Some(chain) = &mut self.chain else {
                if rest.len() < HEADER_BYTES {
                    return Ok(());
                }
                self.chain = Some(Chain::new(SnapshotHeader::decode(rest)?));
                self.intact += HEADER_BYTES;
                continue;
            };
            if self.end.is_some() {
                if rest.is_empty() {
                    return Ok(());
                }
                let (part, offset) = (Part::Trailer, chain.offset());
                return Err(SnapshotError::Damaged { part, offset, damage: Damage::TrailingBytes });
            }
            if rest.len() < CHUNK_HEADER_BYTES {
                return Ok(());
            }
            let length = CHUNK_HEADER_BYTES + chain.payload_bytes(rest)?;
            let Some(chunk) = rest.get(..length) else { return Ok(()) };
            if let Intact::Trailer(info) = chain.check(chunk)? {
                self.end = Some(info);
            }
            self.intact += length;
        }
    }
}

impl fmt::Debug for SnapshotVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotVerifier")
            .field("verified", &self.verified())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
