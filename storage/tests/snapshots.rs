//! The store of snapshots while nothing crashes, and what it says when something fails.

mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{CLUSTER, Counting, EPOCH, NODE, config, payload};
use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};
use panchayat_core::snapshot::{JournalPosition, Section, SnapshotInfo};
use panchayat_storage::backend::{
    Backend, BackendFile, DirectoryLock, FaultyCall, MemoryDisk, PowerLoss, RealFiles,
};
use panchayat_storage::{
    Health, Journal, JournalConfig, RecordSeq, SnapshotConfig, SnapshotStore, StorageError,
    StoredSnapshot,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const GROUP: GroupId = GroupId(1);
const START: JournalPosition = JournalPosition::START;

fn snapshots(dir: impl Into<PathBuf>, backend: Arc<dyn Backend>) -> SnapshotConfig {
    let mut config = SnapshotConfig::new(dir, CLUSTER, NODE, GROUP);
    config.bytes_per_second_max = None;
    config.sync_bytes = 64 << 10;
    config.backend = backend;
    config
}

fn memory() -> (MemoryDisk, SnapshotConfig) {
    let disk = MemoryDisk::new();
    let config = snapshots("/data", Arc::new(disk.clone()));
    (disk, config)
}

fn machine(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n as u8).wrapping_mul(31) ^ seed).collect()
}

fn write(store: &SnapshotStore, seed: u8, bytes: usize) -> Result<SnapshotInfo, StorageError> {
    let mut file = store.write(EPOCH)?;
    if let Err(error) = file.write_all(&machine(seed, bytes)) {
        return Err(file.abandon(error));
    }
    file.begin(Section::Sessions)?;
    if let Err(error) = file.write_all(&[seed; 33]) {
        return Err(file.abandon(error));
    }
    for n in 0..20 {
        file.record(&payload(n))?;
    }
    file.finish(START)
}

/// The seed of the state machine, and the records.
fn read(stored: &StoredSnapshot) -> Result<(u8, Vec<Vec<u8>>), StorageError> {
    let (mut reader, mut state, mut sessions) = (stored.reader()?, Vec::new(), Vec::new());
    for (section, out) in [(Section::Machine, &mut state), (Section::Sessions, &mut sessions)] {
        let read = reader.section(section).read_to_end(out);
        read.map_err(|error| stored.refused(error.into()))?;
    }
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().map_err(|error| stored.refused(error))? {
        records.push(record);
    }
    reader.finish().map_err(|error| stored.refused(error))?;
    let seed = sessions[0];
    assert_eq!(state, machine(seed, state.len()));
    assert_eq!(sessions, [seed; 33]);
    Ok((seed, records))
}

fn newest(disk: &MemoryDisk) -> PathBuf {
    let files = disk.files();
    files.into_iter().rfind(|path| path.extension().is_some_and(|e| e == "snapshot")).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = RealFiles.list(dir).unwrap();
    names.sort();
    names
}

#[test]
fn the_newest_is_found_and_older_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let config = snapshots(dir.path(), Arc::new(RealFiles));
    let store = SnapshotStore::open(config.clone()).unwrap();
    assert!(store.latest().unwrap().is_none());
    for (number, bytes) in [(1, 0), (2, 700_000), (3, 3 << 20)] {
        let info = write(&store, number, bytes).unwrap();
        assert_eq!(info.header.number, u64::from(number));
        assert_eq!((info.records, info.section(Section::Machine)), (20, bytes as u64));
        let own = dir.path().join("snapshots/1");
        assert_eq!(names(&own), [format!("{number:012}.snapshot"), "LOCK".into()]);
    }
    let held = store.latest().unwrap().unwrap();
    write(&store, 4, 10).unwrap();
    // Who reads or sends the old one goes on with it.
    assert_eq!(read(&held).unwrap().0, 3);
    let error = SnapshotStore::open(config.clone()).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    drop(store);
    let store = SnapshotStore::open(config).unwrap();
    let (seed, records) = read(&store.latest().unwrap().unwrap()).unwrap();
    assert_eq!((seed, records.len()), (4, 20));
    assert_eq!(records[7], payload(7));
}

