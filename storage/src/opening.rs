//! From files to a journal that can be appended to: the steps after a scan, in their order.
//!
//! See "After a cut" in [`panchayat_core::journal`]. A crash between any two steps leaves a
//! journal that the next opening reads the same way.

use std::path::Path;

use bytes::Bytes;
use panchayat_consensus::RecordSeq;
use panchayat_core::journal::{Batch, Record, Recovered, Recovery, Refusal};

use crate::backend::{Backend, DirectoryLock, write_all_at};
use crate::config::{JournalConfig, SEGMENT_BYTES_MAX};
use crate::directory::{Directory, Segment};
use crate::error::StorageError;
use crate::queue::SegmentInfo;
use crate::replay::{Replay, Stored};

pub(crate) const LOCK: &str = "LOCK";

/// A journal ready for its threads.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) lock: Box<dyn DirectoryLock>,
    /// What is in the segments, the new one last.
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) current: Segment,
    pub(crate) next_sequence: u64,
    pub(crate) replay: Replay,
}

/// Recovers the journal of `config` and starts a new segment.
pub(crate) fn open(config: &JournalConfig) -> Result<Opened, StorageError> {
    let directory = Directory::new(config);
    let dir = &config.dir;
    directory.create_dir()?;
    let lock = lock(&*config.backend, &dir.join(LOCK))?;
    let numbers = directory.segments()?;
    if numbers.is_empty() && config.must_exist {
        return Err(StorageError::NoJournal { dir: dir.clone() });
    }
    if numbers.is_empty() {
        directory.sync_name()?;
    }

    let mut recovery = Recovery::new(config.cluster, config.node);
    let mut segments = Vec::new();
    for number in &numbers {
        let bytes = read(&directory, *number)?;
        let records = recovery.feed(*number, &bytes).map_err(|r| refused(&directory, r))?;
        segments.push(info(*number, bytes.len() as u64, &records));
    }
    let recovered = recovery.finish();
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            file = %directory.path(cut.segment).display(),
            offset = cut.offset,
            found = %cut.damage,
            "journal ends in a torn write, which is cut off"
        );
    }
    confirm(&directory, &recovered)?;
    let used = recovered.tail.map_or(0, |tail| tail.segment);
    directory.remove(numbers.iter().rev().copied().take_while(|number| *number > used))?;
    segments.retain(|segment| segment.number <= used);
    if let (Some(last), Some(tail)) = (segments.last_mut(), recovered.tail) {
        last.bytes = tail.end_offset;
    }

    let current = start(&directory, &recovered)?;
    let stored = segments
        .iter()
        .map(|segment| {
            let (number, path) = (segment.number, directory.path(segment.number));
            Ok(Stored { number, path, file: directory.open(number)? })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    segments.push(SegmentInfo::empty(current.header.number, current.bytes));
    Ok(Opened {
        lock,
        segments,
        current,
        next_sequence: recovered.next_sequence + 1,
        replay: Replay::new(config.cluster, config.node, stored, recovered.cut),
        directory,
    })
}

/// Takes the lock `path`.
pub(crate) fn lock(
    backend: &dyn Backend,
    path: &Path,
) -> Result<Box<dyn DirectoryLock>, StorageError> {
    backend.lock(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StorageError::Locked { path: path.to_owned() },
        _ => StorageError::io("lock", path)(error),
    })
}

fn read(directory: &Directory, number: u64) -> Result<Bytes, StorageError> {
    let path = directory.path(number);
    let bytes = directory.open(number)?.read_all(SEGMENT_BYTES_MAX);
    Ok(bytes.map_err(StorageError::io("read", &path))?.into())
}

fn refused(directory: &Directory, refusal: Refusal) -> StorageError {
    StorageError::Refused { path: directory.path(refusal.segment), refusal }
}

fn info(number: u64, bytes: u64, records: &[Record]) -> SegmentInfo {
    let mut info = SegmentInfo::empty(number, bytes);
    for record in records {
        info.note(record.group, RecordSeq(0), RecordSeq(0));
    }
    info
}

/// Makes sure of what is about to be replayed, and ends the last segment where it is cut.
///
/// A process may read bytes that are in the cache and not on the disk, left by a predecessor that
/// died before its sync, or whose sync failed: the kernel then calls the pages clean, so syncing
/// again is not enough and they are written again.
fn confirm(directory: &Directory, recovered: &Recovered) -> Result<(), StorageError> {
    let Some(tail) = recovered.tail else { return Ok(()) };
    let mut numbers: Vec<u64> = recovered.unconfirmed.iter().map(|span| span.segment).collect();
    numbers.push(tail.segment);
    numbers.dedup();
    for number in numbers {
        let path = directory.path(number);
        let bytes = read(directory, number)?;
        let file = directory.open(number)?;
        for span in recovered.unconfirmed.iter().filter(|span| span.segment == number) {
            let range = span.from as usize..span.to as usize;
            write_all_at(&*file, span.from, &bytes[range])
                .map_err(StorageError::io("write again to", &path))?;
        }
        if number == tail.segment {
            file.set_len(tail.end_offset).map_err(StorageError::io("truncate", &path))?;
        }
        file.sync_all().map_err(StorageError::io("sync", &path))?;
    }
    Ok(())
}

/// Creates the segment that this process will write, and puts the witness of everything replayed
/// at its start.
fn start(directory: &Directory, recovered: &Recovered) -> Result<Segment, StorageError> {
    let mut current = directory
        .create(recovered.next_segment, &|| false)?
        .expect("nothing asks the first segment to stop");
    let mut marker = Batch::default();
    let sequence = recovered.next_sequence;
    let bytes = marker.seal(&current.header, current.offset, sequence, sequence - 1);
    write_all_at(&*current.file, current.offset, bytes)
        .map_err(StorageError::io("write", &current.path))?;
    current.file.sync_data().map_err(StorageError::io("sync", &current.path))?;
    current.offset += bytes.len() as u64;
    Ok(current)
}
