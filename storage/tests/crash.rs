//! Power fails at every call that changes the disk; then again while the next process recovers.
//!
//! What was reported durable, or was replayed once, must be replayed for ever after; and leaving
//! out any one sync must be noticed by these very tests.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Counting, Eliding, Site, config, count_replayed, reopen};
use panchayat_storage::backend::{FaultyCall, MemoryDisk, PowerLoss};
use panchayat_storage::{Durability, Journal, JournalConfig, StorageError};

const DIR: &str = "/data";

/// What a process was promised before its power failed.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// Records reported durable, or replayed.
    durable: u64,
    /// Records handed over, of which any number may survive.
    appended: u64,
}

/// What the checks found wrong.
#[derive(Debug, Default)]
struct Findings {
    lives: u64,
    cuts: u64,
    lost: Vec<String>,
}

fn losses(seed: u64) -> impl Iterator<Item = PowerLoss> {
    let shuffled = (0..4).map(move |n| PowerLoss::Shuffled(seed * 31 + n));
    [PowerLoss::Nothing, PowerLoss::AllUnsynced].into_iter().chain(shuffled)
}

fn settings(disk: &MemoryDisk, site: Option<Site>) -> (Arc<Eliding>, JournalConfig) {
    let eliding = Eliding::new(Arc::new(disk.clone()), site);
    let mut config = config(DIR, Arc::clone(&eliding) as _);
    // So that a life crosses many, and removes several at once.
    config.segment_bytes = 8 << 10;
    (eliding, config)
}

/// One process: recovers, appends over some segments, removes old ones that it has passed, and
/// does not close. It ends when the power fails, or when it is through.
fn live(config: &JournalConfig, promised: &mut Promised, rounds: u64) -> Result<(), StorageError> {
    let (journal, replay) = Journal::open(config.clone())?;
    let oldest = replay.first_segment();
    let cut_front = oldest.is_some_and(|first| first > 1);
    let replayed = replay.collect::<Result<Vec<_>, _>>()?;
    // With old segments removed the count goes on from the first number found.
    let count = match replayed.last() {
        Some(last) => u64::from_le_bytes(last.payload[..8].try_into().unwrap()) + 1,
        None => 0,
    };
    if !cut_front {
        count_replayed(replayed.into_iter().map(Ok), 1)?;
    }
    *promised = Promised { durable: count.max(promised.durable), appended: count };
    let mut group = Counting::new(&journal, 1, count);
    for round in 0..rounds {
        if group.append(round % 4 + 1).is_err() {
            break;
        }
        promised.appended = group.next;
        match group.settle() {
            Ok(durable) => promised.durable = durable,
            Err(_) => break,
        }
        let segments = journal.segments();
        if segments.len() > 5 && journal.truncate_below(segments[3].number).is_err() {
            break;
        }
    }
    // A killed process closes nothing. Its threads end here, without the disk: the power is off
    // by then, or the disk is copied first.
    drop(journal);
    Ok(())
}

