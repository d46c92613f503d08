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
use std::time::{Duration, Instant};

use common::{CLUSTER, EPOCH, NODE};
use panchayat_consensus::ids::GroupId;
use panchayat_storage::backend::RealFiles;
use panchayat_storage::{Durability, Journal, JournalConfig, RecordSeq, measure_sync};

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
