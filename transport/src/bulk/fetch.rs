//! The fetching side: opens a stream, asks, and waits for the first word of the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, WriteError};
use tokio::time::timeout;

use super::reader::BulkReader;
use super::{PRIORITY, wire};
use crate::close::CloseCode;
use crate::handler::RequestError;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::unfinished::Unfinished;

/// Why a transfer did not begin, or broke. Whatever was read before stays valid: a request that
/// names an offset can go on from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No such peer is configured.
    #[error("no such peer")]
    UnknownPeer,
    /// There is no connection to this peer now.
    #[error("peer is down")]
    Down,
    /// The request is longer than the limit; it was not sent.
    #[error("transfer request of {bytes} bytes is over the limit of {limit}")]
    RequestTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// This node fetches as much at once as its limits allow, from this peer or in all.
    #[error("too many transfers at once on this node")]
    Busy,
    /// The peer is at a limit; try later.
    #[error("the peer is overloaded")]
    Overloaded,
    /// The peer's owner refused, or could not go on, and said why.
    #[error("rejected by the peer: {0}")]
    Rejected(String),
    /// Nothing came for this long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    /// The peer broke the transfer off without a refusal: it stalled there, or its owner failed.
    #[error("broken off by the peer: {0}")]
    BrokenOff(CloseCode),
    /// The connection ended, or was replaced, in the middle.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer's answer is not one this version knows.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
}

impl From<RequestError> for FetchError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Overloaded => Self::Overloaded,
            RequestError::Rejected(reason) => Self::Rejected(reason),
        }
    }
}

impl From<ConnectionError> for FetchError {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// [`crate::Mesh::fetch`].
pub(crate) async fn fetch(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    request: Bytes,
) -> Result<BulkReader, FetchError> {
    let limit = shared.limits.transfer_request_bytes_max;
    if request.len() > limit {
        return Err(FetchError::RequestTooLarge { bytes: request.len(), limit });
    }
    let connection = peer.connection().ok_or(FetchError::Down)?;
    let transfer = peer.fetched.begin(&shared.fetched).ok_or(FetchError::Busy)?;
    let stall = shared.timing.transfer_stall_timeout;
    let asked = timeout(stall, ask(&connection, request)).await;
    let streams = asked.map_err(|_| FetchError::Stalled(stall))??;
    let chunk_bytes = shared.limits.transfer_chunk_bytes;
    let mut reader = BulkReader::new(streams, connection, transfer, chunk_bytes, stall);
    reader.begin().await?;
    Ok(reader)
}

/// Sends the request on a stream of its own.
async fn ask(
    connection: &Connection,
    request: Bytes,
) -> Result<(Unfinished, RecvStream), FetchError> {
    let (send, receive) = connection.open_bi().await?;
    let mut send = Unfinished::new(send);
    // An error means that the stream is gone, which shows when it is written.
    let _ = send.set_priority(PRIORITY);
    let mut chunks = [wire::request_header(request.len()), request];
    match send.write_all_chunks(&mut chunks).await {
        // Refused before it was read: the answer says why.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(WriteError::ConnectionLost(error)) => return Err(error.into()),
        Err(error) => return Err(FetchError::Lost(error.to_string())),
    }
    Ok((send, receive))
}
