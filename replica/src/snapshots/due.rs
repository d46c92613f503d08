//! When the next snapshot is due: after so many bytes of records, or before the journal is full. The
//! journal is shared: full it is cut by a snapshot of the group that pins its oldest segment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat_consensus::GroupId;
use panchayat_storage::Journal;

use crate::limits::Limits;

/// How often the journal's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Records are padded to sectors and segments begin with zeros, so files grow faster than records;
/// by so many times at most before that alone makes a snapshot due.
const FILES_PER_RECORDS: u64 = 4;
/// Segments that must stay free for what comes while a snapshot is written: the one prepared
/// ahead, and one more.
const SEGMENTS_AHEAD: u64 = 2;

/// Looks after the journal's length.
#[derive(Debug)]
pub(crate) struct Due {
    /// `None` if the journal keeps nothing: then nothing has to be cut.
    journal: Option<Arc<Journal>>,
    group: GroupId,
    record_bytes_max: u64,
    file_bytes_max: u64,
    /// Bytes of records written when the last snapshot was begun.
    begun_at: u64,
    looked: Instant,
    last_begun: Option<u64>,
}

impl Due {
    /// `journal` is that of the replica, if it keeps one, with `group` among those that write it.
    pub(crate) fn new(journal: Option<Arc<Journal>>, group: GroupId, limits: &Limits) -> Self {
        let bound = limits.journal_bytes_max;
        let reserve = SEGMENTS_AHEAD * limits.journal_segment_bytes;
        let grown = limits.snapshot_journal_bytes.saturating_mul(FILES_PER_RECORDS);
        Self {
            journal,
            group,
            record_bytes_max: limits.snapshot_journal_bytes,
            file_bytes_max: grown.min(bound.saturating_sub(reserve)),
            begun_at: 0,
            looked: Instant::now(),
            last_begun: None,
        }
    }

    /// Whether one is due, with `written` bytes of records written in this run.
    pub(crate) fn is_due(&mut self, written: u64) -> bool {
        let Some(journal) = &self.journal else { return false };
        if self.bytes_since(written) >= self.record_bytes_max {
            return true;
        }
        if self.looked.elapsed() < LOOK_INTERVAL {
            return false;
        }
        self.looked = Instant::now();
        let segments = journal.segments();
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        // A snapshot frees whole segments only: in the one where the last was begun it frees none.
        let newest = segments.last().map(|segment| segment.number);
        let frees = segments.len() > 1 && newest != self.last_begun;
        // Another group's snapshot would let it be cut no further than this group's last one. So a
        // group that pins the oldest segment takes one, even if it has written nothing since.
        frees && bytes >= self.file_bytes_max && journal.is_pinned_by(self.group)
    }

    /// Bytes of records since the last one was begun.
    pub(crate) fn bytes_since(&self, written: u64) -> u64 {
        written.saturating_sub(self.begun_at)
    }

    /// One was begun.
    pub(crate) fn begun(&mut self, written: u64) {
        self.begun_at = written;
        let segments = self.journal.as_ref().map(|journal| journal.segments());
        self.last_begun = segments.and_then(|all| all.last().map(|segment| segment.number));
    }
}
