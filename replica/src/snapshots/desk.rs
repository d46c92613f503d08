//! Everything about snapshots that the replica's thread decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::Sender;
use panchayat_consensus::{NodeId, Now, Protocol, REPLICAS_MAX};
use panchayat_core::{Group, SnapshotParts, StateMachine};
use panchayat_storage::StorageError;
use tokio::sync::oneshot;

use super::catch_up::CatchUp;
use super::due::Due;
use super::serving::{Asked, Serving, Word};
use super::writer::Report;
use crate::error::Stopped;
use crate::metrics::SnapshotMetrics;

/// Most who may wait for a snapshot they asked for; more are turned away.
const WANTED_MAX: usize = 64;

/// Where snapshots are ordered, and where those who need one are heard.
pub(crate) struct Desk<P: Protocol, S: StateMachine> {
    /// To the thread that writes.
    parts: Sender<SnapshotParts<P, S>>,
    /// Ends that thread when this goes.
    stop: Arc<AtomicBool>,
    due: Due,
    serving: Serving,
    catch_up: CatchUp<P, S>,
    /// The snapshot that was begun and is not durable. Of the older ones of those that have been
    /// overtaken by a state from a peer nobody asks.
    writing: Option<u64>,
    /// Who asked for a snapshot, with the number of one that will do once it is begun.
    wanted: Vec<(Option<u64>, oneshot::Sender<u64>)>,
    behind: bool,
    metrics: SnapshotMetrics,
}

impl<P, S> Desk<P, S>
where
    P: Protocol + 'static,
    P::Record: Send,
    S: StateMachine,
{
    pub(crate) fn new(
        parts: Sender<SnapshotParts<P, S>>,
        stop: Arc<AtomicBool>,
        due: Due,
        catch_up: CatchUp<P, S>,
    ) -> Self {
        let (serving, metrics) = (Serving::default(), SnapshotMetrics::default());
        let (writing, wanted, behind) = (None, Vec::new(), false);
        Self { parts, stop, due, serving, catch_up, writing, wanted, behind, metrics }
    }

    /// From now on these nodes have the places.
    pub(crate) fn set_nodes(&mut self, nodes: [Option<NodeId>; REPLICAS_MAX]) {
        self.catch_up.set_nodes(nodes);
    }

    /// To be called often: begins what is due, given the bytes of records written in this run.
    pub(crate) fn look(&mut self, group: &mut Group<P, S>, written: u64) {
        let now = Instant::now();
        self.serving.forget_the_silent(now);
        let ahead = group.protocol().needs_state();
        let installing = group.is_installing();
        let wanted = group.protocol().wants_state();
        self.catch_up.look(ahead, wanted, installing, now);
        // What is proposed while a state is on its way ends in doubt when it arrives.
        let coming = wanted && self.catch_up.is_under_way();
        self.behind = installing || !ahead.is_empty() || coming;
        if self.writing.is_none()
            && !installing
            && (self.serving.wants_snapshot() || self.is_wanted() || self.due.is_due(written))
            && let Some(number) = group.begin_snapshot()
        {
            self.begun(number, written);
        }
        self.metrics.journal_bytes_since = self.due.bytes_since(written);
    }

    /// Somebody wants a snapshot of the state as it is now, or later.
    pub(crate) fn wanted(&mut self, reply: oneshot::Sender<u64>) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.push((None, reply));
        }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.iter().any(|(number, _)| number.is_none())
    }

    /// Whether proposals must be refused: this replica needs a state.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// The parts of a snapshot are there.
    pub(crate) fn frozen(&self, parts: SnapshotParts<P, S>) {
        // A thread that has ended has said why, or soon will.
        let _ = self.parts.send(parts);
    }

    /// The thread that writes has news.
    ///
    /// # Errors
    /// Why the replica must stop.
    pub(crate) fn heard(&mut self, report: Report, group: &mut Group<P, S>) -> Result<(), Stopped> {
        match report {
            Report::Written(written) => {
                let number = written.number;
                tracing::debug!(number, took = ?written.took, "a snapshot is durable");
                group.snapshot_durable(number);
                self.writing.take_if(|writing| *writing <= number);
                self.serving.written(&written);
                let is_done = |wanted: &mut (Option<u64>, oneshot::Sender<u64>)| {
                    wanted.0.is_some_and(|from| from <= number)
                };
                for (_, reply) in self.wanted.extract_if(.., is_done) {
                    // Whoever went away does not want it any more.
                    let _ = reply.send(number);
                }
                self.metrics.taken += 1;
                self.metrics.bytes = written.stored.info().bytes;
                self.metrics.took = written.took;
                Ok(())
            }
            Report::Delayed => {
                self.metrics.delayed += 1;
                Ok(())
            }
            Report::Failed(error) => Err(stopped(error)),
        }
    }

    /// A peer asks for a state.
    pub(crate) fn asked(&mut self, asked: Asked, group: &mut Group<P, S>, now: Now) {
        let Asked { from, ask, reply } = asked;
        let word = if self.behind || group.is_installing() {
            Word::Refused("this replica needs a state itself")
        } else {
            group.hold(now);
            self.serving.answer(from, ask, Instant::now())
        };
        // A peer that went away asks again.
        let _ = reply.send(word);
    }

    /// A transfer has come to an end: takes over what it brought.
    ///
    /// # Errors
    /// Why the replica must stop.
    pub(crate) fn state_news(
        &mut self,
        group: &mut Group<P, S>,
        now: Now,
        written: u64,
    ) -> Result<(), Stopped> {
        let Some(arrived) = self.catch_up.next(Instant::now()).map_err(stopped)? else {
            return Ok(());
        };
        if group.is_installing() || !group.protocol().wants_state() {
            self.catch_up.dropped();
            return Ok(());
        }
        let handover = P::handover(arrived.image);
        if !group.can_install(&handover) {
            tracing::warn!(from = %arrived.from, "a state became too old on its way: asks again");
            self.catch_up.refused(Instant::now());
            return Ok(());
        }
        tracing::info!(from = %arrived.from, bytes = arrived.bytes, "takes over a state");
        let number = group.install(now, arrived.machine, arrived.sessions, handover);
        self.metrics.states_taken_over += 1;
        self.behind = true;
        self.serving.forget();
        self.begun(number, written);
        Ok(())
    }

    pub(crate) fn metrics(&self) -> SnapshotMetrics {
        SnapshotMetrics {
            behind: self.behind,
            state_bytes: self.catch_up.bytes,
            states_failed: self.catch_up.failed,
            states_given: self.serving.served,
            ..self.metrics.clone()
        }
    }

    fn begun(&mut self, number: u64, written: u64) {
        self.writing = Some(number);
        self.due.begun(written);
        self.serving.begun(number);
        for (wanted, _) in &mut self.wanted {
            wanted.get_or_insert(number);
        }
    }
}

fn stopped(error: Arc<StorageError>) -> Stopped {
    match &*error {
        StorageError::Failed(failed) => failed.clone().into(),
        _ => Stopped::Snapshots(error),
    }
}

impl<P: Protocol, S: StateMachine> Drop for Desk<P, S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
