//! The handle of a running replica.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{Command, ReadLevel, Request};
use panchayat_core::{Reading, StateMachine};
use panchayat_storage::{Journal, JournalFailed, SnapshotStore};
use panchayat_transport::Mesh;
use panchayat_transport::identity::Identity;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::applied::Applied;
use crate::backup::{Backup, BackupError};
use crate::builder::Builder;
use crate::cluster::Cluster;
use crate::error::{ProposeError, Stopped};
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;
use crate::read::{Asks, ReadError};
use crate::session::Session;

/// A running replica. Clones share it; it stops by [`shutdown`](Self::shutdown), or abruptly when
/// the last clone is dropped.
pub struct Replica<S: StateMachine> {
    running: Arc<Running<S>>,
}

pub(crate) struct Running<S: StateMachine> {
    pub(crate) name: String,
    pub(crate) inbox: Inbox<S::Output>,
    pub(crate) asks: Asks<S>,
    pub(crate) gate: Gate,
    pub(crate) mesh: Mesh,
    /// Taken by a shutdown in order.
    pub(crate) journal: Mutex<Option<Arc<Journal>>>,
    /// Taken like the journal.
    pub(crate) store: Mutex<Option<SnapshotStore>>,
    /// How often it is in use elsewhere.
    pub(crate) store_users: Arc<()>,
    /// Writes snapshots until the replica's thread ends.
    pub(crate) snapshots: JoinHandle<()>,
    pub(crate) thread: JoinHandle<Result<(), Stopped>>,
}

/// Whether proposals are still taken, and why not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    closed: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    stopped: Arc<Mutex<Option<Stopped>>>,
}

impl Gate {
    pub(crate) fn close(&self, why: Option<Stopped>) {
        if why.is_some() {
            *self.stopped.lock() = why;
        }
        self.closed.store(true, Ordering::Release);
    }

    /// Says whether records wait for space on the disk.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<S: StateMachine> Replica<S> {
    /// Begins to describe the replica called `name` of `cluster`, with its certificate and the
    /// directory that holds its journal.
    pub fn builder(
        cluster: Cluster,
        name: &str,
        identity: Identity,
        data_dir: impl Into<PathBuf>,
    ) -> Builder {
        Builder::new(cluster, name, identity, data_dir.into())
    }

    pub(crate) fn new(running: Running<S>) -> Self {
        Self { running: Arc::new(running) }
    }

    /// Proposes `command`. The output comes when it has been executed here, after everything it
    /// depends on: replies are strictly serializable.
    ///
    /// # Errors
    /// [`ProposeError`], which separates *not applied* from *unknown*. If the returned future is
    /// dropped, the outcome is unknown.
    pub async fn propose(&self, command: &S::Command) -> Result<S::Output, ProposeError> {
        self.propose_traced(command).await.map(|applied| applied.output)
    }

