//! The handle of a running replica.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{Account, Command, ReadLevel, ReplicaId, Request, Subject};
use panchayat_core::{Reading, StateMachine};
use panchayat_transport::Mesh;
use panchayat_transport::identity::Identity;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::applied::Applied;
use crate::backup::{Backup, BackupError};
use crate::begun::{Asked, Begun};
use crate::builder::Builder;
use crate::cluster::Cluster;
use crate::error::{ProposeError, Stopped};
use crate::host::Host;
use crate::inbox::{Event, Inbox};
use crate::membership::{Change, ChangeError, GroupView, Roster, make};
use crate::metrics::Metrics;
use crate::read::{Asks, ReadError};
use crate::session::Session;

/// A running replica, or one workload of it. Clones share it; it stops by
/// [`shutdown`](Self::shutdown), or abruptly when the last clone is dropped.
pub struct Replica<S: StateMachine> {
    host: Arc<Host>,
    /// Which workload of the host.
    at: usize,
    port: Arc<Port<S>>,
}

/// Where the callers of a workload come in.
pub(crate) struct Port<S: StateMachine> {
    pub(crate) inbox: Inbox<S::Output>,
    pub(crate) asks: Asks<S>,
    pub(crate) gate: Gate,
    pub(crate) roster: Roster,
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

    /// Why it was closed, if not on purpose.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.stopped.lock().clone()
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<S: StateMachine> Replica<S> {
    /// Whether it is a handle of the same workload of the same replica.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.port, &other.port)
    }

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

    /// The workload at a place of `host`, if that is its state machine.
    pub(crate) fn of(host: Arc<Host>, at: usize) -> Option<Self> {
        let port = host.members.get(at)?.port.clone().downcast().ok()?;
        Some(Self { host, at, port })
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
        self.begin(command)?.await
    }

    /// Proposes `command` at once, and leaves waiting for the result to the future it returns.
    ///
    /// The order of the calls is the order in which this replica takes them up, not that in which
    /// conflicting commands are executed: under faults a command may be decided later than one
    /// that was proposed after it. Who needs that order awaits the first before proposing the next.
    ///
    /// # Errors
    /// As `propose`; what is refused here was not applied.
    pub fn begin(&self, command: &S::Command) -> Result<Begun<S::Output>, ProposeError> {
        submit::<S>(&self.port.inbox, &self.port.gate, command, None).map(Begun)
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
        let Port { inbox, gate, .. } = &*self.port;
        let result = submit::<S>(inbox, gate, command, Some(request))?;
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
        self.ask(query, level)?.await
    }

    /// Asks `query` at once, and leaves waiting for the answer to the future it returns.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn ask(&self, query: S::Query, level: ReadLevel) -> Result<Asked<S::Answer>, ReadError> {
        if self.port.gate.is_closed() {
            return Err(ReadError::Shutdown);
        }
        let announce = || self.port.inbox.tell(Event::Read);
        self.port.asks.ask(query, level, announce)
    }

    /// The replica's name.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// Hands leadership to the member in seat `to`, before maintenance say. Under load that takes about
    /// a round trip, in which nothing is proposed. A leader that was pinned takes it back as soon as
    /// it can.
    ///
    /// False if this replica does not lead, is handing over already, or has stopped; if that member seems
    /// dead or is far behind; and under a protocol without a leader that could. With leases a member
    /// that restarted less than a lease's span ago first waits that out.
    pub async fn hand_over(&self, to: ReplicaId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.port.inbox.tell(Event::HandOver(to, reply)) && answer.await.unwrap_or(false)
    }

    /// Who the members are, and what orders commands, as this replica sees it. `None` if it has stopped.
    pub async fn group(&self) -> Option<GroupView> {
        let (reply, answer) = oneshot::channel();
        self.port.inbox.tell(Event::View(reply)).then_some(())?;
        answer.await.ok()
    }

    /// The members of the epoch that this replica has come to, by seat, with their addresses and expected
    /// round trips. Before it has joined: those that the cluster began with.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.port.roster.lock().clone()
    }

    /// Changes members or protocol. When it returns, this replica is in the epoch in which that is so; what
    /// is under way goes on in it, so that callers notice a pause of some round trips and nothing else.
    ///
    /// A newcomer is a member for quorums at once; it votes when it has taken over the state:
    /// [`GroupView::is_complete`]. Add no two at a time that have far to go, and let those be there before
    /// the next.
    ///
    /// # Errors
    /// [`ChangeError`]. What was not heard of can be asked for again, at any member: it is made once.
    pub async fn change(&self, change: &Change) -> Result<(), ChangeError> {
        make(&self.port.inbox, change).await
    }

    /// What waits for what at this replica: commands that are not executed, since when, and who holds
    /// them up. `None` if the replica has stopped.
    pub async fn account(&self, subject: Subject) -> Option<Account> {
        let (reply, answer) = oneshot::channel();
        self.port.inbox.tell(Event::Account(subject, reply)).then_some(())?;
        answer.await.ok()
    }

    /// The mesh, for its address and its links.
    pub fn mesh(&self) -> &Mesh {
        &self.host.mesh
    }

    /// Takes a snapshot of the state as it is now, and copies it to the new file `to`, verified:
    /// a backup, which [`LocalCluster::restore_backup`](crate::LocalCluster::restore_backup)
    /// reads. It holds what has been executed *here*.
    ///
    /// # Errors
    /// [`BackupError`]; `to` is then not there, unless it was before.
    pub async fn back_up(&self, to: &Path) -> Result<Backup, BackupError> {
        let (reply, done) = oneshot::channel();
        if !self.port.inbox.tell(Event::TakeSnapshot(reply)) {
            return Err(BackupError::Stopped);
        }
        done.await.map_err(|_| BackupError::Stopped)?;
        let member = &self.host.members[self.at];
        let store = member.store.lock().clone().ok_or(BackupError::Stopped)?;
        let (to, user) = (to.to_owned(), member.store_users.clone());
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
        let core = self.host.measure(&self.host.members[self.at]).await?;
        let journal = self.host.journal.lock().clone()?;
        let journal_file_bytes = journal.segments().iter().map(|segment| segment.bytes).sum();
        let (mesh, journal) = (self.host.mesh.stats(), journal.stats());
        Some(Metrics { core, mesh, journal, journal_file_bytes })
    }

    /// Why the replica stopped by itself; `None` while it runs, or if it was told to.
    pub fn stopped(&self) -> Option<Stopped> {
        self.port.gate.stopped()
    }

    /// Whether proposals are refused because the journal has no space on its disk.
    pub fn is_disk_full(&self) -> bool {
        self.port.gate.is_full()
    }

    /// Stops in order: takes no more proposals, finishes those in flight, syncs the journal, and
    /// leaves the mesh. Proposals that cannot finish, because no quorum answers, hold it up: use a
    /// timeout and drop the replica.
    ///
    /// All workloads of the replica stop.
    ///
    /// # Errors
    /// Why the replica had stopped by itself before.
    pub async fn shutdown(self) -> Result<(), Stopped> {
        self.host.shutdown().await
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
        Self { host: self.host.clone(), at: self.at, port: self.port.clone() }
    }
}

impl<S: StateMachine> fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("name", &self.host.name).finish_non_exhaustive()
    }
}
