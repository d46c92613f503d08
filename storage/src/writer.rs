//! A group's end of the journal.

use std::fmt;
use std::sync::Arc;

use panchayat_consensus::RecordSeq;
use panchayat_consensus::ids::{EpochNumber, GroupId};

use crate::error::{AppendError, JournalFailed};
use crate::queue::{Health, Shared, encoded_bytes};

/// Told how far a group's records are durable, or, once and last, that the journal has failed.
///
/// It runs on the journal's thread and holds up every group while it runs: hand the news on and
/// return. It must not wait for the journal, so it must not append. With
/// [`Durability::Memory`](crate::Durability::Memory) it runs inside [`JournalWriter::append`], on
/// the appender's thread, before `append` returns: do not hold a lock there that it takes.
pub type OnDurable = Box<dyn Fn(Result<RecordSeq, JournalFailed>) + Send>;

/// Appends the records of one group. Made by [`Journal::writer`](crate::Journal::writer).
pub struct JournalWriter {
    shared: Arc<Shared>,
    group: GroupId,
    slot: usize,
    /// The number of the last record taken.
    upto: RecordSeq,
    /// Called at once, if nothing is kept.
    memory: Option<OnDurable>,
}

impl JournalWriter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        group: GroupId,
        slot: usize,
        memory: Option<OnDurable>,
    ) -> Self {
        Self { shared, group, slot, upto: RecordSeq(0), memory }
    }

    /// Appends `records`, of which the last has the number `upto`: a process numbers the records
    /// of a group from 1 without a gap. When they and all before them
    /// are durable, the callback is given `upto`, or a later number if more has become durable.
    /// Without records, it is given when everything appended before is durable.
    ///
    /// The records are copied, into one batch: a crash leaves all of them or none. This does not
    /// wait for the disk, except while the queue is at its limit. There it waits instead of
    /// failing: a protocol that has stepped must have its records kept. To refuse work in time,
    /// look at [`queue_bytes`](JournalWriter::queue_bytes) before proposing.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of this append was taken.
    ///
    /// # Panics
    /// If `upto` is not the number that is due.
    pub fn append<R: AsRef<[u8]>>(
        &mut self,
        epoch: EpochNumber,
        records: &[R],
        upto: RecordSeq,
    ) -> Result<(), AppendError> {
        let due = self.upto.0 + records.len() as u64;
        assert_eq!(upto.0, due, "records are numbered without a gap");
        let Some(on_durable) = &self.memory else {
            self.shared.append(self.slot, epoch, records, upto)?;
            self.upto = upto;
            return Ok(());
        };
        self.shared.queue.lock().check_open()?;
        let mut counters = self.shared.counters.lock();
        counters.records += records.len() as u64;
        counters.bytes += encoded_bytes(records) as u64;
        drop(counters);
        self.upto = upto;
        on_durable(Ok(upto));
        Ok(())
    }

    /// The most that the records of one append may take: their lengths, and
    /// [`RECORD_HEADER_BYTES`](panchayat_core::journal::RECORD_HEADER_BYTES) for each.
    pub fn append_bytes_max(&self) -> usize {
        self.shared.config.queue_bytes_max
    }

    /// The group whose records these are.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Bytes appended and not yet durable, over all groups.
    pub fn queue_bytes(&self) -> usize {
        self.shared.queue.lock().bytes()
    }

    /// Whether appends are taken.
    pub fn health(&self) -> Health {
        self.shared.health()
    }
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        let queue = self.queue.lock();
        match (&queue.failed, &queue.full) {
            (Some(failed), _) => Health::Failed(failed.clone()),
            (None, Some(reason)) => Health::Full(reason.clone()),
            (None, None) => Health::Good,
        }
    }
}

impl fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalWriter").field("group", &self.group).finish_non_exhaustive()
    }
}
