//! Reading one segment: its records, where they end, and what stands there.
//!
//! See the module's page for how a torn tail is told from a corrupt middle. Input is not trusted:
//! no panic, and no allocation that the given bytes do not justify.

use std::fmt;

use bytes::Bytes;
use panchayat_consensus::ids::{EpochNumber, GroupId};

use super::batch::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES, read_record};
use super::{BatchHeader, SECTOR, SegmentHeader};

/// One record read back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The segment that holds it.
    pub segment: u64,
    /// The group that wrote it.
    pub group: GroupId,
    /// The epoch in which it was written.
    pub epoch: EpochNumber,
    /// What was appended; shares memory with the segment's bytes.
    pub payload: Bytes,
}

/// What reading one segment gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The records of the intact batches before the end, in order.
    pub records: Vec<Record>,
    /// The intact batches, in order: where each starts, and its header.
    pub batches: Vec<(u64, BatchHeader)>,
    /// Where the last intact batch ends: a sector, at least the first after the header.
    pub end_offset: u64,
    /// What stands at `end_offset`.
    pub outcome: Outcome,
}

/// What stands where the intact batches of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Zeros to the end of the file, or the end of the file.
    CleanEnd,
    /// Something else, and nothing in this segment shows that it was ever synced. It may be cut
    /// at `end_offset`, unless a later segment holds the [`Evidence`].
    TornTail(Damage),
    /// Something else, which was synced once, or which no crash can have left: not to be cut.
    CorruptMiddle(Damage, Evidence),
}

/// In what way a batch is not intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Zeros where a batch should start, and something else behind them.
    Blank {
        /// Where the first byte that is not zero lies.
        data_at: u64,
    },
    /// No valid batch header.
    Header,
    /// The header is valid, but the file ends before the batch does.
    CutOff,
    /// The header is valid, a record is not.
    Record {
        /// Where the record starts.
        at: u64,
    },
    /// The padding is not zero.
    Padding,
    /// The batch is intact, but not the one that must follow.
    Sequence {
        /// The sequence found.
        found: u64,
    },
    /// Nothing: the segment ends clean, but the next starts with a later batch than the one that
    /// is due.
    Missing,
}

/// Why damage cannot be a torn write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A later batch was written when the damaged one was known to be synced.
    SyncedBefore {
        /// The segment of the later batch.
        segment: u64,
        /// Where it starts.
        offset: u64,
        /// Its sequence.
        sequence: u64,
        /// What it says was synced.
        synced_upto: u64,
    },
    /// The batch that is due lies further on, or one before it: so the writer never wrote here.
    WrittenElsewhere {
        /// The segment of that batch.
        segment: u64,
        /// Where it starts.
        offset: u64,
        /// Its sequence.
        sequence: u64,
    },
    /// Batches are written one behind the other: no crash makes an intact one of another number.
    OutOfOrder {
        /// The sequence that was due.
        due: u64,
    },
}

/// Reads the segment `bytes`, whose header was decoded and checked as `segment`.
///
/// `next_sequence` is the sequence that its first batch must have; `None` if that is not known,
/// because the segments before it have been removed.
pub fn scan_segment(segment: &SegmentHeader, bytes: &Bytes, next_sequence: Option<u64>) -> Scan {
    let mut scan = Scan {
        records: Vec::new(),
        batches: Vec::new(),
        end_offset: SECTOR as u64,
        outcome: Outcome::CleanEnd,
    };
    let mut due = next_sequence;
    let mut at = SECTOR;
    loop {
        match read_batch(segment, bytes, at, due, &mut scan.records) {
            Ok(header) => {
                scan.batches.push((at as u64, header));
                due = Some(header.sequence.saturating_add(1));
                at += header.sealed_bytes();
                scan.end_offset = at as u64;
            }
            Err(None) => return scan,
            Err(Some(damage)) => {
                scan.outcome = judge(segment, bytes, at, due, damage);
                return scan;
            }
        }
    }
}

/// A batch header behind `from` which shows that damage in place of batch `due` is no torn write.
pub(super) fn find_evidence(
    segment: &SegmentHeader,
    bytes: &[u8],
    from: usize,
    due: u64,
) -> Option<Evidence> {
    (from..bytes.len()).step_by(SECTOR).find_map(|at| {
        let BatchHeader { sequence, synced_upto, .. } = BatchHeader::read(segment, bytes, at)?;
        let (segment, offset) = (segment.number, at as u64);
        if synced_upto >= due {
            Some(Evidence::SyncedBefore { segment, offset, sequence, synced_upto })
        } else if sequence <= due {
            Some(Evidence::WrittenElsewhere { segment, offset, sequence })
        } else {
            None
        }
    })
}

