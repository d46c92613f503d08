//! Why a snapshot is refused.

use std::fmt;
use std::io;

use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId};
use thiserror::Error;

use super::{CHUNK_BYTES_MAX, FORMAT_VERSION, RECORD_BYTES_MAX, Section};

/// What went wrong with a snapshot that is read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes could not be read or written.
    #[error("{0}")]
    Io(io::Error),
    /// It is not a snapshot, not ours, or of a newer format.
    #[error("the header: {0}")]
    Header(#[from] HeaderError),
    /// Its bytes are not those that were written.
    #[error("{part}, offset {offset}: {damage}")]
    Damaged {
        /// The part at fault.
        part: Part,
        /// Where its damaged chunk starts, in bytes from the beginning of the snapshot.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// It was refused before, and is read no further.
    #[error("it was refused before")]
    RefusedBefore,
}

/// A part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A section, or what stands where it should go on.
    Section(Section),
    /// The trailer, or what stands behind it.
    Trailer,
}

/// Why a snapshot's header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The snapshot ends inside the header.
    #[error("the file ends inside it, after {found} bytes")]
    TooShort {
        /// Length of the snapshot, in bytes.
        found: usize,
    },
    /// The first bytes are not those of a snapshot.
    #[error("not a snapshot, or damaged: it begins with {found:02x?}")]
    NotASnapshot {
        /// The first bytes.
        found: [u8; 8],
    },
    /// Written by a newer Panchayat.
    #[error(
        "written in snapshot format {found}, and this program reads up to {FORMAT_VERSION}: \
         start the newer program that wrote it"
    )]
    NewerFormat {
        /// The version found.
        found: u32,
    },
    /// The header does not match its checksum.
    #[error("damaged: checksum {found:08x} found, {computed:08x} computed")]
    Checksum {
        /// The checksum found.
        found: u32,
        /// The checksum of the bytes found.
        computed: u32,
    },
    /// The data of another cluster.
    #[error(
        "belongs to cluster {found}, not to cluster {expected}: \
         start with the data directory of this cluster"
    )]
    OtherCluster {
        /// The cluster found.
        found: ClusterId,
        /// Ours.
        expected: ClusterId,
    },
    /// The data of another group.
    #[error("belongs to group {}, not to group {}: was the file moved?", found.0, expected.0)]
    OtherGroup {
        /// The group found.
        found: GroupId,
        /// Ours.
        expected: GroupId,
    },
    /// The data of another epoch.
    #[error("of epoch {}, not of epoch {}", found.0, expected.0)]
    OtherEpoch {
        /// The epoch found.
        found: EpochNumber,
        /// The one that was expected.
        expected: EpochNumber,
    },
    /// The file is named for another snapshot than it is.
    #[error("is snapshot {found}, not {expected}: was the file renamed?")]
    OtherNumber {
        /// The number found.
        found: u64,
        /// The number the name says.
        expected: u64,
    },
}

/// In what way the bytes of a snapshot are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends before the trailer does.
    Truncated,
    /// No chunk starts here: an unknown kind, or bytes that should be zero.
    NoChunk {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A chunk of a section that is already over.
    Order {
        /// The section of the chunk.
        found: Section,
    },
    /// No chunk is so long, or so short.
    Length {
        /// The length found, in bytes.
        found: u32,
    },
    /// The chunk does not match its checksum, or is not at its place.
    Checksum {
        /// The checksum found.
        found: u32,
        /// The checksum of the bytes found.
        computed: u32,
    },
    /// A record of the protocol is longer than any may be.
    RecordLength {
        /// The length found, in bytes.
        found: u32,
    },
    /// The protocol's section ends inside a record.
    RecordCut,
    /// The trailer does not count what is there.
    Counts,
    /// The trailer's checksum is not that of the bytes before it.
    Content,
    /// There is something behind the trailer.
    TrailingBytes,
    /// It is intact, but not the snapshot that was announced.
    OtherSnapshot,
}

impl From<io::Error> for SnapshotError {
    /// Gets back what came through a reader's [`io::Read`].
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Io(error),
        }
    }
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Section(Section::Machine) => "the machine section",
            Self::Section(Section::Sessions) => "the sessions section",
            Self::Section(Section::Protocol) => "the protocol section",
            Self::Trailer => "the trailer",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the file ends too early"),
            Self::NoChunk { found } => write!(f, "no chunk starts with {found:02x?}"),
            Self::Order { found } => {
                write!(f, "a chunk of {} comes too late", Part::Section(*found))
            }
            Self::Length { found } => {
                write!(f, "a chunk of {found} bytes; the most is {CHUNK_BYTES_MAX}")
            }
            Self::Checksum { found, computed } => {
                write!(f, "checksum {found:08x} found, {computed:08x} computed for this place")
            }
            Self::RecordLength { found } => {
                write!(f, "a record of {found} bytes; the most is {RECORD_BYTES_MAX}")
            }
            Self::RecordCut => f.write_str("the section ends inside a record"),
            Self::Counts => f.write_str("it does not count what is there"),
            Self::Content => f.write_str("its checksum is not that of the bytes before it"),
            Self::TrailingBytes => f.write_str("something stands behind it"),
            Self::OtherSnapshot => f.write_str("intact, but not the snapshot that was announced"),
        }
    }
}
