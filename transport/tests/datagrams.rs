//! Frames as QUIC datagrams: what arrives, what is lost, who never gets one.

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{CLUSTER, Node, Plan, all_up, end, until};
use panchayat_consensus::NodeId;
use panchayat_transport::wan::{LinkParams, WanControl};
use panchayat_transport::{
    BoxFuture, ClientIdentity, CloseCode, DatagramStats, Delivery, DownReason, Lane, Mesh,
    MeshHandler, PeerConfig, RequestError,
};
use quinn::Connection;
use raw::{Claim, close_code, connect, say};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// The kind of a datagram with a frame, and the code of the normal lane.
const FRAME: u8 = 4;
const NORMAL: u8 = 1;

fn numbered(number: u32, bytes: usize) -> Bytes {
    let mut frame = vec![0x5a; bytes];
    frame[..4].copy_from_slice(&number.to_le_bytes());
    Bytes::from(frame)
}

fn number(frame: &Bytes) -> u32 {
    u32::from_le_bytes(frame[..4].try_into().unwrap())
}

fn pair(mut plan: Plan) -> Vec<Node> {
    let nodes = [A, B].map(|id| plan.start_with(id, |config| config.datagrams = true));
    nodes.into()
}

fn datagrams(node: &Node, peer: NodeId) -> DatagramStats {
    node.mesh.stats().peers[&peer].datagrams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_frames_go_as_datagrams_and_long_ones_in_streams() {
    const FRAMES: u32 = 120;
    let nodes = pair(Plan::new(2));
    all_up(&nodes).await;
    for number in 0..FRAMES {
        for lane in Lane::ALL {
            let bytes = if number.is_multiple_of(4) { 20_000 } else { 40 };
            nodes[0].mesh.send(B, lane, numbered(number, bytes)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for lane in Lane::ALL {
        let all = || nodes[1].seen.frame_count(A, lane) == FRAMES as usize;
        until("all frames", all).await;
        let seen = nodes[1].seen.frames(A, lane);
        let numbers: HashSet<u32> = seen.iter().map(number).collect();
        assert_eq!(numbers.len(), FRAMES as usize, "{lane:?}");
        for frame in &seen {
            let bytes = if number(frame).is_multiple_of(4) { 20_000 } else { 40 };
            assert_eq!(*frame, numbered(number(frame), bytes));
        }
        let sent = nodes[0].mesh.stats().peers[&B].lanes[lane.index()];
        let received = nodes[1].mesh.stats().peers[&A].lanes[lane.index()];
        assert_eq!(sent.frames_sent, u64::from(FRAMES));
        assert_eq!((sent.frames_sent, sent.bytes_sent), {
            (received.frames_received, received.bytes_received)
        });
    }
    // Three of four frames of two lanes.
    let short = u64::from(FRAMES) * 3 / 4 * 2;
    let (sent, received) = (datagrams(&nodes[0], B), datagrams(&nodes[1], A));
    assert_eq!(sent.frames_sent + sent.frames_diverted, short, "{sent:?}");
    assert!(sent.frames_sent >= short / 2, "{sent:?}");
    assert_eq!(received.frames_received, sent.frames_sent, "{received:?}");
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unless_it_is_wanted_no_frame_goes_as_a_datagram_but_those_of_others_are_taken() {
    let mut plan = Plan::new(2);
    let nodes = vec![plan.start_with(A, |config| config.datagrams = true), plan.start(B)];
    all_up(&nodes).await;
    for (from, to) in [(0, B), (1, A)] {
        nodes[from].mesh.send(to, Lane::Urgent, Bytes::from_static(b"vote")).unwrap();
    }
    until("votes", || {
        nodes[1].seen.frame_count(A, Lane::Urgent) == 1
            && nodes[0].seen.frame_count(B, Lane::Urgent) == 1
    })
    .await;
    assert_eq!(datagrams(&nodes[0], B).frames_sent, 1);
    assert_eq!(datagrams(&nodes[1], A).frames_received, 1);
    assert_eq!(datagrams(&nodes[1], A).frames_sent, 0);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_datagram_takes_its_frame_and_holds_up_no_other() {
    const FRAMES_MAX: u32 = 10_000;
    let wan = WanControl::new(7);
    let delay = Duration::from_millis(40);
    wan.set_pair(A, B, LinkParams { loss: 0.05, ..LinkParams::delay(delay) });
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    plan.rtt = Some(delay * 2);
    let nodes = pair(plan);
    all_up(&nodes).await;
    let arrived = || nodes[1].seen.frames(A, Lane::Urgent);
    let (mut short, mut long) = (0, 0);
    let mut losses_seen_at = None;
    // How many frames share a packet is up to the congestion window, so it is packets that are
    // counted: enough of them are lost that frames are among them, then a later frame arrives.
    for number in 0..FRAMES_MAX {
        if number < 400 && number.is_multiple_of(40) {
            nodes[0].mesh.send(B, Lane::Normal, numbered(number, 20_000)).unwrap();
            long += 1;
        } else {
            nodes[0].mesh.send(B, Lane::Urgent, numbered(number, 100)).unwrap();
            short += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        if number >= 400 && losses_seen_at.is_none() && wan.link_stats(A, B).dropped_loss >= 20 {
            losses_seen_at = Some(number);
        }
        if losses_seen_at.is_some_and(|at| arrived().iter().any(|frame| self::number(frame) > at)) {
            break;
        }
    }
    assert!(losses_seen_at.is_some(), "{:?}", wan.link_stats(A, B));
    until("long frames", || nodes[1].seen.frame_count(A, Lane::Normal) == long).await;
    until("all handed over", || {
        let sent = datagrams(&nodes[0], B);
        sent.frames_sent + sent.frames_diverted == short
    })
    .await;
    // What is under way arrives or was lost.
    tokio::time::sleep(delay * 5).await;
    let (sent, all) = (datagrams(&nodes[0], B), arrived());
    let numbers: HashSet<u32> = all.iter().map(number).collect();
    assert_eq!(numbers.len(), all.len(), "none comes twice");
    let lost = short - all.len() as u64;
    println!("{lost} of {short} lost, {sent:?}, {:?}", wan.link_stats(A, B));
    assert!(lost >= 1 && lost <= sent.frames_sent / 3, "{lost} of {short} frames lost");
    assert_eq!(wan.link_stats(A, B).dropped_partition, 0);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_full_costs_bounded_memory_and_no_frame_that_waits() {
    let wan = WanControl::new(3);
    let delay = Duration::from_millis(5);
    // 50 kB a second.
    let narrow = LinkParams { bandwidth_bps: Some(400_000), ..LinkParams::delay(delay) };
    wan.set_pair(A, B, LinkParams { queue_bytes_max: 1 << 30, ..narrow });
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    plan.rtt = Some(delay * 2);
    let nodes = pair(plan);
    all_up(&nodes).await;
    const FRAMES: u32 = 300;
    for number in 0..FRAMES {
        nodes[0].mesh.send(B, Lane::Normal, numbered(number, 1_000)).unwrap();
    }
    let settled = || {
        let sent = datagrams(&nodes[0], B);
        sent.frames_sent + sent.frames_diverted == u64::from(FRAMES)
    };
    until("all handed over", settled).await;
    let sent = datagrams(&nodes[0], B);
    println!("{sent:?}");
    // What waits as datagrams is 48 KiB at most; the congestion window comes on top.
    assert!(sent.frames_sent > 10 && sent.frames_diverted > 100, "{sent:?}");
    until("every frame", || nodes[1].seen.frame_count(A, Lane::Normal) == FRAMES as usize).await;
    for (at, peer) in [(0, B), (1, A)] {
        assert!(nodes[at].seen.downs(peer).is_empty(), "heartbeats get through");
    }
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_takes_nothing_loses_datagrams_of_that_lane_only() {
    let nodes = pair(Plan::new(2));
    all_up(&nodes).await;
    nodes[1].seen.stalled.send_replace(true);
    let send = |lane, count: u32| {
        (0..count).for_each(|i| nodes[0].mesh.send(B, lane, numbered(i, 100)).unwrap());
    };
    send(Lane::Normal, 50);
    until("all seen or dropped", || datagrams(&nodes[1], A).frames_dropped == 49).await;
    send(Lane::Urgent, 50);
    until("votes", || nodes[1].seen.frame_count(A, Lane::Urgent) == 50).await;
    assert_eq!(nodes[1].seen.frame_count(A, Lane::Normal), 1);
    assert!(nodes[1].mesh.last_heard(A).unwrap() < Duration::from_secs(1));
    nodes[1].seen.stalled.send_replace(false);
    // Once it has taken the one that waited.
    let more = || nodes[1].seen.frame_count(A, Lane::Normal) > 1;
    until("the lane goes on", || {
        send(Lane::Normal, 1);
        more()
    })
    .await;
    assert!(nodes[1].seen.downs(A).is_empty());
    end(nodes).await;
}

/// Counts frames of peers that are not up.
#[derive(Debug, Default)]
struct Strict {
    up: AtomicBool,
    links: AtomicU64,
    frames: AtomicU64,
    astray: AtomicU64,
}

impl MeshHandler for Strict {
    fn frame(&self, _: NodeId, _: Lane, _: Bytes) -> Delivery {
        self.frames.fetch_add(1, Ordering::SeqCst);
        if !self.up.load(Ordering::SeqCst) {
            self.astray.fetch_add(1, Ordering::SeqCst);
        }
        Delivery::Done
    }
    fn peer_up(&self, _: NodeId) {
        self.links.fetch_add(1, Ordering::SeqCst);
        self.up.store(true, Ordering::SeqCst);
    }
    fn peer_down(&self, _: NodeId, _: DownReason) {
        self.up.store(false, Ordering::SeqCst);
    }
    fn request(&self, _: ClientIdentity, _: Bytes) -> BoxFuture<Result<Bytes, RequestError>> {
        Box::pin(async { Err(RequestError::Overloaded) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_before_a_peer_is_up_nor_after_it_is_down() {
    let mut plan = Plan::new(2);
    let a = plan.start_with(A, |config| config.datagrams = true);
    let strict = Arc::new(Strict::default());
    let mut config = plan.config(B);
    config.datagrams = true;
    let b = Mesh::start(config, Arc::clone(&strict) as _).unwrap();
    let flooding = Arc::new(AtomicBool::new(true));
    let flood = {
        let (mesh, flooding) = (a.mesh.clone(), Arc::clone(&flooding));
        std::thread::spawn(move || {
            while flooding.load(Ordering::Relaxed) {
                for _ in 0..50 {
                    let _ = mesh.send(B, Lane::Urgent, Bytes::from_static(b"vote"));
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };
    let back = PeerConfig { node: A, addr: a.mesh.local_addr(), rtt: None };
    for round in 1..=6 {
        let before = strict.frames.load(Ordering::SeqCst);
        until("frames", || {
            let more = strict.frames.load(Ordering::SeqCst) > before + 200;
            more && strict.links.load(Ordering::SeqCst) >= round
        })
        .await;
        assert!(b.remove_peer(A));
        until("down", || !strict.up.load(Ordering::SeqCst)).await;
        let at_down = strict.frames.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(strict.frames.load(Ordering::SeqCst), at_down);
        until("gone", || b.stats().peers.is_empty()).await;
        b.add_peer(back.clone()).unwrap();
    }
    until("frames again", || strict.up.load(Ordering::SeqCst)).await;
    assert!(datagrams(&a, B).frames_sent > 0);
    b.shutdown().await;
    let at_end = strict.frames.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(strict.frames.load(Ordering::SeqCst), at_end);
    assert_eq!(strict.astray.load(Ordering::SeqCst), 0, "frames without a link");
    flooding.store(false, Ordering::Relaxed);
    flood.join().unwrap();
    end(vec![a]).await;
}

/// A connection as node A that has said which versions it speaks.
async fn as_a(plan: &Plan, addr: SocketAddr, versions: [u8; 2]) -> Connection {
    let identity = plan.authority.issue_node(CLUSTER, A).unwrap();
    let raw = connect(addr, &identity, true, b"panchayat-mesh/1").await.unwrap();
    let claim = Claim { versions, cluster: CLUSTER, from: A, to: B };
    assert!(say(&raw, &claim).await.is_some());
    raw
}

/// The kinds of the datagrams that come within half a second.
async fn kinds(raw: &Connection) -> HashSet<u8> {
    let mut kinds = HashSet::new();
    let until = tokio::time::Instant::now() + Duration::from_millis(500);
    while let Ok(datagram) = tokio::time::timeout_at(until, raw.read_datagram()).await {
        kinds.insert(datagram.unwrap()[0]);
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_version_2_gets_its_frames_in_streams() {
    let mut plan = Plan::new(2);
    let b = plan.start_with(B, |config| config.datagrams = true);
    for (versions, as_datagrams) in [([2, 2], false), ([2, 3], true)] {
        let raw = as_a(&plan, b.mesh.local_addr(), versions).await;
        until("up", || b.mesh.is_up(A)).await;
        for _ in 0..10 {
            b.mesh.send(A, Lane::Urgent, Bytes::from_static(b"vote")).unwrap();
        }
        let kinds = kinds(&raw).await;
        assert!(kinds.contains(&1), "heartbeats");
        assert_eq!(kinds.contains(&FRAME), as_datagrams, "{versions:?}: {kinds:?}");
        let sent = datagrams(&b, A).frames_sent;
        assert_eq!(sent, if as_datagrams { 10 } else { 0 }, "{versions:?}");
        assert_eq!(b.mesh.stats().peers[&A].lanes[0].bytes_sent % 40, 0);
        raw.close(0u32.into(), b"");
        until("down", || !b.mesh.is_up(A)).await;
    }
    end(vec![b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_datagrams_are_counted_and_close_like_malformed_streams() {
    let mut plan = Plan::new(2);
    let b = plan.start_with(B, |config| config.limits.frame_bytes_max = 1000);
    let frame = |kind, lane, length: u32, version, rest: &[u8]| {
        [&[kind, lane][..], &length.to_le_bytes(), &[version], rest].concat()
    };
    let good = frame(FRAME, NORMAL, 4, 1, b"vote");
    let cases = [
        ("too large", [2, 3], frame(FRAME, NORMAL, 1001, 1, b"vote"), CloseCode::FrameTooLarge),
        ("version", [2, 3], frame(FRAME, NORMAL, 4, 9, b"vote"), CloseCode::FrameVersion),
        ("cut short", [2, 3], frame(FRAME, NORMAL, 5, 1, b"vote"), CloseCode::Protocol),
        ("more", [2, 3], frame(FRAME, NORMAL, 3, 1, b"vote"), CloseCode::Protocol),
        ("bulk", [2, 3], frame(FRAME, 2, 4, 1, b"vote"), CloseCode::Protocol),
        ("lane", [2, 3], frame(FRAME, 9, 4, 1, b"vote"), CloseCode::Protocol),
        ("of version 2", [2, 2], good.clone(), CloseCode::Protocol),
    ];
    for (what, versions, bytes, code) in cases {
        let raw = as_a(&plan, b.mesh.local_addr(), versions).await;
        raw.send_datagram(bytes.into()).unwrap();
        assert_eq!(close_code(&raw).await, code.code(), "{what}");
        until("down", || !b.mesh.is_up(A)).await;
    }
    let refused = b.mesh.stats().refused;
    let counted = (refused.frame_too_large, refused.frame_version, refused.protocol);
    assert_eq!(counted, (1, 1, 5));
    assert_eq!(datagrams(&b, A), DatagramStats::default(), "nothing was delivered");

    let raw = as_a(&plan, b.mesh.local_addr(), [2, 3]).await;
    raw.send_datagram(good.into()).unwrap();
    until("the vote", || b.seen.frames(A, Lane::Normal) == [Bytes::from_static(b"vote")]).await;
    end(vec![b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_before_the_hello_is_read_after_it_or_never() {
    let mut plan = Plan::new(2);
    let identity = plan.authority.issue_node(CLUSTER, A).unwrap();
    let strict = Arc::new(Strict::default());
    let b = Mesh::start(plan.config(B), Arc::clone(&strict) as _).unwrap();
    let early = [&[FRAME, NORMAL][..], &4u32.to_le_bytes(), &[1], b"vote"].concat();
    for hello in [false, true] {
        let raw = connect(b.local_addr(), &identity, true, b"panchayat-mesh/1").await.unwrap();
        raw.send_datagram(early.clone().into()).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(strict.frames.load(Ordering::SeqCst), 0, "from a stranger");
        if hello {
            let claim = Claim { versions: [2, 3], cluster: CLUSTER, from: A, to: B };
            assert!(say(&raw, &claim).await.is_some());
            until("the vote", || strict.frames.load(Ordering::SeqCst) == 1).await;
        }
        raw.close(0u32.into(), b"");
    }
    assert_eq!(strict.astray.load(Ordering::SeqCst), 0);
    b.shutdown().await;
}
