//! Power fails at every call that changes the disk, while a group appends, writes snapshots and
//! cuts its journal below them; then again while the next process recovers.
//!
//! Afterwards there is always one whole snapshot, or none yet, whose journal goes on where it
//! ends; and leaving out any one sync must be noticed by these very tests.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;

use common::{Counting, EPOCH, Eliding, Site, config, payload};
use panchayat_consensus::ids::GroupId;
use panchayat_core::snapshot::{JournalPosition, Section};
use panchayat_storage::backend::{MemoryDisk, PowerLoss};
use panchayat_storage::{
    Journal, JournalConfig, RecordSeq, SnapshotConfig, SnapshotStore, StorageError, StoredSnapshot,
};

const GROUP: GroupId = GroupId(1);

/// What a process was promised before its power failed.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// Records reported durable, or recovered once.
    durable: u64,
    /// Records handed over, of which any number may survive.
    appended: u64,
    /// The number of the newest snapshot that was finished.
    snapshot: u64,
}

#[derive(Debug, Default)]
struct Findings {
    lives: u64,
    /// Lives that began with a snapshot.
    snapshots: u64,
    /// Lives that began with a journal whose front was cut off.
    cut: u64,
    lost: Vec<String>,
}

fn losses(seed: u64) -> impl Iterator<Item = PowerLoss> {
    let shuffled = (0..3).map(move |n| PowerLoss::Shuffled(seed * 31 + n));
    [PowerLoss::Nothing, PowerLoss::AllUnsynced].into_iter().chain(shuffled)
}

fn settings(disk: &MemoryDisk, site: Option<Site>) -> (Arc<Eliding>, JournalConfig) {
    let eliding = Eliding::new(Arc::new(disk.clone()), site);
    let mut config = config("/data", Arc::clone(&eliding) as _);
    config.segment_bytes = 8 << 10;
    (eliding, config)
}

fn store(config: &JournalConfig) -> Result<SnapshotStore, StorageError> {
    let mut config = SnapshotConfig::beside(config, GROUP);
    config.bytes_per_second_max = None;
    config.sync_bytes = 2048;
    SnapshotStore::open(config)
}

/// The state of a group: how many records it has seen.
fn write_snapshot(
    store: &SnapshotStore,
    count: u64,
    journal: JournalPosition,
) -> Result<u64, StorageError> {
    let mut file = store.write(EPOCH)?;
    let state: Vec<u8> = count.to_le_bytes().into_iter().cycle().take(4096).collect();
    if let Err(error) = file.write_all(&state) {
        return Err(file.abandon(error));
    }
    file.begin(Section::Sessions)?;
    file.record(&count.to_le_bytes())?;
    Ok(file.finish(journal)?.header.number)
}

fn read_snapshot(stored: &StoredSnapshot) -> Result<u64, StorageError> {
    let (mut reader, mut state) = (stored.reader()?, Vec::new());
    let read = reader.section(Section::Machine).read_to_end(&mut state);
    read.map_err(|error| stored.refused(error.into()))?;
    let record = reader.next_record().map_err(|error| stored.refused(error))?;
    reader.finish().map_err(|error| stored.refused(error))?;
    let count = u64::from_le_bytes(state[..8].try_into().unwrap());
    assert_eq!(record.unwrap(), count.to_le_bytes());
    Ok(count)
}

/// What is found at a start.
struct Found {
    store: SnapshotStore,
    journal: Journal,
    count: u64,
    snapshot: Option<(u64, JournalPosition)>,
    cut: bool,
}

/// Snapshot and journal together: every record once, without a hole between the two.
fn recover(config: &JournalConfig) -> Result<Found, StorageError> {
    let store = store(config)?;
    let latest = store.latest()?;
    let (mut count, mut position) = (0, JournalPosition::START);
    if let Some(latest) = &latest {
        count = read_snapshot(latest)?;
        position = latest.info().owner.journal;
    }
    let (journal, replay) = Journal::open(config.clone())?;
    let cut = replay.first_segment().is_some_and(|first| first > 1);
    for record in replay.after([(GROUP, position)])? {
        assert_eq!(record?.payload, payload(count), "a hole or a double before {count}");
        count += 1;
    }
    let snapshot = latest.map(|latest| (latest.info().header.number, position));
    Ok(Found { store, journal, count, snapshot, cut })
}

