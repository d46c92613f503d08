//! Batches and records: encoding into one reused buffer, and reading them back.
//!
//! Records are encoded when they are appended, but where they will lie is known only when the
//! batch is written. So [`Batch::push`] only copies, under whatever lock protects the batch, and
//! [`Batch::seal`] adds the checksums, on the thread that writes.

use panchayat_consensus::ids::{EpochNumber, GroupId};

use super::{SECTOR, SegmentHeader, padded, u32_at, u64_at};

/// Bytes before the first record of a batch.
pub const BATCH_HEADER_BYTES: usize = 32;
/// Bytes before a record's payload.
pub const RECORD_HEADER_BYTES: usize = 20;
/// Longest payload a record can have, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"PBat";
const CRC_AT: usize = 4;
const LENGTH_AT: usize = 8;
const COUNT_AT: usize = 12;
const SEQUENCE_AT: usize = 16;
const SYNCED_UPTO_AT: usize = 24;

/// Records on their way to the journal: one write, one sync.
///
/// The buffer is kept by [`Batch::clear`]: in the steady state nothing is allocated.
#[derive(Clone, Debug)]
pub struct Batch {
    buffer: Vec<u8>,
    count: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Batch {
    /// An empty batch with room for `bytes` bytes of records.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(padded(BATCH_HEADER_BYTES + bytes));
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self { buffer, count: 0 }
    }

    /// Appends a record.
    ///
    /// # Panics
    /// If `payload` is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn push(&mut self, group: GroupId, epoch: EpochNumber, payload: &[u8]) {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "record of {} bytes", payload.len());
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&group.0.to_le_bytes());
        header[12..].copy_from_slice(&epoch.0.to_le_bytes());
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(payload);
        self.count += 1;
    }

    /// How many records it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether it holds no record. An empty batch can be sealed: it is a marker.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of its records, their headers included.
    pub fn record_bytes(&self) -> usize {
        self.buffer.len() - BATCH_HEADER_BYTES
    }

    /// Bytes that it will take in a segment.
    pub fn sealed_bytes(&self) -> usize {
        padded(self.buffer.len())
    }

    /// Finishes the batch for `offset` of `segment`; the bytes are what must be written there.
    /// Call [`Batch::clear`] before it is used again.
    ///
    /// # Panics
    /// If `offset` is not on a sector, `synced_upto` not below `sequence`, or the records are
    /// longer than 4 GiB.
    pub fn seal(
        &mut self,
        segment: &SegmentHeader,
        offset: u64,
        sequence: u64,
        synced_upto: u64,
    ) -> &[u8] {
        assert!(offset.is_multiple_of(SECTOR as u64) && offset >= SECTOR as u64);
        assert!(synced_upto < sequence);
        let end = self.buffer.len();
        let length = u32::try_from(end - BATCH_HEADER_BYTES).expect("a batch below 4 GiB");
        let header = &mut self.buffer[..BATCH_HEADER_BYTES];
        header[..CRC_AT].copy_from_slice(&MAGIC);
        header[LENGTH_AT..COUNT_AT].copy_from_slice(&length.to_le_bytes());
        header[COUNT_AT..SEQUENCE_AT].copy_from_slice(&self.count.to_le_bytes());
        header[SEQUENCE_AT..SYNCED_UPTO_AT].copy_from_slice(&sequence.to_le_bytes());
        header[SYNCED_UPTO_AT..].copy_from_slice(&synced_upto.to_le_bytes());
        let crc = header_checksum(segment, offset, header);
        header[CRC_AT..LENGTH_AT].copy_from_slice(&crc.to_le_bytes());

        let mut at = BATCH_HEADER_BYTES;
        while at < end {
            let record_end = at + RECORD_HEADER_BYTES + u32_at(&self.buffer, at) as usize;
            let record = &mut self.buffer[at..record_end];
            let record_crc = record_checksum(crc, at, record);
            record[4..8].copy_from_slice(&record_crc.to_le_bytes());
            at = record_end;
        }
        self.buffer.resize(padded(end), 0);
        &self.buffer
    }

    /// Empties it, keeping the buffer.
    pub fn clear(&mut self) {
        self.buffer.truncate(BATCH_HEADER_BYTES);
        self.count = 0;
    }
}

/// A batch's header, believed: its checksum was right for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The batch's number in the journal, from 1, without a gap.
    pub sequence: u64,
    /// Everything up to this sequence was synced when the batch was written; 0 for nothing.
    pub synced_upto: u64,
    /// Bytes of records.
    pub length: usize,
    /// How many records.
    pub count: u32,
    crc: u32,
}

impl BatchHeader {
    /// The header at `offset` of the whole segment `bytes`, if there is a valid one.
    pub fn read(segment: &SegmentHeader, bytes: &[u8], offset: usize) -> Option<Self> {
        let header = bytes.get(offset..)?.get(..BATCH_HEADER_BYTES)?;
        if header[..CRC_AT] != MAGIC {
            return None;
        }
        let crc = u32_at(header, CRC_AT);
        if crc != header_checksum(segment, offset as u64, header) {
            return None;
        }
        let found = Self {
            sequence: u64_at(header, SEQUENCE_AT),
            synced_upto: u64_at(header, SYNCED_UPTO_AT),
            length: u32_at(header, LENGTH_AT) as usize,
            count: u32_at(header, COUNT_AT),
            crc,
        };
        (found.synced_upto < found.sequence).then_some(found)
    }

    /// Bytes that the batch takes in its segment.
    pub fn sealed_bytes(&self) -> usize {
        padded(BATCH_HEADER_BYTES + self.length)
    }
}

/// One record inside a batch, as a range of the batch's bytes.
pub(super) struct RecordAt {
    pub(super) group: GroupId,
    pub(super) epoch: EpochNumber,
    pub(super) payload: std::ops::Range<usize>,
}

/// The record at `at` of `batch`, if an intact one lies there. `batch` ends with its last record.
pub(super) fn read_record(header: &BatchHeader, batch: &[u8], at: usize) -> Option<RecordAt> {
    let fixed = batch.get(at..)?.get(..RECORD_HEADER_BYTES)?;
    let length = u32_at(fixed, 0) as usize;
    let start = at + RECORD_HEADER_BYTES;
    if length > batch.len() - start {
        return None;
    }
    let end = start + length;
    if record_checksum(header.crc, at, &batch[at..end]) != u32_at(fixed, 4) {
        return None;
    }
    Some(RecordAt {
        group: GroupId(u32_at(fixed, 8)),
        epoch: EpochNumber(u64_at(fixed, 12)),
        payload: start..end,
    })
}

/// Over the header without magic and checksum, from the seed of its place.
fn header_checksum(segment: &SegmentHeader, offset: u64, header: &[u8]) -> u32 {
    crc32c::crc32c_append(segment.seed(offset), &header[LENGTH_AT..BATCH_HEADER_BYTES])
}

/// Over length, group, epoch and payload, from the batch's checksum and the place in the batch.
fn record_checksum(batch_crc: u32, at: usize, record: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(batch_crc, &(at as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..4]), &record[8..])
}