#[test]
fn an_interrupted_write_leaves_nothing() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    let mut file = store.write(EPOCH).unwrap();
    file.write_all(&[1; 1 << 20]).unwrap();
    let error = store.write(EPOCH).unwrap_err();
    assert!(matches!(error, StorageError::Busy { .. }), "{error}");
    assert_eq!(disk.files().len(), 1);
    let killed = disk.restart(PowerLoss::Nothing);
    drop(file);
    assert!(disk.files().is_empty());
    write(&store, 1, 10).unwrap();
    // The process died in the middle: the next one removes what is left.
    let config = snapshots("/data", Arc::new(killed.clone()));
    let store = SnapshotStore::open(config).unwrap();
    assert!(store.latest().unwrap().is_none() && killed.files().is_empty());
}

#[test]
fn a_snapshot_may_not_cover_less_than_the_last() {
    let (_disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    let at = |segment, skip| JournalPosition { segment, skip };
    store.write(EPOCH).unwrap().finish(at(4, 2)).unwrap();
    let error = store.write(EPOCH).unwrap().finish(at(4, 1)).unwrap_err();
    assert!(matches!(error, StorageError::SnapshotBehind { .. }), "{error}");
    store.write(EPOCH).unwrap().finish(at(4, 2)).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().info().header.number, 2);
}

#[test]
fn a_damaged_newest_snapshot_is_refused_wherever_it_is_damaged() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    let length = write(&store, 1, 5000).unwrap().bytes as usize;
    drop(store);
    let path = newest(&disk);
    for at in (0..length).step_by(61).chain([length - 1]) {
        let disk = disk.restart(PowerLoss::AllUnsynced);
        disk.damage(&path, |bytes| bytes[at] ^= 4);
        let config = snapshots("/data", Arc::new(disk.clone()));
        let used = SnapshotStore::open(config).and_then(|store| read(&store.latest()?.unwrap()));
        let error = used.unwrap_err();
        assert!(matches!(error, StorageError::Snapshot { .. }), "{error}");
        assert!(error.to_string().contains("000000000001.snapshot"), "{error}");
        assert!(disk.files().contains(&path), "what is refused is left alone");
        if at == 3000 {
            assert!(error.to_string().contains("the machine section, offset 56"), "{error}");
        }
    }
    for shorter in [0, 10, 56, 100, length - 1] {
        let disk = disk.restart(PowerLoss::AllUnsynced);
        disk.damage(&path, |bytes| bytes.truncate(shorter));
        let config = snapshots("/data", Arc::new(disk));
        let error = SnapshotStore::open(config).unwrap_err();
        assert!(matches!(error, StorageError::Snapshot { .. }), "{error}");
    }
}

#[test]
fn an_older_snapshot_never_takes_the_place_of_a_damaged_one() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config.clone()).unwrap();
    write(&store, 1, 100).unwrap();
    let old = disk.restart(PowerLoss::Nothing);
    write(&store, 2, 100).unwrap();
    drop(store);
    // The removal of the old one was lost.
    let (first, second) = (newest(&old), newest(&disk));
    let content = old.open(&first).unwrap().read_all(1 << 20).unwrap();
    disk.create(&first).unwrap().write_at(0, &content).unwrap();
    disk.damage(&second, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let error = SnapshotStore::open(config).unwrap_err();
    let words = error.to_string();
    for word in ["000000000002.snapshot", "the trailer, offset", "put back an intact copy"] {
        assert!(words.contains(word), "{words}");
    }
    assert!(disk.files().contains(&first), "the old one is for the operator to judge");
}

