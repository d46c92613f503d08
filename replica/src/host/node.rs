//! The handle of a replica with several workloads.

use std::fmt;
use std::sync::Arc;

use panchayat_core::StateMachine;
use panchayat_storage::JournalStats;
use panchayat_transport::{Mesh, MeshStats};
use thiserror::Error;

use super::Host;
use crate::error::Stopped;
use crate::metrics::CoreMetrics;
use crate::replica::Replica;

/// A running replica with named workloads: made by
/// [`Builder::start_workloads`](crate::Builder::start_workloads). Clones share it; it stops by
/// [`shutdown`](Self::shutdown), or abruptly when the last clone and the last handle of a workload
/// are dropped.
#[derive(Clone)]
pub struct Node {
    pub(crate) host: Arc<Host>,
}

/// Why there is no handle of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoWorkload {
    /// There is none of that name.
    #[error("no workload is called {name}; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// It has another state machine.
    #[error("workload {name} has another state machine than {asked}")]
    OtherMachine {
        /// Its name.
        name: String,
        /// The state machine asked for.
        asked: &'static str,
    },
}

/// Everything measured about a replica with workloads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeMetrics {
    /// Each workload's own, by name.
    pub workloads: Vec<(String, CoreMetrics)>,
    /// The mesh, which all share.
    pub mesh: MeshStats,
    /// The journal, which all share.
    pub journal: JournalStats,
    /// Bytes that the journal's files take.
    pub journal_file_bytes: u64,
    /// Frames that were of no workload here, or of one that had no room for them.
    pub frames_lost: u64,
}

impl Node {
    /// The replica's name.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// The names of its workloads, in the order in which they were described.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        self.host.members.iter().map(|member| member.workload.as_str())
    }

    /// The handle of a workload. Everything it offers is about that workload, but its
    /// [`shutdown`](Replica::shutdown), which is the whole replica's.
    ///
    /// # Errors
    /// [`NoWorkload`], if there is none of that name, or `S` is not its state machine.
    pub fn workload<S: StateMachine>(&self, name: &str) -> Result<Replica<S>, NoWorkload> {
        let Some(at) = self.workloads().position(|workload| workload == name) else {
            let known = self.workloads().collect::<Vec<_>>().join(", ");
            return Err(NoWorkload::Unknown { name: name.to_owned(), known });
        };
        Replica::of(self.host.clone(), at).ok_or_else(|| NoWorkload::OtherMachine {
            name: name.to_owned(),
            asked: std::any::type_name::<S>(),
        })
    }

    /// The mesh, for its address and its links.
    pub fn mesh(&self) -> &Mesh {
        &self.host.mesh
    }

    /// Numbers, as of now. `None` if the replica has stopped.
    pub async fn metrics(&self) -> Option<NodeMetrics> {
        let mut workloads = Vec::new();
        for member in &self.host.members {
            workloads.push((member.workload.clone(), self.host.measure(member).await?));
        }
        let journal = self.host.journal.lock().clone()?;
        Some(NodeMetrics {
            workloads,
            mesh: self.host.mesh.stats(),
            journal: journal.stats(),
            journal_file_bytes: journal.segments().iter().map(|segment| segment.bytes).sum(),
            frames_lost: self.host.frames_lost(),
        })
    }

    /// Why the replica stopped by itself; `None` while it runs, or if it was told to.
    pub fn stopped(&self) -> Option<Stopped> {
        self.host.stopped()
    }

    /// Stops in order: as [`Replica::shutdown`], with all workloads.
    ///
    /// # Errors
    /// Why the replica had stopped by itself before.
    pub async fn shutdown(self) -> Result<(), Stopped> {
        self.host.shutdown().await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workloads: Vec<_> = self.workloads().collect();
        let mut shown = f.debug_struct("Node");
        shown.field("name", &self.name()).field("workloads", &workloads).finish_non_exhaustive()
    }
}
