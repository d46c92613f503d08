//! Values that take long to cross a link.

mod common;

use std::time::Duration;

use common::{BANGALORE, DELHI, MUMBAI, caught_up, start_with};
use panchayat::kv::{KvCommand, KvOp};
use panchayat::transport::Lane;
use panchayat::{Durability, Limits, ProposeError, ProtocolChoice, Topology};
use tokio::task::JoinSet;

/// Two other cities take a copy each. What others are asked for after all comes on top: one more, or
/// two on a busy machine. Without telling the slow from the lost it was twelve.
const COPIES_MAX: u64 = 5;

/// India's three cities with links that carry 50 Mbit/s: a value takes longer than a coordinator's
/// patience lasts.
fn narrow() -> Topology {
    let text = include_str!("../../geo-topology.yaml");
    let ideal = text.find("  ideal:\n").expect("a profile");
    let at = ideal + text[ideal..].find("    source:").expect("its source");
    let text = format!("{}    bandwidth_mbit: 50\n{}", &text[..at], &text[at..]);
    Topology::parse("narrow.yaml", &text).unwrap()
}

fn put(key: String, bytes: usize) -> KvCommand {
    KvCommand::One(KvOp::Put { key: key.into(), value: vec![7; bytes].into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_crosses_each_link_about_once() {
    const BYTES: usize = 1 << 20;
    const COMMANDS: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    let cluster = start_with(dir.path(), &ProtocolChoice::EPaxos, |config| {
        config.topology = narrow();
        config.durability = Durability::Os;
        config.limits = Limits { command_bytes_max: 2 << 20, ..Limits::default() };
    })
    .await;
    let mut proposals = JoinSet::new();
    for number in 0..COMMANDS {
        let replica = cluster.replicas()[number as usize % 3].clone();
        proposals.spawn(async move { replica.propose(&put(format!("k{number}"), BYTES)).await });
    }
    while let Some(answer) = proposals.join_next().await {
        answer.unwrap().unwrap();
    }
    caught_up(&cluster).await;
    let (mut bytes, mut spared) = (0, 0);
    for seat in [MUMBAI, DELHI, BANGALORE] {
        let metrics = cluster.replicas()[seat.index()].metrics().await.unwrap();
        for peer in metrics.mesh.peers.values() {
            bytes += peer.lanes[Lane::Bulk.index()].bytes_sent;
            spared += peer.repeats_spared;
        }
    }
    let copies = bytes as f64 / (COMMANDS * BYTES as u64) as f64;
    println!("{copies:.2} copies of each value travelled, {spared} were spared");
    assert!(bytes >= 2 * COMMANDS * BYTES as u64, "{bytes} bytes");
    assert!(bytes <= COPIES_MAX * COMMANDS * BYTES as u64 + (1 << 20), "{copies} copies");
    assert!(spared > 0, "nothing was slow");
    cluster.shutdown(Duration::from_secs(10)).await;
}

async fn a_value_as_large_as_allowed_is_replicated_and_a_larger_one_refused(
    protocol: ProtocolChoice,
) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start_with(dir.path(), &protocol, |config| {
        config.durability = Durability::Os;
        config.limits = Limits { command_bytes_max: 9 << 20, ..Limits::default() };
    })
    .await;
    let replica = &cluster.replicas()[0];
    replica.propose(&put("largest".into(), 8 << 20)).await.unwrap();
    let refused = replica.propose(&put("larger".into(), 10 << 20)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge { bytes_max: 9437184, .. }), "{refused}");
    assert!(refused.is_certain());
    caught_up(&cluster).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}

common::under_every_protocol! { a_value_as_large_as_allowed_is_replicated_and_a_larger_one_refused, }