#[test]
fn foreign_snapshots_are_refused_with_what_to_do() {
    let check = |change: &dyn Fn(&mut SnapshotConfig, &MemoryDisk), words: &[&str]| {
        let (disk, mut config) = memory();
        let store = SnapshotStore::open(config.clone()).unwrap();
        write(&store, 1, 100).unwrap();
        drop(store);
        change(&mut config, &disk);
        let error = SnapshotStore::open(config).unwrap_err().to_string();
        for word in words.iter().chain(&["000000000001.snapshot"]) {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    };
    let move_to_group_2 = |config: &mut SnapshotConfig, disk: &MemoryDisk| {
        config.group = GroupId(2);
        let content = disk.open(&newest(disk)).unwrap().read_all(1 << 20).unwrap();
        disk.create_dir("/data/snapshots/2".as_ref()).unwrap();
        let moved = disk.create("/data/snapshots/2/000000000001.snapshot".as_ref()).unwrap();
        moved.write_at(0, &content).unwrap();
    };
    check(
        &|config, _| config.cluster = ClusterId(1),
        &["belongs to cluster", "start with the data directory of this cluster"],
    );
    check(
        &|config, _| config.node = NodeId(9),
        &["belongs to node-4, not to node-9", "data directory of this node"],
    );
    check(&move_to_group_2, &["belongs to group 1, not to group 2"]);
    check(
        &|_, disk| disk.damage(&newest(disk), |bytes| bytes[8] = 2),
        &["snapshot format 2", "start the newer program that wrote it"],
    );
}

#[test]
fn a_full_disk_harms_nothing() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    write(&store, 1, 1000).unwrap();
    disk.set_capacity(Some(200_000));
    for _ in 0..3 {
        let error = write(&store, 2, 600_000).unwrap_err();
        assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
        assert!(error.is_full() && !error.is_fatal());
        assert_eq!(disk.files().len(), 1, "the unfinished file gives its space back");
    }
    assert_eq!(read(&store.latest().unwrap().unwrap()).unwrap().0, 1);
    disk.set_capacity(None);
    // A sync that finds no space has not been promised anything either.
    disk.fail(FaultyCall::Sync, 0, ENOSPC);
    assert!(write(&store, 2, 600_000).unwrap_err().is_full());
    write(&store, 3, 600_000).unwrap();
    assert_eq!(read(&store.latest().unwrap().unwrap()).unwrap().0, 3);
}

#[test]
fn a_writer_that_goes_on_after_an_error_finishes_nothing() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    disk.set_capacity(Some(300_000));
    let mut file = store.write(EPOCH).unwrap();
    file.write_all(&[7; 600_000]).unwrap_err();
    disk.set_capacity(None);
    file.finish(START).unwrap_err();
    assert!(store.latest().unwrap().is_none() && disk.files().is_empty());
}

#[test]
fn a_failed_sync_poisons_the_store_and_is_never_retried() {
    let failing = [
        (FaultyCall::Sync, 0, EIO),
        (FaultyCall::Sync, 5, EIO),
        (FaultyCall::Write, 1, EIO),
        (FaultyCall::Rename, 0, EIO),
        (FaultyCall::SyncDirectory, 0, EIO),
        (FaultyCall::SyncDirectory, 0, ENOSPC),
    ];
    for (call, after, errno) in failing {
        let (disk, config) = memory();
        let store = SnapshotStore::open(config).unwrap();
        write(&store, 1, 10).unwrap();
        disk.fail(call, after, errno);
        let error = write(&store, 2, 2 << 20).unwrap_err();
        assert!(matches!(error, StorageError::SnapshotsFailed { .. }), "{call:?}: {error}");
        assert!(error.is_fatal());
        let calls = disk.calls();
        let again = write(&store, 3, 10).unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(disk.calls(), calls, "a poisoned store touched the disk");
        assert_eq!(store.latest().unwrap().unwrap().info().header.number, 1);
    }
}

/// A snapshot of a peer, as its bytes.
fn of_peer(bytes: usize) -> (StoredSnapshot, Vec<u8>) {
    let mut config = snapshots("/peer", Arc::new(MemoryDisk::new()));
    config.node = NodeId(77);
    let store = SnapshotStore::open(config).unwrap();
    write(&store, 1, 10).unwrap();
    write(&store, 8, bytes).unwrap();
    let stored = store.latest().unwrap().unwrap();
    let mut all = vec![0; stored.info().bytes as usize];
    assert_eq!(stored.read_at(0, &mut all).unwrap(), all.len());
    (stored, all)
}

