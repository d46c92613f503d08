//! Writing a snapshot, in pieces as they come.

use std::fmt;
use std::io::{self, Read, Write};

use super::chunk::Chain;
use super::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Owner, RECORD_BYTES_MAX, Section, SnapshotError,
    SnapshotHeader, SnapshotInfo, SnapshotReader,
};

/// Payload of the chunks it writes. Smaller than allowed: a chunk is what is written at once, and
/// between two writes a journal on the same disk gets its turn.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes a snapshot. What is written through [`io::Write`] goes to the section that was begun
/// last, which at first is [`Section::Machine`].
pub struct SnapshotWriter<W> {
    out: W,
    chain: Chain,
    section: Section,
    chunk: Vec<u8>,
    chunk_bytes: usize,
    /// The output has failed: what it has got is unknown, and nothing may follow.
    failed: bool,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// Any error of `out`.
    pub fn new(out: W, header: SnapshotHeader) -> io::Result<Self> {
        Self::with_chunks(out, header, CHUNK_BYTES)
    }

    /// Begins a snapshot whose chunks have payloads of `chunk_bytes`, or the nearest allowed
    /// length.
    ///
    /// # Errors
    /// Any error of `out`.
    pub fn with_chunks(mut out: W, header: SnapshotHeader, chunk_bytes: usize) -> io::Result<Self> {
        out.write_all(&header.encode())?;
        let chunk_bytes = chunk_bytes.clamp(1, CHUNK_BYTES_MAX);
        let mut chunk = Vec::with_capacity(CHUNK_HEADER_BYTES + chunk_bytes);
        chunk.resize(CHUNK_HEADER_BYTES, 0);
        let section = Section::Machine;
        let chain = Chain::new(header);
        Ok(Self { out, chain, section, chunk, chunk_bytes, failed: false })
    }

    /// Goes on to `section`. Sections left out are empty.
    ///
    /// # Errors
    /// Any error of the output.
    ///
    /// # Panics
    /// If a later section was begun before.
    pub fn begin(&mut self, section: Section) -> io::Result<()> {
        assert!(section >= self.section, "sections are written in their order");
        if section > self.section {
            self.end_chunk()?;
            self.section = section;
        }
        Ok(())
    }

    /// Adds a record to the protocol's section, which it begins if need be.
    ///
    /// # Errors
    /// Any error of the output; [`io::ErrorKind::InvalidInput`] if the record is longer than
    /// [`RECORD_BYTES_MAX`].
    pub fn record(&mut self, record: &[u8]) -> io::Result<()> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.begin(Section::Protocol)?;
        self.put(&(record.len() as u32).to_le_bytes())?;
        self.put(record)
    }

    /// Copies what `from` has left in `section`, verified, piece by piece.
    ///
    /// # Errors
    /// [`SnapshotError`] of `from`, or of the output as [`SnapshotError::Io`].
    ///
    /// # Panics
    /// If a later section was begun before.
    pub fn copy_section<R: Read>(
        &mut self,
        from: &mut SnapshotReader<R>,
        section: Section,
    ) -> Result<u64, SnapshotError> {
        self.begin(section)?;
        let mut copied = 0;
        loop {
            let payload = from.chunk_of(section)?;
            if payload.is_empty() {
                return Ok(copied);
            }
            copied += payload.len() as u64;
            self.put(payload)?;
        }
    }

    /// Ends the snapshot. The output has everything then, but has not been flushed.
    ///
    /// # Errors
    /// Any error of the output, also if it was before.
    pub fn finish(mut self, owner: Owner) -> io::Result<(W, SnapshotInfo)> {
        self.end_chunk()?;
        self.check()?;
        let (trailer, info) = self.chain.trailer(owner);
        self.out.write_all(&trailer)?;
        Ok((self.out, info))
    }

    /// Where everything goes.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = CHUNK_HEADER_BYTES + self.chunk_bytes - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        if self.chunk.len() > CHUNK_HEADER_BYTES {
            self.check()?;
            self.chain.seal(self.section, &mut self.chunk);
            self.failed = true;
            self.out.write_all(&self.chunk)?;
            self.failed = false;
            self.chunk.truncate(CHUNK_HEADER_BYTES);
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write has failed")) } else { Ok(()) }
    }
}

impl<W: Write> Write for SnapshotWriter<W> {
    /// # Panics
    /// In the protocol's section, which consists of records: see [`SnapshotWriter::record`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.section < Section::Protocol, "the protocol's section consists of records");
        self.put(bytes)?;
        Ok(bytes.len())
    }

    /// Flushes the output. An unfinished chunk stays: where sections are cut into chunks must
    /// not depend on flushes.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> fmt::Debug for SnapshotWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter")
            .field("chain", &self.chain)
            .field("section", &self.section)
            .finish_non_exhaustive()
    }
}
