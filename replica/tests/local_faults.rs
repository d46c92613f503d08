//! Replicas of a local cluster are killed and come back, links fail, and commands go on.

mod common;

use std::time::Duration;

use common::{BANGALORE, DELHI, MUMBAI, under_every_protocol};

use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{
    Durability, LocalCluster, LocalConfig, LocalError, ProtocolChoice, ReplicaId, Topology,
};

under_every_protocol! {
    a_killed_replica_comes_back_at_its_address_with_what_it_missed,
    cuts_and_delays_take_hold_and_are_taken_back,
    only_the_dead_come_back_and_only_with_their_journal,
}

async fn start(
    dir: &std::path::Path,
    protocol: &ProtocolChoice,
    durability: Durability,
) -> LocalCluster<KvStore> {
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir);
    config.profile = Some("ideal".to_owned());
    config.protocol = protocol.clone();
    config.durability = durability;
    LocalCluster::start(config, |_| KvStore::default()).await.unwrap()
}

async fn run(cluster: &LocalCluster<KvStore>, at: ReplicaId, op: KvOp) -> KvOutput {
    let replica = &cluster.replicas()[at.index()];
    let command = KvCommand::One(op);
    let answer = tokio::time::timeout(Duration::from_secs(30), replica.propose(&command)).await;
    answer.expect("an answer in time").unwrap()
}

fn put(value: &str) -> KvOp {
    KvOp::Put { key: "city".into(), value: value.to_owned().into() }
}

async fn read(cluster: &LocalCluster<KvStore>, at: ReplicaId) -> String {
    let output = run(cluster, at, KvOp::Get { key: "city".into() }).await;
    let KvOutput::Value(Some(value)) = output else { panic!("{output:?}") };
    String::from_utf8(value.to_vec()).unwrap()
}

async fn a_killed_replica_comes_back_at_its_address_with_what_it_missed(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), &protocol, Durability::Os).await;
    run(&cluster, DELHI, put("first")).await;
    let addr = cluster.replicas()[1].mesh().local_addr();
    for round in ["second", "third"] {
        cluster.kill(DELHI);
        cluster.kill(DELHI);
        assert!(cluster.is_killed(DELHI) && !cluster.is_killed(MUMBAI));
        let refused = cluster.replicas()[1].propose(&KvCommand::One(put("never"))).await;
        assert!(refused.is_err(), "{refused:?}");
        run(&cluster, MUMBAI, put(round)).await;

        cluster.restart(DELHI, KvStore::default()).await.unwrap();
        assert!(!cluster.is_killed(DELHI));
        assert_eq!(cluster.replicas()[1].mesh().local_addr(), addr);
        assert_eq!(read(&cluster, DELHI).await, round);
    }
    assert!(cluster.shutdown(Duration::from_secs(5)).await.is_empty());
}

async fn cuts_and_delays_take_hold_and_are_taken_back(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    // Mumbai hears nobody, though it is heard.
    cluster.cut(DELHI, MUMBAI);
    cluster.cut(BANGALORE, MUMBAI);
    let blocked = cluster.replicas()[0].clone();
    let blocked = tokio::spawn(async move { blocked.propose(&KvCommand::One(put("late"))).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!blocked.is_finished());
    cluster.heal(DELHI, MUMBAI);
    cluster.heal(BANGALORE, MUMBAI);
    let late = tokio::time::timeout(Duration::from_secs(30), blocked).await;
    assert_eq!(late.expect("healed").unwrap(), Ok(KvOutput::Done));

    let by = Duration::from_millis(150);
    for peer in [MUMBAI, DELHI] {
        cluster.slow(BANGALORE, peer, by);
        cluster.slow(peer, BANGALORE, by);
    }
    let began = std::time::Instant::now();
    run(&cluster, BANGALORE, put("slow")).await;
    assert!(began.elapsed() >= 2 * by, "{:?}", began.elapsed());
    for peer in [MUMBAI, DELHI] {
        cluster.unslow(BANGALORE, peer, by);
        cluster.unslow(peer, BANGALORE, by);
    }
    assert_eq!(read(&cluster, MUMBAI).await, "slow");
    cluster.shutdown(Duration::from_secs(5)).await;
}

async fn only_the_dead_come_back_and_only_with_their_journal(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), &protocol, Durability::Memory).await;
    let running = cluster.restart(DELHI, KvStore::default()).await;
    assert!(matches!(running, Err(LocalError::Running { name }) if name == "delhi"));
    cluster.kill(DELHI);
    let nothing = cluster.restart(DELHI, KvStore::default()).await;
    assert!(matches!(nothing, Err(LocalError::NothingKept { name }) if name == "delhi"));
    assert!(cluster.is_killed(DELHI));
    cluster.shutdown(Duration::from_secs(5)).await;
}