#[test]
fn a_transfer_is_resumed_verified_and_installed() {
    let (peer, bytes) = of_peer(900_000);
    let dir = tempfile::tempdir().unwrap();
    let config = snapshots(dir.path(), Arc::new(RealFiles));
    let store = SnapshotStore::open(config.clone()).unwrap();
    let mut incoming = store.receive(peer.transfer()).unwrap();
    let error = store.receive(peer.transfer()).unwrap_err();
    assert!(matches!(error, StorageError::Busy { .. }), "{error}");
    for (at, piece) in (0..).step_by(50_000).zip(bytes[..700_000].chunks(50_000)) {
        incoming.append(at, piece).unwrap();
    }
    assert_eq!(incoming.received(), 700_000);
    let error = incoming.append(0, &bytes).unwrap_err();
    assert!(matches!(error, StorageError::TransferOffset { due: 700_000, .. }), "{error}");
    let error = incoming.finish().unwrap_err();
    assert!(matches!(error, StorageError::TransferIncomplete { .. }), "{error}");
    drop(store);

    // After a restart it goes on behind the last whole chunk.
    let store = SnapshotStore::open(config.clone()).unwrap();
    let mut incoming = store.receive(peer.transfer()).unwrap();
    let from = incoming.received();
    assert!(from > 500_000 && from <= 700_000, "{from}");
    incoming.append(from, &bytes[from as usize..]).unwrap();
    assert!(incoming.is_complete());
    let received = incoming.finish().unwrap();
    assert_eq!(read(received.snapshot()).unwrap().0, 8);
    assert!(store.latest().unwrap().is_none(), "it is not ours yet");
    let position = JournalPosition { segment: 3, skip: 5 };
    let info = received.install([b"my", b"p1"], position).unwrap();
    assert_eq!((info.owner.node, info.owner.promises_of), (NODE, NODE));
    assert_eq!(names(&dir.path().join("snapshots/1")), ["000000000001.snapshot", "LOCK"]);
    drop(store);
    let store = SnapshotStore::open(config).unwrap();
    let latest = store.latest().unwrap().unwrap();
    assert_eq!(latest.info().owner.journal, position);
    assert_eq!(read(&latest).unwrap(), (8, vec![b"my".to_vec(), b"p1".to_vec()]));
}

#[test]
fn damage_in_a_transfer_is_found_at_once_and_what_came_before_stays() {
    let (peer, bytes) = of_peer(900_000);
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    let mut incoming = store.receive(peer.transfer()).unwrap();
    let mut damaged = bytes.clone();
    damaged[600_000] ^= 1;
    let error = incoming.append(0, &damaged).unwrap_err();
    assert!(error.to_string().contains("the machine section, offset 524368"), "{error}");
    assert_eq!(incoming.received(), 524_368);
    incoming.append(524_368, &bytes[524_368..]).unwrap();
    drop(incoming.finish().unwrap());

    // It rots on our own disk: noticed when it is installed, and cut off when it is resumed.
    let path = disk.files().into_iter().next().unwrap();
    disk.damage(&path, |bytes| bytes[300_000] ^= 1);
    let mut incoming = store.receive(peer.transfer()).unwrap();
    let from = incoming.received() as usize;
    assert!((262_000..300_000).contains(&from), "{from}");
    incoming.append(from as u64, &bytes[from..]).unwrap();
    let received = incoming.finish().unwrap();
    disk.damage(&path, |bytes| bytes[300_000] ^= 1);
    let error = received.install([b"x"], START).unwrap_err();
    assert!(matches!(error, StorageError::Snapshot { .. }), "{error}");
    assert!(store.latest().unwrap().is_none());

    // Another transfer takes its place; and it can be given up.
    let (other, _) = of_peer(10);
    drop(store.receive(other.transfer()).unwrap());
    assert_eq!(disk.files().len(), 1);
    store.abandon_incoming().unwrap();
    assert!(disk.files().is_empty());
}

