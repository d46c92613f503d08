//! The format of a snapshot: what a replica needs to go on without the journal before it.
//!
//! Encode, decode and verify only; the bytes come from and go to [`std::io`] traits. The store of
//! `panchayat-storage` puts them into files, a peer may get them over the mesh.
//!
//! # Layout
//!
//! ```text
//! snapshot = header, chunk*, trailer
//! header   = magic 8, version 4, crc 4, cluster 16, group 4, zeros 4, epoch 8, number 8
//! chunk    = kind 1, zeros 3, length 4, crc 4, payload          (1 B to 1 MiB of payload)
//! trailer  = a chunk of kind 4: bytes of each section 3 x 8, records 8, chunks 8, bytes 8,
//!            node 8, promises_of 8, journal segment 8, journal skip 8, checksum 16
//! ```
//!
//! The payloads of the chunks of one kind, joined, are a *section*. Sections come in the order of
//! [`Section`]: the state machine's own bytes; the sessions'; and the protocol's records, each with
//! its length before it (4 bytes), which may span chunks. A section may be empty.
//!
//! # What is noticed
//!
//! A chunk's checksum is seeded with the header and with the chunk's offset: a chunk that was
//! moved, or comes from another snapshot, does not pass. The trailer counts everything and carries
//! a checksum (xxh3, 128 bits) of every byte before it, by which two peers tell that they mean the
//! same file. Every byte is covered by a checksum or must be zero; behind the trailer the file
//! must end. Nothing is allocated for a length before it was checked.
//!
//! A reader hands out only payload whose checksum was right. What it has handed out may be *used*
//! once [`SnapshotReader::finish`] has seen the trailer.
//!
//! # Whose is what
//!
//! Header and sections say nothing of the node that wrote them, except the protocol's section: it
//! holds a node's own promises. A replica that gets a snapshot from a peer copies machine and
//! sessions, verified, and writes its own protocol section and trailer
//! ([`SnapshotWriter::copy_section`]). The trailer says in whose directory the file may lie
//! ([`Owner::node`]), whose promises it holds ([`Owner::promises_of`]), and which records of that
//! node's journal it makes superfluous ([`JournalPosition`]).

mod chunk;
mod error;
mod header;
mod reader;
mod trailer;
mod verifier;
mod writer;

pub use error::{Damage, HeaderError, Part, SnapshotError};
pub use header::{HEADER_BYTES, SnapshotHeader};
pub use reader::{SectionReader, SnapshotReader};
pub use trailer::{JournalPosition, Owner, SnapshotInfo, TRAILER_BYTES};
pub use verifier::SnapshotVerifier;
pub use writer::SnapshotWriter;

/// The format this code writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes before the payload of a chunk.
pub const CHUNK_HEADER_BYTES: usize = 12;
/// Longest payload of a chunk, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Longest record of the protocol's section, in bytes: what a journal would take.
pub const RECORD_BYTES_MAX: usize = crate::journal::PAYLOAD_BYTES_MAX;

/// The sections of a snapshot, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// The state machine's own bytes.
    Machine,
    /// Which commands of which clients took effect.
    Sessions,
    /// The records of the protocol.
    Protocol,
}

impl Section {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Its place among [`SnapshotInfo::section_bytes`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

#[cfg(test)]
mod tests;
