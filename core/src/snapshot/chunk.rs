//! One chunk after the other: what writer, reader and verifier must agree on.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::trailer::PAYLOAD;
use super::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Damage, HEADER_BYTES, Owner, Part, RECORD_BYTES_MAX,
    Section, SnapshotError, SnapshotHeader, SnapshotInfo, TRAILER_BYTES, u32_at,
};

/// Kind of the trailer. The kinds of the sections are 1, 2 and 3.
pub(super) const TRAILER: u8 = 4;
const LENGTH_AT: usize = 4;
const CRC_AT: usize = 8;

/// What a snapshot holds up to some place between two chunks.
pub(super) struct Chain {
    header: SnapshotHeader,
    seed: u32,
    /// Where the next chunk starts.
    offset: u64,
    section: Section,
    section_bytes: [u64; Section::COUNT],
    chunks: u64,
    records: RecordFrames,
    hash: Xxh3,
}

/// A chunk that was found intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intact {
    Data(Section),
    Trailer(SnapshotInfo),
}

impl Chain {
    /// Behind the header.
    pub(super) fn new(header: SnapshotHeader) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&header.encode());
        Self {
            header,
            seed: header.seed(),
            offset: HEADER_BYTES as u64,
            section: Section::Machine,
            section_bytes: [0; Section::COUNT],
            chunks: 0,
            records: RecordFrames::default(),
            hash,
        }
    }

    pub(super) fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Finishes a chunk of `section`, in front of whose payload its header's place is.
    pub(super) fn seal(&mut self, section: Section, chunk: &mut [u8]) {
        assert!(section >= self.section, "sections are written in their order");
        let length = chunk.len() - CHUNK_HEADER_BYTES;
        assert!(length > 0 && length <= CHUNK_BYTES_MAX, "a chunk of {length} bytes");
        put_header(self.seed, self.offset, section as u8 + 1, chunk);
        self.pass(section, chunk).expect("the writer frames records");
    }

    /// The trailer for what there is.
    pub(super) fn trailer(&mut self, owner: Owner) -> ([u8; TRAILER_BYTES], SnapshotInfo) {
        let mut info = self.info(owner);
        info.checksum = self.checksum(&info);
        let mut chunk = [0; TRAILER_BYTES];
        chunk[CHUNK_HEADER_BYTES..].copy_from_slice(&info.encode());
        put_header(self.seed, self.offset, TRAILER, &mut chunk);
        (chunk, info)
    }

    /// The length of the payload of the chunk that begins with `header`. It may be relied on for
    /// reading so much, and for nothing else: only [`Chain::check`] says whether it is intact.
    pub(super) fn payload_bytes(&self, header: &[u8]) -> Result<usize, SnapshotError> {
        let (kind, length) = self.parse(header)?;
        let allowed = match kind {
            None => length as usize == PAYLOAD,
            Some(_) => length > 0 && length as usize <= CHUNK_BYTES_MAX,
        };
        if allowed {
            Ok(length as usize)
        } else {
            Err(self.damaged(Damage::Length { found: length }))
        }
    }

    /// Checks a whole chunk, and goes on behind it.
    pub(super) fn check(&mut self, chunk: &[u8]) -> Result<Intact, SnapshotError> {
        let (kind, _) = self.parse(chunk)?;
        let (found, computed) = (u32_at(chunk, CRC_AT), checksum(self.seed, self.offset, chunk));
        if found != computed {
            return Err(self.damaged(Damage::Checksum { found, computed }));
        }
        if let Some(section) = kind {
            self.pass(section, chunk).map_err(|damage| self.damaged_in(section, damage))?;
            return Ok(Intact::Data(section));
        }
        let info = SnapshotInfo::decode(self.header, &chunk[CHUNK_HEADER_BYTES..]);
        let wrong = |damage| {
            let (part, offset) = (Part::Trailer, self.offset);
            Err(SnapshotError::Damaged { part, offset, damage })
        };
        if self.records.is_inside() {
            return wrong(Damage::RecordCut);
        }
        let mut counted = self.info(info.owner);
        counted.checksum = info.checksum;
        if counted != info {
            return wrong(Damage::Counts);
        }
        if self.checksum(&info) != info.checksum {
            return wrong(Damage::Content);
        }
        self.offset += chunk.len() as u64;
        Ok(Intact::Trailer(info))
    }

    /// Damage where the next chunk should start.
    pub(super) fn damaged(&self, damage: Damage) -> SnapshotError {
        self.damaged_in(self.section, damage)
    }

    fn damaged_in(&self, section: Section, damage: Damage) -> SnapshotError {
        SnapshotError::Damaged { part: Part::Section(section), offset: self.offset, damage }
    }

    /// The section, or `None` for the trailer, and the length.
    fn parse(&self, header: &[u8]) -> Result<(Option<Section>, u32), SnapshotError> {
        let kind = match header[..LENGTH_AT] {
            [1, 0, 0, 0] => Some(Section::Machine),
            [2, 0, 0, 0] => Some(Section::Sessions),
            [3, 0, 0, 0] => Some(Section::Protocol),
            [TRAILER, 0, 0, 0] => None,
            [a, b, c, d] => return Err(self.damaged(Damage::NoChunk { found: [a, b, c, d] })),
            _ => return Err(self.damaged(Damage::Truncated)),
        };
        match kind {
            Some(found) if found < self.section => Err(self.damaged(Damage::Order { found })),
            kind => Ok((kind, u32_at(header, LENGTH_AT))),
        }
    }

    fn pass(&mut self, section: Section, chunk: &[u8]) -> Result<(), Damage> {
        let payload = &chunk[CHUNK_HEADER_BYTES..];
        if section == Section::Protocol {
            let mut records = self.records.clone();
            records.feed(payload)?;
            self.records = records;
        }
        self.hash.update(chunk);
        self.section = section;
        self.section_bytes[section.index()] += payload.len() as u64;
        self.chunks += 1;
        self.offset += chunk.len() as u64;
        Ok(())
    }

    fn info(&self, owner: Owner) -> SnapshotInfo {
        SnapshotInfo {
            header: self.header,
            owner,
            section_bytes: self.section_bytes,
            records: self.records.count,
            chunks: self.chunks,
            bytes: self.offset + TRAILER_BYTES as u64,
            checksum: 0,
        }
    }

    /// Of everything before the trailer, and of the trailer without its checksum.
    fn checksum(&self, info: &SnapshotInfo) -> u128 {
        let mut hash = self.hash.clone();
        hash.update(&SnapshotInfo { checksum: 0, ..*info }.encode());
        hash.digest128()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("header", &self.header)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Of the chunk at `offset`: over all but the checksum itself.
pub(super) fn checksum(seed: u32, offset: u64, chunk: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &chunk[..CRC_AT]);
    crc32c::crc32c_append(crc, &chunk[CHUNK_HEADER_BYTES..])
}

