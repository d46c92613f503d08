//! Records on their way to the journal.
//!
//! The protocol has stepped when they arrive here, so they must be kept: on a full disk they wait,
//! and with them everything that may not leave before them.

use std::ops::Range;

use panchayat_consensus::wire::{Encode, Writer};
use panchayat_consensus::{EpochNumber, RecordSeq};
use panchayat_core::journal::RECORD_HEADER_BYTES;
use panchayat_storage::{AppendError, JournalWriter};

use crate::error::Stopped;

pub(crate) struct Records {
    writer: JournalWriter,
    epoch: EpochNumber,
    encoded: Writer,
    ranges: Vec<Range<usize>>,
    /// How many of them the journal has taken.
    taken: usize,
    /// The number of the last.
    upto: RecordSeq,
    /// Bytes of all records so far.
    pub(crate) bytes: u64,
}

impl Records {
    pub(crate) fn new(writer: JournalWriter, epoch: EpochNumber) -> Self {
        let encoded = Writer::default();
        let (ranges, upto) = (Vec::new(), RecordSeq(0));
        Self { writer, epoch, encoded, ranges, taken: 0, upto, bytes: 0 }
    }

    pub(crate) fn push(&mut self, record: &impl Encode) {
        let start = self.encoded.len();
        record.encode(&mut self.encoded);
        self.ranges.push(start..self.encoded.len());
        self.bytes += (self.encoded.len() - start) as u64;
        self.upto.0 += 1;
    }

    /// Whether records wait for space on the disk.
    pub(crate) fn are_blocked(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Offers everything to the journal. `false` if the disk is full: nothing is lost, try again.
    ///
    /// # Errors
    /// Why the journal takes no records any more.
    pub(crate) fn write(&mut self) -> Result<bool, Stopped> {
        let bytes = self.encoded.as_slice();
        let records: Vec<_> = self.ranges.iter().map(|range| &bytes[range.clone()]).collect();
        while self.taken < records.len() {
            let rest = &records[self.taken..];
            let fitting = &rest[..fitting(rest, self.writer.append_bytes_max())];
            let upto = RecordSeq(self.upto.0 - (rest.len() - fitting.len()) as u64);
            match self.writer.append(self.epoch, fitting, upto) {
                Ok(()) => self.taken += fitting.len(),
                Err(AppendError::DiskFull(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.encoded.clear();
        self.ranges.clear();
        self.taken = 0;
        Ok(true)
    }
}

/// How many of `records` fit into one append: at least one, which the journal may then refuse.
fn fitting(records: &[&[u8]], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fit = records.iter().take_while(|record| {
        bytes += RECORD_HEADER_BYTES + record.len();
        bytes <= bytes_max
    });
    fit.count().max(1)
}
