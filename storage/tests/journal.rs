//! What the journal promises while nothing crashes, and what it says when something fails.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{CLUSTER, Counting, EPOCH, NODE, config, count_replayed, payload, reopen};
use panchayat_consensus::ids::{ClusterId, GroupId, NodeId};
use panchayat_storage::backend::{FaultyCall, MemoryDisk, RealFiles};
use panchayat_storage::{
    AppendError, Durability, FullReason, Health, Journal, JournalConfig, JournalFailed, RecordSeq,
    StorageError, measure_sync,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EFBIG: i32 = 27;

fn memory() -> (MemoryDisk, JournalConfig) {
    let disk = MemoryDisk::new();
    let config = config("/data", Arc::new(disk.clone()));
    (disk, config)
}

fn real() -> (tempfile::TempDir, JournalConfig) {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path().join("a/journal"), Arc::new(RealFiles));
    (dir, config)
}

#[test]
fn what_is_appended_is_replayed_over_many_segments_and_openings() {
    let (_dir, config) = real();
    let mut total = 0;
    for round in 0..4 {
        let (journal, count) = reopen(&config).unwrap();
        assert_eq!(count, total, "round {round}");
        let mut group = Counting::new(&journal, 1, total);
        let mut other = Counting::new(&journal, 2, round * 40);
        for _ in 0..20 {
            group.append(7).unwrap();
            other.append(2).unwrap();
        }
        total = group.settle().unwrap();
        other.settle().unwrap();
        let stats = journal.close().unwrap();
        assert_eq!((stats.records, stats.queue_bytes), (180, 0));
        assert!(stats.segments > 1 && stats.syncs == stats.batches);
    }
    let (_journal, replay) = Journal::open(config).unwrap();
    assert_eq!(replay.first_segment(), Some(1));
    assert_eq!(replay.cut(), None);
    assert_eq!(count_replayed(replay, 2).unwrap(), 160);
}

#[test]
fn one_sync_covers_all_that_came_meanwhile() {
    let (disk, config) = memory();
    disk.set_sync_delay(Duration::from_millis(20));
    let (journal, _) = reopen(&config).unwrap();
    let mut groups: Vec<_> = (0..4).map(|group| Counting::new(&journal, group, 1)).collect();
    let before = journal.stats().syncs;
    for _ in 0..3 {
        for group in &mut groups {
            group.append(1).unwrap();
        }
    }
    for group in &groups {
        group.settle().unwrap();
    }
    let syncs = journal.stats().syncs - before;
    assert!(syncs <= 3, "12 appends of 4 groups took {syncs} syncs");
}

#[test]
fn appends_do_not_wait_for_the_disk_below_the_limit_and_do_above() {
    let (disk, mut config) = memory();
    config.queue_bytes_max = 2048;
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    disk.set_sync_delay(Duration::from_millis(50));
    let longest = Arc::new(AtomicU64::new(0));
    for _ in 0..40 {
        group.append(1).unwrap();
        longest.fetch_max(group.writer.queue_bytes() as u64, Ordering::Relaxed);
    }
    assert_eq!(group.settle().unwrap(), 40);
    assert!(longest.load(Ordering::Relaxed) <= 2048);
    assert!(journal.stats().waits > 0, "the limit was never met");
    journal.close().unwrap();
    assert_eq!(reopen(&config).unwrap().1, 40, "nothing is lost by waiting");
}

#[test]
fn an_append_without_records_hears_of_those_before() {
    let (_disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    group.append(0).unwrap();
    assert_eq!(group.hear().unwrap(), RecordSeq(0));
    group.append(2).unwrap();
    group.settle().unwrap();
}

#[test]
fn an_append_that_can_never_fit_is_refused() {
    let (_disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    let error = group.writer.append(EPOCH, &[vec![0; 4096]], RecordSeq(1)).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes: 4116, bytes_max: 4096 }));
    let largest = vec![1; 4076];
    group.writer.append(EPOCH, &[&largest], RecordSeq(1)).unwrap();
    assert_eq!(group.hear().unwrap(), RecordSeq(1));
    let error = group.writer.append(EPOCH, &[&largest, &largest], RecordSeq(3)).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes: 8192, .. }));
}

#[test]
fn short_writes_are_completed() {
    let (disk, config) = memory();
    disk.set_write_bytes_max(Some(100));
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    group.append(12).unwrap();
    group.settle().unwrap();
    drop(journal);
    assert_eq!(reopen(&config).unwrap().1, 12);
}

