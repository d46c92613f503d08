//! A snapshot's file on its way to a peer, at a bounded rate.

use bytes::Bytes;
use panchayat_consensus::NodeId;
use panchayat_consensus::wire::from_bytes;
use panchayat_storage::StoredSnapshot;
use panchayat_transport::{BulkSink, RateLimit, RequestError};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::request::{Ask, Head, StateRequest};
use super::serving::{Asked, Word};
use crate::driver::Address;
use crate::inbox::{Event, Inbox};

/// What is read of the file at once.
const PIECE_BYTES: usize = 256 << 10;
/// How often the replica's thread is told that the transfer goes on.
const KEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Serves states of one replica.
pub(crate) struct Stream<O> {
    pub(crate) inbox: Inbox<O>,
    pub(crate) address: Address,
    /// One limit for all transfers.
    pub(crate) rate: RateLimit,
}

impl<O> Clone for Stream<O> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone(), address: self.address, rate: self.rate.clone() }
    }
}

impl<O> Stream<O> {
    /// Answers one request: see [`panchayat_transport::MeshHandler::serve`].
    pub(crate) async fn serve(
        self,
        from: NodeId,
        request: Bytes,
        mut sink: BulkSink,
    ) -> Result<(), RequestError> {
        let unreadable = |error| RequestError::Rejected(format!("unreadable request: {error}"));
        let StateRequest { address, ask } = from_bytes(request).map_err(unreadable)?;
        if address != self.address {
            return Err(RequestError::Rejected("of another group or epoch".to_owned()));
        }
        let stored = match self.ask(from, ask).await? {
            Word::Refused(why) => return Err(RequestError::Rejected(why.to_owned())),
            Word::Later => return Ok(sink.write(Head::Later.framed()).await?),
            Word::Kept => return Ok(sink.write(Head::Kept.framed()).await?),
            Word::Ready(stored) => stored,
        };
        let transfer = stored.transfer();
        let offset = match ask {
            Ask::Rest(id, offset) if id == transfer => offset.min(transfer.bytes),
            _ => 0,
        };
        sink.limit_rate(self.rate.clone());
        sink.write(Head::State(transfer, offset).framed()).await?;
        self.send(from, stored, offset, sink).await
    }

    async fn send(
        &self,
        from: NodeId,
        stored: StoredSnapshot,
        mut offset: u64,
        mut sink: BulkSink,
    ) -> Result<(), RequestError> {
        let mut keep_at = Instant::now() + KEEP_INTERVAL;
        loop {
            let piece = read(stored.clone(), offset).await?;
            if piece.is_empty() {
                return Ok(());
            }
            offset += piece.len() as u64;
            sink.write(piece).await?;
            if Instant::now() >= keep_at {
                keep_at = Instant::now() + KEEP_INTERVAL;
                self.ask(from, Ask::Keep).await?;
            }
        }
    }

    async fn ask(&self, from: NodeId, ask: Ask) -> Result<Word, RequestError> {
        let (reply, word) = oneshot::channel();
        self.inbox.tell(Event::State(Asked { from, ask, reply }));
        word.await.map_err(|_| RequestError::Rejected("the replica has stopped".to_owned()))
    }
}

/// Reads a piece where reading may wait.
async fn read(stored: StoredSnapshot, offset: u64) -> Result<Bytes, RequestError> {
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE_BYTES];
        let read = stored.read_at(offset, &mut piece)?;
        piece.truncate(read);
        Ok::<_, panchayat_storage::StorageError>(Bytes::from(piece))
    });
    let failed = |error: String| {
        tracing::warn!(%error, "a snapshot cannot be served");
        RequestError::Rejected("the snapshot cannot be read".to_owned())
    };
    read.await.map_err(|error| failed(error.to_string()))?.map_err(|e| failed(e.to_string()))
}
