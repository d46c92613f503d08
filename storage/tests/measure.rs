//! What the disk and the journal on it can do, printed. Run it on a quiet machine, in release:
//!
//! ```text
//! cargo test -p panchayat-storage --release --test measure -- --ignored --nocapture
//! ```

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{CLUSTER, EPOCH, NODE};
use panchayat_consensus::ids::GroupId;
use panchayat_core::snapshot::JournalPosition;
use panchayat_storage::backend::RealFiles;
use panchayat_storage::{
    Durability, Journal, JournalConfig, RecordSeq, SnapshotConfig, SnapshotStore, measure_sync,
};

const RECORD: [u8; 128] = [0x5a; 128];
const BATCH: u64 = 64;

#[test]
#[ignore = "a measurement, not a check"]
fn group_commit_against_a_sync_per_record() {
    let dir = tempfile::Builder::new().tempdir_in(scratch()).unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("records of 128 B in {}, load {}", dir.path().display(), load.trim());
    let sync = measure_sync(dir.path()).unwrap();
    println!("one batch, one sync, alone:    p50 {:?}, p99 {:?}", sync.p50, sync.p99);
    naive(dir.path());
    for (what, durability, in_flight) in [
        ("64 at a time, wait for each", Durability::Fsync, 1),
        ("64 at a time, 16 in flight", Durability::Fsync, 16),
        ("64 at a time, 64 in flight", Durability::Fsync, 64),
        ("not synced, 16 in flight", Durability::Os, 16),
        ("memory", Durability::Memory, 16),
    ] {
        group_commit(&dir.path().join(what), what, durability, in_flight);
    }
    let after = measure_sync(dir.path()).unwrap();
    println!("one batch, one sync, again:    p50 {:?}, p99 {:?}", after.p50, after.p99);
}

/// Beside the build, which is on a disk; the temporary directory may be in memory.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn naive(dir: &Path) {
    let path = dir.join("naive");
    let mut file: File = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let started = Instant::now();
    let mut records = 0;
    while started.elapsed() < Duration::from_secs(1) {
        file.write_all(&RECORD).unwrap();
        file.sync_all().unwrap();
        records += 1;
    }
    let each = started.elapsed() / records;
    println!("write + fsync for each record: {:>9.0} records/s", 1.0 / each.as_secs_f64());
}

fn group_commit(dir: &Path, what: &str, durability: Durability, in_flight: u64) {
    let mut config = JournalConfig::new(dir, CLUSTER, NODE);
    config.backend = Arc::new(RealFiles);
    config.durability = durability;
    let (journal, _) = Journal::open(config).unwrap();
    let (tell, news) = std::sync::mpsc::channel();
    let mut writer =
        journal.writer(GroupId(1), Box::new(move |upto| tell.send(upto.unwrap()).unwrap()));
    let (mut appended, mut durable, mut appending) = (0, 0, Duration::ZERO);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        while appended - durable < in_flight * BATCH {
            appended += BATCH;
            let before = Instant::now();
            writer.append(EPOCH, &[RECORD; BATCH as usize], RecordSeq(appended)).unwrap();
            appending += before.elapsed();
        }
        durable = news.recv().unwrap().0;
        while let Ok(upto) = news.try_recv() {
            durable = upto.0;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let stats = journal.close().unwrap();
    let append_ns = appending.as_nanos() as f64 / appended as f64;
    print!("{what:30} {:>9.0} records/s, append {append_ns:.0} ns", durable as f64 / seconds);
    if stats.batches > 0 {
        print!(", {:.0} records per batch", stats.records as f64 / stats.batches as f64);
    }
    if stats.syncs > 0 {
        print!(", sync p50 {:?} p99 {:?}", stats.sync_p50(), stats.sync_p99());
    }
    println!();
}

/// What a journal that syncs one small batch after the other notices of a snapshot beside it.
#[test]
#[ignore = "a measurement, not a check"]
fn the_journals_syncs_beside_a_snapshot() {
    const MIB: u64 = 1 << 20;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    for round in 0..3 {
        println!("round {round}");
        beside("no snapshot", None, None);
        for pace in [Some(16), Some(64), Some(256), None] {
            for sync in [MIB / 4, MIB, 8 * MIB, u64::MAX] {
                let pace_name = pace.map_or("unbounded".into(), |pace| format!("{pace} MiB/s"));
                let sync_name = match sync {
                    u64::MAX => "at the end".into(),
                    sync => format!("every {} KiB", sync >> 10),
                };
                let what = format!("{pace_name}, synced {sync_name}");
                beside(&what, Some(sync), pace.map(|pace| pace * MIB));
            }
        }
    }
}

fn beside(what: &str, sync_bytes: Option<u64>, pace: Option<u64>) {
    let dir = tempfile::Builder::new().tempdir_in(scratch()).unwrap();
    let config = JournalConfig::new(dir.path(), CLUSTER, NODE);
    let mut of_store = SnapshotConfig::beside(&config, GroupId(1));
    of_store.bytes_per_second_max = pace;
    of_store.sync_bytes = sync_bytes.unwrap_or(0);
    let store = SnapshotStore::open(of_store).unwrap();
    let (journal, _) = Journal::open(config).unwrap();
    while !journal.stats().next_segment_ready {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (tell, news) = std::sync::mpsc::channel();
    let mut writer =
        journal.writer(GroupId(1), Box::new(move |upto| tell.send(upto.unwrap()).unwrap()));
    let through = AtomicBool::new(false);
    let (mut written, mut took) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let snapshot = scope.spawn(|| {
            let started = Instant::now();
            let mut bytes = 0u64;
            if sync_bytes.is_some() {
                // As much as the pace allows in two seconds.
                let mut file = store.write(EPOCH).unwrap();
                let piece = vec![0x5a; 1 << 20];
                while started.elapsed() < Duration::from_secs(2) && bytes < 512 << 20 {
                    file.write_all(&piece).unwrap();
                    bytes += piece.len() as u64;
                }
                file.finish(JournalPosition::START).unwrap();
            } else {
                std::thread::sleep(Duration::from_secs(2));
            }
            let took = started.elapsed();
            through.store(true, Ordering::Relaxed);
            (bytes, took)
        });
        let mut upto = 0;
        while !through.load(Ordering::Relaxed) {
            upto += 1;
            writer.append(EPOCH, &[RECORD], RecordSeq(upto)).unwrap();
            while news.recv().unwrap().0 < upto {}
        }
        (written, took) = snapshot.join().unwrap();
    });
    let stats = journal.close().unwrap();
    let rate = written as f64 / took.as_secs_f64() / f64::from(1 << 20);
    let longest = Duration::from_nanos(stats.sync_ns.max());
    println!(
        "{what:34} {rate:>5.0} MiB/s written; journal: {:>6} syncs, p50 {:?} p99 {:?} max {longest:?}",
        stats.syncs,
        stats.sync_p50(),
        stats.sync_p99(),
    );
}
