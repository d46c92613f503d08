//! The journal's thread: takes what is queued, writes it, syncs it, tells the groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use panchayat_core::journal::Batch;

use crate::backend::write_all_at;
use crate::config::Durability;
use crate::directory::Segment;
use crate::error::JournalFailed;
use crate::queue::{Mark, Queue, SegmentInfo, Shared};
use crate::writer::OnDurable;

/// Owns the segment that is written to.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    current: Segment,
    /// Of the next batch.
    sequence: u64,
    synced_upto: u64,
    /// The last batch holds records, and no later one says that it was synced.
    witness_due: bool,
    batch: Batch,
    marks: Vec<Mark>,
    on_durable: Vec<OnDurable>,
}

enum Turn {
    Work,
    Idle,
    Rotate,
    Close,
}

impl Committer {
    /// Goes on in `current`, everything below `next_sequence` being synced.
    pub(crate) fn new(shared: Arc<Shared>, current: Segment, next_sequence: u64) -> Self {
        Self {
            shared,
            current,
            sequence: next_sequence,
            synced_upto: next_sequence - 1,
            witness_due: false,
            batch: Batch::default(),
            marks: Vec::new(),
            on_durable: Vec::new(),
        }
    }

    /// Until the journal is closed or fails. On failure every callback is told, once.
    pub(crate) fn run(mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| self.turns()));
        let failed = match result {
            Ok(Ok(())) => return,
            Ok(Err(failed)) => failed,
            Err(_) => JournalFailed::Panicked,
        };
        self.shared.fail(failed.clone());
        self.on_durable.append(&mut self.shared.queue.lock().joining);
        for on_durable in &self.on_durable {
            // One group's callback that panics must not keep the news from the others.
            let _ = catch_unwind(AssertUnwindSafe(|| on_durable(Err(failed.clone()))));
        }
    }

    fn turns(&mut self) -> Result<(), JournalFailed> {
        loop {
            match self.take()? {
                Turn::Work => {
                    // An append without records has nothing to write: all before it is durable.
                    if !self.batch.is_empty() {
                        self.write()?;
                        self.witness_due = true;
                    }
                    self.report();
                }
                Turn::Idle => self.write_marker()?,
                Turn::Rotate => {
                    self.roll()?;
                    self.witness_due = true;
                    self.write_marker()?;
                    self.shared.space.notify_all();
                }
                Turn::Close => return self.write_marker(),
            }
        }
    }

    /// Swaps the pending batch for the written one, waiting until there is something to do.
    fn take(&mut self) -> Result<Turn, JournalFailed> {
        let idle = (self.witness_due && self.synced_upto + 1 == self.sequence)
            .then_some(self.shared.config.idle_marker_after);
        let mut queue = self.shared.queue.lock();
        loop {
            if let Some(failed) = &queue.failed {
                return Err(failed.clone());
            }
            if queue.rotate && queue.next.is_some() {
                queue.rotate = false;
                return Ok(Turn::Rotate);
            }
            if queue.has_work() {
                self.batch.clear();
                std::mem::swap(&mut queue.pending, &mut self.batch);
                std::mem::swap(&mut queue.marks, &mut self.marks);
                queue.in_flight = self.batch.record_bytes();
                self.on_durable.append(&mut queue.joining);
                return Ok(Turn::Work);
            }
            if queue.closing {
                return Ok(Turn::Close);
            }
            queue.sleeping = true;
            let woken = Queue::wait(&mut queue, &self.shared.work, idle);
            queue.sleeping = false;
            let rotates = queue.rotate && queue.next.is_some();
            if !woken && !queue.has_work() && !queue.closing && !rotates {
                return Ok(Turn::Idle);
            }
        }
    }

    /// One write, one sync.
    fn write(&mut self) -> Result<(), JournalFailed> {
        if !self.current.fits(self.batch.sealed_bytes()) {
            self.roll()?;
        }
        let Self { current, batch, .. } = self;
        let count = batch.count();
        let record_bytes = batch.record_bytes();
        let bytes = batch.seal(&current.header, current.offset, self.sequence, self.synced_upto);
        let length = bytes.len() as u64;
        write_all_at(&*current.file, current.offset, bytes)
            .map_err(JournalFailed::io("write", &current.path))?;
        let mut took = None;
        if self.shared.config.durability == Durability::Fsync {
            let started = Instant::now();
            current.file.sync_data().map_err(JournalFailed::io("sync", &current.path))?;
            took = Some(started.elapsed());
            self.synced_upto = self.sequence;
        }
        current.offset += length;
        self.sequence += 1;

        let mut counters = self.shared.counters.lock();
        counters.records += u64::from(count);
        counters.bytes += record_bytes as u64;
        counters.batches += 1;
        counters.bytes_written += length;
        if let Some(took) = took {
            counters.synced(took);
        }
        Ok(())
    }

    /// Gives the last batch a witness: see [`panchayat_core::journal`]. Not worth a new segment
    /// that is not there yet.
    fn write_marker(&mut self) -> Result<(), JournalFailed> {
        self.batch.clear();
        let fits = self.current.fits(self.batch.sealed_bytes());
        if self.witness_due && (fits || self.shared.queue.lock().next.is_some()) {
            self.write()?;
        }
        self.witness_due = false;
        Ok(())
    }

    /// Goes on to the segment prepared ahead. On a full disk this waits until there is one again:
    /// what has been accepted is not dropped.
    fn roll(&mut self) -> Result<(), JournalFailed> {
        let mut queue = self.shared.queue.lock();
        loop {
            if let Some(failed) = &queue.failed {
                return Err(failed.clone());
            }
            if let Some(next) = queue.next.take() {
                queue.rotate = false;
                queue.segments.push(SegmentInfo::empty(next.header.number, next.bytes));
                self.current = next;
                self.shared.prepare.notify_one();
                return Ok(());
            }
            if queue.closing && queue.full.is_some() {
                return Err(JournalFailed::DiskFull { path: self.shared.config.dir.clone() });
            }
            Queue::wait(&mut queue, &self.shared.work, None);
        }
    }

    /// Makes room in the queue, notes who pins the segment, and tells the groups.
    fn report(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.in_flight = 0;
        let Queue { groups, segments, durable, .. } = &mut *queue;
        if let Some(segment) = segments.last_mut() {
            for mark in &self.marks {
                durable[mark.slot] = mark.upto;
                if let Some(before) = mark.before {
                    segment.note(groups[mark.slot], before, mark.upto);
                }
            }
        }
        drop(queue);
        self.shared.space.notify_all();
        for mark in self.marks.drain(..) {
            self.on_durable[mark.slot](Ok(mark.upto));
        }
    }
}
