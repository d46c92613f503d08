//! Reading a whole journal: what is replayed, where it is cut, or why it is refused.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use panchayat_consensus::ids::{ClusterId, NodeId};
use thiserror::Error;

use super::scan::find_evidence;
use super::{
    BatchHeader, Damage, Evidence, HeaderError, Outcome, Record, SECTOR, SegmentHeader,
    scan_segment,
};

/// Fed with the segments of a journal in ascending order, decides what may be believed.
#[derive(Debug)]
pub struct Recovery {
    cluster: ClusterId,
    node: NodeId,
    previous: Option<u64>,
    first: Option<u64>,
    due: Option<u64>,
    synced_upto: u64,
    tail: Option<Tail>,
    cut: Option<Cut>,
    unconfirmed: VecDeque<(u64, Span)>,
}

/// What an opener needs to go on after a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last segment in use and where it ends; `None` if there is no segment. If none holds a
    /// batch, the oldest stays, empty: a journal whose older segments were removed must never
    /// look like a new one. Segments above it hold nothing that is replayed and must be removed,
    /// the highest first.
    pub tail: Option<Tail>,
    /// The torn write, if there was one. It is at the end of `tail`'s segment, or in a segment
    /// above it, which is then to be removed.
    pub cut: Option<Cut>,
    /// The sequence of the next batch to be written.
    pub next_sequence: u64,
    /// The number of the next segment to be created.
    pub next_segment: u64,
    /// Everything up to this sequence is known to have been synced.
    pub synced_upto: u64,
    /// What is replayed without being known as synced: to be written again and synced before
    /// anything relies on it.
    pub unconfirmed: Vec<Span>,
}

/// The end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The segment.
    pub segment: u64,
    /// Where its last intact batch ends.
    pub end_offset: u64,
}

/// A torn write, to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: u64,
    /// Where the torn batch starts.
    pub offset: u64,
    /// What is wrong with it.
    pub damage: Damage,
    due: u64,
}

/// A range of a segment's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The segment.
    pub segment: u64,
    /// Where it starts.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
}

/// A journal that must not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("journal segment {segment}, offset {offset}: {cause}")]
pub struct Refusal {
    /// The segment at fault.
    pub segment: u64,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub cause: Cause,
}

/// Why a journal must not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The segment's header.
    Header(HeaderError),
    /// Bytes that were once synced are damaged.
    Corrupt(Damage, Evidence),
    /// A segment is missing before this one.
    SegmentMissing {
        /// The number that was due.
        due: u64,
    },
}

impl Recovery {
    /// Before the first segment of the journal of `node` in `cluster`.
    pub fn new(cluster: ClusterId, node: NodeId) -> Self {
        Self {
            cluster,
            node,
            previous: None,
            first: None,
            due: None,
            synced_upto: 0,
            tail: None,
            cut: None,
            unconfirmed: VecDeque::new(),
        }
    }

    /// Reads the next segment. The records are to be used only if [`Recovery::finish`] is reached
    /// without a refusal; those of a segment after a cut are none.
    ///
    /// # Errors
    /// [`Refusal`]: the journal must not be opened.
    pub fn feed(&mut self, number: u64, bytes: &Bytes) -> Result<Vec<Record>, Refusal> {
        if let Some(due) = self.previous.map(|previous| previous.saturating_add(1))
            && due != number
        {
            return Err(refusal(number, 0, Cause::SegmentMissing { due }));
        }
        self.previous = Some(number);
        self.first.get_or_insert(number);
        let segment = SegmentHeader::decode(bytes)
            .and_then(|found| found.check(self.cluster, self.node, number).map(|()| found))
            .map_err(|error| refusal(number, 0, Cause::Header(error)))?;
        if let Some(cut) = self.cut {
            return match find_evidence(&segment, bytes, SECTOR, cut.due) {
                Some(evidence) => Err(cut.refused(evidence)),
                None => Ok(Vec::new()),
            };
        }
        // Only the oldest segment can start with any batch. One without batches is never followed
        // by one that has some: if it is, it was emptied.
        let due = if self.first == Some(number) { None } else { Some(self.due.unwrap_or(1)) };
        let scan = scan_segment(&segment, bytes, due);
        for (offset, header) in &scan.batches {
            self.see(number, *offset, header);
        }
        let offset = scan.end_offset;
        match scan.outcome {
            Outcome::CleanEnd => {}
            Outcome::TornTail(damage) => self.cut = Some(self.cut_at(number, offset, damage)),
            Outcome::CorruptMiddle(damage, evidence) => {
                return Err(self.cut_at(number, offset, damage).refused(evidence));
            }
        }
        Ok(scan.records)
    }

