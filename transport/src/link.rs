//! The tasks of one accepted connection between two nodes.
//!
//! Per lane a writer and a reader, each on its own unidirectional stream; heartbeats as QUIC
//! datagrams in tasks of their own. So a consumer that does not take frames stops the reader of
//! that lane and nothing else, and never makes this node look dead: datagrams do not wait for
//! streams, and their tasks wait for nobody. A task more takes the peer's bulk transfers, which are
//! bidirectional streams and come and go ([`crate::bulk`]).
//!
//! ```text
//! stream:    lane u8, then frames
//! datagram:  see [`crate::datagram`], which short frames may take instead of their stream
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendDatagramError, WriteError};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::bulk::serve_transfers;
use crate::close::CloseCode;
use crate::datagram::{Datagram, FRAMES_SINCE_VERSION, FrameSender, Malformed};
use crate::error::DownReason;
use crate::frame::{FrameError, FrameReader, encode};
use crate::handler::{BoxFuture, Delivery};
use crate::hello::Accepted;
use crate::lane::{LANES, Lane};
use crate::peer::Peer;
use crate::shared::Shared;
use crate::stats::RefusedKind;

/// Chunks a reader takes from QUIC at once.
const CHUNKS_MAX: usize = 32;

/// A connection in use.
pub(crate) struct Link {
    pub(crate) since: Instant,
    shared: Arc<Shared>,
    connection: Connection,
    tasks: JoinSet<Option<End>>,
}

/// Why a task of a link ended. Any end ends the link.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("connection lost")]
    Lost,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Protocol(&'static str),
}

impl From<ConnectionError> for End {
    fn from(_: ConnectionError) -> Self {
        Self::Lost
    }
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::Protocol("the peer stopped a lane's stream"),
            _ => Self::Lost,
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::Protocol("the peer reset a lane's stream"),
            _ => Self::Lost,
        }
    }
}

impl From<SendDatagramError> for End {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::ConnectionLost(_) => Self::Lost,
            _ => Self::Protocol("the peer takes no datagrams"),
        }
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        match error {
            Malformed::Frame(error) => Self::Frame(error),
            Malformed::Protocol(what) => Self::Protocol(what),
        }
    }
}

impl Link {
    /// Starts to carry frames.
    pub(crate) fn start(shared: &Arc<Shared>, peer: &Arc<Peer>, accepted: Accepted) -> Self {
        let Accepted { connection, version } = accepted;
        let takes_frames = shared.datagrams && version >= FRAMES_SINCE_VERSION;
        let mut tasks = JoinSet::new();
        let context = || (Arc::clone(shared), Arc::clone(peer), connection.clone());
        let taken = Arc::<AtomicU64>::default();
        peer.queue.begin();
        let mut spawn = |task: BoxFuture<Result<(), End>>| {
            // Only an error ends these tasks.
            tasks.spawn(shared.tasks.track(async { task.await.err().unwrap_or(End::Lost) }));
        };
        for lane in Lane::ALL {
            let (_, peer, connection) = context();
            let datagrams = takes_frames && lane != Lane::Bulk;
            let datagrams = datagrams.then(|| FrameSender::new(&peer, &connection));
            spawn(Box::pin(write_lane(peer, connection, lane, datagrams)));
        }
        let (context_shared, context_peer, context_connection) = context();
        let bulk = BulkTaken { count: Arc::clone(&taken), connection: connection.clone() };
        spawn(Box::pin(accept_lanes(context_shared, context_peer, context_connection, bulk)));
        let (context_shared, context_peer, context_connection) = context();
        spawn(Box::pin(async move {
            read_datagrams(&context_shared, &context_peer, &context_connection, version).await
        }));
        let (context_shared, _, context_connection) = context();
        spawn(Box::pin(send_heartbeats(context_shared, context_connection, taken)));
        let (context_shared, context_peer, context_connection) = context();
        spawn(Box::pin(async move {
            Err(serve_transfers(&context_shared, &context_peer, &context_connection).await.into())
        }));
        let (_, _, context_connection) = context();
        spawn(Box::pin(async move { Err(context_connection.closed().await.into()) }));
        Self { since: Instant::now(), shared: Arc::clone(shared), connection, tasks }
    }

