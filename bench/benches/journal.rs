//! The journal on the disk of the temporary directory: what one group commit costs.
//!
//! What it measures: appending a number of records at once and waiting until they are durable,
//! again and again; a sync a time with `fsync`, none with `os`. An element is a record. Set `TMPDIR`
//! to choose the disk.

use std::sync::mpsc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panchayat::{ClusterId, Durability, NodeId};
use panchayat_consensus::{EpochNumber, GroupId};
use panchayat_storage::{Journal, JournalConfig, RecordSeq};

const RECORD_BYTES: usize = 128;
/// Old segments go when so many bytes have been appended.
const TRUNCATE_EVERY_BYTES: u64 = 64 << 20;

fn journal(criterion: &mut Criterion) {
    let sync = panchayat::measure_sync(&std::env::temp_dir()).expect("a directory to write to");
    println!(
        "conditions: commit {}; records of {RECORD_BYTES} B in {}; one sync alone p50 {:?}, p99 {:?}",
        panchayat_bench::COMMIT,
        std::env::temp_dir().display(),
        sync.p50,
        sync.p99
    );
    let mut group = criterion.benchmark_group("journal");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (name, durability) in [("fsync", Durability::Fsync), ("os", Durability::Os)] {
        for records in [1u64, 64, 512] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut config = JournalConfig::new(dir.path(), ClusterId(1), NodeId(1));
            config.durability = durability;
            let (journal, _) = Journal::open(config).expect("a new journal");
            let (told, durable) = mpsc::channel();
            let mut writer = journal.writer(
                GroupId(1),
                Box::new(move |word| _ = told.send(word.expect("the disk works"))),
            );
            let record = [0x5a; RECORD_BYTES];
            let batch = vec![record.as_slice(); records as usize];
            let (mut upto, mut bytes) = (0, 0);
            group.throughput(Throughput::Elements(records));
            group.bench_function(BenchmarkId::new(name, records), |bencher| {
                bencher.iter(|| {
                    upto += records;
                    let appended = writer.append(EpochNumber(1), &batch, RecordSeq(upto));
                    appended.expect("the journal takes records");
                    while durable.recv().expect("the journal runs") < RecordSeq(upto) {}
                    bytes += records * RECORD_BYTES as u64;
                    if bytes > TRUNCATE_EVERY_BYTES {
                        bytes = 0;
                        let current = journal.segments().last().map_or(0, |last| last.number);
                        journal.truncate_below(current).expect("segments can be removed");
                    }
                });
            });
            journal.close().expect("the journal ends well");
        }
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