/// Opens what is left and compares it with what was promised.
fn check(disk: &MemoryDisk, promised: Promised, what: &str, findings: &mut Findings) {
    findings.lives += 1;
    let config = config(DIR, Arc::new(disk.clone()));
    let opened = Journal::open(config).and_then(|(_journal, replay)| {
        findings.cuts += u64::from(replay.cut().is_some());
        let mut last = None;
        for record in replay {
            let number = u64::from_le_bytes(record?.payload[..8].try_into().unwrap());
            assert!(last.is_none_or(|last| number == last + 1), "a hole before {number}");
            last = Some(number);
        }
        Ok(last.map_or(0, |last| last + 1))
    });
    match opened {
        Ok(count) if count >= promised.durable => {
            assert!(count <= promised.appended, "{what}: {count} of {promised:?} came back");
        }
        Ok(count) => findings.lost.push(format!("{what}: only {count} of {promised:?}")),
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
        let _ = live(&config, &mut promised, 60);
        elided += eliding.count();
        for loss in losses(call) {
            check(&disk.restart(loss), promised, &format!("{call} {loss:?}"), &mut findings);
            // The successor gets a few calls further, and then loses power as well.
            let second = disk.restart(loss);
            second.fail_power_at(call * 7 % 60);
            let (eliding, config) = settings(&second, site);
            let mut both = promised;
            if let Err(error) = live(&config, &mut both, 10)
                && matches!(error, StorageError::Refused { .. })
            {
                findings.lost.push(format!("{call} {loss:?}: {error}"));
            }
            both.appended = both.appended.max(promised.appended);
            elided += eliding.count();
            for again in losses(call + 1).take(4) {
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

#[test]
fn nothing_promised_is_lost_whenever_the_power_fails() {
    let (findings, _) = explore(None, false);
    assert!(findings.lost.is_empty(), "{:#?}", findings.lost);
    assert!(findings.lives > 2000, "{findings:?}");
    assert!(findings.cuts > 20, "torn tails must occur: {findings:?}");
}

#[test]
fn leaving_out_any_one_sync_is_noticed() {
    for site in [
        Site::Batch,
        Site::NewSegment,
        Site::NewName,
        Site::Replayed,
        Site::Removal,
        Site::NewDirectory,
    ] {
        let (findings, elided) = explore(Some(site), true);
        assert!(elided > 0, "{site:?} was never synced");
        assert!(!findings.lost.is_empty(), "nobody misses the sync {site:?}");
    }
}

/// The witness of the opening is for damage at rest: without it, a record that was replayed could
/// be taken for a torn write later.
#[test]
fn replayed_data_has_a_witness_that_survives_power_loss() {
    let damaged_after_opening = |site| {
        let disk = MemoryDisk::new();
        let (journal, _) = reopen(&settings(&disk, None).1).unwrap();
        let mut group = Counting::new(&journal, 1, 0);
        group.append(1).unwrap();
        group.settle().unwrap();
        let disk = disk.restart(PowerLoss::AllUnsynced);
        drop(reopen(&settings(&disk, site).1).unwrap().0);
        let disk = disk.restart(PowerLoss::AllUnsynced);
        let first = format!("{DIR}/000000000001.journal");
        disk.damage(first.as_ref(), |bytes| bytes[1024 + 55] ^= 1);
        reopen(&settings(&disk, None).1).map(|(_, count)| count)
    };
    assert!(matches!(damaged_after_opening(None), Err(StorageError::Refused { .. })));
    assert_eq!(damaged_after_opening(Some(Site::OpeningMarker)).unwrap(), 0, "cut in silence");
}

#[test]
fn after_a_failed_sync_the_successor_writes_again_what_it_replays() {
    let disk = MemoryDisk::new();
    let mut promised = Promised::default();
    let config = config(DIR, Arc::new(disk.clone()));
    let (journal, _) = reopen(&config).unwrap();
    while !journal.stats().next_segment_ready {
        std::thread::yield_now();
    }
    let mut group = Counting::new(&journal, 1, 0);
    disk.fail(FaultyCall::Sync, 0, 5);
    group.append(3).unwrap();
    group.settle().unwrap_err();
    drop(journal);
    // The bytes are still in the cache, and no sync will ever bring them to the disk.
    let cached = disk.restart(PowerLoss::Nothing);
    let config = common::config(DIR, Arc::new(cached.clone()));
    let (journal, count) = reopen(&config).unwrap();
    assert_eq!(count, 3);
    promised.durable = 3;
    promised.appended = 3;
    drop(journal);
    let mut findings = Findings::default();
    check(&cached.restart(PowerLoss::AllUnsynced), promised, "replayed", &mut findings);
    assert!(findings.lost.is_empty(), "{findings:?}");
}

#[test]
fn without_syncs_power_loss_leaves_a_prefix_and_process_death_everything() {
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let (_, mut config) = settings(&disk, None);
        config.durability = Durability::Os;
        let (journal, _) = reopen(&config).unwrap();
        let mut group = Counting::new(&journal, 1, 0);
        for round in 0..seed + 10 {
            group.append(round % 5).unwrap();
        }
        let appended = group.settle().unwrap();
        let killed = disk.restart(PowerLoss::Nothing);
        let unplugged = disk.restart(PowerLoss::Shuffled(seed));
        drop(journal);
        let fsync = |disk: &MemoryDisk| settings(disk, None).1;
        assert_eq!(reopen(&fsync(&killed)).unwrap().1, appended, "seed {seed}");
        let (journal, left) = reopen(&fsync(&unplugged)).unwrap();
        assert!(left <= appended);
        // What was replayed, and what follows it, is now as safe as any.
        let mut group = Counting::new(&journal, 1, left);
        group.append(4).unwrap();
        group.settle().unwrap();
        drop(journal);
        for loss in losses(seed) {
            assert_eq!(reopen(&fsync(&unplugged.restart(loss))).unwrap().1, left + 4);
            assert!(reopen(&fsync(&killed.restart(loss))).unwrap().1 == appended);
        }
    }
}

/// The newest segment may be all that is left when it does not hold a durable batch yet. Whatever
/// fails then, the journal must go on saying that older segments were removed.
#[test]
fn a_journal_truncated_to_a_segment_without_batches_never_looks_new() {
    let disk = MemoryDisk::new();
    let (_, config) = settings(&disk, None);
    let (journal, _) = reopen(&config).unwrap();
    let mut group = Counting::new(&journal, 1, 0);
    disk.set_sync_delay(Duration::from_millis(20));
    while journal.segments().len() < 2 {
        group.append(1).unwrap();
    }
    // The first batch of the second segment is being synced.
    journal.truncate_below(2).unwrap();
    let crashed: Vec<_> = losses(7).map(|loss| disk.restart(loss)).collect();
    disk.set_sync_delay(Duration::ZERO);
    drop(journal);
    for crashed in crashed {
        for call in 0.. {
            let disk = crashed.restart(PowerLoss::Nothing);
            disk.fail_power_at(call);
            let first = Journal::open(settings(&disk, None).1).map(|(_, replay)| replay);
            if let Ok(replay) = &first {
                assert_eq!(replay.first_segment(), Some(2), "power failed at call {call}");
            }
            for loss in losses(call) {
                let (_, mut config) = settings(&disk.restart(loss), None);
                config.must_exist = true;
                let (_journal, replay) = Journal::open(config).unwrap();
                assert_eq!(replay.first_segment(), Some(2), "power failed at call {call}");
            }
            if first.is_ok() && disk.calls() < call {
                break;
            }
        }
    }
}
