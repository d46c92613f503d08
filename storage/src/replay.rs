//! What a journal held when it was opened, record by record.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::vec;

use panchayat_consensus::ids::{ClusterId, NodeId};
use panchayat_core::journal::{Cut, Record, Recovery};

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
            Ok(())
        }))
    }
}

impl Iterator for Replay {
    type Item = Result<Record, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(Ok(record));
            }
            if let Err(error) = self.read_next()? {
                self.stored.clear();
                return Some(Err(error));
            }
        }
    }
}
