//! The first bytes of a snapshot: of what it is one.

use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId};

use super::{FORMAT_VERSION, HeaderError, u32_at, u64_at, u128_at};

/// Length of the header, in bytes.
pub const HEADER_BYTES: usize = 56;

const MAGIC: [u8; 8] = *b"PNCHYTSN";
const VERSION_AT: usize = 8;
const CRC_AT: usize = 12;
const CLUSTER_AT: usize = 16;
const GROUP_AT: usize = 32;
const EPOCH_AT: usize = 40;
const NUMBER_AT: usize = 48;

/// What a snapshot says of itself before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotHeader {
    /// The cluster whose data this is.
    pub cluster: ClusterId,
    /// The group whose state this is.
    pub group: GroupId,
    /// The epoch in which it was taken.
    pub epoch: EpochNumber,
    /// Its number among the snapshots of the node that wrote it, from 1.
    pub number: u64,
}

impl SnapshotHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..VERSION_AT].copy_from_slice(&MAGIC);
        out[VERSION_AT..CRC_AT].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[CLUSTER_AT..GROUP_AT].copy_from_slice(&self.cluster.0.to_le_bytes());
        out[GROUP_AT..GROUP_AT + 4].copy_from_slice(&self.group.0.to_le_bytes());
        out[EPOCH_AT..NUMBER_AT].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[NUMBER_AT..].copy_from_slice(&self.number.to_le_bytes());
        let crc = checksum(&out);
        out[CRC_AT..CLUSTER_AT].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of the snapshot of which `bytes` is the beginning.
    ///
    /// # Errors
    /// [`HeaderError`], except those about identity: see [`SnapshotHeader::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(HeaderError::TooShort { found: bytes.len() })?;
        let magic: &[u8; 8] = header.first_chunk().expect("a header has eight bytes");
        if *magic != MAGIC {
            return Err(HeaderError::NotASnapshot { found: *magic });
        }
        // Before the checksum: a newer format may lay out its header differently.
        let version = u32_at(header, VERSION_AT);
        if version > FORMAT_VERSION {
            return Err(HeaderError::NewerFormat { found: version });
        }
        let (found, computed) = (u32_at(header, CRC_AT), checksum(header));
        if found != computed {
            return Err(HeaderError::Checksum { found, computed });
        }
        Ok(Self {
            cluster: ClusterId(u128_at(header, CLUSTER_AT)),
            group: GroupId(u32_at(header, GROUP_AT)),
            epoch: EpochNumber(u64_at(header, EPOCH_AT)),
            number: u64_at(header, NUMBER_AT),
        })
    }

    /// Checks that this is a snapshot of `group` in `cluster`.
    ///
    /// # Errors
    /// [`HeaderError::OtherCluster`], [`HeaderError::OtherGroup`].
    pub fn check(&self, cluster: ClusterId, group: GroupId) -> Result<(), HeaderError> {
        if self.cluster != cluster {
            return Err(HeaderError::OtherCluster { found: self.cluster, expected: cluster });
        }
        if self.group != group {
            return Err(HeaderError::OtherGroup { found: self.group, expected: group });
        }
        Ok(())
    }

    /// Checks that this snapshot was taken in `epoch`.
    ///
    /// # Errors
    /// [`HeaderError::OtherEpoch`].
    pub fn check_epoch(&self, epoch: EpochNumber) -> Result<(), HeaderError> {
        if self.epoch == epoch {
            return Ok(());
        }
        Err(HeaderError::OtherEpoch { found: self.epoch, expected: epoch })
    }

    /// What the checksums of this snapshot's chunks start from.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.encode())
    }
}

/// Over the whole header, the checksum's own place taken as zero.
fn checksum(header: &[u8; HEADER_BYTES]) -> u32 {
    let crc = crc32c::crc32c(&header[..CRC_AT]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0; 4]), &header[CLUSTER_AT..])
}
