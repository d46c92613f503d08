//! What the workloads of a replica share: the mesh, the journal, and their end.
//!
//! | file | what it does |
//! |---|---|
//! | `start` | brings all workloads up together: one journal, one mesh |
//! | `launch` | one workload, from its snapshot to its thread |
//! | `mux` | gives frames, requests and transfers to the workload they are for |
//! | `node` | the handle of a replica with several workloads |
//!
//! Workloads stop together. A workload whose journal failed or whose state machine panicked must
//! not look alive, and heartbeats are the whole process's.

mod launch;
mod mux;
mod node;
mod start;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use panchayat_storage::{Journal, JournalFailed, SnapshotStore};
use panchayat_transport::Mesh;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use launch::{Launch, Plan, launch};
pub(crate) use mux::Inlet;
pub use node::{NoWorkload, Node, NodeMetrics};
pub(crate) use start::{Siblings, Site, start};

use crate::error::Stopped;
use crate::metrics::CoreMetrics;
use crate::replica::Gate;

/// How often it is asked whether a thread has ended.
const END_POLL: Duration = Duration::from_millis(1);

/// What all workloads of a replica share.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) mesh: Mesh,
    /// Taken by a shutdown in order.
    pub(crate) journal: Mutex<Option<Arc<Journal>>>,
    pub(crate) members: Vec<Member>,
    /// Frames of no workload here, or of one that had no room.
    pub(crate) frames_lost: Arc<AtomicU64>,
}

/// What can be told to a workload's thread, whatever its types.
pub(crate) enum Order {
    /// Finish what is in flight, then stop.
    Shutdown,
    /// Stop now.
    Abandon,
    /// Say how it goes.
    Measure(oneshot::Sender<CoreMetrics>),
}

/// A running workload.
pub(crate) struct Member {
    /// Its name; empty if there is only one.
    pub(crate) workload: String,
    pub(crate) gate: Gate,
    /// False if the thread has stopped.
    pub(crate) tell: Box<dyn Fn(Order) -> bool + Send + Sync>,
    /// Taken like the journal.
    pub(crate) store: Mutex<Option<SnapshotStore>>,
    /// How often it is in use elsewhere.
    pub(crate) store_users: Arc<()>,
    /// Writes snapshots until the workload's thread ends.
    pub(crate) snapshots: JoinHandle<()>,
    pub(crate) thread: JoinHandle<Result<(), Stopped>>,
    /// Where typed callers come in: a [`Port`](crate::replica::Port).
    pub(crate) port: Arc<dyn Any + Send + Sync>,
}

impl Host {
    /// Takes no more proposals; those in flight go on.
    pub(crate) fn close(&self) {
        self.members.iter().for_each(|member| member.gate.close(None));
    }

    /// Why it stopped by itself.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.members.iter().find_map(|member| member.gate.stopped())
    }

    /// What a workload's thread knows. `None` if it has stopped.
    pub(crate) async fn measure(&self, member: &Member) -> Option<CoreMetrics> {
        let (reply, answer) = oneshot::channel();
        if !(member.tell)(Order::Measure(reply)) {
            return None;
        }
        answer.await.ok()
    }

    /// The proposals of all workloads without a result; `None` if it has stopped.
    pub(crate) async fn in_flight(&self) -> Option<usize> {
        let mut in_flight = 0;
        for member in &self.members {
            in_flight += self.measure(member).await?.in_flight;
        }
        Some(in_flight)
    }

    pub(crate) fn frames_lost(&self) -> u64 {
        self.frames_lost.load(Ordering::Relaxed)
    }

    /// Stops in order.
    pub(crate) async fn shutdown(&self) -> Result<(), Stopped> {
        self.close();
        self.members.iter().for_each(|member| _ = (member.tell)(Order::Shutdown));
        self.end().await
    }

    /// Stops at once, and finishes nothing.
    pub(crate) fn abandon(&self) {
        self.members.iter().for_each(Member::abandon);
    }

    /// Waits for the threads, and gives back everything that the replica held.
    pub(crate) async fn end(&self) -> Result<(), Stopped> {
        for member in &self.members {
            while !member.thread.is_finished() || !member.snapshots.is_finished() {
                tokio::time::sleep(END_POLL).await;
            }
        }
        self.mesh.shutdown().await;
        for member in &self.members {
            *member.store.lock() = None;
            while Arc::strong_count(&member.store_users) > 1 {
                tokio::time::sleep(END_POLL).await;
            }
        }
        let journal = self.journal.lock().take();
        if let Some(journal) = journal
            && let Ok(Err(failed)) = tokio::task::spawn_blocking(|| close(journal)).await
        {
            return Err(failed.into());
        }
        self.stopped().map_or(Ok(()), Err)
    }
}

impl Member {
    fn abandon(&self) {
        self.gate.close(None);
        (self.tell)(Order::Abandon);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Closes a journal that nobody else uses any more, but for metrics just being taken.
fn close(mut journal: Arc<Journal>) -> Result<(), JournalFailed> {
    loop {
        match Arc::try_unwrap(journal) {
            Ok(journal) => return journal.close().map(|_| ()),
            Err(shared) => journal = shared,
        }
        std::thread::sleep(END_POLL);
    }
}