#[test]
fn only_what_was_announced_is_received() {
    let (peer, bytes) = of_peer(5000);
    let (_disk, mut config) = memory();
    config.snapshot_bytes_max = 20_000;
    let refused = |config: &SnapshotConfig, id, words: &str| {
        let store = SnapshotStore::open(config.clone()).unwrap();
        let received = store.receive(id).and_then(|mut incoming| {
            incoming.append(0, &bytes)?;
            incoming.finish()
        });
        let error = received.map(drop).unwrap_err();
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
    };
    let id = peer.transfer();
    let mut other = id;
    other.checksum ^= 1;
    refused(&config, other, "not the snapshot that was announced");
    let mut other = id;
    other.epoch = EpochNumber(7);
    refused(&config, other, "of epoch 1, not of epoch 7");
    let mut other = id;
    other.bytes = 20_001;
    refused(&config, other, "exceeds the limit of 20000");
    config.cluster = ClusterId(5);
    refused(&config, id, "belongs to cluster");
}

#[test]
fn a_backup_goes_out_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = snapshots(dir.path().join("a"), Arc::new(RealFiles));
    let store = SnapshotStore::open(config).unwrap();
    let to = dir.path().join("backup");
    let error = store.export(&to).unwrap_err();
    assert!(matches!(error, StorageError::NoSnapshot { .. }), "{error}");
    write(&store, 1, 10).unwrap();
    write(&store, 2, 1 << 20).unwrap();
    let exported = store.export(&to).unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().len(), exported.bytes);
    let error = store.export(&to).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    let error = store.import(&to).unwrap_err();
    assert!(matches!(error, StorageError::NotEmpty { .. }), "{error}");

    let mut config = snapshots(dir.path().join("b"), Arc::new(RealFiles));
    config.node = NodeId(12);
    let other = SnapshotStore::open(config.clone()).unwrap();
    let whole = std::fs::read(&to).unwrap();
    for at in [40, 20_000, whole.len() - 5] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&to, bytes).unwrap();
        let error = other.import(&to).unwrap_err();
        assert!(matches!(error, StorageError::Snapshot { .. }), "{error}");
        assert_eq!(names(&dir.path().join("b/snapshots/1")), ["LOCK"]);
    }
    std::fs::write(&to, &whole).unwrap();
    let info = other.import(&to).unwrap();
    assert_eq!((info.owner.node, info.owner.promises_of), (NodeId(12), NODE));
    assert_eq!(info.owner.journal, START);
    drop(other);
    let other = SnapshotStore::open(config).unwrap();
    let (seed, records) = read(&other.latest().unwrap().unwrap()).unwrap();
    assert_eq!((seed, records.len()), (2, 20));
}

#[test]
fn a_damaged_snapshot_is_not_exported() {
    let (disk, config) = memory();
    let store = SnapshotStore::open(config).unwrap();
    write(&store, 1, 100_000).unwrap();
    disk.damage(&newest(&disk), |bytes| bytes[70_000] ^= 1);
    let error = store.export("/data/backup".as_ref()).unwrap_err();
    assert!(matches!(error, StorageError::Snapshot { .. }), "{error}");
    assert_eq!(disk.files().len(), 1);
    // A backup medium that fails does not stop the replica.
    write(&store, 2, 100_000).unwrap();
    disk.fail(FaultyCall::Sync, 0, EIO);
    let error = store.export("/data/backup".as_ref()).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    write(&store, 3, 10).unwrap();
}

fn journal() -> (MemoryDisk, JournalConfig) {
    let disk = MemoryDisk::new();
    let config = config("/data", Arc::new(disk.clone()));
    (disk, config)
}

#[test]
fn a_position_is_exact_and_known_once_durable() {
    let (_disk, config) = journal();
    let (journal, _) = common::reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    let mut other = Counting::new(&journal, 2, 0);
    for _ in 0..60 {
        group.append(3).unwrap();
        other.append(1).unwrap();
        group.settle().unwrap();
        other.settle().unwrap();
    }
    assert!(journal.segments().len() > 2);
    assert_eq!(journal.position(GROUP, RecordSeq(181)).unwrap(), None);
    let positions: Vec<_> =
        (0..=180).map(|n| journal.position(GROUP, RecordSeq(n)).unwrap().unwrap()).collect();
    assert!(positions.is_sorted());
    journal.close().unwrap();
    for (after, position) in positions.into_iter().enumerate() {
        let (journal, replay) = Journal::open(config.clone()).unwrap();
        let records: Vec<_> =
            replay.after([(GROUP, position), (GroupId(2), START)]).unwrap().collect();
        let (mut next, mut of_other) = (after as u64, 0);
        for record in records {
            let record = record.unwrap();
            let count = if record.group == GROUP { &mut next } else { &mut of_other };
            assert_eq!(record.payload, payload(*count));
            *count += 1;
        }
        assert_eq!((next, of_other), (180, 60));
        // In a later life, records of this one start at the segment that it has begun.
        let begun = journal.segments().last().unwrap().number;
        let position = journal.position(GROUP, RecordSeq(0)).unwrap().unwrap();
        assert_eq!(position, JournalPosition { segment: begun, skip: 0 });
    }
}

