//! The serving side: takes a peer's transfer streams, asks the owner, sends what it writes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{
    Connection, ConnectionError, ReadError, ReadExactError, RecvStream, VarInt, WriteError,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::count::Transfer;
use super::sink::{BulkSink, Event, PIECES_MAX};
use super::window::Window;
use super::{PRIORITY, wire};
use crate::close::CloseCode;
use crate::handler::RequestError;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::stats::RefusedKind;
use crate::unfinished::Unfinished;

/// The longest record of data, so that the window is kept to.
const PIECE_BYTES_MAX: usize = 64 << 10;

const CUT_SHORT: &str = "transfer request cut short";

/// Serves the transfers of one connection until it ends. They end with it.
pub(crate) async fn serve_transfers(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    connection: &Connection,
) -> ConnectionError {
    // QUIC bounds how many: see `streams_max`.
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    let streams = (Unfinished::new(send), receive);
                    let (shared_by_task, peer) = (Arc::clone(shared), Arc::clone(peer));
                    let serving = serve(shared_by_task, peer, connection.clone(), streams);
                    running.spawn(shared.serving.track(serving));
                }
                Err(error) => return error,
            },
            Some(ended) = running.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(node = %shared.me, peer = %peer.node, "serving: {error}");
                }
            }
        }
    }
}

/// Why a transfer broke.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("nothing moved for {0:?}")]
    Stalled(Duration),
    #[error("the fetcher gave up: {0}")]
    GivenUp(CloseCode),
    #[error("the connection is gone")]
    Lost,
    #[error("the owner let go of it")]
    LetGo,
}

impl Broken {
    fn given_up(code: VarInt) -> Self {
        Self::GivenUp(CloseCode::from_code(code.into_inner()))
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::given_up(code),
            _ => Self::Lost,
        }
    }
}

/// One transfer, from its request to its end.
async fn serve(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connection: Connection,
    (mut send, mut receive): (Unfinished, RecvStream),
) {
    // An error means that the stream is gone, which shows below.
    let _ = send.set_priority(PRIORITY);
    let overloaded = Err(RequestError::Overloaded);
    let stall = shared.timing.transfer_stall_timeout;
    let Some(mut transfer) = peer.served.begin(&shared.served) else {
        shared.refused.count(RefusedKind::Overloaded, Some(peer.addr()), &"transfer");
        let _ = receive.stop(CloseCode::Overloaded.into());
        let _ = end(&mut send, &overloaded, stall).await;
        return;
    };
    let request = match timeout(stall, read_request(&shared, &mut receive)).await {
        Ok(Some(Ok(request))) => request,
        Ok(Some(Err(reason))) => {
            shared.refused.count(RefusedKind::TransferRequest, Some(peer.addr()), &reason);
            let _ = receive.stop(CloseCode::RequestTooLarge.into());
            transfer.refused();
            let _ = end(&mut send, &Err(RequestError::Rejected(reason)), stall).await;
            return;
        }
        // Counted as failed.
        Ok(None) => return,
        Err(_) => {
            // An error means that the stream is gone already.
            let _ = receive.stop(CloseCode::Stalled.into());
            return send.reset(CloseCode::Stalled);
        }
    };
    let context = (&*shared, &*peer, &connection);
    let streams = (&mut send, &mut receive);
    if let Err(broken) = run(context, request, streams, &mut transfer).await {
        let bytes = transfer.bytes();
        tracing::info!(node = %shared.me, peer = %peer.node, bytes, "transfer broken: {broken}");
        send.reset(match broken {
            Broken::Stalled(_) => CloseCode::Stalled,
            _ => CloseCode::Dropped,
        });
    }
}

/// The request; an error if it is one to refuse, nothing if it broke.
async fn read_request(shared: &Shared, receive: &mut RecvStream) -> Option<Result<Bytes, String>> {
    let mut header = [0; wire::HEADER_BYTES];
    match receive.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(_)) => return Some(Err(CUT_SHORT.into())),
        Err(ReadExactError::ReadError(_)) => return None,
    }
    let bytes = match wire::request_bytes(header) {
        Ok(bytes) => bytes,
        Err(version) => return Some(Err(format!("transfer version {version} is not known"))),
    };
    let limit = shared.limits.transfer_request_bytes_max;
    if bytes > limit {
        return Some(Err(format!("transfer request over the limit of {limit} bytes")));
    }
    let mut request = vec![0; bytes];
    match receive.read_exact(&mut request).await {
        Ok(()) => Some(Ok(request.into())),
        Err(ReadExactError::FinishedEarly(_)) => Some(Err(CUT_SHORT.into())),
        Err(ReadExactError::ReadError(_)) => None,
    }
}

