//! The session table frozen, written and read back: a section of every snapshot.
//!
//! ```text
//! table = format 1, retention 8, longest output 8, executed 8, digest 8, entries 8, entry*
//! entry = client 16, sequence 8, issued_at 8, kept 1, (length 4, output)?
//! ```
//! Entries lie in the order of their names' hashes: equal tables give equal bytes. Retention and
//! longest output are there to be compared: a replica that goes on with others would answer
//! differently from its peers.

use std::io::{self, BufReader, BufWriter, Read, Write};

use panchayat_consensus::{ClientId, WallTime};

use super::entry::{Entry, Kept};
use super::{SessionConfig, Sessions};
use crate::cow::CowTable;
use crate::state_machine::RestoreError;
use crate::stream;

/// The format written, and the newest read.
const FORMAT: u8 = 1;
/// How much is gathered before it goes to the sink.
const BUFFER_BYTES: usize = 64 << 10;

/// [`Sessions`] as they were at one moment.
#[derive(Clone, Debug)]
pub struct SessionsView {
    config: SessionConfig,
    entries: CowTable<Entry>,
    digest: u64,
    executed: u64,
}

impl SessionsView {
    pub(super) fn of(sessions: &Sessions) -> Self {
        let Sessions { config, entries, digest, executed, .. } = sessions;
        Self { config: *config, entries: entries.clone(), digest: *digest, executed: *executed }
    }

    /// How many requests were remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no request was remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Commands executed since the group was born.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// As [`Sessions::digest`].
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The same without its entries, as nothing but a mistake would write it.
    #[cfg(feature = "mutations")]
    pub(crate) fn without_entries(self) -> Self {
        Self { entries: CowTable::default(), ..self }
    }

    /// Writes the frozen table, piece by piece.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn write(&self, sink: &mut dyn Write) -> io::Result<()> {
        let mut sink = BufWriter::with_capacity(BUFFER_BYTES, sink);
        sink.write_all(&[FORMAT])?;
        let numbers = [
            self.config.retention.0,
            self.config.output_bytes_max as u64,
            self.executed,
            self.digest,
            self.entries.len() as u64,
        ];
        for number in numbers {
            sink.write_all(&number.to_le_bytes())?;
        }
        for Entry { name: (client, sequence), issued_at, output } in &self.entries {
            sink.write_all(&client.0.to_le_bytes())?;
            sink.write_all(&sequence.to_le_bytes())?;
            sink.write_all(&issued_at.0.to_le_bytes())?;
            match output.bytes() {
                None => sink.write_all(&[0])?,
                Some(bytes) => {
                    sink.write_all(&[1])?;
                    stream::put_bytes(&mut sink, bytes)?;
                }
            }
        }
        sink.flush()
    }
}

impl Sessions {
    /// Reads back what [`SessionsView::write`] wrote. `source` ends where the table ends.
    ///
    /// # Errors
    /// Any [`RestoreError`]; one of them says that the group was configured otherwise.
    pub fn restore(config: SessionConfig, source: &mut dyn Read) -> Result<Self, RestoreError> {
        let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
        let [format] = stream::array(&mut source)?;
        if format != FORMAT {
            return Err(RestoreError::Version { found: format, newest: FORMAT });
        }
        let agreed = [
            ("a session retention (in microseconds) of", config.retention.0),
            ("a longest session output (in bytes) of", config.output_bytes_max as u64),
        ];
        for (what, expected) in agreed {
            let found = stream::u64(&mut source)?;
            if found != expected {
                return Err(RestoreError::Configuration { what, found, expected });
            }
        }
        let mut sessions = Self::new(config);
        sessions.executed = stream::u64(&mut source)?;
        sessions.digest = stream::u64(&mut source)?;
        for _ in 0..stream::u64(&mut source)? {
            let entry = entry(&mut source, config.output_bytes_max)?;
            if sessions.entries.get(&entry.name).is_some() {
                return Err(RestoreError::Malformed("a request comes twice"));
            }
            sessions.add(entry);
        }
        stream::ended(&mut source)?;
        Ok(sessions)
    }
}

fn entry(source: &mut dyn Read, output_bytes_max: usize) -> Result<Entry, RestoreError> {
    let client = ClientId(u128::from_le_bytes(stream::array(source)?));
    let name = (client, stream::u64(source)?);
    let issued_at = WallTime(stream::u64(source)?);
    let output = match stream::array(source)? {
        [0] => Kept::Not,
        [1] => {
            let output = stream::bytes(source, "a kept output is too long", output_bytes_max)?;
            Kept::new(&output, output_bytes_max)
        }
        _ => return Err(RestoreError::Malformed("whether an output is kept")),
    };
    Ok(Entry { name, issued_at, output })
}
