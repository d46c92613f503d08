//! The simulated disk of one replica: a journal in the production format whose unsynced bytes a
//! crash may forget, tear or shuffle.
//!
//! Writing is the production discipline: one batch at a time, sealed, written, synced, then the
//! next. Only the device is simulated.

use bytes::Bytes;
use panchayat_consensus::wire::Encode;
use panchayat_consensus::{ClusterId, EpochNumber, GroupId, NodeId, RecordSeq};
use panchayat_core::journal::{self, Batch, SECTOR, SegmentHeader};

use crate::rng::Rng;

/// What a crash leaves of the write that was not synced yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Everything: the write had reached the disk, only the word about it was lost.
    All,
    /// A prefix that ends anywhere, perhaps inside a record.
    Prefix,
    /// Any subset of its sectors, in any combination; the others read as zeros or as garbage.
    Sectors,
}

impl Keep {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::All, Self::Prefix, Self::Sectors];
}

/// What a restart found.
#[derive(Debug)]
pub struct Opened {
    /// The payloads of the records, in order.
    pub payloads: Vec<Bytes>,
    /// Whether a torn tail was cut.
    pub torn: bool,
}

#[derive(Debug)]
struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    records: usize,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    from: usize,
    upto: RecordSeq,
}

/// A journal on a disk that can lose what was not synced.
#[derive(Debug)]
pub struct Disk {
    cluster: ClusterId,
    node: NodeId,
    group: GroupId,
    epoch: EpochNumber,
    segments: Vec<Segment>,
    next_sequence: u64,
    waiting: Batch,
    waiting_upto: RecordSeq,
    /// The mark of this snapshot is in the batch that waits.
    waiting_mark: Option<u64>,
    /// The segments that begin with the batch in which a snapshot's mark is.
    marks: Vec<(u64, u64)>,
    flight: Option<Flight>,
    /// There is no space: what waits is not written.
    full: bool,
    rng: Rng,
}

impl Disk {
    /// An empty disk for the replica with index `index`.
    pub fn new(seed: u64, index: usize, group: GroupId, epoch: EpochNumber) -> Self {
        let mut disk = Self {
            cluster: ClusterId(u128::from(seed)),
            node: NodeId(index as u64 + 1),
            group,
            epoch,
            segments: Vec::new(),
            next_sequence: 1,
            waiting: Batch::default(),
            waiting_upto: RecordSeq(0),
            waiting_mark: None,
            marks: Vec::new(),
            flight: None,
            full: false,
            rng: Rng::new(seed, &format!("disk {index}")),
        };
        disk.begin_segment(1);
        disk
    }

    /// Appends a record to the batch that waits to be written.
    pub fn append(&mut self, record: &impl Encode) {
        let payload = panchayat_consensus::wire::to_bytes(record);
        self.waiting.push(self.group, self.epoch, &payload);
    }

    /// Appends the mark of a snapshot. The batch that it is in will begin a segment.
    pub fn append_mark(&mut self, number: u64, mark: &impl Encode) {
        self.append(mark);
        self.waiting_mark = Some(number);
    }

    /// Removes the segments below the mark of a snapshot. Gives the number of records in them.
    pub fn cut(&mut self, snapshot: u64) -> usize {
        let Some((_, first)) = self.marks.iter().find(|(number, _)| *number == snapshot) else {
            return 0;
        };
        let first = *first;
        self.marks.retain(|(_, segment)| *segment >= first);
        let below = |segment: &&Segment| segment.header.number < first;
        let records = self.segments.iter().filter(below).map(|segment| segment.records).sum();
        self.segments.retain(|segment| segment.header.number >= first);
        records
    }

    /// Notes that the last record appended has number `upto`. Returns whether a write begins now:
    /// then [`Disk::synced`] must be called when its sync is done.
    pub fn flush(&mut self, upto: RecordSeq) -> bool {
        self.waiting_upto = upto;
        self.may_write() && self.begin_write()
    }

    /// There is no space from now on, or there is again. Returns whether a write begins now.
    pub fn set_full(&mut self, full: bool) -> bool {
        self.full = full;
        self.may_write() && !self.waiting.is_empty() && self.begin_write()
    }