/// Lets the owner write, and sends it, until either ends.
async fn run(
    (shared, peer, connection): (&Shared, &Peer, &Connection),
    request: Bytes,
    (send, receive): (&mut Unfinished, &mut RecvStream),
    transfer: &mut Transfer,
) -> Result<(), Broken> {
    let (events, heard) = mpsc::channel(PIECES_MAX);
    let piece_bytes = shared.limits.transfer_chunk_bytes.min(PIECE_BYTES_MAX);
    let sink = BulkSink { events: events.clone(), piece_bytes, rate: None };
    let serving = shared.handler.serve(peer.node, request, sink);
    let owner = async {
        let result = serving.await;
        // Through the same channel: what was written before goes before. If nobody hears it, the
        // transfer is over.
        let _ = events.send(Event::Done(result)).await;
        drop(events);
        std::future::pending().await
    };
    let gone = gone(send.stopped());
    let (read, credit) = watch::channel(0);
    let bytes_max = u64::from(shared.limits.lane_window_bytes);
    let window = Window::new(bytes_max, shared.timing.transfer_delay_max);
    let stall = shared.timing.transfer_stall_timeout;
    let pump = Pump { send: &mut *send, connection, transfer, window, credit, credited: 0, stall };
    let result = tokio::select! {
        result = pump.run(heard) => result?,
        broken = gone => return Err(broken),
        broken = hear_credit(receive, read) => return Err(broken),
        never = owner => never,
    };
    match result {
        Ok(()) => {
            // Only what the other side has acknowledged is finished.
            match send.stopped().await {
                Ok(None) => transfer.finished(),
                Ok(Some(code)) => return Err(Broken::given_up(code)),
                Err(_) => return Err(Broken::Lost),
            }
        }
        Err(refusal) => {
            tracing::info!(node = %shared.me, peer = %peer.node, "transfer refused: {refusal}");
            transfer.refused();
        }
    }
    Ok(())
}

/// Hears what the fetcher has read, until it breaks the transfer off.
async fn hear_credit(receive: &mut RecvStream, read: watch::Sender<u64>) -> Broken {
    let mut bytes = [0; 8];
    loop {
        match receive.read_exact(&mut bytes).await {
            Ok(()) => read.send_replace(u64::from_le_bytes(bytes)),
            Err(ReadExactError::FinishedEarly(_)) => return Broken::GivenUp(CloseCode::Dropped),
            Err(ReadExactError::ReadError(ReadError::Reset(code))) => {
                return Broken::given_up(code);
            }
            Err(ReadExactError::ReadError(_)) => return Broken::Lost,
        };
    }
}

/// Waits until the fetcher gives up, or its connection is gone.
async fn gone<E>(stopped: impl Future<Output = Result<Option<VarInt>, E>>) -> Broken {
    match stopped.await {
        Ok(Some(code)) => Broken::given_up(code),
        // Everything is acknowledged: the sending half is about to say so itself.
        Ok(None) => std::future::pending().await,
        Err(_) => Broken::Lost,
    }
}

/// Sends what the owner writes.
struct Pump<'a> {
    send: &'a mut Unfinished,
    connection: &'a Connection,
    transfer: &'a mut Transfer,
    window: Window,
    /// What the fetcher says it has read in all.
    credit: watch::Receiver<u64>,
    /// As much of it as `window` knows.
    credited: u64,
    stall: Duration,
}

impl Pump<'_> {
    /// Sends everything and at last how it ended, which is returned.
    async fn run(
        mut self,
        mut heard: mpsc::Receiver<Event>,
    ) -> Result<Result<(), RequestError>, Broken> {
        let stall = self.stall;
        let mut done = false;
        loop {
            // QUIC's streams do not yield by themselves while they take everything.
            tokio::task::consume_budget().await;
            match timeout(stall, heard.recv()).await {
                Ok(Some(Event::Piece(piece))) => {
                    let bytes = piece.len();
                    self.room().await?;
                    write(self.send, &mut [wire::data_header(bytes), piece], stall).await?;
                    self.transfer.moved(bytes);
                }
                // The sink may have outlived the future, and go on writing.
                Ok(Some(Event::Done(Ok(())))) => done = true,
                Ok(Some(Event::Done(refusal))) => {
                    // First: a fetcher that hears the end may ask for more at once.
                    self.transfer.free();
                    end(self.send, &refusal, stall).await?;
                    return Ok(refusal);
                }
                Ok(None) if done => {
                    self.transfer.free();
                    end(self.send, &Ok(()), stall).await?;
                    return Ok(Ok(()));
                }
                Ok(None) => return Err(Broken::LetGo),
                Err(_) => return Err(Broken::Stalled(stall)),
            }
        }
    }

    /// Waits until less than a window is on its way.
    async fn room(&mut self) -> Result<(), Broken> {
        loop {
            // More than was sent cannot have been read, whatever the fetcher says.
            let credit = (*self.credit.borrow_and_update()).min(self.transfer.bytes());
            if let Some(read @ 1..) = credit.checked_sub(self.credited) {
                let path = self.connection.stats().path;
                self.window.taken(read, path.rtt, path.min_rtt);
                self.credited = credit;
            }
            if self.transfer.bytes() - self.credited < self.window.bytes() {
                return Ok(());
            }
            match timeout(self.stall, self.credit.changed()).await {
                Ok(Ok(())) => {}
                // Whoever hears the credit is about to say why it hears no more.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => return Err(Broken::Stalled(self.stall)),
            }
        }
    }
}

/// Sends the last record and ends the stream.
async fn end(
    send: &mut Unfinished,
    result: &Result<(), RequestError>,
    stall: Duration,
) -> Result<(), Broken> {
    write(send, &mut [wire::last(result)], stall).await?;
    send.finish();
    Ok(())
}

/// Writes everything, as long as something moves from time to time.
async fn write(
    send: &mut Unfinished,
    mut chunks: &mut [Bytes],
    stall: Duration,
) -> Result<(), Broken> {
    while !chunks.is_empty() {
        let written = timeout(stall, send.write_chunks(chunks)).await;
        let written = written.map_err(|_| Broken::Stalled(stall))??;
        chunks = &mut chunks[written.chunks..];
    }
    Ok(())
}
