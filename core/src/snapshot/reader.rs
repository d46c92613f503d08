//! Reading a snapshot: section by section, nothing unverified.

use std::fmt;
use std::io::{self, Read};

use super::chunk::{Chain, Intact};
use super::{
    CHUNK_HEADER_BYTES, Damage, HEADER_BYTES, HeaderError, Part, Section, SnapshotError,
    SnapshotHeader, SnapshotInfo,
};

/// Reads a snapshot. Sections are read in their order; what is not read is verified and skipped.
/// It holds one chunk at a time.
pub struct SnapshotReader<R> {
    input: R,
    chain: Chain,
    chunk: Vec<u8>,
    /// How far the payload of `chunk` has been handed out.
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The chunk at hand is of this section; before the first chunk it has no payload.
    Inside(Section),
    End(SnapshotInfo),
    Refused,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header. Whether it is that of the right group: [`SnapshotHeader::check`].
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn new(mut input: R) -> Result<Self, SnapshotError> {
        let mut header = [0; HEADER_BYTES];
        let found = read_full(&mut input, &mut header)?;
        if found < HEADER_BYTES {
            return Err(HeaderError::TooShort { found }.into());
        }
        let header = SnapshotHeader::decode(&header)?;
        Ok(Self {
            input,
            chain: Chain::new(header),
            chunk: Vec::new(),
            at: 0,
            state: State::Inside(Section::Machine),
        })
    }

    /// The header.
    pub fn header(&self) -> &SnapshotHeader {
        self.chain.header()
    }

    /// What `section` has left, to be read. Empty if a later one was begun before.
    ///
    /// Its errors are [`SnapshotError`]s inside [`io::Error`]s: `SnapshotError::from` gets them
    /// back.
    pub fn section(&mut self, section: Section) -> SectionReader<'_, R> {
        SectionReader { reader: self, section }
    }

    /// The next record of the protocol's section; `None` behind the last.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let mut section = self.section(Section::Protocol);
        let mut length = [0; 4];
        match read_full(&mut section, &mut length)? {
            0 => return Ok(None),
            4 => {}
            // The trailer has been checked against the records, or there is none.
            _ => return Err(self.refuse(Damage::RecordCut)),
        }
        // Checked when the chunk was; read to its end without reserving so much beforehand.
        let length = u64::from(u32::from_le_bytes(length));
        let mut record = Vec::new();
        section.by_ref().take(length).read_to_end(&mut record)?;
        if (record.len() as u64) < length {
            return Err(self.refuse(Damage::RecordCut));
        }
        Ok(Some(record))
    }

    /// Verifies what has not been read, the trailer, and that nothing follows. Only now what was
    /// read may be used.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn finish(mut self) -> Result<(R, SnapshotInfo), SnapshotError> {
        let info = loop {
            match self.state {
                State::Inside(_) => self.advance()?,
                State::End(info) => break info,
                State::Refused => return Err(SnapshotError::RefusedBefore),
            }
        };
        if read_full(&mut self.input, &mut [0])? > 0 {
            let (part, offset) = (Part::Trailer, self.chain.offset());
            return Err(SnapshotError::Damaged { part, offset, damage: Damage::TrailingBytes });
        }
        Ok((self.input, info))
    }

    /// What is at hand of `section`, which is handed out by this; empty at its end.
    pub(super) fn chunk_of(&mut self, section: Section) -> Result<&[u8], SnapshotError> {
        self.fill(section)?;
        if self.state != State::Inside(section) {
            return Ok(&[]);
        }
        let from = std::mem::replace(&mut self.at, self.chunk.len());
        Ok(&self.chunk[from..])
    }

    /// Sees to it that there is payload of `section` at hand, unless there is none left.
    fn fill(&mut self, section: Section) -> Result<(), SnapshotError> {
        loop {
            match self.state {
                State::Inside(current) if current > section => return Ok(()),
                State::Inside(current) if current == section && self.at < self.chunk.len() => {
                    return Ok(());
                }
                State::Inside(_) => self.advance()?,
                State::End(_) => return Ok(()),
                State::Refused => return Err(SnapshotError::RefusedBefore),
            }
        }
    }

    /// Reads the next chunk, dropping the one at hand.
    fn advance(&mut self) -> Result<(), SnapshotError> {
        // Until the next chunk has passed, nothing more is handed out.
        self.state = State::Refused;
        self.chunk.resize(CHUNK_HEADER_BYTES, 0);
        self.at = CHUNK_HEADER_BYTES;
        if read_full(&mut self.input, &mut self.chunk)? < CHUNK_HEADER_BYTES {
            return Err(self.chain.damaged(Damage::Truncated));
        }
        let length = self.chain.payload_bytes(&self.chunk)?;
        self.chunk.resize(CHUNK_HEADER_BYTES + length, 0);
        if read_full(&mut self.input, &mut self.chunk[CHUNK_HEADER_BYTES..])? < length {
            return Err(self.chain.damaged(Damage::Truncated));
        }
        self.state = match self.chain.check(&self.chunk)? {
            Intact::Data(section) => State::Inside(section),
            Intact::Trailer(info) => State::End(info),
        };
        Ok(())
    }

    fn refuse(&mut self, damage: Damage) -> SnapshotError {
        self.state = State::Refused;
        self.chain.damaged(damage)
    }
}

/// What is left of one section. Made by [`SnapshotReader::section`].
pub struct SectionReader<'a, R> {
    reader: &'a mut SnapshotReader<R>,
    section: Section,
}

impl<R: Read> Read for SectionReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Self { reader, section } = self;
        if out.is_empty() {
            return Ok(0);
        }
        reader.fill(*section)?;
        if reader.state != State::Inside(*section) {
            return Ok(0);
        }
        let payload = &reader.chunk[reader.at..];
        let length = payload.len().min(out.len());
        out[..length].copy_from_slice(&payload[..length]);
        reader.at += length;
        Ok(length)
    }
}

/// Reads until `out` is full or the input ends; how much there was.
fn read_full(input: &mut impl Read, out: &mut [u8]) -> Result<usize, SnapshotError> {
    let mut at = 0;
    while at < out.len() {
        match input.read(&mut out[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}

impl<R> fmt::Debug for SnapshotReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("chain", &self.chain)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for SectionReader<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionReader").field("section", &self.section).finish_non_exhaustive()
    }
}
