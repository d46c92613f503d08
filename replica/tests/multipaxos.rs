//! What is particular to Multi-Paxos in a local cluster: the leader is lost and comes back, a
//! member that was cut off deposes nobody, and a directory belongs to the protocol that wrote it.

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{BANGALORE, DELHI, MUMBAI, caught_up, eventually, put, put_many, read, start};
use panchayat::identity::Authority;
use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{
    Cluster, ClusterId, Durability, Leader, LocalCluster, LocalError, MarkerError,
    MultiPaxosChoice, ProtocolChoice, Replica, ReplicaId, StartError, Topology,
};

fn multipaxos(leader: Leader) -> ProtocolChoice {
    ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..MultiPaxosChoice::default() })
}

async fn counter(cluster: &LocalCluster<KvStore>, at: ReplicaId, name: &str) -> u64 {
    cluster.replicas()[at.index()].metrics().await.expect("it runs").core.counter(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_is_replaced_and_leads_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let protocol = multipaxos(Leader::At("delhi".into()));
    let mut cluster = start(dir.path(), &protocol, Durability::Os).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 60).await;
    assert!(counter(&cluster, DELHI, "led").await >= 60);
    assert_eq!(counter(&cluster, MUMBAI, "led").await, 0);

    cluster.kill(DELHI);
    let lost = Instant::now();
    put(&cluster, BANGALORE, "while".into(), "headless".into()).await;
    println!("served again after {:?}", lost.elapsed());
    assert_eq!(read(&cluster, MUMBAI, "while").await.as_deref(), Some("headless"));

    cluster.restart(DELHI, KvStore::default()).await.unwrap();
    let leads = async || {
        put(&cluster, MUMBAI, "k".into(), "v".into()).await;
        counter(&cluster, DELHI, "led").await > 0
    };
    eventually("the pinned leader leads again", leads).await;
    assert_eq!(read(&cluster, DELHI, "while").await.as_deref(), Some("headless"));
    caught_up(&cluster).await;
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &multipaxos(Leader::Auto), Durability::Memory).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 60).await;
    let at = |seat: ReplicaId| &cluster.replicas()[seat.index()];
    assert!(!at(BANGALORE).hand_over(DELHI).await, "only who leads can");
    assert!(!at(MUMBAI).hand_over(MUMBAI).await, "and not to itself");
    assert!(at(MUMBAI).hand_over(DELHI).await);
    let leads = async || {
        let status = at(DELHI).metrics().await.unwrap().core.status;
        status.is_some_and(|status| status.starts_with("leads"))
    };
    eventually("the successor leads", leads).await;
    assert_eq!(counter(&cluster, MUMBAI, "transferred").await, 1);
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 1, 60).await;
    assert!(counter(&cluster, DELHI, "led").await >= 60);
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_cut_off_and_back_does_not_depose_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &multipaxos(Leader::Auto), Durability::Memory).await;
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 0, 60).await;
    let elected = async |at| counter(&cluster, at, "elections_won").await;
    let prepared = async |at| counter(&cluster, at, "prepares").await;
    let before = (elected(MUMBAI).await, prepared(MUMBAI).await);
    for peer in [MUMBAI, DELHI] {
        cluster.cut(BANGALORE, peer);
        cluster.cut(peer, BANGALORE);
    }
    // Long enough for it to take the others for dead, and to stand in vain.
    let suspects = async || {
        let core = cluster.replicas()[BANGALORE.index()].metrics().await.unwrap().core;
        core.suspected == [0, 1]
    };
    eventually("the one cut off suspects both others", suspects).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    put_many(&cluster, &[MUMBAI, DELHI], 1, 60).await;
    for peer in [MUMBAI, DELHI] {
        cluster.heal(BANGALORE, peer);
        cluster.heal(peer, BANGALORE);
    }
    put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], 2, 60).await;
    caught_up(&cluster).await;
    assert_eq!((elected(MUMBAI).await, prepared(MUMBAI).await), before, "it went on leading");
    for other in [DELHI, BANGALORE] {
        assert_eq!((elected(other).await, prepared(other).await), (0, 0), "{other}");
    }
    cluster.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_belongs_to_the_protocol_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &multipaxos(Leader::Auto), Durability::Os).await;
    put(&cluster, DELHI, "k".into(), "v".into()).await;
    cluster.shutdown(Duration::from_secs(10)).await;

    let unequal = MultiPaxosChoice { quorums: Some((3, 1)), ..MultiPaxosChoice::default() };
    for (other, named) in [
        (ProtocolChoice::EPaxos, "not with `epaxos"),
        (ProtocolChoice::MultiPaxos(unequal), "not with `multipaxos, quorums of 3 and 1"),
    ] {
        let refused = common::try_start(dir.path(), &other, Durability::Os).await.unwrap_err();
        let LocalError::Start { source, .. } = refused else { panic!("{refused}") };
        assert!(matches!(*source, StartError::Marker(MarkerError::Terms { .. })), "{source}");
        assert!(source.to_string().contains(named), "{source}");
    }
    // Who should lead is nobody's promise; and every start may have other addresses.
    let led = multipaxos(Leader::At("bangalore".into()));
    let cluster = start(dir.path(), &led, Durability::Os).await;
    assert_eq!(read(&cluster, MUMBAI, "k").await.as_deref(), Some("v"));
    cluster.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_can_begin_a_cluster_of_another_protocol() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cluster = start(old.path(), &ProtocolChoice::EPaxos, Durability::Os).await;
    put(&cluster, DELHI, "saved".into(), "here".into()).await;
    caught_up(&cluster).await;
    let (file, into) = (new.path().join("backup"), new.path().join("cluster"));
    cluster.replicas()[0].back_up(&file).await.unwrap();
    cluster.shutdown(Duration::from_secs(10)).await;

    let protocol = multipaxos(Leader::Auto);
    let config = common::config(&into, &protocol);
    LocalCluster::<KvStore>::restore_backup(&config, &file).unwrap();
    let cluster = start(&into, &protocol, Durability::Os).await;
    put(&cluster, MUMBAI, "more".into(), "now".into()).await;
    assert_eq!(read(&cluster, BANGALORE, "saved").await.as_deref(), Some("here"));
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_another_protocol_are_not_listened_to() {
    let dir = tempfile::tempdir().unwrap();
    let sockets: Vec<_> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let addrs: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let matrix = Topology::builtin().matrix("india3").unwrap();
    let cluster = Cluster::of_sites(ClusterId(7), &matrix, &addrs);
    let authority = Authority::create().unwrap();
    let mut replicas = Vec::new();
    for (member, socket) in cluster.members.iter().zip(sockets) {
        let identity = authority.issue_node(ClusterId(7), member.node).unwrap();
        let dir = dir.path().join(&member.name);
        let protocol = match &*member.name {
            "bangalore" => multipaxos(Leader::Auto),
            _ => ProtocolChoice::EPaxos,
        };
        let builder = Replica::<KvStore>::builder(cluster.clone(), &member.name, identity, dir);
        let builder = builder.protocol(protocol).durability(Durability::Memory).socket(socket);
        replicas.push(builder.start(KvStore::default()).await.unwrap());
    }
    let put = KvCommand::One(KvOp::Put { key: "k".into(), value: "v".into() });
    for replica in &replicas[..2] {
        let answer = tokio::time::timeout(Duration::from_secs(30), replica.propose(&put)).await;
        assert_eq!(answer.expect("a quorum of one mind"), Ok(KvOutput::Done));
    }
    let stranger = &replicas[2];
    let answer = tokio::time::timeout(Duration::from_millis(500), stranger.propose(&put)).await;
    assert!(answer.is_err(), "{answer:?}");
    let core = stranger.metrics().await.unwrap().core;
    assert!(core.frames_bad > 0 && core.executed == 0, "{core:?}");
}
