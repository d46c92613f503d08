//! The thread that writes snapshots, and cuts the journal below them.
//!
//! The parts are frozen, so it takes its time. A file becomes valid after the snapshot's mark is
//! durable, and covers the journal up to the mark, not including it.
//!
//! A full disk harms nothing: the same parts are tried again until there is space. (Not later
//! ones: for those a new mark would have to go into a journal that may be full until this very
//! snapshot lets it be cut.) A failed write or sync poisons, as everywhere.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{EpochNumber, GroupId, Protocol, RecordSeq};
use panchayat_core::snapshot::Section;
use panchayat_core::{SnapshotParts, StateMachine};
use panchayat_storage::{Health, Journal, SnapshotStore, StorageError, StoredSnapshot};

/// How often it is asked whether the mark is durable.
const MARK_POLL: Duration = Duration::from_millis(1);
/// The pause after a first failure; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the thread tells the replica's.
#[derive(Debug)]
pub(crate) enum Report {
    /// A snapshot is durable.
    Written(Box<Written>),
    /// One could not be written for now, and is tried again.
    Delayed,
    /// Nothing may be tried again: the replica must stop.
    Failed(Arc<StorageError>),
}

/// A durable snapshot.
#[derive(Debug)]
pub(crate) struct Written {
    /// The group's number of it.
    pub(crate) number: u64,
    /// Its file, held open.
    pub(crate) stored: StoredSnapshot,
    /// How long writing took, the wait for its mark included.
    pub(crate) took: Duration,
}

/// What the thread works with.
pub(crate) struct SnapshotWriter {
    pub(crate) store: SnapshotStore,
    pub(crate) journal: Arc<Journal>,
    pub(crate) group: GroupId,
    pub(crate) epoch: EpochNumber,
    /// Set when the replica stops: what is unfinished is dropped.
    pub(crate) stop: Arc<AtomicBool>,
}

/// Why a snapshot was not written.
enum Unwritten {
    Stopped,
    Failed(StorageError),
}

impl From<StorageError> for Unwritten {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

impl SnapshotWriter {
    /// Starts the thread. It ends when `parts` are no longer sent, or `stop` is set.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn spawn<P, S>(
        self,
        name: &str,
        parts: Receiver<SnapshotParts<P, S>>,
        report: impl Fn(Report) + Send + 'static,
    ) -> io::Result<JoinHandle<()>>
    where
        P: Protocol + 'static,
        P::Record: Send,
        S: StateMachine,
    {
        let name = format!("snapshot-{name}");
        std::thread::Builder::new().name(name).spawn(move || self.run(&parts, &report))
    }

    fn run<P, S>(&self, incoming: &Receiver<SnapshotParts<P, S>>, report: &impl Fn(Report))
    where
        P: Protocol,
        S: StateMachine,
    {
        let mut pause = RETRY_MIN;
        let mut next = incoming.recv().ok();
        while let Some(parts) = next.take() {
            let began = Instant::now();
            match self.write(&parts) {
                Ok(stored) => {
                    pause = RETRY_MIN;
                    let journal = stored.info().owner.journal;
                    let (number, took) = (parts.number, began.elapsed());
                    drop(parts);
                    let written = Written { number, stored, took };
                    report(Report::Written(Box::new(written)));
                    if let Err(error) = self.journal.release(self.group, journal) {
                        report(Report::Failed(Arc::new(error)));
                        return;
                    }
                    next = incoming.recv().ok();
                }
                Err(Unwritten::Stopped) => return,
                Err(Unwritten::Failed(error)) if error.is_fatal() => {
                    report(Report::Failed(Arc::new(error)));
                    return;
                }
                Err(Unwritten::Failed(error)) => {
                    tracing::warn!(snapshot = parts.number, %error, "will be tried again");
                    report(Report::Delayed);
                    // Newer parts take the place of these.
                    next = match incoming.recv_timeout(pause) {
                        Ok(newer) => Some(newer),
                        Err(RecvTimeoutError::Timeout) => Some(parts),
                        Err(RecvTimeoutError::Disconnected) => None,
                    };
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn write<P, S>(&self, parts: &SnapshotParts<P, S>) -> Result<StoredSnapshot, Unwritten>
    where
        P: Protocol,
        S: StateMachine,
    {
        let mut file = self.store.write(self.epoch)?;
        let mut sink = Stoppable { sink: &mut file, stop: &self.stop };
        if let Err(error) = S::write(&parts.machine, &mut sink) {
            return Err(self.gave_up(file, error));
        }
        file.begin(Section::Sessions)?;
        let mut sink = Stoppable { sink: &mut file, stop: &self.stop };
        if let Err(error) = parts.sessions.write(&mut sink) {
            return Err(self.gave_up(file, error));
        }
        file.begin(Section::Protocol)?;
        for record in &parts.image {
            self.check_stop()?;
            file.record(&to_bytes(record))?;
        }
        self.wait_for_mark(parts.after)?;
        let before = RecordSeq(parts.after.0 - 1);
        let position = self.journal.position(self.group, before)?;
        let position = position.expect("what is before a durable record is durable");
        file.finish(position)?;
        let stored = self.store.latest()?;
        Ok(stored.expect("the store has the snapshot that it has just finished"))
    }

    /// Until then the snapshot does not belong to the journal.
    fn wait_for_mark(&self, mark: RecordSeq) -> Result<(), Unwritten> {
        loop {
            self.check_stop()?;
            if let Health::Failed(failed) = self.journal.health() {
                return Err(StorageError::from(failed).into());
            }
            if self.journal.position(self.group, mark)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(MARK_POLL);
        }
    }

    fn gave_up(&self, file: panchayat_storage::SnapshotFile, error: io::Error) -> Unwritten {
        let error = file.abandon(error);
        if self.is_stopping() { Unwritten::Stopped } else { error.into() }
    }

    fn check_stop(&self) -> Result<(), Unwritten> {
        if self.is_stopping() { Err(Unwritten::Stopped) } else { Ok(()) }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Ends a long write when the replica stops.
struct Stoppable<'a, W> {
    sink: &'a mut W,
    stop: &'a AtomicBool,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Acquire) {
            return Err(io::Error::other("the replica stops"));
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
