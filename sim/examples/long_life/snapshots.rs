//! Snapshots in their production format, in memory or only weighed.

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{NodeId, ReplicaId};
use panchayat_core::kv::KvStore;
use panchayat_core::snapshot::{
    JournalPosition, Owner, Section, SnapshotHeader, SnapshotInfo, SnapshotReader, SnapshotWriter,
};
use panchayat_core::{Base, SessionConfig, Sessions, SnapshotParts, StateMachine};
use panchayat_epaxos::{EPaxos, Record};

use super::member::{CLUSTER, EPOCH, GROUP};

/// A written snapshot.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) number: u64,
    /// Its bytes, unless nobody will read it.
    pub(super) bytes: Option<Bytes>,
    pub(super) length: u64,
}

/// Counts and forgets.
#[derive(Default)]
struct Weighed(u64);

impl Write for Weighed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a snapshot, and says how long that took in real time.
pub(super) fn write(
    seat: ReplicaId,
    parts: &SnapshotParts<EPaxos, KvStore>,
    keep: bool,
    about: u64,
) -> (Stored, Duration) {
    let begun = Instant::now();
    let (bytes, info) = if keep {
        let room = Vec::with_capacity(about as usize + (1 << 20));
        let (bytes, info) = encode(room, seat, parts).expect("memory takes everything");
        (Some(bytes.into()), info)
    } else {
        let (weighed, info) = encode(Weighed::default(), seat, parts).expect("nothing can fail");
        assert_eq!(weighed.0, info.bytes);
        (None, info)
    };
    (Stored { number: parts.number, bytes, length: info.bytes }, begun.elapsed())
}

fn encode<W: Write>(
    out: W,
    seat: ReplicaId,
    parts: &SnapshotParts<EPaxos, KvStore>,
) -> io::Result<(W, SnapshotInfo)> {
    let header =
        SnapshotHeader { cluster: CLUSTER, group: GROUP, epoch: EPOCH, number: parts.number };
    let node = NodeId(u64::from(seat.0) + 1);
    let mut writer = SnapshotWriter::new(out, header)?;
    writer.begin(Section::Machine)?;
    KvStore::write(&parts.machine, &mut writer)?;
    writer.begin(Section::Sessions)?;
    parts.sessions.write(&mut writer)?;
    for record in &parts.image {
        writer.record(&to_bytes(record))?;
    }
    writer.finish(Owner { node, promises_of: node, journal: JournalPosition::START })
}

/// What a replica starts from, or takes over, that has this snapshot.
pub(super) fn read(
    bytes: &Bytes,
    sessions: SessionConfig,
) -> Result<Base<KvStore, Record>, Box<dyn Error>> {
    let mut reader = SnapshotReader::new(&bytes[..])?;
    let number = reader.header().number;
    let machine = KvStore::restore(&mut reader.section(Section::Machine))?;
    let sessions = Sessions::restore(sessions, &mut reader.section(Section::Sessions))?;
    reader.section(Section::Sessions).read_to_end(&mut Vec::new())?;
    let mut image = Vec::new();
    while let Some(record) = reader.next_record()? {
        image.push(from_bytes::<Record>(record.into())?);
    }
    reader.finish()?;
    Ok(Base { number, machine, sessions, image })
}
