//! A replica that missed more than the others keep takes over a state, over real QUIC.

mod common;

use std::time::{Duration, Instant};

use common::{
    BANGALORE, DELHI, MUMBAI, caught_up, eventually, put, put_many, read, start_with,
    under_every_protocol,
};
use panchayat::kv::KvStore;
use panchayat::{Durability, LocalCluster, ProposeError, ProtocolChoice};

under_every_protocol! {
    a_replica_left_behind_becomes_current_with_its_old_disk,
    a_transfer_goes_on_when_the_peer_dies_in_its_middle,
    a_replica_cut_off_for_long_takes_over_a_state_while_it_runs_even_in_memory,
}

/// Whether the first replica has counted a member as absent. Multi-Paxos knows nothing like it: it
/// keeps so many slots and no more.
async fn counts_absent(cluster: &LocalCluster<KvStore>, protocol: &ProtocolChoice) -> bool {
    let metrics = cluster.replicas()[0].metrics().await.unwrap();
    *protocol != ProtocolChoice::EPaxos || metrics.core.counter("marked_absent") > 0
}

/// Writes at two replicas until they have collected what the third does not have.
async fn leave_behind(cluster: &LocalCluster<KvStore>, protocol: &ProtocolChoice) {
    let collected = async || {
        let metrics = cluster.replicas()[0].metrics().await.unwrap();
        metrics.core.counter("collected")
    };
    let before = collected().await;
    for round in 0.. {
        assert!(round < 400, "nobody was left behind");
        put_many(cluster, &[MUMBAI, DELHI], round, 64).await;
        if counts_absent(cluster, protocol).await && collected().await > before + 500 {
            return;
        }
    }
}

async fn taken_over(cluster: &LocalCluster<KvStore>, seat: usize) -> u64 {
    let snapshots = cluster.replicas()[seat].metrics().await.unwrap().core.snapshots;
    snapshots.states_taken_over
}

/// Waits until no link to `seat` is left. As long as a connection outlives a cut it delivers, once
/// healed, everything it was given before and meanwhile, and nobody has missed anything.
async fn without_links(cluster: &LocalCluster<KvStore>, seat: usize) {
    let unlinked = async || {
        let mut unlinked = true;
        for (own, replica) in cluster.replicas().iter().enumerate() {
            let peers = replica.metrics().await.unwrap().mesh.peers;
            let links = peers.values().filter(|peer| peer.up).count();
            unlinked &= links == if own == seat { 0 } else { peers.len() - 1 };
        }
        unlinked
    };
    eventually("the links are given up", unlinked).await;
}

async fn a_replica_left_behind_becomes_current_with_its_old_disk(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster =
        start_with(dir.path(), &protocol, |config| config.durability = Durability::Os).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 64).await;
    cluster.kill(BANGALORE);
    leave_behind(&cluster, &protocol).await;
    put(&cluster, MUMBAI, "while".into(), "away".into()).await;

    let began = Instant::now();
    cluster.restart(BANGALORE, KvStore::default()).await.unwrap();
    let over = async || taken_over(&cluster, 2).await > 0;
    eventually("a state was taken over", over).await;
    assert_eq!(read(&cluster, BANGALORE, "while").await.as_deref(), Some("away"));
    println!("current after {:?}", began.elapsed());
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 1, 64).await;
    caught_up(&cluster).await;
    let given: u64 = {
        let mut given = 0;
        for seat in 0..2 {
            let metrics = cluster.replicas()[seat].metrics().await.unwrap();
            given += metrics.core.snapshots.states_given;
        }
        given
    };
    assert!(given > 0, "somebody gave it");

    // What was taken over is durable here: it comes back without another transfer.
    cluster.kill(BANGALORE);
    cluster.restart(BANGALORE, KvStore::default()).await.unwrap();
    assert_eq!(read(&cluster, BANGALORE, "while").await.as_deref(), Some("away"));
    assert_eq!(taken_over(&cluster, 2).await, 0);
    caught_up(&cluster).await;
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

async fn a_transfer_goes_on_when_the_peer_dies_in_its_middle(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Os;
        // A state of some megabytes takes seconds.
        config.limits.state_bytes_per_second = 1 << 20;
        config.limits.snapshot_journal_bytes = 1 << 20;
    })
    .await;
    for key in 0..80 {
        put(&cluster, MUMBAI, format!("large-{key}"), "z".repeat(48 << 10)).await;
    }
    cluster.kill(BANGALORE);
    leave_behind(&cluster, &protocol).await;
    cluster.restart(BANGALORE, KvStore::default()).await.unwrap();
    let moving = async || {
        let fetched = cluster.replicas()[2].metrics().await.unwrap().mesh.fetched();
        fetched.bytes > 300 << 10
    };
    eventually("a transfer is under way", moving).await;
    // Refused with a clear word meanwhile.
    let refused = common::try_put(&cluster, BANGALORE, "never".into(), "applied".into()).await;
    match refused {
        Some(Err(error @ ProposeError::NotApplied(_))) => {
            assert!(error.to_string().contains("takes over a peer's state"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Whoever it is: one of the two serves, and the other is asked then.
    let serving = {
        let metrics = cluster.replicas()[0].metrics().await.unwrap();
        if metrics.core.snapshots.states_given > 0 { MUMBAI } else { DELHI }
    };
    cluster.kill(serving);
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.restart(serving, KvStore::default()).await.unwrap();
    let over = async || taken_over(&cluster, 2).await > 0;
    eventually("a state was taken over", over).await;
    assert!(read(&cluster, BANGALORE, "never").await.is_none());
    caught_up(&cluster).await;
    let metrics = cluster.replicas()[2].metrics().await.unwrap();
    assert!(metrics.core.snapshots.states_failed > 0);
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

async fn a_replica_cut_off_for_long_takes_over_a_state_while_it_runs_even_in_memory(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let cluster =
        start_with(dir.path(), &protocol, |config| config.durability = Durability::Memory).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 64).await;
    for peer in [MUMBAI, DELHI] {
        cluster.cut(BANGALORE, peer);
        cluster.cut(peer, BANGALORE);
    }
    without_links(&cluster, 2).await;
    leave_behind(&cluster, &protocol).await;
    put(&cluster, DELHI, "while".into(), "cut off".into()).await;
    for peer in [MUMBAI, DELHI] {
        cluster.heal(BANGALORE, peer);
        cluster.heal(peer, BANGALORE);
    }
    let over = async || taken_over(&cluster, 2).await > 0;
    eventually("a state was taken over", over).await;
    assert_eq!(read(&cluster, BANGALORE, "while").await.as_deref(), Some("cut off"));
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}