#[test]
fn memory_durability_touches_no_disk_and_answers_inside_append() {
    let (disk, mut config) = memory();
    config.durability = Durability::Memory;
    let (journal, count) = reopen(&config).unwrap();
    let here = std::thread::current().id();
    let heard = Arc::new(AtomicU64::new(0));
    let hear = Arc::clone(&heard);
    let mut writer = journal.writer(
        GroupId(1),
        Box::new(move |upto| {
            assert_eq!(std::thread::current().id(), here);
            hear.store(upto.unwrap().0, Ordering::Relaxed);
        }),
    );
    writer.append(EPOCH, &[payload(0), payload(1)], RecordSeq(2)).unwrap();
    assert_eq!((heard.load(Ordering::Relaxed), count), (2, 0));
    assert_eq!((disk.calls(), disk.files().len()), (0, 0));
    assert_eq!(journal.close().unwrap().records, 2);
    let error = writer.append(EPOCH, &[payload(2)], RecordSeq(3)).unwrap_err();
    assert!(matches!(error, AppendError::Closed));
}

#[test]
fn os_durability_survives_the_process() {
    let (_dir, mut config) = real();
    config.durability = Durability::Os;
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    for _ in 0..10 {
        group.append(5).unwrap();
    }
    group.settle().unwrap();
    assert_eq!(journal.close().unwrap().syncs, 0);
    assert_eq!(reopen(&config).unwrap().1, 50);
}

#[test]
fn a_failed_sync_poisons_and_is_never_retried() {
    for call in [FaultyCall::Sync, FaultyCall::Write] {
        let (disk, mut config) = memory();
        config.segment_bytes = 1 << 20;
        let (journal, _) = reopen(&config).unwrap();
        let mut group = Counting::new(&journal, 1, 0);
        let bystander = Counting::new(&journal, 2, 0);
        group.append(1).unwrap();
        group.settle().unwrap();
        wait_for_spare(&journal);
        disk.fail(call, 0, EIO);
        group.append(1).unwrap();
        for told in [&group, &bystander] {
            let failed = told.hear().unwrap_err();
            assert!(matches!(failed, JournalFailed::Io { .. }), "{failed}");
            assert!(failed.to_string().contains("000000000001.journal"), "{failed}");
            assert!(told.news.recv().is_err(), "told more than once");
        }
        let calls = disk.calls();
        assert!(matches!(group.append(1), Err(AppendError::Failed(_))));
        assert!(matches!(journal.health(), Health::Failed(_)));
        assert!(journal.close().is_err());
        assert_eq!(disk.calls(), calls, "a poisoned journal touched the disk");
    }
}

