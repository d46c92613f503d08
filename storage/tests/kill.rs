//! Real processes that die by SIGKILL in the middle of their work.
//!
//! This binary starts itself again as the victim. The victim tells over a pipe what was reported
//! durable to it; the next one must replay at least that. The page cache outlives a killed
//! process, so the victim's unsynced bytes are kept in its own memory ([`UnsyncedInMemory`]):
//! then the kill loses them, and a sync that is left out is missed. Between two lives the tail
//! is torn by hand, as power loss would.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{CLUSTER, EPOCH, Eliding, NODE, Site, config, payload};
use panchayat_consensus::ids::GroupId;
use panchayat_core::journal::recover;
use panchayat_core::snapshot::JournalPosition;
use panchayat_storage::backend::{Backend, RealFiles, UnsyncedInMemory};
use panchayat_storage::{
    AppendError, Health, Journal, JournalConfig, RecordSeq, SnapshotConfig, SnapshotStore,
    StorageError,
};

const ROLE: &str = "PANCHAYAT_KILL_TEST_ROLE";
const DIR: &str = "PANCHAYAT_KILL_TEST_DIR";
const LIFE_MS: &str = "PANCHAYAT_KILL_TEST_LIFE_MS";
const GROUPS: usize = 3;
const SITES: [Site; 4] = [Site::Batch, Site::NewSegment, Site::NewName, Site::Replayed];

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return victim(&role, Path::new(&std::env::var_os(DIR).expect("a directory")));
    }
    let tests: [(&str, fn()); 6] = [
        ("a_killed_process_loses_nothing_reported", || {
            assert_eq!(noticed("real", 6), None);
        }),
        ("a_kill_that_loses_unsynced_bytes_loses_nothing_reported", || {
            assert_eq!(noticed("unsynced", 15), None);
        }),
        ("leaving_out_a_sync_is_noticed", || {
            for site in SITES {
                let found = noticed(&format!("{site:?}"), 30);
                println!("    without the sync {site:?}: {}", found.as_deref().unwrap_or("-"));
                assert!(found.is_some(), "nobody misses the sync {site:?}");
            }
        }),
        ("a_file_size_limit_at_opening_is_a_clear_refusal", limit_at_opening),
        ("a_file_size_limit_later_refuses_appends_and_loses_nothing", limit_later),
        ("a_file_size_limit_stops_a_snapshot_and_harms_nothing", limit_in_snapshot),
    ];
    for (name, test) in tests {
        print!("test {name} ... ");
        let _ = std::io::stdout().flush();
        test();
        println!("ok");
    }
}

/// Starts and kills victims in one directory. What went wrong, if something did.
fn noticed(role: &str, lives: u64) -> Option<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut reported = [0; GROUPS];
    for life in 0..lives {
        let mut victim = start(role, dir.path(), 15 + life * 13 % 50);
        let mut lines = BufReader::new(victim.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let mut opened = false;
        while lines.read_line(&mut line).expect("a pipe") > 0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["replayed", ref counts @ ..] => {
                    for (group, count) in counts.iter().enumerate() {
                        let count: u64 = count.parse().expect("a number");
                        if count < reported[group] {
                            end(victim);
                            let due = reported[group];
                            return Some(format!("life {life}: {count} of {due} came back"));
                        }
                        reported[group] = count;
                    }
                    opened = true;
                }
                ["durable", group, count] => {
                    let group: usize = group.parse().expect("a number");
                    reported[group] = count.parse().expect("a number");
                }
                _ => {
                    end(victim);
                    return Some(format!("life {life}: {}", line.trim()));
                }
            }
            line.clear();
        }
        assert!(opened, "the victim said nothing");
        victim.wait().expect("its end");
        tear(dir.path());
    }
    assert!(reported.iter().all(|count| *count > 50), "too little happened: {reported:?}");
    None
}

fn end(mut victim: Child) {
    let _ = victim.kill();
    let _ = victim.wait();
}

fn start(role: &str, dir: &Path, life_ms: u64) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .env(ROLE, role)
        .env(DIR, dir)
        .env(LIFE_MS, life_ms.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim")
}

/// Writes the second sector of a batch behind the end of the journal, as if the power had failed
/// when its first had not been written yet.
fn tear(dir: &Path) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    files.sort();
    let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let segments: Vec<_> = files
        .iter()
        .map(|path| (number(path).expect("a number"), std::fs::read(path).expect("bytes").into()))
        .collect();
    let recovered = recover(CLUSTER, NODE, segments.iter().map(|(number, bytes)| (*number, bytes)));
    let Ok((_, recovered)) = recovered else { return };
    let Some(tail) = recovered.tail else { return };
    let torn = files.iter().find(|path| number(path) == Some(tail.segment)).expect("its file");
    let file = std::fs::OpenOptions::new().write(true).open(torn).expect("its file");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xdd; 512], tail.end_offset + 512)
        .expect("a torn write");
}

