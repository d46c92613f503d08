//! The journal as its process holds it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use panchayat_consensus::RecordSeq;
use panchayat_consensus::ids::GroupId;
use panchayat_core::snapshot::JournalPosition;
use parking_lot::Mutex;

use crate::backend::DirectoryLock;
use crate::committer::Committer;
use crate::config::{Durability, JournalConfig};
use crate::directory::Directory;
use crate::error::{JournalFailed, StorageError};
use crate::housekeeper;
use crate::opening::{self, Opened};
use crate::queue::{Health, Queue, SegmentInfo, Shared};
use crate::replay::Replay;
use crate::stats::JournalStats;
use crate::writer::{JournalWriter, OnDurable};

/// The one journal of a process. Dropping it closes it.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    directory: Directory,
    committer: Option<JoinHandle<()>>,
    housekeeper: Option<JoinHandle<()>>,
    /// Held while segments are removed, so that only one does it.
    removing: Mutex<()>,
    /// Last, so that the directory is given up when the threads are gone.
    _lock: Option<Box<dyn DirectoryLock>>,
}

impl Journal {
    /// Opens the journal in `config.dir`, or starts one there, and gives back what it holds.
    ///
    /// When this returns, everything that is replayed is durable, a torn tail is cut for good,
    /// and a new segment is begun. It takes as long as reading the journal and writing one
    /// segment of zeros.
    ///
    /// # Errors
    /// [`StorageError`]; after [`StorageError::Refused`] nothing has been changed.
    pub fn open(config: JournalConfig) -> Result<(Self, Replay), StorageError> {
        let config = config.checked()?;
        if config.durability == Durability::Memory {
            let replay = Replay::new(config.cluster, config.node, Vec::new(), None);
            let directory = Directory::new(&config);
            return Ok((Self::without_threads(config, directory, Vec::new(), None), replay));
        }
        let Opened { directory, lock, segments, current, next_sequence, replay } =
            opening::open(&config)?;
        let of_journal = directory.clone();
        let mut journal = Self::without_threads(config, of_journal, segments, Some(lock));
        let committer = Committer::new(Arc::clone(&journal.shared), current, next_sequence);
        journal.committer = Some(journal.spawn("journal", move || committer.run())?);
        let shared = Arc::clone(&journal.shared);
        let keep = move || housekeeper::run(&shared, &directory);
        journal.housekeeper = Some(journal.spawn("journal-next", keep)?);
        Ok((journal, replay))
    }

    /// A writer for `group`. Each group of the process has its own; its callback lives as long as
    /// the journal.
    pub fn writer(&self, group: GroupId, on_durable: OnDurable) -> JournalWriter {
        let mut queue = self.shared.queue.lock();
        let slot = queue.groups.len();
        let memory = if self.shared.config.durability == Durability::Memory {
            Some(on_durable)
        } else {
            queue.groups.push(group);
            queue.durable.push(RecordSeq(0));
            queue.joining.push(on_durable);
            None
        };
        JournalWriter::new(Arc::clone(&self.shared), group, slot, memory)
    }