#[test]
fn a_segment_goes_when_every_group_has_released_it() {
    let (_disk, config) = journal();
    let (journal, _) = common::reopen(&config).unwrap();
    let mut groups = [1, 2].map(|group| Counting::new(&journal, group, 0));
    while journal.segments().len() < 6 {
        for group in &mut groups {
            group.append(2).unwrap();
            group.settle().unwrap();
        }
    }
    let at = |segment| JournalPosition { segment, skip: 0 };
    assert_eq!(journal.release(GROUP, at(5)).unwrap(), 0);
    assert_eq!(journal.release(GroupId(2), at(3)).unwrap(), 2);
    assert_eq!(journal.segments()[0].number, 3);
    // Releasing less than before changes nothing.
    assert_eq!(journal.release(GROUP, at(1)).unwrap(), 0);
    assert_eq!(journal.release(GroupId(2), at(u64::MAX)).unwrap(), 2);
    assert_eq!(journal.segments()[0].number, 5);
    // The one being written stays whatever is released.
    journal.release(GROUP, at(u64::MAX)).unwrap();
    assert_eq!(journal.segments().len(), 1);
    let replay_from = journal.segments()[0].number;
    journal.close().unwrap();
    let (_journal, replay) = Journal::open(config).unwrap();
    assert_eq!(replay.first_segment(), Some(replay_from));
}

