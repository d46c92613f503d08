//! Where the owner of the fetching node reads a transfer's data.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ReadError, RecvStream};
use tokio::time::timeout;

use super::CREDIT_BYTES;
use super::count::Transfer;
use super::fetch::FetchError;
use super::wire::{Item, Malformed, RecordReader};
use crate::close::CloseCode;
use crate::unfinished::Unfinished;

/// Chunks taken from QUIC at once, each at most a packet's worth.
const CHUNKS_MAX: usize = 64;

/// A transfer from a peer, in progress. Dropping it gives the transfer up.
///
/// What is not read stays with the sender, apart from [`crate::Limits::lane_window_bytes`]; a
/// reader that reads nothing for the stall timeout may find the transfer broken off.
pub struct BulkReader {
    stream: RecvStream,
    /// For what was read.
    credit: Unfinished,
    credited: u64,
    connection: Connection,
    transfer: Transfer,
    records: RecordReader,
    /// What came and is not read, oldest first.
    input: VecDeque<Bytes>,
    /// The first piece of the data in `input`.
    next: Option<Bytes>,
    end: End,
    chunk_bytes: usize,
    stall: Duration,
}

/// How far the end has come.
#[derive(Debug)]
enum End {
    NotYet,
    /// The last record said that this is all; the stream's own end has not come.
    Announced,
    Clean,
    Broken(FetchError),
}

