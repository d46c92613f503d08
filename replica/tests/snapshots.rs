//! Snapshots on real files, over real QUIC: the journal is cut below them, a replica starts from
//! them, a damaged one is refused, a full disk is survived, and what is lost is noticed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{
    BANGALORE, DELHI, MUMBAI, caught_up, eventually, put, put_many, read, start, start_with,
    under_every_protocol,
};
use panchayat::backend::{FaultyCall, MemoryDisk};
use panchayat::kv::KvStore;
use panchayat::{Durability, LocalCluster, LocalError, ProtocolChoice, StartError, Stopped};

under_every_protocol! {
    the_journal_is_cut_below_snapshots_and_a_replica_starts_from_one,
    what_is_damaged_or_lost_is_refused_with_a_clear_word,
    a_lost_journal_is_noticed_at_the_next_start_of_the_whole_cluster,
    a_full_disk_puts_off_snapshots_and_proposals_and_harms_nothing,
    a_new_cluster_begins_with_a_backup_and_no_old_one_takes_it,
    a_snapshot_whose_name_is_uncertain_stops_its_replica_and_no_other,
}

/// The files in `dir` whose names end so.
fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|p| p.to_string_lossy().ends_with(suffix)).collect();
    files.sort();
    files
}

fn snapshot_file(dir: &Path, site: &str) -> PathBuf {
    let all = files(&dir.join(site).join("snapshots/1"), ".snapshot");
    all.last().expect("a snapshot").clone()
}

async fn taken(cluster: &LocalCluster<KvStore>, seat: usize) -> u64 {
    cluster.replicas()[seat].metrics().await.unwrap().core.snapshots.taken
}

/// Writes until every replica has taken so many snapshots.
async fn write_until_taken(cluster: &LocalCluster<KvStore>, more: u64) {
    let mut due = Vec::new();
    for seat in 0..3 {
        due.push(taken(cluster, seat).await + more);
    }
    for round in 0.. {
        assert!(round < 400, "no snapshots in {round} rounds");
        put_many(cluster, &[MUMBAI, DELHI, BANGALORE], round, 64).await;
        let mut all = true;
        for (seat, due) in due.iter().enumerate() {
            all &= taken(cluster, seat).await >= *due;
        }
        if all {
            return;
        }
    }
}

/// Writes until the first file of a replica's journal has gone.
async fn write_until_cut(cluster: &LocalCluster<KvStore>, dir: &Path, site: &str) {
    for round in 0.. {
        let segments = files(&dir.join(site), ".journal");
        if segments[0].file_stem().unwrap() != "000000000001" {
            return;
        }
        assert!(round < 1_000, "nothing was cut: {segments:?}");
        put_many(cluster, &[MUMBAI, DELHI, BANGALORE], round, 96).await;
    }
}

async fn the_journal_is_cut_below_snapshots_and_a_replica_starts_from_one(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), &protocol, Durability::Os).await;
    write_until_cut(&cluster, dir.path(), "delhi").await;
    write_until_taken(&cluster, 1).await;
    let metrics = cluster.replicas()[1].metrics().await.unwrap();
    assert!(metrics.core.counter("collected") > 0);
    assert!(metrics.journal_file_bytes <= 5 << 20, "{}", metrics.journal_file_bytes);
    assert_eq!(files(&dir.path().join("delhi/snapshots/1"), ".snapshot").len(), 1);

    put(&cluster, MUMBAI, "last".into(), "before".into()).await;
    let executed = cluster.replicas()[0].metrics().await.unwrap().core.executed;
    for seat in [DELHI, BANGALORE, MUMBAI] {
        cluster.kill(seat);
        cluster.restart(seat, KvStore::default()).await.unwrap();
    }
    assert_eq!(read(&cluster, DELHI, "last").await.as_deref(), Some("before"));
    caught_up(&cluster).await;
    let now = cluster.replicas()[1].metrics().await.unwrap().core.executed;
    assert!(now > executed, "what was executed counts on: {now} after {executed}");
    // And again, on top of what was restored.
    write_until_taken(&cluster, 2).await;
    caught_up(&cluster).await;
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());

    let cluster = start(dir.path(), &protocol, Durability::Os).await;
    assert_eq!(read(&cluster, BANGALORE, "last").await.as_deref(), Some("before"));
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