    /// After the last segment.
    pub fn finish(self) -> Recovered {
        let mut unconfirmed: Vec<Span> = Vec::new();
        for (_, span) in self.unconfirmed {
            match unconfirmed.last_mut() {
                Some(last) if last.segment == span.segment && last.to == span.from => {
                    last.to = span.to;
                }
                _ => unconfirmed.push(span),
            }
        }
        let empty = |segment| Tail { segment, end_offset: SECTOR as u64 };
        let tail = self.tail.or(self.first.map(empty));
        Recovered {
            next_segment: tail.map_or(1, |tail| tail.segment.saturating_add(1)),
            tail,
            cut: self.cut,
            next_sequence: self.due.unwrap_or(1),
            synced_upto: self.synced_upto,
            unconfirmed,
        }
    }

    fn see(&mut self, segment: u64, offset: u64, header: &BatchHeader) {
        let end_offset = offset + header.sealed_bytes() as u64;
        self.due = Some(header.sequence.saturating_add(1));
        self.tail = Some(Tail { segment, end_offset });
        self.synced_upto = self.synced_upto.max(header.synced_upto);
        self.unconfirmed
            .push_back((header.sequence, Span { segment, from: offset, to: end_offset }));
        while self.unconfirmed.front().is_some_and(|(first, _)| *first <= self.synced_upto) {
            self.unconfirmed.pop_front();
        }
    }

    /// Missing batches are missing where the journal ends, which is in an earlier segment.
    fn cut_at(&self, segment: u64, offset: u64, damage: Damage) -> Cut {
        let due = self.due.unwrap_or(1);
        match (damage, self.tail) {
            (Damage::Missing, Some(tail)) => {
                Cut { segment: tail.segment, offset: tail.end_offset, damage, due }
            }
            (Damage::Missing, None) => {
                let first = self.first.unwrap_or(segment);
                Cut { segment: first, offset: SECTOR as u64, damage, due }
            }
            _ => Cut { segment, offset, damage, due },
        }
    }
}

impl Cut {
    fn refused(self, evidence: Evidence) -> Refusal {
        refusal(self.segment, self.offset, Cause::Corrupt(self.damage, evidence))
    }
}

/// Reads a whole journal that is in memory: convenient for a simulated disk.
///
/// # Errors
/// [`Refusal`]: the journal must not be opened.
pub fn recover<'a>(
    cluster: ClusterId,
    node: NodeId,
    segments: impl IntoIterator<Item = (u64, &'a Bytes)>,
) -> Result<(Vec<Record>, Recovered), Refusal> {
    let mut recovery = Recovery::new(cluster, node);
    let mut records = Vec::new();
    for (number, bytes) in segments {
        records.append(&mut recovery.feed(number, bytes)?);
    }
    Ok((records, recovery.finish()))
}

fn refusal(segment: u64, offset: u64, cause: Cause) -> Refusal {
    Refusal { segment, offset, cause }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Corrupt(damage, evidence) => {
                write!(f, "{damage}, and this is no torn write: {evidence}")
            }
            Self::SegmentMissing { due } => write!(f, "segment {due} is missing before it"),
        }
    }
}
