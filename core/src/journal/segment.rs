//! The first sector of a segment: whose it is, which it is, and the salt of its checksums.

use panchayat_consensus::ids::{ClusterId, NodeId};
use thiserror::Error;

use super::{SECTOR, u32_at, u64_at};

/// The format this code writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"PNCHYTJL";
const VERSION_AT: usize = 8;
const CRC_AT: usize = 12;
const CLUSTER_AT: usize = 16;
const NODE_AT: usize = 32;
const NUMBER_AT: usize = 40;
const SALT_AT: usize = 48;
const USED: usize = 56;

/// What the first sector of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentHeader {
    /// The cluster whose data this is.
    pub cluster: ClusterId,
    /// The node whose data this is.
    pub node: NodeId,
    /// The segment's place in the journal, from 1.
    pub number: u64,
    /// Random, new for each segment created: bytes of another life of it do not pass checksums.
    pub salt: u64,
}

/// Why a segment's header was refused. It is never the trace of a torn write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file ends inside the header.
    #[error("the file ends inside the segment header: {found} bytes found, {SECTOR} expected")]
    TooShort {
        /// Length of the file, in bytes.
        found: usize,
    },
    /// The first bytes are not those of a journal segment.
    #[error("not a journal segment, or its header is damaged: it begins with {found:02x?}")]
    NotASegment {
        /// The first bytes.
        found: [u8; 8],
    },
    /// Written by a newer Panchayat.
    #[error("written in journal format {found}; this program reads up to {FORMAT_VERSION}")]
    NewerFormat {
        /// The version found.
        found: u32,
    },
    /// The header does not match its checksum.
    #[error("segment header is damaged: checksum {found:08x} found, {computed:08x} computed")]
    Checksum {
        /// The checksum found.
        found: u32,
        /// The checksum of the bytes found.
        computed: u32,
    },
    /// The data of another cluster.
    #[error("belongs to cluster {found}, not to cluster {expected}")]
    OtherCluster {
        /// The cluster found.
        found: ClusterId,
        /// Ours.
        expected: ClusterId,
    },
    /// The data of another node.
    #[error("belongs to {found}, not to {expected}")]
    OtherNode {
        /// The node found.
        found: NodeId,
        /// Ours.
        expected: NodeId,
    },
    /// The file is named for another segment than it is.
    #[error("is segment {found}, not {expected}: was the file renamed?")]
    OtherNumber {
        /// The number found.
        found: u64,
        /// The number the name says.
        expected: u64,
    },
}

impl SegmentHeader {
    /// The header sector.
    pub fn encode(&self) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[..MAGIC.len()].copy_from_slice(&MAGIC);
        out[VERSION_AT..CRC_AT].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[CLUSTER_AT..NODE_AT].copy_from_slice(&self.cluster.0.to_le_bytes());
        out[NODE_AT..NUMBER_AT].copy_from_slice(&self.node.0.to_le_bytes());
        out[NUMBER_AT..SALT_AT].copy_from_slice(&self.number.to_le_bytes());
        out[SALT_AT..USED].copy_from_slice(&self.salt.to_le_bytes());
        let crc = checksum(&out);
        out[CRC_AT..CLUSTER_AT].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of the segment of which `bytes` is the beginning.
    ///
    /// # Errors
    /// [`HeaderError`], except the three about identity: see [`SegmentHeader::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let sector: &[u8; SECTOR] =
            bytes.first_chunk().ok_or(HeaderError::TooShort { found: bytes.len() })?;
        let magic: &[u8; 8] = sector.first_chunk().expect("a sector has eight bytes");
        if *magic != MAGIC {
            return Err(HeaderError::NotASegment { found: *magic });
        }
        // Before the checksum: a newer format may lay out its header differently.
        let version = u32_at(sector, VERSION_AT);
        if version > FORMAT_VERSION {
            return Err(HeaderError::NewerFormat { found: version });
        }
        let (found, computed) = (u32_at(sector, CRC_AT), checksum(sector));
        if found != computed {
            return Err(HeaderError::Checksum { found, computed });
        }
        let cluster = u128::from(u64_at(sector, CLUSTER_AT))
            | u128::from(u64_at(sector, CLUSTER_AT + 8)) << 64;
        Ok(Self {
            cluster: ClusterId(cluster),
            node: NodeId(u64_at(sector, NODE_AT)),
            number: u64_at(sector, NUMBER_AT),
            salt: u64_at(sector, SALT_AT),
        })
    }

    /// Checks that this is segment `number` of `node` in `cluster`.
    ///
    /// # Errors
    /// [`HeaderError::OtherCluster`], [`HeaderError::OtherNode`], [`HeaderError::OtherNumber`].
    pub fn check(&self, cluster: ClusterId, node: NodeId, number: u64) -> Result<(), HeaderError> {
        if self.cluster != cluster {
            return Err(HeaderError::OtherCluster { found: self.cluster, expected: cluster });
        }
        if self.node != node {
            return Err(HeaderError::OtherNode { found: self.node, expected: node });
        }
        if self.number != number {
            return Err(HeaderError::OtherNumber { found: self.number, expected: number });
        }
        Ok(())
    }

    /// What the checksum of a batch at `offset` of this segment starts from.
    ///
    /// CRC of inputs of equal length that differ within 32 adjacent bits always differs: two
    /// offsets of one segment, or the same offset of two near segments, never share a seed.
    pub(super) fn seed(&self, offset: u64) -> u32 {
        let mut seed = crc32c::crc32c(&self.salt.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.cluster.0.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.node.0.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.number.to_le_bytes());
        crc32c::crc32c_append(seed, &offset.to_le_bytes())
    }
}

/// Over the whole sector, the checksum's own place taken as zero.
fn checksum(sector: &[u8; SECTOR]) -> u32 {
    let crc = crc32c::crc32c(&sector[..CRC_AT]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0; 4]), &sector[CLUSTER_AT..])
}
