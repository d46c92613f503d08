//! The serving side: takes a peer's transfer streams, asks the owner, sends what it writes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadToEndError, RecvStream, SendStream, WriteError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::count::Transfer;
use super::sink::{BulkSink, Event, PIECES_MAX};
use super::{PRIORITY, TRANSFER_VERSION, wire};
use crate::close::CloseCode;
use crate::handler::RequestError;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::stats::RefusedKind;
use crate::unfinished::Unfinished;

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
                    let serving = serve(Arc::clone(shared), Arc::clone(peer), send, receive);
                    running.spawn(shared.tasks.track(serving));
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

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::GivenUp(CloseCode::from_code(code.into_inner())),
            _ => Self::Lost,
        }
    }
}

/// One transfer, from its request to its end.
async fn serve(shared: Arc<Shared>, peer: Arc<Peer>, send: SendStream, mut receive: RecvStream) {
    let mut send = Unfinished::new(send);
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
            let _ = receive.stop(CloseCode::Stalled.into());
            return send.reset(CloseCode::Stalled);
        }
    };
    if let Err(broken) = run(&shared, &peer, request, &mut send, &mut transfer).await {
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
    let limit = shared.limits.transfer_request_bytes_max;
    let too_large = || format!("transfer request over the limit of {limit} bytes");
    let mut request = match receive.read_to_end(limit.saturating_add(1)).await {
        Ok(request) => Bytes::from(request),
        Err(ReadToEndError::TooLong) => return Some(Err(too_large())),
        Err(ReadToEndError::Read(_)) => return None,
    };
    Some(match request.first() {
        Some(&TRANSFER_VERSION) => Ok(request.split_off(1)),
        Some(version) => Err(format!("transfer version {version} is not known")),
        None => Err("an empty transfer request".into()),
    })
}

/// Lets the owner write, and sends it, until either ends.
async fn run(
    shared: &Shared,
    peer: &Peer,
    request: Bytes,
    send: &mut Unfinished,
    transfer: &mut Transfer,
) -> Result<(), Broken> {
    let stall = shared.timing.transfer_stall_timeout;
    let (events, heard) = mpsc::channel(PIECES_MAX);
    let piece_bytes = shared.limits.transfer_chunk_bytes;
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
    let result = tokio::select! {
        result = pump(send, heard, transfer, stall) => result?,
        broken = gone => return Err(broken),
        never = owner => never,
    };
    match result {
        Ok(()) => {
            // Only what the other side has acknowledged is finished.
            match send.stopped().await {
                Ok(None) => transfer.finished(),
                Ok(Some(code)) => {
                    return Err(Broken::GivenUp(CloseCode::from_code(code.into_inner())));
                }
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

/// Waits until the fetcher gives up, or its connection is gone.
async fn gone<E>(stopped: impl Future<Output = Result<Option<quinn::VarInt>, E>>) -> Broken {
    match stopped.await {
        Ok(Some(code)) => Broken::GivenUp(CloseCode::from_code(code.into_inner())),
        // Everything is acknowledged: the sending half is about to say so itself.
        Ok(None) => std::future::pending().await,
        Err(_) => Broken::Lost,
    }
}

/// Sends what the owner writes, and at last how it ended, which is returned.
async fn pump(
    send: &mut Unfinished,
    mut heard: mpsc::Receiver<Event>,
    transfer: &mut Transfer,
    stall: Duration,
) -> Result<Result<(), RequestError>, Broken> {
    let mut done = false;
    loop {
        // QUIC's streams do not yield by themselves while they take everything.
        tokio::task::consume_budget().await;
        match timeout(stall, heard.recv()).await {
            Ok(Some(Event::Piece(piece))) => {
                let bytes = piece.len();
                write(send, &mut [wire::data_header(bytes), piece], stall).await?;
                transfer.moved(bytes);
            }
            // The sink may have outlived the future, and go on writing.
            Ok(Some(Event::Done(Ok(())))) => done = true,
            Ok(Some(Event::Done(refusal))) => {
                end(send, &refusal, stall).await?;
                return Ok(refusal);
            }
            Ok(None) if done => {
                end(send, &Ok(()), stall).await?;
                return Ok(Ok(()));
            }
            Ok(None) => return Err(Broken::LetGo),
            Err(_) => return Err(Broken::Stalled(stall)),
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
