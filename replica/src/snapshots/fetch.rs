//! The transfer of a peer's state, on the replica that takes it over.
//!
//! One attempt asks one peer. What came is written and verified chunk by chunk; a transfer that
//! broke goes on where it was, at the same peer, also in a later run of this program. When all of
//! it is there it is decoded and handed to the replica's thread; then the peer is told from time
//! to time to keep what comes after it, until that thread says that the state is durable here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crossbeam::channel::Sender;
use panchayat_consensus::wire::{DecodeError, to_bytes};
use panchayat_consensus::{NodeId, Protocol};
use panchayat_core::{SessionConfig, Sessions, StateMachine};
use panchayat_storage::{Incoming, SnapshotStore, StorageError, TransferId};
use panchayat_transport::{BulkReader, FetchError, Mesh};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::decode::{Decoded, SnapshotUnreadable, decode};
use super::request::{Ask, Head, StateRequest};
use crate::driver::Address;
use crate::inbox::{Event, Inbox};

/// How long before a peer whose snapshot is not ready is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A peer that takes longer to write a snapshot is left alone for a while.
const PREPARED_WITHIN: Duration = Duration::from_secs(900);
/// How often a peer is told to keep what is needed.
const KEEP_INTERVAL: Duration = Duration::from_secs(3);
/// Chunks that wait for the disk.
const CHUNKS_MAX: usize = 4;

/// A state that has arrived whole.
pub(crate) struct Arrived<P: Protocol, S> {
    pub(crate) from: NodeId,
    pub(crate) bytes: u64,
    pub(crate) machine: S,
    pub(crate) sessions: Sessions,
    pub(crate) image: Vec<P::Record>,
}

/// An attempt that did not get a state.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) from: NodeId,
    /// Whether any of it came: then the rest may, too.
    pub(crate) moved: bool,
    pub(crate) why: FetchFailed,
}

