//! What a journal held when it was opened, record by record.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::vec;

use panchayat_consensus::ids::{ClusterId, GroupId, NodeId};
use panchayat_core::journal::{Cut, Record, Recovery};
use panchayat_core::snapshot::JournalPosition;

use crate::backend::BackendFile;
use crate::config::SEGMENT_BYTES_MAX;
use crate::error::StorageError;

/// Every record of the journal, in the order of their appends.
///
/// Segments are read one at a time, so a long journal does not have to fit into memory. They were
/// all checked at opening; reading them again can only fail if the disk does.
#[derive(Debug)]
pub struct Replay {
    recovery: Recovery,
    first_segment: Option<u64>,
    stored: VecDeque<Stored>,
    records: vec::IntoIter<Record>,
    cut: Option<Cut>,
    last_segment: Option<u64>,
    /// The segment whose records are handed out.
    reading: Option<u64>,
    covered: BTreeMap<GroupId, Covered>,
}

/// What of a group a snapshot covers.
#[derive(Debug)]
struct Covered {
    position: JournalPosition,
    /// How many of the records to be skipped in its segment have been.
    skipped: u64,
}

/// A segment to be read; open, so that it may be removed meanwhile.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn BackendFile>,
}

impl Replay {
    pub(crate) fn new(
        cluster: ClusterId,
        node: NodeId,
        stored: Vec<Stored>,
        cut: Option<Cut>,
    ) -> Self {
        Self {
            recovery: Recovery::new(cluster, node),
            first_segment: stored.first().map(|segment| segment.number),
            last_segment: stored.last().map(|segment| segment.number),
            reading: None,
            covered: BTreeMap::new(),
            stored: stored.into(),
            records: Vec::new().into_iter(),
            cut,
        }
    }

    /// The oldest segment there is; `None` in a new journal. Above 1 if older ones were removed:
    /// then there must be snapshots that cover them.
    pub fn first_segment(&self) -> Option<u64> {
        self.first_segment
    }

    /// The torn write that was cut off at the end, if there was one. Nothing in it was ever
    /// reported durable.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Leaves out what snapshots cover. `groups` names every group of the process with the
    /// position of its newest snapshot ([`Owner::journal`]), or with [`JournalPosition::START`] if
    /// it has none. (Where the journal may have been cut already, a new group must therefore
    /// write its first snapshot before its first record.)
    ///
    /// The records of other groups are not left out.
    ///
    /// # Errors
    /// [`StorageError::MissingRecords`] if the journal begins too late: what lies between snapshot
    /// and journal is lost. [`StorageError::JournalBehind`] if the journal ends before the
    /// snapshot was taken; the iterator may find that, too.
    ///
    /// [`Owner::journal`]: panchayat_core::snapshot::Owner::journal
    pub fn after(
        mut self,
        groups: impl IntoIterator<Item = (GroupId, JournalPosition)>,
    ) -> Result<Self, StorageError> {
        for (group, position) in groups {
            let due = position.segment;
            if let Some(first) = self.first_segment.filter(|first| *first > due) {
                return Err(StorageError::MissingRecords { group, first, due });
            }
            // The segment that was begun last is gone if nothing was written to it.
            let next = self.last_segment.map_or(1, |last| last + 1);
            if due > next || due == next && position.skip > 0 {
                return Err(StorageError::JournalBehind { group, position });
            }
            self.covered.insert(group, Covered { position, skipped: 0 });
        }
        Ok(self)
    }

    /// Whether a snapshot covers this record.
    fn is_covered(&mut self, record: &Record) -> bool {
        let Some(covered) = self.covered.get_mut(&record.group) else { return false };
        match record.segment.cmp(&covered.position.segment) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                let skips = covered.skipped < covered.position.skip;
                covered.skipped += u64::from(skips);
                skips
            }
        }
    }

    /// After segment `number`: what should have been left out of it must have been there.
    fn check_skipped(&self, number: u64) -> Result<(), StorageError> {
        let behind = self.covered.iter().find(|(_, covered)| {
            covered.position.segment == number && covered.skipped < covered.position.skip
        });
        behind.map_or(Ok(()), |(group, covered)| {
            Err(StorageError::JournalBehind { group: *group, position: covered.position })
        })
    }

    fn read_next(&mut self) -> Option<Result<(), StorageError>> {
        let segment = self.stored.pop_front()?;
        let read = segment.file.read_all(SEGMENT_BYTES_MAX);
        let read = read.map_err(StorageError::io("read", &segment.path));
        Some(read.and_then(|bytes| {
            let records = self
                .recovery
                .feed(segment.number, &bytes.into())
                .map_err(|refusal| StorageError::Refused { path: segment.path, refusal })?;
            self.records = records.into_iter();
            self.reading = Some(segment.number);
            Ok(())
        }))
    }
}

impl Iterator for Replay {
    type Item = Result<Record, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(record) = self.records.next() {
                if !self.is_covered(&record) {
                    return Some(Ok(record));
                }
            }
            let finished = self.reading.take().map_or(Ok(()), |number| self.check_skipped(number));
            let read = match finished {
                Ok(()) => self.read_next()?,
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                self.stored.clear();
                return Some(Err(error));
            }
        }
    }
}
