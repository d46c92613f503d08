//! What is particular to Fast Paxos in a local cluster: without a fast quorum commands go by way of the
//! coordinator, the status says why, and fast rounds come back by themselves.

mod common;

use std::time::{Duration, Instant};

use common::{BANGALORE, DELHI, MUMBAI, caught_up, eventually, put, put_many, read, start};
use panchayat::kv::KvStore;
use panchayat::{Durability, FastPaxosChoice, LocalCluster, ProtocolChoice, ReplicaId};

/// How a replica says that it stands.
async fn status(cluster: &LocalCluster<KvStore>, at: ReplicaId) -> String {
    let metrics = cluster.replicas()[at.index()].metrics().await.expect("it runs");
    metrics.core.status.expect("Fast Paxos says how it stands")
}

async fn stand(cluster: &LocalCluster<KvStore>, seats: &[ReplicaId], words: &str) {
    for seat in seats {
        let stands = async || status(cluster, *seat).await.starts_with(words);
        eventually(&format!("{seat} says: {words}"), stands).await;
    }
}

async fn counter(cluster: &LocalCluster<KvStore>, at: ReplicaId, name: &str) -> u64 {
    cluster.replicas()[at.index()].metrics().await.expect("it runs").core.counter(name)
}

/// The one lost is not the coordinator, and then it is: another takes over.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_down_is_slow_says_why_and_is_fast_again_when_it_is_back() {
    let everyone = [MUMBAI, DELHI, BANGALORE];
    for lost in [BANGALORE, MUMBAI] {
        let dir = tempfile::tempdir().unwrap();
        let protocol = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
        let mut cluster = start(dir.path(), &protocol, Durability::Os).await;
        put_many(&cluster, &everyone, 0, 30).await;
        stand(&cluster, &everyone, "fast rounds").await;

        cluster.kill(lost);
        let began = Instant::now();
        let left: Vec<_> = everyone.into_iter().filter(|seat| *seat != lost).collect();
        put(&cluster, DELHI, "while".into(), "one is down".into()).await;
        println!("without {lost} served again after {:?}", began.elapsed());
        let why = "classic rounds, by way of the coordinator: 2 replicas answer and a fast round \
                   needs 3";
        stand(&cluster, &left, why).await;
        let before = counter(&cluster, DELHI, "chosen_fast").await;
        put_many(&cluster, &left, 1, 30).await;
        assert_eq!(counter(&cluster, DELHI, "chosen_fast").await, before, "in classic rounds");

        cluster.restart(lost, KvStore::default()).await.unwrap();
        stand(&cluster, &everyone, "fast rounds").await;
        let before = counter(&cluster, DELHI, "chosen_fast").await;
        let again = async || {
            put(&cluster, lost, "again".into(), "fast".into()).await;
            counter(&cluster, DELHI, "chosen_fast").await > before
        };
        eventually("a fast round decides something", again).await;
        assert_eq!(read(&cluster, lost, "while").await.as_deref(), Some("one is down"));
        caught_up(&cluster).await;
        assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
    }
}