/// Why.
#[derive(Debug, Error)]
pub(crate) enum FetchFailed {
    #[error(transparent)]
    Transport(#[from] FetchError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Unreadable(#[from] SnapshotUnreadable),
    #[error("unreadable answer: {0}")]
    Answer(#[from] DecodeError),
    #[error("{0}")]
    Peer(&'static str),
    #[error("a task of the transfer panicked")]
    Panicked,
}

/// The end of an attempt.
pub(crate) type News<P, S> = Result<Arrived<P, S>, Failed>;

/// What attempts need.
pub(crate) struct Fetcher<P: Protocol, S: StateMachine> {
    pub(crate) mesh: Mesh,
    pub(crate) store: SnapshotStore,
    pub(crate) address: Address,
    pub(crate) sessions: SessionConfig,
    pub(crate) inbox: Inbox<S::Output>,
    pub(crate) news: Sender<News<P, S>>,
    /// Held by everything that uses the store, on whatever thread.
    pub(crate) users: Arc<()>,
    /// What was being received last, and from whom.
    pub(crate) last: Arc<Mutex<Option<(NodeId, TransferId)>>>,
    /// Whether this node has no state at all.
    pub(crate) joins: Arc<AtomicBool>,
}

impl<P: Protocol, S: StateMachine> Clone for Fetcher<P, S> {
    fn clone(&self) -> Self {
        Self {
            joins: self.joins.clone(),
            mesh: self.mesh.clone(),
            store: self.store.clone(),
            address: self.address,
            sessions: self.sessions,
            inbox: self.inbox.clone(),
            news: self.news.clone(),
            users: self.users.clone(),
            last: self.last.clone(),
        }
    }
}

impl<P, S> Fetcher<P, S>
where
    P: Protocol + 'static,
    P::Record: Send,
    S: StateMachine,
{
    /// Gets the state of `from` and tells the replica's thread; then sees to it that the peer
    /// keeps what follows, until `done`.
    pub(crate) async fn run(self, from: NodeId, done: Arc<AtomicBool>) {
        let mut moved = false;
        let news = self.state_of(from, &mut moved).await;
        let arrived = news.is_ok();
        // Without a thread that wants it there is nothing left to do.
        let _ = self.news.send(news.map_err(|why| Failed { from, moved, why }));
        self.inbox.tell(Event::StateNews);
        while arrived && !done.load(Ordering::Acquire) {
            if let Err(error) = self.ask(from, Ask::Keep).await {
                tracing::debug!(%from, %error, "cannot ask to keep what follows a state");
            }
            sleep(KEEP_INTERVAL).await;
        }
    }

    async fn state_of(&self, from: NodeId, moved: &mut bool) -> Result<Arrived<P, S>, FetchFailed> {
        let (incoming, come, reader) = self.begin(from).await?;
        let before = incoming.received();
        let received = self.receive(incoming, come, reader).await;
        *moved = match &received {
            Ok(_) => true,
            Err((_, upto)) => *upto > before,
        };
        let incoming = received.map_err(|(error, _)| error)?;
        let (sessions, epoch) = (self.sessions, self.address.epoch);
        let bytes = incoming.received();
        let decoded = self.blocking(move || {
            let received = incoming.finish()?;
            let stored = received.snapshot();
            let of_epoch = stored.info().header.check_epoch(epoch);
            of_epoch.map_err(|error| stored.refused(error.into()))?;
            let decoded = decode::<P, S>(stored, sessions, true)?;
            // It is in memory, and the group's own snapshot of it comes next.
            received.abandon();
            Ok(decoded)
        });
        let Decoded { machine, sessions, image } = decoded.await?;
        *self.last.lock() = None;
        Ok(Arrived { from, bytes, machine, sessions, image })
    }

    /// Asks until the peer begins to send.
    async fn begin(&self, from: NodeId) -> Result<(Incoming, BytesMut, BulkReader), FetchFailed> {
        let deadline = Instant::now() + PREPARED_WITHIN;
        let known = *self.last.lock();
        let mut known = known.filter(|(node, _)| *node == from).map(|(_, id)| id);
        while Instant::now() < deadline {
            let incoming = match known {
                Some(id) => Some(self.open(id).await?),
                None => None,
            };
            let here = incoming.as_ref().map(|incoming| (incoming.id(), incoming.received()));
            let joins = self.joins.load(Ordering::Relaxed);
            let whole = if joins { Ask::Join } else { Ask::State };
            let ask = here.map_or(whole, |(id, received)| Ask::Rest(id, received));
            let (head, come, reader) = self.ask(from, ask).await?;
            match head {
                Head::Later => {
                    drop((incoming, reader));
                    sleep(ASK_AGAIN).await;
                }
                Head::Kept => return Err(FetchFailed::Peer("the answer to another question")),
                Head::State(id, offset) => {
                    *self.last.lock() = Some((from, id));
                    let incoming = match incoming {
                        Some(incoming) if incoming.id() == id => incoming,
                        // One is received at a time.
                        other => {
                            drop(other);
                            self.open(id).await?
                        }
                    };
                    if incoming.received() == offset {
                        return Ok((incoming, come, reader));
                    }
                    // A part of it is here, from an earlier run.
                    known = Some(id);
                }
            }
        }
        Err(FetchFailed::Peer("its snapshot is not ready in time"))
    }

    async fn open(&self, id: TransferId) -> Result<Incoming, FetchFailed> {
        let store = self.store.clone();
        self.blocking(move || Ok(store.receive(id)?)).await
    }

    /// Sends a question; the answer's head, what came behind it, and where the rest comes.
    async fn ask(
        &self,
        from: NodeId,
        ask: Ask,
    ) -> Result<(Head, BytesMut, BulkReader), FetchFailed> {
        let request = to_bytes(&StateRequest { address: self.address, ask });
        let mut reader = self.mesh.fetch(from, request).await?;
        let mut come = BytesMut::new();
        loop {
            if let Some(head) = Head::unframe(&mut come)? {
                return Ok((head, come, reader));
            }
            match reader.chunk().await? {
                Some(chunk) => come.extend_from_slice(&chunk),
                None => return Err(FetchFailed::Peer("the answer has no head")),
            }
        }
    }

    /// Receives everything. With an error, how far it came.
    async fn receive(
        &self,
        incoming: Incoming,
        come: BytesMut,
        mut reader: BulkReader,
    ) -> Result<Incoming, (FetchFailed, u64)> {
        let mut at = incoming.received();
        let (chunks, mut queue) = mpsc::channel::<Bytes>(CHUNKS_MAX);
        let writing = self.blocking(move || {
            let mut incoming = incoming;
            while let Some(chunk) = queue.blocking_recv() {
                incoming.append(incoming.received(), &chunk)?;
            }
            Ok(incoming)
        });
        let mut next = Ok(Some(come.freeze()).filter(|come| !come.is_empty()));
        if matches!(next, Ok(None)) {
            next = reader.chunk().await;
        }
        let ended = loop {
            match next {
                Ok(Some(chunk)) => {
                    at += chunk.len() as u64;
                    // The writer has ended: it says why.
                    if chunks.send(chunk).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            next = reader.chunk().await;
        };
        drop(chunks);
        let written = writing.await.map_err(|error| (error, at))?;
        match ended {
            Ok(()) if written.is_complete() => Ok(written),
            Ok(()) => Err((FetchFailed::Peer("it ended before the snapshot did"), at)),
            Err(error) => Err((error.into(), at)),
        }
    }

    /// Runs what waits for the disk where it may wait, from now on.
    fn blocking<T: Send + 'static, F>(
        &self,
        run: F,
    ) -> impl Future<Output = Result<T, FetchFailed>> + use<T, F, P, S>
    where
        F: FnOnce() -> Result<T, FetchFailed> + Send + 'static,
    {
        let user = self.users.clone();
        let task = tokio::task::spawn_blocking(move || {
            // In this order: a result that nobody wants any more may use the store.
            (run(), user)
        });
        async move { task.await.map_or(Err(FetchFailed::Panicked), |(result, _)| result) }
    }
}