#[test]
fn a_small_journal_is_cut_after_a_rotation_and_a_full_one_is_free_again() {
    let (_disk, mut config) = journal();
    config.journal_bytes_max = 3 * config.segment_bytes;
    let (journal, _) = common::reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    assert_eq!(journal.rotate().unwrap(), 1, "there is nothing to cut");
    for _ in 0..50 {
        group.append(2).unwrap();
        let durable = group.settle().unwrap();
        let before = journal.segments().last().unwrap().number;
        let current = loop {
            match journal.rotate() {
                Ok(number) => break number,
                // The housekeeper has not seen yet that there is space again.
                Err(StorageError::JournalFull { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(current, before + 1);
        let position = journal.position(GROUP, RecordSeq(durable)).unwrap().unwrap();
        assert_eq!(position, JournalPosition { segment: current, skip: 0 });
        journal.release(GROUP, position).unwrap();
        assert_eq!(journal.segments().len(), 1);
    }
    // Now nobody cuts it.
    let full = loop {
        if let Err(error) = group.append(1) {
            break error;
        }
    };
    assert!(matches!(journal.health(), Health::Full(_)), "{full}");
    let error = journal.rotate().unwrap_err();
    assert!(error.is_full(), "{error}");
    let newest = journal.segments().last().unwrap().number;
    journal.release(GROUP, JournalPosition { segment: newest, skip: 0 }).unwrap();
    while !matches!(journal.health(), Health::Good) {
        std::thread::yield_now();
    }
    group.append(1).unwrap();
    group.settle().unwrap();
}

#[test]
fn a_journal_that_does_not_meet_its_snapshot_is_told_from_one_that_was_cut() {
    let (_disk, config) = journal();
    let (journal, _) = common::reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    while journal.segments().len() < 5 {
        group.append(3).unwrap();
        group.settle().unwrap();
    }
    let at = |segment, skip| JournalPosition { segment, skip };
    journal.release(GROUP, at(3, 0)).unwrap();
    journal.close().unwrap();
    let check = |position| {
        let (_journal, replay) = Journal::open(config.clone()).unwrap();
        let records = replay.after([(GROUP, position)])?;
        records.collect::<Result<Vec<_>, _>>().map(|records| records.len())
    };
    let all = check(at(3, 0)).unwrap();
    assert_eq!(check(at(3, 1)).unwrap(), all - 1);
    let error = check(START).unwrap_err();
    assert!(matches!(error, StorageError::MissingRecords { first: 3, due: 1, .. }), "{error}");
    assert!(error.to_string().contains("join under a new node id"), "{error}");
    for position in [at(3, 10_000), at(40, 0), at(40, 2)] {
        let error = check(position).unwrap_err();
        assert!(matches!(error, StorageError::JournalBehind { .. }), "{error}");
    }
}

/// A disk on which a new segment has its name for a while before the directory is synced, and a
/// directory sync that fails says so late.
#[derive(Debug)]
struct Late {
    disk: MemoryDisk,
    renamed: std::sync::Mutex<Option<std::sync::mpsc::Sender<()>>>,
}

impl Backend for Late {
    fn create_dir(&self, dir: &Path) -> std::io::Result<bool> {
        self.disk.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock(path)
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn BackendFile>> {
        self.disk.create(path)
    }
    fn open(&self, path: &Path) -> std::io::Result<Box<dyn BackendFile>> {
        self.disk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)?;
        if let Some(tell) = self.renamed.lock().unwrap().take() {
            tell.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(60));
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        let synced = self.disk.sync_dir(dir);
        if synced.is_err() {
            std::thread::sleep(Duration::from_millis(300));
        }
        synced
    }
}

/// A directory sync that fails may have lost a name that another thread believes to be synced.
#[test]
fn a_failed_sync_of_a_removal_does_not_lose_a_new_segment() {
    let disk = MemoryDisk::new();
    let late = Arc::new(Late { disk: disk.clone(), renamed: std::sync::Mutex::new(None) });
    let config = config("/data", Arc::clone(&late) as _);
    let (journal, _) = common::reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    let spare = || journal.stats().next_segment_ready;
    while journal.segments().len() < 3 || !spare() {
        group.append(1).unwrap();
        group.settle().unwrap();
    }
    let (tell, renamed) = std::sync::mpsc::channel();
    *late.renamed.lock().unwrap() = Some(tell);
    let durable = std::thread::scope(|scope| {
        let (disk, journal) = (&disk, &journal);
        scope.spawn(move || {
            renamed.recv().unwrap();
            disk.fail(FaultyCall::SyncDirectory, 0, EIO);
            journal.truncate_below(2).unwrap_err();
        });
        let mut durable = 0;
        while group.append(1).is_ok() {
            match group.settle() {
                Ok(upto) => durable = upto,
                Err(_) => break,
            }
        }
        durable
    });
    assert!(matches!(journal.health(), Health::Failed(_)));
    drop(journal);
    // What was reported durable is in segments whose names are durable.
    let after = common::config("/data", Arc::new(disk.restart(PowerLoss::AllUnsynced)));
    let (_journal, replay) = Journal::open(after).unwrap();
    let last = replay.map(Result::unwrap).last().unwrap();
    let last = u64::from_le_bytes(last.payload[..8].try_into().unwrap());
    assert!(last + 1 >= durable, "only {last} of {durable}");
}

/// Replaying holds one segment at a time, however long the journal is.
#[test]
fn a_replay_reads_a_segment_when_its_records_are_due() {
    let (disk, config) = journal();
    let (journal, _) = common::reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    while journal.segments().len() < 8 {
        group.append(3).unwrap();
        group.settle().unwrap();
    }
    journal.close().unwrap();
    let (_journal, mut replay) = Journal::open(config).unwrap();
    assert_eq!(replay.next().unwrap().unwrap().segment, 1);
    // Those behind it have not been read again: damage done now is seen later.
    disk.damage("/data/000000000006.journal".as_ref(), |bytes| bytes.fill(0xaa));
    let mut last = 0;
    let error = loop {
        match replay.next().unwrap() {
            Ok(record) => last = record.segment,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StorageError::Refused { .. }), "{error}");
    assert_eq!(last, 5);
    assert!(replay.next().is_none());
}