#[test]
fn an_appender_that_waits_is_woken_by_the_failure() {
    let (disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    disk.set_sync_delay(Duration::from_millis(30));
    disk.fail(FaultyCall::Sync, 3, EIO);
    let error = (0..200).find_map(|_| group.append(3).err());
    assert!(matches!(error, Some(AppendError::Failed(_))), "{error:?}");
}

#[test]
fn a_full_disk_refuses_appends_and_goes_on_when_there_is_space() {
    let (disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    wait_for_spare(&journal);
    // Room for the two segments that exist, and for half of a third.
    disk.set_capacity(Some(40 << 10));
    let mut group = Counting::new(&journal, 1, 0);
    let error = loop {
        if let Err(error) = group.append(1) {
            break error;
        }
    };
    let full = FullReason::Device { dir: "/data".into() };
    assert!(matches!(&error, AppendError::DiskFull(reason) if *reason == full), "{error}");
    assert!(matches!(journal.health(), Health::Full(_)));
    // What was accepted and did not fit is held; what was acknowledged is there.
    let accepted = group.next;
    let mut acknowledged = 0;
    while let Ok(upto) = group.news.recv_timeout(Duration::from_millis(50)) {
        acknowledged = upto.unwrap().0;
    }
    assert!(acknowledged > 10);
    let copy = disk.restart(panchayat_storage::backend::PowerLoss::AllUnsynced);
    let after = common::config("/data", Arc::new(copy));
    assert!(reopen(&after).unwrap().1 >= acknowledged);
    // And nothing has failed for good.
    disk.set_capacity(None);
    while group.append(1).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    group.settle().unwrap();
    journal.close().unwrap();
    assert_eq!(reopen(&config).unwrap().1, accepted + 1);
}

#[test]
fn the_file_size_limit_counts_as_full() {
    let (disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    wait_for_spare(&journal);
    disk.fail(FaultyCall::Create, 0, EFBIG);
    let mut group = Counting::new(&journal, 1, 0);
    let mut refused = false;
    while !refused || matches!(journal.health(), Health::Full(_)) {
        match group.append(1) {
            Ok(()) => drop(group.settle().unwrap()),
            Err(AppendError::DiskFull(_)) => refused = true,
            Err(error) => panic!("{error}"),
        }
    }
    // Asked again a moment later, the disk had space.
    assert!(matches!(journal.health(), Health::Good));
    let accepted = group.next;
    journal.close().unwrap();
    assert_eq!(reopen(&config).unwrap().1, accepted);
}

#[test]
fn an_opening_on_a_full_disk_says_so() {
    let (disk, config) = memory();
    disk.set_capacity(Some(1000));
    let error = Journal::open(config.clone()).unwrap_err();
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    disk.set_capacity(None);
    reopen(&config).unwrap();
}

#[test]
fn a_write_into_reserved_space_that_finds_none_poisons() {
    let (disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    wait_for_spare(&journal);
    disk.fail(FaultyCall::Write, 0, ENOSPC);
    let mut group = Counting::new(&journal, 1, 0);
    group.append(1).unwrap();
    assert!(matches!(group.hear().unwrap_err(), JournalFailed::DiskFull { .. }));
}

#[test]
fn a_failure_while_preparing_a_segment_poisons() {
    // A directory whose sync found no space is not tried again either: it is still a failed sync.
    for (call, errno) in [
        (FaultyCall::Create, EIO),
        (FaultyCall::Rename, EIO),
        (FaultyCall::SyncDirectory, EIO),
        (FaultyCall::SyncDirectory, ENOSPC),
    ] {
        let (disk, config) = memory();
        let (journal, _) = reopen(&config).unwrap();
        wait_for_spare(&journal);
        disk.fail(call, 0, errno);
        let mut group = Counting::new(&journal, 1, 0);
        let error = loop {
            if let Err(error) = group.append(1) {
                break error;
            }
        };
        assert!(matches!(error, AppendError::Failed(JournalFailed::Io { .. })), "{error}");
        while group.hear().is_ok() {}
    }
}

#[test]
fn the_journal_is_bounded_until_old_segments_go() {
    let (_disk, mut config) = memory();
    config.journal_bytes_max = 70_000;
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    let error = loop {
        if let Err(error) = group.append(1) {
            break error;
        }
    };
    let full = FullReason::Limit { journal_bytes_max: 70_000 };
    assert!(matches!(&error, AppendError::DiskFull(reason) if *reason == full), "{error}");
    let segments = journal.segments();
    let current = segments.last().unwrap().number;
    assert_eq!(segments[0].number, 1);
    let (pinned_by, last) = segments[0].groups[0];
    assert_eq!(pinned_by, GroupId(1));
    assert!(last > RecordSeq(0) && last < segments[1].groups[0].1);

    let error = journal.truncate_below(current + 1).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }));
    journal.truncate_below(3).unwrap();
    while group.append(1).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    group.settle().unwrap();
    assert_eq!(journal.segments()[0].number, 3);
    journal.close().unwrap();
    let (journal, replay) = Journal::open(config).unwrap();
    assert_eq!(replay.first_segment(), Some(3));
    let records: Vec<_> = replay.map(Result::unwrap).collect();
    assert_eq!(records[0].payload, payload(last_in_second(&segments)));
    assert_eq!(records.last().unwrap().payload, payload(group.next - 1));
    assert_eq!(journal.segments()[0].groups, [(GroupId(1), RecordSeq(0))]);
}

/// Records are counted from 0, their sequence from 1: the last of segment 2 names the first of 3.
fn last_in_second(segments: &[panchayat_storage::SegmentInfo]) -> u64 {
    segments[1].groups[0].1.0
}

#[test]
fn a_panicking_callback_poisons_and_the_others_hear() {
    let (_disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    let mut bad = journal.writer(GroupId(9), Box::new(|_| panic!("on purpose")));
    let mut group = Counting::new(&journal, 1, 0);
    bad.append(EPOCH, &[payload(0)], RecordSeq(1)).unwrap();
    assert!(matches!(group.hear().unwrap_err(), JournalFailed::Panicked));
    assert!(matches!(group.append(1), Err(AppendError::Failed(JournalFailed::Panicked))));
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let (_dir, config) = real();
    let (journal, _) = reopen(&config).unwrap();
    let error = Journal::open(config.clone()).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    drop(journal);
    reopen(&config).unwrap();
}

#[test]
fn a_lost_disk_is_not_taken_for_a_new_one() {
    let (_disk, mut config) = memory();
    config.must_exist = true;
    let error = Journal::open(config.clone()).unwrap_err();
    assert!(matches!(error, StorageError::NoJournal { .. }), "{error}");
    config.must_exist = false;
    drop(reopen(&config).unwrap());
    config.must_exist = true;
    reopen(&config).unwrap();
}

#[test]
fn foreign_and_damaged_data_is_refused_by_name() {
    let fill = || {
        let (disk, config) = memory();
        let (journal, _) = reopen(&config).unwrap();
        let mut group = Counting::new(&journal, 1, 0);
        for _ in 0..30 {
            group.append(3).unwrap();
        }
        group.settle().unwrap();
        journal.close().unwrap();
        (disk, config)
    };
    let first = "/data/000000000001.journal";
    let check = |config: JournalConfig, words: &[&str]| {
        let error = Journal::open(config).unwrap_err();
        assert!(matches!(error, StorageError::Refused { .. }), "{error}");
        for word in words.iter().chain(&[first]) {
            assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
        }
    };
    let (_disk, mut other) = fill();
    other.cluster = ClusterId(1);
    check(other, &[&CLUSTER.to_string(), &ClusterId(1).to_string()]);
    let (_disk, mut other) = fill();
    other.node = NodeId(5);
    check(other, &[&NODE.to_string(), "node-5"]);
    let (disk, config) = fill();
    disk.damage(first.as_ref(), |bytes| bytes[8] = 9);
    check(config, &["format 9", "reads up to 1"]);
    let (disk, config) = fill();
    disk.damage(first.as_ref(), |bytes| bytes[1024 + 77] ^= 4);
    check(config, &["offset 1024", "no torn write"]);
    let (disk, config) = fill();
    disk.damage(first.as_ref(), |bytes| bytes.truncate(2048));
    check(config, &["no torn write"]);
}

#[test]
fn a_refused_journal_is_left_alone() {
    let (disk, config) = memory();
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    group.append(9).unwrap();
    journal.close().unwrap();
    disk.damage("/data/000000000001.journal".as_ref(), |bytes| bytes[1024 + 40] ^= 1);
    let calls = disk.calls();
    assert!(Journal::open(config).is_err());
    assert_eq!(disk.calls(), calls);
}

#[test]
fn an_idle_journal_gives_its_last_batch_a_witness() {
    let (disk, mut config) = memory();
    config.idle_marker_after = Duration::from_millis(10);
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    group.append(1).unwrap();
    group.settle().unwrap();
    let batches = journal.stats().batches;
    while journal.stats().batches == batches {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(journal.stats().batches, 2, "one witness is enough");
    // Not closed: what a crash leaves, with the last record damaged at rest.
    let after = disk.restart(panchayat_storage::backend::PowerLoss::AllUnsynced);
    after.damage("/data/000000000001.journal".as_ref(), |bytes| bytes[1024 + 60] ^= 1);
    let error = Journal::open(common::config("/data", Arc::new(after))).unwrap_err();
    assert!(matches!(error, StorageError::Refused { .. }), "{error}");
}

#[test]
fn contradictory_settings_are_refused() {
    let (_disk, config) = memory();
    let check = |change: &dyn Fn(&mut JournalConfig)| {
        let mut config = config.clone();
        change(&mut config);
        assert!(matches!(Journal::open(config), Err(StorageError::Config { .. })));
    };
    check(&|config| config.queue_bytes_max = 16 << 10);
    check(&|config| config.queue_bytes_max = 10);
    check(&|config| (config.queue_bytes_max, config.segment_bytes) = (400 << 20, 1 << 29));
    check(&|config| config.segment_bytes = 2 << 30);
    check(&|config| config.journal_bytes_max = 40_000);
}

#[test]
fn the_probe_measures_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let latency = measure_sync(dir.path()).unwrap();
    assert!(latency.p50 > Duration::ZERO && latency.p50 <= latency.p99);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Until the housekeeper is done with the segment prepared ahead, and leaves the disk alone.
fn wait_for_spare(journal: &Journal) {
    while !journal.stats().next_segment_ready {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn files_and_directories_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("data");
    let mut config = real().1;
    config.dir.clone_from(&inside);
    let (journal, _) = Journal::open(config).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(&inside).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 1 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    journal.close().unwrap();
}
