//! Requests are applied once, wherever and however often they are tried.

mod common;

use std::time::Duration;

use common::{BANGALORE, DELHI, MUMBAI, caught_up, start_with, under_every_protocol};
use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::transport::ClientConfig;
use panchayat::{
    Durability, LocalCluster, ProposeError, ProtocolChoice, RemoteClient, Request, Requests,
    SessionConfig, Span, WallTime,
};

under_every_protocol! {
    a_request_is_applied_once_at_whatever_replica_and_after_a_restart,
    what_is_not_kept_too_old_or_ahead_is_said_so,
    remote_clients_have_sessions_too,
}

fn append(suffix: &str) -> KvCommand {
    KvCommand::One(KvOp::Append { key: "list".into(), suffix: suffix.to_owned().into() })
}

async fn list(cluster: &LocalCluster<KvStore>) -> String {
    common::read(cluster, MUMBAI, "list").await.unwrap_or_default()
}

async fn a_request_is_applied_once_at_whatever_replica_and_after_a_restart(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster =
        start_with(dir.path(), &protocol, |config| config.durability = Durability::Os).await;
    let session = cluster.replicas()[0].session();
    let first = session.request();
    let output = session.propose_request(first, &append("a")).await.unwrap();
    for seat in [DELHI, BANGALORE, MUMBAI] {
        let again = cluster.replicas()[seat.index()].propose_request(first, &append("a")).await;
        assert_eq!(again.as_ref(), Ok(&output));
    }
    // Attempts at the same time.
    let second = session.request();
    let attempts: Vec<_> = (0..12)
        .map(|i| {
            let replica = cluster.replicas()[i % 3].clone();
            tokio::spawn(async move { replica.propose_request(second, &append("b")).await })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap().unwrap();
    }
    session.propose(&append("c")).await.unwrap();
    assert_eq!(list(&cluster).await, "abc");

    // In the snapshot, or in the journal behind it.
    for round in 0..3 {
        common::put_many(&cluster, &[MUMBAI, DELHI, BANGALORE], round, 64).await;
    }
    for seat in [MUMBAI, DELHI, BANGALORE] {
        cluster.kill(seat);
        cluster.restart(seat, KvStore::default()).await.unwrap();
    }
    let replica = &cluster.replicas()[1];
    let again = loop {
        match replica.propose_request(second, &append("b")).await {
            Err(error) if error.is_certain() => tokio::time::sleep(Duration::from_millis(50)).await,
            answer => break answer,
        }
    };
    again.unwrap();
    assert_eq!(list(&cluster).await, "abc");
    assert!(replica.metrics().await.unwrap().core.sessions >= 3);
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}

async fn what_is_not_kept_too_old_or_ahead_is_said_so(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Memory;
        config.sessions = SessionConfig {
            retention: Span::from_ms(600_000),
            output_bytes_max: 64,
            skew: Span::from_ms(60_000),
            ..SessionConfig::default()
        };
    })
    .await;
    let (mumbai, requests) = (&cluster.replicas()[0], Requests::new());
    let value = "v".repeat(100);
    let put = KvCommand::One(KvOp::Put { key: "k".into(), value: value.clone().into() });
    mumbai.propose(&put).await.unwrap();
    let (get, request) = (KvCommand::One(KvOp::Get { key: "k".into() }), requests.next());
    let output = mumbai.propose_request(request, &get).await;
    assert_eq!(output, Ok(KvOutput::Value(Some(value.into()))));
    let again = cluster.replicas()[1].propose_request(request, &get).await;
    assert_eq!(again, Err(ProposeError::OutputNotKept));

    let now = requests.next();
    let old = Request { issued_at: WallTime(now.issued_at.0 - 3_600_000_000), ..now };
    let refused = mumbai.propose_request(old, &append("old")).await.unwrap_err();
    assert!(matches!(refused, ProposeError::InDoubt(doubt) if doubt.attempt_is_void()));
    let ahead = Request { issued_at: WallTime(now.issued_at.0 + 3_600_000_000), ..now };
    let refused = mumbai.propose_request(ahead, &append("ahead")).await.unwrap_err();
    assert!(!refused.is_certain() && refused.to_string().contains("a clock is wrong"));
    assert_eq!(list(&cluster).await, "");
    cluster.shutdown(Duration::from_secs(5)).await;
}

async fn remote_clients_have_sessions_too(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster =
        start_with(dir.path(), &protocol, |config| config.durability = Durability::Memory).await;
    let identity = cluster.client_identity("test").unwrap();
    let mut clients = Vec::new();
    for member in &cluster.cluster().members {
        let config = ClientConfig::default();
        let client = RemoteClient::<KvStore>::connect(member.addr, member.node, &identity, config);
        clients.push(client.await.unwrap());
    }
    let requests = Requests::new();
    let request = requests.next();
    for client in &clients {
        client.propose_request(request, &append("once")).await.unwrap();
    }
    clients[1].propose(&append("+")).await.unwrap();
    assert_eq!(list(&cluster).await, "once+");
    for client in clients {
        client.close().await;
    }
    cluster.shutdown(Duration::from_secs(5)).await;
}