    /// Waits for the end of the link, closes the connection if the peer broke the rules, and says
    /// why.
    pub(crate) async fn ended(&mut self) -> DownReason {
        let end = match self.tasks.join_next().await {
            Some(Ok(Some(end))) => end,
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(node = %self.shared.me, "a task of a link panicked: {error}");
                End::Lost
            }
            _ => End::Lost,
        };
        let (kind, code) = match &end {
            End::Lost => return self.lost(),
            End::Frame(FrameError::TooLarge { .. }) => {
                (RefusedKind::FrameTooLarge, CloseCode::FrameTooLarge)
            }
            End::Frame(FrameError::Version(_)) => {
                (RefusedKind::FrameVersion, CloseCode::FrameVersion)
            }
            End::Protocol(_) => (RefusedKind::Protocol, CloseCode::Protocol),
        };
        self.shared.refused.count(kind, Some(self.connection.remote_address()), &end);
        self.connection.close(code.into(), end.to_string().as_bytes());
        DownReason::ClosedByUs(code)
    }

    fn lost(&self) -> DownReason {
        match self.connection.close_reason() {
            Some(ConnectionError::TimedOut) => DownReason::TimedOut,
            // The supervisor stops a link before it closes it: only shutdown comes first.
            Some(ConnectionError::LocallyClosed) => DownReason::ClosedByUs(CloseCode::Shutdown),
            Some(ConnectionError::ApplicationClosed(close)) => {
                DownReason::ClosedByPeer(CloseCode::from_code(close.error_code.into_inner()))
            }
            Some(error) => DownReason::Lost(error.to_string()),
            None => DownReason::Lost("a task of the link failed".into()),
        }
    }

    /// Closes the connection and waits until no task of the link is left: the handler gets no
    /// frame of it after this.
    pub(crate) async fn stop(mut self, code: CloseCode) {
        self.connection.close(code.into(), code.to_string().as_bytes());
        self.tasks.shutdown().await;
    }
}

/// Sends a lane's frames on its stream, apart from those that `datagrams` takes.
async fn write_lane(
    peer: Arc<Peer>,
    connection: Connection,
    lane: Lane,
    datagrams: Option<FrameSender>,
) -> Result<(), End> {
    let mut stream = connection.open_uni().await?;
    stream.set_priority(lane.priority()).map_err(|_| End::Lost)?;
    stream.write_all(&[lane.code()]).await?;
    let counters = &peer.counters.lanes[lane.index()];
    let mut chunks = Vec::new();
    loop {
        let mut batch = peer.queue.take(lane).await;
        let frames = batch.frames.len() as u64;
        let bytes = batch.frames.iter().map(|frame| frame.len() as u64).sum();
        if let Some(datagrams) = &datagrams {
            datagrams.send(lane, &mut batch.frames)?;
        }
        encode(batch.frames.drain(..), &mut chunks);
        stream.write_all_chunks(&mut chunks).await?;
        chunks.clear();
        counters.sent(frames, bytes);
    }
}

/// Takes exactly one stream per lane and reads each in a task of its own.
async fn accept_lanes(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connection: Connection,
    bulk: BulkTaken,
) -> Result<(), End> {
    let mut announced = JoinSet::new();
    let mut readers = JoinSet::new();
    let mut seen = [false; LANES];
    loop {
        tokio::select! {
            stream = connection.accept_uni() => {
                announced.spawn(shared.tasks.track(read_code(stream?)));
            }
            Some(ended) = announced.join_next() => {
                let (lane, stream) = match ended {
                    Ok(Some(result)) => result?,
                    _ => return Err(End::Lost),
                };
                if std::mem::replace(&mut seen[lane.index()], true) {
                    return Err(End::Protocol("two streams for one lane"));
                }
                let bulk = (lane == Lane::Bulk).then(|| bulk.clone());
                let reader = read_lane(Arc::clone(&shared), Arc::clone(&peer), stream, lane, bulk);
                readers.spawn(shared.tasks.track(reader));
            }
            Some(ended) = readers.join_next() => {
                return match ended {
                    Ok(Some(result)) => result,
                    Ok(None) => Err(End::Lost),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => Err(End::Lost),
                };
            }
        }
    }
}

