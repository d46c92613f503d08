//! Client requests: one bidirectional stream each, on the node's side.
//!
//! ```text
//! request:   version u8 (1), then the body, then the end of the stream
//! response:  status u8 (0 ok, 1 overloaded, 2 rejected), then the body or the reason, then the end
//! ```

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::close::CloseCode;
use crate::handler::{ClientIdentity, RequestError};
use crate::shared::Shared;
use crate::stats::RefusedKind;

/// The version of the request layout.
pub(crate) const REQUEST_VERSION: u8 = 1;

pub(crate) const STATUS_OK: u8 = 0;
pub(crate) const STATUS_OVERLOADED: u8 = 1;
pub(crate) const STATUS_REJECTED: u8 = 2;

/// QUIC flow control: bytes a client may have sent beyond what was read of its requests. What of
/// them cannot be read yet, because something before it is missing, is bounded by this alone.
const CLIENT_WINDOW_BYTES: u32 = 1 << 20;

/// Longest reason a client, or a fetching peer, is told.
pub(crate) const REASON_BYTES_MAX: usize = 1024;

/// Answers a client's requests until its connection ends. Requests in progress end with it.
pub(crate) async fn serve_client(shared: &Arc<Shared>, connection: &Connection, name: String) {
    let client = ClientIdentity { name, remote: connection.remote_address() };
    connection.set_receive_window(CLIENT_WINDOW_BYTES.into());
    connection.set_max_concurrent_bi_streams(shared.limits.requests_per_client_max.into());
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    let answer = answer(Arc::clone(shared), client.clone(), send, receive);
                    requests.spawn(shared.tasks.track(answer));
                }
                Err(_) => return,
            },
            Some(_) = requests.join_next() => {}
        }
    }
}

/// Why a request did not reach the handler.
enum Unread {
    Overloaded,
    TooLarge,
    TooSlow,
    Version(u8),
    Gone,
}

async fn answer(
    shared: Arc<Shared>,
    client: ClientIdentity,
    mut send: SendStream,
    mut receive: RecvStream,
) {
    let Ok(_in_progress) = Arc::clone(&shared.requests).try_acquire_owned() else {
        shared.refused.count(RefusedKind::Overloaded, Some(client.remote), &"client request");
        return respond(&shared, &mut send, Err(RequestError::Overloaded)).await;
    };
    let remote = client.remote;
    let patience = shared.timing.request_transfer_timeout;
    let read = tokio::time::timeout(patience, read_request(&shared, &mut receive)).await;
    let read = read.unwrap_or(Err(Unread::TooSlow));
    let result = match read {
        Ok((request, _memory)) => {
            tokio::select! {
                result = shared.handler.request(client, request) => result,
                // The client gave up: nobody would read the response.
                _ = send.stopped() => return,
            }
        }
        Err(Unread::Overloaded) => Err(RequestError::Overloaded),
        Err(Unread::Version(version)) => {
            Err(RequestError::Rejected(format!("request version {version} is not known")))
        }
        Err(Unread::TooLarge) => {
            let limit = shared.limits.request_bytes_max;
            let reason = format!("request over the limit of {limit} bytes");
            shared.refused.count(RefusedKind::RequestTooLarge, Some(remote), &reason);
            Err(RequestError::Rejected(reason))
        }
        Err(Unread::TooSlow) => {
            Err(RequestError::Rejected(format!("request not received within {patience:?}")))
        }
        Err(Unread::Gone) => return,
    };
    if result.as_ref().is_err_and(|error| *error == RequestError::Overloaded) {
        shared.refused.count(RefusedKind::Overloaded, Some(remote), &"client request");
    }
    // Only needed if we answer before having read everything; a finished stream ignores it.
    let _ = receive.stop(CloseCode::RequestTooLarge.into());
    respond(&shared, &mut send, result).await;
}

/// Reads a whole request; what it holds of the memory for requests comes with it.
async fn read_request(
    shared: &Shared,
    receive: &mut RecvStream,
) -> Result<(Bytes, OwnedSemaphorePermit), Unread> {
    let mut request = BytesMut::new();
    // One permit however many pieces the request comes in.
    let mut memory = reserve(&shared.request_bytes, 0)?;
    let limit = shared.limits.request_bytes_max + 1;
    loop {
        let chunk = receive.read_chunk(limit, true).await.map_err(|_: ReadError| Unread::Gone)?;
        let Some(chunk) = chunk else { break };
        if request.len() + chunk.bytes.len() > limit {
            return Err(Unread::TooLarge);
        }
        memory.merge(reserve(&shared.request_bytes, chunk.bytes.len())?);
        request.extend_from_slice(&chunk.bytes);
    }
    let mut request = request.freeze();
    match request.first() {
        Some(&REQUEST_VERSION) => Ok((request.split_off(1), memory)),
        Some(&version) => Err(Unread::Version(version)),
        None => Err(Unread::Gone),
    }
}

fn reserve(memory: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
    let bytes = u32::try_from(bytes).map_err(|_| Unread::Overloaded)?;
    Arc::clone(memory).try_acquire_many_owned(bytes).map_err(|_| Unread::Overloaded)
}

/// As much of `reason` as is told.
pub(crate) fn reason_bytes(reason: &str) -> &[u8] {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason.as_bytes()[..end]
}

async fn respond(shared: &Shared, send: &mut SendStream, result: Result<Bytes, RequestError>) {
    let (status, body) = match result {
        Ok(body) => (STATUS_OK, body),
        Err(RequestError::Overloaded) => (STATUS_OVERLOADED, Bytes::new()),
        Err(RequestError::Rejected(reason)) => {
            (STATUS_REJECTED, Bytes::copy_from_slice(reason_bytes(&reason)))
        }
    };
    let mut chunks = [Bytes::copy_from_slice(&[status]), body];
    let patience = shared.timing.request_transfer_timeout;
    let written = tokio::time::timeout(patience, send.write_all_chunks(&mut chunks)).await;
    // An error means the client is gone, or takes nothing, and with it all use of the response. A
    // stream that is dropped counts as finished: part of a response must not pass for all of it.
    if !matches!(written, Ok(Ok(()))) || send.finish().is_err() {
        let _ = send.reset(VarInt::from_u32(0));
    }
}
