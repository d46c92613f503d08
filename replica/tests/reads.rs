//! Queries answered from the state of one replica, over real QUIC.

mod common;

use std::time::{Duration, Instant};

use common::{BANGALORE, DELHI, MUMBAI, eventually, put, start, start_with, under_every_protocol};
use panchayat::kv::{KvAnswer, KvQuery, KvStore};
use panchayat::{
    Durability, Leader, Lease, LocalCluster, MultiPaxosChoice, ProtocolChoice, ReadError,
    ReadLevel, ReadRefusal, ReplicaId, Span,
};

under_every_protocol! {
    a_linearizable_read_anywhere_sees_what_was_answered_before,
    who_is_cut_off_refuses_within_a_bound_and_answers_what_may_be_stale,
}

const STALE: ReadLevel = ReadLevel::Stale { max: Span::MAX };

async fn ask(
    cluster: &LocalCluster<KvStore>,
    at: ReplicaId,
    level: ReadLevel,
) -> Result<(Option<String>, Option<Span>), ReadError> {
    let query = KvQuery::Get { key: "k".into() };
    let reading = cluster.replicas()[at.index()].read(query, level).await?;
    let KvAnswer::Value(value) = reading.answer else { panic!("{reading:?}") };
    Ok((value.map(|value| String::from_utf8_lossy(&value).into_owned()), reading.age))
}

async fn a_linearizable_read_anywhere_sees_what_was_answered_before(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    for round in 0..6 {
        let (writer, reader) = (ReplicaId(round % 3), ReplicaId((round + 1) % 3));
        put(&cluster, writer, "k".into(), format!("v{round}")).await;
        let seen = ask(&cluster, reader, ReadLevel::Linearizable).await.unwrap();
        assert_eq!(seen, (Some(format!("v{round}")), Some(Span(0))));
    }
    // What may be as old as anything comes at once, and says how old it is if that is known.
    let asked = Instant::now();
    let (value, _age) = ask(&cluster, DELHI, STALE).await.unwrap();
    assert!(value.is_some());
    println!("{protocol}: a stale read took {:?}", asked.elapsed());
    assert_eq!(
        ask(&cluster, DELHI, ReadLevel::Lease).await,
        Err(ReadError::Refused(ReadRefusal::NoLease))
    );
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

async fn who_is_cut_off_refuses_within_a_bound_and_answers_what_may_be_stale(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Memory;
        config.limits.read_timeout = Duration::from_millis(700);
    })
    .await;
    put(&cluster, BANGALORE, "k".into(), "before".into()).await;
    for peer in [MUMBAI, DELHI] {
        cluster.cut(BANGALORE, peer);
        cluster.cut(peer, BANGALORE);
    }
    put(&cluster, MUMBAI, "k".into(), "after".into()).await;
    let asked = Instant::now();
    let refused = ask(&cluster, BANGALORE, ReadLevel::Linearizable).await;
    println!("{protocol}: refused after {:?}", asked.elapsed());
    assert_eq!(refused, Err(ReadError::Refused(ReadRefusal::Unreachable)));
    let soon = ReadLevel::Stale { max: Span(1) };
    let refused = ask(&cluster, BANGALORE, soon).await;
    assert!(matches!(refused, Err(ReadError::Refused(ReadRefusal::TooOld { .. }))), "{refused:?}");
    let (value, _age) = ask(&cluster, BANGALORE, STALE).await.unwrap();
    assert_eq!(value.as_deref(), Some("before"));
    for peer in [MUMBAI, DELHI] {
        cluster.heal(BANGALORE, peer);
        cluster.heal(peer, BANGALORE);
    }
    let current = async || {
        let seen = ask(&cluster, BANGALORE, ReadLevel::Linearizable).await;
        seen.is_ok_and(|(value, _)| value.as_deref() == Some("after"))
    };
    eventually("what was written meanwhile is read", current).await;
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_read_in_the_leaders_city_takes_no_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Lease { span: Span::from_ms(400), clock_error_ppm: 500 };
    let leader = Leader::At("mumbai".into());
    let choice = MultiPaxosChoice { leader, lease: Some(lease), ..MultiPaxosChoice::default() };
    let protocol = ProtocolChoice::MultiPaxos(choice);
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    put(&cluster, DELHI, "k".into(), "v".into()).await;
    let mut fastest = Duration::MAX;
    for _ in 0..200 {
        let asked = Instant::now();
        let seen = ask(&cluster, MUMBAI, ReadLevel::Lease).await.unwrap();
        fastest = fastest.min(asked.elapsed());
        assert_eq!(seen, (Some("v".into()), Some(Span(0))));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("lease reads in the leader's city: fastest {fastest:?}");
    // The nearest other city is 24 ms away.
    assert!(fastest < Duration::from_millis(12), "{fastest:?}");
    let metrics = cluster.replicas()[MUMBAI.index()].metrics().await.unwrap();
    assert!(metrics.core.counter("lease_reads") > 100);
    assert!(cluster.shutdown(Duration::from_secs(10)).await.is_empty());
}