async fn what_is_damaged_or_lost_is_refused_with_a_clear_word(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), &protocol, Durability::Os).await;
    write_until_cut(&cluster, dir.path(), "delhi").await;
    for seat in [MUMBAI, DELHI, BANGALORE] {
        cluster.kill(seat);
    }
    // The killed ones give back their files.
    let refused = |error: LocalError| match error {
        LocalError::Start { name, source } => (name, source),
        other => panic!("{other}"),
    };

    // A byte in the middle.
    let file = snapshot_file_when_free(&mut cluster, dir.path()).await;
    let intact = fs::read(&file).unwrap();
    let mut damaged = intact.clone();
    damaged[300] ^= 1;
    fs::write(&file, &damaged).unwrap();
    let error = cluster.restart(DELHI, KvStore::default()).await.unwrap_err();
    let (_, source) = refused(error);
    assert!(matches!(*source, StartError::Snapshot(_)), "{source}");
    let text = source.to_string();
    assert!(text.contains(&*file.to_string_lossy()) && text.contains("new node id"), "{text}");

    // A newer format, an end that is missing, another node's.
    let mut newer = intact.clone();
    newer[8] = 9;
    fs::write(&file, &newer).unwrap();
    let (_, source) = refused(cluster.restart(DELHI, KvStore::default()).await.unwrap_err());
    assert!(source.to_string().contains("start the newer program"), "{source}");
    fs::write(&file, &intact[..intact.len() - 1]).unwrap();
    let (_, source) = refused(cluster.restart(DELHI, KvStore::default()).await.unwrap_err());
    assert!(matches!(*source, StartError::Storage(_)), "{source}");
    let others = fs::read(snapshot_file(dir.path(), "bangalore")).unwrap();
    fs::write(&file, &others).unwrap();
    let (_, source) = refused(cluster.restart(DELHI, KvStore::default()).await.unwrap_err());
    assert!(matches!(*source, StartError::Storage(_)), "{source}");

    // Gone: the journal does not reach back to the beginning.
    fs::remove_file(&file).unwrap();
    let (_, source) = refused(cluster.restart(DELHI, KvStore::default()).await.unwrap_err());
    assert!(source.to_string().contains("records of group 1 are missing"), "{source}");

    // There again, and all is well.
    fs::write(&file, &intact).unwrap();
    cluster.restart(DELHI, KvStore::default()).await.unwrap();
    cluster.restart(MUMBAI, KvStore::default()).await.unwrap();
    cluster.restart(BANGALORE, KvStore::default()).await.unwrap();
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}

/// Delhi's snapshot, after a killed Delhi has let go of its directory: a restart waits for that.
async fn snapshot_file_when_free(cluster: &mut LocalCluster<KvStore>, dir: &Path) -> PathBuf {
    cluster.restart(DELHI, KvStore::default()).await.unwrap();
    cluster.kill(DELHI);
    // The next restart waits for the end of the killed one, so let one fail at a file in the way.
    let marker = dir.join("delhi/replica");
    let intact = fs::read(&marker).unwrap();
    fs::write(&marker, b"panchayat replica, format 7\n").unwrap();
    let error = cluster.restart(DELHI, KvStore::default()).await.unwrap_err();
    assert!(error.to_string().contains("is of format 7"), "{error}");
    fs::write(&marker, intact).unwrap();
    snapshot_file(dir, "delhi")
}

async fn a_lost_journal_is_noticed_at_the_next_start_of_the_whole_cluster(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Os).await;
    put(&cluster, MUMBAI, "k".into(), "v".into()).await;
    cluster.shutdown(Duration::from_secs(10)).await;

    // Only the journal, without a snapshot.
    let delhi = dir.path().join("delhi");
    for segment in files(&delhi, ".journal") {
        fs::remove_file(segment).unwrap();
    }
    let error =
        common::try_start(dir.path(), &protocol, Durability::Os).await.unwrap_err().to_string();
    assert!(error.contains("delhi") && error.contains("new node id"), "{error}");
    // All of it, note and all.
    fs::remove_dir_all(&delhi).unwrap();
    let error =
        common::try_start(dir.path(), &protocol, Durability::Os).await.unwrap_err().to_string();
    assert!(error.contains("delhi") && error.contains("new node id"), "{error}");
}

async fn a_full_disk_puts_off_snapshots_and_proposals_and_harms_nothing(protocol: ProtocolChoice) {
    let (dir, disk) = (tempfile::tempdir().unwrap(), MemoryDisk::default());
    let mut cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Fsync;
        config.backend = Some(Arc::new(disk.clone()));
    })
    .await;
    write_until_taken(&cluster, 1).await;
    // Room for nothing.
    disk.set_capacity(Some(0));
    let mut refused = 0;
    for i in 0..3_000 {
        let value = "y".repeat(400);
        match common::try_put(&cluster, MUMBAI, format!("full-{i}"), value).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                assert!(error.is_certain(), "{error}");
                refused += 1;
                if refused > 3 {
                    break;
                }
            }
            None => break,
        }
    }
    let delayed = async || {
        let metrics = cluster.replicas()[0].metrics().await.unwrap();
        metrics.core.snapshots.delayed > 0
    };
    eventually("a snapshot found no room", delayed).await;
    assert!(cluster.replicas().iter().all(|replica| replica.stopped().is_none()));

    disk.set_capacity(None);
    put(&cluster, MUMBAI, "after".into(), "room".into()).await;
    write_until_taken(&cluster, 2).await;
    assert_eq!(read(&cluster, DELHI, "after").await.as_deref(), Some("room"));
    for seat in [MUMBAI, DELHI, BANGALORE] {
        cluster.kill(seat);
        cluster.restart(seat, KvStore::default()).await.unwrap();
    }
    assert_eq!(read(&cluster, BANGALORE, "after").await.as_deref(), Some("room"));
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}

