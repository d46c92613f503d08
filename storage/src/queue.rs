//! What the groups, the committer and the housekeeper share, under one short lock.
//!
//! Records are encoded straight into the pending batch. The committer swaps it for the one that
//! it has just written: two buffers, reused for ever, no allocation per record.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panchayat_consensus::RecordSeq;
use panchayat_consensus::ids::{EpochNumber, GroupId};
use panchayat_core::journal::{Batch, RECORD_HEADER_BYTES};
use panchayat_core::snapshot::JournalPosition;
use parking_lot::{Condvar, Mutex};

use crate::config::JournalConfig;
use crate::directory::Segment;
use crate::error::{AppendError, JournalFailed};
use crate::stats::Counters;
use crate::writer::OnDurable;

/// Shared by everybody who holds a piece of a journal.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: JournalConfig,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) counters: Mutex<Counters>,
    /// The committer waits here: for records, for a segment, for the end.
    pub(crate) work: Condvar,
    /// Appenders wait here for space in the queue.
    pub(crate) space: Condvar,
    /// The housekeeper waits here for something to prepare.
    pub(crate) prepare: Condvar,
    /// The housekeeper must end, even in the middle of a segment.
    pub(crate) stopping: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) pending: Batch,
    pub(crate) marks: Vec<Mark>,
    /// Bytes of records that the committer has taken and not yet made durable.
    pub(crate) in_flight: usize,
    /// Appends that wait for space.
    pub(crate) waiting: usize,
    /// Groups of the writers, by slot.
    pub(crate) groups: Vec<GroupId>,
    /// Callbacks that the committer has not fetched yet.
    pub(crate) joining: Vec<OnDurable>,
    pub(crate) sleeping: bool,
    pub(crate) closing: bool,
    pub(crate) failed: Option<JournalFailed>,
    pub(crate) full: Option<FullReason>,
    /// The segment prepared ahead.
    pub(crate) next: Option<Segment>,
    /// All segments in use, the current one last.
    pub(crate) segments: Vec<SegmentInfo>,
    /// How far each writer's records are durable, by slot.
    pub(crate) durable: Vec<RecordSeq>,
    /// Of each group: the first segment that it still needs.
    pub(crate) released: BTreeMap<GroupId, u64>,
    /// The current segment is to be ended early.
    pub(crate) rotate: bool,
}

/// What a batch means to one writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) slot: usize,
    /// With the batch, everything up to this one is durable.
    pub(crate) upto: RecordSeq,
    /// The number before that of the first record; `None` without records.
    pub(crate) before: Option<RecordSeq>,
}

/// One segment of the journal and who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// Its length on disk, in bytes.
    pub bytes: u64,
    /// The groups that have records in it, each with the last one; `RecordSeq(0)` if it is from
    /// before this journal was opened. The segment may go when each of these groups has a durable
    /// snapshot, taken after the opening, that covers that record.
    pub groups: Vec<(GroupId, RecordSeq)>,
    /// For each of `groups`, the number before that of its first record in the segment.
    before: Vec<RecordSeq>,
}

/// Why new appends are refused for now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullReason {
    /// The next segment could not be reserved.
    Device {
        /// The directory.
        dir: PathBuf,
    },
    /// The segments take as much as the settings allow.
    Limit {
        /// The limit.
        journal_bytes_max: u64,
    },
}

/// How a journal is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Health {
    /// It takes appends.
    Good,
    /// It refuses appends until there is space.
    Full(FullReason),
    /// It is poisoned.
    Failed(JournalFailed),
}