    /// Whether something waits for space.
    pub fn is_blocked(&self) -> bool {
        self.full && !self.waiting.is_empty()
    }

    fn may_write(&self) -> bool {
        self.flight.is_none() && !self.full
    }

    /// The write in flight is synced. Returns what is durable now, and whether the next write
    /// began at once.
    pub fn synced(&mut self) -> (RecordSeq, bool) {
        let flight = self.flight.take().expect("a sync without a write");
        (flight.upto, self.may_write() && !self.waiting.is_empty() && self.begin_write())
    }

    /// The process died: what waited is gone, and of what was in flight `keep` says what is left.
    pub fn crash(&mut self, keep: Keep) {
        self.waiting = Batch::default();
        self.waiting_upto = RecordSeq(0);
        self.waiting_mark = None;
        let Some(flight) = self.flight.take() else { return };
        let segment = self.segments.last_mut().expect("a journal has a segment");
        let written = segment.bytes.len() - flight.from;
        match keep {
            Keep::All => {}
            Keep::Nothing => segment.bytes.truncate(flight.from),
            Keep::Prefix => {
                let kept = self.rng.below(written as u64 + 1) as usize;
                segment.bytes[flight.from + kept..].fill(0);
            }
            Keep::Sectors => {
                for sector in segment.bytes[flight.from..].chunks_mut(SECTOR) {
                    match self.rng.below(4) {
                        0 | 1 => {}
                        2 => sector.fill(0),
                        _ => sector.fill_with(|| self.rng.bits() as u8),
                    }
                }
            }
        }
    }

    /// Reads the journal back as a starting process does, and makes it fit to be written again.
    ///
    /// # Errors
    /// The journal's refusal, as text.
    pub fn open(&mut self) -> Result<Opened, String> {
        assert!(self.flight.is_none(), "a disk is opened after a crash, not during a write");
        let images: Vec<(u64, Bytes)> = self
            .segments
            .iter()
            .map(|segment| (segment.header.number, Bytes::copy_from_slice(&segment.bytes)))
            .collect();
        let read = journal::recover(
            self.cluster,
            self.node,
            images.iter().map(|(number, bytes)| (*number, bytes)),
        );
        let (records, recovered) = read.map_err(|refusal| refusal.to_string())?;
        match recovered.tail {
            Some(tail) => {
                self.segments.retain(|segment| segment.header.number <= tail.segment);
                let last = self.segments.last_mut().expect("the tail is in a segment");
                last.bytes.truncate(tail.end_offset as usize);
            }
            None => self.segments.clear(),
        }
        self.next_sequence = recovered.next_sequence;
        for segment in &mut self.segments {
            let within = records.iter().filter(|record| record.segment == segment.header.number);
            segment.records = within.count();
        }
        self.begin_segment(recovered.next_segment);
        let payloads = records
            .into_iter()
            .filter(|record| record.group == self.group && record.epoch == self.epoch)
            .map(|record| record.payload)
            .collect();
        Ok(Opened { payloads, torn: recovered.cut.is_some() })
    }

    /// Flips one bit of what is known to be synced; false if there is nothing such.
    pub fn flip_bit(&mut self) -> bool {
        let witnessed: Vec<usize> = (0..self.segments.len().saturating_sub(1))
            .filter(|index| self.segments[*index].bytes.len() > SECTOR)
            .collect();
        let Some(index) = witnessed.first().copied() else { return false };
        let index = if self.rng.percent(50) { *self.rng.pick(&witnessed) } else { index };
        let bytes = &mut self.segments[index].bytes;
        let at = self.rng.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << self.rng.below(8);
        true
    }

    /// Bytes in the journal, headers and padding included.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }

    fn begin_segment(&mut self, number: u64) {
        let (cluster, node) = (self.cluster, self.node);
        let header = SegmentHeader { cluster, node, number, salt: self.rng.bits() };
        self.segments.push(Segment { header, bytes: header.encode().to_vec(), records: 0 });
        // The marker: its word makes everything before it a matter of record.
        let mut marker = Batch::default();
        self.write(&mut marker);
    }

