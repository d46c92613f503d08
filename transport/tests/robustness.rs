//! What went wrong once, or could: each test is named for its scenario.

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{CLUSTER, LinkEvent, Plan, all_up, end, figure, until};
use panchayat_consensus::NodeId;
use panchayat_transport::wan::{LinkParams, WanControl};
use panchayat_transport::{
    BoxFuture, Client, ClientConfig, ClientIdentity, Delivery, DownReason, Lane, Mesh, MeshHandler,
    RequestError,
};
use parking_lot::Mutex;
use raw::{Claim, connect, listen, say};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

#[derive(Default)]
struct Lengths(Mutex<Vec<usize>>);

impl MeshHandler for Lengths {
    fn frame(&self, _: NodeId, _: Lane, _: Bytes) -> Delivery {
        Delivery::Done
    }
    fn peer_up(&self, _: NodeId) {}
    fn peer_down(&self, _: NodeId, _: DownReason) {}
    fn request(&self, _: ClientIdentity, request: Bytes) -> BoxFuture<Result<Bytes, RequestError>> {
        self.0.lock().push(request.len());
        Box::pin(async move { Ok(request) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_given_up_while_it_is_sent_never_reaches_the_handler_in_part() {
    let mut plan = Plan::new(1);
    let mut config = plan.config(A);
    config.limits.lane_window_bytes = 64 << 10;
    let seen = Arc::new(Lengths::default());
    let mesh = Mesh::start(config, Arc::clone(&seen) as _).unwrap();
    let identity = plan.authority.issue_client(CLUSTER, "hasty").unwrap();
    let config = ClientConfig::default();
    let client = Client::connect(mesh.local_addr(), A, &identity, config).await.unwrap();
    for _ in 0..20 {
        // Far more than the window: the first poll sends a part of it.
        tokio::select! {
            biased;
            _ = client.request(Bytes::from(vec![7; 4 << 20])) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(client.request(Bytes::from_static(b"whole")).await.unwrap(), "whole");
    until("no request left", || mesh.stats().requests == 0).await;
    assert_eq!(*seen.0.lock(), [5], "lengths the handler saw");
    mesh.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_does_not_hold_its_place() {
    let mut plan = Plan::new(1);
    let node = plan.start_with(A, |config| {
        config.limits.requests_max = 4;
        config.timing.request_transfer_timeout = Duration::from_millis(1500);
    });
    let addr = node.mesh.local_addr();
    let identity = plan.authority.issue_client(CLUSTER, "slow").unwrap();
    let slow = connect(addr, &identity, true, b"panchayat-client/1").await.unwrap();
    let claim = Claim { versions: [2, 2], cluster: CLUSTER, from: NodeId(0), to: A };
    assert!(say(&slow, &claim).await.is_some());
    let mut streams = Vec::new();
    for _ in 0..4 {
        let (mut send, receive) = slow.open_bi().await.unwrap();
        send.write_all(&[1, 2, 3]).await.unwrap();
        streams.push((send, receive));
    }
    until("all places taken", || node.mesh.stats().requests == 4).await;
    until("all places free", || node.mesh.stats().requests == 0).await;
    for (_, receive) in &mut streams {
        let answer = receive.read_to_end(1000).await.unwrap();
        assert_eq!(answer[0], 2, "rejected: nothing was done");
    }
    assert_eq!(node.mesh.stats().refused.overloaded, 0);
    end(vec![node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_stall_their_handshakes_do_not_keep_peers_out() {
    let mut plan = Plan::new(2);
    let b = plan.start_with(B, |config| {
        config.limits.handshakes_max = 4;
        config.timing.handshake_timeout = Duration::from_secs(60);
    });
    let identity = plan.authority.issue_client(CLUSTER, "silent").unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        // Never says hello. The later ones are asked to prove their address first.
        let stalled = connect(b.mesh.local_addr(), &identity, true, b"panchayat-client/1").await;
        silent.push(stalled.unwrap());
    }
    let fifth = connect(b.mesh.local_addr(), &identity, true, b"panchayat-client/1").await;
    assert!(fifth.is_err(), "over the limit");
    assert_eq!(b.mesh.stats().refused.overloaded, 1);
    let nodes = vec![plan.start(A), b];
    all_up(&nodes).await;
    end(nodes).await;
}

/// Members are upgraded one by one, and may be taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_link_speaks_the_highest_version_that_both_ends_know() {
    let mut plan = Plan::new(3);
    let (b, c) = (plan.start(B), plan.start(NodeId(3)));
    // Either end may know of the link first.
    until("the upgraded pair", || {
        b.mesh.wire_version(c.id) == Some(3) && c.mesh.wire_version(B) == Some(3)
    })
    .await;
    assert_eq!(b.mesh.wire_version(A), None, "there is no link");
    let identity = plan.authority.issue_node(CLUSTER, A).unwrap();
    for (versions, spoken) in [([1, 2], 2), ([2, 9], 3)] {
        let raw = connect(b.mesh.local_addr(), &identity, true, b"panchayat-mesh/1").await.unwrap();
        let claim = Claim { versions, cluster: CLUSTER, from: A, to: B };
        assert!(say(&raw, &claim).await.is_some());
        until("the link", || b.mesh.wire_version(A) == Some(spoken)).await;
        assert_eq!(b.mesh.stats().peers[&A].wire_version, Some(spoken));
        assert_eq!(b.mesh.wire_version(c.id), Some(3), "that of another link");
        raw.close(0u32.into(), b"");
        until("no link", || b.mesh.wire_version(A).is_none()).await;
    }
    end(vec![b, c]).await;
}

/// QUIC opens the streams below the one a packet names: their own first bytes may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_first_byte_is_missing_holds_up_no_other() {
    let mut plan = Plan::new(2);
    let b = plan.start(B);
    let identity = plan.authority.issue_node(CLUSTER, A).unwrap();
    let raw = connect(b.mesh.local_addr(), &identity, true, b"panchayat-mesh/1").await.unwrap();
    let claim = Claim { versions: [2, 2], cluster: CLUSTER, from: A, to: B };
    assert!(say(&raw, &claim).await.is_some());
    let _silent = raw.open_uni().await.unwrap();
    let mut urgent = raw.open_uni().await.unwrap();
    urgent.write_all(&[0, 4, 0, 0, 0, 1, b'v', b'o', b't', b'e']).await.unwrap();
    until("the vote", || b.seen.frame_count(A, Lane::Urgent) == 1).await;
    end(vec![b]).await;
}

/// A node that dies, or is cut off, right after its handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_answers_a_hello_is_dialled_again_soon() {
    let mut plan = Plan::new(2);
    let mute = listen(&plan.authority.issue_node(CLUSTER, B).unwrap(), b"panchayat-mesh/1");
    let node = plan.start_with(A, |config| config.peers[0].addr = mute.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&taken);
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = mute.accept().await {
            if let Ok(connection) = incoming.await {
                keep.lock().push(connection);
            }
        }
    });
    until("a first connection", || !taken.lock().is_empty()).await;
    // Half of the handshake timeout at the most, however slow the machine.
    let start = Instant::now();
    until("a second connection", || taken.lock().len() >= 2).await;
    figure("dialled again after", start.elapsed().as_secs_f64(), "s", 1.5..=4.0);
    assert!(start.elapsed() < Duration::from_secs(8));
    accepting.abort();
    end(vec![node]).await;
}

/// The acceptor closes the old connection for the new one; that news and its answer to the hello
/// reach the dialler together, and in either order it must keep the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raced_connection_that_wins_is_kept_by_both_sides() {
    for round in 0..8 {
        let wan = WanControl::new(round);
        wan.set_pair(A, B, LinkParams::delay(Duration::from_millis(12)));
        let mut plan = Plan::new(2);
        plan.wan = Some(wan.clone());
        plan.rtt = Some(Duration::from_millis(24));
        let nodes = plan.start_all();
        all_up(&nodes).await;
        wan.partition_pair(A, B, true);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        wan.partition_pair(A, B, false);
        until("heard again", || {
            let fresh = Some(Duration::from_millis(150));
            nodes[0].mesh.last_heard(B) < fresh && nodes[1].mesh.last_heard(A) < fresh
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        all_up(&nodes).await;
        for node in &nodes {
            let links = node.seen.links.lock().clone();
            let kept = links.iter().all(|event| match event {
                LinkEvent::Up(_) => true,
                LinkEvent::Down(_, reason) => *reason == DownReason::Superseded,
            });
            assert!(kept, "round {round}, {}: {links:?}", node.id);
        }
        end(nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_cut_under_load_heals_quickly_towards_the_side_that_was_deaf() {
    let wan = WanControl::new(1);
    wan.set_pair(A, B, LinkParams::delay(Duration::from_millis(12)));
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    plan.rtt = Some(Duration::from_millis(24));
    let nodes = plan.start_all();
    all_up(&nodes).await;
    wan.partition(A, B, true);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        let _ = nodes[0].mesh.send(B, Lane::Normal, Bytes::from(vec![1; 1000]));
        let _ = nodes[1].mesh.send(A, Lane::Normal, Bytes::from(vec![1; 10]));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = nodes[1].seen.frame_count(A, Lane::Urgent);
    wan.partition(A, B, false);
    let healed = Instant::now();
    until("a frame", || {
        let _ = nodes[0].mesh.send(B, Lane::Urgent, Bytes::from_static(b"x"));
        nodes[1].seen.frame_count(A, Lane::Urgent) > before
    })
    .await;
    figure("a frame after a one-way cut", healed.elapsed().as_secs_f64(), "s", 0.0..=0.8);
    end(nodes).await;
}
