//! Whom a replica asks that needs a state, and when: on the replica's own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use panchayat_consensus::{NodeId, Protocol, REPLICAS_MAX, ReplicaId, ReplicaSet};
use panchayat_core::StateMachine;
use panchayat_storage::StorageError;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::decode::SnapshotUnreadable;
use super::fetch::{Arrived, FetchFailed, Fetcher, News};

/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The way of a replica that needs a state to one.
pub(crate) struct CatchUp<P: Protocol, S: StateMachine> {
    fetcher: Fetcher<P, S>,
    news: Receiver<News<P, S>>,
    runtime: Handle,
    /// The node at each place.
    nodes: [Option<NodeId>; REPLICAS_MAX],
    /// The attempt under way.
    task: Option<JoinHandle<()>>,
    /// Whether it has brought a state.
    arrived: bool,
    /// Tells it that nothing needs to be kept any more.
    done: Arc<AtomicBool>,
    /// The place asked last.
    asked: usize,
    not_before: Option<Instant>,
    /// Attempts that failed, and bytes of states taken over.
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
}

impl<P, S> CatchUp<P, S>
where
    P: Protocol + 'static,
    P::Record: Send,
    S: StateMachine,
{
    /// Attempts run on `runtime`, and say how they ended in `news`.
    pub(crate) fn new(fetcher: Fetcher<P, S>, news: Receiver<News<P, S>>, runtime: Handle) -> Self {
        let (task, not_before, arrived) = (None, None, false);
        let done = Arc::default();
        let (asked, failed, bytes) = (0, 0, 0);
        Self {
            fetcher,
            news,
            runtime,
            nodes: [None; REPLICAS_MAX],
            task,
            arrived,
            done,
            asked,
            not_before,
            failed,
            bytes,
        }
    }

    /// From now on these nodes have the places.
    pub(crate) fn set_nodes(&mut self, nodes: [Option<NodeId>; REPLICAS_MAX]) {
        self.nodes = nodes;
    }

    /// Begins an attempt if one of `ahead` must be asked and none is under way. `wanted` as long as
    /// a state is of use, be there anyone to ask or not; `installing` while one that was taken over
    /// is not durable yet.
    pub(crate) fn look(&mut self, ahead: ReplicaSet, wanted: bool, installing: bool, now: Instant) {
        if !wanted && !installing {
            self.done.store(true, Ordering::Release);
        }
        if wanted && !installing && std::mem::take(&mut self.arrived) {
            // The state that was taken over was not enough: there is nothing to keep after it.
            if let Some(task) = self.task.take() {
                task.abort();
            }
        }
        self.task.take_if(|task| task.is_finished());
        let waits = self.not_before.is_some_and(|at| now < at);
        if self.task.is_some() || installing || ahead.is_empty() || waits {
            return;
        }
        let turn = (0..REPLICAS_MAX).map(|step| (self.asked + step) % REPLICAS_MAX);
        let is_ahead = |place: &usize| ahead.contains(ReplicaId(*place as u8));
        let found = turn.filter(is_ahead).find_map(|place| Some((place, self.nodes[place]?)));
        let Some((place, from)) = found else { return };
        self.asked = place;
        (self.done, self.arrived) = (Arc::default(), false);
        tracing::info!(%from, "this replica has missed too much: it takes over a state");
        self.task = Some(self.runtime.spawn(self.fetcher.clone().run(from, self.done.clone())));
    }

    /// Whether an attempt may still bring a state.
    pub(crate) fn is_under_way(&self) -> bool {
        self.task.is_some() && !self.arrived
    }

    /// The next state that has arrived.
    ///
    /// # Errors
    /// Why snapshots have failed for good.
    pub(crate) fn next(
        &mut self,
        now: Instant,
    ) -> Result<Option<Arrived<P, S>>, Arc<StorageError>> {
        while let Ok(news) = self.news.try_recv() {
            match news {
                Ok(arrived) => {
                    self.bytes += arrived.bytes;
                    self.arrived = true;
                    return Ok(Some(arrived));
                }
                Err(failed) => {
                    tracing::warn!(from = %failed.from, why = %failed.why, "no state from a peer");
                    self.failed += 1;
                    self.not_before = Some(now + PAUSE);
                    if !failed.moved {
                        self.asked += 1;
                    }
                    if let Some(fatal) = fatal(failed.why) {
                        return Err(Arc::new(fatal));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The state that arrived was too old: another is asked for, after a pause.
    pub(crate) fn refused(&mut self, now: Instant) {
        self.failed += 1;
        self.asked += 1;
        self.not_before = Some(now + PAUSE);
    }

    /// The state that arrived was not wanted any more.
    pub(crate) fn dropped(&self) {
        self.done.store(true, Ordering::Release);
    }
}

/// An error after which the replica must stop.
fn fatal(why: FetchFailed) -> Option<StorageError> {
    match why {
        FetchFailed::Storage(error)
        | FetchFailed::Unreadable(SnapshotUnreadable::Storage(error))
            if error.is_fatal() =>
        {
            Some(error)
        }
        _ => None,
    }
}

impl<P: Protocol, S: StateMachine> Drop for CatchUp<P, S> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