/// Which lane a new stream is. A later stream announces the earlier ones too, so the first byte
/// may still be on its way, or lost: other lanes must not wait for it.
async fn read_code(mut stream: RecvStream) -> Result<(Lane, RecvStream), End> {
    let mut code = [0];
    stream.read_exact(&mut code).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => End::Protocol("an empty stream"),
        quinn::ReadExactError::ReadError(error) => error.into(),
    })?;
    let lane = Lane::from_code(code[0]).ok_or(End::Protocol("an unknown lane"))?;
    Ok((lane, stream))
}

async fn read_lane(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    mut stream: RecvStream,
    lane: Lane,
    bulk: Option<BulkTaken>,
) -> Result<(), End> {
    let counters = &peer.counters.lanes[lane.index()];
    let mut reader = FrameReader::new(shared.limits.frame_bytes_max);
    let mut chunks: [Bytes; CHUNKS_MAX] = std::array::from_fn(|_| Bytes::new());
    loop {
        // QUIC's streams do not yield by themselves while data keeps coming.
        tokio::task::consume_budget().await;
        let count = stream.read_chunks(&mut chunks).await?;
        let count = count.ok_or(End::Protocol("the peer finished a lane's stream"))?;
        peer.heard(shared.micros());
        for chunk in &mut chunks[..count] {
            reader.feed(std::mem::take(chunk));
            while let Some(frame) = reader.next()? {
                let bytes = frame.len() as u64;
                match shared.handler.frame(peer.node, lane, frame) {
                    Delivery::Done => {}
                    Delivery::Wait(taken) => taken.await,
                }
                counters.received(bytes);
                if let Some(bulk) = &bulk {
                    bulk.one_more()?;
                }
            }
        }
    }
}

/// Tells the peer how many frames of its bulk lane were taken.
#[derive(Clone)]
struct BulkTaken {
    count: Arc<AtomicU64>,
    connection: Connection,
}

impl BulkTaken {
    fn one_more(&self) -> Result<(), SendDatagramError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.connection.send_datagram(Datagram::Taken(count).encode())
    }
}

async fn send_heartbeats(
    shared: Arc<Shared>,
    connection: Connection,
    taken: Arc<AtomicU64>,
) -> Result<(), End> {
    let mut ticks = tokio::time::interval(shared.timing.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connection.send_datagram(Datagram::Ping(shared.micros()).encode())?;
        let taken = taken.load(Ordering::Relaxed);
        if taken > 0 {
            connection.send_datagram(Datagram::Taken(taken).encode())?;
        }
    }
}

/// Owners that have not taken a lane's last datagram yet.
#[derive(Default)]
struct Untaken([Option<BoxFuture<()>>; LANES]);

impl Untaken {
    /// Waits until one of them has. Polled where frames are delivered, so that nothing of it goes on
    /// after the link has ended.
    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            for lane in &mut self.0 {
                let taken =
                    lane.as_mut().is_some_and(|lane| lane.as_mut().poll(context).is_ready());
                if taken {
                    *lane = None;
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }
}

async fn read_datagrams(
    shared: &Shared,
    peer: &Peer,
    connection: &Connection,
    version: u8,
) -> Result<(), End> {
    let counters = &peer.counters;
    let mut untaken = Untaken::default();
    loop {
        // As with streams: nothing here yields while datagrams keep coming.
        tokio::task::consume_budget().await;
        let received = tokio::select! {
            received = connection.read_datagram() => received?,
            () = untaken.next() => continue,
        };
        let now = shared.micros();
        peer.heard(now);
        match Datagram::decode(received, version, shared.limits.frame_bytes_max)? {
            Datagram::Ping(number) => connection.send_datagram(Datagram::Pong(number).encode())?,
            Datagram::Pong(number) => {
                // A timestamp of the future is not one of ours: it measures nothing.
                if let Some(micros) = now.checked_sub(number) {
                    counters.ping(Duration::from_micros(micros));
                }
            }
            Datagram::Taken(number) => peer.queue.arrived(number),
            Datagram::Frame(lane, _) if untaken.0[lane.index()].is_some() => {
                counters.datagrams.dropped();
            }
            Datagram::Frame(lane, frame) => {
                counters.lanes[lane.index()].received(frame.len() as u64);
                counters.datagrams.received();
                if let Delivery::Wait(taken) = shared.handler.frame(peer.node, lane, frame) {
                    untaken.0[lane.index()] = Some(taken);
                }
            }
        }
    }
}