    /// [`propose`](Self::propose), with the times at which things happened.
    ///
    /// # Errors
    /// As `propose`.
    pub async fn propose_traced(
        &self,
        command: &S::Command,
    ) -> Result<Applied<S::Output>, ProposeError> {
        let result = submit::<S>(&self.running.inbox, &self.running.gate, command, None)?;
        result.await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// A session: its requests are applied once, however often and wherever they are tried.
    pub fn session(&self) -> Session<S> {
        Session::new(self.clone())
    }

    /// One attempt at `request`, which is `command`. Of all attempts at a request, at whatever
    /// replicas, in whatever order they arrive, one is applied; the others get its output.
    ///
    /// Each is remembered for [`SessionConfig::retention`](crate::SessionConfig::retention) after
    /// it was issued. What is tried later has no effect and is in doubt for ever.
    ///
    /// # Errors
    /// [`ProposeError`], of *this attempt*: if there were others, a refusal says nothing of them.
    /// [`ProposeError::OutputNotKept`] says that one of them was applied.
    pub async fn propose_request(
        &self,
        request: Request,
        command: &S::Command,
    ) -> Result<S::Output, ProposeError> {
        let running = &self.running;
        let result = submit::<S>(&running.inbox, &running.gate, command, Some(request))?;
        let applied = result.await.unwrap_or(Err(ProposeError::Unknown));
        applied.map(|applied| applied.output)
    }

    /// Answers `query` from the state of this replica, once that is as current as `level` asks.
    /// Nothing is written for it.
    ///
    /// # Errors
    /// [`ReadError`]: within [`Limits::read_timeout`](crate::Limits::read_timeout) if no quorum can
    /// be reached.
    pub async fn read(
        &self,
        query: S::Query,
        level: ReadLevel,
    ) -> Result<Reading<S::Answer>, ReadError> {
        if self.running.gate.is_closed() {
            return Err(ReadError::Shutdown);
        }
        let announce = || self.running.inbox.tell(Event::Read);
        self.running.asks.ask(query, level, announce).await
    }

    /// The replica's name.
    pub fn name(&self) -> &str {
        &self.running.name
    }

    /// The mesh, for its address and its links.
    pub fn mesh(&self) -> &Mesh {
        &self.running.mesh
    }

    /// Takes a snapshot of the state as it is now, and copies it to the new file `to`, verified:
    /// a backup, which [`LocalCluster::restore_backup`](crate::LocalCluster::restore_backup)
    /// reads. It holds what has been executed *here*.
    ///
    /// # Errors
    /// [`BackupError`]; `to` is then not there, unless it was before.
    pub async fn back_up(&self, to: &Path) -> Result<Backup, BackupError> {
        let (reply, done) = oneshot::channel();
        if !self.running.inbox.tell(Event::TakeSnapshot(reply)) {
            return Err(BackupError::Stopped);
        }
        done.await.map_err(|_| BackupError::Stopped)?;
        let store = self.running.store.lock().clone().ok_or(BackupError::Stopped)?;
        let (to, user) = (to.to_owned(), self.running.store_users.clone());
        let exported = tokio::task::spawn_blocking(move || {
            let exported = store.export(&to);
            drop((store, user));
            exported
        });
        let info = exported.await.map_err(|_| BackupError::Stopped)??;
        Ok(Backup { bytes: info.bytes, checksum: info.checksum })
    }

    /// Numbers, as of now. `None` if the replica has stopped.
    pub async fn metrics(&self) -> Option<Metrics> {
        let (reply, answer) = oneshot::channel();
        if !self.running.inbox.tell(Event::Measure(reply)) {
            return None;
        }
        let core = answer.await.ok()?;
        let journal = self.running.journal.lock().clone()?;
        let journal_file_bytes = journal.segments().iter().map(|segment| segment.bytes).sum();
        let (mesh, journal) = (self.running.mesh.stats(), journal.stats());
        Some(Metrics { core, mesh, journal, journal_file_bytes })
    }

    /// Why the replica stopped by itself; `None` while it runs, or if it was told to.
    pub fn stopped(&self) -> Option<Stopped> {
        self.running.gate.stopped.lock().clone()
    }

    /// Takes no more proposals; those in flight go on.
    pub(crate) fn close(&self) {
        self.running.gate.close(None);
    }

    /// Stops in order: takes no more proposals, finishes those in flight, syncs the journal, and
    /// leaves the mesh. Proposals that cannot finish, because no quorum answers, hold it up: use a
    /// timeout and drop the replica.
    ///
    /// # Errors
    /// Why the replica had stopped by itself before.
    pub async fn shutdown(self) -> Result<(), Stopped> {
        self.running.gate.close(None);
        self.running.inbox.tell(Event::Shutdown);
        self.end().await
    }

    /// Stops at once and finishes nothing; every caller in flight learns that the outcome is
    /// unknown. The future gives back the port and the journal.
    pub(crate) fn abandon(&self) -> impl Future<Output = ()> + Send + use<S> {
        self.running.gate.close(None);
        self.running.inbox.tell(Event::Abandon);
        let replica = self.clone();
        async move {
            // How its journal was doing matters to nobody any more.
            let _ = replica.end().await;
        }
    }

    /// Waits for the thread, and gives back everything that the replica held.
    async fn end(&self) -> Result<(), Stopped> {
        let running = &self.running;
        while !running.thread.is_finished() || !running.snapshots.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        running.mesh.shutdown().await;
        *running.store.lock() = None;
        while Arc::strong_count(&running.store_users) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let journal = running.journal.lock().take();
        if let Some(journal) = journal
            && let Ok(Err(failed)) = tokio::task::spawn_blocking(|| close(journal)).await
        {
            return Err(failed.into());
        }
        let stopped = running.gate.stopped.lock().clone();
        stopped.map_or(Ok(()), Err)
    }
}

/// Closes a journal that nobody else uses any more, but for metrics just being taken.
fn close(mut journal: Arc<Journal>) -> Result<(), JournalFailed> {
    loop {
        match Arc::try_unwrap(journal) {
            Ok(journal) => return journal.close().map(|_| ()),
            Err(shared) => journal = shared,
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A result to come.
pub(crate) type Pending<O> = oneshot::Receiver<Result<Applied<O>, ProposeError>>;

/// Proposes a command through an inbox: the way of local and of remote callers.
pub(crate) fn submit<S: StateMachine>(
    inbox: &Inbox<S::Output>,
    gate: &Gate,
    command: &S::Command,
    request: Option<Request>,
) -> Result<Pending<S::Output>, ProposeError> {
    if gate.is_closed() {
        return Err(ProposeError::Shutdown);
    }
    if gate.is_full() {
        return Err(ProposeError::DISK_FULL);
    }
    let payload: Bytes = to_bytes(command);
    let command = Command::new(S::footprint(command), request, payload);
    let (reply, result) = oneshot::channel();
    inbox.propose(command, reply)?;
    Ok(result)
}

impl<S: StateMachine> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { running: self.running.clone() }
    }
}

impl<S: StateMachine> fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("name", &self.running.name).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Drop for Running<S> {
    fn drop(&mut self) {
        self.gate.close(None);
        self.inbox.tell(Event::Abandon);
    }
}