impl fmt::Debug for BulkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkReader")
            .field("received", &self.received())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl BulkReader {
    pub(super) fn new(
        (credit, stream): (Unfinished, RecvStream),
        connection: Connection,
        transfer: Transfer,
        chunk_bytes: usize,
        stall: Duration,
    ) -> Self {
        let records = RecordReader::default();
        let (input, next) = (VecDeque::with_capacity(CHUNKS_MAX), None);
        let end = End::NotYet;
        Self {
            stream,
            credit,
            credited: 0,
            connection,
            transfer,
            records,
            input,
            next,
            end,
            chunk_bytes,
            stall,
        }
    }

    /// The next bytes, as many as have come but at most [`crate::Limits::transfer_chunk_bytes`];
    /// never none. `None` only if the peer's owner has ended the transfer with success, and then
    /// for ever. An error is the end too, and comes again when asked again.
    ///
    /// Cancel-safe: what was not returned comes next time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        // QUIC's streams do not yield by themselves while data keeps coming.
        tokio::task::consume_budget().await;
        self.say_what_was_read().await;
        self.fill().await?;
        Ok(self.gather())
    }

    /// How many bytes [`BulkReader::chunk`] has returned in all.
    pub fn received(&self) -> u64 {
        self.transfer.bytes()
    }

    /// Waits for the first word of the answer.
    pub(super) async fn begin(&mut self) -> Result<(), FetchError> {
        self.fill().await
    }

    /// Lets the peer send more.
    async fn say_what_was_read(&mut self) {
        let read = self.transfer.bytes();
        if !matches!(self.end, End::NotYet) || read < self.credited + CREDIT_BYTES {
            return;
        }
        // So few bytes that they wait for nothing, and one call takes them whole: the peer reads
        // them at once. If the stream is gone, that shows when the answer is read.
        let mut credit = [Bytes::copy_from_slice(&read.to_le_bytes())];
        let said = timeout(self.stall, self.credit.write_chunks(&mut credit)).await;
        if let Ok(Ok(written)) = said {
            self.credited = read;
            if written.chunks == 0 {
                // Half a number would shift all that follow.
                self.credit.reset(CloseCode::Protocol);
            }
        }
    }

    /// Waits until there is a next piece, or the clean end.
    async fn fill(&mut self) -> Result<(), FetchError> {
        loop {
            match &self.end {
                End::Broken(error) => return Err(error.clone()),
                End::Clean => return Ok(()),
                End::NotYet | End::Announced => {}
            }
            if self.next.is_some() {
                return Ok(());
            }
            match self.parse() {
                Ok(Some(piece)) => self.next = Some(piece),
                Ok(None) => self.read().await?,
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// The next piece of data in what came; notes the end if that is next.
    fn parse(&mut self) -> Result<Option<Bytes>, FetchError> {
        while let Some(input) = self.input.front_mut() {
            match self.records.next(input) {
                Ok(Some(Item::Data(piece))) => return Ok(Some(piece)),
                Ok(Some(Item::Last(Ok(())))) => self.end = End::Announced,
                Ok(Some(Item::Last(Err(refusal)))) => return Err(refusal.into()),
                Ok(None) => {
                    self.input.pop_front();
                }
                Err(Malformed(what)) => return Err(FetchError::Malformed(what)),
            }
        }
        Ok(None)
    }

    /// Waits for more of the stream.
    async fn read(&mut self) -> Result<(), FetchError> {
        let mut chunks: [Bytes; CHUNKS_MAX] = std::array::from_fn(|_| Bytes::new());
        let error = match timeout(self.stall, self.stream.read_chunks(&mut chunks)).await {
            Ok(Ok(Some(count))) => {
                self.input.extend(chunks.into_iter().take(count));
                return Ok(());
            }
            Ok(Ok(None)) if matches!(self.end, End::Announced) => {
                self.end = End::Clean;
                self.credit.finish();
                self.transfer.finished();
                return Ok(());
            }
            Ok(Ok(None)) => FetchError::Malformed("it has no end"),
            Ok(Err(ReadError::Reset(code))) => {
                FetchError::BrokenOff(CloseCode::from_code(code.into_inner()))
            }
            Ok(Err(error)) => match self.connection.close_reason() {
                Some(reason) => reason.into(),
                None => FetchError::Lost(error.to_string()),
            },
            Err(_) => FetchError::Stalled(self.stall),
        };
        Err(self.broken(error))
    }

    /// Takes the next piece and those behind it that have come, as one.
    fn gather(&mut self) -> Option<Bytes> {
        let mut first = self.next.take()?;
        if first.len() > self.chunk_bytes {
            self.next = Some(first.split_off(self.chunk_bytes));
            self.transfer.moved(first.len());
            return Some(first);
        }
        self.transfer.moved(first.len());
        let mut chunk = None;
        let mut bytes = first.len();
        loop {
            match self.parse() {
                Ok(Some(piece)) if bytes + piece.len() <= self.chunk_bytes => {
                    let chunk = chunk.get_or_insert_with(|| {
                        let rest: usize = self.input.iter().map(Bytes::len).sum();
                        let bytes = bytes + piece.len() + rest;
                        let mut chunk = BytesMut::with_capacity(bytes.min(self.chunk_bytes));
                        chunk.extend_from_slice(&first);
                        chunk
                    });
                    chunk.extend_from_slice(&piece);
                    self.transfer.moved(piece.len());
                    bytes += piece.len();
                }
                Ok(piece) => {
                    self.next = piece;
                    break;
                }
                // Told the next time: what came before it is good.
                Err(error) => {
                    self.broken(error);
                    break;
                }
            }
        }
        Some(chunk.map_or(first, BytesMut::freeze))
    }

    /// Notes that the transfer is over, and tells the peer.
    fn broken(&mut self, error: FetchError) -> FetchError {
        let code = match &error {
            FetchError::Overloaded | FetchError::Rejected(_) => {
                self.transfer.refused();
                CloseCode::Dropped
            }
            FetchError::Stalled(_) => CloseCode::Stalled,
            FetchError::Malformed(_) => CloseCode::Protocol,
            _ => CloseCode::Dropped,
        };
        self.transfer.failed();
        self.credit.reset(code);
        // An error means that the stream is gone already.
        let _ = self.stream.stop(code.into());
        self.end = End::Broken(error.clone());
        error
    }
}