impl Shared {
    pub(crate) fn new(config: JournalConfig, segments: Vec<SegmentInfo>) -> Self {
        Self {
            config,
            queue: Mutex::new(Queue { segments, ..Queue::default() }),
            counters: Mutex::new(Counters::default()),
            work: Condvar::new(),
            space: Condvar::new(),
            prepare: Condvar::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Encodes records into the pending batch, waiting while the queue is at its limit.
    pub(crate) fn append<R: AsRef<[u8]>>(
        &self,
        slot: usize,
        epoch: EpochNumber,
        records: &[R],
        upto: RecordSeq,
    ) -> Result<(), AppendError> {
        let bytes_max = self.config.queue_bytes_max;
        let bytes = encoded_bytes(records);
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let mut queue = self.queue.lock();
        queue.check_open()?;
        // Who comes later does not overtake who waits, or a large append might wait for ever.
        let mut must_wait = queue.waiting > 0;
        while must_wait || queue.bytes() + bytes > bytes_max {
            must_wait = false;
            self.wake(&mut queue);
            self.counters.lock().waits += 1;
            queue.waiting += 1;
            self.space.wait(&mut queue);
            queue.waiting -= 1;
            queue.check_open()?;
        }
        let group = queue.groups[slot];
        for record in records {
            queue.pending.push(group, epoch, record.as_ref());
        }
        let before = RecordSeq(upto.0 - records.len() as u64);
        queue.mark(slot, upto, (!records.is_empty()).then_some(before));
        self.wake(&mut queue);
        Ok(())
    }

    /// Poisons the journal, unless it is already.
    pub(crate) fn fail(&self, failed: JournalFailed) {
        let mut queue = self.queue.lock();
        if queue.failed.is_none() {
            tracing::error!(%failed, "the journal is poisoned");
            queue.failed = Some(failed);
        }
        drop(queue);
        self.wake_all();
    }

    /// Asks the housekeeper to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Taken once, so that a housekeeper about to wait sees the flag or the wake-up.
        drop(self.queue.lock());
        self.wake_all();
    }

    pub(crate) fn wake_all(&self) {
        self.work.notify_all();
        self.space.notify_all();
        self.prepare.notify_all();
    }

    fn wake(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.sleeping) {
            self.work.notify_one();
        }
    }
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.pending.record_bytes() + self.in_flight
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.marks.is_empty() || !self.pending.is_empty()
    }

    pub(crate) fn check_open(&self) -> Result<(), AppendError> {
        match &self.failed {
            Some(failed) => Err(AppendError::Failed(failed.clone())),
            None if self.closing => Err(AppendError::Closed),
            None => self.full.clone().map_or(Ok(()), |reason| Err(AppendError::DiskFull(reason))),
        }
    }

    /// Notes that the pending batch completes `upto`. A process has few groups: a search is
    /// cheapest.
    fn mark(&mut self, slot: usize, upto: RecordSeq, before: Option<RecordSeq>) {
        match self.marks.iter_mut().find(|mark| mark.slot == slot) {
            Some(mark) => {
                mark.upto = upto;
                mark.before = mark.before.or(before);
            }
            None => self.marks.push(Mark { slot, upto, before }),
        }
    }

    /// Where in the journal `group` goes on after record `after`; `None` while that is not
    /// durable.
    pub(crate) fn position(&self, group: GroupId, after: RecordSeq) -> Option<JournalPosition> {
        let slots = self.groups.iter().zip(&self.durable);
        let durable = slots.filter(|(known, _)| **known == group).map(|(_, upto)| *upto).max();
        if after > durable.unwrap_or_default() {
            return None;
        }
        // Records from before this process have the number 0: they lie before every position.
        let goes_on =
            |segment: &&SegmentInfo| segment.numbers(group).is_some_and(|(_, last)| last > after);
        let segment = self.segments.iter().find(goes_on).or(self.segments.last())?;
        let skip = segment
            .numbers(group)
            .map_or(0, |(before, last)| after.min(last).0.saturating_sub(before.0));
        Some(JournalPosition { segment: segment.number, skip })
    }

    /// The first segment that must stay: some group has records in it that it needs, or will look
    /// for the next ones from there on, or it is being written.
    pub(crate) fn first_needed(&self) -> Option<u64> {
        let released = |group: &GroupId| self.released.get(group).copied().unwrap_or(0);
        let of_known = self.groups.iter().chain(self.released.keys()).map(released).min();
        let needed = |segment: &&SegmentInfo| {
            of_known.is_none_or(|first| segment.number >= first)
                || segment.groups.iter().any(|(group, _)| released(group) <= segment.number)
        };
        Some(self.segments.iter().find(needed).or(self.segments.last())?.number)
    }

    /// Whether `group` is among those for which the oldest segment is kept.
    pub(crate) fn pins_oldest(&self, group: GroupId) -> bool {
        let released = self.released.get(&group).copied().unwrap_or(0);
        self.segments.first().is_some_and(|oldest| released <= oldest.number)
    }

    /// Waits on `condvar` for at most `timeout`; for ever if there is none. False at the timeout.
    pub(crate) fn wait(
        queue: &mut parking_lot::MutexGuard<'_, Self>,
        condvar: &Condvar,
        timeout: Option<Duration>,
    ) -> bool {
        match timeout {
            Some(timeout) => !condvar.wait_for(queue, timeout).timed_out(),
            None => {
                condvar.wait(queue);
                true
            }
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("bytes", &self.bytes())
            .field("closing", &self.closing)
            .field("failed", &self.failed)
            .field("full", &self.full)
            .finish_non_exhaustive()
    }
}

/// What records take in a batch, in bytes.
pub(crate) fn encoded_bytes<R: AsRef<[u8]>>(records: &[R]) -> usize {
    records.iter().map(|record| RECORD_HEADER_BYTES + record.as_ref().len()).sum()
}

impl SegmentInfo {
    pub(crate) fn empty(number: u64, bytes: u64) -> Self {
        Self { number, bytes, groups: Vec::new(), before: Vec::new() }
    }

    /// Notes records of `group`, from the one after `before` to `upto`.
    pub(crate) fn note(&mut self, group: GroupId, before: RecordSeq, upto: RecordSeq) {
        match self.groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, last)) => *last = upto.max(*last),
            None => {
                self.groups.push((group, upto));
                self.before.push(before);
            }
        }
    }

    /// The number before the first record of `group` in the segment, and that of the last.
    fn numbers(&self, group: GroupId) -> Option<(RecordSeq, RecordSeq)> {
        let at = self.groups.iter().position(|(known, _)| *known == group)?;
        Some((self.before[at], self.groups[at].1))
    }
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { dir } => {
                write!(f, "no space for the next segment in {}", dir.display())
            }
            Self::Limit { journal_bytes_max } => {
                write!(f, "its limit is {journal_bytes_max} bytes; a snapshot would free some")
            }
        }
    }
}