fn put_header(seed: u32, offset: u64, kind: u8, chunk: &mut [u8]) {
    let length = (chunk.len() - CHUNK_HEADER_BYTES) as u32;
    chunk[..LENGTH_AT].copy_from_slice(&[kind, 0, 0, 0]);
    chunk[LENGTH_AT..CRC_AT].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(seed, offset, chunk);
    chunk[CRC_AT..CHUNK_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Follows the lengths in front of the protocol's records, across chunks.
#[derive(Clone, Debug, Default)]
struct RecordFrames {
    count: u64,
    /// Of a length that a chunk ends in.
    partial: [u8; 4],
    partial_bytes: usize,
    /// Of the record that goes on in the next chunk.
    remaining: usize,
}

impl RecordFrames {
    fn is_inside(&self) -> bool {
        self.partial_bytes > 0 || self.remaining > 0
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Damage> {
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let here = self.remaining.min(bytes.len());
                self.remaining -= here;
                bytes = &bytes[here..];
                continue;
            }
            let here = (4 - self.partial_bytes).min(bytes.len());
            self.partial[self.partial_bytes..self.partial_bytes + here]
                .copy_from_slice(&bytes[..here]);
            self.partial_bytes += here;
            bytes = &bytes[here..];
            if self.partial_bytes == 4 {
                let found = u32::from_le_bytes(self.partial);
                if found as usize > RECORD_BYTES_MAX {
                    return Err(Damage::RecordLength { found });
                }
                self.remaining = found as usize;
                self.partial_bytes = 0;
                self.count += 1;
            }
        }
        Ok(())
    }
}
