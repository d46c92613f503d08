//! The last chunk of a snapshot: what there is in all, and whose it is.

use panchayat_consensus::ids::NodeId;

use super::chunk::checksum;
use super::{
    CHUNK_HEADER_BYTES, Damage, HEADER_BYTES, Part, Section, SnapshotError, SnapshotHeader, u32_at,
    u64_at, u128_at,
};

/// Length of the trailer with its chunk header, in bytes.
pub const TRAILER_BYTES: usize = CHUNK_HEADER_BYTES + PAYLOAD;

pub(super) const PAYLOAD: usize = CHECKSUM_AT + 16;
const CHECKSUM_AT: usize = 80;

/// A place in the journal of a node, between two records of a group.
///
/// Of the group's records, it has behind it those in lower segments and the first `skip` in
/// `segment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalPosition {
    /// The number of the segment.
    pub segment: u64,
    /// How many records of the group lie before it in this segment.
    pub skip: u64,
}

impl JournalPosition {
    /// Before the first record.
    pub const START: Self = Self { segment: 1, skip: 0 };
}

/// To whom a snapshot belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The node in whose directory the file may lie.
    pub node: NodeId,
    /// The node whose promises the protocol section holds. Another than `node` only if the
    /// snapshot was imported: then it must not be taken for promises.
    pub promises_of: NodeId,
    /// Which records of the node's journal the snapshot covers; the rest must be replayed.
    pub journal: JournalPosition,
}

/// What a whole snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its header.
    pub header: SnapshotHeader,
    /// Whose it is.
    pub owner: Owner,
    /// Lengths of the sections, in bytes, in their order.
    pub section_bytes: [u64; Section::COUNT],
    /// Records in the protocol's section.
    pub records: u64,
    /// Chunks before the trailer.
    pub chunks: u64,
    /// Length of the whole snapshot, in bytes.
    pub bytes: u64,
    /// Of all its content. Two snapshots with the same checksum are the same.
    pub checksum: u128,
}

impl SnapshotInfo {
    /// Reads the ends of a snapshot of `bytes` bytes without what lies between.
    ///
    /// # Errors
    /// [`SnapshotError::Header`], or [`SnapshotError::Damaged`] if the trailer is.
    pub fn read(
        header: &[u8; HEADER_BYTES],
        trailer: &[u8; TRAILER_BYTES],
        bytes: u64,
    ) -> Result<Self, SnapshotError> {
        let header = SnapshotHeader::decode(header)?;
        let offset = bytes.saturating_sub(TRAILER_BYTES as u64);
        let damaged = |damage| SnapshotError::Damaged { part: Part::Trailer, offset, damage };
        let (found, computed) = (u32_at(trailer, 8), checksum(header.seed(), offset, trailer));
        if found != computed || trailer[..8] != chunk_start() {
            return Err(damaged(Damage::Checksum { found, computed }));
        }
        let info = Self::decode(header, &trailer[CHUNK_HEADER_BYTES..]);
        if info.bytes != bytes {
            return Err(damaged(Damage::Counts));
        }
        Ok(info)
    }

    /// Bytes of one section.
    pub fn section(&self, section: Section) -> u64 {
        self.section_bytes[section.index()]
    }

    pub(super) fn encode(&self) -> [u8; PAYLOAD] {
        let mut out = [0; PAYLOAD];
        let numbers = self.section_bytes.into_iter().chain([
            self.records,
            self.chunks,
            self.bytes,
            self.owner.node.0,
            self.owner.promises_of.0,
            self.owner.journal.segment,
            self.owner.journal.skip,
        ]);
        for (place, number) in out.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        out[CHECKSUM_AT..].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    /// Reads a trailer's payload, whose length is [`PAYLOAD`].
    pub(super) fn decode(header: SnapshotHeader, payload: &[u8]) -> Self {
        let number = |index: usize| u64_at(payload, index * 8);
        Self {
            header,
            section_bytes: [number(0), number(1), number(2)],
            records: number(3),
            chunks: number(4),
            bytes: number(5),
            owner: Owner {
                node: NodeId(number(6)),
                promises_of: NodeId(number(7)),
                journal: JournalPosition { segment: number(8), skip: number(9) },
            },
            checksum: u128_at(payload, CHECKSUM_AT),
        }
    }
}

/// Kind and length of every trailer.
fn chunk_start() -> [u8; 8] {
    let [a, b, c, d] = (PAYLOAD as u32).to_le_bytes();
    [super::chunk::TRAILER, 0, 0, 0, a, b, c, d]
}