/// One process. It ends when the power fails, or when it is through; it does not close.
fn live(config: &JournalConfig, promised: &mut Promised, rounds: u64) -> Result<(), StorageError> {
    let Found { store, journal, count, snapshot, .. } = recover(config)?;
    promised.durable = count.max(promised.durable);
    promised.appended = count;
    if let Some((number, position)) = snapshot {
        promised.snapshot = number.max(promised.snapshot);
        // The last process may have died before it could cut.
        journal.release(GROUP, position)?;
    }
    let mut group = Counting::new(&journal, 1, count);
    for round in 0..rounds {
        let Ok(()) = group.append(round % 4 + 1) else { return Ok(()) };
        promised.appended = group.next;
        match group.settle() {
            Ok(durable) => promised.durable = durable,
            Err(_) => return Ok(()),
        }
        if round % 7 == 5 {
            // The state may be older than the journal: some records follow it.
            let covered = group.next;
            let Ok(()) = group.append(round % 3) else { return Ok(()) };
            promised.appended = group.next;
            if round % 2 == 0 {
                journal.rotate()?;
            }
            let covered_seq = RecordSeq(covered - count);
            let position = journal.position(GROUP, covered_seq)?.expect("it is durable");
            promised.snapshot = write_snapshot(&store, covered, position)?;
            journal.release(GROUP, position)?;
            let segments = journal.segments();
            assert!(segments[0].number >= position.segment.min(segments.last().unwrap().number));
        }
    }
    Ok(())
}

/// Opens what is left and compares it with what was promised.
fn check(disk: &MemoryDisk, promised: Promised, what: &str, findings: &mut Findings) {
    findings.lives += 1;
    match recover(&settings(disk, None).1) {
        Ok(found) => {
            assert!(found.count <= promised.appended, "{what}: {} of {promised:?}", found.count);
            if found.count < promised.durable {
                findings.lost.push(format!("{what}: only {} of {promised:?}", found.count));
            }
            let number = found.snapshot.map_or(0, |(number, _)| number);
            if number < promised.snapshot {
                findings.lost.push(format!("{what}: snapshot {number} of {promised:?}"));
            }
            findings.snapshots += u64::from(number > 0);
            findings.cut += u64::from(found.cut);
            let files = disk.files();
            let of_store = files.iter().filter(|path| path.starts_with("/data/snapshots"));
            assert!(of_store.count() <= 1, "leftovers: {files:?}");
        }
        Err(error) => findings.lost.push(format!("{what}: {error}")),
    }
}

/// Crashes a process at every call, and its successor at some calls, with every kind of loss.
fn explore(site: Option<Site>, stop_at_first: bool) -> (Findings, usize) {
    let mut findings = Findings::default();
    let mut elided = 0;
    for call in 0.. {
        let disk = MemoryDisk::new();
        disk.fail_power_at(call);
        let (eliding, config) = settings(&disk, site);
        let mut promised = Promised::default();
        let _ = live(&config, &mut promised, 42);
        elided += eliding.count();
        for loss in losses(call) {
            check(&disk.restart(loss), promised, &format!("{call} {loss:?}"), &mut findings);
            let second = disk.restart(loss);
            second.fail_power_at(call * 7 % 70);
            let (eliding, config) = settings(&second, site);
            let mut both = promised;
            let ended = live(&config, &mut both, 10);
            if let Err(error) = &ended
                && !second_life_may_end_with(error)
            {
                findings.lost.push(format!("{call} {loss:?}: {error}"));
            }
            both.appended = both.appended.max(promised.appended);
            both.snapshot = both.snapshot.max(promised.snapshot);
            elided += eliding.count();
            for again in losses(call + 1).take(3) {
                let what = format!("{call} {loss:?}, {again:?}");
                check(&second.restart(again), both, &what, &mut findings);
            }
        }
        let through = disk.calls() < call;
        if through || (stop_at_first && !findings.lost.is_empty()) {
            break;
        }
    }
    (findings, elided)
}

/// Its power fails as well: but it must never find anything wrong with what it was left.
fn second_life_may_end_with(error: &StorageError) -> bool {
    !matches!(
        error,
        StorageError::Refused { .. }
            | StorageError::Snapshot { .. }
            | StorageError::MissingRecords { .. }
            | StorageError::JournalBehind { .. }
    )
}

#[test]
fn snapshot_and_journal_meet_whenever_the_power_fails() {
    let (findings, _) = explore(None, false);
    assert!(findings.lost.is_empty(), "{:#?}", findings.lost);
    println!("{findings:?}");
    assert!(findings.lives > 3000, "{findings:?}");
    assert!(findings.snapshots > findings.lives / 2, "{findings:?}");
    assert!(findings.cut > findings.lives / 3, "{findings:?}");
}

/// How often a mistake may go unnoticed before nobody is said to notice it.
const EXPLORATIONS_MAX: usize = 12;

#[test]
fn leaving_out_any_one_sync_is_noticed() {
    for site in [
        Site::NewDirectory,
        Site::SnapshotContent,
        Site::SnapshotName,
        Site::SnapshotsFound,
        Site::Batch,
        Site::Removal,
    ] {
        // Threads take turns as they please: one exploration may miss the moment that shows it.
        let mut lost = (0..EXPLORATIONS_MAX).filter_map(|_| {
            let (findings, elided) = explore(Some(site), true);
            assert!(elided > 0, "{site:?} was never synced");
            findings.lost.into_iter().next()
        });
        let lost = lost.next().unwrap_or_else(|| panic!("nobody misses the sync {site:?}"));
        println!("without the sync {site:?}: {lost}");
    }
}