async fn a_new_cluster_begins_with_a_backup_and_no_old_one_takes_it(protocol: ProtocolChoice) {
    let (old, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cluster = start(old.path(), &protocol, Durability::Os).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 64).await;
    put(&cluster, DELHI, "saved".into(), "here".into()).await;
    caught_up(&cluster).await;
    let hash = cluster.replicas()[0].metrics().await.unwrap().core.state_hash;
    let file = other.path().join("backup");
    let backup = cluster.replicas()[0].back_up(&file).await.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), backup.bytes);
    assert!(cluster.replicas()[0].back_up(&file).await.is_err(), "it is there already");
    put(&cluster, DELHI, "saved".into(), "later".into()).await;
    cluster.shutdown(Duration::from_secs(10)).await;

    // Not over an old one, not damaged, not another set's.
    let config = |dir: &Path| common::config(dir, &protocol);
    let refused = LocalCluster::<KvStore>::restore_backup(&config(old.path()), &file).unwrap_err();
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    let new = other.path().join("new");
    let mut bytes = fs::read(&file).unwrap();
    bytes[500] ^= 4;
    let damaged = other.path().join("damaged");
    fs::write(&damaged, &bytes).unwrap();
    let refused = LocalCluster::<KvStore>::restore_backup(&config(&new), &damaged).unwrap_err();
    assert!(refused.to_string().contains("offset"), "{refused}");
    let mut asia = config(&new);
    asia.set = "asia-europe5".to_owned();
    let refused = LocalCluster::<KvStore>::restore_backup(&asia, &file).unwrap_err();
    assert!(refused.to_string().contains("belongs to cluster"), "{refused}");
    assert!(!new.exists());

    LocalCluster::<KvStore>::restore_backup(&config(&new), &file).unwrap();
    let mut cluster = start(&new, &protocol, Durability::Os).await;
    for seat in 0..3 {
        let metrics = cluster.replicas()[seat].metrics().await.unwrap();
        assert_eq!(metrics.core.state_hash, hash);
    }
    assert_eq!(read(&cluster, BANGALORE, "saved").await.as_deref(), Some("here"));
    put(&cluster, MUMBAI, "saved".into(), "anew".into()).await;
    // Before it has a snapshot of its own, and after.
    for _ in 0..2 {
        for seat in [MUMBAI, DELHI, BANGALORE] {
            cluster.kill(seat);
            cluster.restart(seat, KvStore::default()).await.unwrap();
        }
        assert_eq!(read(&cluster, DELHI, "saved").await.as_deref(), Some("anew"));
        write_until_taken(&cluster, 1).await;
    }
    caught_up(&cluster).await;
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

async fn a_snapshot_whose_name_is_uncertain_stops_its_replica_and_no_other(
    protocol: ProtocolChoice,
) {
    let (dir, disk) = (tempfile::tempdir().unwrap(), MemoryDisk::default());
    let cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Fsync;
        config.backend = Some(Arc::new(disk.clone()));
        // Long before the journal needs another segment.
        config.limits.snapshot_journal_bytes = 16 << 10;
    })
    .await;
    disk.fail(FaultyCall::Rename, 0, 5);
    let mut victim = None;
    for round in 0..400 {
        for (seat, replica) in cluster.replicas().iter().enumerate() {
            if let Some(why) = replica.stopped() {
                victim = Some((seat, why));
            }
        }
        if victim.is_some() {
            break;
        }
        let key = format!("k-{}", round % 20);
        let at = [MUMBAI, DELHI, BANGALORE][round % 3];
        common::try_put(&cluster, at, key, "w".repeat(200)).await;
    }
    let (seat, why) = victim.expect("a replica that stopped");
    assert!(matches!(why, Stopped::Snapshots(_)), "{why}");
    assert!(why.to_string().contains("cannot rename"), "{why}");
    let others: Vec<_> =
        [MUMBAI, DELHI, BANGALORE].into_iter().filter(|r| r.index() != seat).collect();
    put_many(&cluster, &others, 0, 64).await;
    assert!(others.iter().all(|r| cluster.replicas()[r.index()].stopped().is_none()));
    assert_eq!(cluster.shutdown(Duration::from_secs(10)).await.len(), 1);
}
