//! A snapshot's file back into a state, sessions and records of the protocol.
//!
//! It is read as a stream, every chunk verified; nothing of it is used unless all of it is intact.

use std::path::PathBuf;

use panchayat_consensus::Protocol;
use panchayat_consensus::wire::{DecodeError, from_bytes};
use panchayat_core::snapshot::{Section, SnapshotError};
use panchayat_core::{RestoreError, SessionConfig, Sessions, StateMachine};
use panchayat_storage::{StorageError, StoredSnapshot};
use thiserror::Error;

/// Why a snapshot cannot be read back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotUnreadable {
    /// It is damaged, not ours, or of a newer format.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its file is intact, but a part of it is not one that this program reads.
    #[error(
        "snapshot {}, {part}: {source}; it is intact, so start the program that wrote it, or \
         one that is newer", file.display()
    )]
    Part {
        /// The file.
        file: PathBuf,
        /// Which part.
        part: &'static str,
        /// What its reader found.
        source: RestoreError,
    },
}

/// What a snapshot holds.
pub(super) struct Decoded<P: Protocol, S> {
    pub(super) machine: S,
    pub(super) sessions: Sessions,
    pub(super) image: Vec<P::Record>,
}

/// Whether `stored` holds a state of this machine, with sessions kept like this.
pub(crate) fn check<P: Protocol, S: StateMachine>(
    stored: &StoredSnapshot,
    sessions: SessionConfig,
) -> Result<(), SnapshotUnreadable> {
    decode::<P, S>(stored, sessions, false).map(drop)
}

/// Reads `stored`; without the protocol's records unless `with_image`.
pub(super) fn decode<P: Protocol, S: StateMachine>(
    stored: &StoredSnapshot,
    sessions: SessionConfig,
    with_image: bool,
) -> Result<Decoded<P, S>, SnapshotUnreadable> {
    let mut reader = stored.reader()?;
    let refused = |part: &'static str| {
        move |error: RestoreError| match error {
            // Damage comes through the reader as an error of reading.
            RestoreError::Io(error)
                if error.get_ref().is_some_and(|inner| inner.is::<SnapshotError>()) =>
            {
                stored.refused(error.into()).into()
            }
            source => SnapshotUnreadable::Part { file: stored.path().to_owned(), part, source },
        }
    };
    let machine = S::restore(&mut reader.section(Section::Machine)).map_err(refused("state"))?;
    let sessions = Sessions::restore(sessions, &mut reader.section(Section::Sessions))
        .map_err(refused("sessions"))?;
    let mut image = Vec::new();
    if with_image {
        while let Some(record) = reader.next_record().map_err(|error| stored.refused(error))? {
            let record = from_bytes::<P::Record>(record.into());
            let part = refused("records of the protocol");
            image.push(record.map_err(|error: DecodeError| part(error.into()))?);
        }
    }
    reader.finish().map_err(|error| stored.refused(error))?;
    Ok(Decoded { machine, sessions, image })
}
