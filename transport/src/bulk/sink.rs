//! Where the owner of the serving node writes a transfer's data.

use std::fmt;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::rate::RateLimit;
use crate::handler::RequestError;

/// Pieces that wait between the owner and QUIC.
pub(super) const PIECES_MAX: usize = 2;

/// What the serving task hears.
#[derive(Debug)]
pub(super) enum Event {
    /// Data to send.
    Piece(Bytes),
    /// The owner's future is ready.
    Done(Result<(), RequestError>),
}

/// The way to the fetcher of one transfer. See [`crate::MeshHandler::serve`].
pub struct BulkSink {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) piece_bytes: usize,
    pub(super) rate: Option<RateLimit>,
}

impl fmt::Debug for BulkSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkSink")
            .field("rate", &self.rate)
            .field("ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}

/// The transfer is over before everything was written: the fetcher gave up or went away, nothing
/// moved for the stall timeout, or the mesh is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transfer has ended")]
pub struct TransferEnded;

impl From<TransferEnded> for RequestError {
    fn from(ended: TransferEnded) -> Self {
        Self::Rejected(ended.to_string())
    }
}

impl BulkSink {
    /// Sends `bytes` after what was written before. Waits while the fetcher does not read, and for
    /// the limit of the rate if there is one: little is ever buffered here, so read the next piece
    /// of what you serve only after this returns. The fetcher gets the same bytes, but cut
    /// elsewhere.
    ///
    /// Not cancel-safe: when this is given up, a part of `bytes` may have been sent.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), TransferEnded> {
        while !bytes.is_empty() {
            let mut piece_bytes = self.piece_bytes;
            if let Some(rate) = &self.rate {
                piece_bytes = piece_bytes.min(rate.piece_bytes());
            }
            let piece = bytes.split_to(piece_bytes.min(bytes.len()));
            if let Some(rate) = &self.rate {
                // Nobody waits for a turn whose transfer is over.
                tokio::select! {
                    () = rate.pass(piece.len()) => {}
                    () = self.events.closed() => return Err(TransferEnded),
                }
            }
            self.events.send(Event::Piece(piece)).await.map_err(|_| TransferEnded)?;
        }
        Ok(())
    }

    /// Keeps to `limit` from now on.
    pub fn limit_rate(&mut self, limit: RateLimit) {
        self.rate = Some(limit);
    }

    /// Whether the transfer is over, so that nothing more can be written.
    pub fn is_ended(&self) -> bool {
        self.events.is_closed()
    }
}