fn victim(role: &str, dir: &Path) {
    match role {
        "limit_at_opening" => return limited_at_opening(dir),
        "limit_later" => return limited_later(dir),
        "limit_in_snapshot" => return limited_in_snapshot(dir),
        _ => {}
    }
    let site = SITES.into_iter().find(|site| format!("{site:?}") == role);
    let unsynced: Arc<dyn Backend> = Eliding::new(Arc::new(UnsyncedInMemory::new()), site);
    let backend = if role == "real" { Arc::new(RealFiles) } else { unsynced };
    let mut config = config(dir, backend);
    config.journal_bytes_max = 1 << 30;
    let (journal, replay) = match Journal::open(config) {
        Ok(opened) => opened,
        Err(error) => return say(format_args!("refused: {error}")),
    };
    let mut counts = [0; GROUPS];
    for record in replay {
        let record = record.expect("it was read before");
        let count = &mut counts[record.group.0 as usize];
        if record.payload != payload(*count) {
            return say(format_args!("wrong record {count} of {:?}", record.group));
        }
        *count += 1;
    }
    say(format_args!("replayed {} {} {}", counts[0], counts[1], counts[2]));
    let life_ms = std::env::var(LIFE_MS).expect("a time").parse().expect("a number");
    std::thread::scope(|scope| {
        // SIGKILL from within is as sudden as from outside, and cannot hit another process.
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(life_ms));
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)
        });
        for (group, first) in counts.into_iter().enumerate() {
            let on_durable = Box::new(move |upto: Result<RecordSeq, _>| match upto {
                Ok(RecordSeq(upto)) => say(format_args!("durable {group} {}", first + upto)),
                Err(failed) => say(format_args!("failed: {failed}")),
            });
            let mut writer = journal.writer(GroupId(group as u32), on_durable);
            scope.spawn(move || {
                for upto in 1.. {
                    let record = payload(first + upto - 1);
                    if let Err(error) = writer.append(EPOCH, &[record], RecordSeq(upto)) {
                        return say(format_args!("refused: {error}"));
                    }
                    if upto % 3 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                }
            });
        }
    });
}

/// One line to the parent, in one write.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// Runs a victim whose writes beyond a limit are refused instead of killing it.
fn run_without_signal(role: &str, dir: &Path) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\""])
        .arg(std::env::current_exe().expect("this binary"))
        .env(ROLE, role)
        .env(DIR, dir)
        .stderr(Stdio::inherit())
        .output()
        .expect("the victim");
    assert!(output.status.success(), "{role}: {}", output.status);
    let output = String::from_utf8(output.stdout).expect("text");
    output.lines().map(str::to_owned).collect()
}

fn set_limit(bytes: u64) {
    let limit = rustix::process::Rlimit { current: Some(bytes), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).expect("a limit");
}

fn large(dir: &Path) -> JournalConfig {
    let mut config = config(dir, Arc::new(RealFiles));
    config.segment_bytes = 48 << 20;
    config.full_retry_after = Duration::from_secs(3600);
    config
}

fn limit_at_opening() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = run_without_signal("limit_at_opening", dir.path());
    assert!(said[0].starts_with("disk full"), "{said:?}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a directory").collect();
    assert_eq!(left.len(), 1, "only the lock is left: {left:?}");
}

fn limited_at_opening(dir: &Path) {
    set_limit(1 << 20);
    match Journal::open(large(dir)) {
        Ok(_) => say(format_args!("opened")),
        Err(error) => say(format_args!("{error}")),
    }
}

fn limit_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = run_without_signal("limit_later", dir.path());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("journal is full: no space"), "{said:?}");
    let durable: u64 = said[1].parse().expect("a number");
    assert!(durable > 0);
    let (_journal, replay) = Journal::open(large(dir.path())).expect("a journal");
    assert_eq!(common::count_replayed(replay, 1).expect("records"), durable);
}

/// The limit comes while the second segment is being prepared.
fn limited_later(dir: &Path) {
    let (journal, _) = Journal::open(large(dir)).expect("a journal");
    set_limit(24 << 20);
    let mut group = common::Counting::new(&journal, 1, 0);
    let error = loop {
        match group.append(1) {
            Ok(()) => drop(group.settle().expect("the segment in use has space")),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::DiskFull(_)), "{error}");
    assert!(matches!(journal.health(), Health::Full(_)));
    say(format_args!("{error}"));
    let durable = group.next;
    journal.close().expect("what was accepted is written");
    say(format_args!("{durable}"));
}

fn limit_in_snapshot() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = run_without_signal("limit_in_snapshot", dir.path());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("disk full: cannot write"), "{said:?}");
    let store = SnapshotStore::open(SnapshotConfig::new(dir.path(), CLUSTER, NODE, GroupId(1)));
    let latest = store.expect("a store").latest().expect("readable").expect("a snapshot");
    latest.verify().expect("intact");
    assert_eq!(said[1], latest.info().header.number.to_string());
}

/// A snapshot fits, the next does not; a smaller one does again.
fn limited_in_snapshot(dir: &Path) {
    let store = SnapshotStore::open(SnapshotConfig::new(dir, CLUSTER, NODE, GroupId(1)));
    let store = store.expect("a store");
    let write = |bytes: usize| {
        let mut file = store.write(EPOCH)?;
        match file.write_all(&vec![7; bytes]) {
            Ok(()) => file.finish(JournalPosition::START),
            Err(error) => Err(file.abandon(error)),
        }
    };
    write(1 << 20).expect("there is space");
    set_limit(2 << 20);
    let error = write(4 << 20).expect_err("there is no space");
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    say(format_args!("{error}"));
    let own = dir.join("snapshots/1");
    assert_eq!(std::fs::read_dir(own).expect("a directory").count(), 2, "nothing is left over");
    say(format_args!("{}", write(1 << 20).expect("there is space again").header.number));
}