    fn begin_write(&mut self) -> bool {
        if let Some(number) = self.waiting_mark.take() {
            let last = self.segments.last().expect("a journal has a segment").header.number;
            self.begin_segment(last + 1);
            self.marks.push((number, last + 1));
        }
        let from = self.segments.last().expect("a journal has a segment").bytes.len();
        let mut batch = std::mem::take(&mut self.waiting);
        self.write(&mut batch);
        batch.clear();
        self.waiting = batch;
        self.flight = Some(Flight { from, upto: self.waiting_upto });
        true
    }

    fn write(&mut self, batch: &mut Batch) {
        let segment = self.segments.last_mut().expect("a journal has a segment");
        let sequence = self.next_sequence;
        let offset = segment.bytes.len() as u64;
        segment.records += batch.count() as usize;
        let sealed = batch.seal(&segment.header, offset, sequence, sequence - 1);
        segment.bytes.extend_from_slice(sealed);
        self.next_sequence += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{InstanceId, ReplicaId};

    fn id(slot: u64) -> InstanceId {
        InstanceId::new(ReplicaId(1), slot)
    }

    fn disk(seed: u64) -> Disk {
        Disk::new(seed, 0, GroupId(1), EpochNumber(1))
    }

    /// Two synced records, then `unsynced` more in flight.
    fn half_written(seed: u64, unsynced: u64) -> Disk {
        let mut disk = disk(seed);
        disk.append(&id(1));
        disk.append(&id(2));
        assert!(disk.flush(RecordSeq(2)));
        assert_eq!(disk.synced(), (RecordSeq(2), false));
        for slot in 3..3 + unsynced {
            disk.append(&id(slot));
        }
        assert!(disk.flush(RecordSeq(2 + unsynced)));
        disk
    }

    #[test]
    fn a_sync_covers_what_was_written_when_it_began_and_the_next_one_the_rest() {
        let mut disk = disk(1);
        disk.append(&id(1));
        assert!(disk.flush(RecordSeq(1)));
        disk.append(&id(2));
        assert!(!disk.flush(RecordSeq(2)));
        assert_eq!(disk.synced(), (RecordSeq(1), true));
        assert_eq!(disk.synced(), (RecordSeq(2), false));
    }

    #[test]
    fn what_comes_to_a_full_disk_waits_for_space() {
        let mut disk = half_written(1, 1);
        assert!(!disk.set_full(true) && !disk.is_blocked(), "what was begun has its space");
        disk.append(&id(9));
        assert!(!disk.flush(RecordSeq(4)) && disk.is_blocked());
        assert_eq!(disk.synced(), (RecordSeq(3), false));
        assert!(disk.set_full(false) && !disk.is_blocked());
        assert_eq!(disk.synced(), (RecordSeq(4), false));
    }

    #[test]
    fn whatever_a_crash_does_to_the_tail_the_synced_records_come_back() {
        let mut found = Vec::new();
        for seed in 0..200 {
            for keep in Keep::ALL {
                let mut disk = half_written(seed, 60);
                disk.crash(keep);
                let opened = disk.open().unwrap();
                assert!(opened.payloads.len() >= 2, "{keep:?} lost a synced record");
                found.push((keep, opened.payloads.len(), opened.torn));
                // And it can be written and read again.
                disk.append(&id(99));
                disk.flush(RecordSeq(1));
                disk.synced();
                disk.crash(Keep::Nothing);
                assert_eq!(disk.open().unwrap().payloads.len(), opened.payloads.len() + 1);
            }
        }
        assert!(found.contains(&(Keep::Nothing, 2, false)));
        assert!(found.contains(&(Keep::All, 62, false)));
        assert!(found.contains(&(Keep::Prefix, 2, true)));
        assert!(found.contains(&(Keep::Sectors, 2, true)));
    }

    #[test]
    fn what_waited_behind_a_write_is_forgotten() {
        let mut disk = half_written(1, 1);
        disk.append(&id(9));
        disk.flush(RecordSeq(4));
        disk.crash(Keep::All);
        assert_eq!(disk.open().unwrap().payloads.len(), 3);
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        for seed in 0..100 {
            let mut disk = half_written(seed, 1);
            disk.crash(Keep::All);
            disk.open().unwrap();
            assert!(disk.flip_bit());
            let refusal = disk.open().unwrap_err();
            assert!(refusal.contains("segment 1"), "{refusal}");
        }
    }
}