/// Reads the batch at `at`; its records are added only if all of it is intact. `Err(None)` is a
/// clean end.
fn read_batch(
    segment: &SegmentHeader,
    bytes: &Bytes,
    at: usize,
    due: Option<u64>,
    records: &mut Vec<Record>,
) -> Result<BatchHeader, Option<Damage>> {
    let Some(header) = BatchHeader::read(segment, bytes, at) else {
        return Err(what_is_there(bytes, at));
    };
    let sealed = header.sealed_bytes();
    if sealed > bytes.len() - at {
        return Err(Some(Damage::CutOff));
    }
    let batch = &bytes[at..at + BATCH_HEADER_BYTES + header.length];
    let before = records.len();
    let mut record_at = BATCH_HEADER_BYTES;
    let mut count = 0u32;
    while record_at < batch.len() || count < header.count {
        let Some(found) = read_record(&header, batch, record_at) else {
            records.truncate(before);
            return Err(Some(Damage::Record { at: (at + record_at) as u64 }));
        };
        record_at = found.payload.end;
        count += 1;
        records.push(Record {
            segment: segment.number,
            group: found.group,
            epoch: found.epoch,
            payload: bytes.slice(at + found.payload.start..at + found.payload.end),
        });
    }
    let damage = if count != header.count {
        Damage::Record { at: (at + batch.len() - RECORD_HEADER_BYTES) as u64 }
    } else if !is_zero(&bytes[at + batch.len()..at + sealed]) {
        Damage::Padding
    } else if due.is_some_and(|due| due != header.sequence) {
        Damage::Sequence { found: header.sequence }
    } else {
        return Ok(header);
    };
    records.truncate(before);
    Err(Some(damage))
}

/// What stands at `at`, where there is no valid batch header; `None` for a clean end.
fn what_is_there(bytes: &[u8], at: usize) -> Option<Damage> {
    let rest = bytes.get(at..).unwrap_or_default();
    let sector = rest.get(..SECTOR).unwrap_or(rest);
    if !is_zero(sector) {
        return Some(Damage::Header);
    }
    // By sectors first: comparing byte by byte would take a while for 64 MiB.
    let far = rest.chunks(SECTOR).position(|sector| !is_zero(sector))? * SECTOR;
    let near = rest[far..].iter().position(|byte| *byte != 0)?;
    Some(Damage::Blank { data_at: (at + far + near) as u64 })
}

fn judge(
    segment: &SegmentHeader,
    bytes: &[u8],
    at: usize,
    due: Option<u64>,
    damage: Damage,
) -> Outcome {
    if let (Damage::Sequence { found }, Some(due)) = (damage, due) {
        // The first batch of a segment may come too late, if the end of the segment before it
        // never reached the disk: then what it says was synced decides.
        if at > SECTOR || found < due {
            return Outcome::CorruptMiddle(damage, Evidence::OutOfOrder { due });
        }
        return match find_evidence(segment, bytes, at, due) {
            Some(evidence) => Outcome::CorruptMiddle(Damage::Missing, evidence),
            None => Outcome::TornTail(Damage::Missing),
        };
    }
    // A batch of unknown number is at least the first: any word about a sync then counts.
    match find_evidence(segment, bytes, at + SECTOR, due.unwrap_or(1)) {
        Some(evidence) => Outcome::CorruptMiddle(damage, evidence),
        None => Outcome::TornTail(damage),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Compiles to wide compares; `all()` would stop at each byte.
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank { data_at } => {
                write!(f, "zeros where a batch is due, but data at offset {data_at}")
            }
            Self::Header => f.write_str("no valid batch header"),
            Self::CutOff => f.write_str("the file ends inside the batch"),
            Self::Record { at } => write!(f, "the record at offset {at} is damaged"),
            Self::Padding => f.write_str("the padding of the batch is not zero"),
            Self::Sequence { found } => write!(f, "batch {found} is not the one that is due"),
            Self::Missing => f.write_str("batches are missing"),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SyncedBefore { segment, offset, sequence, synced_upto } => write!(
                f,
                "batch {sequence} in segment {segment} at offset {offset} was written when \
                 everything up to batch {synced_upto} was synced"
            ),
            Self::WrittenElsewhere { segment, offset, sequence } => {
                write!(f, "batch {sequence} lies in segment {segment} at offset {offset}")
            }
            Self::OutOfOrder { due } => write!(f, "batch {due} was due"),
        }
    }
}