    /// The segments in use, the oldest first, and the groups that have records in them: what
    /// [`Journal::truncate_below`] needs to be told.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.queue.lock().segments.clone()
    }

    /// Removes all segments below `number`, durably, on the calling thread.
    ///
    /// Call it only when durable snapshots cover everything in them: see [`SegmentInfo::groups`].
    ///
    /// # Errors
    /// [`StorageError::InUse`] if the segment being written is below `number`. An error of the
    /// file system poisons the journal: a failed sync of the directory may concern a new segment
    /// as well.
    pub fn truncate_below(&self, number: u64) -> Result<(), StorageError> {
        let _removing = self.removing.lock();
        let numbers: Vec<u64> = self.segments().iter().map(|segment| segment.number).collect();
        if let Some(current) = numbers.last().copied()
            && current < number
        {
            return Err(StorageError::InUse { number, current });
        }
        for old in numbers.into_iter().take_while(|old| *old < number) {
            if let Some(failed) = self.shared.queue.lock().failed.clone() {
                return Err(failed.into());
            }
            self.directory.remove(std::iter::once(old)).map_err(|error| self.poison(error))?;
            self.shared.queue.lock().segments.retain(|segment| segment.number != old);
            self.shared.prepare.notify_one();
        }
        Ok(())
    }

    /// Where in the journal `group` goes on after its record `after`: what a snapshot that covers
    /// everything up to `after` must say of itself
    /// ([`Owner::journal`](panchayat_core::snapshot::Owner::journal)). `None` while that record is
    /// not durable.
    ///
    /// Records from before this process lie before all others: after record 0 a group goes on
    /// where this process began to write.
    ///
    /// # Errors
    /// With [`Durability::Os`] the journal up to there is synced first, or after power loss it
    /// might go on before the snapshot. A failed sync poisons the journal.
    pub fn position(
        &self,
        group: GroupId,
        after: RecordSeq,
    ) -> Result<Option<JournalPosition>, StorageError> {
        if self.shared.config.durability == Durability::Memory {
            return Ok(Some(JournalPosition::START));
        }
        let _removing = self.removing.lock();
        let position = self.shared.queue.lock().position(group, after);
        if self.shared.config.durability == Durability::Os && position.is_some() {
            for segment in self.segments() {
                let synced = self.directory.open(segment.number).and_then(|file| {
                    let path = self.directory.path(segment.number);
                    file.sync_data().map_err(StorageError::io("sync", &path))
                });
                synced.map_err(|error| self.poison(error))?;
            }
        }
        Ok(position)
    }

    /// Says that a durable snapshot covers the records of `group` before `upto`, and removes the
    /// oldest segments that now no group needs, durably, on the calling thread. How many those
    /// were. What each group has released is remembered until the journal is closed.
    ///
    /// Every group with a writer, or with records in the journal, has to release a segment before
    /// it goes, also a group that has written nothing for long: at the next start the journal
    /// must reach back to its newest snapshot, or it could not be told from one that has lost
    /// records. So the group whose snapshot is oldest is the one to take a new one.
    ///
    /// `upto` comes from [`Journal::position`], or from the snapshot that the process started
    /// with. A group that has left for good is released with the largest position.
    ///
    /// # Errors
    /// As for [`Journal::truncate_below`].
    pub fn release(&self, group: GroupId, upto: JournalPosition) -> Result<usize, StorageError> {
        let (needed, before) = {
            let mut queue = self.shared.queue.lock();
            let released = queue.released.entry(group).or_insert(0);
            *released = upto.segment.max(*released);
            (queue.first_needed(), queue.segments.len())
        };
        let Some(needed) = needed else { return Ok(0) };
        self.truncate_below(needed)?;
        Ok(before.saturating_sub(self.segments().iter().filter(|s| s.number >= needed).count()))
    }

    /// Whether the oldest segment is kept for `group`, perhaps among others: then a new snapshot of
    /// it is what lets the journal be cut, even if it has written nothing for long.
    pub fn is_pinned_by(&self, group: GroupId) -> bool {
        self.shared.queue.lock().pins_oldest(group)
    }

    /// Ends the segment being written, so that a journal shorter than a segment can be cut, too.
    /// Waits until the next one is in use; gives its number. Does nothing if no record was
    /// written to the current one.
    ///
    /// A new segment takes its whole length on disk: call it when a snapshot is due, not often.
    ///
    /// # Errors
    /// [`StorageError::JournalFull`] if there is no space for the next segment.
    /// [`StorageError::Failed`].
    pub fn rotate(&self) -> Result<u64, StorageError> {
        let mut queue = self.shared.queue.lock();
        let Some(current) = queue.segments.last() else { return Ok(0) };
        let number = current.number;
        if current.groups.is_empty() && !queue.has_work() && queue.in_flight == 0 {
            return Ok(number);
        }
        queue.rotate = true;
        self.shared.work.notify_all();
        loop {
            if let Some(failed) = queue.failed.clone() {
                return Err(failed.into());
            }
            match queue.segments.last() {
                Some(current) if current.number > number => return Ok(current.number),
                _ => {}
            }
            if let Some(reason) = queue.full.clone() {
                queue.rotate = false;
                return Err(StorageError::JournalFull { reason });
            }
            Queue::wait(&mut queue, &self.shared.space, None);
        }
    }

    /// Whether appends are taken.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// What was done since the journal was opened.
    pub fn stats(&self) -> JournalStats {
        let queue = self.shared.queue.lock();
        self.shared.counters.lock().stats(&queue)
    }

    /// Makes everything appended durable, and ends. Must not be called from a callback.
    ///
    /// # Errors
    /// [`JournalFailed`] if the journal failed now or before.
    pub fn close(mut self) -> Result<JournalStats, JournalFailed> {
        self.end();
        let failed = self.shared.queue.lock().failed.clone();
        failed.map_or_else(|| Ok(self.stats()), Err)
    }

    fn without_threads(
        config: JournalConfig,
        directory: Directory,
        segments: Vec<SegmentInfo>,
        lock: Option<Box<dyn DirectoryLock>>,
    ) -> Self {
        Self {
            directory,
            shared: Arc::new(Shared::new(config, segments)),
            committer: None,
            housekeeper: None,
            removing: Mutex::new(()),
            _lock: lock,
        }
    }

    fn poison(&self, error: StorageError) -> StorageError {
        let failed = JournalFailed::from(error);
        self.shared.fail(failed.clone());
        failed.into()
    }

    fn spawn(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, StorageError> {
        let failed = StorageError::io("start a thread for", self.directory.dir());
        thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
    }

    fn end(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake_all();
        // The committer may need one more segment to drain: the housekeeper ends after it.
        for thread in [&mut self.committer, &mut self.housekeeper] {
            if let Some(thread) = thread.take() {
                // Its panic has already been turned into a failure of the journal.
                let _ = thread.join();
            }
            self.shared.stop();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}
